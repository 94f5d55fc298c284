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
        /// First UDP port. Each worker takes the next one: with 4 workers 7882 to 7885.
        udp_port: u16 = 7882;
        /// First TCP port for ICE-TCP, one per worker. 0 turns ICE-TCP off.
        tcp_port: u16 = 7982;
        /// Worker threads; 0 means one per processor.
        workers: usize = 0;
        /// Addresses to bind. Empty means every IPv4 and IPv6 address of the machine.
        bind: Vec<IpAddr> = Vec::new();
        /// Addresses told to clients. Set it behind NAT (the public address). Empty means the
        /// addresses of the network interfaces.
        announce: Vec<IpAddr> = Vec::new();
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
