//! Which of our addresses clients are told (host candidates, RFC 8445 section 5.1.1.1).
//!
//! A browser reaches a server's 127.0.0.1 candidate from its own machine whatever interface it
//! gathers, so announcing it serves local development; anywhere else it only wastes checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sfu_proto::sdp::Candidate;

use crate::{config::Config, limits};

/// Addresses to announce, best first: as configured, or those of the interfaces.
pub(crate) fn announced(config: &Config, interfaces: &[IpAddr], ipv6: bool) -> Vec<IpAddr> {
    let mut found = match (config.announce.is_empty(), config.bind) {
        (false, _) => config.announce.clone(),
        (true, Some(bind)) if !bind.is_unspecified() => vec![bind],
        (true, _) => interfaces.iter().copied().filter(|ip| is_reachable(*ip, ipv6)).collect(),
    };
    // IPv4 first: with equal reach it is the address that more peers have.
    found.sort_by_key(|ip| (ip.is_ipv6(), config.announce.is_empty().then_some(*ip)));
    found.dedup();
    found.truncate(limits::ANNOUNCED_MAX);
    if found.is_empty() || config.announce_loopback {
        let loopback = loopback(config.bind);
        if !found.contains(&loopback) {
            found.push(loopback);
        }
    }
    found
}

/// Addresses that a worker's socket may be reached at and replies can choose among. None where the
/// socket is bound to one, nor an announced one that is not the machine's (1:1 NAT): it never matches,
/// and as a rival it would cost the only real one its batches.
pub(crate) fn locals(config: &Config, interfaces: &[IpAddr], announced: &[IpAddr]) -> Vec<IpAddr> {
    if config.bind.is_some_and(|bind| !bind.is_unspecified()) {
        return Vec::new();
    }
    let is_ours = |ip: &IpAddr| ip.is_loopback() || interfaces.contains(ip);
    let mut all: Vec<IpAddr> = announced.iter().copied().filter(is_ours).collect();
    all.extend(interfaces.iter().copied().filter(|ip| is_reachable(*ip, true)));
    let mut seen = std::collections::HashSet::new();
    all.retain(|ip| seen.insert(*ip));
    all
}

/// A worker's candidates: every address over UDP, then every address over TCP.
pub(crate) fn candidates(addresses: &[IpAddr], udp: u16, tcp: Option<u16>) -> Vec<Candidate> {
    let over = |tcp: bool, port: u16| {
        addresses
            .iter()
            .map(move |ip| Candidate { tcp, address: SocketAddr::new(*ip, port) })
            .collect::<Vec<_>>()
    };
    let mut all = over(false, udp);
    all.extend(tcp.into_iter().flat_map(|port| over(true, port)));
    all
}

/// Addresses of this machine. An error means none: the caller then announces loopback.
pub(crate) fn interfaces() -> Vec<IpAddr> {
    match if_addrs::get_if_addrs() {
        Ok(interfaces) => interfaces.into_iter().map(|interface| interface.ip()).collect(),
        Err(error) => {
            tracing::warn!(%error, "cannot list interfaces");
            Vec::new()
        }
    }
}

fn is_reachable(ip: IpAddr, ipv6: bool) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        // Link-local ones need a zone, which a candidate cannot carry (RFC 8839 section 5.1).
        IpAddr::V6(ip) => {
            ipv6 && !ip.is_loopback() && !ip.is_unicast_link_local() && !ip.is_unspecified()
        }
    }
}

/// IPv4's loopback, unless the socket cannot carry it.
fn loopback(bind: Option<IpAddr>) -> IpAddr {
    match bind {
        Some(IpAddr::V6(ip)) if !ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => Ipv4Addr::LOCALHOST.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const LAN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const LAN6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
    const LINK6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7));

    fn config() -> Config {
        Config::default()
    }

    #[test]
    fn interfaces_are_announced_without_loopback_and_link_local() {
        assert_eq!(announced(&config(), &[LINK6, LAN6, LOOP, LAN], true), [LAN, LAN6]);
        assert_eq!(announced(&config(), &[LAN6, LAN], false), [LAN]);
    }

    #[test]
    fn loopback_is_announced_when_alone_asked_for_or_bound() {
        assert_eq!(announced(&config(), &[LOOP], true), [LOOP]);
        let asked = Config { announce_loopback: true, ..config() };
        assert_eq!(announced(&asked, &[LOOP, LAN], true), [LAN, LOOP]);
        let bound = Config { bind: Some(LOOP), ..config() };
        assert_eq!(announced(&bound, &[LAN], true), [LOOP]);
    }

    #[test]
    fn configured_addresses_replace_interfaces() {
        let public = IpAddr::from([203, 0, 113, 5]);
        let set = Config { announce: vec![public], ..config() };
        assert_eq!(announced(&set, &[LAN], true), [public]);
    }

    #[test]
    fn a_translated_address_is_no_local_one() {
        let public = IpAddr::from([203, 0, 113, 5]);
        assert_eq!(locals(&config(), &[LOOP, LAN], &[public]), [LAN]);
        assert_eq!(locals(&config(), &[LOOP, LAN], &[LAN, LOOP]), [LAN, LOOP]);
    }

    #[test]
    fn udp_candidates_come_before_tcp() {
        let all = candidates(&[LAN, LOOP], 1, Some(2));
        let shape: Vec<_> = all.iter().map(|c| (c.tcp, c.address.port())).collect();
        assert_eq!(shape, [(false, 1), (false, 1), (true, 2), (true, 2)]);
    }
}
