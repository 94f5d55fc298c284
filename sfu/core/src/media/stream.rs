//! What is known of one received RTP stream, forwarded or not: who sends it and how it arrives.

use std::time::{Duration, Instant};

use crate::media::{
    keyframe::KeyFrames,
    reception::{Reception, SenderInfo},
};

/// One SSRC of a publisher, and its key frame requests.
#[derive(Default)]
pub struct Stream {
    /// Its SSRC; 0 before the first packet.
    pub ssrc: u32,
    /// When the SSRC was bound, unless it has said goodbye since.
    pub bound_at: Option<Instant>,
    /// Reception statistics.
    pub reception: Reception,
    /// The publisher's last sender report.
    pub sender: Option<SenderInfo>,
    /// Key frame requests.
    pub key_frames: KeyFrames,
}

impl Stream {
    /// Another SSRC takes over, or the same one begins anew: only the account of key frames goes on,
    /// as it protects the publisher.
    pub fn restart(&mut self, ssrc: u32, bound_at: Option<Instant>) {
        let key_frames = std::mem::take(&mut self.key_frames);
        *self = Self { ssrc, bound_at, key_frames, ..Self::default() };
    }

    /// Whether a packet has arrived since it was bound.
    pub fn has_begun(&self) -> bool {
        self.reception.active_at().is_some()
    }

    /// Whether a packet arrived within `window`.
    pub fn is_active(&self, window: Duration, now: Instant) -> bool {
        self.reception.active_at().is_some_and(|at| now.saturating_duration_since(at) < window)
    }
}
