//! Quantities as types.

use std::fmt;

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bitrate(pub u64);

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit/s", self.0)
    }
}

/// An RTP sequence number as on the wire: 16 bits, wrapping (RFC 3550 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RtpSeq(pub u16);

/// An extended sequence number: rollover count and wire number, 48 bits, never wraps in practice
/// (RFC 3711 section 3.3.1 calls it the packet index).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// The wire form.
    pub const fn wire(self) -> RtpSeq {
        RtpSeq(self.0 as u16)
    }

    /// The rollover counter (RFC 3711 section 3.3.1).
    pub const fn roc(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// An RTP timestamp: 32 bits, wrapping, in units of the media clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RtpTimestamp(pub u32);

/// Synchronization source (RFC 3550).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ssrc(pub u32);
