//! Opens a worker's UDP socket and TCP listener on one port.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use mio::net::{TcpListener, UdpSocket};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that the kernel completes before we accept them.
const TCP_BACKLOG: i32 = 256;
/// Ports tried when the system chooses one and TCP finds it taken.
const EPHEMERAL_TRIES: usize = 16;

/// A worker's sockets, non-blocking.
pub struct Sockets {
    /// Media over UDP.
    pub udp: UdpSocket,
    /// ICE-TCP, if wanted.
    pub tcp: Option<TcpListener>,
    /// The port of both.
    pub port: u16,
    /// Whether IPv6 peers can be reached.
    pub ipv6: bool,
    /// Receive buffer that the kernel granted, in bytes of its own accounting.
    pub receive_buffer_bytes: usize,
    /// Send buffer that the kernel granted, in bytes of its own accounting.
    pub send_buffer_bytes: usize,
}

/// Opens UDP and, if `tcp`, TCP on the same port of `address`; `None` means every address, IPv6
/// and IPv4 where the system has both.
///
/// # Errors
/// The system's error for the port, typically "address in use".
pub fn open(
    address: Option<IpAddr>,
    port: u16,
    tcp: bool,
    buffer_bytes: usize,
) -> io::Result<Sockets> {
    match address {
        Some(ip) => open_at(ip, port, tcp, buffer_bytes),
        None => match open_at(Ipv6Addr::UNSPECIFIED.into(), port, tcp, buffer_bytes) {
            Err(error) if no_ipv6(&error) => {
                open_at(Ipv4Addr::UNSPECIFIED.into(), port, tcp, buffer_bytes)
            }
            result => result,
        },
    }
}

fn open_at(ip: IpAddr, port: u16, tcp: bool, buffer_bytes: usize) -> io::Result<Sockets> {
    let mut tries = if port == 0 && tcp { EPHEMERAL_TRIES } else { 1 };
    loop {
        tries -= 1;
        let udp = open_udp(SocketAddr::new(ip, port), buffer_bytes)?;
        let got = udp.local_addr()?;
        let listener = match tcp.then(|| open_tcp(got)).transpose() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => continue,
            result => result?,
        };
        let socket = SockRef::from(&udp);
        return Ok(Sockets {
            port: got.port(),
            ipv6: ip.is_ipv6(),
            receive_buffer_bytes: socket.recv_buffer_size()?,
            send_buffer_bytes: socket.send_buffer_size()?,
            tcp: listener,
            udp,
        });
    }
}

fn open_udp(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    dual_stack(&socket, address)?;
    // The plain option is silently capped by net.core.{r,w}mem_max; forcing needs CAP_NET_ADMIN.
    if setsockopt(&socket, sockopt::RcvBufForce, &buffer_bytes).is_err() {
        socket.set_recv_buffer_size(buffer_bytes)?;
    }
    if setsockopt(&socket, sockopt::SndBufForce, &buffer_bytes).is_err() {
        socket.set_send_buffer_size(buffer_bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

fn open_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    dual_stack(&socket, address)?;
    socket.set_reuse_address(true)?;
    // Inherited by accepted connections.
    socket.set_send_buffer_size(crate::limits::TCP_SEND_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// `[::]` takes IPv4 too; a concrete IPv6 address does not.
fn dual_stack(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv6() { socket.set_only_v6(!address.ip().is_unspecified()) } else { Ok(()) }
}

/// Errors of a system without IPv6, or with it switched off.
fn no_ipv6(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let codes = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL, Errno::EPROTONOSUPPORT];
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_share_a_port_that_the_system_chose() {
        let sockets = open(Some(Ipv4Addr::LOCALHOST.into()), 0, true, 1 << 20).unwrap();
        assert_ne!(sockets.port, 0);
        assert_eq!(sockets.tcp.unwrap().local_addr().unwrap().port(), sockets.port);
        assert!(sockets.receive_buffer_bytes > 0 && sockets.send_buffer_bytes > 0);
    }

    #[test]
    fn every_address_takes_ipv4_peers() {
        let sockets = open(None, 0, false, 1 << 20).unwrap();
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(b"hello", (Ipv4Addr::LOCALHOST, sockets.port)).unwrap();
        let socket = SockRef::from(&sockets.udp);
        socket.set_nonblocking(false).unwrap();
        let mut buffer = [0; 16];
        let (len, _) = sockets.udp.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"hello");
    }

    #[test]
    fn a_taken_port_is_an_error() {
        let first = open(Some(Ipv4Addr::LOCALHOST.into()), 0, false, 1 << 20).unwrap();
        let error = open(Some(Ipv4Addr::LOCALHOST.into()), first.port, false, 1 << 20).err();
        assert_eq!(error.unwrap().kind(), io::ErrorKind::AddrInUse);
    }
}
