//! Where a datagram comes from or goes to.

use std::net::{IpAddr, SocketAddr};

/// How bytes travel.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// The shard's UDP socket, and our address there, numbered by the shell. 0: the one that the
    /// route to the peer chooses.
    Udp(u8),
    /// A TCP connection (RFC 6544), named by the shell; frames as in RFC 4571.
    Tcp(u32),
}

/// A carrier and the peer's address on it: the 5-tuple, as our own port is fixed per shard.
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
    /// A path over the shard's UDP socket, from the address that the route chooses.
    pub fn udp(peer: SocketAddr) -> Self {
        Self::udp_from(0, peer)
    }

    /// A path over the shard's UDP socket, from one of its addresses: a client takes answers only
    /// from the address that it asked (RFC 8445 section 7.2.5.2.1).
    pub fn udp_from(local: u8, peer: SocketAddr) -> Self {
        Self { carrier: Carrier::Udp(local), peer: canonical(peer) }
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
