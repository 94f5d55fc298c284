//! An endpoint in the hands of its owner: what is to be sent, and what is to be written.

use std::sync::Arc;

use sdk_spec::rest::webhooks::{DeliveryResult, DeliveryState};

use super::Order;
use crate::{
    limits,
    store::{Owned, Settled, Step, WebhookRow},
    webhook::{
        Attempted, Stop, Target,
        queue::{Entry, Queue},
        schedule::{Fate, Tries, fate},
    },
};

/// Pause after an attempt that could not be made.
const NOT_MADE_MS: u64 = 1000;
/// Deliveries that can begin at once, from which on no more events are taken up.
const READY_MAX: usize = 2 * limits::WEBHOOK_ENDPOINT_FLIGHTS_MAX;

/// See above.
pub(super) struct Endpoint {
    /// As loaded, with its health and place in the log as they are now.
    pub(super) row: WebhookRow,
    target: Arc<Target>,
    queue: Queue,
    /// There may be more pending deliveries than were loaded.
    is_partial: bool,
    /// Last number of the project's event log.
    pub(super) end: u64,
    /// End of the lease.
    pub(super) until_ms: u64,
    /// Place in the log as written.
    saved_after: u64,
    /// What became of deliveries and is not written yet.
    settled: Vec<Settled>,
    stop: Option<Stop>,
    hurries: bool,
}

impl Endpoint {
    pub(super) fn new(row: WebhookRow, pending: Vec<Entry>, owned: &Owned) -> Self {
        let mut endpoint = Self {
            target: Arc::new(row.target.clone()),
            saved_after: row.after,
            row,
            queue: Queue::default(),
            is_partial: false,
            end: owned.end,
            until_ms: owned.until_ms,
            settled: Vec::new(),
            stop: None,
            hurries: false,
        };
        endpoint.fill(pending);
        endpoint
    }

    /// Takes over what others changed. Everything of ours must be written.
    pub(super) fn reload(&mut self, row: WebhookRow, pending: Vec<Entry>) {
        self.target = Arc::new(row.target.clone());
        self.saved_after = row.after;
        self.row = row;
        self.fill(pending);
    }

    fn fill(&mut self, pending: Vec<Entry>) {
        self.is_partial = pending.len() >= limits::WEBHOOK_PENDING_MAX;
        self.queue.reload(pending);
    }

    /// Whether it must be loaded again.
    pub(super) fn is_stale(&self, version: u64) -> bool {
        let is_low = self.queue.len() < limits::WEBHOOK_PENDING_MAX / 2;
        self.row.version != version || (self.is_partial && is_low)
    }

    /// Whether it can be left to itself until after a lease: the next probe is far off.
    pub(super) fn can_wait(&self, now_ms: u64) -> bool {
        let until = self.row.health.open_until_ms;
        let is_far = until.is_some_and(|until| until > now_ms + limits::WEBHOOK_LEASE_MS);
        let is_written = self.settled.is_empty() && self.row.after == self.saved_after;
        is_far && is_written && self.stop.is_none() && self.queue.in_flight() == 0
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        self.row.health.is_open()
    }

    /// How long the oldest pending delivery has waited.
    pub(super) fn lag_ms(&self, now_ms: u64) -> u64 {
        self.queue.oldest_ms().map_or(0, |oldest| now_ms.saturating_sub(oldest))
    }

    /// Takes in an attempt that ended. Returns what became of the delivery, if it is still known.
    pub(super) fn land(
        &mut self,
        (seq, ticket): (u64, u64),
        attempted: Option<Attempted>,
        now_ms: u64,
        jitter: f64,
    ) -> Option<DeliveryState> {
        let (mut entry, flight) = self.queue.arrive(seq, ticket)?;
        let Some(attempted) = attempted else {
            entry.next_ms = now_ms + NOT_MADE_MS;
            self.queue.insert(entry);
            return Some(DeliveryState::Pending);
        };
        let was_open = self.row.health.is_open();
        let stop = self.row.health.handle(attempted, flight.is_probe, now_ms, jitter);
        self.stop = self.stop.or(stop);
        let fate = judge(&mut entry, attempted.result, flight.is_probe, now_ms, jitter);
        entry.last_ms = Some(now_ms);
        let state = match fate {
            Fate::Delivered => DeliveryState::Delivered,
            Fate::Dead => DeliveryState::Dead,
            Fate::Again(at) => {
                entry.next_ms = at;
                DeliveryState::Pending
            }
        };
        self.settled.push(Settled {
            seq,
            state,
            attempts: entry.attempts,
            next_ms: entry.next_ms,
            last_ms: now_ms,
            result: attempted.result,
        });
        match state {
            DeliveryState::Pending => self.queue.insert(entry),
            _ => self.queue.remove(seq),
        }
        if was_open && !self.row.health.is_open() {
            self.hurries = true;
            self.queue.hurry(now_ms);
        }
        Some(state)
    }

    /// Whether more events are to be taken up: those that are would soon be sent. While the breaker
    /// is open, events of two rooms are enough for probes; with one, an event that is always refused
    /// would be every probe.
    pub(super) fn has_room(&self, now_ms: u64) -> bool {
        let has_more = self.row.after < self.end && self.stop.is_none();
        let fits = !self.is_partial && self.queue.len() < limits::WEBHOOK_PENDING_MAX;
        let is_wanted = match self.is_open() {
            true => self.queue.lanes() < 2,
            false => self.queue.ready(now_ms) < READY_MAX,
        };
        has_more && fits && is_wanted
    }

    /// What is to be written now, if anything.
    pub(super) fn step(&self, taken_up: Vec<Entry>, now_ms: u64) -> Option<Step> {
        let has_news = !self.settled.is_empty() || !taken_up.is_empty() || self.stop.is_some();
        let is_busy = self.queue.len() > 0 || self.row.after != self.saved_after;
        let ends = self.until_ms.saturating_sub(now_ms) < limits::WEBHOOK_LEASE_RENEW_MS;
        let is_renewed = is_busy && ends;
        if !has_news && !is_renewed {
            return None;
        }
        let left = self.queue.len() > 0 || !taken_up.is_empty();
        let soon = || self.queue.next_ms(&self.row.health).unwrap_or(now_ms);
        Some(Step {
            id: self.row.id.clone(),
            project: self.row.project.clone(),
            version: self.row.version,
            health: self.row.health,
            stop: self.stop,
            hurries: self.hurries,
            next_ms: left.then(soon),
            settled: self.settled.clone(),
            after: taken_up.last().map_or(self.row.after, |last| last.seq),
            taken_up,
        })
    }

    /// Of a step only what became of deliveries is in the store: others changed the endpoint, which
    /// is loaded again.
    pub(super) fn written_in_part(&mut self, until_ms: u64) {
        self.settled.clear();
        self.until_ms = until_ms;
    }

    /// A step is in the store.
    pub(super) fn written(&mut self, step: Step, until_ms: u64) {
        self.settled.clear();
        self.hurries = false;
        self.until_ms = until_ms;
        self.row.after = step.after;
        self.saved_after = step.after;
        for entry in step.taken_up {
            self.queue.insert(entry);
        }
    }

    /// Begins up to `room` attempts in all, as long as the lease covers them.
    pub(super) fn begin(
        &mut self,
        ticket: &mut u64,
        room: usize,
        now_ms: u64,
    ) -> Vec<(Entry, u64)> {
        let is_covered = self.until_ms.saturating_sub(now_ms) > limits::WEBHOOK_LEASE_LEFT_MS;
        if !is_covered || self.stop.is_some() {
            return Vec::new();
        }
        let room = room.saturating_sub(self.queue.in_flight());
        self.queue.begin(&self.row.health, ticket, room, now_ms)
    }

    pub(super) fn order(&self, seq: u64, now_ms: u64) -> Order {
        let (project, target) = (self.row.project.clone(), Arc::clone(&self.target));
        Order { project, seq, target, now_ms }
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.queue.next_ms(&self.row.health)
    }
}

/// A probe that fails does not count: the delivery keeps its place in its schedule.
fn judge(
    entry: &mut Entry,
    result: DeliveryResult,
    is_probe: bool,
    now_ms: u64,
    jitter: f64,
) -> Fate {
    let counts = matches!(result, DeliveryResult::Delivered | DeliveryResult::Expired);
    if is_probe && !counts {
        return Fate::Again(now_ms);
    }
    entry.attempts = entry.attempts.saturating_add(1);
    let tries = Tries { attempts: entry.attempts, created_ms: entry.created_ms };
    fate(tries, result, now_ms, jitter)
}
