//! Which tracks are in which slots, and who speaks: carries out what `router/allocate` and
//! `router/speaker` decide.

use std::time::Instant;

use sfu_proto::{
    control::{SlotState, Source},
    id::TrackId,
    sdp::Kind,
};

use super::{Peer, Shard};
use crate::{
    event::Event,
    limits::{SPEAKERS_INTERVAL, SPEAKERS_MAX},
    media::keyframe::Want,
    router::{allocate::allocate, room::Room, speaker::loudest, track::Track},
    table::Key,
};

impl Shard {
    /// Something changed that slots depend on; dealt with once per turn.
    pub(super) fn mark_stale(&mut self, key: Key<Room>) {
        if let Some(room) = self.rooms.get_mut(key)
            && !room.stale
        {
            room.stale = true;
            self.stale.push(key);
        }
    }

    pub(super) fn allocate_stale_rooms(&mut self, now: Instant) {
        while let Some(key) = self.stale.pop() {
            let Some(room) = self.rooms.get_mut(key) else { continue };
            room.stale = false;
            let sessions = room.sessions.clone();
            for peer in sessions {
                self.current = Some(peer);
                self.allocate_peer(peer, now);
            }
            self.current = None;
        }
    }

    /// Fills the slots of one session; announces them if anything changed.
    pub(super) fn allocate_peer(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get(key) else { return };
        let waiting_before = peer.waiting;
        let (audio, changed_audio) = self.allocate_kind(key, Kind::Audio, now);
        let (video, changed_video) = self.allocate_kind(key, Kind::Video, now);
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.waiting = (audio as u32, video as u32);
        let announce = std::mem::take(&mut peer.announce_slots);
        if announce || changed_audio || changed_video || peer.waiting != waiting_before {
            self.announce_slots(key);
        }
    }

    /// Allocates the slots of one kind; returns how many tracks wait and whether a slot changed.
    fn allocate_kind(&mut self, key: Key<Peer>, kind: Kind, now: Instant) -> (usize, bool) {
        let wanted = self.wanted(key, kind, now);
        let Some(peer) = self.peers.get(key) else { return (0, false) };
        let numbers: Vec<usize> = (0..peer.slots.len())
            .filter(|n| peer.slots[*n].open && peer.slots[*n].kind == kind)
            .collect();
        let before: Vec<_> = numbers.iter().map(|n| peer.slots[*n].track).collect();
        let mut after = before.clone();
        let fits = |track: Key<Track>, place: usize| {
            let codec = self.tracks.get(track).and_then(Track::codec);
            peer.slots[numbers[place]].fits(kind, codec)
        };
        let waiting = allocate(&wanted, &mut after, fits);
        for (place, number) in numbers.iter().enumerate() {
            if before[place] != after[place] {
                self.show(key, *number, after[place]);
            }
        }
        if kind == Kind::Video && self.peers.get(key).is_some_and(|peer| peer.connected) {
            for (_, track) in before.iter().zip(&after).filter(|(before, after)| before != after) {
                if let Some(track) = track {
                    self.request_key_frame(*track, Want::Begin, now);
                }
            }
        }
        (waiting, before != after)
    }

    /// Others' tracks of a kind, most wanted first.
    fn wanted(&self, key: Key<Peer>, kind: Kind, now: Instant) -> Vec<Key<Track>> {
        let Some(peer) = self.peers.get(key).filter(|peer| peer.permissions.subscribe) else {
            return Vec::new();
        };
        let Some(room) = self.rooms.get(peer.room) else { return Vec::new() };
        let mut tracks: Vec<(Key<Track>, &Track)> = room
            .tracks
            .iter()
            .filter_map(|track| Some((*track, self.tracks.get(*track)?)))
            .filter(|(_, track)| track.kind() == kind && track.participant != peer.participant)
            .collect();
        if kind == Kind::Video {
            tracks.sort_by_key(|(_, track)| {
                let named = peer.want.iter().position(|id| *id == track.id);
                (named.unwrap_or(usize::MAX), track.source != Source::Screen)
            });
            return tracks.into_iter().map(|(key, _)| key).collect();
        }
        let shown: Vec<_> = peer.slots.iter().filter_map(|slot| slot.track).collect();
        let scored = tracks.iter().map(|(key, track)| (*key, track.level.score(now)));
        loudest(scored, &shown)
    }

    /// Puts a track, or none, into a slot.
    fn show(&mut self, key: Key<Peer>, number: usize, track: Option<Key<Track>>) {
        let Some(slot) = self.peers.get_mut(key).and_then(|peer| peer.slots.get_mut(number)) else {
            return;
        };
        let subscriber = (key, number as u16);
        if let Some(old) = slot.track.and_then(|old| self.tracks.get_mut(old)) {
            old.subscribers.retain(|other| *other != subscriber);
        }
        slot.show(None);
        if let Some((key, track)) = track.and_then(|key| Some((key, self.tracks.get_mut(key)?))) {
            slot.show(Some((key, &track.formats)));
            track.subscribers.push(subscriber);
        }
    }

    fn announce_slots(&mut self, key: Key<Peer>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.slots_version += 1;
        let track_id = |key| self.tracks.get(key).map(|track: &Track| track.id);
        let slots = peer
            .slots
            .iter()
            .filter(|slot| slot.open)
            .map(|slot| SlotState { mid: slot.mid.clone(), track: slot.track.and_then(track_id) })
            .collect();
        let event = Event::SlotsChanged {
            session: peer.id,
            version: peer.slots_version,
            slots,
            waiting: peer.waiting,
        };
        self.push_event(event);
    }

    /// Looks at who speaks; goes on while anything was heard.
    pub(super) fn on_room_timeout(&mut self, key: Key<Room>, now: Instant) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let audio = room.tracks.iter().filter_map(|key| self.tracks.get(*key));
        let heard: Vec<(TrackId, f32)> = audio
            .filter(|track| track.kind() == Kind::Audio && !track.muted)
            .map(|track| (track.id, track.level.score(now)))
            .filter(|(_, score)| *score >= crate::media::level::SPEECH)
            .collect();
        let mut speakers = loudest(heard.iter().copied(), &room.speakers);
        speakers.truncate(SPEAKERS_MAX);
        let audible = |track: &Key<Track>| {
            self.tracks.get(*track).is_some_and(|track| track.level.score(now) >= 1.0)
        };
        room.speakers_due = room.tracks.iter().any(audible).then(|| now + SPEAKERS_INTERVAL);
        self.room_timers.set(key.index(), room.speakers_due);
        if speakers != room.speakers {
            room.speakers.clone_from(&speakers);
            let event = Event::SpeakersChanged { room: room.id, tracks: speakers };
            self.push_event(event);
            // Where audio tracks wait for a slot, the loudest get one.
            if self.has_waiting_audio(key) {
                self.mark_stale(key);
            }
        }
    }

    fn has_waiting_audio(&self, key: Key<Room>) -> bool {
        let sessions = self.rooms.get(key).map(|room| room.sessions.as_slice()).unwrap_or_default();
        sessions.iter().any(|peer| self.peers.get(*peer).is_some_and(|peer| peer.waiting.0 > 0))
    }
}
