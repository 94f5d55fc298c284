//! From the packets of a track to pictures and audio packets that a file can hold.
//!
//! ```text
//! packet ─▶ reorder ─▶ picture (its codec's payload format) ─▶ Unit
//!           (window)   complete? does it follow the one before?
//! ```
//! A picture with a hole, and what a decoder could not decode without it, is left out; the next
//! [`Unit`] says so. Every byte here is a stranger's: parsers are total, buffers have limits. What
//! does not live here: time, files.
//!
//! The payload formats are our own code: the parsers of `rtc-rtp` know no continuity (picture ids,
//! temporal layers), and its one for H.264 panics on a STAP-A of odd length. `rtc-rtp` is the other side
//! of our tests.

mod av1;
mod h264;
mod opus;
mod picture;
mod reorder;
mod stream;
mod vp8;
mod vp9;

pub(crate) use opus::packet_ticks;
use shiguredo_mp4::boxes::SampleEntry;
pub(crate) use stream::{Incoming, Stream};

use crate::align::Moment;

/// What happened to a track since its unit before: a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Breaks(u8);

impl Breaks {
    /// Packets are missing.
    pub(crate) const LOST: Self = Self(1);
    /// It was muted.
    pub(crate) const MUTED: Self = Self(2);
    /// It was not recorded.
    pub(crate) const PAUSED: Self = Self(4);
    /// The recorder lost records.
    pub(crate) const OVERFLOW: Self = Self(8);
    /// It began anew with another SSRC or codec.
    pub(crate) const SWITCHED: Self = Self(16);

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// One picture or one audio packet, complete and decodable.
pub(crate) struct Unit {
    /// When.
    pub(crate) moment: Moment,
    /// As a file holds it.
    pub(crate) bytes: Vec<u8>,
    /// Whether decoding can begin here.
    pub(crate) is_key: bool,
    /// What a file must say about it, at key frames.
    pub(crate) format: Option<Format>,
    /// What happened before it.
    pub(crate) breaks: Breaks,
}

/// What a file says about the units from here on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Format {
    /// Opus.
    Audio {
        /// Whether two channels are coded.
        is_stereo: bool,
    },
    /// A picture size, pixels.
    Video {
        /// Width.
        width: u16,
        /// Height.
        height: u16,
        /// For MP4; none for VP8, which no MP4 holds.
        entry: Option<Box<SampleEntry>>,
    },
}

/// A payload is not as its format demands. Peers are to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;
