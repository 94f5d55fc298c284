//! Media through a whole node: real ICE, DTLS and SRTP over real sockets.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, Instant},
};

use bus::{
    InProcessBus,
    tap::{TapReceiver, tap},
};
use sfu::{Config, Node, NodeHandle};
use sfu_proto::{
    control::{Command, Event, Tap},
    id::{RecordingId, TrackId},
    sdp::Codec,
    tap::{Batch, Body, records},
};

use peer::{Control, Peer, ROOM, connect_all, payload, run_until};

mod peer;

/// Packets published in each test.
const PACKETS: u16 = 300;

fn start(config: Config) -> (NodeHandle, Control) {
    let bus = InProcessBus::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = Config { port: 0, workers: 2, cache_packets: 4096, ..config };
    let node = runtime.block_on(Node::start(config, &bus, None)).unwrap();
    let control = Control::new(bus, node.registration());
    control.send(Command::OpenRoom { room: ROOM, sessions_max: 10 });
    (node, control)
}

/// Where the room's worker listens: the answer's first candidate is not needed to know it.
fn worker(node: &NodeHandle, ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, node.workers()[0].port)
}

/// Publishes and checks that every watcher gets every packet once, in order, intact.
fn exchange(publisher: &mut Peer, watchers: &mut [&mut Peer]) {
    let expected: Vec<_> = (1..=PACKETS).map(|number| payload(number).to_vec()).collect();
    for number in 1..=PACKETS {
        publisher.publish(number);
        publisher.turn();
        watchers.iter_mut().for_each(|watcher| watcher.turn());
        std::thread::sleep(Duration::from_micros(300));
    }
    run_until(watchers, "all packets arrive", |watchers| {
        watchers.iter().all(|watcher| watcher.received.len() >= usize::from(PACKETS))
    });
    for watcher in watchers {
        assert!(watcher.received == expected, "a watcher got something else");
    }
}

#[test]
fn media_flows_between_udp_and_tcp_peers_and_a_cut_connection_is_told() {
    let (node, mut control) = start(Config::default());
    let to = worker(&node, Ipv4Addr::LOCALHOST.into());
    let mut publisher = Peer::join(&mut control, 1, to, false, true);
    let mut over_udp = Peer::join(&mut control, 2, to, false, false);
    let mut over_tcp = Peer::join(&mut control, 3, to, true, false);
    connect_all(&mut control, &mut [&mut publisher, &mut over_udp, &mut over_tcp]);
    exchange(&mut publisher, &mut [&mut over_udp, &mut over_tcp]);
    assert_eq!(node.metrics().total("tcp_connections"), 1.0);
    assert_eq!(node.metrics().total("tcp_frames_dropped"), 0.0);

    over_tcp.hang_up();
    let session = over_tcp.session;
    control.wait(|event| (event == Event::Interrupted { session }).then_some(()));
    assert_eq!(node.metrics().total("tcp_connections"), 0.0);
}

#[test]
fn media_flows_from_a_tcp_publisher() {
    let loopback = Some(Ipv4Addr::LOCALHOST.into());
    let (node, mut control) = start(Config { bind: loopback, ..Config::default() });
    let to = worker(&node, Ipv4Addr::LOCALHOST.into());
    let mut publisher = Peer::join(&mut control, 1, to, true, true);
    let mut watcher = Peer::join(&mut control, 2, to, false, false);
    connect_all(&mut control, &mut [&mut publisher, &mut watcher]);
    exchange(&mut publisher, &mut [&mut watcher]);
}

#[test]
fn a_burst_over_tcp_is_forwarded_whole() {
    let (node, mut control) = start(Config::default());
    let to = worker(&node, Ipv4Addr::LOCALHOST.into());
    let mut publisher = Peer::join(&mut control, 1, to, true, true);
    let mut watcher = Peer::join(&mut control, 2, to, true, false);
    connect_all(&mut control, &mut [&mut publisher, &mut watcher]);
    // What gathers while a TCP connection stalls: more than a track's queue of fresh packets.
    const BURST: u16 = 3 * sfu_core::limits::FRESH_MAX as u16;
    (1..=BURST).for_each(|number| publisher.publish(number));
    publisher.turn();
    run_until(&mut [&mut watcher], "all packets arrive", |peers| {
        peers[0].received.len() >= usize::from(BURST)
    });
    let expected: Vec<_> = (1..=BURST).map(|number| payload(number).to_vec()).collect();
    assert!(watcher.received == expected);
}

#[test]
fn a_client_is_answered_from_the_address_that_it_chose() {
    let announce = [[127, 0, 0, 77], [127, 0, 0, 78]].map(IpAddr::from).to_vec();
    let (node, mut control) = start(Config { announce: announce.clone(), ..Config::default() });
    let [first, second] = [announce[0], announce[1]].map(|ip| worker(&node, ip));
    let mut publisher = Peer::join(&mut control, 1, first, false, true);
    let mut watcher = Peer::join(&mut control, 2, second, false, false);
    connect_all(&mut control, &mut [&mut publisher, &mut watcher]);
    exchange(&mut publisher, &mut [&mut watcher]);
}

#[test]
fn media_flows_between_ipv6_and_ipv4_peers() {
    let (node, mut control) = start(Config::default());
    if !node.workers()[0].ipv6 {
        eprintln!("no IPv6 here: not tested");
        return;
    }
    let six = worker(&node, Ipv6Addr::LOCALHOST.into());
    let four = worker(&node, Ipv4Addr::LOCALHOST.into());
    let mut publisher = Peer::join(&mut control, 1, six, false, true);
    let mut watcher = Peer::join(&mut control, 2, four, false, false);
    let mut over_tcp = Peer::join(&mut control, 3, six, true, false);
    connect_all(&mut control, &mut [&mut publisher, &mut watcher, &mut over_tcp]);
    exchange(&mut publisher, &mut [&mut watcher, &mut over_tcp]);
}

/// Publishes while the ring to the recorder holds so many bytes, and returns what it took.
fn record(
    ring_bytes: usize,
    publish: impl FnOnce(&mut Peer, &TapReceiver),
) -> (NodeHandle, TapReceiver) {
    let bus = InProcessBus::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = Config { port: 0, workers: 1, cache_packets: 4096, ..Config::default() };
    let (sender, receiver) = tap(ring_bytes);
    let node = runtime.block_on(Node::start(config, &bus, Some(sender))).unwrap();
    let mut control = Control::new(bus, node.registration());
    control.send(Command::OpenRoom { room: ROOM, sessions_max: 10 });
    let to = worker(&node, Ipv4Addr::LOCALHOST.into());
    let mut publisher = Peer::join(&mut control, 1, to, false, true);
    connect_all(&mut control, &mut [&mut publisher]);
    let tap = Tap { recording: RecordingId::from_bits(5), tracks: vec![TrackId::from_bits(9)] };
    control.send(Command::SetTap { room: ROOM, tap: Some(tap) });
    // The order is obeyed when the track's own record has arrived or was lost.
    let told = || receiver.waiting() > 0 || node.metrics().total("tap_lost_records") > 0.0;
    run_until(&mut [&mut publisher], "is tapped", |_| told());
    publish(&mut publisher, &receiver);
    control.send(Command::CloseRoom { room: ROOM });
    let session = publisher.session;
    control.wait(|event| {
        matches!(event, Event::SessionEnded { session: s, .. } if s == session).then_some(())
    });
    (node, receiver)
}

#[test]
fn what_is_recorded_reaches_the_recorder_while_it_waits() {
    let mut payloads = Vec::new();
    let mut ended = false;
    let take = |batch: Batch, payloads: &mut Vec<Vec<u8>>, ended: &mut bool| {
        assert_eq!(batch.recording, RecordingId::from_bits(5));
        for record in records(&batch.bytes) {
            match record.unwrap().body {
                Body::Packet(packet) => payloads.push(packet.payload.to_vec()),
                Body::Ended { index: 0 } => *ended = true,
                Body::Track { index: 0, codec: Codec::Vp8, .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let (node, receiver) = record(1 << 20, |publisher, receiver| {
        for number in 1..=PACKETS {
            publisher.publish(number);
            publisher.turn();
            while let Some(batch) = receiver.recv(Duration::ZERO) {
                take(batch, &mut payloads, &mut ended);
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        let start = Instant::now();
        while payloads.len() < usize::from(PACKETS) {
            assert!(start.elapsed() < Duration::from_secs(10), "{}", payloads.len());
            if let Some(batch) = receiver.recv(Duration::from_millis(100)) {
                take(batch, &mut payloads, &mut ended);
            }
        }
    });
    while let Some(batch) = receiver.recv(Duration::from_secs(1)) {
        take(batch, &mut payloads, &mut ended);
    }
    assert!(ended, "closing the room ends its tracks");
    assert!(
        payloads.iter().map(Vec::as_slice).eq((1..=PACKETS)
            .map(payload)
            .collect::<Vec<_>>()
            .iter()
            .map(|p| &p[..]))
    );
    assert_eq!(node.metrics().total("tap_packets"), f64::from(PACKETS));
    assert_eq!(node.metrics().total("tap_lost_records"), 0.0);
}

#[test]
fn a_full_ring_drops_and_a_later_batch_tells_how_much() {
    let mut batches = Vec::new();
    let (node, receiver) = record(2_000, |publisher, receiver| {
        // Nobody takes anything meanwhile: the ring holds some 25 packets.
        for number in 1..=PACKETS {
            publisher.publish(number);
            publisher.turn();
            std::thread::sleep(Duration::from_micros(300));
        }
        let start = Instant::now();
        while let Some(batch) = receiver.recv(Duration::from_millis(200)) {
            assert!(start.elapsed() < Duration::from_secs(10));
            batches.push(batch);
        }
    });
    while let Some(batch) = receiver.recv(Duration::from_secs(1)) {
        batches.push(batch);
    }
    let (mut told, mut taken) = (0, 0);
    for record in batches.iter().flat_map(|batch| records(&batch.bytes)) {
        match record.unwrap().body {
            Body::Lost { records } => told += records,
            _ => taken += 1,
        }
    }
    assert!(told > u32::from(PACKETS) / 2, "{told}");
    assert_eq!(f64::from(told), node.metrics().total("tap_lost_records"));
    // The beginning and the end of the track, and its packets.
    assert_eq!(told + taken, 2 + u32::from(PACKETS));
}

#[test]
fn without_a_recorder_taps_are_unknown_commands() {
    let (node, control) = start(Config::default());
    let tap = Tap { recording: RecordingId::from_bits(5), tracks: Vec::new() };
    control.send(Command::SetTap { room: ROOM, tap: Some(tap) });
    let begin = Instant::now();
    while node.metrics().total("commands_unknown") == 0.0 {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(2));
    }
}
