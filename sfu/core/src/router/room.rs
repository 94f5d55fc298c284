//! A room: who is in it and what is published, in order.

use std::time::Instant;

use sfu_proto::id::{RoomId, TrackId};

use crate::{
    router::{tap::Tap, track::Track},
    shard::Peer,
    table::Key,
};

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
    /// Somebody has audio waiting for a slot.
    pub audio_contended: bool,
    /// Who was last announced to speak, loudest first. They get audio slots before all others.
    pub speakers: Vec<TrackId>,
    /// When speakers are looked at next, if anything was heard.
    pub speakers_due: Option<Instant>,
    /// What of it is recorded.
    pub tap: Option<Box<Tap>>,
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
            audio_contended: false,
            speakers: Vec::new(),
            speakers_due: None,
            tap: None,
        }
    }
}
