//! A room: who is in it and what is published, in order.

use std::time::Instant;

use sfu_proto::id::{RoomId, TrackId};

use crate::{router::track::Track, shard::Peer, table::Key};

/// Which slots have to be allocated anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// Those for audio: somebody else speaks.
    Audio,
    /// All: tracks came, went or changed.
    All,
}

/// One room.
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// Most sessions at once.
    pub sessions_max: usize,
    /// Sessions, in order of admission.
    pub sessions: Vec<Key<Peer>>,
    /// Tracks, in order of publication.
    pub tracks: Vec<Key<Track>>,
    /// What has to be allocated anew for every session.
    pub stale: Option<Stale>,
    /// Bit n: somebody with n audio slots (63: or more) has audio waiting for one.
    pub audio_contended: u64,
    /// Who was last announced to speak.
    pub speakers: Vec<TrackId>,
    /// When speakers are looked at next, if anything was heard.
    pub speakers_due: Option<Instant>,
}

impl Room {
    /// An empty room.
    pub fn new(id: RoomId, sessions_max: u32) -> Self {
        Self {
            id,
            sessions_max: sessions_max as usize,
            sessions: Vec::new(),
            tracks: Vec::new(),
            stale: None,
            audio_contended: 0,
            speakers: Vec::new(),
            speakers_due: None,
        }
    }

    /// Whether other speakers in this order, loudest first, may change what somebody hears.
    pub fn contends(&self, speakers: &[TrackId]) -> bool {
        let heard = |all: &[TrackId], slots: usize| {
            let mut heard = all.get(..slots).unwrap_or(all).to_vec();
            heard.sort_unstable();
            heard
        };
        (0..64)
            .filter(|slots| self.audio_contended >> slots & 1 == 1)
            .any(|slots| heard(speakers, slots) != heard(&self.speakers, slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_speakers_that_cross_the_last_slot_matter() {
        let ids = |all: [u128; 4]| all.map(TrackId::from_bits);
        let mut room = Room::new(RoomId::from_bits(1), 9);
        room.speakers = ids([1, 2, 3, 4]).to_vec();
        assert!(!room.contends(&ids([5, 6, 7, 8])), "nobody waits");
        room.audio_contended = 1 << 2 | 1 << 4;
        assert!(!room.contends(&ids([2, 1, 4, 3])));
        assert!(room.contends(&ids([1, 3, 2, 4])));
        assert!(room.contends(&ids([1, 2, 3, 5])));
    }
}
