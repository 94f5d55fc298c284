//! Everything at once, from a seed: joins, leaves, wishes, mutes, new offers, requests, loss, junk
//! and panics. Checked at every step and at the end: who got what from whom, and that nothing leaks.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sfu_core::{
    event::{Command, Event, Permissions, Source},
    test_support::Link,
};
use sfu_proto::{
    control::Tap,
    id::{RecordingId, TrackId},
    tap::{Batch, Body, records},
    unit::Ssrc,
};
use world::{ROOM, World, track};

const STEPS: usize = 250;
const PEERS_MAX: usize = 12;

struct Chaos {
    world: World,
    rng: StdRng,
    alive: Vec<usize>,
    cache: usize,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let world = World::with(seed, |config| config.taps = true);
        let cache = world.shard.cache_available();
        Self { world, rng: StdRng::seed_from_u64(seed), alive: Vec::new(), cache }
    }

    fn step(&mut self) {
        let Some(peer) = self.pick() else { return self.join() };
        let session = self.world.peers[peer].session;
        match self.rng.random_range(0..40) {
            0..=2 => self.join(),
            3 => {
                self.alive.retain(|other| *other != peer);
                self.world.command(Command::CloseSession { session });
            }
            4..=5 => {
                let tracks = (0..3).map(|_| self.any_track()).collect();
                self.world.command(Command::Want { session, tracks });
            }
            6..=7 => {
                let (track, muted) = (self.any_track(), self.rng.random());
                self.world.command(Command::SetMuted { track, muted });
            }
            8 => {
                let subscribe = self.rng.random();
                let permissions = Permissions { publish: Source::ALL.to_vec(), subscribe };
                self.world.command(Command::SetPermissions { session, permissions });
            }
            9 => self.change_offer(peer),
            10 => self.world.shard.inject_fault(session),
            11 => {
                let bad = Link { loss: 0.1, duplicate: 0.1, ..Link::BAD };
                let link = |rng: &mut StdRng| if rng.random() { bad } else { Link::GOOD };
                self.world.links = (link(&mut self.rng), link(&mut self.rng));
            }
            12..=13 => self.request(peer),
            14 => {
                let junk: Vec<u8> =
                    (0..self.rng.random_range(0..1600)).map(|_| self.rng.random()).collect();
                let from = self.world.peers[peer].address;
                self.guarded(|world| world.inject(from, &junk));
            }
            15 => self.record(),
            _ => self.send(),
        }
        let time = Duration::from_millis(self.rng.random_range(0..40));
        self.guarded(|world| world.run_for(time));
    }

    /// What the shell does around each call.
    fn guarded(&mut self, work: impl FnOnce(&mut World)) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(&mut self.world))) {
            if payload.downcast_ref::<&str>() != Some(&"injected fault") {
                resume_unwind(payload);
            }
            let now = self.world.now;
            self.world.shard.handle_panic(now);
            self.world.flush_shard();
        }
    }

    fn pick(&mut self) -> Option<usize> {
        let len = self.alive.len();
        (len > 0).then(|| self.alive[self.rng.random_range(0..len)])
    }

    fn any_track(&mut self) -> TrackId {
        let peer = self.rng.random_range(0..self.world.peers.len());
        track(peer, Source::ALL[self.rng.random_range(0..4)])
    }

    fn join(&mut self) {
        if self.alive.len() == PEERS_MAX || self.world.peers.len() > 200 {
            return;
        }
        let sources: Vec<_> =
            Source::ALL.into_iter().filter(|_| self.rng.random_bool(0.6)).collect();
        let slots = (self.rng.random_range(0..4), self.rng.random_range(0..4));
        let peer = self.world.join(&sources, slots);
        self.alive.push(peer);
    }

    fn change_offer(&mut self, peer: usize) {
        if let Some(stream) = self.world.peers[peer].streams.first_mut() {
            stream.stopped = !stream.stopped;
        }
        if let Some(slot) = self.world.peers[peer].slots.last_mut() {
            slot.stopped = !slot.stopped;
        }
        self.guarded(|world| {
            // A session that a panic ended refuses by name.
            let _ = world.offer(peer);
        });
    }

    fn record(&mut self) {
        let tracks = (0..self.rng.random_range(0..20)).map(|_| self.any_track()).collect();
        let recording = RecordingId::from_bits(self.rng.random_range(0..3));
        let tap = self.rng.random_bool(0.8).then_some(Tap { recording, tracks });
        self.world.command(Command::SetTap { room: ROOM, tap });
        if self.rng.random_bool(0.2) {
            let refused = Batch { recording, bytes: Vec::new() };
            self.world.shard.tap_refused(&refused, self.world.now);
        }
    }

    /// Records are whole; a packet belongs to a track that was announced and has not ended, and
    /// was sent by it.
    fn check_recordings(&self) {
        let mut tracks = HashMap::new();
        for batch in &self.world.taps {
            for record in records(&batch.bytes) {
                match record.unwrap().body {
                    Body::Track { index, track, .. } => {
                        tracks.insert((batch.recording, index), track);
                    }
                    Body::Ended { index } => {
                        assert!(tracks.remove(&(batch.recording, index)).is_some());
                    }
                    Body::Packet(packet) => {
                        let of = tracks.get(&(batch.recording, packet.index)).unwrap();
                        let (from, stream) =
                            (usize::from(packet.payload[8]), usize::from(packet.payload[9]));
                        let stream = &self.world.peers[from].streams[stream];
                        assert_eq!(*of, track(from, stream.source));
                        let count = u64::from_be_bytes(*packet.payload.first_chunk().unwrap());
                        let original = stream.sent.iter().find(|(index, ..)| *index == count);
                        assert_eq!(original.unwrap().1.payload, packet.payload);
                    }
                    _ => {}
                }
            }
        }
        assert!(tracks.is_empty(), "a track did not end");
    }

    fn request(&mut self, peer: usize) {
        let peer = &mut self.world.peers[peer];
        if !peer.client().is_connected() {
            return;
        }
        let rng = &mut self.rng;
        let any = Ssrc(rng.random());
        let ssrcs: Vec<Ssrc> = peer.slots.iter().map(|slot| Ssrc(slot.ssrc)).collect();
        for ssrc in ssrcs.into_iter().chain([any]) {
            let lost: Vec<_> = (0..20).map(|_| sfu_proto::unit::RtpSeq(rng.random())).collect();
            peer.send_rtcp(|writer| {
                writer.pli(Ssrc(1), ssrc).unwrap();
                writer.nack(Ssrc(1), ssrc, lost).unwrap();
            });
        }
        if rng.random_bool(0.2)
            && let Some(stream) = peer.streams.first()
        {
            let ssrc = Ssrc(stream.ssrc);
            peer.send_rtcp(|writer| writer.bye(&[ssrc]).unwrap());
        }
    }

    fn send(&mut self) {
        for peer in self.alive.clone() {
            if !self.world.peers[peer].client().is_connected() {
                continue;
            }
            for stream in 0..self.world.peers[peer].streams.len() {
                let packets = self.rng.random_range(1..5);
                self.world.peers[peer].send_frame(stream, packets, 300);
            }
        }
    }

    /// Every packet that a slot got was sent, whole, by a stream of a track that its session was
    /// told of, and not by itself.
    fn check(&self) {
        for peer in &self.world.peers {
            let told: HashSet<TrackId> = self
                .world
                .events
                .iter()
                .filter_map(|event| match event {
                    Event::SlotsChanged { session, slots, .. } if *session == peer.session => {
                        Some(slots.iter().filter_map(|slot| slot.track))
                    }
                    _ => None,
                })
                .flatten()
                .collect();
            for (_, sent) in peer.slots.iter().flat_map(|slot| slot.received.packets.values()) {
                let (from, stream) = (usize::from(sent.payload[8]), usize::from(sent.payload[9]));
                assert_ne!(from, peer.number, "own media came back");
                let stream = &self.world.peers[from].streams[stream];
                assert!(told.contains(&track(from, stream.source)), "media of an unknown track");
                let count = u64::from_be_bytes(*sent.payload.first_chunk().unwrap());
                let original = stream.sent.iter().find(|(index, ..)| *index == count);
                assert!(original.is_some_and(|(_, original, _)| original == sent), "changed");
            }
        }
    }
}

#[test]
fn nothing_leaks_and_nothing_goes_astray() {
    let hook = std::panic::take_hook();
    // Injected faults are part of the test; all else is shown.
    std::panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some("injected fault") {
            hook(info);
        }
    }));
    let seeds = std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6);
    let (mut forwarded, mut recorded, mut panics) = (0, 0, 0);
    for seed in 0..seeds {
        let mut chaos = Chaos::new(seed);
        (0..STEPS).for_each(|_| chaos.step());
        chaos.check();
        let stats = std::sync::Arc::clone(&chaos.world.stats);
        assert!(stats.sessions.value() as usize <= chaos.alive.len());
        chaos.guarded(|world| world.command(Command::CloseRoom { room: ROOM }));
        chaos.check_recordings();
        recorded += stats.tap_packets.value();
        let left = (stats.sessions.value(), stats.tracks.value(), stats.rooms.value());
        assert_eq!(left, (0, 0, 0), "seed {seed}");
        assert_eq!(chaos.world.shard.cache_available(), chaos.cache, "seed {seed}");
        assert_eq!(chaos.world.shard.poll_timeout(), None, "seed {seed}");
        forwarded += stats.rtp_forwarded.value();
        panics += stats.panics.value();
    }
    assert!(forwarded > 1_000 && panics > 0, "{forwarded} forwarded, {panics} panics");
    assert!(recorded > 1_000, "{recorded}");
}
