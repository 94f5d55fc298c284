//! The deliveries of one endpoint in their order: one at a time in each lane (a room), the oldest
//! first; lanes do not wait for each other. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::schedule::Health;

/// A pending delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The event's number, which orders its lane.
    pub(crate) seq: u64,
    /// Event id.
    pub(crate) event: String,
    /// The room, or empty.
    pub(crate) lane: Arc<str>,
    /// Attempts that counted.
    pub(crate) attempts: u32,
    pub(crate) created_ms: u64,
    pub(crate) next_ms: u64,
    pub(crate) last_ms: Option<u64>,
}

/// An attempt under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    /// Told apart from earlier ones of the same delivery.
    pub(super) ticket: u64,
    /// Begun while the breaker was open.
    pub(super) is_probe: bool,
}

#[derive(Default)]
struct Lane {
    seqs: BTreeSet<u64>,
    busy: bool,
}

/// All pending deliveries of an endpoint.
#[derive(Default)]
pub(super) struct Queue {
    entries: BTreeMap<u64, Entry>,
    lanes: HashMap<Arc<str>, Lane>,
    /// First of each lane without a flight, by its time.
    heads: BTreeSet<(u64, u64)>,
    flights: HashMap<u64, Flight>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Rooms that something waits for or is under way to.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Deliveries that could begin now if there were no breaker.
    pub(super) fn ready(&self, now_ms: u64) -> usize {
        self.heads.range(..=(now_ms, u64::MAX)).count()
    }

    /// When the oldest event was taken up.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(_, entry)| entry.created_ms)
    }

    /// Adds a delivery, or takes over what became of it elsewhere.
    pub(super) fn insert(&mut self, entry: Entry) {
        let lane = Arc::clone(&entry.lane);
        self.unlist(&lane);
        self.lanes.entry(Arc::clone(&lane)).or_default().seqs.insert(entry.seq);
        self.entries.insert(entry.seq, entry);
        self.list(&lane);
    }

    /// Replaces everything by what the store holds. What is under way stays so.
    pub(super) fn reload(&mut self, entries: Vec<Entry>) {
        let flights = std::mem::take(&mut self.flights);
        *self = Self::default();
        for entry in entries {
            if let Some(flight) = flights.get(&entry.seq) {
                self.flights.insert(entry.seq, *flight);
                self.lanes.entry(Arc::clone(&entry.lane)).or_default().busy = true;
            }
            self.insert(entry);
        }
    }

    /// Begins up to `room` attempts, numbered from `ticket` on.
    pub(super) fn begin(
        &mut self,
        health: &Health,
        ticket: &mut u64,
        room: usize,
        now_ms: u64,
    ) -> Vec<(Entry, u64)> {
        let is_probe = health.is_open();
        let seqs: Vec<u64> = if is_probe {
            self.probe(health, now_ms).into_iter().take(room).collect()
        } else {
            let due = self.heads.range(..=(now_ms, u64::MAX));
            due.map(|(_, seq)| *seq).take(room).collect()
        };
        let begun = seqs.into_iter().filter_map(|seq| {
            *ticket += 1;
            self.depart(seq, Flight { ticket: *ticket, is_probe }).map(|entry| (entry, *ticket))
        });
        begun.collect()
    }

    /// What to try while the breaker is open: that whose last attempt is longest ago, so that one
    /// event which is always refused cannot keep it open.
    fn probe(&self, health: &Health, now_ms: u64) -> Option<u64> {
        let is_time = health.open_until_ms.is_some_and(|until| until <= now_ms);
        let is_probing = self.flights.values().any(|flight| flight.is_probe);
        if !is_time || is_probing {
            return None;
        }
        let last = |seq: &u64| self.entries.get(seq).and_then(|entry| entry.last_ms);
        self.heads.iter().map(|(_, seq)| *seq).min_by_key(|seq| (last(seq), *seq))
    }

    fn depart(&mut self, seq: u64, flight: Flight) -> Option<Entry> {
        let entry = self.entries.get(&seq)?.clone();
        self.unlist(&entry.lane);
        self.lanes.entry(Arc::clone(&entry.lane)).or_default().busy = true;
        self.flights.insert(seq, flight);
        Some(entry)
    }

    /// Takes back an attempt that ended: the delivery and its flight, unless it is no longer known.
    pub(super) fn arrive(&mut self, seq: u64, ticket: u64) -> Option<(Entry, Flight)> {
        let flight = *self.flights.get(&seq).filter(|flight| flight.ticket == ticket)?;
        self.flights.remove(&seq);
        let entry = self.entries.get(&seq)?.clone();
        self.unlist(&entry.lane);
        self.lanes.entry(Arc::clone(&entry.lane)).or_default().busy = false;
        self.list(&entry.lane);
        Some((entry, flight))
    }

    /// Forgets a delivery that is done or dead.
    pub(super) fn remove(&mut self, seq: u64) {
        let Some(entry) = self.entries.remove(&seq) else { return };
        self.heads.remove(&(entry.next_ms, seq));
        let Some(lane) = self.lanes.get_mut(&entry.lane) else { return };
        lane.seqs.remove(&seq);
        if lane.seqs.is_empty() && !lane.busy {
            self.lanes.remove(&entry.lane);
        }
        self.list(&entry.lane);
    }

    /// The endpoint works again: nothing waits any longer for its time.
    pub(super) fn hurry(&mut self, now_ms: u64) {
        for entry in self.entries.values_mut() {
            entry.next_ms = entry.next_ms.min(now_ms);
        }
        let heads = std::mem::take(&mut self.heads);
        self.heads = heads.into_iter().map(|(next, seq)| (next.min(now_ms), seq)).collect();
    }

    /// When something can begin, as far as that depends on time only.
    pub(super) fn next_ms(&self, health: &Health) -> Option<u64> {
        let (head, _) = *self.heads.first()?;
        match health.open_until_ms {
            // A probe under way is waited for.
            Some(_) if self.flights.values().any(|flight| flight.is_probe) => None,
            Some(until) => Some(until),
            None => Some(head),
        }
    }

    fn head(&self, lane: &Arc<str>) -> Option<(u64, u64)> {
        let lane = self.lanes.get(lane).filter(|lane| !lane.busy)?;
        let seq = *lane.seqs.first()?;
        Some((self.entries.get(&seq)?.next_ms, seq))
    }

    fn list(&mut self, lane: &Arc<str>) {
        self.heads.extend(self.head(lane));
    }

    fn unlist(&mut self, lane: &Arc<str>) {
        if let Some(head) = self.head(lane) {
            self.heads.remove(&head);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn entry(seq: u64, lane: &str, next_ms: u64) -> Entry {
        Entry {
            seq,
            event: format!("ev_{seq}"),
            lane: lane.into(),
            attempts: 0,
            created_ms: 0,
            next_ms,
            last_ms: None,
        }
    }

    fn queue(entries: &[(u64, &str)]) -> Queue {
        let mut queue = Queue::default();
        for (seq, lane) in entries {
            queue.insert(entry(*seq, lane, 0));
        }
        queue
    }

    fn begin(queue: &mut Queue, health: &Health, room: usize, now_ms: u64) -> Vec<(u64, u64)> {
        let mut ticket = 100 * now_ms;
        let begun = queue.begin(health, &mut ticket, room, now_ms);
        begun.into_iter().map(|(entry, ticket)| (entry.seq, ticket)).collect()
    }

    fn seqs(begun: &[(u64, u64)]) -> Vec<u64> {
        begun.iter().map(|(seq, _)| *seq).collect()
    }

    #[test]
    fn rooms_do_not_wait_for_each_other_and_each_keeps_its_order() {
        let mut queue = queue(&[(1, "a"), (2, "a"), (3, "b"), (4, "")]);
        let closed = Health::default();
        let begun = begin(&mut queue, &closed, 9, 0);
        assert_eq!(seqs(&begun), [1, 3, 4]);
        assert_eq!(seqs(&begin(&mut queue, &closed, 9, 0)), [] as [u64; 0]);
        // 1 fails: 2 waits behind it. 3 is done.
        let (mut failed, _) = queue.arrive(1, begun[0].1).unwrap();
        failed.next_ms = 50;
        queue.insert(failed);
        queue.arrive(3, begun[1].1).unwrap();
        queue.remove(3);
        assert_eq!(seqs(&begin(&mut queue, &closed, 9, 49)), [] as [u64; 0]);
        assert_eq!(queue.next_ms(&closed), Some(50));
        assert_eq!(seqs(&begin(&mut queue, &closed, 9, 50)), [1]);
    }

    #[test]
    fn an_older_event_that_is_replayed_waits_for_the_one_under_way() {
        let mut queue = queue(&[(5, "a"), (6, "a")]);
        let closed = Health::default();
        let begun = begin(&mut queue, &closed, 9, 0);
        queue.insert(entry(2, "a", 0));
        assert_eq!(queue.ready(0), 0);
        queue.arrive(5, begun[0].1).unwrap();
        queue.remove(5);
        assert_eq!(seqs(&begin(&mut queue, &closed, 9, 1)), [2]);
    }

    #[test]
    fn an_open_breaker_lets_one_probe_out_and_takes_turns() {
        let mut queue = queue(&[(1, "a"), (2, "b")]);
        let open = Health { open_until_ms: Some(10), ..Health::default() };
        assert!(begin(&mut queue, &open, 9, 9).is_empty());
        let first = begin(&mut queue, &open, 9, 10);
        assert_eq!(seqs(&first), [1]);
        assert!(begin(&mut queue, &open, 9, 11).is_empty() && queue.next_ms(&open).is_none());
        let (mut failed, flight) = queue.arrive(1, first[0].1).unwrap();
        assert!(flight.is_probe);
        failed.last_ms = Some(10);
        queue.insert(failed);
        assert_eq!(seqs(&begin(&mut queue, &open, 9, 12)), [2]);
    }

    #[test]
    fn a_late_answer_of_an_earlier_attempt_is_ignored() {
        let mut queue = queue(&[(1, "a")]);
        let begun = begin(&mut queue, &Health::default(), 9, 0);
        assert!(queue.arrive(1, begun[0].1 + 1).is_none());
        queue.reload(vec![entry(1, "a", 0), entry(2, "a", 0)]);
        assert_eq!((queue.in_flight(), queue.ready(0)), (1, 0));
        assert!(queue.arrive(1, begun[0].1).is_some());
        assert_eq!(queue.ready(0), 1);
    }

    #[test]
    fn an_endpoint_that_works_again_is_sent_everything_at_once() {
        let mut queue = Queue::default();
        queue.insert(entry(1, "a", 1_000_000));
        queue.insert(entry(2, "b", 3));
        queue.hurry(5);
        assert_eq!(seqs(&begin(&mut queue, &Health::default(), 9, 5)), [2, 1]);
    }

    proptest! {
        /// Whatever happens, a lane has one attempt at a time, always its oldest; all are sent.
        #[test]
        fn order_holds_under_random_answers(
            lanes in prop::collection::vec(0..4u8, 1..40),
            answers in prop::collection::vec((0..8usize, any::<bool>()), 400),
        ) {
            let mut queue = Queue::default();
            let mut left: BTreeMap<u64, String> = BTreeMap::new();
            for (i, lane) in lanes.iter().enumerate() {
                let (seq, lane) = (i as u64 + 1, lane.to_string());
                queue.insert(entry(seq, &lane, 0));
                left.insert(seq, lane);
            }
            let mut flying: Vec<(u64, u64)> = Vec::new();
            let mut ticket = 0;
            for (now, (pick, works)) in answers.into_iter().enumerate() {
                let now = now as u64;
                let begun = queue.begin(&Health::default(), &mut ticket, 3, now);
                for (entry, ticket) in begun {
                    let oldest = left.iter().find(|(_, lane)| **lane == *entry.lane);
                    prop_assert_eq!(oldest.map(|(seq, _)| *seq), Some(entry.seq));
                    prop_assert!(!flying.iter().any(|(seq, _)| left[seq] == *entry.lane));
                    flying.push((entry.seq, ticket));
                }
                if flying.is_empty() {
                    continue;
                }
                let (seq, ticket) = flying.remove(pick % flying.len());
                let (mut entry, _) = queue.arrive(seq, ticket).unwrap();
                if works {
                    queue.remove(seq);
                    left.remove(&seq);
                } else {
                    entry.next_ms = now + 2;
                    queue.insert(entry);
                }
            }
            prop_assert_eq!(queue.len(), left.len());
        }
    }
}
