//! RTCP out, on time: reports, transport-wide feedback, requests for packets and key frames.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sfu_proto::{
    rtcp::{CompoundWriter, ReportBlock, SenderInfo},
    unit::Ssrc,
};

use super::{Peer, Shard};
use crate::{
    config::ntp_of,
    limits::{
        FEEDBACK_BURST_MAX, REPORT_INTERVAL, REPORT_SLOTS_PER_PACKET, SSRCS_PER_SESSION_MAX,
        STREAM_IDLE, TRAFFIC_INTERVAL,
    },
    media::{
        keyframe::Want,
        reception::{compact_delay, compact_ntp},
        stream::Stream,
    },
    router::{
        subscription::{SentReport, Slot},
        track::Track,
    },
    table::Key,
    transport::{limits::RTCP_COMPOUND_MAX, session::Session},
};

type Blocks = ArrayVec<ReportBlock, SSRCS_PER_SESSION_MAX>;

impl Shard {
    /// Does what is due for a session and sets its next deadline.
    pub(super) fn on_peer_timeout(&mut self, key: Key<Peer>, now: Instant) {
        self.fault_point(key);
        let Some(peer) = self.peers.get_mut(key) else { return };
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let deadlines = peer.deadlines;
        if due(deadlines.transport) {
            peer.transport.handle_timeout(now);
        }
        if due(deadlines.feedback) {
            peer.deadlines.feedback = None;
            send_feedback(peer);
        }
        if due(deadlines.report) {
            self.send_reports(key, now);
        }
        if due(deadlines.nack) {
            self.send_nacks(key, now);
        }
        if due(deadlines.key_frame) {
            self.send_key_frame_requests(key, now);
        }
        if due(deadlines.traffic) {
            self.announce_traffic(key, now);
        }
        if due(deadlines.slots) {
            self.announce_waiting(key, now);
        }
        self.after_transport(key, now);
    }

    /// Reports go on for some seconds after the last packet, so the next packet after an interval
    /// without any sets the deadline again: who is silent is not woken for it.
    fn announce_traffic(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let traffic = peer.traffic.take(peer.id);
        peer.deadlines.traffic = traffic.is_some().then(|| now + TRAFFIC_INTERVAL);
        if let Some(traffic) = traffic {
            self.push_event(traffic);
        }
    }

    /// Someone needs a key frame of a track; asked for at once if that is allowed.
    pub(super) fn request_key_frame(&mut self, key: Key<Track>, want: Want, now: Instant) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.kind() != sfu_proto::sdp::Kind::Video || !track.layer.stream.has_begun() {
            // A stream that has not begun begins with a key frame.
            return;
        }
        track.layer.stream.key_frames.request(want);
        let publisher = track.publisher;
        self.send_key_frame_requests(publisher, now);
        self.arm(publisher);
    }

    /// Also to a simulcast layer that is to be forwarded next; the others are never asked.
    pub(super) fn send_key_frame_requests(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.deadlines.key_frame = None;
        let mut sent = 0;
        for track in &peer.tracks {
            let Some(track) = self.tracks.get_mut(*track) else { continue };
            if track.muted {
                continue;
            }
            for stream in track.streams_mut().filter(|stream| stream.has_begun()) {
                if stream.key_frames.poll(now) {
                    let media = Ssrc(stream.ssrc);
                    write_rtcp(&mut peer.transport, |writer| {
                        let _ = writer.pli(Ssrc(peer.feedback_ssrc), media);
                    });
                    sent += 1;
                }
                sooner(&mut peer.deadlines.key_frame, stream.key_frames.poll_timeout(now));
            }
        }
        if sent > 0 {
            self.stats.pli_out.add(sent);
            self.mark_talkative(key);
        }
    }

    /// A gap opened in a track of the session.
    pub(super) fn schedule_nack(&mut self, key: Key<Peer>, track: Key<Track>, now: Instant) {
        let Some(at) = self.tracks.get(track).and_then(|t| t.layer.gaps.poll_timeout(now)) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.deadlines.nack.is_none_or(|nack| at < nack) {
            peer.deadlines.nack = Some(at);
            self.arm(key);
        }
    }

    fn send_nacks(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.deadlines.nack = None;
        let mut given_up = ArrayVec::<Key<Track>, SSRCS_PER_SESSION_MAX>::new();
        for track_key in &peer.tracks {
            let Some(track) = self.tracks.get_mut(*track_key) else { continue };
            if track.layer.gaps.is_empty() {
                continue;
            }
            let asked = track.layer.gaps.poll(peer.rtt, now);
            if !asked.seqs.is_empty() {
                self.stats.nack_out.add(asked.seqs.len() as u64);
                let (sender, media) = (Ssrc(peer.feedback_ssrc), Ssrc(track.layer.stream.ssrc));
                write_rtcp(&mut peer.transport, |writer| {
                    let _ = writer.nack(sender, media, asked.seqs.iter().map(|seq| seq.wire()));
                });
            }
            if asked.given_up {
                let _ = given_up.try_push(*track_key);
            }
            sooner(&mut peer.deadlines.nack, track.layer.gaps.poll_timeout(now));
        }
        for track in given_up {
            self.request_key_frame(track, Want::Loss, now);
        }
    }

    /// Sender reports for active slots and receiver reports for active tracks (RFC 3550 section
    /// 6.4), a few to a compound, each with the CNAME.
    fn send_reports(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let mut active = false;
        let mut blocks = Blocks::new();
        for track in &peer.tracks {
            let Some(track) = self.tracks.get_mut(*track) else { continue };
            for stream in track.streams_mut().filter(|each| each.is_active(STREAM_IDLE, now)) {
                active = true;
                blocks.extend(report_block(stream, now));
            }
        }
        let mut infos = ArrayVec::<SenderInfo, REPORT_SLOTS_PER_PACKET>::new();
        for slot in &mut peer.slots {
            active |= slot.packets != slot.packets_reported;
            let Some(track) = slot.track.and_then(|track| self.tracks.get(track)) else { continue };
            let Some(info) = sender_info(slot, track, now) else { continue };
            infos.push(info);
            if infos.is_full() {
                let ids = (peer.feedback_ssrc, peer.cname.as_str());
                write_report(&mut peer.transport, ids, &infos, &mut blocks);
                infos.clear();
            }
        }
        if !infos.is_empty() || !blocks.is_empty() {
            let ids = (peer.feedback_ssrc, peer.cname.as_str());
            write_report(&mut peer.transport, ids, &infos, &mut blocks);
        }
        // Nothing active: the next packet sets the deadline again.
        peer.deadlines.report = active.then(|| now + REPORT_INTERVAL);
    }
}

/// Moves a deadline forward, never back.
fn sooner(deadline: &mut Option<Instant>, at: Option<Instant>) {
    *deadline = [*deadline, at].into_iter().flatten().min();
}

/// Writes a compound and hands it to the transport, which drops it when it is not connected.
fn write_rtcp(transport: &mut Session, write: impl FnOnce(&mut CompoundWriter<'_>)) {
    let mut out = [0; RTCP_COMPOUND_MAX];
    let mut writer = CompoundWriter::new(&mut out);
    write(&mut writer);
    if !writer.is_empty() {
        // Refused without keys or consent: then nobody waits for it either.
        let _ = transport.send_rtcp(writer.finish());
    }
}

fn send_feedback(peer: &mut Peer) {
    for _ in 0..FEEDBACK_BURST_MAX {
        if peer.arrivals.is_empty() {
            return;
        }
        let (arrivals, sender) = (&mut peer.arrivals, Ssrc(peer.feedback_ssrc));
        write_rtcp(&mut peer.transport, |writer| arrivals.write(sender, writer));
    }
}

fn report_block(stream: &mut Stream, now: Instant) -> Option<ReportBlock> {
    let report = stream.reception.report()?;
    let sender = stream.sender;
    Some(ReportBlock {
        ssrc: Ssrc(stream.ssrc),
        fraction_lost: report.fraction_lost,
        cumulative_lost: report.lost,
        highest_seq: report.highest,
        jitter: report.jitter,
        last_sr: sender.map_or(0, |sender| compact_ntp(sender.ntp)),
        delay_since_last_sr: sender
            .map_or(0, |sender| compact_delay(now.saturating_duration_since(sender.at))),
    })
}

/// The publisher's clock in terms of ours, carried on to now: the same line of wall clock against
/// media clock, so that receivers keep its audio and video together. `None` if the publisher has not said it yet,
/// or the slot sent nothing since the last report.
fn sender_info(slot: &mut Slot, track: &Track, now: Instant) -> Option<SenderInfo> {
    let sender = track.layer.stream.sender?;
    if slot.epoch != Some(track.layer.epoch) || slot.packets == slot.packets_reported {
        return None;
    }
    slot.packets_reported = slot.packets;
    let elapsed: Duration = now.saturating_duration_since(sender.at);
    let ntp = sender.wall.wrapping_add(ntp_of(elapsed));
    if slot.reports.is_full() {
        slot.reports.remove(0);
    }
    slot.reports.push(SentReport { compact_ntp: compact_ntp(ntp), at: now });
    Some(SenderInfo {
        ssrc: Ssrc(slot.ssrc),
        ntp,
        timestamp: slot.timestamp_at(sender.rtp, elapsed, track.clock_rate()),
        packets: slot.packets,
        octets: slot.octets,
    })
}

/// One compound: the first report carries all blocks, then the rest, then names.
fn write_report(
    transport: &mut Session,
    (feedback_ssrc, cname): (u32, &str),
    infos: &[SenderInfo],
    blocks: &mut Blocks,
) {
    write_rtcp(transport, |writer| {
        // Room is certain: see the relation of the limits.
        match infos.split_first() {
            None => {
                let _ =
                    writer.receiver_report(Ssrc(feedback_ssrc), &blocks[..blocks.len().min(31)]);
                let _ = writer.cname(Ssrc(feedback_ssrc), cname);
            }
            Some((first, rest)) => {
                let _ = writer.sender_report(*first, &blocks[..blocks.len().min(31)]);
                for info in rest {
                    let _ = writer.sender_report(*info, &[]);
                }
                for info in infos {
                    let _ = writer.cname(info.ssrc, cname);
                }
            }
        }
    });
    blocks.clear();
}
