//! Where a datagram comes from or goes to.

use std::net::{IpAddr, SocketAddr};

/// How bytes travel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// The shard's UDP socket.
    Udp,
    /// A TCP connection (RFC 6544), named by the shell; frames as in RFC 4571.
    Tcp(u32),
}

/// A carrier and the peer's address on it: the 5-tuple, as our own side is fixed per shard.
///
/// No `Debug` or `Display`: a peer's address is personal data and lives in memory only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// UDP or which TCP connection.
    pub carrier: Carrier,
    /// The peer. IPv4-mapped IPv6 addresses are canonicalised to IPv4.
    pub peer: SocketAddr,
}

impl Path {
    /// A path over the shard's UDP socket.
    pub fn udp(peer: SocketAddr) -> Self {
        Self { carrier: Carrier::Udp, peer: canonical(peer) }
    }

    /// A path over a TCP connection.
    pub fn tcp(connection: u32, peer: SocketAddr) -> Self {
        Self { carrier: Carrier::Tcp(connection), peer: canonical(peer) }
    }
}

/// An IPv4-mapped IPv6 address as IPv4, everything else as it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => SocketAddr::new(IpAddr::V4(ip), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}
