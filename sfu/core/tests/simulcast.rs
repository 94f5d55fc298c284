//! A track in three layers through a shard, in virtual time: which one its viewers and the recorder
//! get, what the publisher is told and asked, and what a hostile one achieves.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::{collections::BTreeMap, time::Duration};

use sfu_core::{
    event::{Command, Source},
    limits::{LAYER_SILENCE_MAX, LAYER_UP_MIN, SSRCS_PER_SESSION_MAX},
    test_support::Link,
};
use sfu_proto::{
    control::Tap,
    id::RecordingId,
    rtcp::SenderInfo,
    sdp::Rid,
    tap::{Body, records},
    unit::{RtpTimestamp, Ssrc},
};
use world::{ROOM, Sent, World, track};

const FRAME: Duration = Duration::from_millis(33);
const RIDS: [&str; 3] = ["q", "h", "f"];
const ALL: [bool; 3] = [true; 3];
const WITHOUT_TOP: [bool; 3] = [true, true, false];

/// A publisher of a camera in three layers and a viewer of it.
struct Call {
    world: World,
    publisher: usize,
    viewer: usize,
    /// PLIs of each layer that were answered.
    answered: [usize; 3],
    /// Whether packets have dependency descriptors.
    describes: bool,
    frames: u16,
    /// First packet of each key frame, by layer.
    keys: Vec<(usize, u64)>,
}

impl Call {
    fn new(seed: u64) -> Self {
        Self::with(seed, |world| join_layers(world, &RIDS))
    }

    fn with(seed: u64, join: impl FnOnce(&mut World) -> usize) -> Self {
        let mut world = World::with(seed, |config| config.taps = true);
        let publisher = join(&mut world);
        let viewer = world.join_connected(&[], (0, 1));
        let keys = Vec::new();
        Self { world, publisher, viewer, answered: [0; 3], describes: true, frames: 0, keys }
    }

    /// A frame of each live layer; a key frame if it is the layer's first or was asked for.
    fn frame(&mut self, live: [bool; 3]) {
        self.frames += 1;
        for layer in (0..3).filter(|layer| live[*layer]) {
            let stream = &mut self.world.peers[self.publisher].streams[layer];
            let is_key = stream.sent.is_empty() || stream.plis.len() > self.answered[layer];
            if is_key {
                self.answered[layer] = stream.plis.len();
                self.keys.push((layer, stream.next));
            }
            self.send_frame(layer, is_key);
        }
        self.world.run_for(FRAME);
    }

    fn send_frame(&mut self, layer: usize, is_key: bool) {
        let [high, low] = self.frames.to_be_bytes();
        for packet in 0..=layer {
            let (first, last) = (packet == 0, packet == layer);
            let flags = u8::from(first) << 7 | u8::from(last) << 6;
            let mut descriptor = vec![flags, high, low];
            if first && is_key {
                descriptor.push(0x80);
            }
            let peer = &mut self.world.peers[self.publisher];
            let before = peer.streams[layer].timestamp;
            peer.streams[layer].descriptor = self.describes.then_some(descriptor);
            peer.send_frame(layer, 1, 300);
            // The packets of a frame share its timestamp.
            if !last {
                peer.streams[layer].timestamp = before;
            }
        }
    }

    fn run(&mut self, time: Duration, live: [bool; 3]) {
        let end = self.world.now + time;
        while self.world.now < end {
            self.frame(live);
        }
    }

    /// Layers of what the viewer has got, by outgoing number.
    fn seen(&self) -> Vec<(u64, RtpTimestamp, usize, u64)> {
        let packets = &self.world.peers[self.viewer].slots[0].received.packets;
        let layer = |sent: &Sent| usize::from(sent.payload[9]);
        let number = |sent: &Sent| u64::from_be_bytes(*sent.payload.first_chunk().unwrap());
        let one = |(seq, (timestamp, sent)): (&u64, &(RtpTimestamp, Sent))| {
            (*seq, *timestamp, layer(sent), number(sent))
        };
        packets.iter().map(one).collect()
    }

    fn shown_layer(&self) -> usize {
        self.seen().last().unwrap().2
    }

    /// Each stretch of one layer begins with a key frame of it, and numbers, times and frames go on.
    fn check_switches(&self) -> usize {
        let seen = self.seen();
        assert!(self.keys.contains(&(seen[0].2, seen[0].3)), "begins within");
        let mut switches = 0;
        for pair in seen.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let is_switch = before.2 != after.2;
            switches += usize::from(is_switch);
            if is_switch {
                assert!(self.keys.contains(&(after.2, after.3)), "no key frame: {after:?}");
            } else {
                assert_eq!(after.3, before.3 + 1, "a packet is missing");
            }
            assert_eq!(after.0 - before.0, if is_switch { 2 } else { 1 });
            assert!(after.1.0.wrapping_sub(before.1.0) < 90_000);
        }
        switches
    }

    fn plis(&self, layer: usize) -> usize {
        self.world.peers[self.publisher].streams[layer].plis.len()
    }
}

fn join_layers(world: &mut World, rids: &[&str]) -> usize {
    let publisher = world.join(&[], (0, 0));
    world.peers[publisher].add_layers(Source::Camera, rids);
    world.offer(publisher).unwrap();
    world.connect(publisher);
    publisher
}

const SECONDS: Duration = Duration::from_secs(3);

#[test]
fn the_top_layer_is_forwarded_and_every_layer_reported() {
    let mut call = Call::new(1);
    call.run(SECONDS, ALL);
    assert_eq!(call.shown_layer(), 2);
    assert_eq!(call.world.peers[call.viewer].slots[0].received.twice, 0);
    // The lowest came first.
    assert_eq!((call.seen()[0].2, call.check_switches()), (0, 1));
    let peer = &call.world.peers[call.publisher];
    for stream in &peer.streams {
        assert!(peer.reports.iter().any(|(ssrc, ..)| ssrc.0 == stream.ssrc));
    }
    assert!(peer.feedback > 10);
    // What nobody sees costs no repair.
    assert_eq!((call.plis(0), call.plis(1)), (0, 0));
    assert_eq!(call.world.stats.layer_switches.value(), 1);
}

#[test]
fn layers_of_which_only_a_middle_one_is_alive_are_seen_at_once() {
    let mut call = Call::new(2);
    call.frame([false, true, false]);
    call.world.run_for(FRAME);
    assert_eq!(call.shown_layer(), 1);
    call.check_switches();
}

#[test]
fn down_when_the_top_stops_and_up_when_it_is_back_each_with_a_key_frame() {
    let mut call = Call::new(3);
    call.run(SECONDS, ALL);
    for round in 1..=3 {
        let stopped = call.world.now;
        call.run(SECONDS, WITHOUT_TOP);
        assert_eq!(call.shown_layer(), 1);
        let arrived = &call.world.peers[call.viewer].slots[0].received.arrived;
        let pause = arrived.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap();
        assert!(pause <= LAYER_SILENCE_MAX + 5 * FRAME, "{pause:?}");
        let back = call.world.now;
        call.run(SECONDS, ALL);
        assert_eq!(call.shown_layer(), 2);
        assert_eq!(call.check_switches(), 1 + 2 * round);
        let after = |layer: usize, at| {
            let plis = &call.world.peers[call.publisher].streams[layer].plis;
            plis.iter().filter(|pli| **pli > at).count()
        };
        assert_eq!((after(1, stopped), after(2, back), after(0, stopped)), (1, 1, 0));
    }
}

/// libwebrtc says goodbye for an encoding that is switched off, and names it no more when it is back.
#[test]
fn a_layer_that_says_goodbye_is_left_at_once_and_comes_back_without_its_name() {
    let mut call = Call::new(4);
    call.run(SECONDS, ALL);
    let peer = &mut call.world.peers[call.publisher];
    assert!(peer.streams.iter().all(|stream| stream.acknowledged));
    let ssrc = Ssrc(peer.streams[2].ssrc);
    peer.send_rtcp(|writer| writer.bye(&[ssrc]).unwrap());
    call.run(5 * FRAME, WITHOUT_TOP);
    assert_eq!(call.shown_layer(), 1);
    call.run(SECONDS, WITHOUT_TOP);
    call.run(SECONDS, ALL);
    assert_eq!((call.shown_layer(), call.check_switches()), (2, 3));
    assert_eq!(call.world.stats.rtp_unknown_rid.value(), 0);
}

/// Probes of bandwidth go on, on the retransmission stream of a layer whose encoder stands still.
#[test]
fn padding_does_not_keep_a_silent_layer_alive() {
    let mut call = Call::new(44);
    call.run(SECONDS, ALL);
    for _ in 0..30 {
        call.world.peers[call.publisher].send_padding(2);
        call.frame(WITHOUT_TOP);
    }
    assert_eq!(call.shown_layer(), 1);
    assert!(call.world.stats.rtp_padding_only.value() > 0);
}

#[test]
fn without_descriptors_a_switch_waits_for_the_answer_of_a_round_trip() {
    let mut call = Call { describes: false, ..Call::new(5) };
    call.run(SECONDS, ALL);
    call.run(SECONDS, WITHOUT_TOP);
    assert_eq!(call.shown_layer(), 1);
    call.run(SECONDS, ALL);
    assert_eq!(call.shown_layer(), 2);
    assert_eq!(call.world.stats.layer_switches.value(), 3);
}

#[test]
fn loss_is_repaired_in_the_forwarded_layer_only() {
    for seed in 10..16 {
        let mut call = Call::new(seed);
        call.run(SECONDS, ALL);
        let bad = Link {
            delay: Duration::from_millis(15),
            jitter: Duration::from_millis(12),
            loss: 0.05,
            duplicate: 0.05,
        };
        let before = call.seen().len();
        call.world.links.0 = bad;
        call.run(SECONDS, ALL);
        call.world.links.0 = Link::GOOD;
        call.run(SECONDS, ALL);
        assert_eq!((call.shown_layer(), call.check_switches()), (2, 1), "seed {seed}");
        assert!(call.seen().len() - before > 3 * 170, "{}", call.seen().len() - before);
        let nacked = |layer: usize| call.world.peers[call.publisher].streams[layer].nacked;
        assert!(nacked(2) > 0 && call.world.stats.rtp_recovered.value() > 0);
        assert_eq!((nacked(0), nacked(1)), (0, 0));
    }
}

#[test]
fn switches_at_loss_neither_repeat_a_number_nor_end_the_picture() {
    for seed in 20..24 {
        let mut call = Call::new(seed);
        let bad = Link { delay: Duration::from_millis(20), loss: 0.03, ..Link::GOOD };
        call.world.links = (bad, bad);
        for _ in 0..4 {
            call.run(SECONDS, ALL);
            assert_eq!(call.shown_layer(), 2, "seed {seed}");
            call.run(SECONDS, WITHOUT_TOP);
            assert_eq!(call.shown_layer(), 1, "seed {seed}");
        }
        // A repetition may cross its packet; nothing else comes twice.
        let received = &call.world.peers[call.viewer].slots[0].received;
        let timestamps: Vec<_> = received.packets.values().map(|(at, _)| at.0).collect();
        let later = |pair: &[u32]| pair[1].wrapping_sub(pair[0]) < 90_000;
        assert!(timestamps.windows(2).all(later));
        let pause = received.arrived.windows(2).map(|pair| pair[1].1 - pair[0].1).max().unwrap();
        assert!(pause < Duration::from_millis(1_200), "{pause:?}, seed {seed}");
    }
}

#[test]
fn mute_and_unmute_keep_the_layer() {
    let mut call = Call::new(6);
    call.run(SECONDS, ALL);
    let id = track(call.publisher, Source::Camera);
    call.world.command(Command::SetMuted { track: id, muted: true });
    let (before, switches) = (call.seen().len(), call.world.stats.layer_switches.value());
    call.run(SECONDS, WITHOUT_TOP);
    assert_eq!(call.seen().len(), before);
    assert_eq!(call.world.stats.layer_switches.value(), switches);
    call.world.command(Command::SetMuted { track: id, muted: false });
    call.run(SECONDS, WITHOUT_TOP);
    assert_eq!(call.shown_layer(), 1);
    call.run(SECONDS, ALL);
    assert_eq!(call.shown_layer(), 2);
}

#[test]
fn the_recorder_gets_the_forwarded_layer_by_epochs_that_begin_with_a_report() {
    let mut call = Call::new(7);
    let tracks = vec![track(call.publisher, Source::Camera)];
    let tap = Some(Tap { recording: RecordingId::from_bits(1), tracks });
    call.world.command(Command::SetTap { room: ROOM, tap });
    for live in [ALL, WITHOUT_TOP, ALL] {
        call.run(Duration::from_secs(1), live);
        for layer in 0..3 {
            let peer = &mut call.world.peers[call.publisher];
            let stream = &peer.streams[layer];
            let (ssrc, timestamp) = (Ssrc(stream.ssrc), RtpTimestamp(stream.timestamp));
            let info = SenderInfo { ssrc, ntp: 9 << 32, timestamp, packets: 1, octets: 1 };
            peer.send_rtcp(|writer| writer.sender_report(info, &[]).unwrap());
        }
        call.run(SECONDS, live);
    }
    call.world.run_for(FRAME);
    let (mut epochs, mut layers): (Vec<Vec<(usize, u64)>>, _) = (Vec::new(), Vec::new());
    let mut reported = false;
    for batch in &call.world.taps {
        for record in records(&batch.bytes) {
            match record.unwrap().body {
                Body::Track { .. } => {
                    epochs.push(Vec::new());
                    reported = false;
                }
                Body::Report { .. } => reported = true,
                Body::Packet(packet) => {
                    let layer = usize::from(packet.payload[9]);
                    let epoch = epochs.last_mut().unwrap();
                    if epoch.is_empty() {
                        layers.push((layer, reported));
                    }
                    epoch.push((layer, packet.seq.0));
                }
                _ => {}
            }
        }
    }
    // The first two begin before the publisher has reported anything.
    assert_eq!(layers, [(0, false), (2, true), (1, true), (2, true)]);
    for epoch in epochs {
        assert!(epoch.windows(2).all(|pair| pair[1] == (pair[0].0, pair[0].1 + 1)));
        assert!(
            call.keys
                .iter()
                .any(|(layer, key)| *layer == epoch[0].0 && key & 0xffff == epoch[0].1 & 0xffff)
        );
    }
}

#[test]
fn names_that_were_not_negotiated_are_counted_and_change_nothing() {
    let mut call = Call::new(8);
    call.run(SECONDS, ALL);
    let (seen, switches) = (call.seen().len(), call.world.stats.layer_switches.value());
    let peer = &mut call.world.peers[call.publisher];
    peer.add_layers(Source::Screen, &["x"]);
    let mid = peer.streams[0].mid.clone();
    let names: Vec<Option<String>> = ["x", "", "qq", "qqqqqqqqqqqqqqqq", "\u{1}"]
        .iter()
        .map(|name| Some((*name).to_owned()))
        .chain([None])
        .collect();
    for n in 0..3_000u32 {
        let peer = &mut call.world.peers[call.publisher];
        let stream = &mut peer.streams[3];
        stream.mid.clone_from(&mid);
        stream.rid.clone_from(&names[n as usize % names.len()]);
        (stream.ssrc, stream.next) = (500_000 + 2 * (n % 60), u64::from(n));
        peer.send_frame(3, 1, 100);
        call.world.run_for(Duration::from_millis(1));
    }
    call.world.run_for(FRAME);
    assert_eq!(call.world.stats.rtp_unknown_rid.value(), 3_000);
    assert_eq!(call.world.stats.layer_switches.value(), switches);
    call.run(SECONDS, ALL);
    assert_eq!((call.shown_layer(), call.check_switches()), (2, 1));
    assert!(call.seen().len() > seen);
}

/// SECURITY.md M8: layers that flap, on ever new SSRCs.
#[test]
fn flapping_layers_cost_a_bounded_number_of_switches_and_requests() {
    let mut call = Call::new(9);
    call.run(SECONDS, ALL);
    let begin = call.world.now;
    let switches = call.world.stats.layer_switches.value();
    let plis = (0..3).map(|layer| call.plis(layer)).sum::<usize>();
    let streams = &mut call.world.peers[call.publisher].streams;
    streams.iter_mut().for_each(|stream| stream.next = 1);
    for n in 0..900u32 {
        let peer = &mut call.world.peers[call.publisher];
        for (layer, stream) in peer.streams.iter_mut().enumerate() {
            stream.ssrc = 900_000 + 10 * (n / 2 % 50) + 2 * layer as u32;
            stream.acknowledged = false;
        }
        call.frame([n % 3 == 0, n % 5 < 3, n % 24 < 12]);
    }
    let seconds = (call.world.now - begin).as_secs();
    assert!(seconds / LAYER_UP_MIN.as_secs() > 20);
    let switched = call.world.stats.layer_switches.value() - switches;
    assert!(switched <= 3 * seconds, "{switched} in {seconds} s");
    let asked = (0..3).map(|layer| call.plis(layer)).sum::<usize>() - plis;
    assert!(asked as u64 <= 6 * seconds, "{asked} in {seconds} s");
    // And it works again, though it had more SSRCs than are remembered.
    const _: () = assert!(SSRCS_PER_SESSION_MAX < 150);
    call.run(SECONDS, ALL);
    assert_eq!(call.shown_layer(), 2);
}

#[test]
fn an_offer_that_drops_simulcast_goes_on_with_the_first_layer() {
    let mut call = Call::new(40);
    call.run(SECONDS, ALL);
    assert_eq!(call.shown_layer(), 2);
    let mut offer = call.world.peers[call.publisher].offer();
    let rids = std::mem::take(&mut offer.media[0].simulcast);
    let publish = call.world.peers[call.publisher].publish();
    let answer = call.world.offer_with(call.publisher, offer, publish).unwrap();
    assert!(answer.media[0].simulcast.is_empty() && answer.media[0].extensions.len() == 3);
    call.run(SECONDS, [true, false, false]);
    assert_eq!(call.shown_layer(), 0);
    // And back; the layers are named again, as their SSRCs are new.
    for (n, stream) in call.world.peers[call.publisher].streams.iter_mut().enumerate() {
        (stream.ssrc, stream.next, stream.acknowledged) = (80_000 + 2 * n as u32, 1, false);
    }
    let answer = call.world.offer(call.publisher).unwrap();
    assert_eq!(answer.media[0].simulcast, rids);
    call.run(SECONDS, ALL);
    assert_eq!(call.shown_layer(), 2);
    // The same offer again changes nothing.
    let switches = call.world.stats.layer_switches.value();
    call.world.offer(call.publisher).unwrap();
    call.run(SECONDS, ALL);
    assert_eq!(call.world.stats.layer_switches.value(), switches);
}

#[test]
fn an_offer_that_drops_a_layer_keeps_the_others() {
    let mut call = Call::new(41);
    call.run(SECONDS, ALL);
    let mut offer = call.world.peers[call.publisher].offer();
    offer.media[0].simulcast.remove(0);
    let publish = call.world.peers[call.publisher].publish();
    let answer = call.world.offer_with(call.publisher, offer, publish).unwrap();
    let rids: Vec<&str> = answer.media[0].simulcast.iter().map(Rid::as_str).collect();
    assert_eq!(rids, ["h", "f"]);
    call.run(SECONDS, [false, true, true]);
    assert_eq!(call.shown_layer(), 2);
    call.run(SECONDS, [false, true, false]);
    assert_eq!(call.shown_layer(), 1);
}

#[test]
fn of_four_layers_three_are_taken() {
    let mut world = World::new(42);
    let publisher = world.join(&[], (0, 0));
    world.peers[publisher].add_layers(Source::Camera, &["a", "b", "c", "d"]);
    let answer = world.offer(publisher).unwrap();
    let rids: Vec<&str> = answer.media[0].simulcast.iter().map(Rid::as_str).collect();
    assert_eq!(rids, ["a", "b", "c"]);
}

/// Two cameras in three layers each: nothing crosses over.
#[test]
fn layers_of_two_sources_are_told_apart() {
    let mut world = World::new(43);
    let publisher = world.join(&[], (0, 0));
    for source in [Source::Camera, Source::Screen] {
        world.peers[publisher].add_layers(source, &RIDS);
    }
    world.offer(publisher).unwrap();
    world.connect(publisher);
    let viewer = world.join_connected(&[], (0, 2));
    for _ in 0..30 {
        for stream in 0..6 {
            world.peers[publisher].send_frame(stream, 1, 200);
        }
        world.run_for(FRAME);
    }
    let mut shown: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (slot, received) in world.peers[viewer].slots.iter().enumerate() {
        for (_, sent) in received.received.packets.values() {
            shown.entry(slot).or_default().push(usize::from(sent.payload[9]) / 3);
        }
    }
    assert_eq!(shown.len(), 2);
    assert!(shown.values().all(|streams| streams.windows(2).all(|pair| pair[0] == pair[1])));
    assert_ne!(shown[&0][0], shown[&1][0]);
}
