//! Which addresses belong to the internet. The standard library's `is_global` is not stable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and how many of its first bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                (a.to_bits() ^ b.to_bits()) & mask == 0
            }
            _ => false,
        }
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, bits: u32) -> Network {
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), bits }
}

const fn v6(a: u16, b: u16, c: u16, bits: u32) -> Network {
    Network { address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), bits }
}

/// IANA IPv4 Special-Purpose Address Registry (RFC 6890), multicast, class E.
const DENIED_V4: &[Network] = &[
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // RFC 1918
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT, RFC 6598
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // Azure's metadata, on a public address
    v4(169, 254, 0, 0, 16),   // link-local, metadata of most clouds
    v4(172, 16, 0, 0, 12),    // RFC 1918
    v4(192, 0, 0, 0, 24),     // protocol assignments, RFC 6890
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 31, 196, 0, 24),  // AS112, RFC 7535
    v4(192, 52, 193, 0, 24),  // AMT, RFC 7450
    v4(192, 88, 99, 0, 24),   // 6to4 relays, RFC 7526
    v4(192, 168, 0, 0, 16),   // RFC 1918
    v4(192, 175, 48, 0, 24),  // AS112, RFC 7534
    v4(198, 18, 0, 0, 15),    // benchmarks, RFC 2544
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 3),      // multicast, class E, broadcast
];

/// All of the IPv6 internet so far (RFC 4291 section 2.4). Outside of it: unspecified, loopback,
/// IPv4-mapped, NAT64, discard, unique local, link-local, site-local, multicast.
const INTERNET_V6: Network = v6(0x2000, 0, 0, 3);

/// IANA IPv6 Special-Purpose Address Registry, inside of [`INTERNET_V6`].
const DENIED_V6: &[Network] = &[
    v6(0x2001, 0, 0, 23), // Teredo, benchmarks, ORCHID and other protocols, RFC 2928
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16), // 6to4: an IPv4 address in disguise
    v6(0x2620, 0x4f, 0x8000, 48), // AS112
    v6(0x3ffe, 0, 0, 16), // 6bone, given back
    v6(0x3fff, 0, 0, 20), // documentation, RFC 9637
];

/// Whether an address is one of the internet's, for one host.
pub(super) fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => !DENIED_V4.iter().any(|network| network.contains(ip)),
        IpAddr::V6(_) => {
            INTERNET_V6.contains(ip) && !DENIED_V6.iter().any(|network| network.contains(ip))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_the_internet_is_global() {
        let global = |text: &str| is_global(text.parse().unwrap());
        for inner in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2620:4f:8000::1",
            "3ffe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd12:3456:789a::1",
            "fe80::1",
            "fe80::a9fe:a9fe",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
        ] {
            assert!(!global(inner), "{inner}");
        }
        for outer in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::200e",
            "2001:4860:4860::8888",
            "2003::1",
        ] {
            assert!(global(outer), "{outer}");
        }
    }

    #[test]
    fn networks_are_read_and_hold_what_they_say() {
        let holds = |network: &str, ip: &str| {
            Network::parse(network).unwrap().contains(ip.parse().unwrap())
        };
        assert!(holds("10.1.0.0/16", "10.1.255.1") && !holds("10.1.0.0/16", "10.2.0.1"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("fd00::/8", "fdff::1") && holds("::1", "::1") && !holds("::1", "::2"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "x/8", "10.0.0.0/-1"] {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }
}
