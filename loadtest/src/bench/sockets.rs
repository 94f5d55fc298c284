//! Loopback sockets of the benchmark: the unit's, the publisher's and the subscribers'.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use sfu::{
    io::{
        bind,
        udp::{Receiver, Sender},
    },
    stats::IoStats,
};

/// Asked for on every socket; what is granted decides how many frames fit before draining.
const BUFFER_BYTES: usize = 4 << 20;

/// The sockets.
pub(super) struct Sockets {
    pub(super) receiver: Receiver,
    pub(super) plain: Sender,
    pub(super) segmented: Sender,
    pub(super) stats: Arc<IoStats>,
    pub(super) unit: SocketAddr,
    pub(super) publisher: UdpSocket,
    pub(super) subscribers: Vec<UdpSocket>,
    pub(super) addresses: Vec<SocketAddr>,
}

impl Sockets {
    pub(super) fn open(subscribers: usize) -> Result<Self> {
        let stats = Arc::<IoStats>::default();
        let unit = open_unit()?;
        let address = unit.local_addr()?;
        let receiver = Receiver::new(Arc::clone(&unit), Arc::clone(&stats))?;
        let plain = Sender::new(open_unit()?, false, false, Arc::clone(&stats));
        let segmented = Sender::new(unit, false, receiver.segments(), Arc::clone(&stats));
        let subscribers: Vec<_> = (0..subscribers).map(|_| open_peer()).collect::<Result<_>>()?;
        let addresses = subscribers.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
        Ok(Self {
            receiver,
            plain,
            segmented,
            stats,
            unit: address,
            publisher: open_peer()?,
            subscribers,
            addresses,
        })
    }

    /// Takes everything that arrived at the subscribers; returns how many datagrams.
    pub(super) fn drain(&self) -> Result<usize> {
        let (mut count, mut buffer) = (0, [0; 64]);
        for socket in &self.subscribers {
            loop {
                match socket.recv(&mut buffer) {
                    Ok(_) => count += 1,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("draining"),
                }
            }
        }
        Ok(count)
    }
}

fn open_unit() -> Result<Arc<mio::net::UdpSocket>> {
    Ok(Arc::new(bind::open(Some(loopback()), 0, false, BUFFER_BYTES)?.udp))
}

fn open_peer() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((loopback(), 0))?;
    socket.set_nonblocking(true)?;
    if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER_BYTES)?;
    }
    Ok(socket)
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}
