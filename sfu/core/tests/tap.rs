//! What the recorder is handed: complete, unique, whole records, and nothing that it must not get.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sfu_core::{
    event::{Command, Source},
    limits::{TAP_BATCH_AGE_MAX, TAP_BATCH_BYTES_MAX, TAP_READY_BYTES_MAX},
    test_support::Link,
};
use sfu_proto::{
    control::Tap,
    id::{ParticipantId, RecordingId, RoomId, TrackId},
    rtcp::SenderInfo,
    sdp::{Codec, PayloadFormat},
    tap::{Batch, Body, records},
    unit::{RtpTimestamp, Ssrc},
};
use world::{ROOM, Sent, World, track};

const FRAME: Duration = Duration::from_millis(33);
const ONE: RecordingId = RecordingId::from_bits(1);
const TWO: RecordingId = RecordingId::from_bits(2);
/// Wire form of the payload type that the scripted peers send video with.
const MEDIA_PT: u8 = 96;

/// A record of which nothing is borrowed.
#[derive(Debug, Clone, PartialEq)]
enum Got {
    Track(u16, TrackId, ParticipantId, Codec),
    Packet(u16, u64, Sent),
    Report(u16, u64, RtpTimestamp),
    Muted(u16, bool),
    Ended(u16),
    Lost(u32),
    Speakers(Vec<u16>),
}

fn recording_world(seed: u64) -> World {
    World::with(seed, |config| config.taps = true)
}

fn set_tap(world: &mut World, recording: RecordingId, tracks: &[TrackId]) {
    let tap = Some(Tap { recording, tracks: tracks.to_vec() });
    world.command(Command::SetTap { room: ROOM, tap });
}

fn end_tap(world: &mut World) {
    world.command(Command::SetTap { room: ROOM, tap: None });
}

fn send_frames(world: &mut World, peer: usize, stream: usize, frames: usize) {
    for _ in 0..frames {
        world.peers[peer].send_frame(stream, 4, 1100);
        world.run_for(FRAME);
    }
}

/// All records of a recording; each must be whole, and times must not go back.
fn read(batches: &[Batch], recording: RecordingId) -> Vec<Got> {
    let mut newest = 0;
    let of_recording = batches.iter().filter(|batch| batch.recording == recording);
    let mut all = Vec::new();
    for batch in of_recording {
        assert!(batch.bytes.len() <= TAP_BATCH_BYTES_MAX);
        for record in records(&batch.bytes) {
            let record = record.unwrap();
            if !matches!(record.body, Body::Lost { .. }) {
                assert!(record.time_us >= newest);
                newest = record.time_us;
            }
            all.push(got(record.body));
        }
    }
    all
}

fn got(body: Body<'_>) -> Got {
    match body {
        Body::Track { index, track, participant, codec, .. } => {
            Got::Track(index, track, participant, codec)
        }
        Body::Packet(p) => {
            let sent = Sent { payload: p.payload.to_vec(), marker: p.marker };
            Got::Packet(p.index, p.seq.0, sent)
        }
        Body::Report { index, ntp, timestamp } => Got::Report(index, ntp, timestamp),
        Body::Muted { index, muted } => Got::Muted(index, muted),
        Body::Ended { index } => Got::Ended(index),
        Body::Lost { records } => Got::Lost(records),
        Body::Speakers(indexes) => Got::Speakers(indexes.iter().collect()),
        Body::Data(_) => panic!("a media node writes no texts"),
    }
}

fn all(world: &World, recording: RecordingId) -> Vec<Got> {
    read(&world.taps, recording)
}

fn without_packets(got: Vec<Got>) -> Vec<Got> {
    got.into_iter().filter(|got| !matches!(got, Got::Packet(..))).collect()
}

fn packets(got: &[Got], index: u16) -> Vec<(u64, Sent)> {
    let of_index = got.iter().filter_map(|got| match got {
        Got::Packet(i, seq, sent) if *i == index => Some((*seq, sent.clone())),
        _ => None,
    });
    of_index.collect()
}

fn sent(world: &World, peer: usize, stream: usize) -> Vec<Sent> {
    world.peers[peer].streams[stream].sent.iter().map(|(_, sent, _)| sent.clone()).collect()
}

fn vp8(index: u16, peer: usize, source: Source) -> Got {
    let participant = ParticipantId::from_bits(peer as u128 + 1);
    Got::Track(index, track(peer, source), participant, Codec::Vp8)
}

#[test]
fn a_stream_is_complete_and_unique_after_repair_and_in_order_of_arrival() {
    for seed in 0..8 {
        let mut world = recording_world(seed);
        let a = world.join_connected(&[Source::Camera], (0, 0));
        set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
        let bad = Link {
            delay: Duration::from_millis(15),
            jitter: Duration::from_millis(12),
            loss: 0.05,
            duplicate: 0.05,
        };
        send_frames(&mut world, a, 0, 3);
        world.links = (bad, bad);
        send_frames(&mut world, a, 0, 150);
        world.links = (Link::GOOD, Link::GOOD);
        send_frames(&mut world, a, 0, 3);
        world.run_for(Duration::from_secs(1));
        let got = all(&world, ONE);
        assert_eq!(got[0], vp8(0, a, Source::Camera));
        let packets = packets(&got, 0);
        assert_eq!(packets.len(), got.len() - 1, "one epoch, packets only");
        assert!(!packets.is_sorted_by_key(|(seq, _)| *seq), "repaired ones come late");
        let by_number: BTreeMap<u64, Sent> = packets.iter().cloned().collect();
        assert_eq!(by_number.len(), packets.len(), "a packet came twice, seed {seed}");
        let first = *by_number.keys().next().unwrap();
        assert!(by_number.keys().copied().eq(first..first + packets.len() as u64));
        assert!(by_number.into_values().eq(sent(&world, a, 0)), "seed {seed}");
        assert!(world.stats.rtp_recovered.value() > 0);
        assert_eq!(world.stats.tap_packets.value(), packets.len() as u64);
    }
}

#[test]
fn a_track_that_is_tapped_late_begins_with_its_record_and_a_key_frame_request() {
    let mut world = recording_world(2);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    send_frames(&mut world, a, 0, 30);
    assert!(world.peers[a].streams[0].plis.is_empty() && world.taps.is_empty());
    set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
    let (tapped, before) = (world.now, world.peers[a].streams[0].sent.len());
    send_frames(&mut world, a, 0, 10);
    world.run_for(FRAME);
    let plis = &world.peers[a].streams[0].plis;
    assert!(plis.first().is_some_and(|at| *at < tapped + Duration::from_millis(100)), "{plis:?}");
    let got = all(&world, ONE);
    assert_eq!(got[0], vp8(0, a, Source::Camera));
    let payloads: Vec<Sent> = packets(&got, 0).into_iter().map(|(_, sent)| sent).collect();
    assert_eq!(payloads, sent(&world, a, 0)[before..]);
    // The same again changes nothing.
    let count = got.len();
    set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
    world.run_for(FRAME);
    assert_eq!(all(&world, ONE).len(), count);
}

#[test]
fn a_track_that_is_named_before_it_exists_is_recorded_from_its_first_packet() {
    let mut world = recording_world(3);
    // The first peer gets number 0 and so on; only the camera of the second is wanted.
    let camera = track(1, Source::Camera);
    set_tap(&mut world, ONE, &[camera, track(7, Source::Camera)]);
    let before = world.wakeups;
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.wakeups, before, "a track that never comes wakes nobody");
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Microphone, Source::Camera], (0, 0));
    for _ in 0..20 {
        world.peers[a].send_frame(0, 2, 500);
        world.peers[b].send_frame(0, 1, 80);
        world.peers[b].send_frame(1, 2, 500);
        world.run_for(FRAME);
    }
    world.run_for(FRAME);
    let got = all(&world, ONE);
    assert_eq!(got[0], vp8(0, b, Source::Camera));
    let payloads: Vec<Sent> = packets(&got, 0).into_iter().map(|(_, sent)| sent).collect();
    assert_eq!(payloads, sent(&world, b, 1));
    assert_eq!(got.len(), payloads.len() + 1, "nothing of others");
}

#[test]
fn indexes_stay_for_a_recording_and_begin_anew_with_the_next() {
    let mut world = recording_world(4);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Camera], (0, 0));
    let (of_a, of_b) = (track(a, Source::Camera), track(b, Source::Camera));
    let send = |world: &mut World| {
        for _ in 0..3 {
            world.peers[a].send_frame(0, 2, 500);
            world.peers[b].send_frame(0, 2, 500);
            world.run_for(FRAME);
        }
    };
    set_tap(&mut world, ONE, &[of_b]);
    send(&mut world);
    set_tap(&mut world, ONE, &[of_a, of_b]);
    send(&mut world);
    // A pause.
    set_tap(&mut world, ONE, &[]);
    let paused = world.stats.tap_packets.value();
    send(&mut world);
    assert_eq!(world.stats.tap_packets.value(), paused);
    set_tap(&mut world, ONE, &[of_a]);
    send(&mut world);
    set_tap(&mut world, TWO, &[of_a]);
    let (camera_a, camera_b) =
        (|index| vp8(index, a, Source::Camera), |index| vp8(index, b, Source::Camera));
    let first = without_packets(all(&world, ONE));
    let ends = [Got::Ended(1), Got::Ended(0)];
    let expected = [camera_b(0), camera_a(1), ends[0].clone(), ends[1].clone(), camera_a(1)];
    assert_eq!(first[..2], expected[..2]);
    // Both end at once, in the order of publication.
    assert_eq!(first[2..5], expected[2..]);
    assert_eq!(first[5..], [Got::Ended(1)], "the first recording has had its last batch");
    send(&mut world);
    end_tap(&mut world);
    assert_eq!(without_packets(all(&world, TWO)), [camera_a(0), Got::Ended(0)]);
    assert_eq!(packets(&all(&world, TWO), 0).len(), 6);
    assert_eq!(packets(&all(&world, ONE), 1).len(), 12);
    let batches = world.taps.len();
    send(&mut world);
    assert_eq!(world.taps.len(), batches);
}

#[test]
fn a_muted_track_is_silent_in_the_recording() {
    let mut world = recording_world(5);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let camera = track(a, Source::Camera);
    set_tap(&mut world, ONE, &[camera]);
    let mute = |world: &mut World, muted| world.command(Command::SetMuted { track: camera, muted });
    send_frames(&mut world, a, 0, 5);
    world.run_for(FRAME);
    mute(&mut world, true);
    send_frames(&mut world, a, 0, 5);
    world.run_for(FRAME);
    mute(&mut world, false);
    send_frames(&mut world, a, 0, 5);
    mute(&mut world, true);
    set_tap(&mut world, ONE, &[]);
    set_tap(&mut world, ONE, &[camera]);
    world.run_for(Duration::from_secs(1));
    let got = all(&world, ONE);
    let of_camera = vp8(0, a, Source::Camera);
    let muted = |muted| Got::Muted(0, muted);
    let expected = [
        of_camera.clone(),
        muted(true),
        muted(false),
        muted(true),
        Got::Ended(0),
        // It comes in again, muted as it is.
        of_camera,
        muted(true),
    ];
    assert_eq!(without_packets(got.clone()), expected);
    let sent = sent(&world, a, 0);
    let payloads: Vec<Sent> = packets(&got, 0).into_iter().map(|(_, sent)| sent).collect();
    assert_eq!(payloads[..20], sent[..20]);
    assert_eq!(payloads[20..], sent[40..][..payloads.len() - 20]);
    assert!(payloads.len() >= 36);
}

#[test]
fn another_ssrc_and_another_codec_begin_new_epochs() {
    let mut world = recording_world(6);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let mut offer = world.peers[a].offer();
    let vp9 = Codec::Vp9 { profile: 0 };
    let other = PayloadFormat { payload_type: 98, codec: vp9, ..offer.media[0].formats[0].clone() };
    offer.media[0].formats.push(PayloadFormat { rtx: None, ..other });
    let publish = world.peers[a].publish();
    world.offer_with(a, offer, publish).unwrap();
    set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
    send_frames(&mut world, a, 0, 20);
    let stream = &mut world.peers[a].streams[0];
    (stream.ssrc, stream.next) = (70_000, 1);
    send_frames(&mut world, a, 0, 20);
    let (mut header, index) = world.peers[a].seal(0, b"another codec", true).unwrap();
    assert_eq!(header[1] & 0x7f, MEDIA_PT);
    header[1] = 0x80 | 98;
    world.peers[a].client_mut().send_rtp(&header, index, b"another codec");
    world.run_for(Duration::from_millis(100));
    let got = all(&world, ONE);
    let camera = vp8(0, a, Source::Camera);
    let Got::Track(index, id, participant, _) = camera else { panic!() };
    let expected = [camera.clone(), camera, Got::Track(index, id, participant, vp9)];
    assert_eq!(without_packets(got.clone()), expected);
    let begins: Vec<usize> =
        got.iter().enumerate().filter(|(_, g)| matches!(g, Got::Track(..))).map(|g| g.0).collect();
    assert_eq!(begins, [0, 81, 162]);
    assert!(matches!(&got[163], Got::Packet(0, _, sent) if sent.payload == b"another codec"));
    assert_eq!(got.len(), 164);
}

#[test]
fn sender_reports_levels_descriptors_and_speakers_are_handed_on() {
    let mut world = recording_world(7);
    let a = world.join_connected(&[Source::Microphone, Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Microphone], (0, 0));
    let tracks = [track(a, Source::Microphone), track(a, Source::Camera)];
    set_tap(&mut world, ONE, &tracks);
    world.peers[a].streams[1].descriptor = Some(vec![0xc0, 0, 7]);
    for frame in 0..100u64 {
        if frame == 50 {
            let stream = &world.peers[a].streams[1];
            let info = SenderInfo {
                ssrc: Ssrc(stream.ssrc),
                ntp: 77 << 32,
                timestamp: RtpTimestamp(stream.timestamp),
                packets: 0,
                octets: 0,
            };
            world.peers[a].send_rtcp(|w| w.sender_report(info, &[]).unwrap());
        }
        for peer in [a, b] {
            world.peers[peer].streams[0].level = Some(if frame < 60 { 0x80 | 20 } else { 127 });
            world.peers[peer].send_frame(0, 1, 80);
        }
        world.peers[a].send_frame(1, 1, 500);
        world.run_for(FRAME);
    }
    world.run_for(Duration::from_secs(3));
    let got = all(&world, ONE);
    let reports: Vec<_> = got.iter().filter(|got| matches!(got, Got::Report(..))).collect();
    assert!(matches!(reports[..], [Got::Report(1, ntp, _)] if *ntp == 77 << 32), "{reports:?}");
    let speakers: Vec<_> = got.iter().filter(|got| matches!(got, Got::Speakers(_))).collect();
    assert_eq!(speakers, [&Got::Speakers(vec![0]), &Got::Speakers(vec![])], "nobody else is told");
    for batch in &world.taps {
        for record in records(&batch.bytes) {
            let Body::Packet(packet) = record.unwrap().body else { continue };
            let audio = packet.index == 0;
            assert_eq!(packet.level.is_some(), audio);
            assert!(packet.level.is_none_or(|level| level == 0x80 | 20 || level == 127));
            assert_eq!(packet.descriptor, if audio { &[][..] } else { &[0xc0, 0, 7] });
        }
    }
}

#[test]
fn whatever_ends_a_track_or_the_room_ends_it_in_the_recording_with_a_last_batch() {
    let mut world = recording_world(8);
    let peers: Vec<usize> =
        (0..3).map(|_| world.join_connected(&[Source::Camera], (0, 0))).collect();
    let tracks: Vec<TrackId> = peers.iter().map(|peer| track(*peer, Source::Camera)).collect();
    set_tap(&mut world, ONE, &tracks);
    for peer in &peers {
        send_frames(&mut world, *peer, 0, 1);
    }
    let session = world.peers[peers[1]].session;
    world.command(Command::CloseSession { session });
    world.run_for(TAP_BATCH_AGE_MAX);
    assert_eq!(all(&world, ONE).last(), Some(&Got::Ended(1)));
    world.peers[peers[2]].send_frame(0, 4, 1000);
    world.run_for(Duration::from_millis(11));
    world.command(Command::CloseRoom { room: ROOM });
    let got = all(&world, ONE);
    assert_eq!(got[got.len() - 2..], [Got::Ended(0), Got::Ended(2)]);
    assert_eq!(packets(&got, 2).len(), 8, "what came last is in the last batch");
    assert_eq!(world.shard.poll_timeout(), None);
    let (batches, unknown) = (world.taps.len(), world.stats.commands_unknown.value());
    set_tap(&mut world, ONE, &tracks);
    world.run_for(Duration::from_secs(1));
    assert_eq!((world.taps.len(), world.stats.commands_unknown.value()), (batches, unknown + 1));
}

#[test]
fn batches_are_cut_when_they_are_full_and_when_they_are_old() {
    let mut world = recording_world(9);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
    world.run_for(FRAME);
    world.taps.clear();
    world.links.0.delay = Duration::from_millis(1);
    world.peers[a].send_frame(0, 200, 1100);
    world.run_for(Duration::from_millis(2));
    let full: Vec<usize> = world.taps.iter().map(|batch| batch.bytes.len()).collect();
    assert_eq!(full.len(), 3);
    assert!(full.iter().all(|len| *len > TAP_BATCH_BYTES_MAX * 9 / 10), "{full:?}");
    world.run_for(TAP_BATCH_AGE_MAX - Duration::from_millis(3));
    assert_eq!(world.taps.len(), 3);
    world.run_for(Duration::from_millis(5));
    assert_eq!((world.taps.len(), all(&world, ONE).len()), (4, 200));
}

#[test]
fn without_a_recorder_a_tap_is_unknown_and_nothing_is_kept() {
    let mut world = World::new(10);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
    assert_eq!(world.stats.commands_unknown.value(), 1);
    send_frames(&mut world, a, 0, 10);
    end_tap(&mut world);
    assert!(world.taps.is_empty());
    assert_eq!(world.stats.tap_packets.value(), 0);
}

#[test]
fn a_refused_batch_is_told_of_first_and_asks_for_key_frames() {
    let mut world = recording_world(11);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
    send_frames(&mut world, a, 0, 30);
    world.run_for(Duration::from_secs(3));
    world.taps.clear();
    let plis = world.peers[a].streams[0].plis.len();
    send_frames(&mut world, a, 0, 1);
    let refused = read(&world.taps, ONE).len() as u32;
    assert_eq!(refused, 4);
    let batch = world.taps.pop().unwrap();
    assert!(world.taps.is_empty());
    world.shard.tap_refused(&batch, world.now);
    let ended = Batch { recording: TWO, ..batch };
    world.shard.tap_refused(&ended, world.now);
    send_frames(&mut world, a, 0, 3);
    world.run_for(FRAME);
    let got = all(&world, ONE);
    assert_eq!(got[0], Got::Lost(4));
    assert_eq!(packets(&got, 0).len(), got.len() - 1);
    assert_eq!(world.peers[a].streams[0].plis.len(), plis + 1);
    assert_eq!(world.stats.tap_lost_records.value(), 8);
    // Refusals in a row do not become requests in a row.
    for _ in 0..100 {
        while let Some(batch) = world.taps.pop() {
            world.shard.tap_refused(&batch, world.now);
        }
        send_frames(&mut world, a, 0, 1);
    }
    let more = world.peers[a].streams[0].plis.len() - plis;
    assert!((2..=9).contains(&more), "{more} in 3.3 s");
    let lost = world.stats.tap_lost_records.value();
    world.taps.clear();
    send_frames(&mut world, a, 0, 1);
    world.run_for(FRAME);
    // The batch that was thrown away here had told of all before it.
    assert!(matches!(all(&world, ONE)[0], Got::Packet(..)));
    assert!((400..=424).contains(&lost), "each record counts once: {lost}");
}

#[test]
fn when_nobody_polls_memory_is_bounded_and_the_loss_is_told_later() {
    let mut world = recording_world(12);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    set_tap(&mut world, ONE, &[track(a, Source::Camera)]);
    world.records = false;
    for _ in 0..60 {
        world.peers[a].send_frame(0, 200, 1100);
        world.run_for(FRAME);
    }
    world.run_for(Duration::from_secs(1));
    let lost = world.stats.tap_lost_records.value();
    assert!(lost > 0);
    world.records = true;
    world.flush_shard();
    let held: usize = world.taps.iter().map(|batch| batch.bytes.capacity()).sum();
    assert!(held <= TAP_READY_BYTES_MAX && held > TAP_READY_BYTES_MAX / 2, "{held}");
    let before = all(&world, ONE).len();
    send_frames(&mut world, a, 0, 1);
    world.run_for(FRAME);
    let got = all(&world, ONE);
    assert_eq!(got[before], Got::Lost(lost as u32));
    let handed = got.iter().filter(|got| matches!(got, Got::Packet(..))).count();
    // The track's record was handed over; all lost ones are packets.
    assert_eq!(handed as u64 + lost, 60 * 200 + 4);
}

#[test]
fn a_hostile_publisher_cannot_make_a_malformed_record() {
    let mut world = recording_world(13);
    let mut rng = StdRng::seed_from_u64(13);
    let a = world.join_connected(&[Source::Microphone, Source::Camera], (0, 0));
    let tracks = [track(a, Source::Microphone), track(a, Source::Camera)];
    set_tap(&mut world, ONE, &tracks);
    let mut payloads = HashSet::new();
    for n in 0..4_000 {
        let number = rng.random_range(0..2);
        let stream = &mut world.peers[a].streams[number];
        stream.timestamp = rng.random();
        stream.next += rng.random_range(0..50);
        if n % 100 == 0 {
            (stream.ssrc, stream.next) = (rng.random(), rng.random_range(0..1 << 15));
        }
        stream.level = rng.random_bool(0.5).then(|| rng.random());
        let len = rng.random_range(0..250);
        stream.descriptor = rng.random_bool(0.5).then(|| (0..len).map(|_| rng.random()).collect());
        let len = rng.random_range(0..1_150);
        let payload: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        let (mut header, index) = world.peers[a].seal(number, &payload, rng.random()).unwrap();
        // Padding, other payload types.
        header[0] |= u8::from(rng.random_bool(0.1)) << 5;
        header[1] = if rng.random_bool(0.2) { rng.random() } else { header[1] };
        world.peers[a].client_mut().send_rtp(&header, index, &payload);
        payloads.insert(payload);
        world.run_for(Duration::from_millis(rng.random_range(0..20)));
    }
    world.run_for(Duration::from_secs(1));
    let got = all(&world, ONE);
    let packets: Vec<_> = [0, 1].into_iter().flat_map(|index| packets(&got, index)).collect();
    assert!(packets.len() > 1_000, "{}", packets.len());
    // Padding is cut off at the end; else a payload is one that was sent.
    let whole = packets.iter().filter(|(_, sent)| payloads.contains(&sent.payload)).count();
    assert!(whole > packets.len() * 3 / 4);
    let known = |sent: &Sent| payloads.iter().any(|p| p.starts_with(&sent.payload));
    assert!(packets.iter().all(|(_, sent)| known(sent)));
}

#[test]
fn other_rooms_are_not_recorded() {
    let mut world = recording_world(14);
    let other = RoomId::from_bits(99);
    world.command(Command::OpenRoom { room: other, sessions_max: 2 });
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let tap = Some(Tap { recording: ONE, tracks: vec![track(a, Source::Camera)] });
    world.command(Command::SetTap { room: other, tap });
    send_frames(&mut world, a, 0, 10);
    assert!(world.taps.is_empty());
    world.command(Command::CloseRoom { room: other });
    world.run_for(Duration::from_secs(1));
    assert!(world.taps.is_empty());
}
