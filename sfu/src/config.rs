//! What an operator may set for a media node. The sample configuration is made from these types
//! and their documentation.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sfu_proto::id::NodeId;

use crate::limits;

/// Settings of a media node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Id of the node. Left out: a new random one at each start. A second node with the same id
    /// takes over from the first, which then stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Address to listen on. Left out: all addresses, IPv6 and IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<IpAddr>,
    /// UDP and TCP port of the first worker; worker n uses this port plus n. 0 lets the system
    /// choose, for tests.
    pub port: u16,
    /// Worker threads. 0: one per core.
    pub workers: usize,
    /// Addresses that clients are told to reach. Empty: the addresses of this machine's
    /// interfaces. Set it to the public address when the machine is behind a NAT.
    pub announce: Vec<IpAddr>,
    /// Whether 127.0.0.1 is announced too, for browsers on this machine. It always is when there
    /// is no other address.
    pub announce_loopback: bool,
    /// Whether clients may connect over TCP when their network blocks UDP.
    pub tcp: bool,
    /// Most rooms per worker.
    pub rooms_max: usize,
    /// Most sessions per worker.
    pub sessions_max: usize,
    /// Packets that a worker keeps for retransmission, 1.5 kB of memory each.
    pub cache_packets: usize,
    /// Socket buffers to ask for, in bytes. The system may grant less: `conclave doctor` says so.
    pub socket_buffer_bytes: usize,
    /// Most TCP connections per worker.
    pub tcp_connections_max: usize,
    /// Most TCP connections per worker from one address.
    pub tcp_connections_per_peer_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        use sfu_core::limits as core;
        Self {
            node: None,
            bind: None,
            port: 7882,
            workers: 0,
            announce: Vec::new(),
            announce_loopback: false,
            tcp: true,
            rooms_max: core::ROOMS_PER_SHARD_DEFAULT,
            sessions_max: core::SESSIONS_PER_SHARD_DEFAULT,
            cache_packets: core::CACHE_PACKETS_DEFAULT,
            socket_buffer_bytes: limits::SOCKET_BUFFER_BYTES_DEFAULT,
            tcp_connections_max: limits::TCP_CONNECTIONS_DEFAULT,
            tcp_connections_per_peer_max: limits::TCP_CONNECTIONS_PER_PEER_DEFAULT,
        }
    }
}

/// A mistake in a [`Config`]. Blame: the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// More threads than [`limits::WORKERS_MAX`].
    #[error("workers: at most {}", limits::WORKERS_MAX)]
    TooManyWorkers,
    /// The last worker's port does not exist.
    #[error("port: {port} plus {workers} workers exceeds 65535")]
    PortRange {
        /// As configured.
        port: u16,
        /// After counting the cores.
        workers: usize,
    },
    /// More addresses than [`limits::ANNOUNCED_MAX`].
    #[error("announce: at most {} addresses", limits::ANNOUNCED_MAX)]
    TooManyAddresses,
    /// An address that no client can reach.
    #[error("announce: {0} cannot be reached by anybody")]
    UnreachableAddress(IpAddr),
    /// A number outside its range.
    #[error("{name}: must be {min} to {max}")]
    Range {
        /// Name of the setting.
        name: &'static str,
        /// Least.
        min: usize,
        /// Most.
        max: usize,
    },
}

impl Config {
    /// Finds every mistake, so that an operator sees them at once.
    ///
    /// # Errors
    /// The mistakes, at least one.
    pub fn validate(&self) -> Result<(), Vec<ConfigError>> {
        let mut errors = Vec::new();
        let workers = self.worker_count();
        if workers > limits::WORKERS_MAX {
            errors.push(ConfigError::TooManyWorkers);
        }
        if self.port != 0 && usize::from(self.port) + workers > usize::from(u16::MAX) + 1 {
            errors.push(ConfigError::PortRange { port: self.port, workers });
        }
        if self.announce.len() > limits::ANNOUNCED_MAX {
            errors.push(ConfigError::TooManyAddresses);
        }
        let unreachable = |ip: &&IpAddr| ip.is_unspecified() || ip.is_multicast();
        let bad = self.announce.iter().filter(unreachable);
        errors.extend(bad.map(|ip| ConfigError::UnreachableAddress(*ip)));
        errors.extend(self.ranges().into_iter().flatten());
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Worker threads after counting the cores.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        }
    }

    fn ranges(&self) -> [Option<ConfigError>; 6] {
        let check = |name, value: usize, min, max| {
            (value < min || value > max).then_some(ConfigError::Range { name, min, max })
        };
        let connections = limits::TCP_CONNECTIONS_MAX;
        [
            check("rooms_max", self.rooms_max, 1, 1 << 20),
            check("sessions_max", self.sessions_max, 1, 1 << 20),
            check("cache_packets", self.cache_packets, 64, 1 << 24),
            check(
                "socket_buffer_bytes",
                self.socket_buffer_bytes,
                64 * 1024,
                limits::SOCKET_BUFFER_BYTES_MAX,
            ),
            check("tcp_connections_max", self.tcp_connections_max, 1, connections),
            check(
                "tcp_connections_per_peer_max",
                self.tcp_connections_per_peer_max,
                1,
                connections,
            ),
        ]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_toml() {
        let config = Config { workers: 2, ..Config::default() };
        assert_eq!(config.validate(), Ok(()));
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
    }

    #[test]
    fn unknown_settings_are_refused() {
        assert!(toml::from_str::<Config>("prot = 1").is_err());
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let config = Config {
            port: 65_535,
            workers: 2,
            announce: vec![IpAddr::from([0, 0, 0, 0])],
            tcp_connections_max: 0,
            ..Config::default()
        };
        assert_eq!(
            config.validate().unwrap_err(),
            [
                ConfigError::PortRange { port: 65_535, workers: 2 },
                ConfigError::UnreachableAddress(IpAddr::from([0, 0, 0, 0])),
                ConfigError::Range { name: "tcp_connections_max", min: 1, max: 4096 },
            ]
        );
    }
}
