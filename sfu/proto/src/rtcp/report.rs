//! Sender and receiver reports (RFC 3550 section 6.4).

use super::u32_at;
use crate::unit::{RtpTimestamp, Ssrc};

/// Bytes of a report block.
pub(super) const REPORT_BLOCK_LEN: usize = 24;
/// Bytes of a sender report before its blocks, without the packet's header.
pub(super) const SENDER_INFO_LEN: usize = 24;
/// Least and greatest cumulative loss: 24 bits, signed.
const LOST_RANGE: (i32, i32) = (-(1 << 23), (1 << 23) - 1);

/// What a sender says about its own stream (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// The stream.
    pub ssrc: Ssrc,
    /// Wall clock: seconds since 1900 in the upper 32 bits, fraction in the lower.
    pub ntp: u64,
    /// The same instant on the media clock.
    pub timestamp: RtpTimestamp,
    /// Packets sent since the start, wrapping.
    pub packets: u32,
    /// Payload octets sent since the start, wrapping.
    pub octets: u32,
}

impl SenderInfo {
    pub(super) fn parse(body: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = body.split_at_checked(SENDER_INFO_LEN)?;
        let ntp = u64::from(u32_at(head, 4)?) << 32 | u64::from(u32_at(head, 8)?);
        let info = Self {
            ssrc: Ssrc(u32_at(head, 0)?),
            ntp,
            timestamp: RtpTimestamp(u32_at(head, 12)?),
            packets: u32_at(head, 16)?,
            octets: u32_at(head, 20)?,
        };
        Some((info, rest))
    }

    pub(super) fn to_bytes(self) -> [u8; SENDER_INFO_LEN] {
        let mut bytes = [0; SENDER_INFO_LEN];
        bytes[..4].copy_from_slice(&self.ssrc.0.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.ntp.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.timestamp.0.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.packets.to_be_bytes());
        bytes[20..].copy_from_slice(&self.octets.to_be_bytes());
        bytes
    }

    /// The middle 32 bits of the wall clock, as a receiver repeats them in `last_sr`.
    pub const fn ntp_middle(&self) -> u32 {
        (self.ntp >> 16) as u32
    }
}

/// What a receiver says about one stream (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Share lost since the previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost since the start; negative with duplicates. 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number received, its cycles in the upper 16 bits.
    pub highest_seq: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// [`SenderInfo::ntp_middle`] of the last sender report, 0 if none.
    pub last_sr: u32,
    /// Time since that report, in 1/65536 s, 0 if none.
    pub delay_since_last_sr: u32,
}

impl ReportBlock {
    fn parse(bytes: &[u8; REPORT_BLOCK_LEN]) -> Self {
        let word = |at| u32_at(bytes, at).unwrap_or_default();
        Self {
            ssrc: Ssrc(word(0)),
            fraction_lost: bytes[4],
            // Sign extension of 24 bits.
            cumulative_lost: (word(4) << 8).cast_signed() >> 8,
            highest_seq: word(8),
            jitter: word(12),
            last_sr: word(16),
            delay_since_last_sr: word(20),
        }
    }

    /// Loss beyond 24 bits is written as the nearest value that fits.
    pub(super) fn to_bytes(self) -> [u8; REPORT_BLOCK_LEN] {
        let lost = self.cumulative_lost.clamp(LOST_RANGE.0, LOST_RANGE.1).cast_unsigned();
        let words = [
            self.ssrc.0,
            u32::from(self.fraction_lost) << 24 | lost & 0x00ff_ffff,
            self.highest_seq,
            self.jitter,
            self.last_sr,
            self.delay_since_last_sr,
        ];
        let mut bytes = [0; REPORT_BLOCK_LEN];
        for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

/// The blocks of a report, at most 31.
#[derive(Debug, Clone)]
pub struct ReportBlocks<'a> {
    blocks: &'a [[u8; REPORT_BLOCK_LEN]],
}

impl<'a> ReportBlocks<'a> {
    /// What follows the blocks is profile-specific and ignored.
    pub(super) fn new(count: u8, bytes: &'a [u8]) -> Option<Self> {
        let blocks = bytes.as_chunks().0.get(..usize::from(count))?;
        Some(Self { blocks })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.blocks.split_first()?;
        self.blocks = rest;
        Some(ReportBlock::parse(block))
    }
}
