//! Configuration of the server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// What is wrong with [`Webhooks`]. Begins with the name of the setting.
pub use egress::RulesError as WebhooksError;
use sdk_spec::limits;
use serde::{Deserialize, Serialize};

/// How signaling is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of REST, WebSocket, WHIP and WHEP. Without a certificate only a loopback
    /// address is served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// How clients reach the server, `https://conclave.example`; for the `ws_url` of tokens.
    /// Without it the listen address is told, which must then be one.
    pub public_url: Option<String>,
    /// Certificate for TLS. The files are read again when they change.
    pub tls: Option<Tls>,
    /// Web origins that may use WebSocket, WHIP and WHEP; `*` allows all.
    pub allowed_origins: Vec<String>,
    /// Open TCP connections at most.
    pub connections_max: u32,
    /// Open TCP connections from one address (IPv6: one /64 network) at most; loopback (a proxy) has
    /// no such limit.
    pub connections_per_address_max: u32,
    /// Address and port of the operator's API, a loopback one; none serves it nowhere.
    pub operator_listen: Option<SocketAddr>,
    /// How long things are kept.
    pub retention: Retention,
    /// Where webhooks may go.
    pub webhooks: Webhooks,
}

/// How long things are kept, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// The event log.
    pub events_days: u32,
    /// Who was in which room.
    pub history_days: u32,
    /// Usage by room and day.
    pub usage_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            events_days: limits::EVENTS_DAYS_DEFAULT,
            history_days: limits::HISTORY_DAYS_DEFAULT,
            usage_days: limits::USAGE_DAYS_DEFAULT,
        }
    }
}

/// Where webhooks may go: to the internet over HTTPS, and to what stands here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Hosts that are allowed wherever they are, by plain HTTP and on any port too.
    pub allow_hosts: Vec<String>,
    /// Networks outside of the internet whose addresses are allowed, `10.1.0.0/16`.
    pub allow_networks: Vec<String>,
    /// Ports besides 443 and 8443.
    pub ports: Vec<u16>,
    /// PEM file with certificates of authorities that are trusted besides the public ones.
    pub ca_file: Option<PathBuf>,
}

/// Where the certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub private_key: PathBuf,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Plain HTTP to the world.
    #[error(
        "listen: plain HTTP is served on a loopback address only; name a certificate \
         or listen on 127.0.0.1"
    )]
    PlainHttp,
    /// Not a URL that clients can use.
    #[error("public_url: must be http(s)://host[:port] without a path")]
    PublicUrl,
    /// Nowhere for clients to go.
    #[error(
        "public_url: needed when listening on every address (0.0.0.0 or [::]), which no client \
         can connect to; say https://host[:port]"
    )]
    NoPublicUrl,
    /// Not a host or network that webhooks may go to.
    #[error(transparent)]
    Webhooks(#[from] WebhooksError),
    /// The operator's API to the world.
    #[error(
        "operator_listen: the operator's API is served on a loopback address only; reach it by \
         a tunnel or a proxy of your own"
    )]
    PublicOperator,
    /// A cap of nothing.
    #[error("connections_max and connections_per_address_max must be at least 1")]
    Connections,
    /// Nothing kept, events for less time than webhooks are tried, or usage for less than what it is
    /// counted from.
    #[error(
        "retention: events_days must be at least 6, history_days at least 1, and usage_days at \
         least events_days"
    )]
    Retention,
}

impl Webhooks {
    /// Finds the first mistake. [`Webhooks::ca_file`] is read when the server starts.
    ///
    /// # Errors
    /// It.
    pub fn validate(&self) -> Result<(), WebhooksError> {
        egress::Guard::new(&self.rules()).map(|_| ())
    }

    /// Where requests to partners may go, for webhooks and recordings alike.
    pub fn rules(&self) -> egress::Rules {
        egress::Rules {
            allow_hosts: self.allow_hosts.clone(),
            allow_networks: self.allow_networks.clone(),
            ports: self.ports.clone(),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7880)),
            public_url: None,
            tls: None,
            allowed_origins: vec![String::from("*")],
            connections_max: 20_000,
            connections_per_address_max: 500,
            retention: Retention::default(),
            webhooks: Webhooks::default(),
            operator_listen: None,
        }
    }
}

impl Config {
    /// Finds every mistake.
    ///
    /// # Errors
    /// All of them.
    pub fn validate(&self) -> Result<(), Vec<ConfigError>> {
        let mut errors = Vec::new();
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            errors.push(ConfigError::PlainHttp);
        }
        if self.public_url.as_deref().is_some_and(|url| !is_origin(url)) {
            errors.push(ConfigError::PublicUrl);
        }
        if self.listen.ip().is_unspecified() && self.public_url.is_none() {
            errors.push(ConfigError::NoPublicUrl);
        }
        if self.operator_listen.is_some_and(|address| !address.ip().is_loopback()) {
            errors.push(ConfigError::PublicOperator);
        }
        if self.connections_max == 0 || self.connections_per_address_max == 0 {
            errors.push(ConfigError::Connections);
        }
        let Retention { events_days, history_days, usage_days } = self.retention;
        if events_days < crate::limits::EVENTS_DAYS_MIN
            || history_days == 0
            || usage_days < events_days
        {
            errors.push(ConfigError::Retention);
        }
        errors.extend(self.webhooks.validate().err().map(ConfigError::Webhooks));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Where clients open their WebSocket, given the address that was bound.
    pub(crate) fn ws_url(&self, bound: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        let base = match &self.public_url {
            Some(url) => url.replacen("http", "ws", 1),
            None => format!("{scheme}://{bound}"),
        };
        format!("{base}/v1/ws")
    }

    /// Whether pages of `origin` may use the interfaces for clients.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    }
}

fn is_origin(url: &str) -> bool {
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|h| !h.is_empty() && !h.contains(['/', '?', '#', '@', ' ']))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_default_is_valid_and_plain_http_to_the_world_is_not() {
        let mut config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        config.listen = "0.0.0.0:80".parse().unwrap();
        config.public_url = Some(String::from("ftp://x"));
        config.operator_listen = Some("192.0.2.1:7881".parse().unwrap());
        let errors = config.validate().unwrap_err();
        let wanted = [ConfigError::PlainHttp, ConfigError::PublicUrl, ConfigError::PublicOperator];
        assert_eq!(errors, wanted);
    }

    #[test]
    fn events_are_kept_longer_than_webhooks_are_tried() {
        let mut config = Config::default();
        for (days, is_right) in [(1, false), (5, false), (6, true)] {
            config.retention.events_days = days;
            assert_eq!(config.validate().is_ok(), is_right, "{days}");
        }
        let told = ConfigError::Retention.to_string();
        assert!(told.contains(&format!("at least {},", crate::limits::EVENTS_DAYS_MIN)));
    }

    #[test]
    fn an_unspecified_address_needs_a_public_url() {
        let mut config = Config::default();
        for listen in ["0.0.0.0:443", "[::]:443"] {
            config.listen = listen.parse().unwrap();
            config.public_url = None;
            assert!(config.validate().unwrap_err().contains(&ConfigError::NoPublicUrl));
            config.public_url = Some(String::from("https://c.example"));
            assert!(!config.validate().unwrap_err().contains(&ConfigError::NoPublicUrl));
        }
    }

    #[test]
    fn the_websocket_url_follows_the_public_one() {
        let bound = "127.0.0.1:80".parse().unwrap();
        let mut config = Config::default();
        assert_eq!(config.ws_url(bound), "ws://127.0.0.1:80/v1/ws");
        config.public_url = Some(String::from("https://c.example"));
        assert_eq!(config.ws_url(bound), "wss://c.example/v1/ws");
    }
}
