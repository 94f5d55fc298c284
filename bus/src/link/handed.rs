//! What the recorder's process had of each session: each batch once and in order, what is to be
//! acknowledged, and until when everything came.
//!
//! ```text
//!  batch ─▶ open ─ its Hold is dropped: it is on disk, or given up ─▶ owed ─ next tick ─▶ acknowledged
//! ```

use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use sfu_proto::{id::RecordingId, tap::Batch};

use super::Fingerprint;
use crate::{
    limits::{LINK_FORGET, LINK_GATHER, LINK_LOST_MAX, LINK_SESSIONS_MAX},
    tap::{Hold, Keeper, Lost, TapSender},
};

/// Sessions of late.
pub struct Sessions {
    started: Instant,
    all: Mutex<HashMap<u128, Arc<Session>>>,
    dropped: Arc<AtomicU64>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { started: Instant::now(), all: Mutex::default(), dropped: Arc::default() }
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
        let session = all.entry(id);
        let session =
            session.or_insert_with(|| Arc::new(Session::new(peer, now, Arc::clone(&self.dropped))));
        let session = Arc::clone(session);
        drop(all);
        let mut state = session.lock();
        state.turn += 1;
        // What the other side has no more cannot come.
        state.next = state.next.max(next);
        state.heard = now;
        // Acknowledgements may have been lost with the connection before.
        state.owed = gaps(&state.open, next, state.next);
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

    /// Batches that were dropped because the receiver of their lane hangs.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// The process ends: what is let go of from now on may not be safe, and is not acknowledged.
    pub fn end(&self) {
        self.lock().values().for_each(|session| session.lock().is_ended = true);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One life of a media process. The lock is held while a batch is handed over, which never waits.
pub(super) struct Session {
    peer: Fingerprint,
    state: Mutex<State>,
    dropped: Arc<AtomicU64>,
}

struct State {
    /// The connection that may hand over; counts.
    turn: u64,
    /// Number of the batch that is taken next; later ones are taken too.
    next: u64,
    /// What was handed over and not let go of.
    open: BTreeSet<u64>,
    /// What was let go of and is to be acknowledged. Those of one journal come in runs.
    owed: Vec<RangeInclusive<u64>>,
    /// What was dropped, of recordings whose journals do not say so yet.
    lost: HashMap<RecordingId, Lost>,
    mark_ms: u64,
    heard: Instant,
    is_over: bool,
    is_ended: bool,
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
    /// It is in the ring, or was before, or was dropped by rule.
    Yes,
    /// The ring is full.
    Full(Batch),
    /// Another connection took over.
    Superseded,
}

/// What of `from..to` is not open.
fn gaps(open: &BTreeSet<u64>, from: u64, to: u64) -> Vec<RangeInclusive<u64>> {
    let (mut gaps, mut at) = (Vec::new(), from);
    for number in open.range(from..to.max(from)).copied().chain([to]) {
        if at < number {
            gaps.push(at..=number - 1);
        }
        at = number.saturating_add(1);
    }
    gaps
}

impl State {
    /// Says in the journal what was dropped before. False: there is no room for that yet.
    fn tell_lost(&mut self, recording: RecordingId, ring: &TapSender) -> bool {
        let Some(bytes) = self.lost.get(&recording).and_then(Lost::record) else { return true };
        let is_told = ring.send(Batch { recording, bytes }).is_ok();
        if is_told {
            self.lost.remove(&recording);
        }
        is_told
    }

    fn lose(&mut self, batch: &Batch) {
        if self.lost.len() < LINK_LOST_MAX || self.lost.contains_key(&batch.recording) {
            self.lost.entry(batch.recording).or_default().add(&batch.bytes);
        }
    }
}

impl Keeper for Session {
    fn let_go(&self, number: u64) {
        let mut state = self.lock();
        if !state.is_ended && state.open.remove(&number) {
            match state.owed.last_mut() {
                Some(run) if number.checked_sub(1) == Some(*run.end()) => {
                    *run = *run.start()..=number;
                }
                _ => state.owed.push(number..=number),
            }
        }
    }
}

impl Session {
    fn new(peer: Fingerprint, now: Instant, dropped: Arc<AtomicU64>) -> Self {
        let state = State {
            turn: 0,
            next: 0,
            open: BTreeSet::new(),
            owed: Vec::new(),
            lost: HashMap::new(),
            mark_ms: 0,
            heard: now,
            is_over: false,
            is_ended: false,
        };
        Self { peer, state: Mutex::new(state), dropped }
    }

    /// Hands a batch over, once. When the receiver of its lane hangs and left no room, it is dropped and
    /// counted, and its journal will say so: it must not hold up those of other recordings behind it.
    pub(super) fn hand(
        self: &Arc<Self>,
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
        if number < state.next {
            return Handed::Yes;
        }
        if let Err(batch) = self.offer(&mut state, number, batch, ring) {
            if !ring.is_stuck(batch.recording) {
                return Handed::Full(batch);
            }
            state.lose(&batch);
            state.owed.push(number..=number);
            self.dropped.fetch_add(1, Relaxed);
        }
        state.next = number.saturating_add(1);
        Handed::Yes
    }

    /// Puts a batch into the ring, behind what is to be said of those that were dropped before it.
    fn offer(
        self: &Arc<Self>,
        state: &mut State,
        number: u64,
        batch: Batch,
        ring: &TapSender,
    ) -> Result<(), Batch> {
        if !state.tell_lost(batch.recording, ring) {
            return Err(batch);
        }
        let hold = Hold::new(Arc::clone(self) as _, number);
        ring.send_held(batch, hold).map_err(|(batch, hold)| {
            hold.cancel();
            batch
        })?;
        state.open.insert(number);
        Ok(())
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

    /// What is to be acknowledged now, once, in runs.
    pub(super) fn due(&self, turn: Turn) -> Vec<RangeInclusive<u64>> {
        let mut state = self.lock();
        if state.turn != turn.turn {
            return Vec::new();
        }
        let mut owed = std::mem::take(&mut state.owed);
        drop(state);
        owed.sort_unstable_by_key(|run| *run.start());
        owed.dedup_by(|later, run| {
            let follows = run.end().checked_add(1) == Some(*later.start());
            if follows {
                *run = *run.start()..=*later.end();
            }
            follows
        });
        owed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use sfu_proto::tap::{Body, Record, records};

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
        assert!(matches!(hand(turn, 0), Handed::Yes) && matches!(hand(turn, 1), Handed::Yes));
        assert!(matches!(hand(turn, 2), Handed::Full(_)), "and it is not counted");
        assert!(matches!(hand(turn, 0), Handed::Yes), "nothing twice");
        let (_, later) = sessions.connect(1, session.peer, 0, now);
        assert_eq!(later.next, 2);
        assert!(matches!(hand(turn, 2), Handed::Superseded));
        let first = || out.recv(Duration::ZERO).map(|batch| batch.bytes[0]);
        assert_eq!((first(), first(), first()), (Some(0), Some(1), None));
        assert!(matches!(hand(later, 5), Handed::Yes), "those between were acknowledged");
        assert_eq!(first(), Some(5));
        assert!(matches!(hand(later, 4), Handed::Yes) && first().is_none());
    }

    #[test]
    fn a_session_that_is_not_known_goes_on_where_it_is() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        assert_eq!(sessions.connect(1, peer(), 70, now).1.next, 70);
        assert_eq!(sessions.connect(1, peer(), 60, now).1.next, 70);
        assert_eq!(sessions.connect(1, peer(), 90, now).1.next, 90, "what is gone is gone");
    }

    #[test]
    fn batches_are_acknowledged_when_they_are_let_go_of() {
        let (ring, out) = tap(1000);
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (session, turn) = sessions.connect(1, peer(), 0, now);
        (0..6).for_each(|number| {
            assert!(matches!(session.hand(turn, number, batch(0), &ring, now), Handed::Yes));
        });
        let mut held: Vec<_> = std::iter::from_fn(|| out.recv_held(Duration::ZERO)).collect();
        assert!(session.due(turn).is_empty());
        let mut let_go = |at: usize| drop(held.remove(at));
        let_go(4);
        let_go(1);
        let_go(1);
        assert_eq!(session.due(turn), [1..=2, 4..=4]);
        assert!(session.due(turn).is_empty(), "once");
        let_go(2);
        // The answers were lost with their connection: the next one says them again, and only that one.
        let (_, later) = sessions.connect(1, session.peer, 0, now);
        assert!(session.due(turn).is_empty());
        assert_eq!(session.due(later), [1..=2, 4..=5]);
        let_go(0);
        let (_, last) = sessions.connect(1, session.peer, 1, now);
        assert_eq!(session.due(last), [1..=2, 4..=5], "0 is acknowledged already");
        sessions.end();
        let_go(0);
        assert!(session.due(last).is_empty(), "who knows whether it is safe");
    }

    #[test]
    fn a_lane_that_hangs_costs_its_own_batches_and_its_journal_is_told() {
        let (ring, out) = tap(80);
        let lanes = out.lanes(2);
        let of = |recording: u128, time_us| {
            let mut bytes = Vec::new();
            Record { time_us, body: Body::Lost { records: 1 } }.write(&mut bytes);
            Batch { recording: RecordingId::from_bits(recording), bytes }
        };
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (session, turn) = sessions.connect(1, peer(), 0, now);
        let hand =
            |number, recording| session.hand(turn, number, of(recording, number), &ring, now);
        assert!(matches!(hand(0, 2), Handed::Yes) && matches!(hand(1, 2), Handed::Yes));
        assert!(matches!(hand(2, 2), Handed::Full(_)), "it may be slow only");
        ring.age(RecordingId::from_bits(2));
        assert!(ring.send(of(3, 0)).is_ok() && lanes[1].recv(Duration::ZERO).is_some());
        assert!(matches!(hand(2, 2), Handed::Yes) && matches!(hand(3, 2), Handed::Yes));
        assert!(matches!(hand(4, 3), Handed::Yes), "the other lane goes on");
        assert_eq!((sessions.dropped(), session.due(turn)), (2, vec![2..=3]));
        let taken = |lane: usize| lanes[lane].recv(Duration::ZERO).map(|batch| batch.bytes);
        assert_eq!((taken(0), taken(0)), (Some(of(2, 0).bytes), Some(of(2, 1).bytes)));
        assert!(matches!(hand(5, 2), Handed::Yes));
        let lost = taken(0).unwrap();
        let lost = records(&lost).next().unwrap().unwrap();
        assert_eq!(lost, Record { time_us: 2, body: Body::Lost { records: 2 } });
        assert_eq!(
            (taken(0), taken(0), taken(1)),
            (Some(of(2, 5).bytes), None, Some(of(3, 4).bytes))
        );
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
