//! The packet slab: blocks of memory, cut into equal slots for decrypted payloads.
//!
//! Slots are reserved when a track begins and given back when it ends, so that the packet path
//! neither allocates nor fails. A [`SlotId`] is not `Clone`: whoever holds it owns the slot.

use crate::limits::{CACHE_CHUNK_PACKETS, PACKET_BYTES_MAX};

/// The right to one slot. Given back with [`Slab::release`].
#[derive(Debug, PartialEq, Eq)]
pub struct SlotId(u32);

/// All payload memory of a shard: grows by a chunk when a track needs it, up to its limit.
pub struct Slab {
    /// Zeroed by the operating system, so resident only where they were written.
    chunks: Vec<Box<[u8]>>,
    free: Vec<SlotId>,
    /// Slots in chunks that were not needed yet.
    unmade: usize,
}

impl Slab {
    /// A slab of at most `slots` slots of [`PACKET_BYTES_MAX`] bytes. Takes no memory yet.
    pub fn new(slots: usize) -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), unmade: slots.min(u32::MAX as usize) }
    }

    /// Takes `count` slots, or `None` if there are not so many.
    pub fn reserve(&mut self, count: usize) -> Option<impl Iterator<Item = SlotId> + '_> {
        if self.available() < count {
            return None;
        }
        while self.free.len() < count {
            self.add_chunk();
        }
        Some(self.free.drain(self.free.len() - count..))
    }

    /// Gives slots back.
    pub fn release(&mut self, slots: impl IntoIterator<Item = SlotId>) {
        self.free.extend(slots);
    }

    /// Slots that nobody owns.
    pub fn available(&self) -> usize {
        self.free.len() + self.unmade
    }

    /// The bytes of a slot.
    pub fn bytes(&self, slot: &SlotId) -> &[u8] {
        let (chunk, at) = place(slot);
        &self.chunks[chunk][at..at + PACKET_BYTES_MAX]
    }

    /// The bytes of a slot, to be written.
    pub fn bytes_mut(&mut self, slot: &SlotId) -> &mut [u8] {
        let (chunk, at) = place(slot);
        &mut self.chunks[chunk][at..at + PACKET_BYTES_MAX]
    }

    fn add_chunk(&mut self) {
        let slots = self.unmade.min(CACHE_CHUNK_PACKETS);
        let first = (self.chunks.len() * CACHE_CHUNK_PACKETS) as u32;
        self.chunks.push(vec![0; slots * PACKET_BYTES_MAX].into_boxed_slice());
        // Taken from the end: low slots are used first.
        self.free.extend((first..first + slots as u32).rev().map(SlotId));
        self.unmade -= slots;
    }
}

/// Chunk of a slot, and where it begins in there. Only the last chunk is shorter than the rest.
fn place(slot: &SlotId) -> (usize, usize) {
    let number = slot.0 as usize;
    (number / CACHE_CHUNK_PACKETS, number % CACHE_CHUNK_PACKETS * PACKET_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn slots_are_distinct_and_return() {
        let mut slab = Slab::new(3);
        let slots: Vec<_> = slab.reserve(2).unwrap().collect();
        slab.bytes_mut(&slots[0]).fill(1);
        slab.bytes_mut(&slots[1]).fill(2);
        assert!(slab.bytes(&slots[0]).iter().all(|b| *b == 1));
        assert!(slab.reserve(2).is_none());
        slab.release(slots);
        assert_eq!(slab.available(), 3);
    }

    #[test]
    fn memory_is_taken_by_the_chunk_and_only_when_needed() {
        let mut slab = Slab::new(2 * CACHE_CHUNK_PACKETS + 5);
        assert_eq!((slab.chunks.len(), slab.available()), (0, 2 * CACHE_CHUNK_PACKETS + 5));
        let one: Vec<_> = slab.reserve(1).unwrap().collect();
        assert_eq!(slab.chunks.len(), 1);
        let rest: Vec<_> = slab.reserve(2 * CACHE_CHUNK_PACKETS + 4).unwrap().collect();
        assert_eq!((slab.chunks.len(), slab.chunks[2].len()), (3, 5 * PACKET_BYTES_MAX));
        let mut seen = std::collections::HashSet::new();
        for slot in one.iter().chain(&rest) {
            assert!(seen.insert(slot.0));
            assert_eq!(slab.bytes_mut(slot).len(), PACKET_BYTES_MAX);
        }
        assert!(slab.reserve(1).is_none());
    }
}
