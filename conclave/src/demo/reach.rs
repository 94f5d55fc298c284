//! How pages reach this server's WebSocket.

use axum::http::{HeaderMap, Uri, header};

/// What the configuration says about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reach {
    /// The server speaks TLS itself.
    pub(crate) tls: bool,
    /// `http(s)://host[:port]`, when the operator has named it: a proxy may stand in between.
    pub(crate) public_url: Option<String>,
}

impl Reach {
    /// Sources of a content security policy that let a page open the WebSocket: the public one,
    /// else those of the authority that the page was asked from.
    pub(super) fn policy_sources(&self, headers: &HeaderMap, uri: &Uri) -> Option<String> {
        match &self.public_url {
            Some(url) => Some(format!("ws{}", url.strip_prefix("http")?.trim_end_matches('/'))),
            None => authority(headers, uri).map(|host| format!("ws://{host} wss://{host}")),
        }
    }

    /// The WebSocket URL for a page: `minted`, which REST made from the public URL, when there is
    /// one, else the authority that the page used, since it reached us by that.
    pub(super) fn ws_url(&self, minted: String, authority: Option<&str>) -> String {
        match authority {
            Some(host) if self.public_url.is_none() => {
                format!("{}://{host}/v1/ws", if self.tls { "wss" } else { "ws" })
            }
            _ => minted,
        }
    }
}

/// The authority that the client used to reach us, when it is plainly a host and port. HTTP/2 has
/// it in the target (`:authority`) and mostly no Host header (RFC 9113, 8.3.1).
pub(super) fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let named = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(header::HOST)?.to_str().ok()?,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    named.bytes().all(plain).then_some(named)
}
