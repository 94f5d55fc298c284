//! A worker's bounded mailbox: commands from the dispatcher, and the word to stop.
//!
//! ```text
//! put ────────▶ queue (bounded) ─────────────────────▶ next
//! put_surely ─▶ queue, or when it is full: kept, the ─▶ next, when the queue is empty
//!               newest for each thing that it is about
//! ```
//! While anything is kept the queue takes nothing, so commands stay in the order they came in.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::Waker;
use sfu_proto::{
    control::Command,
    id::{RoomId, SessionId, TrackId},
};

use crate::limits;

/// The dispatcher's end. Clones share it.
#[derive(Clone)]
pub(crate) struct Mailbox {
    shared: Arc<Shared>,
    waker: Arc<Waker>,
}

/// The worker's end.
pub(crate) struct Letters {
    shared: Arc<Shared>,
}

/// The command was not taken.
#[derive(Debug)]
pub(crate) struct MailboxFull;

#[derive(Default)]
struct Shared {
    commands: Mutex<Commands>,
    stop: AtomicBool,
}

#[derive(Default)]
struct Commands {
    queue: VecDeque<Command>,
    kept: BTreeMap<u64, Command>,
    /// Where in `kept` the newest command about a thing is.
    places: HashMap<About, u64>,
    next_place: u64,
}

/// What a command that must not be refused is about; a newer one makes an older one void.
#[derive(PartialEq, Eq, Hash)]
enum About {
    EndOfRoom(RoomId),
    EndOfSession(SessionId),
    Permissions(SessionId),
    Audience(SessionId),
    Muted(TrackId),
    Tap(RoomId),
}

/// A mailbox that wakes its worker through `waker`.
pub(crate) fn mailbox(waker: Waker) -> (Mailbox, Letters) {
    let shared = Arc::<Shared>::default();
    (Mailbox { shared: Arc::clone(&shared), waker: Arc::new(waker) }, Letters { shared })
}

impl Mailbox {
    /// Puts a command in, or refuses it when the mailbox is full.
    pub(crate) fn put(&self, command: Command) -> Result<(), MailboxFull> {
        let mut commands = self.shared.commands();
        if commands.is_full() {
            return Err(MailboxFull);
        }
        commands.queue.push_back(command);
        drop(commands);
        self.wake();
        Ok(())
    }

    /// As [`Self::put`], but never refuses what takes something away from a session or track: its
    /// end, its permissions, its audience, its muting. The caller must know what it is about, so that the rooms,
    /// sessions and tracks of the worker bound what is kept.
    pub(crate) fn put_surely(&self, command: Command) -> Result<(), MailboxFull> {
        let mut commands = self.shared.commands();
        if !commands.is_full() {
            commands.queue.push_back(command);
        } else if let Some(about) = About::of(&command) {
            commands.keep(about, command);
        } else {
            return Err(MailboxFull);
        }
        drop(commands);
        self.wake();
        Ok(())
    }

    /// Tells the worker to end its sessions and itself.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        // An eventfd write fails only when its counter is full: then the worker is awake anyway.
        if let Err(error) = self.waker.wake()
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::error!(%error, "cannot wake a worker");
        }
    }
}

impl Letters {
    /// The next command, if there is one.
    pub(crate) fn next(&self) -> Option<Command> {
        self.shared.commands().next()
    }

    /// Whether the worker was told to stop.
    pub(crate) fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }
}

impl Shared {
    /// No step leaves the commands half changed, so a panic under the lock does not matter.
    fn commands(&self) -> MutexGuard<'_, Commands> {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commands {
    fn is_full(&self) -> bool {
        self.queue.len() >= limits::MAILBOX_COMMANDS_MAX || !self.kept.is_empty()
    }

    fn keep(&mut self, about: About, command: Command) {
        self.next_place += 1;
        self.kept.insert(self.next_place, command);
        if let Some(older) = self.places.insert(about, self.next_place) {
            self.kept.remove(&older);
        }
    }

    fn next(&mut self) -> Option<Command> {
        if let Some(command) = self.queue.pop_front() {
            return Some(command);
        }
        let (_, command) = self.kept.pop_first()?;
        if let Some(about) = About::of(&command) {
            self.places.remove(&about);
        }
        Some(command)
    }
}

impl About {
    /// `None`: the command may be refused.
    fn of(command: &Command) -> Option<Self> {
        match command {
            Command::CloseRoom { room } => Some(Self::EndOfRoom(*room)),
            Command::CloseSession { session } => Some(Self::EndOfSession(*session)),
            Command::SetPermissions { session, .. } => Some(Self::Permissions(*session)),
            Command::SetAudience { session, .. } => Some(Self::Audience(*session)),
            Command::SetMuted { track, .. } => Some(Self::Muted(*track)),
            Command::SetTap { room, .. } => Some(Self::Tap(*room)),
            Command::OpenRoom { .. }
            | Command::OpenSession { .. }
            | Command::Offer { .. }
            | Command::Want { .. }
            | Command::Sync { .. } => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use mio::{Poll, Token};

    use super::*;

    fn mute(track: u128, muted: bool) -> Command {
        Command::SetMuted { track: TrackId::from_bits(track), muted }
    }

    fn close(session: u128) -> Command {
        Command::CloseSession { session: SessionId::from_bits(session) }
    }

    fn want(session: u128) -> Command {
        Command::Want { session: SessionId::from_bits(session), tracks: Vec::new() }
    }

    #[test]
    fn what_must_arrive_arrives_in_order_and_once_from_a_full_mailbox() {
        let poll = Poll::new().unwrap();
        let (mailbox, letters) = mailbox(Waker::new(poll.registry(), Token(0)).unwrap());
        (0..limits::MAILBOX_COMMANDS_MAX).for_each(|_| mailbox.put(want(1)).unwrap());
        for n in 0..1_000 {
            mailbox.put_surely(mute(1, n % 2 == 0)).unwrap();
        }
        mailbox.put_surely(close(2)).unwrap();
        mailbox.put_surely(mute(1, true)).unwrap();
        assert_eq!(letters.next(), Some(want(1)));
        assert!(mailbox.put(want(1)).is_err(), "nothing may overtake what is kept");
        assert!(mailbox.put_surely(want(1)).is_err());
        let rest: Vec<_> = std::iter::from_fn(|| letters.next()).collect();
        assert_eq!(rest[limits::MAILBOX_COMMANDS_MAX - 1..], [close(2), mute(1, true)]);
        mailbox.put(want(1)).unwrap();
        assert!(mailbox.shared.commands().places.is_empty());
    }
}
