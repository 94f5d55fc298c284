//! The packet path does not allocate: 1 → 50 through real SRTP, counted by a global allocator.
//! (The cipher's C library has an allocator of its own; its keys are made at the handshake.)

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use allocation_counter::AllocationInfo;
use sfu_core::{
    event::{Command, Source},
    path::Path,
};
use sfu_proto::{
    control::Tap,
    id::RecordingId,
    unit::{SeqNo, Ssrc},
};
use world::{ROOM, World, track};

const SUBSCRIBERS: usize = 50;
const PACKETS: usize = 400;

/// Sealed datagrams of the publisher, not sent yet.
fn datagrams(world: &mut World, publisher: usize, frames: usize) -> Vec<Vec<u8>> {
    let peer = &mut world.peers[publisher];
    (0..frames).for_each(|_| peer.send_frame(0, 10, 1100));
    std::iter::from_fn(|| peer.poll_transmit()).map(|(_, bytes)| bytes).collect()
}

/// Hands datagrams to the shard in batches of ten, as a socket would; returns datagrams sent.
fn forward(world: &mut World, from: Path, datagrams: &[Vec<u8>]) -> usize {
    let mut sent = 0;
    for batch in datagrams.chunks(10) {
        for datagram in batch {
            world.shard.handle_datagram(from, datagram, world.now);
        }
        while let Some(batch) = world.shard.poll_transmit(world.now) {
            for run in batch.runs() {
                sent += batch.bytes(run).chunks(usize::from(run.segment)).count();
            }
        }
    }
    sent
}

#[test]
fn forwarding_and_repeating_allocate_nothing() {
    let mut world = World::new(1);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    // Each copy has its own frame number.
    world.peers[a].streams[0].descriptor = Some(vec![0xc0, 0, 1]);
    let subscribers: Vec<_> = (0..SUBSCRIBERS).map(|_| world.join(&[], (0, 1))).collect();
    for peer in &subscribers {
        world.connect(*peer);
        // Only the requests below.
        world.peers[*peer].nacks = false;
    }
    let from = Path::udp(world.peers[a].address);
    // The first packets bind the SSRC and make the sealing state of each stream.
    let warm_up = datagrams(&mut world, a, 10);
    forward(&mut world, from, &warm_up);

    let measured = datagrams(&mut world, a, PACKETS / 10);
    let mut sent = 0;
    let info = allocation_counter::measure(|| sent = forward(&mut world, from, &measured));
    assert_eq!(sent, PACKETS * SUBSCRIBERS);
    assert_eq!(info.count_total, 0, "{info:?}");
    let per_send = world.stats.packets_out.value() as f64 / world.stats.sends.value() as f64;
    assert!(per_send > 3.0, "{per_send} packets per send message");

    // The first request of each subscriber makes the state of its RTCP and RTX streams.
    nack(&mut world, from, a, &subscribers);
    let (requested, repeated) = (world.stats.nack_in.value(), world.stats.rtx_out.value());
    let info = nack(&mut world, from, a, &subscribers);
    assert_eq!(world.stats.nack_in.value() - requested, 10 * SUBSCRIBERS as u64);
    assert!(world.stats.rtx_out.value() - repeated > SUBSCRIBERS as u64);
    assert_eq!(info.count_total, 0, "{info:?}");
}

#[test]
fn a_recorded_track_allocates_by_the_batch() {
    let mut world = World::with(2, |config| config.taps = true);
    let a = world.join_connected(&[Source::Camera], (0, 0));
    let b = world.join_connected(&[], (0, 1));
    world.peers[b].nacks = false;
    let tap = Tap { recording: RecordingId::from_bits(1), tracks: vec![track(a, Source::Camera)] };
    world.command(Command::SetTap { room: ROOM, tap: Some(tap) });
    let from = Path::udp(world.peers[a].address);
    let warm_up = datagrams(&mut world, a, 30);
    forward(&mut world, from, &warm_up);
    let mut batches: Vec<_> = std::iter::from_fn(|| world.shard.poll_tap()).collect();
    batches.clear();

    let measured = datagrams(&mut world, a, PACKETS / 10);
    let info = allocation_counter::measure(|| {
        for datagram in &measured {
            forward(&mut world, from, std::slice::from_ref(datagram));
            batches.extend(world.shard.poll_tap());
        }
    });
    assert_eq!(world.stats.tap_packets.value(), PACKETS as u64 + 300);
    let bytes: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
    assert!(bytes > PACKETS * 1100 * 8 / 10, "{bytes} bytes");
    assert!(info.count_total <= PACKETS as u64 / 20, "{info:?}");
}

/// Each subscriber asks for ten packets that it never got.
fn nack(world: &mut World, from: Path, publisher: usize, subscribers: &[usize]) -> AllocationInfo {
    world.run_for(Duration::from_millis(500));
    for _ in 0..4 {
        world.peers[publisher].send_frame(0, 10, 1100);
        world.run_for(Duration::from_millis(33));
    }
    let lost = datagrams(world, publisher, 1);
    forward(world, from, &lost);
    let mut requests = Vec::new();
    for peer in subscribers {
        let peer = &mut world.peers[*peer];
        let slot = &peer.slots[0];
        let last = slot.received.packets.keys().next_back().copied().unwrap();
        let lost: Vec<_> = (1..=10).map(|n| SeqNo(last + n).wire()).collect();
        let ssrc = Ssrc(slot.ssrc);
        peer.send_rtcp(|writer| writer.nack(Ssrc(1), ssrc, lost).unwrap());
        requests.push((Path::udp(peer.address), peer.poll_transmit().unwrap().1));
    }
    allocation_counter::measure(|| {
        for (path, request) in &requests {
            world.shard.handle_datagram(*path, request, world.now);
        }
        while world.shard.poll_transmit(world.now).is_some() {}
    })
}
