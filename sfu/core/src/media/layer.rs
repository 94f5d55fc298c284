//! The stream of a track that is forwarded: its packet cache and what is missing.
//!
//! With simulcast the track's other streams wait in [`crate::media::simulcast`] without a cache:
//! nobody can ask for packets that were never forwarded.

use sfu_proto::unit::{RtpSeq, RtpTimestamp, SeqNo};

use crate::{
    media::{gaps::Gaps, stream::Stream},
    slab::SlotId,
};

/// Bytes before the payload in a slot: room for RTX's original sequence number (RFC 4588), so
/// that a retransmission is sealed from the cache in one piece.
pub const HEADROOM: usize = 2;

/// What the cache knows about a packet; its bytes are in the slab.
///
/// ```text
/// slot │ 2 bytes headroom │ payload (len) │ dependency descriptor (descriptor_len) │ unused
/// ```
pub struct Entry {
    seq: Option<SeqNo>,
    slot: SlotId,
    /// The packet's facts.
    pub packet: Packet,
}

/// Facts of one received packet that forwarding needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Packet {
    /// Payload bytes, without padding. 0: a probe, not forwarded.
    pub len: u16,
    /// Bytes of the dependency descriptor behind the payload.
    pub descriptor_len: u8,
    /// Which of the track's formats.
    pub format: u8,
    /// Marker bit.
    pub marker: bool,
    /// The source's timestamp.
    pub timestamp: RtpTimestamp,
    /// The audio level element's byte, if there was one.
    pub level: Option<u8>,
    /// Arrived after a newer one. Set by [`Layer::commit`].
    pub late: bool,
}

impl Packet {
    /// Its payload, in the bytes of its slot.
    pub fn payload_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(HEADROOM..HEADROOM + usize::from(self.len)).unwrap_or_default()
    }
}

impl Entry {
    /// The slot that holds the packet's bytes.
    pub fn slot(&self) -> &SlotId {
        &self.slot
    }
}

/// Whether a packet is worth opening a place for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Not seen before, within the cache.
    New,
    /// In the cache already.
    Duplicate,
    /// Older than the cache.
    TooOld,
}

/// The forwarded stream.
pub struct Layer {
    /// Who sends it and how it arrives.
    pub stream: Stream,
    /// Counts re-anchorings of the stream: after each, slots begin it anew.
    pub epoch: u32,
    /// What is missing.
    pub gaps: Gaps,
    ring: Box<[Entry]>,
    highest: Option<SeqNo>,
}

impl Layer {
    /// A layer with a cache of these slots; their number is a power of two.
    pub fn new(slots: impl Iterator<Item = SlotId>) -> Self {
        let ring = slots
            .map(|slot| Entry { seq: None, slot, packet: Packet::default() })
            .collect::<Box<[_]>>();
        debug_assert!(ring.len().is_power_of_two());
        Self { stream: Stream::default(), epoch: 0, gaps: Gaps::default(), ring, highest: None }
    }

    /// The slots, when the layer ends.
    pub fn into_slots(self) -> impl Iterator<Item = SlotId> {
        self.ring.into_iter().map(|entry| entry.slot)
    }

    /// The stream is, or becomes, another one: nothing of the old one's packets remains.
    pub fn restart(&mut self) {
        self.resume();
        for entry in &mut self.ring {
            entry.seq = None;
        }
    }

    /// The stream goes on after a pause: slots begin it anew, nothing missing is asked for.
    pub fn resume(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.gaps = Gaps::default();
        self.highest = None;
    }

    /// The full number of a retransmitted packet.
    pub fn unwrap(&self, wire: RtpSeq) -> Option<SeqNo> {
        let highest = self.highest?;
        let distance = wire.0.wrapping_sub(highest.wire().0).cast_signed();
        highest.0.checked_add_signed(i64::from(distance)).map(SeqNo)
    }

    /// What to do with an authenticated packet.
    pub fn admit(&self, seq: SeqNo) -> Admission {
        if self.highest.is_some_and(|highest| seq.0 + self.ring.len() as u64 <= highest.0) {
            return Admission::TooOld;
        }
        if self.place(seq).seq == Some(seq) { Admission::Duplicate } else { Admission::New }
    }

    /// Puts a new packet into the cache, by exchanging its slot with the one in `spare`.
    /// Returns the first number jumped over, if there was a jump.
    pub fn commit(&mut self, seq: SeqNo, packet: Packet, spare: &mut SlotId) -> Option<SeqNo> {
        let mask = self.ring.len() - 1;
        let entry = &mut self.ring[seq.0 as usize & mask];
        std::mem::swap(&mut entry.slot, spare);
        entry.seq = Some(seq);
        entry.packet = Packet { late: self.highest.is_some_and(|highest| seq < highest), ..packet };
        let expected = self.highest.map_or(seq, |highest| SeqNo(highest.0 + 1));
        self.highest = self.highest.max(Some(seq));
        (seq > expected).then_some(expected)
    }

    /// A cached packet.
    pub fn cached(&self, seq: SeqNo) -> Option<&Entry> {
        let entry = self.place(seq);
        if entry.seq == Some(seq) { Some(entry) } else { None }
    }

    /// The newest number.
    pub fn highest(&self) -> Option<SeqNo> {
        self.highest
    }

    fn place(&self, seq: SeqNo) -> &Entry {
        &self.ring[seq.0 as usize & (self.ring.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::slab::Slab;

    #[test]
    fn duplicates_and_old_packets_are_told_apart_and_jumps_noticed() {
        let mut slab = Slab::new(9);
        let mut layer = Layer::new(slab.reserve(8).unwrap().collect::<Vec<_>>().into_iter());
        let mut spare = slab.reserve(1).unwrap().next().unwrap();
        let mut commit =
            |layer: &mut Layer, n| layer.commit(SeqNo(n), Packet::default(), &mut spare);
        assert_eq!(commit(&mut layer, 100), None);
        assert_eq!(commit(&mut layer, 103), Some(SeqNo(101)));
        assert_eq!(layer.admit(SeqNo(103)), Admission::Duplicate);
        assert_eq!(layer.admit(SeqNo(101)), Admission::New);
        assert_eq!(layer.admit(SeqNo(95)), Admission::TooOld);
        assert_eq!(commit(&mut layer, 101), None);
        assert_eq!(layer.unwrap(RtpSeq(102)), Some(SeqNo(102)));
        assert!(layer.cached(SeqNo(102)).is_none() && layer.cached(SeqNo(101)).is_some());
    }

    #[test]
    fn a_restart_forgets_everything_but_the_memory() {
        let mut slab = Slab::new(5);
        let mut layer = Layer::new(slab.reserve(4).unwrap().collect::<Vec<_>>().into_iter());
        let mut spare = slab.reserve(1).unwrap().next().unwrap();
        layer.commit(SeqNo(7), Packet::default(), &mut spare);
        layer.restart();
        assert!(layer.cached(SeqNo(7)).is_none());
        assert_eq!((layer.epoch, layer.admit(SeqNo(7))), (1, Admission::New));
        assert_eq!(layer.into_slots().count(), 4);
    }
}
