//! The tables of the configuration file with their defaults. The comments are also those of the
//! sample file (`conclave config sample`), so they speak to the operator.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::section::section;

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line, for log collectors.
    Json,
}

section! {
    /// What is kept on disk.
    Storage = "storage" {
        /// Directory of the database. It is made readable for its owner only.
        data_dir: PathBuf = PathBuf::from("data");
    }
}

section! {
    /// REST, WebSocket, WHIP and WHEP, health and metrics.
    Http = "http" {
        /// Address and TCP port. An address other than loopback needs a certificate.
        listen: SocketAddr = (Ipv4Addr::LOCALHOST, 7880).into();
        /// PEM file with the certificate chain, the server's certificate first.
        certificate: Option<PathBuf> = None, example "\"/etc/conclave/fullchain.pem\"";
        /// PEM file with the private key of the certificate.
        private_key: Option<PathBuf> = None, example "\"/etc/conclave/privkey.pem\"";
        /// Web origins whose pages may call the API and open WebSockets; "*" lets every page.
        /// Tokens, not origins, decide who gets in.
        allowed_origins: Vec<String> = vec!["*".to_owned()];
    }
}

section! {
    /// Media over UDP, and over TCP for networks without UDP.
    Media = "media" {
        /// Address to listen on. Left out: every IPv6 and IPv4 address of the machine.
        bind: Option<IpAddr> = None, example "\"192.0.2.1\"";
        /// UDP and TCP port of the first worker; each worker takes the next one: with 4 workers
        /// 7882 to 7885. Open them in the firewall. 0 lets the system choose.
        port: u16 = defaults().port;
        /// Whether clients may connect over TCP when their network blocks UDP.
        tcp: bool = defaults().tcp;
        /// Worker threads. 0: one per processor.
        workers: usize = defaults().workers;
        /// Addresses that clients are told to reach. Empty: those of the network interfaces. Set
        /// the public address when the machine is behind a NAT.
        announce: Vec<IpAddr> = defaults().announce;
        /// Whether 127.0.0.1 is told too, for browsers on this machine. It always is when there is
        /// no other address, and with `serve --demo`.
        announce_loopback: bool = defaults().announce_loopback;
        /// Most rooms per worker.
        rooms_max: usize = defaults().rooms_max;
        /// Most sessions (participants) per worker.
        sessions_max: usize = defaults().sessions_max;
        /// Packets that a worker keeps for retransmission, 1.5 kB of memory each.
        cache_packets: usize = defaults().cache_packets;
        /// Socket buffers to ask for, in bytes. The system may grant less: see `conclave doctor`.
        socket_buffer_bytes: usize = defaults().socket_buffer_bytes;
        /// Most TCP connections per worker.
        tcp_connections_max: usize = defaults().tcp_connections_max;
        /// Most TCP connections per worker from one address.
        tcp_connections_per_peer_max: usize = defaults().tcp_connections_per_peer_max;
    }
}

fn defaults() -> sfu::config::Config {
    sfu::config::Config::default()
}

impl Media {
    /// The media node's own settings; `local` adds 127.0.0.1 for browsers on this machine.
    pub(crate) fn node(&self, local: bool) -> sfu::config::Config {
        sfu::config::Config {
            node: None,
            bind: self.bind,
            port: self.port,
            workers: self.workers,
            announce: self.announce.clone(),
            announce_loopback: self.announce_loopback || local,
            tcp: self.tcp,
            rooms_max: self.rooms_max,
            sessions_max: self.sessions_max,
            cache_packets: self.cache_packets,
            socket_buffer_bytes: self.socket_buffer_bytes,
            tcp_connections_max: self.tcp_connections_max,
            tcp_connections_per_peer_max: self.tcp_connections_per_peer_max,
        }
    }
}

section! {
    /// Logs go to standard error. They hold no addresses, tokens, keys or handles.
    Log = "log" {
        /// "text" for people, "json" for log collectors.
        format: LogFormat = LogFormat::Text;
        /// "error", "warn", "info", "debug" or "trace"; also per area: "info,sfu=debug".
        level: String = "info".to_owned();
    }
}
