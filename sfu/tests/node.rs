//! A whole node on loopback: starts, survives junk, stops without a trace.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bus::{Bus, InProcessBus, Notice, SendError};
use sfu::{Config, Node, NodeHandle, StartError};
use sfu_proto::{
    control::{Command, Event, Permissions},
    id::{NodeId, ParticipantId, RoomId, SessionId},
};

/// Threads of this process are counted below, so these tests run one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(workers: usize) -> Config {
    Config {
        bind: Some(Ipv4Addr::LOCALHOST.into()),
        port: 0,
        workers,
        cache_packets: 1024,
        ..Config::default()
    }
}

fn start(config: Config, bus: &InProcessBus) -> NodeHandle {
    block_on(Node::start(config, bus, None)).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn worker_threads() -> usize {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("sfu-worker"))
        .count()
}

fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "not in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn udp(node: &NodeHandle, worker: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), node.workers()[worker].port)
}

#[test]
fn a_node_starts_is_listed_and_stops_without_leaving_threads() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let node = start(config(3), &bus);
    eventually("three workers", || worker_threads() == 3);
    assert!(node.is_running());
    assert_eq!(bus.nodes()[0].registration, node.registration());
    let mut ports: Vec<_> = node.workers().iter().map(|worker| worker.port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3, "each worker has its own port");
    let addresses = node.workers().iter().flat_map(|worker| &worker.candidates);
    assert!(addresses.clone().all(|candidate| candidate.address.ip() == Ipv4Addr::LOCALHOST));
    assert_eq!(addresses.count(), 6, "UDP and TCP each");
    let port = node.workers()[0].port;
    node.shutdown();
    assert_eq!(worker_threads(), 0);
    assert!(bus.nodes().is_empty());
    UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free again");
}

#[test]
fn configured_ports_count_up_and_a_taken_one_refuses_the_start() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let base = free.min(u16::MAX - 8);
    let fixed = Config { port: base, ..config(2) };
    let Ok(node) = block_on(Node::start(fixed.clone(), &bus, None)) else {
        return; // Another process took one of the two ports in between.
    };
    assert_eq!(node.workers().iter().map(|w| w.port).collect::<Vec<_>>(), [base, base + 1]);
    let refused = block_on(Node::start(fixed, &bus, None));
    assert!(matches!(refused, Err(StartError::Port { .. })));
    assert_eq!(bus.nodes().len(), 1, "the node that did not start is not on the bus");
}

#[test]
fn bad_settings_are_refused() {
    let _alone = alone();
    let bad = Config { rooms_max: 0, ..config(1) };
    let refused = block_on(Node::start(bad, &InProcessBus::new(), None));
    assert!(matches!(refused, Err(StartError::Config(errors)) if errors.len() == 1));
}

#[test]
fn a_second_node_with_the_same_id_stops_the_first() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let id = Some(NodeId::from_bits(5));
    let first = start(Config { node: id, ..config(1) }, &bus);
    let second = start(Config { node: id, ..config(1) }, &bus);
    eventually("the first one stops", || !first.is_running());
    assert!(second.is_running());
    let command = Command::CloseRoom { room: RoomId::from_bits(1) };
    assert_eq!(bus.send(first.registration(), command.clone()), Err(SendError::Gone));
    assert_eq!(bus.send(second.registration(), command), Ok(()));
}

#[test]
fn sessions_are_admitted_and_ended_over_the_bus() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let mut notices = bus.subscribe();
    let node = start(config(2), &bus);
    let (room, session) = (RoomId::from_bits(1), SessionId::from_bits(2));
    let to = node.registration();
    bus.send(to, Command::OpenRoom { room, sessions_max: 4 }).unwrap();
    let permissions = Permissions { publish: Vec::new(), subscribe: true };
    let participant = ParticipantId::from_bits(3);
    bus.send(to, Command::OpenSession { room, session, participant, permissions }).unwrap();
    eventually("the load is reported", || {
        let load = bus.nodes()[0].load;
        (load.rooms, load.sessions) == (1, 1)
    });
    eventually("the shard counts", || node.metrics().total("sessions") == 1.0);
    bus.send(to, Command::CloseSession { session }).unwrap();
    let ended = loop {
        match notices.blocking_next().unwrap() {
            Notice::Event { from, event: event @ Event::SessionEnded { .. } } => {
                break (from, event);
            }
            _ => continue,
        }
    };
    assert!(
        matches!(ended, (from, Event::SessionEnded { session: s, .. }) if from == to && s == session)
    );
    eventually("the load is reported", || bus.nodes()[0].load.sessions == 0);
}

#[test]
fn a_node_that_stops_ends_its_sessions_with_notice() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let mut notices = bus.subscribe();
    let node = start(config(1), &bus);
    let (room, session) = (RoomId::from_bits(1), SessionId::from_bits(2));
    let to = node.registration();
    bus.send(to, Command::OpenRoom { room, sessions_max: 4 }).unwrap();
    let participant = ParticipantId::from_bits(3);
    let permissions = Permissions::default();
    bus.send(to, Command::OpenSession { room, session, participant, permissions }).unwrap();
    eventually("the session is there", || node.metrics().total("sessions") == 1.0);
    node.shutdown();
    let mut kinds = Vec::new();
    while kinds.last() != Some(&"down") {
        kinds.push(match notices.blocking_next().unwrap() {
            Notice::NodeUp(_) => "up",
            Notice::Event { event: Event::SessionEnded { .. }, .. } => "ended",
            Notice::Event { .. } => continue,
            Notice::NodeDown(_) => "down",
            Notice::Missed(_) => "missed",
        });
    }
    assert_eq!(kinds, ["up", "ended", "down"]);
}

#[test]
fn junk_of_every_first_byte_and_length_is_counted_and_nothing_dies() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let node = start(config(1), &bus);
    let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let to = udp(&node, 0);
    let mut sent = 0u64;
    let mut buffer = [0u8; 1501];
    for first in 0..=255u8 {
        for len in (0..1500).step_by(if first % 16 == 0 { 1 } else { 61 }).chain([1500]) {
            for (i, byte) in buffer.iter_mut().enumerate() {
                *byte = (i as u8).wrapping_mul(31).wrapping_add(first);
            }
            buffer[0] = first;
            peer.send_to(&buffer[..len], to).unwrap();
            sent += 1;
            // Loopback has no flow control: let the worker keep up.
            if sent.is_multiple_of(64) {
                eventually("the worker keeps up", || {
                    node.metrics().total("packets_in") >= (sent - 64) as f64
                });
            }
        }
    }
    eventually("everything is counted", || node.metrics().total("packets_in") == sent as f64);
    assert_eq!(node.metrics().total("packets_out"), 0.0, "nobody is answered");
    assert_eq!(node.metrics().total("panics"), 0.0);
    assert!(node.metrics().total("drops") > 0.0);
    assert!(node.is_running());
}

#[test]
fn slow_silent_and_many_tcp_peers_are_bounded_while_others_are_served() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let limited = Config { tcp_connections_per_peer_max: 20, ..config(1) };
    let node = start(limited, &bus);
    let to = udp(&node, 0);
    let mut peers: Vec<_> = (0..40).map(|_| TcpStream::connect(to).unwrap()).collect();
    eventually("the limit holds", || {
        let metrics = node.metrics();
        (metrics.total("tcp_accepted"), metrics.total("tcp_refused")) == (20.0, 20.0)
    });
    // One byte a second never completes a frame: all are closed after five seconds.
    let start = Instant::now();
    while node.metrics().total("tcp_connections") > 0.0 {
        assert!(start.elapsed() < Duration::from_secs(9), "slow peers still hold connections");
        for peer in &mut peers {
            let _ = peer.write_all(&[0]);
        }
        thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(node.metrics().total("tcp_timeouts"), 20.0);
    drop(peers);
    // A peer with proper framing is heard afterwards.
    let before = node.metrics().total("packets_in");
    let mut good = TcpStream::connect(to).unwrap();
    good.write_all(b"\0\x04junk\0\x04junk").unwrap();
    eventually("frames are heard", || node.metrics().total("packets_in") == before + 2.0);
    // And one with broken framing is closed at once.
    let mut bad = TcpStream::connect(to).unwrap();
    bad.write_all(&[0xff; 64]).unwrap();
    bad.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(bad.read(&mut [0; 16]), Ok(0) | Err(_)));
    eventually("it is counted", || node.metrics().total("tcp_framing_errors") == 1.0);
}

#[test]
fn a_flood_of_commands_is_refused_not_queued() {
    let _alone = alone();
    let bus = Arc::new(InProcessBus::new());
    let node = start(config(1), &bus);
    let to = node.registration();
    let flood = |_| {
        let bus = Arc::clone(&bus);
        thread::spawn(move || {
            let close = |n: u128| Command::CloseRoom { room: RoomId::from_bits(n) };
            (0..50_000).filter(|n| bus.send(to, close(*n)) == Err(SendError::Busy)).count()
        })
    };
    let threads: Vec<_> = (0..4).map(flood).collect();
    let refused: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(node.metrics().total("mailbox_full"), refused as f64);
    eventually("it still takes commands", || {
        let room = RoomId::from_bits(1);
        bus.send(to, Command::OpenRoom { room, sessions_max: 1 }).is_ok()
    });
    eventually("and obeys", || node.metrics().total("rooms") == 1.0);
}

#[test]
fn every_address_serves_both_families() {
    let _alone = alone();
    let bus = InProcessBus::new();
    let any = Config { bind: None, announce_loopback: true, ..config(1) };
    let node = start(any, &bus);
    let worker = &node.workers()[0];
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    assert!(worker.candidates.iter().any(|candidate| candidate.address.ip() == loopback));
    let mut sent = 0.0;
    let peers = [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")];
    for (from, to) in peers.into_iter().take(if worker.ipv6 { 2 } else { 1 }) {
        let peer = UdpSocket::bind(from).unwrap();
        peer.send_to(b"junk", (to, worker.port)).unwrap();
        sent += 1.0;
    }
    eventually("both arrive", || node.metrics().total("packets_in") == sent);
}
