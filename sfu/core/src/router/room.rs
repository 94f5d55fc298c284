//! A room: who is in it and what is published, in order.

use std::time::Instant;

use sfu_proto::id::{RoomId, TrackId};

use crate::{router::track::Track, shard::Peer, table::Key};

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
    /// Whether slots have to be allocated anew.
    pub stale: bool,
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
            stale: false,
            speakers: Vec::new(),
            speakers_due: None,
        }
    }
}
