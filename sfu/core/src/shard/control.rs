//! RTCP in: reports, requests, feedback. Every reaction is bounded.

use std::time::{Duration, Instant};

use sfu_proto::{
    rtcp::{self, LostSeqs, Packet, ReportBlock, packets},
    sdp::Kind,
    unit::Ssrc,
};

use super::{Peer, Shard, peer::Carries, transmit::Resend};
use crate::{
    congestion::loss,
    limits::{
        DATAGRAM_BYTES_MAX, KEY_FRAME_PER_SLOT_MIN, NACKED_PER_PACKET_MAX, RESENDS_QUEUED_MAX,
    },
    media::{
        keyframe::Want,
        reception::{SenderInfo, on_our_clock},
        resend::Resends,
    },
    router::{forward::cached, subscription::Mapped, track::Track},
    table::Key,
    transport::session::Drop,
};

impl Shard {
    pub(super) fn on_rtcp(
        &mut self,
        key: Key<Peer>,
        datagram: &[u8],
        now: Instant,
    ) -> Result<(), Drop> {
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let peer = self.peers.get_mut(key).ok_or(Drop::UnvalidatedPath)?;
        let len = peer.transport.open_rtcp(datagram, &mut plain)?;
        let plain = plain.get(..len).ok_or(Drop::Limit)?;
        peer.feedback_gate.begin_compound();
        for packet in packets(plain) {
            match packet {
                Ok(packet) => self.on_rtcp_packet(key, packet, now),
                Err(_) => self.stats.on_drop(Drop::Malformed),
            }
        }
        Ok(())
    }

    fn on_rtcp_packet(&mut self, key: Key<Peer>, packet: Packet<'_>, now: Instant) {
        match packet {
            Packet::SenderReport { info, reports } => {
                self.on_sender_report(key, &info, now);
                reports.for_each(|report| self.on_report(key, &report, now));
            }
            Packet::ReceiverReport { reports, .. } => {
                reports.for_each(|report| self.on_report(key, &report, now));
            }
            Packet::Nack { media, lost, .. } => self.on_nack(key, media, lost, now),
            Packet::Pli { media, .. } => self.on_pli(key, media, now),
            Packet::Fir { entries, .. } => {
                // Each slot heeds one request per interval, so a repeated FIR costs nothing.
                entries.for_each(|entry| self.on_pli(key, entry.media, now));
            }
            Packet::TransportFeedback(feedback) => {
                let Some(peer) = self.peers.get_mut(key) else { return };
                if !peer.feedback_gate.admit(&feedback, peer.transport_seq, now) {
                    return self.stats.on_drop(Drop::Limit);
                }
                let reported = loss::count(&feedback, peer.transport_seq);
                self.stats.feedback_received.add(reported.received);
                self.stats.feedback_lost.add(reported.lost);
            }
            Packet::Bye(ssrcs) => ssrcs.for_each(|ssrc| self.on_bye(key, ssrc)),
            Packet::SourceDescription | Packet::Remb(_) | Packet::Unknown { .. } => {}
        }
    }

    fn on_sender_report(&mut self, key: Key<Peer>, info: &rtcp::SenderInfo, now: Instant) {
        let arrived = self.config.ntp_at(now);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let wall = on_our_clock(info.ntp, arrived, &mut peer.clock_offset);
        let Some((track_key, rank)) = self.track_by_ssrc(key, info.ssrc) else { return };
        let Some(track) = self.tracks.get_mut(track_key) else { return };
        let Some(stream) = track.stream_mut(rank) else { return };
        stream.sender = Some(SenderInfo { ntp: info.ntp, wall, rtp: info.timestamp, at: now });
        if track.tap.is_some() && track.is_forwarded(rank) {
            self.tap_report(track_key, now);
        }
    }

    /// The track, and its layer, whose media this session sends with `ssrc`.
    fn track_by_ssrc(&self, key: Key<Peer>, ssrc: Ssrc) -> Option<(Key<Track>, u8)> {
        let bindings = &self.peers.get(key)?.bindings;
        let binding = bindings.iter().find(|b| b.ssrc == ssrc.0 && b.carries == Carries::Media)?;
        Some((binding.track, binding.rank))
    }

    /// A report block about one of our streams: its echo of our sender report gives the round trip
    /// (RFC 3550 section 6.4.1).
    fn on_report(&mut self, key: Key<Peer>, report: &ReportBlock, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(slot) = peer.slot_by_ssrc(report.ssrc.0) else { return };
        if report.last_sr == 0 {
            return;
        }
        let sent = slot.reports.iter().find(|sent| sent.compact_ntp == report.last_sr);
        let Some(sent) = sent else { return };
        let held =
            Duration::from_micros(u64::from(report.delay_since_last_sr) * 1_000_000 / 65_536);
        // A receiver that claims to have held it longer than we wait is not believed.
        if let Some(rtt) = now.saturating_duration_since(sent.at).checked_sub(held) {
            peer.on_rtt(rtt);
        }
    }

    /// A subscriber misses packets (RFC 4585 section 6.2.1).
    fn on_nack(&mut self, key: Key<Peer>, media: Ssrc, lost: LostSeqs<'_>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let rtt = peer.rtt;
        let Some(number) = peer.slots.iter().position(|s| s.open && s.ssrc == media.0) else {
            return;
        };
        let slot = &mut peer.slots[number];
        let Some(track) = slot.track.and_then(|track| self.tracks.get(track)) else { return };
        if slot.kind != Kind::Video {
            return self.stats.nack_in.add(1);
        }
        for wire in lost.take(NACKED_PER_PACKET_MAX) {
            self.stats.nack_in.add(1);
            let Some(seq) = slot.rewriter.unwrap(wire.0) else { continue };
            let Some(entry) = cached(slot, &track.layer, seq) else {
                self.stats.rtx_refused.add(1);
                continue;
            };
            let bytes = usize::from(entry.packet.len);
            let resends = slot.resends.get_or_insert_with(|| Resends::new(now));
            let budget = &mut peer.budget;
            let allowed = self.resends.len() < RESENDS_QUEUED_MAX
                && has_rtx(&slot.map, entry.packet.format)
                && resends.allow(seq, rtt, now, || budget.spend(bytes, now));
            if !allowed {
                self.stats.rtx_refused.add(1);
                continue;
            }
            self.resends.push_back(Resend { peer: key, slot: number as u16, number: seq });
        }
    }

    /// A subscriber needs a key frame (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1).
    fn on_pli(&mut self, key: Key<Peer>, media: Ssrc, now: Instant) {
        let Some(slot) = self.peers.get_mut(key).and_then(|peer| peer.slot_by_ssrc(media.0)) else {
            return;
        };
        self.stats.pli_in.add(1);
        let recent = |at: Instant| now.saturating_duration_since(at) < KEY_FRAME_PER_SLOT_MIN;
        if slot.key_frame_at.is_some_and(recent) {
            return;
        }
        let Some(track) = slot.track else { return };
        slot.key_frame_at = Some(now);
        self.request_key_frame(track, Want::Loss, now);
    }

    /// A stream ended (RFC 3550 section 6.6): if it comes back, it begins anew, and another SSRC may
    /// take its place at once. The binding stays: libwebrtc says goodbye for a simulcast layer that
    /// is switched off, and goes on later with the same SSRC and without MID and RID, as those were
    /// acknowledged long ago.
    fn on_bye(&mut self, key: Key<Peer>, ssrc: Ssrc) {
        let Some((track, rank)) = self.track_by_ssrc(key, ssrc) else { return };
        let Some(track) = self.tracks.get_mut(track) else { return };
        let Some(stream) = track.stream_mut(rank) else { return };
        if !stream.has_begun() {
            // Said already: a repetition costs no emptying of the cache.
            stream.bound_at = None;
            return;
        }
        track.begin_stream(rank, ssrc.0, None);
    }
}

/// Whether packets of the source's format can be repeated to the subscriber.
fn has_rtx(map: &[Option<Mapped>], format: u8) -> bool {
    map.get(usize::from(format)).is_some_and(|mapped| mapped.is_some_and(|m| m.rtx.is_some()))
}
