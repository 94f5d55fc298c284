//! The shard: owner of rooms, sessions, tracks, packet cache and timers, and the only place where
//! transport and router meet.
//!
//! ```text
//! handle_command ──▶ command, offer ──▶ rooms, peers, tracks ──▶ assign (slots, speakers)
//! handle_datagram ─▶ receive ─▶ cache, `fresh` lists │ layers (simulcast) │ control (RTCP)
//! handle_timeout ──▶ report (RTCP out), transport timers, speakers
//! poll_transmit ◀── transmit: transport output, retransmissions, fresh packets by subscriber
//! poll_event ◀───── queue
//! poll_tap ◀─────── tap: batches of records of what is recorded
//! ```

mod assign;
mod command;
mod control;
mod layers;
mod offer;
mod peer;
mod receive;
mod report;
mod tap;
mod transmit;

use std::{collections::HashMap, collections::VecDeque, sync::Arc, time::Instant};

use foldhash::quality::FixedState;
use rand::{Rng, SeedableRng, rngs::StdRng};
use sfu_proto::id::{RoomId, SessionId, TrackId};

pub(crate) use self::peer::Peer;
use self::{
    tap::Taps,
    transmit::{Cursor, Resend},
};
use crate::{
    config::ShardConfig,
    event::{Command, EndReason, Event},
    limits::{EVENTS_MAX, RESENDS_QUEUED_MAX, TIMER_REST},
    path::Path,
    router::{room::Room, track::Track},
    slab::{Slab, SlotId},
    stats::Stats,
    table::{Key, Table},
    timer::Timers,
    transport::{
        dtls::Identity,
        outbound::TxBatch,
        session::{Outgoing, SessionEvent},
    },
};

/// Lookup tables. Seeded, so that a run repeats and keys cannot be chosen to collide.
type Map<K, V> = HashMap<K, V, FixedState>;

/// Names of the world outside → our keys.
struct Index {
    rooms: Map<RoomId, Key<Room>>,
    peers: Map<SessionId, Key<Peer>>,
    tracks: Map<TrackId, Key<Track>>,
    /// Only paths with a validated binding.
    paths: Map<Path, Key<Peer>>,
    /// Our ICE user name fragments.
    ufrags: Map<String, Key<Peer>>,
}

/// One worker's share of a media node. See the module's drawing.
pub struct Shard {
    config: ShardConfig,
    identity: Arc<Identity>,
    stats: Arc<Stats>,
    /// A generator for secrets (ICE passwords) as well as for SSRCs, so a strong one.
    rng: StdRng,
    index: Index,
    rooms: Table<Room>,
    peers: Table<Peer>,
    tracks: Table<Track>,
    slab: Slab,
    /// Where the next packet is decrypted to; exchanged for a cache slot when it is genuine.
    spare: SlotId,
    peer_timers: Timers,
    room_timers: Timers,
    /// Tracks with fresh packets, in order of arrival.
    touched: Vec<Key<Track>>,
    /// When the session that a sync asked about last is told of again.
    sync_at: Instant,
    /// Sessions whose transport may have something to send.
    talkative: Vec<Key<Peer>>,
    /// Rooms whose slots must be allocated anew.
    stale: Vec<Key<Room>>,
    resends: VecDeque<Resend>,
    /// Goodbyes of sessions that are gone.
    farewells: VecDeque<Outgoing>,
    /// Polled from a transport, but without room in the last batch.
    held: Option<Outgoing>,
    /// A batch is being filled; true between calls only after a panic.
    filling: bool,
    cursor: Cursor,
    batch: TxBatch,
    events: VecDeque<Event>,
    taps: Taps,
    /// The session that is being worked for: the one to end if that panics.
    current: Option<Key<Peer>>,
    #[cfg(any(test, feature = "test-support"))]
    fault: Option<SessionId>,
}

impl Shard {
    /// A shard without rooms. `seed` must be secret and random: ICE passwords come from it.
    pub fn new(
        config: ShardConfig,
        identity: Arc<Identity>,
        stats: Arc<Stats>,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut slab = Slab::new(config.cache_packets.max(1));
        let hasher = FixedState::with_seed(rng.next_u64());
        #[expect(clippy::expect_used, reason = "the slab was made with at least one slot")]
        let spare = slab.reserve(1).and_then(|mut slots| slots.next()).expect("a slot");
        Self {
            index: Index {
                rooms: Map::with_hasher(hasher.clone()),
                peers: Map::with_hasher(hasher.clone()),
                tracks: Map::with_hasher(hasher.clone()),
                paths: Map::with_hasher(hasher.clone()),
                ufrags: Map::with_hasher(hasher.clone()),
            },
            taps: Taps::new(Map::with_hasher(hasher)),
            config,
            identity,
            stats,
            rng,
            rooms: Table::default(),
            peers: Table::default(),
            tracks: Table::default(),
            slab,
            spare,
            peer_timers: Timers::default(),
            room_timers: Timers::default(),
            touched: Vec::new(),
            sync_at: now,
            talkative: Vec::new(),
            stale: Vec::new(),
            resends: VecDeque::with_capacity(RESENDS_QUEUED_MAX),
            farewells: VecDeque::new(),
            held: None,
            filling: false,
            cursor: Cursor::default(),
            batch: TxBatch::new(),
            events: VecDeque::new(),
            current: None,
            #[cfg(any(test, feature = "test-support"))]
            fault: None,
        }
    }

    /// Obeys an order of signaling. Unknown ids are ignored and counted.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        self.current = None;
        self.on_command(command, now);
        self.current = None;
    }

    /// Takes a datagram from the network: opens it, caches what it holds, queues forwarding.
    /// Total: whatever arrives, the worst that happens is a counted drop.
    pub fn handle_datagram(&mut self, path: Path, datagram: &[u8], now: Instant) {
        self.current = None;
        self.stats.packets_in.add(1);
        self.stats.bytes_in.add(datagram.len() as u64);
        if let Err(reason) = self.on_datagram(path, datagram, now) {
            self.stats.on_drop(reason);
        }
        self.current = None;
    }

    /// A TCP connection went away.
    pub fn handle_path_closed(&mut self, path: Path, now: Instant) {
        let Some(key) = self.index.paths.get(&path).copied() else { return };
        self.current = Some(key);
        if let Some(peer) = self.peers.get_mut(key) {
            peer.transport.path_closed(path, now);
        }
        self.after_transport(key, now);
        self.current = None;
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(index) = self.peer_timers.pop_due(now) {
            self.current = self.peers.key_at(index);
            if let Some(key) = self.current {
                self.on_peer_timeout(key, now);
                self.rest(key, now);
            }
        }
        self.current = None;
        while let Some(index) = self.room_timers.pop_due(now) {
            if let Some(key) = self.rooms.key_at(index) {
                self.on_room_timeout(key, now);
            }
        }
        self.cut_due_taps(now);
    }

    /// When [`Self::handle_timeout`] has something to do. `None`: nothing is due, sleep.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = [self.peer_timers.next(), self.room_timers.next(), self.taps.poll_timeout()];
        due.into_iter().flatten().min()
    }

    /// The next batch to send. To be called until `None` after every batch of input.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&TxBatch> {
        self.allocate_stale_rooms(now);
        if !self.filling {
            // Otherwise a panic cut the last turn: what it had sealed still goes out.
            self.batch.clear();
        }
        self.filling = true;
        self.fill_batch(now);
        self.filling = false;
        self.current = None;
        if self.batch.is_empty() {
            return None;
        }
        for run in self.batch.runs() {
            let segments = u64::from(run.len.div_ceil(u32::from(run.segment.max(1))));
            self.stats.packets_out.add(segments);
            self.stats.bytes_out.add(u64::from(run.len));
        }
        self.stats.sends.add(self.batch.runs().len() as u64);
        Some(&self.batch)
    }

    /// The next event for signaling.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The shell caught a panic out of one of the calls above: the session that was worked for
    /// ends, all others go on. Keys of what it owned find nothing from now on.
    pub fn handle_panic(&mut self, now: Instant) {
        self.stats.panics.add(1);
        let Some(key) = self.current.take() else {
            // Not one session's work: forget what was queued, so that it cannot strike again.
            self.abandon_turn();
            return;
        };
        // Ending the subscriber moves the next one to its place.
        self.cursor.restart_subscriber();
        self.end_peer(key, EndReason::Internal, false, now);
    }

    /// The next work for this session panics, once.
    #[cfg(any(test, feature = "test-support"))]
    pub fn inject_fault(&mut self, session: SessionId) {
        self.fault = Some(session);
    }

    /// Cache slots that nobody owns, for tests of leaks.
    #[cfg(any(test, feature = "test-support"))]
    pub fn cache_available(&self) -> usize {
        self.slab.available()
    }

    /// Where injected faults strike.
    #[cfg(any(test, feature = "test-support"))]
    fn fault_point(&mut self, key: Key<Peer>) {
        if let Some(peer) = self.peers.get(key)
            && self.fault == Some(peer.id)
        {
            self.fault = None;
            panic!("injected fault");
        }
    }

    #[cfg(not(any(test, feature = "test-support")))]
    fn fault_point(&mut self, _key: Key<Peer>) {}

    fn push_event(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
            self.stats.events_dropped.add(1);
        }
        self.events.push_back(event);
    }

    /// Carries news of a session's transport to where they belong, after anything touched it.
    fn after_transport(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if peer.transport.take_paths_changed() {
            self.sync_paths(key);
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        sync_ufrags(&mut self.index.ufrags, key, peer);
        let mut ended = None;
        while let Some(event) = self.peers.get_mut(key).and_then(|p| p.transport.poll_event()) {
            match event {
                SessionEvent::Connected => self.on_connected(key, now),
                SessionEvent::Interrupted => self.on_interrupted(key),
                SessionEvent::Ended(reason) => ended = Some(reason),
            }
        }
        if let Some(reason) = ended {
            self.end_peer(key, reason, true, now);
            return;
        }
        self.mark_talkative(key);
        self.arm(key);
    }

    /// Brings the table in line with the session's validated paths.
    fn sync_paths(&mut self, key: Key<Peer>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        let validated = peer.transport.paths().to_vec();
        let before = std::mem::replace(&mut peer.paths, validated.clone());
        for path in before.iter().filter(|path| !validated.contains(path)) {
            if self.index.paths.get(path) == Some(&key) {
                self.index.paths.remove(path);
            }
        }
        for path in validated.iter().filter(|path| !before.contains(path)) {
            self.claim_path(key, *path);
        }
    }

    /// A session had an authentic check on a path, so what comes from there is its own: unless
    /// another session lives on that path. A check proves who wrote it, not where it came from,
    /// so any participant could otherwise take another's path by one forged source address.
    fn claim_path(&mut self, key: Key<Peer>, path: Path) {
        let Some(peer) = self.peers.get(key) else { return };
        let lives_there = |owner: &Peer| {
            // A participant who comes back from the same address may push itself out.
            owner.participant != peer.participant && owner.transport.selected_path() == Some(path)
        };
        let owner = self.index.paths.get(&path).filter(|owner| **owner != key);
        if !owner.and_then(|owner| self.peers.get(*owner)).is_some_and(lives_there) {
            self.index.paths.insert(path, key);
        }
    }

    fn on_connected(&mut self, key: Key<Peer>, now: Instant) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.connected = true;
        let session = peer.id;
        let slots = peer.slots.len();
        self.push_event(Event::Connected { session });
        for number in 0..slots {
            self.begin_video(key, number, now);
        }
    }

    fn on_interrupted(&mut self, key: Key<Peer>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.connected = false;
        // What is not sent meanwhile must not look like loss afterwards.
        peer.slots.iter_mut().for_each(|slot| slot.epoch = None);
        let session = peer.id;
        self.push_event(Event::Interrupted { session });
    }

    fn mark_talkative(&mut self, key: Key<Peer>) {
        if let Some(peer) = self.peers.get_mut(key)
            && !peer.talkative
        {
            peer.talkative = true;
            self.talkative.push(key);
        }
    }

    /// A deadline that is still due after it was dealt with must not spin.
    fn rest(&mut self, key: Key<Peer>, now: Instant) {
        let next = self.peers.get(key).and_then(|peer| peer.deadlines.next());
        if next.is_some_and(|at| at <= now) {
            self.peer_timers.set(key.index(), Some(now + TIMER_REST));
        }
    }

    /// Sets the session's timer to the earliest of its deadlines.
    fn arm(&mut self, key: Key<Peer>) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        peer.deadlines.transport = peer.transport.poll_timeout();
        self.peer_timers.set(key.index(), peer.deadlines.next());
    }
}

fn sync_ufrags(ufrags: &mut Map<String, Key<Peer>>, key: Key<Peer>, peer: &mut Peer) {
    if peer.transport.local_ufrags().eq(peer.ufrags.iter().map(String::as_str)) {
        return;
    }
    for ufrag in peer.ufrags.drain(..) {
        ufrags.remove(&ufrag);
    }
    peer.ufrags.extend(peer.transport.local_ufrags().map(String::from));
    for ufrag in &peer.ufrags {
        ufrags.insert(ufrag.clone(), key);
    }
}
