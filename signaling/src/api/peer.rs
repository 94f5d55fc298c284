//! Where a request comes from. Addresses stay in memory, and are never shown or logged.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{Extensions, HeaderMap, header, request::Parts},
};

/// Network bits of an IPv6 address: one subscriber has all the rest (RFC 6177).
const NETWORK_BITS: u32 = 64;

/// Who one address speaks for: itself in IPv4, its /64 in IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) if v6.is_loopback() => IpAddr::V6(v6),
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (u128::BITS - NETWORK_BITS);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

/// The other end of the connection of a request. No `Debug`: it is an address.
#[derive(Clone, Copy)]
pub(crate) enum Peer {
    /// This machine, and no proxy said that it speaks for somebody else.
    Here,
    /// A proxy on this machine, or a call inside of the process: for anybody.
    Unknown,
    /// A network, as of [`network`].
    Network(IpAddr),
}

/// The address of this machine that a connection came to.
#[derive(Clone, Copy)]
pub(crate) struct Local(pub(crate) IpAddr);

impl Peer {
    pub(super) fn of(extensions: &Extensions, headers: &HeaderMap) -> Self {
        // This machine reaches its own addresses from the same one.
        let local = extensions.get::<Local>().map(|Local(ip)| ip.to_canonical());
        let is_here = |ip: IpAddr| ip.is_loopback() || Some(ip) == local;
        match extensions.get::<ConnectInfo<SocketAddr>>() {
            None => Self::Unknown,
            Some(ConnectInfo(address)) if !is_here(address.ip().to_canonical()) => {
                Self::Network(network(address.ip()))
            }
            Some(_) if is_forwarded(headers) => Self::Unknown,
            Some(_) => Self::Here,
        }
    }
}

/// Whether a proxy says that it forwards: any of what the usual ones add.
fn is_forwarded(headers: &HeaderMap) -> bool {
    let names = ["forwarded", "x-forwarded-for", "x-real-ip", header::VIA.as_str()];
    names.iter().any(|name| headers.contains_key(*name))
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn addresses_of_one_subscriber_are_one_network() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert!(of("::1").is_loopback());
    }

    #[test]
    fn a_proxy_on_this_machine_is_not_this_machine() {
        let mut extensions = Extensions::new();
        let mut headers = HeaderMap::new();
        assert!(matches!(Peer::of(&extensions, &headers), Peer::Unknown));
        extensions.insert(ConnectInfo::<SocketAddr>("127.0.0.1:9".parse().unwrap()));
        assert!(matches!(Peer::of(&extensions, &headers), Peer::Here));
        headers.insert("x-forwarded-for", "192.0.2.7".parse().unwrap());
        assert!(matches!(Peer::of(&extensions, &headers), Peer::Unknown));
        extensions.insert(ConnectInfo::<SocketAddr>("192.0.2.7:9".parse().unwrap()));
        assert!(matches!(Peer::of(&extensions, &headers), Peer::Network(_)));
        extensions.insert(Local("::ffff:192.0.2.7".parse().unwrap()));
        assert!(matches!(Peer::of(&extensions, &headers), Peer::Unknown));
        headers.clear();
        assert!(matches!(Peer::of(&extensions, &headers), Peer::Here));
        extensions.insert(Local("192.0.2.8".parse().unwrap()));
        assert!(matches!(Peer::of(&extensions, &headers), Peer::Network(_)));
    }
}
