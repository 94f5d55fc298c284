//! Sessions, negotiation, limits and speakers of a shard, in virtual time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use sfu_core::event::{Command, EndReason, Event, Permissions, Source};
use sfu_proto::{
    id::{ParticipantId, RoomId, SessionId, TrackId},
    sdp::{Codec, Direction, Kind, Refusal},
};
use world::{ROOM, World, peer::media, track};

const FRAME: Duration = Duration::from_millis(20);

#[test]
fn offers_are_answered_with_tracks_and_slots() {
    let mut world = World::new(1);
    let a = world.join(&[Source::Camera], (1, 0));
    let answer = world.offer(a).unwrap();
    let [camera, slot] = &answer.media[..] else { panic!("two sections") };
    assert_eq!((camera.direction, camera.ssrcs), (Direction::RecvOnly, None));
    assert_eq!(slot.direction, Direction::SendOnly);
    assert!(slot.ssrcs.is_some_and(|ssrcs| ssrcs.rtx.is_none()), "audio has no RTX");
    assert!(slot.msid.is_some() && answer.cname.len() >= 16);
    assert_eq!(answer.fingerprint, world::IDENTITY.fingerprint());
}

#[test]
fn a_repeated_offer_changes_nothing() {
    let mut world = World::new(2);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (1, 2));
    world.peers[a].send_frame(0, 2, 500);
    world.run_for(FRAME);
    let (before, events) = (world.offer(b).unwrap(), world.events.len());
    assert_eq!(world.offer(b).unwrap(), before);
    assert_eq!(world.events.len(), events + 1, "only the answer");
    let camera = world.offer(a).unwrap();
    assert_eq!(world.offer(a).unwrap(), camera);
    assert_eq!(world.stats.tracks.value(), 1);
}

#[test]
fn a_track_no_longer_named_ends_and_may_come_back() {
    let mut world = World::new(3);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let camera = track(a, Source::Camera);
    assert_eq!(world.shown(b), [Some(camera)]);
    world.peers[a].streams[0].stopped = true;
    world.offer(a).unwrap();
    assert_eq!((world.shown(b), world.stats.tracks.value()), (vec![None], 0));
    world.peers[a].streams[0].stopped = false;
    world.offer(a).unwrap();
    assert_eq!(world.shown(b), [Some(camera)]);
    world.peers[a].send_frame(0, 2, 500);
    world.run_for(FRAME);
    assert_eq!(world.peers[b].slots[0].received.packets.len(), 2);
}

#[test]
fn a_stopped_slot_is_recycled_as_another() {
    let mut world = World::new(4);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let before = world.offer(b).unwrap().media[0].clone();
    world.peers[b].slots[0].stopped = true;
    let answer = world.offer(b).unwrap();
    assert!(answer.media[0].refused && world.shown(b).is_empty());
    let slot = &mut world.peers[b].slots[0];
    (slot.stopped, slot.mid) = (false, "new".to_owned());
    let after = world.offer(b).unwrap().media[0].clone();
    // The same SSRC goes on, so that no packet number is used twice; the names are new.
    assert_eq!(after.ssrcs, before.ssrcs);
    assert_ne!(after.msid, before.msid);
    assert_eq!(world.shown(b), [Some(track(a, Source::Camera))]);
}

#[test]
fn refusals_leave_the_session_as_it_was() {
    let mut world = World::new(5);
    let a = world.join_connected(&[Source::Camera], (0, 1));
    let (good, publish) = (world.peers[a].offer(), world.peers[a].publish());
    let refused = |world: &mut World, change: &dyn Fn(&mut sfu_proto::sdp::Offer)| {
        let mut offer = good.clone();
        change(&mut offer);
        world.offer_with(a, offer, publish.clone()).unwrap_err()
    };
    assert_eq!(
        refused(&mut world, &|offer| offer.fingerprint.0[0] ^= 1),
        Refusal::FingerprintChanged
    );
    assert_eq!(refused(&mut world, &|offer| offer.media.clear()), Refusal::SectionsChanged);
    assert_eq!(refused(&mut world, &|offer| offer.media.reverse()), Refusal::SectionsChanged);
    let many = |offer: &mut sfu_proto::sdp::Offer| {
        offer.media.resize(500, media("x", Kind::Video, Direction::RecvOnly, false));
    };
    assert_eq!(refused(&mut world, &many), Refusal::TooManySections);
    let codec = |offer: &mut sfu_proto::sdp::Offer| {
        offer.media[0].formats[0].codec = Codec::Vp9 { profile: 3 };
    };
    assert_eq!(refused(&mut world, &codec), Refusal::NoCodec);
    assert_eq!((world.stats.tracks.value(), world.stats.offers_refused.value()), (1, 5));
    assert!(world.offer(a).is_ok());
}

#[test]
fn permissions_are_enforced_at_once() {
    let mut world = World::new(6);
    let a = world.join_connected(&[Source::Camera], (0, 1));
    let b = world.join_connected(&[Source::Camera], (0, 1));
    assert_eq!(world.shown(a), [Some(track(b, Source::Camera))]);
    let session = world.peers[a].session;
    let permissions = Permissions { publish: vec![Source::Microphone], subscribe: false };
    world.command(Command::SetPermissions { session, permissions });
    assert_eq!((world.shown(a), world.shown(b)), (vec![None], vec![None]));
    assert_eq!(world.offer(a), Err(Refusal::NotPermitted));
}

#[test]
fn limits_of_rooms_and_sessions_hold() {
    let mut world = World::with(7, |config| (config.rooms_max, config.sessions_max) = (2, 3));
    for n in 2..5 {
        world.command(Command::OpenRoom { room: RoomId::from_bits(n), sessions_max: 2 });
    }
    assert_eq!(world.stats.rooms.value(), 2);
    let mut open = |room: u128, session: u128| {
        world.command(Command::OpenSession {
            room: RoomId::from_bits(room),
            session: SessionId::from_bits(session),
            participant: ParticipantId::from_bits(session),
            permissions: Permissions::default(),
        });
        let ended = |reason| Event::SessionEnded { session: SessionId::from_bits(session), reason };
        (
            world.events.contains(&ended(EndReason::Refused)),
            world.events.contains(&ended(EndReason::Closed)),
        )
    };
    assert_eq!([open(2, 1), open(2, 2)], [(false, false); 2]);
    assert_eq!(open(2, 3), (true, false), "the room is full");
    assert_eq!(open(9, 4), (false, true), "no such room");
    assert_eq!(open(1, 5), (false, false));
    assert_eq!(open(1, 6), (true, false), "the shard is full");
    world.command(Command::CloseRoom { room: RoomId::from_bits(2) });
    assert_eq!((world.stats.rooms.value(), world.stats.sessions.value()), (1, 1));
}

#[test]
fn cache_memory_is_reserved_and_given_back() {
    // Room for one video track (512 packets) and the spare slot, not for two.
    let mut world = World::with(8, |config| config.cache_packets = 600);
    let a = world.join(&[Source::Camera], (0, 0));
    let cache = world.shard.cache_available();
    let b = world.join(&[], (0, 1));
    world.peers[b].add_source(Source::Camera);
    assert_eq!(world.offer(b), Err(Refusal::NoCapacity));
    assert_eq!((world.shard.cache_available(), world.stats.tracks.value()), (cache, 1));
    assert_eq!(world.shown(b), [Some(track(a, Source::Camera))], "b goes on as it was");
    // What an offer gives up is room for what it adds.
    world.peers[a].streams[0].stopped = true;
    world.peers[a].add_source(Source::Screen);
    assert_eq!(world.offer(a).unwrap().media[1].direction, Direction::RecvOnly);
    let session = world.peers[a].session;
    world.command(Command::CloseSession { session });
    assert_eq!(world.offer(b).unwrap().media[1].direction, Direction::RecvOnly);
}

#[test]
fn the_default_cache_holds_a_thousand_cameras_and_microphones() {
    let default = sfu_core::limits::CACHE_PACKETS_DEFAULT;
    let mut world = World::with(30, |config| config.cache_packets = default);
    world.command(Command::OpenRoom { room: ROOM, sessions_max: 2_000 });
    for _ in 0..1_000 {
        world.join(&[Source::Camera, Source::Microphone], (0, 0));
    }
    assert_eq!(world.stats.tracks.value(), 2_000);
}

#[test]
fn one_picture_and_its_sound_are_one_stream() {
    let mut world = World::new(58);
    let mut streams = |sources: &[Source], slots| {
        let peer = world.join(sources, slots);
        let names = |answer: sfu_proto::sdp::Answer| -> Vec<_> {
            answer.media.into_iter().filter_map(|media| media.msid).collect()
        };
        let (first, again) = (world.offer(peer).unwrap(), world.offer(peer).unwrap());
        assert_eq!(names(first), names(again.clone()), "they stay");
        let names = names(again);
        assert_ne!(names[0].1, names[1].1, "tracks differ");
        names[0].0 == names[1].0
    };
    assert!(streams(&[], (1, 1)));
    assert!(!streams(&[], (2, 0)));
    assert!(!streams(&[], (2, 1)));
    assert!(!streams(&[Source::Camera], (1, 1)), "a participant sees others, not one publisher");
}

#[test]
fn a_peer_with_many_ssrcs_is_bounded_and_keeps_its_stream() {
    let mut world = World::new(9);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    for n in 0..2_000 {
        let stream = &mut world.peers[a].streams[0];
        (stream.ssrc, stream.next) = (50_000 + n, 1);
        world.peers[a].send_frame(0, 1, 100);
        world.run_for(Duration::from_millis(1));
    }
    assert!(world.stats.rtp_unrouted.value() > 1_900);
    // Each change of SSRC begins the stream anew at the receiver: a few per second at most.
    let begun = world.peers[b].slots[0].received.packets.len();
    assert!((1..=10).contains(&begun), "{begun}");
}

#[test]
fn junk_changes_nothing_and_every_byte_is_accounted_for() {
    let mut world = World::new(10);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let from = world.peers[a].address;
    let before = world.stats.rtp_in.value();
    for first in 0..=255u8 {
        for len in [0, 1, 2, 8, 11, 12, 13, 19, 20, 27, 28, 100, 1199, 1499, 1500, 1501, 9000] {
            let junk: Vec<u8> = (0..len).map(|n| first.wrapping_add(n as u8)).collect();
            world.inject(from, &junk);
            world.inject(([198, 51, 100, 1], 7).into(), &junk);
        }
    }
    assert_eq!(world.stats.rtp_in.value(), before);
    for _ in 0..5 {
        world.peers[a].send_frame(0, 2, 500);
        world.run_for(FRAME);
    }
    assert_eq!(world.peers[b].slots[0].received.packets.len(), 10);
}

#[test]
fn unnegotiated_payload_types_are_counted_not_forwarded() {
    let mut world = World::new(11);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    world.peers[a].send_frame(0, 2, 500);
    let (mut header, index) = world.peers[a].seal(0, &[1; 50], true).unwrap();
    header[1] = 100;
    world.peers[a].client_mut().send_rtp(&header, index, &[1; 50]);
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.stats.rtp_unknown_format.value(), 1);
    assert_eq!(world.peers[b].slots[0].received.packets.len(), 2);
}

#[test]
fn padding_only_packets_are_not_forwarded_and_leave_no_hole() {
    let mut world = World::new(12);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    for _ in 0..10 {
        world.peers[a].send_frame(0, 2, 500);
        let mut padding = vec![0; 200];
        padding[199] = 200;
        let (mut header, index) = world.peers[a].seal(0, &[], false).unwrap();
        header[0] |= 0x20;
        world.peers[a].client_mut().send_rtp(&header, index, &padding);
        world.run_for(FRAME);
    }
    let packets = &world.peers[b].slots[0].received.packets;
    let span = packets.keys().next_back().unwrap() - packets.keys().next().unwrap() + 1;
    assert_eq!((packets.len(), span), (20, 20));
    assert_eq!(world.stats.rtp_padding_only.value(), 10);
    assert!(world.peers[a].feedback > 0);
}

#[test]
fn extensions_are_carried_byte_for_byte() {
    let mut world = World::new(13);
    let a = world.join_connected(&[Source::Camera, Source::Microphone], (0, 0));
    let b = world.join_connected(&[], (1, 1));
    let long: Vec<u8> = (0..60).collect();
    for descriptor in [vec![0xc0, 0, 1], long] {
        world.peers[a].streams[0].descriptor = Some(descriptor.clone());
        world.peers[a].streams[1].level = Some(0x80 | 23);
        world.peers[a].send_frame(0, 1, 500);
        world.peers[a].send_frame(1, 1, 80);
        world.run_for(FRAME);
        assert_eq!(world.peers[b].slots[1].received.descriptors.last(), Some(&descriptor));
    }
    assert_eq!(world.peers[b].slots[0].received.levels, [0x80 | 23; 2]);
}

/// Everyone sends audio for a while; the peers in `loud` with a speaker's level.
fn talk(world: &mut World, peers: &[usize], loud: &[usize], packets: usize) {
    for _ in 0..packets {
        for peer in peers {
            let level = if loud.contains(peer) { 25 } else { 110 };
            world.peers[*peer].streams[0].level = Some(level);
            world.peers[*peer].send_frame(0, 1, 60);
        }
        world.run_for(FRAME);
    }
}

fn speakers(world: &World) -> Vec<TrackId> {
    let found = world.events.iter().rev().find_map(|event| match event {
        Event::SpeakersChanged { room, tracks } if *room == ROOM => Some(tracks.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}

#[test]
fn the_loudest_get_the_audio_slots_and_spikes_do_not() {
    let mut world = World::new(14);
    let talkers: Vec<_> =
        (0..5).map(|_| world.join_connected(&[Source::Microphone], (0, 0))).collect();
    let listener = world.join_connected(&[], (2, 0));
    let id = |peer: usize| track(peer, Source::Microphone);
    talk(&mut world, &talkers, &[], 30);
    assert_eq!((world.waiting(listener), speakers(&world)), ((3, 0), vec![]));
    talk(&mut world, &talkers, &[4], 50);
    assert_eq!(speakers(&world), [id(4)]);
    assert!(world.shown(listener).contains(&Some(id(4))));
    // Another one coughs once: nothing changes.
    let shown = world.shown(listener);
    talk(&mut world, &talkers, &[3, 4], 3);
    talk(&mut world, &talkers, &[4], 20);
    assert_eq!((speakers(&world), world.shown(listener)), (vec![id(4)], shown));
    talk(&mut world, &talkers, &[3], 150);
    assert_eq!(speakers(&world), [id(3)]);
    assert!(world.shown(listener).contains(&Some(id(3))));
    let changes =
        world.events.iter().filter(|e| matches!(e, Event::SpeakersChanged { .. })).count();
    assert!(changes <= 6, "{changes}");
}

#[test]
fn whoever_speaks_on_gets_the_only_slot_of_a_viewer_and_of_a_speaker() {
    let mut world = World::new(41);
    let talkers: Vec<_> =
        (0..3).map(|_| world.join_connected(&[Source::Microphone], (1, 0))).collect();
    let viewer = world.join_connected(&[], (1, 0));
    let id = |peer: usize| Some(track(peer, Source::Microphone));
    let say = |world: &mut World, levels: [u8; 3], packets: usize| {
        for _ in 0..packets {
            for (peer, level) in talkers.iter().zip(levels) {
                world.peers[*peer].streams[0].level = Some(level);
                world.peers[*peer].send_frame(0, 1, 60);
            }
            world.run_for(FRAME);
        }
    };
    say(&mut world, [30, 110, 110], 60);
    assert_eq!(world.shown(viewer), [id(0)]);
    // The other one overtakes slowly, and is alone in the end.
    for level in (22..=50).rev().step_by(2) {
        say(&mut world, [30, 110, level], 10);
    }
    say(&mut world, [110, 110, 22], 1_000 / FRAME.as_millis() as usize);
    assert_eq!(world.shown(viewer), [id(2)]);
    // A speaker is not among those that they hear.
    assert_eq!(world.shown(talkers[0]), [id(2)]);
    say(&mut world, [110, 30, 22], 100);
    assert_eq!(world.shown(talkers[2]), [id(1)]);
    assert_eq!(world.shown(viewer), [id(2)]);
}

#[test]
fn screens_come_before_cameras_and_wishes_before_both() {
    let mut world = World::new(15);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[Source::Camera, Source::Screen], (0, 0));
    let c = world.join_connected(&[], (0, 2));
    let id = track;
    assert_eq!(world.waiting(c), (0, 1));
    let before = world.shown(c);
    let mut shown: Vec<_> = before.iter().copied().flatten().collect();
    shown.sort_unstable();
    assert_eq!(shown, [id(a, Source::Camera), id(b, Source::Screen)]);
    let session = world.peers[c].session;
    world.command(Command::Want { session, tracks: vec![id(b, Source::Camera)] });
    let shown: Vec<_> = world.shown(c).into_iter().flatten().collect();
    assert!(shown.contains(&id(b, Source::Camera)) && shown.contains(&id(b, Source::Screen)));
    // The screen did not move.
    let place = |shown: &[_]| shown.iter().position(|t| *t == Some(id(b, Source::Screen)));
    assert_eq!(place(&before), place(&world.shown(c)));
}

#[test]
fn ice_restart_and_a_new_address_keep_the_media() {
    let mut world = World::new(16);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let mut credentials = world.peers[a].credentials.clone();
    credentials.ufrag.push_str("Again");
    world.peers[a].credentials = credentials.clone();
    let before = world.offer(a).unwrap().ice;
    let again = world.offer(a).unwrap().ice;
    assert_eq!(before, again, "one restart, one set of credentials");
    let now = world.now;
    world.peers[a].client_mut().restart(credentials, again, now);
    world.run_for(Duration::from_secs(2));
    world.peers[a].send_frame(0, 3, 500);
    world.run_for(FRAME);
    assert_eq!(world.peers[b].slots[0].received.packets.len(), 3);
    let address = ([192, 0, 2, 200], 1234).into();
    world.peers[a].address = address;
    let now = world.now;
    world.peers[a].client_mut().move_to(address, now);
    world.run_for(Duration::from_secs(3));
    world.peers[a].send_frame(0, 3, 500);
    world.run_for(FRAME);
    assert_eq!(world.peers[b].slots[0].received.packets.len(), 6);
}

#[test]
fn a_silent_peer_is_interrupted_then_gone() {
    let mut world = World::new(17);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let session = world.peers[a].session;
    let now = world.now;
    world.peers[a].client_mut().set_checking(false, now);
    world.run_for(Duration::from_secs(20));
    assert!(world.events.contains(&Event::Interrupted { session }));
    world.run_for(Duration::from_secs(60));
    let reason = EndReason::ConsentLost;
    assert!(world.events.contains(&Event::SessionEnded { session, reason }));
    assert_eq!((world.stats.sessions.value(), world.stats.tracks.value()), (0, 0));
    assert_eq!(world.shard.poll_timeout(), None);
}

#[test]
fn unknown_ids_are_counted() {
    let mut world = World::new(18);
    let session = SessionId::from_bits(77);
    world.command(Command::CloseSession { session });
    world.command(Command::CloseRoom { room: RoomId::from_bits(77) });
    world.command(Command::SetMuted { track: TrackId::from_bits(77), muted: true });
    world.command(Command::Want { session, tracks: Vec::new() });
    assert_eq!(world.stats.commands_unknown.value(), 4);
}

#[test]
fn a_participants_second_session_does_not_show_its_first() {
    let mut world = World::new(19);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let session = SessionId::from_bits(1000);
    world.command(Command::OpenSession {
        room: ROOM,
        session,
        participant: ParticipantId::from_bits(a as u128 + 1),
        permissions: Permissions { publish: Vec::new(), subscribe: true },
    });
    let mut offer = world.peers[a].offer();
    offer.media = vec![media("0", Kind::Video, Direction::RecvOnly, false)];
    let offer = Box::new(offer);
    world.command(Command::Offer { session, request: 9_999, offer, publish: Vec::new() });
    let shown = world.events.iter().rev().find_map(|event| match event {
        Event::SlotsChanged { session: s, slots, waiting, .. } if *s == session => {
            Some((slots[0].track, *waiting))
        }
        _ => None,
    });
    assert_eq!(shown, Some((None, (0, 0))));
}
