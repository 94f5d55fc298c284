//! The simulcast layers of a track that are not forwarded: counted, and carried to
//! `media/simulcast`, which decides when one of them is forwarded instead.
//!
//! They cost their publisher no repair: what is missing of them is not asked for, and a key frame
//! only when one is to be forwarded next.

use std::time::Instant;

use super::{
    Peer, Shard,
    peer::Carries,
    receive::{Received, format_of},
};
use crate::{
    media::{
        keyframe::Want,
        simulcast::{Begins, Move},
    },
    router::track::Track,
    table::Key,
};

impl Shard {
    /// An authentic packet of a track with several layers. Whether it is of the one that is forwarded.
    pub(super) fn on_layer(
        &mut self,
        key: Key<Peer>,
        track_key: Key<Track>,
        received: &Received<'_>,
        now: Instant,
    ) -> bool {
        let Some(track) = self.tracks.get_mut(track_key) else { return false };
        match &mut track.simulcast {
            Some(simulcast) if simulcast.chosen() != received.rank => {
                self.on_idle_layer(key, track_key, received, now)
            }
            Some(simulcast) if received.is_media() => {
                simulcast.on_forwarded();
                true
            }
            _ => true,
        }
    }

    /// One of a layer that is not the forwarded one. True: now it is, and the packet is its first.
    fn on_idle_layer(
        &mut self,
        key: Key<Peer>,
        track_key: Key<Track>,
        received: &Received<'_>,
        now: Instant,
    ) -> bool {
        let rtt = self.peers.get(key).map_or(crate::limits::RTT_DEFAULT, |peer| peer.rtt);
        let Some(track) = self.tracks.get_mut(track_key) else { return false };
        if received.carries == Carries::Rtx {
            self.stats.rtx_in.add(1);
            return false;
        }
        if format_of(track, received.header.payload_type, Carries::Media).is_none() {
            self.stats.rtp_unknown_format.add(1);
            return false;
        }
        let turn = consider(track, received, rtt, now);
        if turn == Move::Switch {
            self.switch_layer(track_key, received.rank, now);
            return true;
        }
        self.stats.rtp_idle_layer.add(1);
        count(track, received, now);
        if turn == Move::Ask {
            self.send_key_frame_requests(key, now);
            self.arm(key);
        }
        false
    }

    /// Forwards another layer: slots and recorder begin the track's stream anew.
    fn switch_layer(&mut self, key: Key<Track>, rank: u8, now: Instant) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(simulcast) = &mut track.simulcast else { return };
        simulcast.switch(rank, &mut track.layer, now);
        // Of the layer before: not cached any more.
        track.fresh.clear();
        self.stats.layer_switches.add(1);
        if let Some(tapped) = &mut track.tap {
            tapped.restart();
            // The recorder keeps it in step with the sound from the first picture on.
            self.tap_report(key, now);
        }
    }
}

/// What a packet of an idle layer means for the choice.
fn consider(
    track: &mut Track,
    received: &Received<'_>,
    rtt: std::time::Duration,
    now: Instant,
) -> Move {
    let Some(simulcast) = &mut track.simulcast else { return Move::Stay };
    if track.muted || !received.is_media() {
        return Move::Stay;
    }
    let Some(stream) = simulcast.stream_mut(received.rank) else { return Move::Stay };
    let is_first = stream.reception.timestamp() != Some(received.header.timestamp);
    let begins = Begins::read(received.elements.dependency_descriptor, is_first);
    let turn = simulcast.on_other(received.rank, begins, &track.layer.stream, rtt, now);
    if turn == Move::Ask
        && let Some(stream) = simulcast.stream_mut(received.rank)
    {
        stream.key_frames.request(Want::Begin);
    }
    turn
}

/// For reports, and for the account of key frames.
fn count(track: &mut Track, received: &Received<'_>, now: Instant) {
    let (header, clock) = (&received.header, track.clock_rate());
    let Some(stream) = track.stream_mut(received.rank) else { return };
    stream.reception.on_packet(received.opened.index, header.timestamp, clock, now);
    let structure = received.has_structure();
    stream.key_frames.on_packet(header.timestamp.0, received.opened.len, structure);
}
