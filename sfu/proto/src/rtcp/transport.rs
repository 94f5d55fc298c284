//! Reads transport-wide congestion control feedback
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
//!
//! ```text
//! sender, media │ base seq, status count │ reference time, count │ chunks … │ deltas … │ padding
//!                                                                  2 bytes    1 or 2 bytes per
//!                                                                  each       received packet
//! ```

use crate::{limits::TRANSPORT_STATUSES_MAX, rtcp::transport_write::TRANSPORT_TICK_US, unit::Ssrc};

/// Bytes of base sequence number, status count, reference time and feedback count.
pub(super) const FIXED_LEN: usize = 8;
/// Microseconds of a unit of the reference time.
pub(super) const REFERENCE_UNIT_US: i64 = 64_000;

/// What happened to one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportStatus {
    /// Did not arrive (so far).
    Lost,
    /// Arrived.
    Received {
        /// Microseconds after the previous received packet, or after the reference time for the
        /// first; a multiple of 250; negative when reordered.
        delta_us: i32,
    },
}

/// A checked feedback packet.
#[derive(Debug, Clone)]
pub struct TransportFeedback<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// Any stream of the transport.
    pub media: Ssrc,
    /// Transport-wide sequence number of the first status.
    pub base_seq: u16,
    /// Number of statuses, bounded by [`TRANSPORT_STATUSES_MAX`].
    pub status_count: u16,
    /// Counts feedback packets of the transport, wrapping.
    pub feedback_count: u8,
    /// Reference time in microseconds: a multiple of 64 ms, 24 bits signed on the wire, so it
    /// wraps every 12.4 days.
    pub reference_us: i64,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    /// Finds where the deltas start and checks that all of them are there.
    pub(super) fn parse(sender: Ssrc, media: Ssrc, information: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = information.split_first_chunk::<FIXED_LEN>()?;
        let status_count = u16::from_be_bytes([fixed[2], fixed[3]]);
        if usize::from(status_count) > TRANSPORT_STATUSES_MAX {
            return None;
        }
        let (chunk_count, delta_len) = measure(rest.as_chunks().0, status_count)?;
        let (chunks, rest) = rest.split_at_checked(2 * chunk_count)?;
        let reference = i32::from_be_bytes([fixed[4], fixed[5], fixed[6], 0]) >> 8;
        Some(Self {
            sender,
            media,
            base_seq: u16::from_be_bytes([fixed[0], fixed[1]]),
            status_count,
            feedback_count: fixed[7],
            reference_us: i64::from(reference) * REFERENCE_UNIT_US,
            chunks: chunks.as_chunks().0,
            deltas: rest.get(..delta_len)?,
        })
    }

    /// The statuses as (transport-wide sequence number, status), in order of sequence.
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            symbols: Symbols::new(self.chunks, self.status_count),
            deltas: self.deltas,
            seq: self.base_seq,
        }
    }
}

/// Number of chunks that hold `status_count` symbols, and bytes of their deltas. Works by chunk: a
/// packet's symbols may be a thousand times its bytes.
fn measure(chunks: &[[u8; 2]], status_count: u16) -> Option<(usize, usize)> {
    let (mut left, mut delta_len, mut used) = (status_count, 0, 0);
    while left > 0 {
        // Fewer symbols than announced?
        let mut chunk = Chunk::new(*chunks.get(used)?);
        used += 1;
        if let Chunk::Run { symbol, left: run } = chunk {
            let run = run.min(left);
            if run > 0 {
                delta_len += usize::from(run) * delta_width(symbol)?;
            }
            left -= run;
            continue;
        }
        while let Some(symbol) = chunk.next().filter(|_| left > 0) {
            delta_len += delta_width(symbol)?;
            left -= 1;
        }
    }
    Some((used, delta_len))
}

/// Section 3.1.1: 0 not received, 1 small delta, 2 large or negative delta, 3 reserved.
fn delta_width(symbol: u8) -> Option<usize> {
    match symbol {
        0 => Some(0),
        1 => Some(1),
        2 => Some(2),
        _ => None,
    }
}

/// Symbols of the packet chunks, exactly as many as announced.
#[derive(Debug, Clone)]
struct Symbols<'a> {
    chunks: &'a [[u8; 2]],
    current: Chunk,
    /// Symbols still to come in all.
    left: u16,
}

/// A chunk in the course of reading.
#[derive(Debug, Clone, Copy)]
enum Chunk {
    /// Section 3.1.3: `left` times the same.
    Run { symbol: u8, left: u16 },
    /// Section 3.1.4: symbols of `width` bits, the next one at the top of `bits`.
    Vector { bits: u16, width: u8, left: u8 },
}

impl<'a> Symbols<'a> {
    fn new(chunks: &'a [[u8; 2]], count: u16) -> Self {
        Self { chunks, current: Chunk::Run { symbol: 0, left: 0 }, left: count }
    }
}

impl Chunk {
    fn new(bytes: [u8; 2]) -> Self {
        let word = u16::from_be_bytes(bytes);
        match word >> 14 {
            0 | 1 => Self::Run { symbol: (word >> 13 & 3) as u8, left: word & 0x1fff },
            2 => Self::Vector { bits: word << 2, width: 1, left: 14 },
            _ => Self::Vector { bits: word << 2, width: 2, left: 7 },
        }
    }

    fn next(&mut self) -> Option<u8> {
        match self {
            Self::Run { symbol, left } => {
                *left = left.checked_sub(1)?;
                Some(*symbol)
            }
            Self::Vector { bits, width, left } => {
                *left = left.checked_sub(1)?;
                let symbol = *bits >> (16 - u32::from(*width));
                *bits <<= *width;
                Some(symbol as u8)
            }
        }
    }
}

impl Iterator for Symbols<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.left == 0 {
            return None;
        }
        // Runs of length 0 are possible; each takes two bytes, so this ends.
        loop {
            if let Some(symbol) = self.current.next() {
                self.left -= 1;
                return Some(symbol);
            }
            let (chunk, rest) = self.chunks.split_first()?;
            self.chunks = rest;
            self.current = Chunk::new(*chunk);
        }
    }
}

/// Iterator over a feedback's statuses.
#[derive(Debug, Clone)]
pub struct Statuses<'a> {
    symbols: Symbols<'a>,
    deltas: &'a [u8],
    seq: u16,
}

impl Iterator for Statuses<'_> {
    type Item = (u16, TransportStatus);

    fn next(&mut self) -> Option<Self::Item> {
        let width = delta_width(self.symbols.next()?)?;
        let (delta, rest) = self.deltas.split_at_checked(width)?;
        let ticks = match *delta {
            [] => None,
            [small] => Some(i32::from(small)),
            [high, low, ..] => Some(i32::from(i16::from_be_bytes([high, low]))),
        };
        let status = match ticks {
            None => TransportStatus::Lost,
            Some(ticks) => TransportStatus::Received { delta_us: ticks * TRANSPORT_TICK_US as i32 },
        };
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        self.deltas = rest;
        Some((seq, status))
    }
}
