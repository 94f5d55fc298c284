//! Rooms with a thousand sessions: what one change costs, and how much signaling hears of it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sfu_core::{
    event::{Command, EndReason, Event, Source},
    limits::SYNC_SPACING,
};
use sfu_proto::id::SessionId;
use world::{ROOM, World};

const SESSIONS: usize = 1_000;

fn world(seed: u64, sources: &[Source], slots: (usize, usize)) -> World {
    let cache = sfu_core::limits::CACHE_PACKETS_DEFAULT;
    let mut world = World::with(seed, |config| config.cache_packets = cache);
    world.command(Command::OpenRoom { room: ROOM, sessions_max: 2 * SESSIONS as u32 });
    for _ in 0..SESSIONS {
        world.join(sources, slots);
    }
    pass(&mut world, Duration::from_secs(2));
    world.events.clear();
    world
}

/// Lets time pass for the shard alone: a thousand clients' checks would take most of it.
fn pass(world: &mut World, time: Duration) {
    let end = world.now + time;
    while let Some(due) = world.shard.poll_timeout().filter(|due| *due <= end) {
        world.now = world.now.max(due);
        world.shard.handle_timeout(world.now);
        world.flush_shard();
    }
    world.now = end;
}

fn announcements(world: &World) -> HashMap<SessionId, usize> {
    let mut count = HashMap::new();
    for event in &world.events {
        if let Event::SlotsChanged { session, .. } = event {
            *count.entry(*session).or_default() += 1;
        }
    }
    count
}

#[test]
fn a_burst_of_publishes_is_two_announcements_per_session_and_a_viewers_leave_none() {
    let mut world = world(2, &[], (1, 1));
    let first = world.join(&[Source::Camera, Source::Microphone], (0, 0));
    pass(&mut world, Duration::from_secs(1));
    world.events.clear();
    for n in 0..9 {
        if n == 1 {
            let told = announcements(&world);
            let once = |peer: &world::Peer| told.get(&peer.session) == Some(&1);
            assert!(world.peers[..SESSIONS].iter().all(once), "the first is told at once");
        }
        world.join(&[Source::Camera, Source::Microphone], (0, 0));
        pass(&mut world, Duration::from_millis(n));
    }
    pass(&mut world, Duration::from_secs(1));
    let announced = announcements(&world);
    for peer in &world.peers[..SESSIONS] {
        assert_eq!(announced.get(&peer.session), Some(&2));
        assert_eq!(world.waiting(peer.number), (9, 9));
    }
    world.events.clear();
    let session = world.peers[0].session;
    world.command(Command::CloseSession { session });
    pass(&mut world, Duration::from_secs(1));
    assert!(announcements(&world).is_empty());
    // Somebody who is shown leaves: told at once, and once.
    let session = world.peers[first].session;
    world.command(Command::CloseSession { session });
    assert_eq!(announcements(&world).len(), world.peers.len() - 2);
    pass(&mut world, Duration::from_secs(1));
    assert!(announcements(&world).values().all(|count| *count == 1));
}

#[test]
fn a_sync_repeats_the_slots_of_known_sessions_and_the_end_of_unknown_ones() {
    let mut world = World::new(3);
    world.join(&[Source::Camera], (0, 0));
    let viewers: Vec<usize> = (0..5).map(|_| world.join(&[], (0, 1))).collect();
    pass(&mut world, Duration::from_secs(1));
    world.events.clear();
    let mut sessions: Vec<_> = viewers.iter().map(|n| world.peers[*n].session).collect();
    let gone = SessionId::from_bits(999);
    sessions.push(gone);
    world.command(Command::Sync { sessions: sessions.clone() });
    let reason = EndReason::Closed;
    assert_eq!(world.events, [Event::SessionEnded { session: gone, reason }]);
    pass(&mut world, SYNC_SPACING * 2);
    assert_eq!(announcements(&world).len(), 2, "spread over time");
    pass(&mut world, Duration::from_secs(1));
    let announced = announcements(&world);
    assert!(sessions[..5].iter().all(|session| announced.get(session) == Some(&1)));
    assert_eq!(announced.len(), 5);
    assert!(viewers.iter().all(|n| world.shown(*n) == [Some(world::track(0, Source::Camera))]));
}

/// `cargo test --release -p sfu-core --test large_room -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost_of_one_change_in_a_large_room() {
    let mut world = world(1, &[Source::Camera, Source::Microphone], (3, 9));
    let measure = |world: &mut World, what: &str, change: &dyn Fn(&mut World, usize)| {
        let start = Instant::now();
        (0..10).for_each(|n| change(world, n));
        eprintln!("{what}: {} µs", start.elapsed().as_micros() / 10);
    };
    measure(&mut world, "publish", &|world, n| {
        world.peers[n].add_source(Source::Screen);
        world.offer(n).unwrap();
    });
    measure(&mut world, "publish that no slot is free for", &|world, _| {
        world.join(&[Source::Camera], (0, 0));
    });
    let viewers: Vec<usize> = (0..10).map(|_| world.join(&[], (3, 9))).collect();
    measure(&mut world, "viewer leaves", &|world, n| {
        let session = world.peers[viewers[n]].session;
        world.command(Command::CloseSession { session });
    });
    measure(&mut world, "publisher leaves", &|world, n| {
        let session = world.peers[n].session;
        world.command(Command::CloseSession { session });
    });
    measure(&mut world, "wish", &|world, n| {
        let tracks = (0..50).map(|t| world::track(100 + n + t, Source::Camera)).collect();
        world.command(Command::Want { session: world.peers[500 + n].session, tracks });
    });
}
