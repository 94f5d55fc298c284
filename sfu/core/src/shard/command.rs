//! Orders of signaling, except offers.

use std::{sync::Arc, time::Instant};

use sfu_proto::{
    id::{RoomId, SessionId, TrackId},
    tap::Body,
};

use super::{
    Peer, Shard,
    peer::{Admission, random_credentials},
};
use crate::{
    event::{Command, EndReason, Event, Permissions},
    limits::{SYNC_SPACING, WANT_MAX},
    media::keyframe::Want,
    router::{audience::Audience, permission::may_publish, room::Room, track::Track},
    table::Key,
    transport::session::Session,
};

impl Shard {
    pub(super) fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::OpenRoom { room, sessions_max } => self.open_room(room, sessions_max),
            Command::CloseRoom { room } => self.close_room(room, now),
            Command::OpenSession { room, session, participant, permissions } => {
                self.open_session(room, (session, participant), permissions, now);
            }
            Command::CloseSession { session } => self.close_session(session, now),
            Command::Offer { session, request, offer, publish } => {
                self.on_offer(session, request, &offer, &publish, now);
            }
            Command::SetMuted { track, muted } => self.set_muted(track, muted, now),
            Command::Want { session, tracks } => self.set_want(session, tracks, now),
            Command::SetPermissions { session, permissions } => {
                self.set_permissions(session, permissions, now);
            }
            Command::SetAudience { session, audience } => {
                self.set_audience(session, audience.into(), now);
            }
            Command::SetTap { room, tap } => self.set_tap(room, tap, now),
            Command::Sync { sessions } => self.sync(&sessions, now),
        }
    }

    fn open_room(&mut self, id: RoomId, sessions_max: u32) {
        if let Some(room) = self.index.rooms.get(&id).and_then(|key| self.rooms.get_mut(*key)) {
            room.sessions_max = sessions_max as usize;
            return;
        }
        if self.rooms.len() >= self.config.rooms_max {
            self.stats.commands_limited.add(1);
            return;
        }
        let key = self.rooms.insert(Room::new(id, sessions_max));
        self.index.rooms.insert(id, key);
        self.stats.rooms.add(1);
    }

    fn close_room(&mut self, id: RoomId, now: Instant) {
        let Some(key) = self.index.rooms.remove(&id) else { return self.unknown() };
        let sessions = self.rooms.get(key).map(|room| room.sessions.clone()).unwrap_or_default();
        for peer in sessions {
            self.end_peer(peer, EndReason::Closed, true, now);
        }
        self.end_tap(key, now);
        self.rooms.remove(key);
        self.room_timers.set(key.index(), None);
        self.stats.rooms.sub(1);
    }

    fn open_session(
        &mut self,
        room_id: RoomId,
        (id, participant): (SessionId, sfu_proto::id::ParticipantId),
        permissions: Permissions,
        now: Instant,
    ) {
        if self.index.peers.contains_key(&id) {
            return self.unknown();
        }
        let Some(room_key) = self.index.rooms.get(&room_id).copied() else {
            self.unknown();
            return self.push_event(Event::SessionEnded { session: id, reason: EndReason::Closed });
        };
        let Some(room) = self.rooms.get_mut(room_key) else { return };
        if room.sessions.len() >= room.sessions_max || self.peers.len() >= self.config.sessions_max
        {
            self.stats.commands_limited.add(1);
            return self
                .push_event(Event::SessionEnded { session: id, reason: EndReason::Refused });
        }
        let local = random_credentials(&mut self.rng);
        let transport = Session::new(local.clone(), Arc::clone(&self.identity), now);
        let admission = Admission { id, room: room_key, participant, permissions };
        let peer = Peer::new(admission, transport, local, &mut self.rng, now);
        let key = self.peers.insert(peer);
        room.sessions.push(key);
        self.index.peers.insert(id, key);
        self.stats.sessions.add(1);
        self.after_transport(key, now);
    }

    fn close_session(&mut self, id: SessionId, now: Instant) {
        let Some(key) = self.index.peers.get(&id).copied() else { return self.unknown() };
        self.end_peer(key, EndReason::Closed, true, now);
    }

    fn set_muted(&mut self, id: TrackId, muted: bool, now: Instant) {
        let Some(key) = self.index.tracks.get(&id).copied() else { return self.unknown() };
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.muted == muted {
            return;
        }
        track.muted = muted;
        // Receivers must not take the pause for loss, nor go on with stale pictures.
        track.layer.resume();
        if muted {
            track.level = Default::default();
        }
        self.tap_event(key, |index| Body::Muted { index, muted }, now);
        if !muted {
            self.request_key_frame(key, Want::Begin, now);
        }
    }

    fn set_want(&mut self, id: SessionId, tracks: Vec<TrackId>, now: Instant) {
        let Some(key) = self.index.peers.get(&id).copied() else { return self.unknown() };
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.want.clear();
        for track in tracks.into_iter().take(WANT_MAX) {
            if !peer.want.contains(&track) {
                peer.want.push(track);
            }
        }
        self.allocate_peer(key, now);
    }

    fn set_permissions(&mut self, id: SessionId, permissions: Permissions, now: Instant) {
        let Some(key) = self.index.peers.get(&id).copied() else { return self.unknown() };
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.permissions = permissions;
        let forbidden: Vec<Key<Track>> = peer
            .tracks
            .iter()
            .copied()
            .filter(|track| {
                let source = self.tracks.get(*track).map(|track| track.source);
                source.is_some_and(|source| !may_publish(&peer.permissions, source))
            })
            .collect();
        for track in forbidden {
            self.end_track(track, now);
        }
        self.allocate_peer(key, now);
    }

    fn set_audience(&mut self, id: SessionId, audience: Audience, now: Instant) {
        let Some(key) = self.index.peers.get(&id).copied() else { return self.unknown() };
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.audience = audience;
        self.allocate_peer(key, now);
    }

    /// Tells again what may have been missed; at most one session per [`SYNC_SPACING`], over
    /// all commands, so that telling it is not what makes signaling miss the next.
    fn sync(&mut self, sessions: &[SessionId], now: Instant) {
        for id in sessions {
            match self.index.peers.get(id).copied() {
                Some(key) => {
                    self.sync_at = self.sync_at.max(now) + SYNC_SPACING;
                    self.announce_again(key, self.sync_at);
                }
                None => {
                    let reason = EndReason::Closed;
                    self.push_event(Event::SessionEnded { session: *id, reason });
                }
            }
        }
    }

    pub(super) fn unknown(&self) {
        self.stats.commands_unknown.add(1);
    }

    /// Ends a session and all that it owns. `farewell`: whether its transport can be trusted to
    /// say goodbye (not after a panic).
    pub(super) fn end_peer(
        &mut self,
        key: Key<Peer>,
        reason: EndReason,
        farewell: bool,
        now: Instant,
    ) {
        let tracks = self.peers.get(key).map(|peer| peer.tracks.clone()).unwrap_or_default();
        for track in tracks {
            self.end_track(track, now);
        }
        let Some(mut peer) = self.peers.remove(key) else { return };
        self.peer_timers.set(key.index(), None);
        if let Some(traffic) = peer.traffic.take(peer.id) {
            self.push_event(traffic);
        }
        if farewell {
            peer.transport.close(now);
            self.farewells.extend(std::iter::from_fn(|| peer.transport.poll_outgoing()));
        }
        for path in &peer.paths {
            if self.index.paths.get(path) == Some(&key) {
                self.index.paths.remove(path);
            }
        }
        for ufrag in &peer.ufrags {
            self.index.ufrags.remove(ufrag);
        }
        self.index.peers.remove(&peer.id);
        for slot in &peer.slots {
            if let Some(track) = slot.track.and_then(|track| self.tracks.get_mut(track)) {
                track.subscribers.retain(|(subscriber, _)| *subscriber != key);
            }
        }
        if let Some(room) = self.rooms.get_mut(peer.room) {
            room.sessions.retain(|session| *session != key);
        }
        // Its tracks' end has marked the room; without any, nothing changes for the others.
        self.stats.sessions.sub(1);
        self.push_event(Event::SessionEnded { session: peer.id, reason });
    }

    /// Ends a track: its slots become empty, its memory is given back.
    pub(super) fn end_track(&mut self, key: Key<Track>, now: Instant) {
        self.tap_out(key, now);
        let Some(track) = self.tracks.remove(key) else { return };
        if self.index.tracks.get(&track.id) == Some(&key) {
            self.index.tracks.remove(&track.id);
        }
        for (subscriber, slot) in &track.subscribers {
            let Some(peer) = self.peers.get_mut(*subscriber) else { continue };
            peer.announce_slots = true;
            if let Some(slot) = peer.slots.get_mut(usize::from(*slot)) {
                slot.show(None);
            }
        }
        if let Some(peer) = self.peers.get_mut(track.publisher) {
            peer.tracks.retain(|other| *other != key);
            peer.bindings.retain(|binding| binding.track != key);
            peer.on_track_ended(key);
        }
        if let Some(room) = self.rooms.get_mut(track.room) {
            room.tracks.retain(|other| *other != key);
        }
        self.mark_stale(track.room);
        self.slab.release(track.layer.into_slots());
        self.stats.tracks.sub(1);
    }
}
