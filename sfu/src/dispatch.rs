//! Which worker a command belongs to: the node's inbox on the bus.
//!
//! A room lives on one worker, chosen when it is opened; sessions and tracks follow their room. A
//! command about something unknown goes to the first worker that runs; its shard counts and answers
//! it. When a worker's thread ends, its sessions are lost and its rooms move to the others.
//! The tables know ids only. Their lock is held for a few map operations and never while the bus
//! is called.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bus::{Inbox, InboxFull, Load};
use sfu_proto::{
    control::Command,
    id::{RoomId, SessionId, TrackId},
};

use crate::{
    limits,
    mailbox::{Mailbox, MailboxFull},
    stats::IoStats,
};

/// What the dispatcher knows of a worker.
pub(crate) struct Route {
    pub(crate) mailbox: Mailbox,
    pub(crate) stats: Arc<IoStats>,
}

/// The node's side of the bus.
pub(crate) struct Dispatcher {
    routes: Vec<Route>,
    rooms_max: usize,
    sessions_max: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    rooms: HashMap<RoomId, Room>,
    sessions: HashMap<SessionId, Session>,
    tracks: HashMap<TrackId, SessionId>,
    /// One for each worker.
    loads: Vec<Load>,
    /// Whether each worker's thread has ended.
    ended: Vec<bool>,
    /// The node is being stopped: workers end by intention.
    stopping: bool,
}

struct Room {
    worker: usize,
    sessions_max: u32,
    sessions: HashSet<SessionId>,
}

struct Session {
    room: RoomId,
    worker: usize,
    /// In order of the offer that named them last.
    tracks: Vec<TrackId>,
}

/// What a worker that starts over has lost.
pub(crate) struct Lost {
    /// To be opened again: ids and their limits.
    pub(crate) rooms: Vec<(RoomId, u32)>,
    /// To be declared ended.
    pub(crate) sessions: Vec<SessionId>,
}

impl Route {
    fn count(&self, _: MailboxFull) -> InboxFull {
        self.stats.mailbox_full.add(1); // One writer at a time: the table is locked.
        InboxFull
    }
}

impl Dispatcher {
    /// `rooms_max` and `sessions_max` are per worker. There must be at least one route.
    pub(crate) fn new(routes: Vec<Route>, rooms_max: usize, sessions_max: usize) -> Self {
        let table = Table {
            loads: vec![Load::default(); routes.len()],
            ended: vec![false; routes.len()],
            ..Table::default()
        };
        Self { routes, rooms_max, sessions_max, table: Mutex::new(table) }
    }

    /// Rooms and sessions of the whole node.
    pub(crate) fn load(&self) -> Load {
        self.table().loads.iter().fold(Load::default(), |sum, load| Load {
            rooms: sum.rooms + load.rooms,
            sessions: sum.sessions + load.sessions,
        })
    }

    /// Rooms of a worker.
    pub(crate) fn rooms_of(&self, worker: usize) -> Vec<RoomId> {
        self.table().rooms_of(worker).into_iter().map(|(room, _)| room).collect()
    }

    /// A session ended by itself.
    pub(crate) fn session_ended(&self, session: SessionId) {
        self.table().remove_session(session);
    }

    /// A worker starts over: forgets its sessions, keeps its rooms.
    pub(crate) fn worker_lost(&self, worker: usize) -> Lost {
        let mut table = self.table();
        let sessions = table.take_sessions(worker);
        Lost { rooms: table.rooms_of(worker), sessions }
    }

    /// A worker's thread has ended and takes no commands any more: forgets its sessions, which it
    /// returns, and opens its rooms on the other workers, unless the node is being stopped.
    pub(crate) fn worker_ended(&self, worker: usize) -> Vec<SessionId> {
        let mut table = self.table();
        table.ended[worker] = true;
        let sessions = table.take_sessions(worker);
        for (room, sessions_max) in table.rooms_of(worker) {
            table.remove_room(room);
            if !table.stopping {
                // No room anywhere: it is unknown from now on, and signaling is told so.
                let _ = self.open_room(&mut table, room, sessions_max);
            }
        }
        if !table.stopping {
            self.routes[worker].stats.worker_ended.add(1);
        }
        sessions
    }

    /// Tells one worker to stop, as if its thread had ended by itself.
    #[cfg(test)]
    pub(crate) fn stop_worker(&self, worker: usize) {
        self.routes[worker].mailbox.stop();
    }

    /// Tells every worker to stop.
    pub(crate) fn stop(&self) {
        self.table().stopping = true;
        self.routes.iter().for_each(|route| route.mailbox.stop());
    }

    /// No step leaves the table half changed, so a panic elsewhere under the lock does not matter.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, worker: usize, command: Command) -> Result<(), InboxFull> {
        let route = &self.routes[worker];
        route.mailbox.put(command).map_err(|full| route.count(full))
    }

    /// For commands that must not be refused, about something in the table: see
    /// [`Mailbox::put_surely`].
    fn put_surely(&self, worker: usize, command: Command) -> Result<(), InboxFull> {
        let route = &self.routes[worker];
        route.mailbox.put_surely(command).map_err(|full| route.count(full))
    }

    /// `worker`: of what the command is about, if that is known.
    fn put_surely_if_known(
        &self,
        table: &Table,
        worker: Option<usize>,
        command: Command,
    ) -> Result<(), InboxFull> {
        match worker {
            Some(worker) => self.put_surely(worker, command),
            None => self.put(table.any_worker(), command),
        }
    }

    fn open_room(&self, table: &mut Table, room: RoomId, max: u32) -> Result<(), InboxFull> {
        let command = Command::OpenRoom { room, sessions_max: max };
        if let Some(known) = table.rooms.get(&room) {
            return self.put(known.worker, command);
        }
        let Some(worker) = table.least_loaded() else { return Err(InboxFull) };
        if table.loads[worker].rooms as usize >= self.rooms_max {
            return Err(InboxFull);
        }
        self.put(worker, command)?;
        table.loads[worker].rooms += 1;
        table.rooms.insert(room, Room { worker, sessions_max: max, sessions: HashSet::new() });
        Ok(())
    }

    /// Each worker is asked about its own sessions, any about unknown ones.
    fn sync(&self, table: &Table, sessions: &[SessionId]) -> Result<(), InboxFull> {
        let mut shares = vec![Vec::new(); self.routes.len()];
        for session in sessions {
            let worker = table.worker_of_session(*session).unwrap_or(table.any_worker());
            shares[worker].push(*session);
        }
        for (worker, sessions) in shares.into_iter().enumerate() {
            if !sessions.is_empty() {
                self.put(worker, Command::Sync { sessions })?;
            }
        }
        Ok(())
    }

    fn open_session(
        &self,
        table: &mut Table,
        room: RoomId,
        session: SessionId,
        command: Command,
    ) -> Result<(), InboxFull> {
        if let Some(worker) = table.worker_of_session(session) {
            return self.put(worker, command); // The shard ignores it.
        }
        let any = table.any_worker();
        let Some(home) = table.rooms.get_mut(&room) else { return self.put(any, command) };
        let worker = home.worker;
        if table.loads[worker].sessions as usize >= self.sessions_max {
            return Err(InboxFull);
        }
        self.put(worker, command)?;
        home.sessions.insert(session);
        table.loads[worker].sessions += 1;
        table.sessions.insert(session, Session { room, worker, tracks: Vec::new() });
        Ok(())
    }
}

impl Inbox for Dispatcher {
    fn deliver(&self, command: Command) -> Result<(), InboxFull> {
        let mut table = self.table();
        let table = &mut *table;
        match &command {
            Command::OpenRoom { room, sessions_max } => self.open_room(table, *room, *sessions_max),
            Command::OpenSession { room, session, .. } => {
                let (room, session) = (*room, *session);
                self.open_session(table, room, session, command)
            }
            Command::CloseRoom { room } => {
                let room = *room;
                self.put_surely_if_known(table, table.worker_of_room(room), command)?;
                table.remove_room(room);
                Ok(())
            }
            // A closed session is forgotten when the worker says that it ended.
            Command::CloseSession { session }
            | Command::SetPermissions { session, .. }
            | Command::SetAudience { session, .. } => {
                self.put_surely_if_known(table, table.worker_of_session(*session), command)
            }
            Command::SetTap { room, .. } => {
                self.put_surely_if_known(table, table.worker_of_room(*room), command)
            }
            Command::SetMuted { track, .. } => {
                self.put_surely_if_known(table, table.worker_of_track(*track), command)
            }
            Command::Offer { session, publish, .. } => {
                let session = *session;
                let tracks: Vec<_> = publish.iter().map(|publish| publish.track).collect();
                let worker = table.worker_of_session(session).unwrap_or(table.any_worker());
                self.put(worker, command)?;
                table.add_tracks(session, &tracks);
                Ok(())
            }
            Command::Want { session, .. } => {
                let worker = table.worker_of_session(*session).unwrap_or(table.any_worker());
                self.put(worker, command)
            }
            Command::Sync { sessions } => self.sync(table, sessions),
        }
    }

    fn superseded(&self) {
        tracing::error!("another node registered with the id of this one: stopping");
        self.stop();
    }
}

impl Table {
    /// Of those that run.
    fn least_loaded(&self) -> Option<usize> {
        let loads = self.loads.iter().enumerate().filter(|(worker, _)| !self.ended[*worker]);
        loads.min_by_key(|(_, load)| load.sessions + load.rooms).map(|(worker, _)| worker)
    }

    /// Who counts and answers commands about something unknown: the first worker that runs.
    fn any_worker(&self) -> usize {
        self.ended.iter().position(|ended| !ended).unwrap_or(0)
    }

    fn worker_of_room(&self, room: RoomId) -> Option<usize> {
        self.rooms.get(&room).map(|room| room.worker)
    }

    fn worker_of_session(&self, session: SessionId) -> Option<usize> {
        self.sessions.get(&session).map(|session| session.worker)
    }

    fn worker_of_track(&self, track: TrackId) -> Option<usize> {
        self.tracks.get(&track).and_then(|session| self.worker_of_session(*session))
    }

    /// Forgets the sessions of a worker.
    fn take_sessions(&mut self, worker: usize) -> Vec<SessionId> {
        let of_worker = |(id, s): (&SessionId, &Session)| (s.worker == worker).then_some(*id);
        let sessions: Vec<_> = self.sessions.iter().filter_map(of_worker).collect();
        sessions.iter().for_each(|session| self.remove_session(*session));
        sessions
    }

    fn rooms_of(&self, worker: usize) -> Vec<(RoomId, u32)> {
        let rooms = self.rooms.iter().filter(|(_, room)| room.worker == worker);
        rooms.map(|(id, room)| (*id, room.sessions_max)).collect()
    }

    /// Remembers where tracks are published. Those of a session that its offers have not named for
    /// longest are forgotten first: live ones are named by each.
    fn add_tracks(&mut self, session: SessionId, tracks: &[TrackId]) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        for track in tracks.iter().copied().take(limits::TRACKS_PER_SESSION_MAX) {
            // The first to publish an id keeps it.
            if *self.tracks.entry(track).or_insert(session) != session {
                continue;
            }
            state.tracks.retain(|known| *known != track);
            if state.tracks.len() == limits::TRACKS_PER_SESSION_MAX {
                self.tracks.remove(&state.tracks.remove(0));
            }
            state.tracks.push(track);
        }
    }

    fn remove_session(&mut self, session: SessionId) {
        let Some(state) = self.sessions.remove(&session) else { return };
        for track in &state.tracks {
            self.tracks.remove(track);
        }
        if let Some(room) = self.rooms.get_mut(&state.room) {
            room.sessions.remove(&session);
        }
        let load = &mut self.loads[state.worker];
        load.sessions = load.sessions.saturating_sub(1);
    }

    fn remove_room(&mut self, room: RoomId) {
        let Some(state) = self.rooms.get(&room) else { return };
        let (worker, sessions) = (state.worker, state.sessions.clone());
        sessions.into_iter().for_each(|session| self.remove_session(session));
        self.rooms.remove(&room);
        self.loads[worker].rooms = self.loads[worker].rooms.saturating_sub(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use mio::{Poll, Token, Waker};
    use sfu_proto::{
        control::{Permissions, Publish, Source},
        id::ParticipantId,
        sdp,
    };

    use super::*;
    use crate::mailbox::{Letters, mailbox};

    struct Bench {
        dispatcher: Dispatcher,
        workers: Vec<(Letters, Poll)>,
    }

    impl Bench {
        fn new(workers: usize) -> Self {
            let (mut routes, mut ends) = (Vec::new(), Vec::new());
            for _ in 0..workers {
                let poll = Poll::new().unwrap();
                let (mailbox, letters) = mailbox(Waker::new(poll.registry(), Token(0)).unwrap());
                routes.push(Route { mailbox, stats: Arc::default() });
                ends.push((letters, poll));
            }
            Self { dispatcher: Dispatcher::new(routes, 3, 4), workers: ends }
        }

        fn deliver(&self, command: Command) -> Result<(), InboxFull> {
            self.dispatcher.deliver(command)
        }

        fn open(&self, room: u128) -> Result<(), InboxFull> {
            self.deliver(Command::OpenRoom { room: RoomId::from_bits(room), sessions_max: 9 })
        }

        fn join(&self, room: u128, session: u128) -> Result<(), InboxFull> {
            self.deliver(Command::OpenSession {
                room: RoomId::from_bits(room),
                session: SessionId::from_bits(session),
                participant: ParticipantId::from_bits(session),
                permissions: Permissions::default(),
            })
        }

        fn offer(&self, session: u128, tracks: impl Iterator<Item = u128>) {
            let publish = tracks.map(|track| Publish {
                mid: "0".parse().unwrap(),
                track: TrackId::from_bits(track),
                source: Source::Camera,
                muted: false,
            });
            let ice = sdp::IceCredentials { ufrag: String::new(), pwd: String::new() };
            let offer = sdp::Offer {
                ice,
                fingerprint: sdp::Fingerprint([0; 32]),
                active: true,
                extmap_allow_mixed: false,
                media: Vec::new(),
            };
            self.deliver(Command::Offer {
                session: SessionId::from_bits(session),
                request: 1,
                offer: Box::new(offer),
                publish: publish.collect(),
            })
            .unwrap();
        }

        fn mute(&self, track: u128) {
            let track = TrackId::from_bits(track);
            self.deliver(Command::SetMuted { track, muted: true }).unwrap();
        }

        /// How many commands each worker has received since the last call.
        fn received(&self) -> Vec<usize> {
            let count =
                |(letters, _): &(Letters, Poll)| std::iter::from_fn(|| letters.next()).count();
            self.workers.iter().map(count).collect()
        }
    }

    #[test]
    fn rooms_are_spread_and_what_belongs_to_them_follows() {
        let bench = Bench::new(2);
        bench.open(1).unwrap();
        bench.open(2).unwrap();
        assert_eq!(bench.received(), [1, 1]);
        bench.join(2, 20).unwrap();
        bench.offer(20, [200, 201].into_iter());
        bench.mute(201);
        assert_eq!(bench.received(), [0, 3]);
        bench.open(2).unwrap();
        assert_eq!(bench.received(), [0, 1], "opening again goes to the same worker");
        bench.open(3).unwrap();
        assert_eq!(bench.received(), [1, 0], "the least loaded worker takes the next room");
        assert_eq!(bench.dispatcher.load(), Load { rooms: 3, sessions: 1 });
    }

    #[test]
    fn unknown_ids_go_to_the_first_worker_and_leave_no_trace() {
        let bench = Bench::new(2);
        bench.join(9, 90).unwrap();
        bench.offer(90, 0..5);
        bench.mute(900);
        bench.deliver(Command::CloseRoom { room: RoomId::from_bits(9) }).unwrap();
        assert_eq!(bench.received(), [4, 0]);
        let table = bench.dispatcher.table();
        assert!(table.sessions.is_empty() && table.tracks.is_empty() && table.rooms.is_empty());
    }

    #[test]
    fn ended_sessions_and_closed_rooms_are_forgotten() {
        let bench = Bench::new(1);
        bench.open(1).unwrap();
        bench.join(1, 10).unwrap();
        bench.join(1, 11).unwrap();
        bench.offer(10, 0..3);
        bench.offer(11, 5..7);
        bench.dispatcher.session_ended(SessionId::from_bits(10));
        assert_eq!(bench.dispatcher.table().tracks.len(), 2);
        bench.deliver(Command::CloseRoom { room: RoomId::from_bits(1) }).unwrap();
        let table = bench.dispatcher.table();
        assert!(table.sessions.is_empty() && table.tracks.is_empty() && table.rooms.is_empty());
        assert_eq!(table.loads, [Load::default()]);
    }

    #[test]
    fn limits_refuse_and_count_nothing() {
        let bench = Bench::new(1);
        (1..=3).for_each(|room| bench.open(room).unwrap());
        assert_eq!(bench.open(4), Err(InboxFull));
        (1..=4).for_each(|session| bench.join(1, session).unwrap());
        assert_eq!(bench.join(2, 5), Err(InboxFull));
        assert_eq!(bench.dispatcher.load(), Load { rooms: 3, sessions: 4 });
    }

    #[test]
    fn a_full_mailbox_refuses_counts_and_keeps_the_tables() {
        let bench = Bench::new(1);
        bench.open(1).unwrap();
        (0..limits::MAILBOX_COMMANDS_MAX as u128 - 1).for_each(|track| bench.mute(track));
        let mute = Command::SetMuted { track: TrackId::from_bits(1), muted: true };
        assert_eq!(bench.deliver(mute), Err(InboxFull), "of an unknown track, none of ours");
        assert_eq!(bench.join(1, 10), Err(InboxFull));
        assert_eq!(bench.open(2), Err(InboxFull));
        assert_eq!(bench.dispatcher.load(), Load { rooms: 1, sessions: 0 });
        assert_eq!(bench.dispatcher.routes[0].stats.mailbox_full.value(), 3);
    }

    #[test]
    fn tracks_per_session_are_bounded_and_cannot_be_taken_over() {
        let bench = Bench::new(2);
        bench.open(1).unwrap();
        bench.open(2).unwrap();
        bench.join(1, 10).unwrap();
        bench.join(2, 20).unwrap();
        bench.offer(10, 0..20);
        bench.offer(10, 20..60);
        assert_eq!(bench.dispatcher.table().tracks.len(), limits::TRACKS_PER_SESSION_MAX);
        bench.offer(20, 40..41);
        bench.received();
        bench.mute(40);
        assert_eq!(bench.received(), [1, 0]);
    }

    #[test]
    fn a_worker_that_starts_over_loses_sessions_and_keeps_rooms() {
        let bench = Bench::new(2);
        (1..=2).for_each(|room| bench.open(room).unwrap());
        bench.join(1, 10).unwrap();
        bench.join(2, 20).unwrap();
        let lost = bench.dispatcher.worker_lost(0);
        assert_eq!(lost.sessions, [SessionId::from_bits(10)]);
        assert_eq!(lost.rooms, [(RoomId::from_bits(1), 9)]);
        assert_eq!(bench.dispatcher.load(), Load { rooms: 2, sessions: 1 });
    }

    #[test]
    fn a_full_mailbox_takes_what_ends_or_restricts_a_session() {
        let bench = Bench::new(1);
        bench.open(1).unwrap();
        bench.join(1, 10).unwrap();
        bench.offer(10, 0..2);
        let session = SessionId::from_bits(10);
        let want = || Command::Want { session, tracks: Vec::new() };
        while bench.deliver(want()).is_ok() {}
        let permissions = Permissions::default();
        let sure = [
            Command::SetPermissions { session, permissions },
            Command::SetMuted { track: TrackId::from_bits(1), muted: true },
            Command::CloseSession { session },
            Command::CloseRoom { room: RoomId::from_bits(1) },
        ];
        for command in &sure {
            assert_eq!(bench.deliver(command.clone()), Ok(()));
            assert_eq!(bench.deliver(want()), Err(InboxFull));
        }
        let letters = &bench.workers[0].0;
        let all: Vec<_> = std::iter::from_fn(|| letters.next()).collect();
        assert_eq!(all[limits::MAILBOX_COMMANDS_MAX..], sure);
    }

    #[test]
    fn a_track_that_every_offer_names_is_never_forgotten() {
        let bench = Bench::new(2);
        (1..=2).for_each(|room| bench.open(room).unwrap());
        bench.join(2, 20).unwrap();
        let others = 100..100 + 2 * limits::TRACKS_PER_SESSION_MAX as u128;
        others.for_each(|other| bench.offer(20, [1, other].into_iter()));
        assert_eq!(bench.dispatcher.table().tracks.len(), limits::TRACKS_PER_SESSION_MAX);
        bench.received();
        bench.mute(1);
        assert_eq!(bench.received(), [0, 1]);
    }

    #[test]
    fn offers_that_were_refused_leave_no_tracks() {
        let bench = Bench::new(1);
        bench.open(1).unwrap();
        bench.join(1, 10).unwrap();
        let session = SessionId::from_bits(10);
        while bench.deliver(Command::Want { session, tracks: Vec::new() }).is_ok() {}
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.offer(10, 0..5)));
        assert!(result.is_err(), "refused");
        assert!(bench.dispatcher.table().tracks.is_empty());
    }

    #[test]
    fn an_ended_worker_loses_its_sessions_and_the_others_get_its_rooms() {
        let bench = Bench::new(2);
        (1..=2).for_each(|room| bench.open(room).unwrap());
        bench.join(1, 10).unwrap();
        bench.join(2, 20).unwrap();
        bench.received();
        assert_eq!(bench.dispatcher.worker_ended(0), [SessionId::from_bits(10)]);
        assert_eq!(bench.received(), [0, 1], "the room is opened again");
        bench.open(3).unwrap();
        bench.join(1, 11).unwrap();
        bench.join(9, 90).unwrap();
        assert_eq!(bench.received(), [0, 3]);
        assert_eq!(bench.dispatcher.load(), Load { rooms: 3, sessions: 2 });
        assert_eq!(bench.dispatcher.worker_ended(1).len(), 2);
        assert_eq!(bench.open(4), Err(InboxFull), "nobody is left");
        assert_eq!(bench.dispatcher.load(), Load::default());
    }

    #[test]
    fn a_sync_is_split_between_workers() {
        let bench = Bench::new(2);
        (1..=2).for_each(|room| bench.open(room).unwrap());
        bench.join(1, 10).unwrap();
        bench.join(2, 20).unwrap();
        bench.received();
        let sessions = [10, 20, 30].map(SessionId::from_bits).to_vec();
        bench.deliver(Command::Sync { sessions }).unwrap();
        let [first, second] = [0, 1].map(|worker| bench.workers[worker].0.next().unwrap());
        let sync = |ids: &[u128]| Command::Sync {
            sessions: ids.iter().copied().map(SessionId::from_bits).collect(),
        };
        assert_eq!((first, second), (sync(&[10, 30]), sync(&[20])));
    }
}
