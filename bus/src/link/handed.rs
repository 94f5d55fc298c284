//! What the recorder's process had of each session: each batch once and in order, what is to be
//! acknowledged, and until when everything came.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use sfu_proto::tap::Batch;

use super::Fingerprint;
use crate::{
    limits::{LINK_ACK_AFTER, LINK_FORGET, LINK_GATHER, LINK_SESSIONS_MAX},
    tap::TapSender,
};

/// Sessions of late.
pub struct Sessions {
    started: Instant,
    all: Mutex<HashMap<u128, Arc<Session>>>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { started: Instant::now(), all: Mutex::default() }
    }
}

impl Sessions {
    /// A connection of a session; earlier ones of it are over. `next`: the oldest that the other side has.
    pub(super) fn connect(
        &self,
        id: u128,
        peer: Fingerprint,
        next: u64,
        now: Instant,
    ) -> (Arc<Session>, Turn) {
        let mut all = self.lock();
        if all.len() >= LINK_SESSIONS_MAX && !all.contains_key(&id) {
            let oldest = all.iter().min_by_key(|(_, one)| one.lock().heard).map(|(id, _)| *id);
            oldest.map(|oldest| all.remove(&oldest));
        }
        if !all.contains_key(&id) {
            // A process that starts anew says nothing more of the life before.
            all.values().filter(|one| one.peer == peer).for_each(|one| one.lock().is_over = true);
        }
        let session = all.entry(id).or_insert_with(|| Arc::new(Session::new(peer, now)));
        let session = Arc::clone(session);
        drop(all);
        let mut state = session.lock();
        state.turn += 1;
        // What the other side has no more cannot come.
        state.next = state.next.max(next);
        state.heard = now;
        // An acknowledgement may have been lost with the connection before.
        state.handed = VecDeque::from([(now, state.next)]);
        let turn = Turn { turn: state.turn, next: state.next };
        drop(state);
        (session, turn)
    }

    /// Whether everything came that the taps of all media processes had at `time_ms`. Those that are not
    /// heard any more have said all that they will.
    #[must_use]
    pub fn has_all_until(&self, time_ms: u64) -> bool {
        self.has_all(time_ms, Instant::now())
    }

    fn has_all(&self, time_ms: u64, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let all = self.lock();
        let lives = |state: &State| !state.is_over && since(state.heard) < LINK_FORGET;
        let mut heard = all.values().filter_map(|one| {
            let state = one.lock();
            lives(&state).then_some(state.mark_ms)
        });
        let wait = if all.is_empty() { LINK_FORGET } else { LINK_GATHER };
        since(self.started) >= wait && heard.all(|mark_ms| mark_ms >= time_ms)
    }

    /// How many media processes were heard of late.
    #[must_use]
    pub fn count(&self) -> usize {
        let now = Instant::now();
        let lives = |one: &&Arc<Session>| {
            now.saturating_duration_since(one.lock().heard) < super::recorder::DEAD
        };
        self.lock().values().filter(lives).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One life of a media process. The lock is held while a batch is handed over, which never waits.
pub(super) struct Session {
    peer: Fingerprint,
    state: Mutex<State>,
}

struct State {
    /// The connection that may hand over; counts.
    turn: u64,
    /// Number of the batch that is taken next.
    next: u64,
    /// What was handed over by when.
    handed: VecDeque<(Instant, u64)>,
    /// `next` as of the last acknowledgement.
    acked: u64,
    mark_ms: u64,
    heard: Instant,
    is_over: bool,
}

/// The right of a connection to hand over, until another one of the session comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    turn: u64,
    /// The batch that it begins with.
    pub(super) next: u64,
}

/// What became of a batch.
pub(super) enum Handed {
    /// It is in the ring, or was before.
    Yes,
    /// The ring is full.
    Full(Batch),
    /// One before it is missing.
    Gap,
    /// Another connection took over.
    Superseded,
}

impl Session {
    fn new(peer: Fingerprint, now: Instant) -> Self {
        let state = State {
            turn: 0,
            next: 0,
            handed: VecDeque::new(),
            acked: 0,
            mark_ms: 0,
            heard: now,
            is_over: false,
        };
        Self { peer, state: Mutex::new(state) }
    }

    pub(super) fn hand(
        &self,
        turn: Turn,
        number: u64,
        batch: Batch,
        ring: &TapSender,
        now: Instant,
    ) -> Handed {
        let mut state = self.lock();
        if state.turn != turn.turn {
            return Handed::Superseded;
        }
        state.heard = now;
        match number {
            number if number < state.next => return Handed::Yes,
            number if number > state.next => return Handed::Gap,
            _ => {}
        }
        match ring.send(batch) {
            Ok(()) => {
                state.next += 1;
                Handed::Yes
            }
            Err(batch) => Handed::Full(batch),
        }
    }

    /// All until then came. False: another connection took over.
    pub(super) fn mark(&self, turn: Turn, time_ms: u64, now: Instant) -> bool {
        let mut state = self.lock();
        let is_ours = state.turn == turn.turn;
        if is_ours {
            state.mark_ms = state.mark_ms.max(time_ms);
            state.heard = now;
        }
        is_ours
    }

    /// What is to be acknowledged now. To be asked regularly: it also notes what was handed over.
    pub(super) fn due(&self, turn: Turn, now: Instant) -> Option<u64> {
        let mut state = self.lock();
        if state.turn != turn.turn {
            return None;
        }
        let next = state.next;
        if state.handed.back().map_or(state.acked, |(_, noted)| *noted) < next {
            state.handed.push_back((now, next));
        }
        let mut due = None;
        while let Some((at, next)) = state.handed.front().copied()
            && now.saturating_duration_since(at) >= LINK_ACK_AFTER
        {
            state.handed.pop_front();
            state.acked = next;
            due = next.checked_sub(1);
        }
        due
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use sfu_proto::id::RecordingId;

    use super::*;
    use crate::{link::Identity, tap::tap};

    fn batch(content: u8) -> Batch {
        Batch { recording: RecordingId::from_bits(1), bytes: vec![content; 10] }
    }

    fn peer() -> Fingerprint {
        Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap().fingerprint()
    }

    #[test]
    fn each_batch_is_handed_over_once_and_in_order() {
        let (ring, out) = tap(25);
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (session, turn) = sessions.connect(1, peer(), 0, now);
        let hand = |turn, number| session.hand(turn, number, batch(number as u8), &ring, now);
        assert!(matches!(hand(turn, 1), Handed::Gap));
        assert!(matches!(hand(turn, 0), Handed::Yes) && matches!(hand(turn, 1), Handed::Yes));
        assert!(matches!(hand(turn, 2), Handed::Full(_)), "and it is not counted");
        assert!(matches!(hand(turn, 0), Handed::Yes), "nothing twice");
        let (_, later) = sessions.connect(1, session.peer, 0, now);
        assert_eq!(later.next, 2);
        assert!(matches!(hand(turn, 2), Handed::Superseded));
        let first = || out.recv(Duration::ZERO).map(|batch| batch.bytes[0]);
        assert_eq!((first(), first(), first()), (Some(0), Some(1), None));
        assert!(matches!(hand(later, 2), Handed::Yes));
        assert_eq!(first(), Some(2));
    }

    #[test]
    fn a_session_that_is_not_known_goes_on_where_it_is() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        assert_eq!(sessions.connect(1, peer(), 70, now).1.next, 70);
        assert_eq!(sessions.connect(1, peer(), 60, now).1.next, 70);
        assert_eq!(sessions.connect(1, peer(), 90, now).1.next, 90, "what is gone is gone");
    }

    #[test]
    fn batches_are_acknowledged_a_while_after_they_were_handed_over() {
        let (ring, _out) = tap(1000);
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (session, turn) = sessions.connect(1, peer(), 0, now);
        let hand = |number| session.hand(turn, number, batch(0), &ring, now);
        assert!(session.due(turn, now).is_none());
        hand(0);
        assert!(session.due(turn, now).is_none());
        hand(1);
        assert!(session.due(turn, now + LINK_ACK_AFTER / 2).is_none());
        assert_eq!(session.due(turn, now + LINK_ACK_AFTER), Some(0));
        assert_eq!(session.due(turn, now + LINK_ACK_AFTER), None, "once");
        assert_eq!(session.due(turn, now + LINK_ACK_AFTER * 2), Some(1));
        assert_eq!(session.due(turn, now + LINK_ACK_AFTER * 9), None);
        // The answer was lost with its connection: the next one says it again, and only that one.
        let (_, later) = sessions.connect(1, session.peer, 0, now);
        assert_eq!(session.due(turn, now + LINK_ACK_AFTER), None);
        assert_eq!(session.due(later, now), None);
        assert_eq!(session.due(later, now + LINK_ACK_AFTER), Some(1));
        assert_eq!(session.due(later, now + LINK_ACK_AFTER * 2), None);
    }

    #[test]
    fn everything_came_when_all_who_are_heard_said_so() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        assert!(!sessions.has_all(0, now), "who was connected to the process before?");
        assert!(sessions.has_all(500, now + LINK_FORGET), "nobody");
        let (first, turn) = sessions.connect(1, peer(), 0, now);
        let (second, other) = sessions.connect(2, peer(), 0, now);
        let late = now + LINK_GATHER;
        assert!(!sessions.has_all(500, late));
        assert!(first.mark(turn, 500, late) && !sessions.has_all(500, late));
        assert!(second.mark(other, 600, late) && sessions.has_all(500, late));
        assert!(!sessions.has_all(501, late));
        second.mark(other, 700, late + LINK_FORGET);
        assert!(sessions.has_all(700, late + LINK_FORGET), "the first is not heard any more");
        let (_, _) = sessions.connect(3, second.peer, 0, late + LINK_FORGET);
        let (third, turn) = sessions.connect(3, second.peer, 0, late + LINK_FORGET);
        third.mark(turn, 900, late + LINK_FORGET);
        assert!(sessions.has_all(900, late + LINK_FORGET), "the second began a new life");
    }

    #[test]
    fn sessions_are_bounded_and_the_oldest_is_forgotten() {
        let (sessions, now, peer) = (Sessions::default(), Instant::now(), peer());
        for id in 0..=LINK_SESSIONS_MAX {
            let at = now + Duration::from_secs(id as u64);
            sessions.connect(id as u128, peer, 5, at);
        }
        let all = sessions.lock();
        assert_eq!(all.len(), LINK_SESSIONS_MAX);
        assert!(!all.contains_key(&0) && all.contains_key(&1));
    }
}
