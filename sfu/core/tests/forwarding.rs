//! Media between peers through a shard, in virtual time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use sfu_core::{
    event::{Command, Event, Source},
    test_support::Link,
};
use world::{Sent, World, track};

const FRAME: Duration = Duration::from_millis(33);

fn sent(world: &World, peer: usize, stream: usize) -> Vec<Sent> {
    world.peers[peer].streams[stream].sent.iter().map(|(_, sent, _)| sent.clone()).collect()
}

fn send_frames(world: &mut World, peer: usize, stream: usize, frames: usize) {
    for _ in 0..frames {
        world.peers[peer].send_frame(stream, 4, 1100);
        world.run_for(FRAME);
    }
}

#[test]
fn two_peers_see_and_hear_each_other() {
    let mut world = World::new(1);
    let sources = [Source::Microphone, Source::Camera];
    let (a, b) = (world.join(&sources, (1, 1)), world.join(&sources, (1, 1)));
    world.connect(a);
    world.connect(b);
    for _ in 0..100 {
        for peer in [a, b] {
            world.peers[peer].send_frame(0, 1, 80);
            world.peers[peer].send_frame(1, 5, 1000);
        }
        world.run_for(FRAME);
    }
    for (publisher, subscriber) in [(a, b), (b, a)] {
        for stream in 0..2 {
            let received = &world.peers[subscriber].slots[stream].received;
            assert_eq!(received.in_order(), sent(&world, publisher, stream));
            assert_eq!((received.twice, received.rtx), (0, 0));
            assert_eq!(received.mid.as_deref(), Some(&[b'2' + stream as u8][..]));
        }
    }
    let started = world.events.iter().filter(|e| matches!(e, Event::TrackStarted { .. })).count();
    assert_eq!(started, 4);
}

#[test]
fn every_packet_arrives_once_and_in_order_over_a_bad_network() {
    // More with `SEEDS=…`; then some packet will be lost four times in a row, which the bound of
    // three repetitions (`RESENDS_MAX`) does not save: 6 in a million at this loss.
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    for seed in 0..seeds.unwrap_or(8) {
        let mut world = World::new(seed);
        let a = world.join_connected(&[Source::Camera], (0, 0));
        let b = world.join_connected(&[], (0, 1));
        let bad = Link {
            delay: Duration::from_millis(15),
            jitter: Duration::from_millis(12),
            loss: 0.05,
            duplicate: 0.05,
        };
        // The first frames arrive, so that all know where the stream begins.
        send_frames(&mut world, a, 0, 3);
        world.links = (bad, bad);
        send_frames(&mut world, a, 0, 150);
        world.links = (Link::GOOD, Link::GOOD);
        send_frames(&mut world, a, 0, 3);
        world.run_for(Duration::from_secs(1));
        let received = &world.peers[b].slots[0].received;
        assert_eq!(received.in_order(), sent(&world, a, 0), "seed {seed}");
        assert!(received.rtx > 0 && world.peers[a].streams[0].nacked > 0);
        assert!(world.stats.rtp_recovered.value() > 0);
    }
}

#[test]
fn a_late_joiner_makes_the_publisher_send_a_key_frame() {
    let mut world = World::new(3);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    send_frames(&mut world, a, 0, 30);
    assert!(world.peers[a].streams[0].plis.is_empty());
    let b = world.join_connected(&[], (0, 1));
    let joined = world.now;
    send_frames(&mut world, a, 0, 10);
    let plis = &world.peers[a].streams[0].plis;
    assert!(plis.first().is_some_and(|at| *at < joined + Duration::from_millis(100)), "{plis:?}");
    assert!(!world.peers[b].slots[0].received.packets.is_empty());
}

#[test]
fn key_frame_requests_are_merged_and_bounded() {
    let mut world = World::new(4);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let subscribers: Vec<_> = (0..10).map(|_| world.join_connected(&[], (0, 1))).collect();
    send_frames(&mut world, a, 0, 30);
    world.peers[a].streams[0].plis.clear();
    let begin = world.now;
    for _ in 0..200 {
        for peer in &subscribers {
            let ssrc = sfu_proto::unit::Ssrc(world.peers[*peer].slots[0].ssrc);
            world.peers[*peer].send_rtcp(|w| w.pli(sfu_proto::unit::Ssrc(1), ssrc).unwrap());
        }
        world.peers[a].send_frame(0, 1, 1100);
        world.run_for(Duration::from_millis(20));
    }
    let plis = &world.peers[a].streams[0].plis;
    let seconds = (world.now - begin).as_secs() as usize;
    assert!((1..=2 * seconds + 1).contains(&plis.len()), "{} in {seconds} s", plis.len());
    assert!(plis.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(450)));
}

#[test]
fn switching_a_slot_continues_sequence_and_time_and_asks_for_a_key_frame() {
    let mut world = World::new(5);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Camera], (0, 0));
    let c = world.join_connected(&[], (0, 1));
    for _ in 0..30 {
        world.peers[a].send_frame(0, 2, 500);
        world.peers[b].send_frame(0, 2, 500);
        world.run_for(FRAME);
    }
    assert_eq!(world.shown(c), [Some(track(a, Source::Camera))]);
    assert_eq!(world.waiting(c), (0, 1));
    world.peers[b].streams[0].plis.clear();
    let session = world.peers[c].session;
    let tracks = vec![track(b, Source::Camera)];
    world.command(Command::Want { session, tracks });
    assert_eq!(world.shown(c), [Some(track(b, Source::Camera))]);
    for _ in 0..30 {
        world.peers[a].send_frame(0, 2, 500);
        world.peers[b].send_frame(0, 2, 500);
        world.run_for(FRAME);
    }
    assert!(!world.peers[b].streams[0].plis.is_empty());
    let packets = &world.peers[c].slots[0].received.packets;
    let from = |sent: &Sent| usize::from(sent.payload[8]);
    assert!(
        packets.values().any(|(_, s)| from(s) == a) && packets.values().any(|(_, s)| from(s) == b)
    );
    let all: Vec<_> = packets.iter().collect();
    for pair in all.windows(2) {
        let ((before, (ts_before, sent_before)), (after, (ts_after, sent_after))) =
            (pair[0], pair[1]);
        let switched = from(sent_before) != from(sent_after);
        // One number is left out where the source changes; see media/rewrite.rs.
        assert_eq!(*after - *before, if switched { 2 } else { 1 });
        let step = ts_after.0.wrapping_sub(ts_before.0);
        assert!(step <= 2 * 3000, "the media clock jumped by {step}");
    }
}

/// Frame numbers of dependency descriptors rise over a change of source, in repetitions, too:
/// libwebrtc drops a key frame whose number is below that of the last one.
#[test]
fn frame_numbers_rise_when_a_slot_changes_its_source() {
    let mut world = World::new(51);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Camera], (0, 0));
    let c = world.join_connected(&[], (0, 1));
    let session = world.peers[c].session;
    world.links.1.loss = 0.1;
    // The second source's numbers are below the first one's.
    let (mut frames, mut switches) = ([50_000u16, 3], 0);
    for n in 0..90 {
        if n % 30 == 0 {
            let tracks = vec![track([a, b][n / 30 % 2], Source::Camera)];
            world.command(Command::Want { session, tracks });
            switches += 1;
        }
        for (peer, frame) in [a, b].into_iter().zip(&mut frames) {
            *frame += 1;
            let [high, low] = frame.to_be_bytes();
            world.peers[peer].streams[0].descriptor = Some(vec![0xc0, high, low]);
            world.peers[peer].send_frame(0, 2, 500);
        }
        world.run_for(FRAME);
    }
    world.links.1.loss = 0.0;
    world.run_for(Duration::from_millis(300));
    assert_eq!((switches, frames), (3, [50_090, 93]));
    let received = &world.peers[c].slots[0].received;
    assert!(received.rtx > 0);
    let numbers: Vec<_> = received
        .numbered
        .iter()
        .map(|(seq, descriptor)| (*seq, u16::from_be_bytes([descriptor[1], descriptor[2]])))
        .collect();
    let mut jumps = 0;
    for pair in numbers.windows(2) {
        let step = pair[1].1.wrapping_sub(pair[0].1);
        jumps += usize::from(step > 4_096);
        assert!(step <= 1 || step > 4_096 && step < 5_000, "{pair:?}");
    }
    // No frame can refer back across a change.
    assert_eq!(jumps, 2);
}

/// An encoder that starts anew, on another SSRC, counts its frames from the beginning.
#[test]
fn frame_numbers_rise_when_a_publisher_starts_anew() {
    let mut world = World::new(60);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    for ssrc in [70_000, 70_002, 70_004] {
        let stream = &mut world.peers[a].streams[0];
        (stream.ssrc, stream.next) = (ssrc, 1);
        for frame in 0..20 {
            world.peers[a].streams[0].descriptor = Some(vec![0xc0, 0, frame]);
            world.peers[a].send_frame(0, 2, 500);
            world.run_for(FRAME);
        }
    }
    let numbered = &world.peers[b].slots[0].received.numbered;
    let numbers: Vec<_> = numbered.values().map(|d| u16::from_be_bytes([d[1], d[2]])).collect();
    assert_eq!(numbers.len(), 3 * 20 * 2);
    assert!(numbers.is_sorted());
    assert_eq!(numbers.last(), Some(&(2 * (20 + 4_096) + 19)));
}

/// A shared screen: key frames of 200 kB, small deltas, and someone joins each second.
#[test]
fn each_of_many_late_joiners_gets_a_picture_within_a_second() {
    let mut world = World::new(52);
    let a = world.join_connected(&[Source::Screen], (0, 0));
    let mut joined = Vec::new();
    let (mut answered, mut keys) = (0, Vec::new());
    for n in 0..300 {
        if n % 15 == 10 {
            joined.push((world.join_connected(&[], (0, 1)), world.now));
        }
        let stream = &world.peers[a].streams[0];
        if n == 0 || stream.plis.len() > answered {
            answered = stream.plis.len();
            keys.push(stream.next);
            world.peers[a].send_frame(0, 180, 1_110);
        } else {
            world.peers[a].send_frame(0, 1, 1_000);
        }
        world.run_for(2 * FRAME);
    }
    assert_eq!(joined.len(), 20);
    for (peer, at) in joined {
        let packets = &world.peers[peer].slots[0].received.arrived;
        // The first packet of a key frame carries its number in the source's stream.
        let key = packets.iter().find(|(number, _)| keys.contains(number));
        let waited = key.map(|(_, arrival)| *arrival - at);
        assert!(waited.is_some_and(|time| time < Duration::from_secs(1)), "{peer}: {waited:?}");
    }
    assert!(world.peers[a].streams[0].plis.len() <= 2 * 20);
}

/// Whoever changes what it shows all the time draws on the account for losses.
#[test]
fn a_slot_that_flaps_does_not_flood_the_publishers() {
    let mut world = World::new(53);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Camera], (0, 0));
    let c = world.join_connected(&[], (0, 1));
    let session = world.peers[c].session;
    let begin = world.now;
    for n in 0..600 {
        for peer in [a, b] {
            world.peers[peer].send_frame(0, 1, 1_100);
        }
        let tracks = vec![track([a, b][n % 2], Source::Camera)];
        world.command(Command::Want { session, tracks });
        world.run_for(FRAME);
    }
    let seconds = (world.now - begin).as_secs() as usize;
    let plis: usize = [a, b].iter().map(|peer| world.peers[*peer].streams[0].plis.len()).sum();
    assert!((seconds / 2..=5 * seconds).contains(&plis), "{plis} in {seconds} s");
}

#[test]
fn receiver_reports_go_on_after_a_pause() {
    let mut world = World::new(54);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    send_frames(&mut world, a, 0, 60);
    let first = world.peers[a].reports.len();
    assert!(first > 0);
    world.run_for(Duration::from_secs(10));
    let paused = world.peers[a].reports.len();
    send_frames(&mut world, a, 0, 90);
    assert!(world.peers[a].reports.len() >= paused + 2);
}

/// An encoder starts anew on fresh SSRCs, again and again; then the first one comes back.
#[test]
fn ssrcs_change_for_ever_and_may_come_back() {
    let mut world = World::new(55);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let first = world.peers[a].streams[0].ssrc;
    world.links.0.loss = 0.05;
    send_frames(&mut world, a, 0, 20);
    let next = world.peers[a].streams[0].next;
    for n in 1..40 {
        let stream = &mut world.peers[a].streams[0];
        (stream.ssrc, stream.next) = (first + 2 * n, 1);
        send_frames(&mut world, a, 0, 20);
    }
    let stream = &mut world.peers[a].streams[0];
    (stream.ssrc, stream.next) = (first, next);
    world.links.0.loss = 0.0;
    send_frames(&mut world, a, 0, 60);
    use sfu_core::transport::session::Drop;
    assert_eq!(world.stats.dropped(Drop::TooManySources), 0);
    let received = world.peers[b].slots[0].received.in_order();
    assert_eq!(received.last(), sent(&world, a, 0).last());
    assert!(received.len() > 41 * 20 * 4 / 2);
}

#[test]
fn a_publisher_that_leaves_empties_its_slots() {
    let mut world = World::new(6);
    let a = world.join_connected(&[Source::Camera, Source::Microphone], (0, 0));
    let b = world.join_connected(&[], (1, 1));
    send_frames(&mut world, a, 0, 3);
    assert_eq!(
        world.shown(b),
        [Some(track(a, Source::Microphone)), Some(track(a, Source::Camera))]
    );
    world.command(Command::CloseSession { session: world.peers[a].session });
    assert_eq!(world.shown(b), [None, None]);
    assert_eq!((world.stats.tracks.value(), world.stats.sessions.value()), (0, 1));
}

#[test]
fn forged_packets_change_nothing() {
    let mut world = World::new(7);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    send_frames(&mut world, a, 0, 10);
    let (header, _) = {
        let stream = &world.peers[a].streams[0];
        (stream.sent.last().unwrap().2.clone(), ())
    };
    let from = world.peers[a].address;
    for n in 0..2_000u32 {
        let mut forged = [header.clone(), vec![n as u8; 600]].concat();
        // Right SSRC and future numbers, and new SSRCs with the right MID.
        forged[2..4].copy_from_slice(&(n as u16).wrapping_mul(31).to_be_bytes());
        if n % 2 == 0 {
            forged[8..12].copy_from_slice(&n.to_be_bytes());
        }
        world.inject(from, &forged);
        world.inject(([198, 51, 100, 7], 9).into(), &forged);
    }
    use sfu_core::transport::session::Drop;
    let refused = world.stats.dropped(Drop::Authentication) + world.stats.dropped(Drop::Replay);
    assert_eq!(refused, 2_000);
    assert_eq!(world.stats.dropped(Drop::UnvalidatedPath), 2_000);
    send_frames(&mut world, a, 0, 10);
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.peers[b].slots[0].received.in_order(), sent(&world, a, 0));
    assert_eq!(world.peers[a].streams[0].nacked, 0);
}

#[test]
fn mute_keeps_the_slot_and_unmute_continues_without_a_hole() {
    let mut world = World::new(8);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    send_frames(&mut world, a, 0, 10);
    let id = track(a, Source::Camera);
    world.command(Command::SetMuted { track: id, muted: true });
    let before = world.peers[b].slots[0].received.packets.len();
    send_frames(&mut world, a, 0, 10);
    assert_eq!(world.peers[b].slots[0].received.packets.len(), before);
    assert_eq!(world.shown(b), [Some(id)]);
    world.peers[a].streams[0].plis.clear();
    world.command(Command::SetMuted { track: id, muted: false });
    send_frames(&mut world, a, 0, 10);
    assert_eq!(world.peers[a].streams[0].nacked, 0);
    assert!(!world.peers[a].streams[0].plis.is_empty());
    let packets = &world.peers[b].slots[0].received.packets;
    assert_eq!(packets.len(), 2 * before);
    let span = packets.keys().next_back().unwrap() - packets.keys().next().unwrap() + 1;
    assert_eq!(span, packets.len() as u64 + 1);
}

#[test]
fn own_tracks_never_come_back() {
    let mut world = World::new(9);
    let a = world.join_connected(&[Source::Camera, Source::Microphone], (1, 1));
    send_frames(&mut world, a, 0, 5);
    assert_eq!(world.shown(a), [None, None]);
    assert_eq!(world.peers[a].slots[1].received.packets.len(), 0);
}

#[test]
fn nacking_everything_costs_a_bounded_share() {
    let mut world = World::new(10);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    for _ in 0..150 {
        world.peers[a].send_frame(0, 4, 1100);
        for _ in 0..10 {
            let slot = &world.peers[b].slots[0];
            let ssrc = sfu_proto::unit::Ssrc(slot.ssrc);
            let recent: Vec<_> = slot
                .received
                .packets
                .keys()
                .rev()
                .take(100)
                .rev()
                .map(|seq| sfu_proto::unit::SeqNo(*seq).wire())
                .collect();
            world.peers[b].send_rtcp(|w| w.nack(sfu_proto::unit::Ssrc(1), ssrc, recent).unwrap());
            world.run_for(FRAME / 10);
        }
    }
    let received = &world.peers[b].slots[0].received;
    let bytes = |packets: usize| packets as f64 * 1100.0;
    // 20 % of the media, 50 kbit/s, and what was saved up.
    let allowed = bytes(received.plain) * 0.21 + 5.0 * 6_250.0 + 70_000.0;
    assert!(
        received.rtx > 0 && bytes(received.rtx) < allowed,
        "{} of {}",
        received.rtx,
        received.plain
    );
}

#[test]
fn reports_and_feedback_flow_and_keep_the_clocks() {
    let mut world = World::new(11);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    for frame in 0..100u32 {
        if frame % 30 == 0 {
            let stream = &world.peers[a].streams[0];
            let info = sfu_proto::rtcp::SenderInfo {
                ssrc: sfu_proto::unit::Ssrc(stream.ssrc),
                ntp: (1_000u64 << 32) + ((u64::from(frame) * 100 / 3) << 32) / 1000,
                timestamp: sfu_proto::unit::RtpTimestamp(stream.timestamp),
                packets: 0,
                octets: 0,
            };
            world.peers[a].send_rtcp(|w| w.sender_report(info, &[]).unwrap());
        }
        world.peers[a].send_frame(0, 2, 500);
        world.run_for(FRAME);
    }
    assert!(world.peers[a].feedback > 30);
    let last = world.peers[a].reports.last().unwrap();
    assert_eq!((last.1, last.2), (0, 0));
    let received = &world.peers[b].slots[0].received;
    let reports = &received.sender_reports;
    assert!(reports.len() >= 3, "{}", reports.len());
    // The same wall clock line: 90 ticks per millisecond between any two reports.
    let (first, last) = (reports[0], reports[reports.len() - 1]);
    let wall_ms = ((last.1 - first.1) as f64) / 4_294_967.296;
    let media_ms = f64::from(last.2.0.wrapping_sub(first.2.0)) / 90.0;
    assert!((wall_ms - media_ms).abs() < 15.0, "{wall_ms} {media_ms}");
}

/// Receivers see one wall clock behind a slot, whoever is shown: libwebrtc refuses sender reports
/// that do not continue those before.
#[test]
fn sender_reports_of_a_slot_keep_one_clock_over_a_change_of_source() {
    let mut world = World::new(56);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Camera], (0, 0));
    let c = world.join_connected(&[], (0, 1));
    let session = world.peers[c].session;
    for frame in 0..240u64 {
        if frame == 120 {
            let tracks = vec![track(b, Source::Camera)];
            world.command(Command::Want { session, tracks });
        }
        for (peer, clock) in [(a, 4_000_000_000_u64), (b, 77)] {
            if frame % 15 == 0 {
                let stream = &world.peers[peer].streams[0];
                let info = sfu_proto::rtcp::SenderInfo {
                    ssrc: sfu_proto::unit::Ssrc(stream.ssrc),
                    ntp: (clock << 32) + ((frame * 33) << 32) / 1000,
                    timestamp: sfu_proto::unit::RtpTimestamp(stream.timestamp),
                    packets: 0,
                    octets: 0,
                };
                world.peers[peer].send_rtcp(|w| w.sender_report(info, &[]).unwrap());
            }
            world.peers[peer].send_frame(0, 2, 500);
        }
        world.run_for(FRAME);
    }
    let reports = &world.peers[c].slots[0].received.sender_reports;
    assert!(reports.len() >= 6, "{}", reports.len());
    for pair in reports.windows(2) {
        let wall_ms = pair[1].1.wrapping_sub(pair[0].1) as f64 / 4_294_967.296;
        let passed_ms = (pair[1].0 - pair[0].0).as_secs_f64() * 1000.0;
        assert!((wall_ms - passed_ms).abs() < 100.0, "{wall_ms} {passed_ms}");
    }
}

/// A participant's own good checks, but with another's source address.
#[test]
fn a_path_in_use_is_not_taken_over_by_another_participant() {
    let mut world = World::new(57);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let hostile = world.join_connected(&[Source::Camera], (0, 0));
    let from = world.peers[a].address;
    let mut forged = 0;
    for n in 1..6 {
        // Its checks of later, now.
        world.peers[hostile].handle_timeout(world.now + 10 * n * Duration::from_secs(1));
        while let Some((_, check)) = world.peers[hostile].poll_transmit() {
            forged += 1;
            world.inject(from, &check);
        }
        send_frames(&mut world, a, 0, 20);
    }
    assert!(forged > 0);
    assert_eq!(world.peers[b].slots[0].received.in_order(), sent(&world, a, 0));
}

/// Two bytes can claim 8191 packets lost: most of such feedback is not even read.
#[test]
fn a_flood_of_feedback_statuses_is_not_read() {
    let mut world = World::new(59);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    send_frames(&mut world, a, 0, 10);
    let before = world.stats.feedback_lost.value() + world.stats.feedback_received.value();
    for _ in 0..100 {
        world.peers[b].send_rtcp(|writer| {
            for n in 0..20 {
                let seqs = [65_536, 65_536 + 8_190].map(sfu_proto::unit::SeqNo);
                let arrivals = seqs.map(|seq| sfu_proto::rtcp::Arrival { seq, at_us: 0 });
                let ssrc = sfu_proto::unit::Ssrc(1);
                writer.transport_feedback(ssrc, ssrc, n, &arrivals).unwrap();
            }
        });
        world.run_for(Duration::from_millis(1));
    }
    world.run_for(FRAME);
    let after = world.stats.feedback_lost.value() + world.stats.feedback_received.value();
    assert_eq!(after - before, 0);
    use sfu_core::transport::session::Drop;
    assert_eq!(world.stats.dropped(Drop::Limit), 100 * 20);
}

#[test]
fn an_idle_shard_sleeps() {
    let mut world = World::new(12);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    world.join_connected(&[], (0, 1));
    send_frames(&mut world, a, 0, 10);
    world.run_for(Duration::from_secs(10));
    let before = world.wakeups;
    world.run_for(Duration::from_secs(10));
    // Consent checks of two clients remain, and their timers.
    let wakeups = world.wakeups - before;
    assert!(wakeups < 40, "{wakeups} wake-ups in ten idle seconds");
}

#[test]
fn a_panic_ends_one_session_and_no_other() {
    let mut world = World::new(13);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let c = world.join_connected(&[], (0, 1));
    send_frames(&mut world, a, 0, 5);
    world.shard.inject_fault(world.peers[b].session);
    // The fault strikes while the packets are forwarded to b.
    world.peers[a].send_frame(0, 4, 1100);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.run_for(Duration::from_millis(20));
    }));
    std::panic::set_hook(hook);
    assert!(result.is_err());
    world.shard.handle_panic(world.now);
    send_frames(&mut world, a, 0, 5);
    let session = world.peers[b].session;
    let reason = sfu_core::event::EndReason::Internal;
    assert!(world.events.contains(&Event::SessionEnded { session, reason }));
    assert_eq!(world.peers[c].slots[0].received.in_order(), sent(&world, a, 0));
    assert_eq!((world.stats.panics.value(), world.stats.sessions.value()), (1, 2));
}
