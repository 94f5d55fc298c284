//! Checks across values, after flags have been applied.

use std::net::IpAddr;

use tracing_subscriber::EnvFilter;

use super::{Config, Mistakes, file};

/// Most worker threads: more than any machine has processors for one process.
const WORKERS_MAX: usize = 256;

impl Config {
    /// How many worker threads there will be.
    pub(crate) fn workers(&self) -> usize {
        match self.media.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    pub(super) fn check(&self, mistakes: &mut Mistakes) {
        check_http(&self.http, mistakes);
        check_media(&self.media, self.workers(), mistakes);
        if let Err(error) = EnvFilter::builder().parse(&self.log.level) {
            mistakes.add("log.level", format!("{:?}: {error}", self.log.level));
        }
    }
}

fn check_http(http: &file::Http, mistakes: &mut Mistakes) {
    let tls = match (&http.certificate, &http.private_key) {
        (Some(_), Some(_)) => true,
        (None, None) => false,
        (Some(_), None) => {
            mistakes.add("http.private_key", "is needed together with http.certificate");
            true
        }
        (None, Some(_)) => {
            mistakes.add("http.certificate", "is needed together with http.private_key");
            true
        }
    };
    if !tls && !http.listen.ip().is_loopback() {
        mistakes.add(
            "http.listen",
            "an address other than loopback needs http.certificate and http.private_key: \
             tokens must not travel in the clear",
        );
    }
    for origin in http.allowed_origins.iter().filter(|o| !is_origin(o)) {
        let problem = format!("{origin:?} is no origin; write \"https://app.example\" or \"*\"");
        mistakes.add("http.allowed_origins", problem);
    }
}

/// `*`, or scheme and host with an optional port and nothing after it (RFC 6454 section 6.2).
fn is_origin(text: &str) -> bool {
    let Some(host) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return text == "*";
    };
    !host.is_empty() && !host.contains(|c: char| c == '/' || c == '*' || c.is_whitespace())
}

fn check_media(media: &file::Media, workers: usize, mistakes: &mut Mistakes) {
    if media.workers > WORKERS_MAX {
        mistakes.add("media.workers", format!("at most {WORKERS_MAX}"));
    }
    for (key, port) in [("media.udp_port", media.udp_port), ("media.tcp_port", media.tcp_port)] {
        if port != 0 && usize::from(port) + workers - 1 > usize::from(u16::MAX) {
            let problem = format!("{workers} workers need the ports {port} and up; choose lower");
            mistakes.add(key, problem);
        }
    }
    for address in media.announce.iter().filter(|a| a.is_unspecified() || a.is_multicast()) {
        mistakes.add("media.announce", format!("{address} is not an address to send to"));
    }
    if media.bind.iter().any(IpAddr::is_multicast) {
        mistakes.add("media.bind", "a multicast address cannot be bound");
    }
}
