//! Ports, buffers, batches, addresses.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

use nix::sys::socket::{setsockopt, sockopt};

use super::Finding;
use crate::config::file::Media;

/// A common size of one media packet; any works to ask the kernel whether it can cut batches.
const SEGMENT_BYTES: i32 = 1200;

/// The port of a listener; `setting`: which one.
pub(super) fn listener(listen: SocketAddr, setting: &str) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(format!("{listen} is free")),
        Err(error) => Finding::fail(
            format!("{listen}: {error}"),
            format!("end the program that has it (is Conclave running already?) or set {setting}"),
        ),
    }
}

/// One UDP port for each worker.
pub(super) fn udp_ports(media: &Media) -> Finding {
    ports(media, |address| UdpSocket::bind(address).map(drop))
}

/// One TCP port for each worker, unless switched off.
pub(super) fn tcp_ports(media: &Media) -> Finding {
    if !media.tcp {
        return Finding::warn(
            "ICE-TCP is off",
            "set media.tcp so that clients in networks without UDP get in",
        );
    }
    ports(media, |address| TcpListener::bind(address).map(drop))
}

fn ports(media: &Media, bind: impl Fn(SocketAddr) -> std::io::Result<()>) -> Finding {
    let address = media.bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let workers = media.node(false).worker_count();
    let (first, last) = (media.port, media.port.saturating_add(workers.saturating_sub(1) as u16));
    if first == 0 {
        return Finding::warn("chosen by the system at each start", "set media.port");
    }
    for port in first..=last {
        if let Err(error) = bind(SocketAddr::new(address, port)) {
            let remedy =
                "end the program that has it (is Conclave running already?) or set media.port";
            return Finding::fail(format!("{address} port {port}: {error}"), remedy);
        }
    }
    Finding::ok(if first == last {
        format!("{first} is free")
    } else {
        format!("{first} to {last} are free")
    })
}

/// How much the kernel lets a socket buffer.
pub(super) fn buffers(wanted: u64) -> Finding {
    let limit = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/core/{name}")).unwrap_or_default();
        text.trim().parse::<u64>().ok()
    };
    let (Some(receive), Some(send)) = (limit("rmem_max"), limit("wmem_max")) else {
        return Finding::warn("the kernel's limits are unknown", "check net.core.rmem_max by hand");
    };
    judge_buffers(receive, send, wanted)
}

fn judge_buffers(receive: u64, send: u64, wanted: u64) -> Finding {
    let shown = format!("net.core.rmem_max {receive}, net.core.wmem_max {send} bytes");
    if receive.min(send) >= wanted {
        return Finding::ok(shown);
    }
    Finding::warn(
        format!("{shown}: bursts will be lost"),
        format!(
            "sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}, \
             and in /etc/sysctl.d/ for the next start"
        ),
    )
}

/// Whether the kernel cuts one large send into packets (UDP GSO) and joins received ones (GRO).
pub(super) fn segmentation() -> Finding {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) else {
        return Finding::fail("no UDP socket can be opened", "check the sandbox of the process");
    };
    let gso = setsockopt(&socket, sockopt::UdpGsoSegment, &SEGMENT_BYTES).is_ok();
    let gro = setsockopt(&socket, sockopt::UdpGroSegment, &true).is_ok();
    match (gso, gro) {
        (true, true) => Finding::ok("the kernel has UDP GSO and GRO"),
        _ => Finding::warn(
            format!("UDP GSO {}, GRO {}", has(gso), has(gro)),
            "Linux 5.0 or newer has both; without them each packet costs two to five times more",
        ),
    }
}

fn has(it: bool) -> &'static str {
    if it { "works" } else { "is missing" }
}

/// Whether clients elsewhere can reach what they are told.
pub(super) fn announced(media: &Media) -> Finding {
    if !media.announce.is_empty() {
        return Finding::ok(format!("{} (configured)", join(&media.announce)));
    }
    let found = match if_addrs::get_if_addrs() {
        Ok(found) => found,
        Err(error) => {
            return Finding::fail(format!("interfaces: {error}"), "set media.announce");
        }
    };
    let addresses: Vec<IpAddr> =
        found.iter().map(if_addrs::Interface::ip).filter(|ip| !local(*ip)).collect();
    if addresses.is_empty() {
        return Finding::warn(
            "only loopback: nobody outside this machine can connect",
            "connect a network or set media.announce",
        );
    }
    if addresses.iter().all(|ip| private(*ip)) {
        return Finding::warn(
            format!("{}: private, so only this network can connect", join(&addresses)),
            "set media.announce to the public address if there is NAT in front",
        );
    }
    Finding::ok(join(&addresses))
}

fn join(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// Loopback and link-local addresses are of no use to clients.
fn local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Private (RFC 1918), unique local (RFC 4193) and documentation ranges.
fn private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_documentation(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_taken_port_fails() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert!(matches!(listener(taken.local_addr().unwrap(), "http.listen"), Finding::Fail(..)));
        let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let media = Media { port, workers: 1, ..Media::default() };
        assert!(matches!(udp_ports(&media), Finding::Fail(..)));
    }

    #[test]
    fn small_kernel_buffers_are_warned_about_with_a_remedy() {
        const WANTED: u64 = 4 * 1024 * 1024;
        assert!(matches!(judge_buffers(WANTED, WANTED, WANTED), Finding::Ok(_)));
        let Finding::Warn(_, remedy) = judge_buffers(212_992, WANTED, WANTED) else {
            panic!("small buffers were not warned about");
        };
        assert!(remedy.contains("net.core.rmem_max=4194304"), "{remedy}");
    }
}
