//! The packet slab: one block of memory, cut into equal slots for decrypted payloads.
//!
//! Slots are reserved when a track begins and given back when it ends, so that the packet path
//! neither allocates nor fails. A [`SlotId`] is not `Clone`: whoever holds it owns the slot.

use crate::limits::PACKET_BYTES_MAX;

/// The right to one slot. Given back with [`Slab::release`].
#[derive(Debug, PartialEq, Eq)]
pub struct SlotId(u32);

/// All payload memory of a shard.
pub struct Slab {
    /// Zeroed by the operating system, so resident only where it was written.
    bytes: Box<[u8]>,
    free: Vec<SlotId>,
}

impl Slab {
    /// A slab of `slots` slots of [`PACKET_BYTES_MAX`] bytes.
    pub fn new(slots: usize) -> Self {
        let count = u32::try_from(slots).unwrap_or(u32::MAX);
        Self {
            bytes: vec![0; count as usize * PACKET_BYTES_MAX].into_boxed_slice(),
            // Taken from the end: low, already touched slots are used first.
            free: (0..count).rev().map(SlotId).collect(),
        }
    }

    /// Takes `count` slots, or `None` if there are not so many.
    pub fn reserve(&mut self, count: usize) -> Option<impl Iterator<Item = SlotId> + '_> {
        let from = self.free.len().checked_sub(count)?;
        Some(self.free.drain(from..))
    }

    /// Gives slots back.
    pub fn release(&mut self, slots: impl IntoIterator<Item = SlotId>) {
        self.free.extend(slots);
    }

    /// Slots that nobody owns.
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// The bytes of a slot.
    pub fn bytes(&self, slot: &SlotId) -> &[u8] {
        let at = slot.0 as usize * PACKET_BYTES_MAX;
        &self.bytes[at..at + PACKET_BYTES_MAX]
    }

    /// The bytes of a slot, to be written.
    pub fn bytes_mut(&mut self, slot: &SlotId) -> &mut [u8] {
        let at = slot.0 as usize * PACKET_BYTES_MAX;
        &mut self.bytes[at..at + PACKET_BYTES_MAX]
    }
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
}
