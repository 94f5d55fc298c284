//! A peer that nobody here wrote the media stack of: webrtc-rs, over WHIP (RFC 9725) or WHEP.
//!
//! It publishes synthetic VP8 and Opus packets whose content tells their number, or watches and
//! checks that what claims to be such a packet is intact. Packets of other senders count as foreign.

pub(crate) mod connection;
mod content;
pub(crate) mod http;
pub(crate) mod publish;
mod tally;
mod watch;

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
pub use tally::Received;

/// Longest run, seconds.
const SECONDS_MAX: u64 = 3600;

/// Settings of one peer.
#[derive(Debug, Clone, clap::Args)]
#[command(group(clap::ArgGroup::new("role").required(true).args(["whip", "whep"])))]
pub struct Options {
    /// WHIP endpoint to publish to, for example http://127.0.0.1:8080/v1/whip.
    #[arg(long)]
    pub whip: Option<String>,
    /// WHEP endpoint to watch, for example http://127.0.0.1:8080/v1/whep.
    #[arg(long)]
    pub whep: Option<String>,
    /// Room token.
    #[arg(long, env = "CONCLAVE_TOKEN", hide_env_values = true)]
    pub token: String,
    /// How long to send or receive after connecting.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// How long to wait for the connection.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub connect_seconds: u64,
    /// WHEP: fail unless packets of another `loadtest peer` arrived and every one was intact.
    #[arg(long, requires = "whep")]
    pub expect_synthetic: bool,
}

/// What came of it: one line of JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `publish` or `watch`.
    pub role: &'static str,
    /// Whether the peer did what it was asked to.
    pub passed: bool,
    /// Time from the request to ICE and DTLS being up; absent if they never were.
    pub connected_ms: Option<u64>,
    /// Audio packets sent after connecting.
    pub audio_sent: u64,
    /// Video packets sent after connecting.
    pub video_sent: u64,
    /// Audio that arrived.
    pub audio: Received,
    /// Video that arrived.
    pub video: Received,
    /// Status of the DELETE that ended the session (RFC 9725 section 4.2).
    pub deleted: Option<u16>,
}

impl Report {
    fn new(role: &'static str) -> Self {
        Self {
            role,
            passed: false,
            connected_ms: None,
            audio_sent: 0,
            video_sent: 0,
            audio: Received::default(),
            video: Received::default(),
            deleted: None,
        }
    }
}

/// Runs one peer to its end.
///
/// # Errors
/// The server refused the request, or the local stack failed. Not connecting, and receiving
/// nothing, are no errors but a report that has not passed.
pub async fn run(options: &Options) -> Result<Report> {
    match (&options.whip, &options.whep) {
        (Some(url), _) => publish::run(url, options).await,
        (None, Some(url)) => watch::run(url, options).await,
        (None, None) => anyhow::bail!("neither --whip nor --whep"),
    }
}

impl Options {
    fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn connect_time(&self) -> Duration {
        Duration::from_secs(self.connect_seconds)
    }
}
