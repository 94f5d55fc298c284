//! Whom a session sees and hears is decided for it; and how much media it moved is told.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use sfu_core::event::{Command, Event, Source};
use sfu_proto::{
    control::Audience,
    id::{ParticipantId, SessionId},
};
use world::{World, track};

const FRAME: Duration = Duration::from_millis(33);

fn participant(world: &World, peer: usize) -> ParticipantId {
    ParticipantId::from_bits(world.peers[peer].session.bits())
}

fn hear(world: &mut World, peer: usize, audience: Audience) {
    let session = world.peers[peer].session;
    world.command(Command::SetAudience { session, audience });
    world.run_for(Duration::from_secs(1));
}

#[test]
fn who_is_out_of_the_audience_has_no_slot_and_does_not_wait() {
    let mut world = World::new(41);
    let both = [Source::Camera, Source::Microphone];
    let speakers: Vec<usize> = (0..4).map(|_| world.join_connected(&both, (0, 0))).collect();
    let listener = world.join_connected(&[], (1, 2));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.waiting(listener), (3, 2));
    let only = vec![participant(&world, speakers[2])];
    hear(&mut world, listener, Audience::Only(only));
    let mine = [Source::Microphone, Source::Camera].map(|s| Some(track(speakers[2], s)));
    let shown = world.shown(listener);
    assert_eq!(shown.iter().flatten().count(), 2, "{shown:?}");
    assert!(mine.iter().all(|track| shown.contains(track)));
    assert_eq!(world.waiting(listener), (0, 0));
    let except = vec![participant(&world, speakers[0]), participant(&world, speakers[1])];
    hear(&mut world, listener, Audience::Except(except));
    let hidden = |t: &sfu_proto::id::TrackId| {
        both.iter().any(|s| [track(speakers[0], *s), track(speakers[1], *s)].contains(t))
    };
    let shown = world.shown(listener);
    assert_eq!(shown.iter().flatten().count(), 3);
    assert!(!shown.iter().flatten().any(hidden));
    assert_eq!(world.waiting(listener), (1, 0));
    hear(&mut world, listener, Audience::All);
    assert_eq!(world.waiting(listener), (3, 2));
}

fn packets(world: &World, peer: usize) -> usize {
    world.peers[peer].slots.iter().map(|slot| slot.received.plain).sum()
}

#[test]
fn neither_a_wish_nor_loudness_nor_a_new_track_gets_past_the_audience() {
    let mut world = World::new(42);
    let secret = world.join_connected(&[Source::Camera, Source::Microphone], (0, 0));
    let open = world.join_connected(&[Source::Camera], (0, 0));
    let listener = world.join_connected(&[], (1, 1));
    let barred = vec![participant(&world, secret)];
    hear(&mut world, listener, Audience::Except(barred));
    let session = world.peers[listener].session;
    world.command(Command::Want { session, tracks: vec![track(secret, Source::Camera)] });
    world.peers[secret].add_source(Source::Screen);
    world.offer(secret).unwrap();
    let before = packets(&world, listener);
    for _ in 0..60 {
        for stream in 0..2 {
            world.peers[secret].send_frame(stream, 1, 80);
        }
        world.run_for(FRAME);
    }
    let shown: Vec<_> = world.shown(listener).into_iter().flatten().collect();
    assert_eq!(shown, [track(open, Source::Camera)]);
    assert_eq!(packets(&world, listener), before, "not a packet of the secret one");
    assert_eq!(world.waiting(listener), (0, 0));
}

fn traffic(world: &World, of: SessionId) -> Vec<(u64, u64)> {
    let counts = world.events.iter().filter_map(|event| match event {
        Event::Traffic { session, received, sent } if *session == of => Some((*received, *sent)),
        _ => None,
    });
    counts.collect()
}

#[test]
fn traffic_is_told_each_minute_and_before_the_end_and_sums_up() {
    let mut world = World::new(43);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    let sessions = [a, b].map(|peer| world.peers[peer].session);
    for _ in 0..70 {
        world.peers[a].send_frame(0, 4, 1000);
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!([traffic(&world, sessions[0]).len(), traffic(&world, sessions[1]).len()], [1, 1]);
    world.command(Command::CloseSession { session: sessions[0] });
    world.command(Command::CloseSession { session: sessions[1] });
    let sum = |session, of: fn(&(u64, u64)) -> u64| -> u64 {
        traffic(&world, session).iter().map(of).sum()
    };
    let (received, sent) = (sum(sessions[0], |t| t.0), sum(sessions[1], |t| t.1));
    assert_eq!(traffic(&world, sessions[0]).len(), 2);
    let (low, high) = (70 * 4 * 1000, 70 * 4 * 1100);
    assert!((low..high).contains(&received), "{received}");
    assert!((low..high).contains(&sent), "{sent}");
    assert_eq!(sum(sessions[1], |t| t.0), 0, "it sent no media");
    let last = |wanted: &dyn Fn(&Event) -> bool| world.events.iter().rposition(wanted).unwrap();
    let told = last(&|e| matches!(e, Event::Traffic { session, .. } if *session == sessions[0]));
    let ended =
        last(&|e| matches!(e, Event::SessionEnded { session, .. } if *session == sessions[0]));
    assert!(told < ended);
}

#[test]
fn without_media_nothing_is_told_and_nobody_is_woken_for_it() {
    let mut world = World::new(44);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    world.run_for(Duration::from_secs(130));
    let session = world.peers[a].session;
    world.command(Command::CloseSession { session });
    assert_eq!(traffic(&world, session), []);
}
