//! Encodes transport-wide feedback: which chunks say it in the fewest bytes.

use super::transport::{FIXED_LEN, REFERENCE_UNIT_US};
use crate::{limits::TRANSPORT_STATUSES_MAX, unit::SeqNo};

/// Microseconds of a delta's unit (draft-holmer-01 section 3.1.5).
pub const TRANSPORT_TICK_US: i64 = 250;

/// Longest run of one run-length chunk: 13 bits.
const RUN_MAX: usize = 0x1fff;
/// Symbols in a chunk of one-bit symbols.
const ONE_BIT_SYMBOLS: usize = 14;
/// Symbols in a chunk of two-bit symbols.
const TWO_BIT_SYMBOLS: usize = 7;

/// A received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its unwrapped transport-wide sequence number.
    pub seq: SeqNo,
    /// When, in microseconds since an instant that stays the same during the session.
    pub at_us: u64,
}

impl Arrival {
    fn ticks(self) -> i64 {
        (self.at_us / TRANSPORT_TICK_US as u64).cast_signed()
    }

    /// Ticks of the greatest reference time before it.
    fn reference_ticks(self) -> i64 {
        let unit = REFERENCE_UNIT_US / TRANSPORT_TICK_US;
        self.ticks() / unit * unit
    }
}

/// Arrivals that fit one feedback packet, encoded on demand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Encoder<'a> {
    arrivals: &'a [Arrival],
}

impl<'a> Encoder<'a> {
    /// Takes as many of the arrivals as can be expressed in `len_max` bytes: increasing numbers,
    /// deltas of 16 bits, a bounded span. `None` when not even one fits.
    pub(super) fn new(arrivals: &'a [Arrival], len_max: usize) -> Option<Self> {
        let first = *arrivals.first()?;
        let continues = |pair: &[Arrival]| {
            let [before, after] = pair else { return false };
            let span = after.seq.0.saturating_sub(first.seq.0);
            after.seq > before.seq
                && span < TRANSPORT_STATUSES_MAX as u64
                && i16::try_from(after.ticks() - before.ticks()).is_ok()
        };
        let expressible = 1 + arrivals.windows(2).take_while(|pair| continues(pair)).count();
        let mut encoder = Self { arrivals: &arrivals[..expressible] };
        // Halving keeps this simple; a full packet is rare (700 arrivals in 1200 bytes).
        while encoder.len() > len_max {
            encoder.arrivals = &encoder.arrivals[..encoder.arrivals.len() / 2];
            encoder.arrivals.first()?;
        }
        Some(encoder)
    }

    pub(super) const fn arrivals(&self) -> usize {
        self.arrivals.len()
    }

    /// Bytes of the feedback control information, before padding to a word.
    pub(super) fn len(&self) -> usize {
        let chunks = self.chunks().count();
        let deltas: usize = self.deltas().map(delta_len).sum();
        FIXED_LEN + 2 * chunks + deltas
    }

    /// Writes into `out`, which has at least [`len`](Self::len) bytes; the rest becomes zero.
    pub(super) fn write(&self, feedback_count: u8, out: &mut [u8]) {
        let (Some(first), Some(last)) = (self.arrivals.first(), self.arrivals.last()) else {
            return;
        };
        let reference = first.reference_ticks() * TRANSPORT_TICK_US / REFERENCE_UNIT_US;
        // The span is bounded by `new`; the reference time wraps at 24 bits.
        let status_count = (last.seq.0 - first.seq.0 + 1) as u16;
        let fixed = u64::from(first.seq.wire().0) << 48
            | u64::from(status_count) << 32
            | (reference.cast_unsigned() & 0x00ff_ffff) << 8
            | u64::from(feedback_count);
        let mut out = Output { out, len: 0 };
        out.push(&fixed.to_be_bytes());
        self.chunks().for_each(|chunk| out.push(&chunk.to_be_bytes()));
        for ticks in self.deltas() {
            match u8::try_from(ticks) {
                Ok(small) => out.push(&[small]),
                // Fits by `new`; the first delta is below one reference unit.
                Err(_) => out.push(&(ticks as i16).to_be_bytes()),
            }
        }
        out.fill();
    }

    /// Deltas of the arrivals in ticks.
    fn deltas(&self) -> impl Iterator<Item = i64> + use<'a> {
        let start = self.arrivals.first().map_or(0, |first| first.reference_ticks());
        self.arrivals.iter().scan(start, |before, arrival| {
            let delta = arrival.ticks() - *before;
            *before = arrival.ticks();
            Some(delta)
        })
    }

    fn chunks(&self) -> Chunks<'a> {
        let start = self.arrivals.first().copied();
        Chunks {
            symbols: Symbols {
                arrivals: self.arrivals,
                seq: start.map_or(0, |first| first.seq.0),
                before: start.map_or(0, Arrival::reference_ticks),
            },
        }
    }
}

fn delta_len(ticks: i64) -> usize {
    if u8::try_from(ticks).is_ok() { 1 } else { 2 }
}

/// Appends to a buffer that is long enough.
struct Output<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Output<'_> {
    fn push(&mut self, bytes: &[u8]) {
        self.out[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn fill(self) {
        self.out[self.len..].fill(0);
    }
}

/// Status symbols in order of sequence: 0 lost, else bytes of the delta.
#[derive(Debug, Clone)]
struct Symbols<'a> {
    arrivals: &'a [Arrival],
    seq: u64,
    before: i64,
}

impl Iterator for Symbols<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let (next, rest) = self.arrivals.split_first()?;
        let is_lost = next.seq.0 != self.seq;
        self.seq += 1;
        if is_lost {
            return Some(0);
        }
        let delta = next.ticks() - self.before;
        (self.arrivals, self.before) = (rest, next.ticks());
        Some(delta_len(delta) as u16)
    }
}

/// Packet chunks (sections 3.1.3 and 3.1.4): a run where one says at least as much as a vector,
/// else 14 symbols without large deltas, else 7.
#[derive(Debug, Clone)]
struct Chunks<'a> {
    symbols: Symbols<'a>,
}

impl Iterator for Chunks<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let symbol = self.symbols.clone().next()?;
        let run = self.symbols.clone().take(RUN_MAX).take_while(|s| *s == symbol).count();
        let next = self.symbols.clone().take(ONE_BIT_SYMBOLS);
        let one_bit = next.clone().all(|symbol| symbol < 2);
        let vector = if one_bit { ONE_BIT_SYMBOLS } else { TWO_BIT_SYMBOLS };
        if run >= vector.min(next.count()) {
            self.skip(run);
            return Some(symbol << 13 | run as u16);
        }
        let (head, width) = if one_bit { (0x8000, 1) } else { (0xc000, 2) };
        let symbols = self.symbols.by_ref().take(vector);
        let bits = symbols.enumerate().fold(0, |bits, (i, symbol)| {
            // The first symbol stands directly behind the two bits of the head.
            bits | symbol << (14 - width * (i + 1))
        });
        Some(head | bits)
    }
}

impl Chunks<'_> {
    fn skip(&mut self, count: usize) {
        self.symbols.by_ref().take(count).for_each(drop);
    }
}
