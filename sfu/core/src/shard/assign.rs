//! Which tracks are in which slots, and who speaks: carries out what `router/allocate` and
//! `router/speaker` decide.

use std::{cmp::Reverse, time::Instant};

use sfu_proto::{
    control::{SlotState, Source},
    id::{ParticipantId, TrackId},
    sdp::Kind,
};

use super::{Map, Peer, Shard};
use crate::{
    event::Event,
    limits::{SPEAKERS_INTERVAL, SPEAKERS_MAX, WAITING_INTERVAL},
    router::{
        allocate::allocate,
        audience::Audience,
        room::{Room, Stale},
        speaker::{loudest, loudest_for},
        track::Track,
    },
    table::Key,
};

/// A room's tracks in the order in which sessions want them; made once for all of them.
pub(super) struct Order {
    /// Screens, then cameras, each in order of publication.
    video: Vec<Offered>,
    /// Loudest first, with whole units of loudness.
    audio: Vec<(Offered, u32)>,
    /// Tracks announced to speak, in that order.
    speakers: Vec<Key<Track>>,
    /// Tracks of each participant: audio, video. Nobody waits for their own.
    own: Map<ParticipantId, (usize, usize)>,
}

#[derive(Clone, Copy)]
struct Offered {
    key: Key<Track>,
    id: TrackId,
    participant: ParticipantId,
}

impl Order {
    /// How many tracks of a kind there are for a session.
    fn count(&self, kind: Kind, peer: &Peer) -> usize {
        let all = match kind {
            Kind::Audio => self.audio.len(),
            Kind::Video => self.video.len(),
        };
        let of = |participant: &ParticipantId| {
            let (audio, video) = self.own.get(participant).copied().unwrap_or_default();
            if kind == Kind::Audio { audio } else { video }
        };
        let others = |list: &[ParticipantId]| -> usize {
            list.iter().filter(|other| **other != peer.participant).map(of).sum()
        };
        match &peer.audience {
            Audience::All => all - of(&peer.participant),
            Audience::Only(list) => others(list),
            Audience::Except(list) => all - of(&peer.participant) - others(list),
        }
    }
}

impl Shard {
    /// Something changed that slots depend on; dealt with once per turn.
    pub(super) fn mark_stale(&mut self, key: Key<Room>) {
        self.mark(key, Stale::All);
    }

    fn mark(&mut self, key: Key<Room>, stale: Stale) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if room.stale.is_none() {
            self.stale.push(key);
        }
        if room.stale != Some(Stale::All) {
            room.stale = Some(stale);
        }
    }

    pub(super) fn allocate_stale_rooms(&mut self, now: Instant) {
        while let Some(key) = self.stale.pop() {
            let Some(order) = self.order(key, now) else { continue };
            let Some(room) = self.rooms.get_mut(key) else { continue };
            let Some(stale) = room.stale.take() else { continue };
            room.audio_contended = false;
            let sessions = room.sessions.clone();
            for peer in sessions {
                self.current = Some(peer);
                self.allocate_by(&order, peer, stale, now);
            }
            self.current = None;
        }
    }

    /// Fills the slots of one session; announces them if anything changed.
    pub(super) fn allocate_peer(&mut self, key: Key<Peer>, now: Instant) {
        let room = self.peers.get(key).map(|peer| peer.room);
        if let Some(order) = room.and_then(|room| self.order(room, now)) {
            self.allocate_by(&order, key, Stale::All, now);
        }
    }

    fn order(&self, key: Key<Room>, now: Instant) -> Option<Order> {
        let room = self.rooms.get(key)?;
        let (mut screens, mut cameras, mut audio) = (Vec::new(), Vec::new(), Vec::new());
        let mut own = Map::<_, (usize, usize)>::default();
        for (key, track) in
            room.tracks.iter().filter_map(|key| Some((*key, self.tracks.get(*key)?)))
        {
            let (id, participant) = (track.id, track.participant);
            let offered = Offered { key, id, participant };
            let own = own.entry(participant).or_default();
            match (track.kind(), track.source) {
                (Kind::Audio, _) => {
                    audio.push((offered, track.level.score(now) as u32));
                    own.0 += 1;
                }
                (Kind::Video, source) => {
                    if source == Source::Screen { &mut screens } else { &mut cameras }
                        .push(offered);
                    own.1 += 1;
                }
            }
        }
        audio.sort_by_key(|(_, score)| Reverse(*score));
        screens.append(&mut cameras);
        let of_room = |key: &Key<Track>| room.tracks.contains(key);
        let known = room.speakers.iter().filter_map(|id| self.index.tracks.get(id).copied());
        let speakers = known.filter(of_room).collect();
        Some(Order { video: screens, audio, speakers, own })
    }

    fn allocate_by(&mut self, order: &Order, key: Key<Peer>, stale: Stale, now: Instant) {
        let Some(peer) = self.peers.get(key) else { return };
        let mut waiting = peer.waiting;
        let (audio, mut changed) = self.allocate_kind(order, key, Kind::Audio, now);
        waiting.0 = audio as u32;
        if stale == Stale::All {
            let (video, video_changed) = self.allocate_kind(order, key, Kind::Video, now);
            waiting.1 = video as u32;
            changed |= video_changed;
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.waiting = waiting;
        self.note_contention(key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        if std::mem::take(&mut peer.announce_slots) || changed {
            self.announce_slots(key, now);
        } else if peer.waiting_told != Some(waiting) && peer.deadlines.slots.is_none() {
            // The first of a burst at once: a client may want to grow its slots for it.
            match peer.slots_told_at.map(|at| at + WAITING_INTERVAL).filter(|at| *at > now) {
                None => self.announce_slots(key, now),
                at => {
                    peer.deadlines.slots = at;
                    self.arm(key);
                }
            }
        }
    }

    /// Remembers that audio waits for a slot that exists.
    fn note_contention(&mut self, key: Key<Peer>) {
        let Some(peer) = self.peers.get(key).filter(|peer| peer.waiting.0 > 0) else { return };
        let any = peer.slots.iter().any(|slot| slot.open && slot.kind == Kind::Audio);
        if let Some(room) = self.rooms.get_mut(peer.room) {
            room.audio_contended |= any;
        }
    }

    /// Allocates the slots of one kind; returns how many tracks wait and whether a slot changed.
    fn allocate_kind(
        &mut self,
        order: &Order,
        key: Key<Peer>,
        kind: Kind,
        now: Instant,
    ) -> (usize, bool) {
        let Some(peer) = self.peers.get(key) else { return (0, false) };
        let subscribes = peer.permissions.subscribe;
        let count = if subscribes { order.count(kind, peer) } else { 0 };
        let numbers: Vec<usize> = (0..peer.slots.len())
            .filter(|n| peer.slots[*n].open && peer.slots[*n].kind == kind)
            .collect();
        if numbers.is_empty() {
            return (count, false);
        }
        let before: Vec<_> = numbers.iter().map(|n| peer.slots[*n].track).collect();
        let mut after = before.clone();
        let fits = |track: Key<Track>, place: usize| {
            let codec = self.tracks.get(track).and_then(Track::codec);
            peer.slots[numbers[place]].fits(kind, codec)
        };
        let placed = match kind {
            _ if !subscribes => allocate(std::iter::empty(), &mut after, fits),
            Kind::Audio => allocate(self.wanted_audio(order, peer, now), &mut after, fits),
            Kind::Video => allocate(self.wanted_video(order, peer), &mut after, fits),
        };
        for (place, number) in numbers.iter().enumerate() {
            if before[place] != after[place] {
                self.show(key, *number, after[place]);
            }
        }
        if kind == Kind::Video && self.peers.get(key).is_some_and(|peer| peer.connected) {
            for place in (0..numbers.len()).filter(|place| before[*place] != after[*place]) {
                self.begin_video(key, numbers[place], now);
            }
        }
        (count.saturating_sub(placed), before != after)
    }

    /// Others' video: what the session named, then the room's order.
    fn wanted_video(&self, order: &Order, peer: &Peer) -> impl Iterator<Item = Key<Track>> {
        let named = peer.want.iter().filter_map(|id| {
            let key = *self.index.tracks.get(id)?;
            let track = self.tracks.get(key).filter(|track| track.room == peer.room)?;
            let foreign = track.kind() == Kind::Video && peer.may_get(track.participant);
            foreign.then_some(key)
        });
        let others = |offered: &&Offered| {
            peer.may_get(offered.participant) && !peer.want.contains(&offered.id)
        };
        named.chain(order.video.iter().filter(others).map(|offered| offered.key))
    }

    /// Others' audio: the announced speakers in their order, then the rest, loudest first; there,
    /// what the session hears already has an advantage. One order for both, so that who is told to
    /// speak is heard.
    fn wanted_audio(
        &self,
        order: &Order,
        peer: &Peer,
        now: Instant,
    ) -> impl Iterator<Item = Key<Track>> {
        let foreign = |(offered, _): &&(Offered, u32)| peer.may_get(offered.participant);
        let others = order.audio.iter().filter(foreign);
        let others = others.filter(|(offered, _)| !order.speakers.contains(&offered.key));
        let speaks = |key: &Key<Track>| {
            self.tracks.get(*key).is_some_and(|track| peer.may_get(track.participant))
        };
        let speakers = order.speakers.iter().copied().filter(speaks);
        let heard = peer.slots.iter().filter_map(|slot| {
            let key = slot.track.filter(|key| !order.speakers.contains(key))?;
            let audible =
                |track: &&Track| track.kind() == Kind::Audio && peer.may_get(track.participant);
            let track = self.tracks.get(key).filter(audible)?;
            Some((key, track.level.score(now) as u32))
        });
        let others = others.map(|(offered, score)| (offered.key, *score));
        speakers.chain(loudest_for(others, heard.collect()))
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

    /// A slot begins to show what is in it: that takes a key frame.
    pub(super) fn begin_video(&mut self, key: Key<Peer>, number: usize, now: Instant) {
        let Some(slot) = self.peers.get_mut(key).and_then(|peer| peer.slots.get_mut(number)) else {
            return;
        };
        if let Some(track) = slot.track {
            let want = slot.begin(now);
            self.request_key_frame(track, want, now);
        }
    }

    fn announce_slots(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.slots_version += 1;
        peer.waiting_told = Some(peer.waiting);
        peer.slots_told_at = Some(now);
        peer.deadlines.slots = None;
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

    /// The time to tell a changed number of waiting tracks has come.
    pub(super) fn announce_waiting(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.deadlines.slots = None;
        if peer.waiting_told != Some(peer.waiting) {
            self.announce_slots(key, now);
        }
    }

    /// Announces the slots at a given time, or before if they change.
    pub(super) fn announce_again(&mut self, key: Key<Peer>, at: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.waiting_told = None;
        peer.deadlines.slots.get_or_insert(at);
        self.arm(key);
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
            // Where audio tracks wait for a slot, the loudest get one.
            let contends = room.audio_contended;
            room.speakers.clone_from(&speakers);
            let event = Event::SpeakersChanged { room: room.id, tracks: speakers };
            self.push_event(event);
            self.tap_speakers(key, now);
            if contends {
                self.mark(key, Stale::Audio);
            }
        }
    }
}
