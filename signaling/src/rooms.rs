//! Every open room as a task of its own, and the table that finds them.
//!
//! ```text
//!  WebSocket, WHIP, REST ── Input ──▶ task of the room ── domain::Room ──▶ effects
//!  media::pump ──────────── Input ──▶        │                  │
//!                                   sockets ◀┴──▶ bus, store    ▼ deadline
//! ```
//!
//! A room is here from its creation (or the start of the server) to its end, so that its empty
//! time-out runs whether or not anybody ever joins.

mod owed;
mod task;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bus::Registration;
use dashmap::DashMap;
use sdk_spec::limits::PARTICIPANTS_MAX_DEFAULT;
use sfu_proto::{control::Event, id::RoomId};
use tokio::sync::{mpsc, oneshot};

use crate::{
    clock,
    domain::{Admission, Ask, ClientInput, Close, ConnectionId, Proof, Refusal, Reply, Room},
    limits,
    media::Media,
    metrics::Metrics,
    secret,
    store::{RoomRow, Store},
};

/// What a room's task is told.
pub(crate) enum Input {
    /// A WebSocket says hello; what is for it goes to `socket`.
    Hello { connection: ConnectionId, hello: Hello, socket: mpsc::Sender<Outgoing> },
    /// A WebSocket says something.
    Client { connection: ConnectionId, input: ClientInput },
    /// A WebSocket is closed.
    Detach { connection: ConnectionId },
    /// A WHIP or WHEP request.
    Ask { ask: Ask, reply: oneshot::Sender<Result<Reply, Refusal>> },
    /// News of a media node.
    Media { from: Registration, event: Event },
    /// A media node is gone.
    NodeDown(Registration),
    /// News of media nodes were lost.
    Missed,
    /// The room is deleted.
    Close,
}

/// First message of a WebSocket.
pub(crate) enum Hello {
    Join(Admission),
    Resume { proof: Proof, received: u64 },
}

/// What a socket is told. A closed channel means: too slow, close.
pub(crate) enum Outgoing {
    Text(String),
    Close(Close),
}

struct Entry {
    inputs: mpsc::Sender<Input>,
    participants_max: u32,
    participants: Arc<AtomicU32>,
}

/// All open rooms.
pub(crate) struct Rooms {
    entries: DashMap<RoomId, Entry>,
    media: Media,
    store: Store,
    metrics: Arc<Metrics>,
    connections: AtomicU64,
}

impl Rooms {
    pub(crate) fn new(media: Media, store: Store, metrics: Arc<Metrics>) -> Arc<Self> {
        let connections = AtomicU64::new(0);
        Arc::new(Self { entries: DashMap::new(), media, store, metrics, connections })
    }

    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    /// Starts the task of an open room.
    pub(crate) fn open(self: &Arc<Self>, row: RoomRow) {
        let id = row.id;
        let (inputs, queue) = mpsc::channel(limits::ROOM_QUEUE_MAX);
        let participants = Arc::new(AtomicU32::new(0));
        let participants_max =
            row.charter.settings.participants_max.unwrap_or(PARTICIPANTS_MAX_DEFAULT);
        let entry = Entry { inputs, participants_max, participants: Arc::clone(&participants) };
        if self.entries.insert(id, entry).is_none() {
            self.metrics.rooms.inc();
        }
        let now = (Instant::now(), clock::now_ms());
        let room = Room::new(id, row.charter, Vec::new(), Box::new(secret::random), now);
        tokio::spawn(task::run(Arc::clone(self), id, room, queue, participants));
    }

    /// Participants in a room now.
    pub(crate) fn participants(&self, id: RoomId) -> u32 {
        self.entries.get(&id).map_or(0, |entry| entry.participants.load(Relaxed))
    }

    /// Whether somebody more could be let in, as far as can be told before a token is used up. The
    /// room itself decides again.
    ///
    /// # Errors
    /// [`Refusal::RoomFull`], [`Refusal::NoMediaNode`].
    pub(crate) fn check_vacancy(&self, id: RoomId) -> Result<(), Refusal> {
        let is_full = |entry: &Entry| entry.participants.load(Relaxed) >= entry.participants_max;
        match self.entries.get(&id).map(|entry| is_full(&entry)) {
            // A room that is gone is the token's fault, which the store tells.
            None => Ok(()),
            Some(true) => Err(Refusal::RoomFull),
            Some(false) if self.media.place().is_none() => Err(Refusal::NoMediaNode),
            Some(false) => Ok(()),
        }
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

    /// Asks a room for something.
    pub(crate) async fn ask(&self, id: RoomId, ask: Ask) -> Result<Reply, Refusal> {
        let (reply, answer) = oneshot::channel();
        if !self.send(id, Input::Ask { ask, reply }).await {
            return Err(Refusal::NotFound);
        }
        answer.await.unwrap_or(Err(Refusal::Gone))
    }

    /// Forgets a room whose task ends.
    fn remove(&self, id: RoomId) {
        if self.entries.remove(&id).is_some() {
            self.metrics.rooms.dec();
        }
    }
}
