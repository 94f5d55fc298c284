//! What a shard must be told at start.

use std::time::{Duration, Instant, SystemTime};

use sfu_proto::sdp;

use crate::limits;

/// Settings of one shard, fixed for its life.
#[derive(Clone)]
pub struct ShardConfig {
    /// Our candidates for every answer, best first: the shard's UDP port, then its TCP port, each
    /// on every announced address.
    pub candidates: Vec<sdp::Candidate>,
    /// Most rooms at once.
    pub rooms_max: usize,
    /// Most sessions at once.
    pub sessions_max: usize,
    /// Packets that the shard's cache holds, shared by all tracks; each takes
    /// [`limits::PACKET_BYTES_MAX`] bytes of memory, touched when first used.
    pub cache_packets: usize,
    /// The same moment on the monotonic and on the wall clock. `abs-send-time` counts from it, and
    /// sender reports tell it.
    pub epoch: (Instant, SystemTime),
    /// Whether rooms can be recorded: somebody polls the taps.
    pub taps: bool,
}

impl ShardConfig {
    /// Default limits.
    pub fn new(candidates: Vec<sdp::Candidate>, epoch: (Instant, SystemTime)) -> Self {
        Self {
            candidates,
            rooms_max: limits::ROOMS_PER_SHARD_DEFAULT,
            sessions_max: limits::SESSIONS_PER_SHARD_DEFAULT,
            cache_packets: limits::CACHE_PACKETS_DEFAULT,
            epoch,
            taps: false,
        }
    }
}

impl ShardConfig {
    /// Our wall clock at `now`, 64-bit NTP format (RFC 3550 section 4).
    pub fn ntp_at(&self, now: Instant) -> u64 {
        let (instant, wall) = self.epoch;
        let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let elapsed = now.checked_duration_since(instant).unwrap_or_default();
        ntp_of(since_1970 + elapsed).wrapping_add(SECONDS_1900_TO_1970 << 32)
    }
}

/// NTP counts from 1900.
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;

/// A duration in 32.32 fixed point, wrapping in 2036 as NTP does.
pub fn ntp_of(duration: Duration) -> u64 {
    let fraction = (u64::from(duration.subsec_nanos()) << 32) / 1_000_000_000;
    duration.as_secs() << 32 | fraction
}
