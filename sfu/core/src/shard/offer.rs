//! Carries out an offer that `router/negotiate` decided, and writes the answer.

use std::time::Instant;

use rand::Rng;
use sfu_proto::{
    control::Publish,
    id::SessionId,
    sdp::{
        Answer, AnsweredMedia, Direction, Kind, Mid, Offer, OfferedMedia, Refusal, Rid, SsrcPair,
    },
};

use super::{
    Peer, Shard,
    peer::{Carries, Role, Section, random_credentials, random_text},
    sync_ufrags,
};
use crate::{
    event::Event,
    limits::{AUDIO_CACHE_PACKETS, VIDEO_CACHE_PACKETS},
    media::{keyframe::Want, layer::Layer, level::Level, rewrite::Rewriter, simulcast::Simulcast},
    router::{
        negotiate::{Decided, Use, decide},
        subscription::{ExtensionIds, Slot},
        track::{Track, formats},
    },
    table::Key,
};

impl Shard {
    pub(super) fn on_offer(
        &mut self,
        session: SessionId,
        request: u64,
        offer: &Offer,
        publish: &[Publish],
        now: Instant,
    ) {
        let key = self.index.peers.get(&session).copied();
        self.current = key;
        let result = key.ok_or(Refusal::NoSession).and_then(|key| {
            self.fault_point(key);
            self.negotiate(key, offer, publish, now)
        });
        match result {
            Ok(answer) => {
                self.stats.offers_answered.add(1);
                let answer = Box::new(answer);
                self.push_event(Event::Answered { session, request, answer });
            }
            Err(reason) => {
                self.stats.offers_refused.add(1);
                self.push_event(Event::OfferRefused { session, request, reason });
            }
        }
        if let Some(key) = key {
            self.allocate_peer(key, now);
            self.after_transport(key, now);
        }
    }

    fn negotiate(
        &mut self,
        key: Key<Peer>,
        offer: &Offer,
        publish: &[Publish],
        now: Instant,
    ) -> Result<Answer, Refusal> {
        let peer = self.peers.get_mut(key).ok_or(Refusal::NoSession)?;
        if peer.remote.as_ref().is_some_and(|(_, print)| *print != offer.fingerprint) {
            return Err(Refusal::FingerprintChanged);
        }
        let before: Vec<_> =
            peer.sections.iter().map(|s| (&s.mid, s.role == Role::Refused)).collect();
        let decided = decide(&before, offer, publish, &peer.permissions)?;
        self.check_capacity(key, publish)?;
        let peer = self.peers.get_mut(key).ok_or(Refusal::NoSession)?;
        // From here on nothing fails.
        let slots_before = open_slots(peer);
        let is_first = peer.remote.is_none();
        self.set_transport(key, offer, now);
        self.end_unnamed_tracks(key, publish, now);
        let mut media = Vec::with_capacity(decided.len());
        for (place, (decided, offered)) in decided.iter().zip(&offer.media).enumerate() {
            let role = self.apply(key, place, decided, offered, offer.extmap_allow_mixed, now);
            media.push(self.answer_media(key, role, decided, offered));
        }
        let peer = self.peers.get_mut(key).ok_or(Refusal::NoSession)?;
        share_stream(&mut peer.slots, &mut media);
        peer.ids = merged_ids(&decided);
        let answer = Answer {
            ice: peer.local.clone(),
            fingerprint: self.identity.fingerprint(),
            candidates: self.config.candidates.clone(),
            cname: peer.cname.clone(),
            extmap_allow_mixed: offer.extmap_allow_mixed,
            media,
        };
        // The slots' list itself may have changed, even if no track moves.
        peer.announce_slots |= is_first || open_slots(peer) != slots_before;
        Ok(answer)
    }

    /// First offer, or new credentials: an ICE restart (RFC 8445 section 9).
    fn set_transport(&mut self, key: Key<Peer>, offer: &Offer, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        match &peer.remote {
            Some((ice, _)) if *ice == offer.ice => return,
            Some(_) => peer.local = random_credentials(&mut self.rng),
            None => {}
        }
        peer.remote = Some((offer.ice.clone(), offer.fingerprint));
        let (local, remote) = (peer.local.clone(), offer.ice.clone());
        peer.transport.set_remote(local, remote, offer.fingerprint, now);
        sync_ufrags(&mut self.index.ufrags, key, peer);
    }

    /// Whether the cache holds all tracks that [`Self::publish`] would begin, in that order, after
    /// those that end.
    fn check_capacity(&self, key: Key<Peer>, publish: &[Publish]) -> Result<(), Refusal> {
        let held = |track: &Key<Track>| {
            self.tracks.get(*track).map_or(0, |track| cache_packets(track.kind()))
        };
        let ended = self.unnamed_tracks(key, publish);
        let mut available = self.slab.available() + ended.iter().map(held).sum::<usize>();
        for wish in publish {
            let existing = self.index.tracks.get(&wish.track).filter(|key| !ended.contains(key));
            if existing.is_some_and(|existing| self.continues(*existing, key, wish)) {
                continue;
            }
            available += existing.map_or(0, held);
            let Some(rest) = available.checked_sub(cache_packets(wish.source.kind())) else {
                self.stats.commands_limited.add(1);
                return Err(Refusal::NoCapacity);
            };
            available = rest;
        }
        Ok(())
    }

    /// Whether a wish names a track that this session publishes already.
    fn continues(&self, track: Key<Track>, publisher: Key<Peer>, wish: &Publish) -> bool {
        let track = self.tracks.get(track);
        track.is_some_and(|track| track.publisher == publisher && track.source == wish.source)
    }

    fn end_unnamed_tracks(&mut self, key: Key<Peer>, publish: &[Publish], now: Instant) {
        for track in self.unnamed_tracks(key, publish) {
            self.end_track(track, now);
        }
    }

    /// Tracks of a session that an offer does not name in their section any more.
    fn unnamed_tracks(&self, key: Key<Peer>, publish: &[Publish]) -> Vec<Key<Track>> {
        let Some(peer) = self.peers.get(key) else { return Vec::new() };
        let kept = |track: &Key<Track>| {
            let Some(track_id) = self.tracks.get(*track).map(|track| track.id) else {
                return false;
            };
            let section = peer.sections.iter().find(|section| section.role == Role::Track(*track));
            publish.iter().any(|wish| {
                wish.track == track_id && section.is_some_and(|section| section.mid == wish.mid)
            })
        };
        peer.tracks.iter().copied().filter(|track| !kept(track)).collect()
    }

    /// Brings the section at `place` into the decided state.
    fn apply(
        &mut self,
        key: Key<Peer>,
        place: usize,
        decided: &Decided<'_>,
        offered: &OfferedMedia,
        mixed: bool,
        now: Instant,
    ) -> Role {
        let slot = self.peers.get(key).and_then(|peer| peer.sections.get(place)?.slot);
        let mut slot_now = slot;
        let role = match decided.purpose {
            Use::Refused => Role::Refused,
            Use::Inactive => Role::Inactive,
            Use::Track(wish) => match self.publish(key, wish, decided, now) {
                Some(track) => Role::Track(track),
                None => Role::Inactive,
            },
            Use::Slot(kind) => match self.open_slot(key, slot, kind, decided, offered, mixed) {
                Some(slot) => {
                    slot_now = Some(slot);
                    Role::Slot(slot)
                }
                None => Role::Inactive,
            },
        };
        if let Some(slot) = slot
            && role != Role::Slot(slot)
        {
            self.close_slot(key, slot);
        }
        let Some(peer) = self.peers.get_mut(key) else { return role };
        let section = Section {
            mid: offered.mid.clone(),
            role,
            slot: slot_now,
            formats: formats(&decided.formats),
            declared: offered.ssrcs.iter().take(4).map(|pair| (pair.media, pair.rtx)).collect(),
            rids: decided.simulcast.clone(),
        };
        match peer.sections.get_mut(place) {
            Some(old) => *old = section,
            None => peer.sections.push(section),
        }
        role
    }

    /// The track of a wish: the one that exists, or a new one. `None` cannot happen after
    /// [`Self::check_capacity`].
    fn publish(
        &mut self,
        key: Key<Peer>,
        wish: &Publish,
        decided: &Decided<'_>,
        now: Instant,
    ) -> Option<Key<Track>> {
        if let Some(existing) = self.index.tracks.get(&wish.track).copied() {
            if self.continues(existing, key, wish) {
                self.update_layers(key, existing, &decided.simulcast);
                self.update_formats(existing, decided, now);
                return Some(existing);
            }
            // Published by a session before this one, which lost its connection.
            self.end_track(existing, now);
        }
        let peer = self.peers.get_mut(key)?;
        let room = self.rooms.get_mut(peer.room)?;
        let slots = self.slab.reserve(cache_packets(wish.source.kind()))?;
        let track = self.tracks.insert(Track {
            id: wish.track,
            room: peer.room,
            publisher: key,
            participant: peer.participant,
            source: wish.source,
            muted: wish.muted,
            started: false,
            formats: formats(&decided.formats),
            format: 0,
            layer: Layer::new(slots),
            simulcast: layers(&decided.simulcast),
            level: Level::default(),
            fresh: Default::default(),
            subscribers: Vec::new(),
            tap: None,
        });
        room.tracks.push(track);
        peer.tracks.push(track);
        self.index.tracks.insert(wish.track, track);
        self.touched.reserve(self.tracks.len());
        self.stats.tracks.add(1);
        let room = peer.room;
        self.mark_stale(room);
        self.retap(track, now);
        Some(track)
    }

    /// Other layers than before: SSRCs of those that are still offered go on under their new rank,
    /// since a client does not name them again. All streams begin anew.
    fn update_layers(&mut self, key: Key<Peer>, track_key: Key<Track>, rids: &[Rid]) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let mut sections = peer.sections.iter();
        let Some(section) = sections.find(|s| s.role == Role::Track(track_key)) else { return };
        let Some(track) = self.tracks.get_mut(track_key).filter(|_| section.rids != rids) else {
            return;
        };
        track.simulcast = layers(rids);
        track.begin_stream(0, 0, None);
        track.fresh.clear();
        let before = &section.rids;
        peer.bindings.retain(|binding| {
            if binding.track != track_key {
                return true;
            }
            let Some(rank) = new_rank(before, rids, binding.rank) else { return false };
            binding.rank = rank;
            if binding.carries == Carries::Media {
                track.begin_stream(rank, binding.ssrc, None);
            }
            true
        });
    }

    /// Other formats than before: what is cached is named by the old ones, so slots begin anew.
    fn update_formats(&mut self, key: Key<Track>, decided: &Decided<'_>, now: Instant) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let negotiated = formats(&decided.formats);
        if track.formats == negotiated {
            return;
        }
        track.formats = negotiated;
        track.format = 0;
        track.layer.resume();
        track.fresh.clear();
        for (peer, slot) in &track.subscribers {
            let peer = self.peers.get_mut(*peer);
            if let Some(slot) = peer.and_then(|peer| peer.slots.get_mut(usize::from(*slot))) {
                slot.remap(&track.formats);
            }
        }
        let room = track.room;
        self.mark_stale(room);
        self.request_key_frame(key, Want::Begin, now);
    }

    /// Opens the slot of a section, or brings it up to date.
    fn open_slot(
        &mut self,
        key: Key<Peer>,
        slot: Option<u16>,
        kind: Kind,
        decided: &Decided<'_>,
        offered: &OfferedMedia,
        mixed: bool,
    ) -> Option<u16> {
        let peer = self.peers.get_mut(key)?;
        let number = match slot {
            Some(number) => number,
            None => {
                let ssrc = peer.fresh_ssrc(&mut self.rng);
                let rtx_ssrc = loop {
                    let other = peer.fresh_ssrc(&mut self.rng);
                    if other != ssrc {
                        break other;
                    }
                };
                let first = self.rng.next_u32();
                peer.slots.push(Slot {
                    mid: offered.mid.clone(),
                    kind,
                    open: false,
                    ssrc,
                    rtx_ssrc,
                    msid: Default::default(),
                    formats: Default::default(),
                    ids: ExtensionIds::default(),
                    mixed,
                    track: None,
                    epoch: None,
                    map: Default::default(),
                    rewriter: Rewriter::new(first as u16, self.rng.next_u32()),
                    rtx_next: u64::from(first >> 18),
                    resends: None,
                    packets: 0,
                    octets: 0,
                    packets_reported: 0,
                    reports: Default::default(),
                    key_frame_at: None,
                    begun_at: None,
                });
                (peer.slots.len() - 1) as u16
            }
        };
        let slot = peer.slots.get_mut(usize::from(number))?;
        if !slot.open || slot.mid != offered.mid || slot.kind != kind {
            // A new section, perhaps in the place of a stopped one.
            slot.msid = (random_text(&mut self.rng, 16), random_text(&mut self.rng, 16));
        }
        (slot.open, slot.kind, slot.mixed) = (true, kind, mixed);
        slot.mid = offered.mid.clone();
        slot.ids = ExtensionIds::new(&decided.extensions);
        slot.formats = formats(&decided.formats);
        if let Some(track) = slot.track {
            let formats = self.tracks.get(track).map(|track| track.formats.clone());
            if let Some(formats) = formats {
                slot.remap(&formats);
            }
        }
        Some(number)
    }

    fn close_slot(&mut self, key: Key<Peer>, number: u16) {
        let peer = self.peers.get_mut(key);
        let Some(slot) = peer.and_then(|peer| peer.slots.get_mut(usize::from(number))) else {
            return;
        };
        slot.open = false;
        let shown = slot.track;
        slot.show(None);
        if let Some(track) = shown.and_then(|track| self.tracks.get_mut(track)) {
            track.subscribers.retain(|subscriber| *subscriber != (key, number));
        }
    }

    fn answer_media(
        &self,
        key: Key<Peer>,
        role: Role,
        decided: &Decided<'_>,
        offered: &OfferedMedia,
    ) -> AnsweredMedia {
        let direction = match role {
            Role::Track(_) => Direction::RecvOnly,
            Role::Slot(_) => Direction::SendOnly,
            Role::Inactive | Role::Refused => Direction::Inactive,
        };
        let slot = match role {
            Role::Slot(slot) => self.peers.get(key).and_then(|p| p.slots.get(usize::from(slot))),
            _ => None,
        };
        let has_rtx = decided.formats.iter().any(|format| format.rtx.is_some());
        AnsweredMedia {
            mid: offered.mid.clone(),
            kind: offered.kind,
            refused_line: offered.refused_line.clone(),
            refused: role == Role::Refused,
            direction,
            formats: decided.formats.clone(),
            extensions: decided.extensions.clone(),
            ssrcs: slot
                .map(|slot| SsrcPair { media: slot.ssrc, rtx: has_rtx.then_some(slot.rtx_ssrc) }),
            msid: slot.map(|slot| slot.msid.clone()),
            simulcast: decided.simulcast.clone(),
        }
    }
}

/// The state of a track with these layers.
fn layers(rids: &[Rid]) -> Option<Box<Simulcast>> {
    (rids.len() > 1).then(|| Box::new(Simulcast::new(rids.len())))
}

/// The rank of a layer in another list. Without simulcast a client goes on with its first layer
/// (RFC 8853 section 5.3.2 leaves it the choice; browsers choose that).
fn new_rank(before: &[Rid], after: &[Rid], rank: u8) -> Option<u8> {
    let Some(rid) = before.get(usize::from(rank)).filter(|_| !after.is_empty()) else {
        return (after.is_empty() && rank == 0).then_some(0);
    };
    let at = after.iter().position(|each| each == rid)?;
    u8::try_from(at).ok()
}

/// Places in the cache that a track of this kind holds.
fn cache_packets(kind: Kind) -> usize {
    match kind {
        Kind::Audio => AUDIO_CACHE_PACKETS,
        Kind::Video => VIDEO_CACHE_PACKETS,
    }
}

/// One picture and its sound, as WHEP viewers have it, are one stream to the client: it then plays
/// them in step (RFC 8830 section 2). Where slots are more, or the session sends, what is in them
/// has nothing to do with each other.
fn share_stream(slots: &mut [Slot], media: &mut [AnsweredMedia]) {
    let sends = media.iter().any(|media| media.direction == Direction::RecvOnly);
    let mut shown = media.iter_mut().filter(|media| media.direction == Direction::SendOnly);
    let (Some(first), Some(second), None) = (shown.next(), shown.next(), shown.next()) else {
        return;
    };
    if sends || first.kind == second.kind {
        return;
    }
    let (Some((stream, _)), Some(second)) = (&first.msid, &mut second.msid) else { return };
    if let Some(slot) = slots.iter_mut().find(|slot| slot.msid == *second) {
        slot.msid.0.clone_from(stream);
    }
    second.0.clone_from(stream);
}

fn open_slots(peer: &Peer) -> Vec<Mid> {
    peer.slots.iter().filter(|slot| slot.open).map(|slot| slot.mid.clone()).collect()
}

/// All accepted ids; where sections differ against the rules, the first counts.
fn merged_ids(decided: &[Decided<'_>]) -> ExtensionIds {
    let mut all = Vec::new();
    for map in decided.iter().flat_map(|decided| &decided.extensions) {
        if !all.iter().any(|known: &sfu_proto::sdp::ExtensionMap| known.extension == map.extension)
        {
            all.push(*map);
        }
    }
    ExtensionIds::new(&all)
}
