//! Generic NACK (RFC 4585 section 6.2.1) and full intra request (RFC 5104 section 4.3.1).

use crate::unit::{RtpSeq, Ssrc};

/// Lost sequence numbers of a NACK, in the order written: at most 17 for each 4 bytes.
#[derive(Debug, Clone)]
pub struct LostSeqs<'a> {
    pairs: &'a [[u8; 4]],
    /// Bits of the current pair not yet handed out: bit n stands for `base + n`.
    pending: u32,
    base: u16,
}

impl<'a> LostSeqs<'a> {
    /// At least one pair (RFC 4585 section 6.2.1), and whole ones.
    pub(super) fn new(information: &'a [u8]) -> Option<Self> {
        let (pairs, rest) = information.as_chunks();
        (rest.is_empty() && !pairs.is_empty()).then_some(Self { pairs, pending: 0, base: 0 })
    }
}

impl Iterator for LostSeqs<'_> {
    type Item = RtpSeq;

    fn next(&mut self) -> Option<RtpSeq> {
        if self.pending == 0 {
            let (&[p0, p1, b0, b1], rest) = self.pairs.split_first()?;
            self.pairs = rest;
            self.base = u16::from_be_bytes([p0, p1]);
            // PID itself, then the 16 after it.
            self.pending = u32::from(u16::from_be_bytes([b0, b1])) << 1 | 1;
        }
        let offset = self.pending.trailing_zeros() as u16; // below 17
        self.pending &= self.pending - 1;
        Some(RtpSeq(self.base.wrapping_add(offset)))
    }
}

/// One request of a FIR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntry {
    /// Of whom a key frame is wanted.
    pub media: Ssrc,
    /// Command sequence number: a repeated one is a repetition, not a new request.
    pub command: u8,
}

/// The requests of a FIR.
#[derive(Debug, Clone)]
pub struct Firs<'a> {
    entries: &'a [[u8; 8]],
}

impl<'a> Firs<'a> {
    pub(super) fn new(information: &'a [u8]) -> Option<Self> {
        let (entries, rest) = information.as_chunks();
        rest.is_empty().then_some(Self { entries })
    }
}

impl Iterator for Firs<'_> {
    type Item = FirEntry;

    fn next(&mut self) -> Option<FirEntry> {
        let (&[s0, s1, s2, s3, command, ..], rest) = self.entries.split_first()?;
        self.entries = rest;
        Some(FirEntry { media: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])), command })
    }
}
