//! Every open room as a task of its own, and the table that finds them.
//!
//! ```text
//!  WebSocket, WHIP, REST ── Input ──▶ task of the room ── domain::Room ──▶ effects
//!  media::pump ──────────── Input ──▶        │                  │
//!                                 sockets ◀──┼──▶ bus           ▼ deadline
//!                                            └──▶ journal ──▶ store
//! ```
//!
//! A room is here from its creation (or the start of the server) to its end, so that its empty
//! time-out runs whether or not anybody ever joins.

mod commits;
mod journal;
mod owed;
mod policy;
mod recovery;
mod socket;
mod task;
#[cfg(test)]
mod tests;
mod transfer;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bus::Registration;
use dashmap::DashMap;
use sdk_spec::{handle::Handle, limits::OPENS_EARLY_SECONDS, recording::StopReason};
use sfu_proto::{
    control::Event,
    id::{ParticipantId, RecordingId, RoomId},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock,
    domain::{
        Admission, Ask, Ban, ClientInput, ConnectionId, Policy, Proof, Refusal, Reply, Room, Seats,
    },
    limits,
    media::Media,
    metrics::Metrics,
    recorder::RecorderPort,
    secret,
    store::{IdempotentRequest, RoomRow, Store},
};
use commits::Commits;
use journal::Pending;
pub(crate) use recovery::watch;
pub(crate) use socket::{Outgoing, Outgoings, Socket, socket};

/// What a room's task is told.
pub(crate) enum Input {
    /// A WebSocket says hello; what is for it goes to `socket`.
    Hello { connection: ConnectionId, hello: Hello, socket: Socket },
    /// A WebSocket says something.
    Client { connection: ConnectionId, input: ClientInput },
    /// A WebSocket is closed.
    Detach { connection: ConnectionId },
    /// A WHIP or WHEP request,
    /// or one of the partner; `request`: to be remembered with what it does.
    Ask {
        ask: Ask,
        request: Option<IdempotentRequest>,
        reply: oneshot::Sender<Result<Reply, Refusal>>,
    },
    /// News of a media node.
    Media { from: Registration, event: Event },
    /// A media node is gone.
    NodeDown(Registration),
    /// News of media nodes were lost.
    Missed,
    /// The room ended in the store.
    Close,
    /// A new token of a client that is in.
    Renew { connection: ConnectionId, admission: Admission },
    /// A new token was refused.
    RenewRefused { connection: ConnectionId },
    /// A handle was banned.
    Banned(Ban),
    /// A ban was lifted.
    Unbanned(Handle),
    /// A token for another room.
    Ticket { participant: ParticipantId, room: RoomId, token: String, invited: bool },
    /// The parent calls everybody back.
    Recall { parent_ended: bool },
    /// A breakout room is over.
    BreakoutEnded(RoomId),
    /// The project's policy for recordings.
    Policy(Policy),
    /// The recorder cannot go on with a recording.
    RecordingFailed { recording: RecordingId, reason: StopReason },
    /// Nobody records any more.
    RecorderLost,
}

/// First message of a WebSocket.
pub(crate) enum Hello {
    Join(Admission),
    Resume { proof: Proof, received: u64 },
}

struct Entry {
    project: Arc<str>,
    seats: Seats,
    inputs: mpsc::Sender<Input>,
    counts: Arc<Counts>,
    /// When it opens, on the wall clock; 0 is at once.
    opens_at_ms: u64,
}

/// What is told of a room without asking it.
#[derive(Default)]
struct Counts {
    participants: AtomicU32,
    participants_max: AtomicU32,
    waiting: AtomicU32,
    recording: Mutex<Option<RecordingId>>,
}

impl Counts {
    fn recording(&self) -> MutexGuard<'_, Option<RecordingId>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which recording runs, or is paused.
    fn records(&self, recording: Option<RecordingId>) {
        *self.recording() = recording;
    }
}

/// All open rooms.
pub(crate) struct Rooms {
    entries: DashMap<RoomId, Entry>,
    /// The places of each project's participants.
    seats: DashMap<Arc<str>, Seats>,
    /// Rooms that are over and wait for the last traffic of their sessions.
    lingering: DashMap<RoomId, mpsc::Sender<Event>>,
    media: Media,
    store: Store,
    metrics: Arc<Metrics>,
    /// Without one no room records, whatever its rule says.
    recorder: Option<Arc<dyn RecorderPort>>,
    connections: AtomicU64,
    journal: mpsc::Sender<Pending>,
    /// Name of this process among those that share the database.
    node: Arc<str>,
}

impl Rooms {
    /// An empty table, and the writer of its rooms' commits.
    pub(crate) fn new(
        media: Media,
        store: Store,
        metrics: Arc<Metrics>,
        recorder: Option<Arc<dyn RecorderPort>>,
    ) -> Arc<Self> {
        let (journal, queue) = mpsc::channel(limits::JOURNAL_QUEUE_MAX);
        tokio::spawn(journal::write(store.clone(), Arc::clone(&metrics), queue));
        Arc::new(Self {
            entries: DashMap::new(),
            seats: DashMap::new(),
            lingering: DashMap::new(),
            media,
            store,
            metrics,
            recorder,
            connections: AtomicU64::new(0),
            journal,
            node: secret::opaque_id("no_").into(),
        })
    }

    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    /// Starts the task of an open room.
    pub(crate) fn open(self: &Arc<Self>, row: RoomRow, bans: Vec<Ban>) {
        let id = row.id;
        let project: Arc<str> = row.project.into();
        let (inputs, queue) = mpsc::channel(limits::ROOM_QUEUE_MAX);
        let counts = Arc::new(Counts::default());
        let early = u64::from(OPENS_EARLY_SECONDS) * 1000;
        let opens_at_ms = row.charter.starts_at_ms.map_or(0, |at| at.saturating_sub(early));
        let seats = self.seats_of(&project);
        let entry = Entry {
            project: Arc::clone(&project),
            seats: seats.clone(),
            inputs,
            counts: Arc::clone(&counts),
            opens_at_ms,
        };
        if self.entries.insert(id, entry).is_none() {
            self.metrics.rooms.inc();
        }
        let place = (project, id, Arc::clone(&self.node));
        let commits =
            Commits::new(self.journal.clone(), Arc::clone(&self.metrics), place, row.commits);
        let parent = row.charter.parent;
        let now = (Instant::now(), clock::now_ms());
        let room =
            Room::new(id, row.charter, bans, Box::new(secret::random), now).with_seats(seats);
        let rooms = Arc::clone(self);
        tokio::spawn(task::run(rooms, (id, parent), room, commits, queue, counts));
    }

    /// The places of a project's participants, as many as can be counted until [`Self::seat`].
    fn seats_of(&self, project: &Arc<str>) -> Seats {
        if self.seats.len() >= limits::SEATED_PROJECTS_MAX && !self.seats.contains_key(project) {
            self.seats.retain(|_, seats| !seats.is_unused());
        }
        self.seats.entry(Arc::clone(project)).or_default().clone()
    }

    /// Says how many participants a project may have from now on: before anybody is let in.
    pub(crate) fn seat(&self, project: &str, participants_max: u32) {
        if let Some(seats) = self.seats.get(project) {
            seats.resize(participants_max);
        }
    }

    /// Participants in a room now, and those who wait to be let in.
    pub(crate) fn present(&self, id: RoomId) -> (u32, u32) {
        self.entries.get(&id).map_or((0, 0), |entry| {
            (entry.counts.participants.load(Relaxed), entry.counts.waiting.load(Relaxed))
        })
    }

    /// The room of a project whose recording this is, while it runs or is paused. Asks no store.
    pub(crate) fn recorded(&self, project: &str, recording: RecordingId) -> Option<RoomId> {
        let is_it = |entry: &Entry| {
            *entry.project == *project && *entry.counts.recording() == Some(recording)
        };
        self.entries.iter().find(|entry| is_it(entry)).map(|entry| *entry.key())
    }

    /// Whether the bearer of a token of a project could be let in, as far as can be told before it is
    /// used up. The room itself decides again.
    ///
    /// # Errors
    /// [`Refusal::RoomNotOpen`], [`Refusal::RoomFull`], [`Refusal::QuotaExceeded`],
    /// [`Refusal::NoMediaNode`].
    pub(crate) async fn check_vacancy(
        &self,
        project: &str,
        id: RoomId,
        who: &Admission,
    ) -> Result<(), Refusal> {
        let (room_is_full, seats) = match self.entries.get(&id) {
            // Of a room of somebody else nothing is told.
            Some(entry) if *entry.project == *project => {
                if clock::now_ms() < entry.opens_at_ms {
                    return Err(Refusal::RoomNotOpen);
                }
                let Counts { participants, participants_max, .. } = &*entry.counts;
                let is_full = participants.load(Relaxed) >= participants_max.load(Relaxed);
                (is_full, entry.seats.clone())
            }
            // A room that is gone is the token's fault, which the store tells.
            _ => return Ok(()),
        };
        if self.media.place().is_none() {
            return Err(Refusal::NoMediaNode);
        }
        if seats.is_full()
            && let Ok(Some(max)) = self.store.participants_max(project).await
        {
            seats.resize(max); // It may be another one since somebody came in last.
        }
        // Who replaces an older one of its handle, or has to wait, may still come.
        match room_is_full || seats.is_full() {
            true => self.ask(id, Ask::Vacancy { who: who.clone() }).await.map(|_| ()),
            false => Ok(()),
        }
    }

    /// Waits until the end of a room that is over is stored, for [`limits::ROOM_END_WAIT`] at most.
    /// Whether it is.
    pub(crate) async fn ended(&self, id: RoomId) -> bool {
        let gone = async {
            while self.entries.contains_key(&id) || self.lingering.contains_key(&id) {
                tokio::time::sleep(limits::ROOM_END_POLL).await;
            }
        };
        tokio::time::timeout(limits::ROOM_END_WAIT, gone).await.is_ok()
    }

    /// A number for a new connection.
    pub(crate) fn connection(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Relaxed))
    }

    /// Tells a room something, waiting while its queue is full. `false` when there is no such room.
    pub(crate) async fn send(&self, id: RoomId, input: Input) -> bool {
        let Some(inputs) = self.entries.get(&id).map(|entry| entry.inputs.clone()) else {
            return false;
        };
        inputs.send(input).await.is_ok()
    }

    /// Tells every room something.
    pub(crate) async fn send_all(&self, input: impl Fn() -> Input) {
        let all: Vec<_> = self.entries.iter().map(|entry| entry.inputs.clone()).collect();
        for inputs in all {
            let _ = inputs.send(input()).await; // The room ended meanwhile.
        }
    }

    /// Removes who has a banned handle from a room of a project, or from all of them.
    pub(crate) async fn ban(&self, project: &str, room: Option<RoomId>, ban: Ban) {
        for inputs in self.of_project(project, room) {
            let _ = inputs.send(Input::Banned(ban.clone())).await; // The room ended meanwhile.
        }
    }

    /// Lifts a ban in a room of a project, or in all of them.
    pub(crate) async fn unban(&self, project: &str, room: Option<RoomId>, handle: Handle) {
        for inputs in self.of_project(project, room) {
            let _ = inputs.send(Input::Unbanned(handle.clone())).await; // The room ended meanwhile.
        }
    }

    fn of_project(&self, project: &str, room: Option<RoomId>) -> Vec<mpsc::Sender<Input>> {
        let here = |entry: &Entry| *entry.project == *project;
        match room {
            Some(id) => self
                .entries
                .get(&id)
                .filter(|e| here(e))
                .map(|e| e.inputs.clone())
                .into_iter()
                .collect(),
            None => self.entries.iter().filter(|e| here(e)).map(|e| e.inputs.clone()).collect(),
        }
    }

    /// Asks a room for something.
    pub(crate) async fn ask(&self, id: RoomId, ask: Ask) -> Result<Reply, Refusal> {
        self.ask_once(id, ask, None).await
    }

    /// Asks a room for something that is remembered with what it does.
    pub(crate) async fn ask_once(
        &self,
        id: RoomId,
        ask: Ask,
        request: Option<IdempotentRequest>,
    ) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        if !self.send(id, Input::Ask { ask, request, reply }).await {
            return Err(Refusal::NotFound);
        }
        answer.await.unwrap_or(Err(Refusal::Gone))
    }

    /// Tells a room news of a media node. Of one that is over only the last traffic is of interest.
    pub(crate) async fn send_media(&self, id: RoomId, from: Registration, event: Event) {
        if let Event::Traffic { .. } = event
            && let Some(lingering) = self.lingering.get(&id)
        {
            let _ = lingering.try_send(event); // As many as sessions fit.
            return;
        }
        self.send(id, Input::Media { from, event }).await;
    }

    /// Where the last traffic of a room that is over arrives.
    fn linger(&self, id: RoomId) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(limits::ROOM_QUEUE_MAX);
        self.lingering.insert(id, sender);
        receiver
    }

    /// Forgets a room whose task ends.
    fn remove(&self, id: RoomId) {
        if self.entries.remove(&id).is_some() {
            self.metrics.rooms.dec();
        }
    }
}
