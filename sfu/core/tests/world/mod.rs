//! A shard and scripted peers over a seeded network in virtual time.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    reason = "test support; each test file uses its part"
)]

pub mod peer;

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime},
};

use sfu_core::{
    config::ShardConfig,
    event::{Command, Event, Permissions, Publish, Source},
    path::Path,
    shard::Shard,
    stats::Stats,
    test_support::{Link, Network},
    transport::dtls::Identity,
};
use sfu_proto::{
    id::{ParticipantId, RoomId, SessionId, TrackId},
    sdp::{Answer, Kind, Refusal},
    tap::Batch,
};

pub use peer::{Peer, Sent};

pub static IDENTITY: LazyLock<Arc<Identity>> =
    LazyLock::new(|| Arc::new(Identity::generate().unwrap()));

pub const ROOM: RoomId = RoomId::from_bits(1);

#[derive(Clone, Copy)]
enum End {
    Shard(SocketAddr),
    Peer(SocketAddr),
}

pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub shard: Shard,
    pub stats: Arc<Stats>,
    pub peers: Vec<Peer>,
    pub events: Vec<Event>,
    /// Peers to shard, shard to peers.
    pub links: (Link, Link),
    /// What the recorder got.
    pub taps: Vec<Batch>,
    /// Whether the recorder takes anything.
    pub records: bool,
    /// Turns of the shard: wake-ups and datagrams.
    pub wakeups: usize,
    network: Network<End>,
    request: u64,
}

pub fn track(peer: usize, source: Source) -> TrackId {
    TrackId::from_bits((peer as u128) << 8 | source as u128)
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    pub fn with(seed: u64, configure: impl FnOnce(&mut ShardConfig)) -> Self {
        eprintln!("seed {seed}");
        let start = Instant::now();
        let mut config = ShardConfig::new(Vec::new(), (start, SystemTime::UNIX_EPOCH));
        config.cache_packets = 16 * 1024;
        configure(&mut config);
        let stats = Arc::new(Stats::default());
        let identity = Arc::clone(&IDENTITY);
        let mut shard = Shard::new(config, identity, Arc::clone(&stats), [seed as u8; 32], start);
        shard.handle_command(Command::OpenRoom { room: ROOM, sessions_max: 200 }, start);
        Self {
            start,
            now: start,
            shard,
            stats,
            peers: Vec::new(),
            events: Vec::new(),
            taps: Vec::new(),
            records: true,
            links: (Link::GOOD, Link::GOOD),
            wakeups: 0,
            network: Network::new(seed),
            request: 0,
        }
    }

    /// Admits a peer that publishes these sources and has so many (audio, video) slots.
    pub fn join(&mut self, sources: &[Source], slots: (usize, usize)) -> usize {
        let number = self.peers.len();
        let session = SessionId::from_bits(number as u128 + 1);
        let command = Command::OpenSession {
            room: ROOM,
            session,
            participant: ParticipantId::from_bits(number as u128 + 1),
            permissions: Permissions { publish: Source::ALL.to_vec(), subscribe: true },
        };
        self.command(command);
        let mut peer = Peer::new(number, session, self.now);
        sources.iter().for_each(|source| peer.add_source(*source));
        (0..slots.0).for_each(|_| peer.add_slot(Kind::Audio));
        (0..slots.1).for_each(|_| peer.add_slot(Kind::Video));
        self.peers.push(peer);
        self.offer(number).unwrap();
        number
    }

    /// Sends the peer's present offer and applies the answer.
    pub fn offer(&mut self, number: usize) -> Result<Answer, Refusal> {
        let offer = self.peers[number].offer();
        let publish = self.peers[number].publish();
        self.offer_with(number, offer, publish)
    }

    pub fn offer_with(
        &mut self,
        number: usize,
        offer: sfu_proto::sdp::Offer,
        publish: Vec<Publish>,
    ) -> Result<Answer, Refusal> {
        self.request += 1;
        let (session, request) = (self.peers[number].session, self.request);
        let offer = Box::new(offer);
        self.command(Command::Offer { session, request, offer, publish });
        let answered = self.events.iter().rev().find_map(|event| match event {
            Event::Answered { request: r, answer, .. } if *r == request => {
                Some(Ok(Answer::clone(answer)))
            }
            Event::OfferRefused { request: r, reason, .. } if *r == request => Some(Err(*reason)),
            _ => None,
        });
        let answer = answered.expect("an answer or a refusal");
        if let Ok(answer) = &answer {
            self.peers[number].on_answer(answer, self.now);
        }
        answer
    }

    pub fn command(&mut self, command: Command) {
        self.shard.handle_command(command, self.now);
        self.flush_shard();
    }

    /// Joins, and runs until media can flow.
    pub fn join_connected(&mut self, sources: &[Source], slots: (usize, usize)) -> usize {
        let number = self.join(sources, slots);
        self.connect(number);
        number
    }

    pub fn connect(&mut self, number: usize) {
        let session = self.peers[number].session;
        let connected = self.run_until(Duration::from_secs(10), |world| {
            world.events.contains(&Event::Connected { session })
                && world.peers[number].client().is_connected()
        });
        assert!(connected, "peer {number} did not connect");
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            let peers = self.peers.iter().filter_map(Peer::poll_timeout).min();
            let wakes = [self.network.next_arrival(), self.shard.poll_timeout(), peers];
            let next = wakes.into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return done(self);
            };
            self.now = next.max(self.now + Duration::from_micros(1));
        }
    }

    /// Everything that is due now.
    pub fn settle(&mut self) {
        if self.shard.poll_timeout().is_some_and(|at| at <= self.now) {
            self.wakeups += 1;
            self.shard.handle_timeout(self.now);
        }
        self.flush_shard();
        for peer in &mut self.peers {
            peer.handle_timeout(self.now);
        }
        loop {
            self.flush_peers();
            let Some((end, bytes)) = self.network.poll(self.now) else { break };
            match end {
                End::Shard(from) => {
                    self.wakeups += 1;
                    self.shard.handle_datagram(Path::udp(from), &bytes, self.now);
                    self.flush_shard();
                }
                End::Peer(to) => {
                    if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == to) {
                        peer.handle_datagram(&bytes, self.now);
                    }
                }
            }
        }
    }

    fn flush_peers(&mut self) {
        for peer in &mut self.peers {
            while let Some((from, bytes)) = peer.poll_transmit() {
                self.network.send(self.links.0, &End::Shard(from), &bytes, self.now);
            }
        }
    }

    pub fn flush_shard(&mut self) {
        while let Some(batch) = self.shard.poll_transmit(self.now) {
            for run in batch.runs() {
                for datagram in batch.bytes(run).chunks(usize::from(run.segment)) {
                    let to = End::Peer(run.path.peer);
                    self.network.send(self.links.1, &to, datagram, self.now);
                }
            }
        }
        while let Some(event) = self.shard.poll_event() {
            self.events.push(event);
        }
        while self.records
            && let Some(batch) = self.shard.poll_tap()
        {
            self.taps.push(batch);
        }
        assert!(self.shard.poll_timeout().is_none_or(|at| at >= self.start));
    }

    /// A datagram from anywhere.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.shard.handle_datagram(Path::udp(from), bytes, self.now);
        self.flush_shard();
    }

    /// What the slots of a peer show, in order of m-sections.
    pub fn shown(&self, number: usize) -> Vec<Option<TrackId>> {
        let session = self.peers[number].session;
        self.events
            .iter()
            .rev()
            .find_map(|event| match event {
                Event::SlotsChanged { session: s, slots, .. } if *s == session => {
                    Some(slots.iter().map(|slot| slot.track).collect())
                }
                _ => None,
            })
            .unwrap_or_default()
    }

    pub fn waiting(&self, number: usize) -> (u32, u32) {
        let session = self.peers[number].session;
        let found = self.events.iter().rev().find_map(|event| match event {
            Event::SlotsChanged { session: s, waiting, .. } if *s == session => Some(*waiting),
            _ => None,
        });
        found.unwrap_or_default()
    }
}
