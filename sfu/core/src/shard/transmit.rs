//! Datagrams out: what transports queued, retransmissions, then fresh packets, subscriber by
//! subscriber, so that the packets of one subscriber lie back to back and form GSO runs.

use std::time::{Duration, Instant};

use sfu_proto::{rtp::abs_send_time, unit::SeqNo};

use super::{Peer, Shard};
use crate::{
    limits::{DATAGRAM_BYTES_MAX, REPORT_INTERVAL, TRAFFIC_INTERVAL},
    router::forward::{Outbound, Outcome, forward, resend},
    table::Key,
};

/// Where the turn stands when a batch is full.
#[derive(Default)]
pub(super) struct Cursor {
    /// Place in `touched`.
    track: usize,
    /// Place among the track's subscribers.
    subscriber: usize,
    /// Place among its fresh packets.
    packet: usize,
}

impl Cursor {
    /// The subscriber at the cursor is replaced: its packets begin anew.
    pub(super) fn restart_subscriber(&mut self) {
        self.packet = 0;
    }
}

/// A retransmission that was asked for and allowed.
#[derive(Clone, Copy)]
pub(super) struct Resend {
    pub(super) peer: Key<Peer>,
    pub(super) slot: u16,
    pub(super) number: SeqNo,
}

/// Whether a step ended because the batch is full.
#[derive(PartialEq, Eq)]
enum Step {
    Done,
    Full,
}

impl Shard {
    /// Fills the empty batch with what is waiting, until it is full or nothing is left.
    pub(super) fn fill_batch(&mut self, now: Instant) {
        if self.fill_control() == Step::Full || self.fill_resends(now) == Step::Full {
            return;
        }
        let _ = self.fill_fresh(now);
    }

    /// Forgets everything queued.
    pub(super) fn abandon_turn(&mut self) {
        for track in std::mem::take(&mut self.touched) {
            if let Some(track) = self.tracks.get_mut(track) {
                track.fresh.clear();
            }
        }
        self.cursor = Cursor::default();
        self.resends.clear();
    }

    /// STUN, DTLS, RTCP.
    fn fill_control(&mut self) -> Step {
        loop {
            if let Some(outgoing) = self.held.take() {
                let len = outgoing.bytes.len();
                if len > DATAGRAM_BYTES_MAX || len == 0 {
                    continue;
                }
                if !self.batch.has_room(len) {
                    self.held = Some(outgoing);
                    return Step::Full;
                }
                self.batch.space()[..len].copy_from_slice(&outgoing.bytes);
                self.batch.commit(outgoing.path, len);
                continue;
            }
            self.held = match self.farewells.pop_front() {
                Some(farewell) => Some(farewell),
                None => self.next_control(),
            };
            if self.held.is_none() {
                return Step::Done;
            }
        }
    }

    fn next_control(&mut self) -> Option<crate::transport::session::Outgoing> {
        while let Some(key) = self.talkative.last().copied() {
            if let Some(peer) = self.peers.get_mut(key) {
                if let Some(outgoing) = peer.transport.poll_outgoing() {
                    return Some(outgoing);
                }
                peer.talkative = false;
            }
            self.talkative.pop();
        }
        None
    }

    fn fill_resends(&mut self, now: Instant) -> Step {
        while let Some(order) = self.resends.front().copied() {
            self.current = Some(order.peer);
            let send_time = self.send_time(now);
            let Some(peer) = self.peers.get_mut(order.peer) else {
                self.resends.pop_front();
                continue;
            };
            let outcome = (|| {
                let path = peer.transport.selected_path()?;
                let slot = peer.slots.get_mut(usize::from(order.slot))?;
                let track = self.tracks.get(slot.track?)?;
                let mut out = Outbound {
                    transport: &mut peer.transport,
                    path,
                    batch: &mut self.batch,
                    transport_seq: &mut peer.transport_seq,
                    send_time,
                    now,
                };
                Some(resend(slot, &track.layer, order.number, &mut self.slab, &mut out))
            })();
            match outcome {
                Some(Outcome::Full) => return Step::Full,
                Some(Outcome::Sent(len)) => {
                    self.stats.rtx_out.add(1);
                    if let Some(peer) = self.peers.get_mut(order.peer) {
                        peer.traffic.sent += len as u64;
                    }
                }
                Some(Outcome::Skipped) | None => self.stats.rtx_refused.add(1),
            }
            self.resends.pop_front();
        }
        Step::Done
    }

    /// The hot path's second half.
    fn fill_fresh(&mut self, now: Instant) -> Step {
        while let Some(key) = self.touched.get(self.cursor.track).copied() {
            while let Some((peer, slot)) = self
                .tracks
                .get(key)
                .and_then(|track| track.subscribers.get(self.cursor.subscriber).copied())
            {
                self.current = Some(peer);
                if self.fill_slot(key, peer, slot, now) == Step::Full {
                    return Step::Full;
                }
                self.cursor.subscriber += 1;
                self.cursor.packet = 0;
            }
            if let Some(track) = self.tracks.get_mut(key) {
                track.fresh.clear();
            }
            self.cursor = Cursor { track: self.cursor.track + 1, ..Cursor::default() };
        }
        self.touched.clear();
        self.cursor = Cursor::default();
        Step::Done
    }

    /// All fresh packets of one track to one slot.
    fn fill_slot(
        &mut self,
        track: Key<crate::router::track::Track>,
        key: Key<Peer>,
        slot: u16,
        now: Instant,
    ) -> Step {
        self.fault_point(key);
        let send_time = self.send_time(now);
        let Some(track) = self.tracks.get(track) else { return Step::Done };
        let Some(peer) = self.peers.get_mut(key) else { return Step::Done };
        let Some(slot) = peer.slots.get_mut(usize::from(slot)) else { return Step::Done };
        let Some(path) = peer.transport.selected_path() else { return Step::Done };
        let mut out = Outbound {
            transport: &mut peer.transport,
            path,
            batch: &mut self.batch,
            transport_seq: &mut peer.transport_seq,
            send_time,
            now,
        };
        while let Some(seq) = track.fresh.get(self.cursor.packet) {
            match forward(slot, &track.layer, *seq, &self.slab, &mut out) {
                Outcome::Full => return Step::Full,
                Outcome::Sent(len) => {
                    self.stats.rtp_forwarded.add(1);
                    peer.budget.on_media(len);
                    peer.traffic.sent += len as u64;
                }
                Outcome::Skipped => {}
            }
            self.cursor.packet += 1;
        }
        if slot.packets != slot.packets_reported && peer.deadlines.report.is_none() {
            peer.deadlines.report = Some(now + REPORT_INTERVAL);
            peer.deadlines.traffic.get_or_insert(now + TRAFFIC_INTERVAL);
            self.peer_timers.set(key.index(), peer.deadlines.next());
        }
        Step::Done
    }

    fn send_time(&self, now: Instant) -> [u8; 3] {
        // Any fixed beginning will do; receivers use differences.
        abs_send_time(now.checked_duration_since(self.config.epoch.0).unwrap_or(Duration::ZERO))
    }
}
