//! Datagrams in: classified, routed by 5-tuple (STUN by user name), opened, cached.

use std::time::Instant;

use sfu_proto::{
    demux::{Class, classify},
    rtp::{Header, rtx_payload},
    unit::SeqNo,
};

use super::{
    Peer, Shard,
    peer::{Binding, Carries, Role},
};
use crate::{
    event::Event,
    limits::{
        DATAGRAM_BYTES_MAX, FEEDBACK_INTERVAL, REBIND_MIN, REPORT_INTERVAL, SPEAKERS_INTERVAL,
        TRAFFIC_INTERVAL,
    },
    media::{
        layer::{Admission, HEADROOM, Packet},
        stream::Stream,
    },
    path::Path,
    router::track::Track,
    table::Key,
    transport::{
        ice::local_ufrag,
        inbound::{Elements, Opened, open, rtx_len},
        session::Drop,
    },
};

/// A packet on its way from the cipher to the cache.
pub(super) struct Received<'a> {
    pub(super) header: Header,
    pub(super) elements: Elements<'a>,
    pub(super) opened: Opened,
    pub(super) carries: Carries,
    /// Rank of the track's layer.
    pub(super) rank: u8,
}

impl Received<'_> {
    /// Whether it is a sign of life of an encoder; repetitions and probes of bandwidth are none.
    pub(super) fn is_media(&self) -> bool {
        self.carries == Carries::Media && self.opened.len > 0
    }

    /// Whether its dependency descriptor carries a template structure, as those of key frames do.
    pub(super) fn has_structure(&self) -> bool {
        self.elements.dependency_descriptor.is_some_and(has_structure)
    }
}

/// Why a packet belongs to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unrouted {
    /// No track is sent like that.
    Track,
    /// It is of a track with several layers and names none of them.
    Layer,
}

impl Shard {
    pub(super) fn on_datagram(
        &mut self,
        path: Path,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Drop> {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(Drop::Limit);
        }
        let class = classify(datagram);
        if class == Class::Stun {
            return self.on_stun(path, datagram, now);
        }
        if class == Class::Unknown {
            return Err(Drop::Malformed);
        }
        let key = *self.index.paths.get(&path).ok_or(Drop::UnvalidatedPath)?;
        self.current = Some(key);
        self.fault_point(key);
        match class {
            Class::Rtp => self.on_rtp(key, datagram, now),
            Class::Rtcp => self.on_rtcp(key, datagram, now),
            Class::Dtls => {
                let peer = self.peers.get_mut(key).ok_or(Drop::UnvalidatedPath)?;
                let result = peer.transport.handle_dtls(datagram, path, now);
                self.after_transport(key, now);
                result
            }
            Class::Stun | Class::Unknown => Err(Drop::Malformed),
        }
    }

    fn on_stun(&mut self, path: Path, datagram: &[u8], now: Instant) -> Result<(), Drop> {
        let ufrag = local_ufrag(datagram).ok_or(Drop::MalformedStun)?;
        let key = *self.index.ufrags.get(ufrag).ok_or(Drop::UnknownUfrag)?;
        self.current = Some(key);
        let peer = self.peers.get_mut(key).ok_or(Drop::UnknownUfrag)?;
        peer.transport.handle_stun(datagram, path, now)?;
        let is_validated = peer.transport.paths().contains(&path);
        self.after_transport(key, now);
        if is_validated {
            self.claim_path(key, path);
        }
        Ok(())
    }

    /// The hot path's first half. Nothing but the spare slot changes before [`open`] succeeded.
    fn on_rtp(&mut self, key: Key<Peer>, datagram: &[u8], now: Instant) -> Result<(), Drop> {
        let header = Header::parse(datagram).map_err(|_| Drop::Malformed)?;
        let peer = self.peers.get_mut(key).ok_or(Drop::UnvalidatedPath)?;
        let elements = Elements::parse(&header, datagram, &peer.ids);
        let ssrc = header.ssrc.0;
        let live = |binding: &&Binding| binding.ssrc == ssrc && binding.carries != Carries::Retired;
        let known = peer.bindings.iter().find(live).copied();
        let binding = known.map_or_else(|| resolve(peer, &header, &elements), Ok);
        let carries = binding.map_or(Carries::Retired, |binding| binding.carries);
        // A retransmission's original sequence number lands in the headroom, so that payloads
        // begin at the same place either way.
        let at = if carries == Carries::Rtx { 0 } else { HEADROOM };
        let out = &mut self.slab.bytes_mut(&self.spare)[at..];
        let opened = open(&mut peer.transport, datagram, &header, out)?;

        // From here on the packet is the peer's.
        self.stats.rtp_in.add(1);
        let mut wakes = false;
        if let Some(sequence) = elements.transport_sequence {
            peer.arrivals.on_packet(sequence, ssrc, now);
            wakes |= peer.deadlines.feedback.is_none();
            peer.deadlines.feedback.get_or_insert(now + FEEDBACK_INTERVAL);
        }
        if binding.is_ok() {
            wakes |= peer.deadlines.report.is_none();
            peer.deadlines.report.get_or_insert(now + REPORT_INTERVAL);
            peer.deadlines.traffic.get_or_insert(now + TRAFFIC_INTERVAL);
            peer.traffic.received += datagram.len() as u64;
        }
        if wakes {
            self.arm(key);
        }
        let binding = match binding {
            Ok(binding) => binding,
            Err(reason) => {
                self.count_unrouted(reason);
                return Ok(());
            }
        };
        if known.is_none() && !self.bind(key, binding, now)? {
            return Ok(());
        }
        let received = Received { header, elements, opened, carries, rank: binding.rank };
        self.on_opened(key, binding.track, &received, now);
        Ok(())
    }

    fn count_unrouted(&self, reason: Unrouted) {
        match reason {
            Unrouted::Track => self.stats.rtp_unrouted.add(1),
            Unrouted::Layer => self.stats.rtp_unknown_rid.add(1),
        }
    }

    /// Enters a binding that an authentic packet asks for. False: not now.
    fn bind(&mut self, key: Key<Peer>, binding: Binding, now: Instant) -> Result<bool, Drop> {
        let Some(peer) = self.peers.get_mut(key) else { return Ok(false) };
        let Some(track) = self.tracks.get_mut(binding.track) else { return Ok(false) };
        let was_retired = peer.bindings.iter().any(|b| b.ssrc == binding.ssrc);
        let Some(stream) = track.stream_mut(binding.rank) else { return Ok(false) };
        if !may_bind(stream, &binding, was_retired, now) {
            self.stats.rtp_unrouted.add(1);
            return Ok(false);
        }
        peer.retire(&binding);
        if peer.bindings.is_full() {
            let retired = peer.bindings.iter().position(|b| b.carries == Carries::Retired);
            peer.bindings.remove(retired.ok_or(Drop::TooManySources)?);
        }
        peer.bindings.push(binding);
        if binding.carries == Carries::Media {
            track.begin_stream(binding.rank, binding.ssrc, Some(now));
        }
        Ok(true)
    }

    /// An authentic packet of a track: counted, cached, queued for forwarding.
    fn on_opened(
        &mut self,
        key: Key<Peer>,
        track_key: Key<Track>,
        received: &Received<'_>,
        now: Instant,
    ) {
        let Received { header, opened, .. } = received;
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        if track.simulcast.is_some() && !self.on_layer(key, track_key, received, now) {
            return;
        }
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let (seq, len) = if received.carries == Carries::Rtx {
            self.stats.rtx_in.add(1);
            let Some(len) = rtx_len(opened) else { return self.stats.rtp_padding_only.add(1) };
            let Some(seq) = original(track, self.slab.bytes(&self.spare)) else { return };
            (seq, len)
        } else {
            let clock = track.clock_rate();
            track.layer.stream.reception.on_packet(opened.index, header.timestamp, clock, now);
            (opened.index, opened.len)
        };
        let Some(format) = format_of(track, header.payload_type, received.carries) else {
            return self.stats.rtp_unknown_format.add(1);
        };
        let muted = track.muted;
        if !std::mem::replace(&mut track.started, true) {
            self.announce_track(track_key);
        }
        if muted {
            return self.stats.rtp_unrouted.add(1);
        }
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        match track.layer.admit(seq) {
            Admission::Duplicate => return self.stats.rtp_duplicate.add(1),
            Admission::TooOld => return self.stats.rtp_unrouted.add(1),
            Admission::New => {}
        }
        if len == 0 {
            self.stats.rtp_padding_only.add(1);
        }
        let descriptor_len = self.keep_descriptor(len, received.elements.dependency_descriptor);
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let packet = Packet {
            len: len as u16,
            descriptor_len,
            format,
            marker: header.marker,
            timestamp: header.timestamp,
            level: received.elements.audio_level,
            late: false,
        };
        let jump = track.layer.commit(seq, packet, &mut self.spare);
        if track.fresh.is_empty() {
            self.touched.push(track_key);
        }
        if track.fresh.try_push(seq).is_err() {
            self.stats.on_drop(Drop::Limit);
        }
        if track.tap.is_some() {
            self.tap_packet(track_key, seq, now);
        }
        self.on_cached(key, track_key, (seq, jump), received, now);
    }

    /// Puts the dependency descriptor behind the payload in the spare slot; both come from one
    /// datagram, so both fit.
    fn keep_descriptor(&mut self, len: usize, descriptor: Option<&[u8]>) -> u8 {
        let Some(descriptor) = descriptor else { return 0 };
        let at = HEADROOM + len;
        let space = self.slab.bytes_mut(&self.spare).get_mut(at..at + descriptor.len());
        match (space, u8::try_from(descriptor.len())) {
            (Some(space), Ok(len)) => {
                space.copy_from_slice(descriptor);
                len
            }
            _ => 0,
        }
    }

    /// What follows from a packet in the cache: gaps, key frames, loudness.
    fn on_cached(
        &mut self,
        key: Key<Peer>,
        track_key: Key<Track>,
        (seq, jump): (SeqNo, Option<SeqNo>),
        received: &Received<'_>,
        now: Instant,
    ) {
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let key_frames = &mut track.layer.stream.key_frames;
        let (timestamp, len) = (received.header.timestamp.0, received.opened.len);
        key_frames.on_packet(timestamp, len, received.has_structure());
        let format = format_of(track, received.header.payload_type, received.carries);
        let codec_changed = format.is_some_and(|format| format != track.format);
        track.format = format.unwrap_or(track.format);
        let nack = track.formats.get(usize::from(track.format)).is_some_and(|f| f.nack);
        if let Some(from) = jump
            && nack
        {
            track.layer.gaps.on_jump(from, seq, now);
            self.schedule_nack(key, track_key, now);
        } else if jump.is_none() && !track.layer.gaps.is_empty() {
            let rtt = track.layer.gaps.on_arrival(seq, now);
            let recovered = track.layer.highest() > Some(seq);
            if recovered {
                self.stats.rtp_recovered.add(1);
            }
            if let (Some(rtt), Some(peer)) = (rtt, self.peers.get_mut(key)) {
                peer.on_rtt(rtt);
            }
        }
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let room_key = track.room;
        if let Some(level) = received.elements.audio_level {
            track.level.on_packet(level & 0x7f, now);
            if let Some(room) = self.rooms.get_mut(room_key)
                && room.speakers_due.is_none()
            {
                room.speakers_due = Some(now + SPEAKERS_INTERVAL);
                self.room_timers.set(room_key.index(), room.speakers_due);
            }
        }
        if codec_changed {
            self.mark_stale(room_key);
        }
    }

    fn announce_track(&mut self, key: Key<Track>) {
        let Some(track) = self.tracks.get(key) else { return };
        if let Some(room) = self.rooms.get(track.room) {
            let event = Event::TrackStarted { room: room.id, track: track.id };
            self.push_event(event);
        }
    }
}

/// Whether a layer of a track may take another SSRC now. Two SSRCs in turn would make every receiver start
/// anew each time; so one that was replaced comes back only when its successor is silent.
fn may_bind(stream: &Stream, binding: &Binding, was_retired: bool, now: Instant) -> bool {
    let is_settled =
        stream.bound_at.is_none_or(|at| now.saturating_duration_since(at) >= REBIND_MIN);
    match binding.carries {
        Carries::Media => is_settled && !(was_retired && stream.is_active(REBIND_MIN, now)),
        // Those still on their way repeat packets of the old stream.
        Carries::Rtx => is_settled || !was_retired,
        Carries::Retired => false,
    }
}

/// Whose an unknown SSRC would be: by MID, by declaration, or because one section alone uses the
/// payload type (RFC 8843 section 9.2); and by RID of which layer. Pure: the packet is not authentic
/// yet.
fn resolve(peer: &Peer, header: &Header, elements: &Elements<'_>) -> Result<Binding, Unrouted> {
    let (ssrc, payload_type) = (header.ssrc.0, header.payload_type);
    let rid = elements.repaired_rid.or(elements.rid);
    let mut by_type = Err(Unrouted::Track);
    let mut by_type_is_unique = true;
    for section in &peer.sections {
        let Role::Track(track) = section.role else { continue };
        let media = section.formats.iter().any(|format| format.payload_type == payload_type);
        let rtx = section.formats.iter().any(|format| format.rtx == Some(payload_type));
        let carries = if rtx && !media || elements.repaired_rid.is_some() {
            Carries::Rtx
        } else {
            Carries::Media
        };
        let rank = section.rank(rid).ok_or(Unrouted::Layer);
        let binding = rank.map(|rank| Binding { ssrc, carries, track, rank });
        if let Some(mid) = elements.mid {
            if mid == section.mid.as_bytes() {
                return if media || rtx { binding } else { Err(Unrouted::Track) };
            }
            continue;
        }
        for (declared, declared_rtx) in &section.declared {
            if *declared == ssrc {
                return binding.map(|binding| Binding { carries: Carries::Media, ..binding });
            }
            if *declared_rtx == Some(ssrc) {
                return binding.map(|binding| Binding { carries: Carries::Rtx, ..binding });
            }
        }
        if media || rtx {
            by_type_is_unique &= by_type == Err(Unrouted::Track);
            by_type = binding;
        }
    }
    if by_type_is_unique { by_type } else { Err(Unrouted::Track) }
}

/// Number of the negotiated format that a payload type means.
pub(super) fn format_of(track: &Track, payload_type: u8, carries: Carries) -> Option<u8> {
    let matches = |format: &crate::router::track::Format| match carries {
        Carries::Rtx => format.rtx == Some(payload_type),
        _ => format.payload_type == payload_type,
    };
    track.formats.iter().position(matches).map(|at| at as u8)
}

/// The number of the packet that a retransmission repeats.
fn original(track: &Track, spare: &[u8]) -> Option<SeqNo> {
    let (original, _) = rtx_payload(spare)?;
    track.layer.unwrap(original)
}

/// Whether a dependency descriptor carries a template structure, as those of key frames do: the
/// first bit after the three mandatory bytes (AV1 RTP payload format 1.0, section A.8.2).
fn has_structure(descriptor: &[u8]) -> bool {
    descriptor.get(3).is_some_and(|byte| byte & 0x80 != 0)
}
