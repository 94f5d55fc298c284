//! Sends what is in the outbox to the endpoints that belong to this process.
//!
//! ```text
//! turn: land ─▶ survey ─▶ take up ─▶ write ─▶ reconcile ─▶ begin
//!       results  leases,   next       one      new and      attempts,
//!       judged   versions  events     transac. changed ones  a task each
//! ```
//!
//! Nothing begins before everything that is known is written; what was not written when the process
//! died is sent again, with the same id.

mod endpoint;
mod meters;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use sdk_spec::rest::webhooks::DeliveryResult;
use tokio::{
    sync::{Notify, watch},
    task::{Id, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use self::endpoint::Endpoint;
pub(super) use self::meters::Meters;
use super::{Attempt, Attempted, Carrier, queue::Entry};
use crate::{
    clock, limits, secret,
    store::{Owned, Standing, Store, StoreError, Written},
};

/// What the event log is looked at most often: many events are one turn's work.
const TURN_GAP: Duration = Duration::from_millis(10);
/// From here on each endpoint has one attempt at a time.
const FLIGHTS_HALF: usize = limits::WEBHOOK_FLIGHTS_MAX / 2;
/// Pause after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long attempts under way may take when the process stops; the rest is sent again later.
const LAST_FLIGHTS: Duration = Duration::from_secs(2);

/// An attempt, told apart from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Passage {
    webhook: String,
    seq: u64,
    ticket: u64,
}

impl Passage {
    fn key(&self) -> (u64, u64) {
        (self.seq, self.ticket)
    }
}

/// Sends the events of one store.
pub(crate) struct Dispatcher<C> {
    /// As the store knows this process.
    me: String,
    store: Store,
    carrier: Arc<C>,
    meters: Arc<Meters>,
    endpoints: BTreeMap<String, Endpoint>,
    flights: JoinSet<Option<Attempted>>,
    passages: HashMap<Id, Passage>,
    /// Attempts that ended; without a result when none was made.
    landed: Vec<(Passage, Option<Attempted>)>,
    ticket: u64,
    /// Which endpoint is first in the next turn.
    first: usize,
    /// Endpoints that were complained of.
    unreadable: HashSet<String>,
    /// [`limits::WEBHOOK_OWNED_MAX`], but for tests.
    owned_max: usize,
}

impl<C: Carrier> Dispatcher<C> {
    pub(super) fn new(store: Store, carrier: Arc<C>, meters: Arc<Meters>) -> Self {
        Self {
            me: secret::opaque_id("nd_"),
            store,
            carrier,
            meters,
            endpoints: BTreeMap::new(),
            flights: JoinSet::new(),
            passages: HashMap::new(),
            landed: Vec::new(),
            ticket: 0,
            first: 0,
            unreadable: HashSet::new(),
            owned_max: limits::WEBHOOK_OWNED_MAX,
        }
    }

    /// Does what is to be done now. Returns when there is more to do, if time decides that.
    pub(super) async fn turn(&mut self, now_ms: u64) -> Result<Option<u64>, StoreError> {
        for (passage, attempted) in std::mem::take(&mut self.landed) {
            let Some(endpoint) = self.endpoints.get_mut(&passage.webhook) else { continue };
            let jitter = f64::from(u32::from_ne_bytes(secret::random())) / f64::from(u32::MAX);
            let state = endpoint.land(passage.key(), attempted, now_ms, jitter);
            self.meters.landed(attempted, state);
        }
        let owned = self.survey(now_ms).await?;
        let taken_up = self.look_ahead(now_ms).await?;
        self.write(taken_up, now_ms).await?;
        let has_new = self.reconcile(owned).await?;
        self.begin(now_ms);
        self.meters.show(&self.endpoints, self.flights.len(), now_ms);
        if has_new {
            return Ok(Some(now_ms));
        }
        let times = self.endpoints.values().filter_map(|endpoint| endpoint.next_ms());
        Ok(times.filter(|time| *time > now_ms).min())
    }

    /// Claims free endpoints with work, and looks at all that are ours.
    async fn survey(&mut self, now_ms: u64) -> Result<Vec<Owned>, StoreError> {
        let mut room = self.owned_max.saturating_sub(self.endpoints.len());
        if room == 0 && self.store.has_waiting_webhooks(now_ms).await? {
            room = self.stand_back(now_ms).await?;
        }
        if room > 0 {
            let until_ms = now_ms + limits::WEBHOOK_LEASE_MS;
            self.store.claim_webhooks(&self.me, until_ms, room, now_ms).await?;
        }
        let owned = self.store.owned_webhooks(&self.me, now_ms).await?;
        for one in &owned {
            if let Some(endpoint) = self.endpoints.get_mut(&one.id) {
                (endpoint.end, endpoint.until_ms) = (one.end, one.until_ms);
            }
        }
        Ok(owned)
    }

    /// Gives up endpoints that nothing can be sent to for a while, for the sake of those that nobody
    /// owns. Returns how many.
    async fn stand_back(&mut self, now_ms: u64) -> Result<usize, StoreError> {
        let waiting = self.endpoints.iter().filter(|(_, endpoint)| endpoint.can_wait(now_ms));
        let ids: Vec<_> = waiting.map(|(id, _)| id.clone()).collect();
        if !ids.is_empty() {
            self.store.release_some_webhooks(&self.me, &ids).await?;
            self.endpoints.retain(|id, _| !ids.contains(id));
        }
        Ok(ids.len())
    }

    /// The next events of endpoints that have room for them.
    async fn look_ahead(&mut self, now_ms: u64) -> Result<HashMap<String, Vec<Entry>>, StoreError> {
        let mut found = HashMap::new();
        for (id, endpoint) in &mut self.endpoints {
            if !endpoint.has_room(now_ms) {
                continue;
            }
            let range = (endpoint.row.after, endpoint.end);
            let batch = limits::WEBHOOK_BATCH;
            let entries = self.store.next_for_webhook(&endpoint.row, range, batch, now_ms).await?;
            if entries.is_empty() {
                // Nothing of it passes the filter: remembered with the next write.
                endpoint.row.after = endpoint.end;
            } else {
                found.insert(id.clone(), entries);
            }
        }
        Ok(found)
    }

    /// Writes everything that is known, in one transaction.
    async fn write(
        &mut self,
        mut taken_up: HashMap<String, Vec<Entry>>,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let steps = self.endpoints.iter().filter_map(|(id, endpoint)| {
            endpoint.step(taken_up.remove(id).unwrap_or_default(), now_ms)
        });
        let steps: Vec<_> = steps.collect();
        if steps.is_empty() {
            return Ok(());
        }
        let until_ms = now_ms + limits::WEBHOOK_LEASE_MS;
        let written = self.store.step_webhooks(&self.me, &steps, until_ms, now_ms).await?;
        for (step, written) in steps.into_iter().zip(written) {
            let Some(endpoint) = self.endpoints.get_mut(&step.id) else { continue };
            match written {
                Written::Whole => endpoint.written(step, until_ms),
                // What was not taken up there must not be sent from here.
                Written::Settled => endpoint.written_in_part(until_ms),
                Written::Nothing => {
                    self.endpoints.remove(&step.id);
                }
            }
        }
        Ok(())
    }

    /// Drops what is no longer ours, loads what is new or was changed by others. Whether there is any.
    async fn reconcile(&mut self, owned: Vec<Owned>) -> Result<bool, StoreError> {
        let ids: HashSet<&str> = owned.iter().map(|one| one.id.as_str()).collect();
        self.endpoints.retain(|id, endpoint| ids.contains(id.as_str()) && !endpoint.is_stopped());
        let mut has_new = false;
        for one in owned {
            let known = self.endpoints.get(&one.id);
            if known.is_some_and(|endpoint| !endpoint.is_stale(one.version)) {
                continue;
            }
            let row = match self.store.webhook_to_serve(&one.id).await {
                // Its row cannot be read: the others go on.
                Err(error @ (StoreError::Corrupt(_) | StoreError::Sealed)) => {
                    if self.unreadable.insert(one.id.clone()) {
                        tracing::error!(%error, webhook = one.id, "webhooks: not served");
                    }
                    continue;
                }
                row => row?,
            };
            // It may have been stopped just now.
            let Some(row) = row.filter(|row| row.standing == Standing::Enabled) else { continue };
            let gone = self.store.gone_after(&row.project, row.after).await?;
            if gone > 0 {
                tracing::warn!(gone, webhook = row.id, "webhooks: events were kept too short");
                self.meters.skip(gone);
            }
            let limit = limits::WEBHOOK_PENDING_MAX;
            let pending = self.store.pending_deliveries(&one.id, limit).await?;
            match self.endpoints.get_mut(&one.id) {
                Some(endpoint) => endpoint.reload(row, pending),
                None => {
                    self.endpoints.insert(one.id.clone(), Endpoint::new(row, pending, &one));
                }
            }
            has_new = true;
        }
        Ok(has_new)
    }

    /// Begins attempts, each endpoint in its turn.
    fn begin(&mut self, now_ms: u64) {
        let count = self.endpoints.len();
        self.first = if count == 0 { 0 } else { (self.first + 1) % count };
        let order: Vec<_> = self.endpoints.keys().cloned().collect();
        for id in order.iter().cycle().skip(self.first).take(count) {
            let busy = self.flights.len();
            let Some(endpoint) = self.endpoints.get_mut(id) else { continue };
            let cap = match busy {
                ..FLIGHTS_HALF => limits::WEBHOOK_ENDPOINT_FLIGHTS_MAX,
                _ => 1,
            };
            let room = cap.min(limits::WEBHOOK_FLIGHTS_MAX.saturating_sub(busy));
            for (entry, ticket) in endpoint.begin(&mut self.ticket, room, now_ms) {
                let passage = Passage { webhook: id.clone(), seq: entry.seq, ticket };
                let flight = fly(
                    self.store.clone(),
                    Arc::clone(&self.carrier),
                    endpoint.order(entry.seq, now_ms),
                );
                let task = self.flights.spawn(flight);
                self.passages.insert(task.id(), passage);
            }
        }
    }

    /// Waits for an attempt to end; for ever when there is none under way.
    pub(super) async fn landing(&mut self) {
        let Some(first) = self.flights.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let mut next = Some(first);
        while let Some(ended) = next {
            let (id, attempted) = match ended {
                Ok((id, attempted)) => (id, attempted),
                // A panic is a defect of ours: the delivery is tried again.
                Err(error) => (error.id(), None),
            };
            if let Some(passage) = self.passages.remove(&id) {
                self.landed.push((passage, attempted));
            }
            next = self.flights.try_join_next_with_id();
        }
    }

    /// Lets attempts under way end, writes what became of them, and gives everything up.
    async fn finish(mut self) {
        let flights = async {
            while !self.flights.is_empty() {
                self.landing().await;
            }
        };
        let _ = tokio::time::timeout(LAST_FLIGHTS, flights).await;
        let now_ms = clock::now_ms();
        for (passage, attempted) in std::mem::take(&mut self.landed) {
            if let Some(endpoint) = self.endpoints.get_mut(&passage.webhook) {
                endpoint.land(passage.key(), attempted, now_ms, 0.5);
            }
        }
        let written = self.write(HashMap::new(), now_ms).await;
        if let Err(error) = written.and(self.store.release_webhooks(&self.me).await) {
            tracing::warn!(%error, "webhooks: the last deliveries are sent again");
        }
    }
}

/// What a task needs for one attempt.
struct Order {
    project: String,
    seq: u64,
    target: Arc<super::Target>,
    now_ms: u64,
}

/// One attempt. `None`: it could not be made, which is not the endpoint's fault.
async fn fly<C: Carrier>(store: Store, carrier: Arc<C>, order: Order) -> Option<Attempted> {
    let Order { project, seq, target, now_ms } = order;
    match store.webhook_payload(&project, seq).await {
        Ok(Some(payload)) => {
            let (event, body) = (payload.event, payload.body);
            carrier.carry(Attempt { project, target, event, body, now_ms }).await
        }
        Ok(None) => Some(Attempted::of(DeliveryResult::Expired)),
        Err(error) => {
            tracing::error!(%error, "webhooks: an event cannot be read");
            None
        }
    }
}

/// Sends until `stopping` becomes true.
pub(crate) async fn run<C: Carrier>(
    mut dispatcher: Dispatcher<C>,
    changed: Arc<Notify>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut news = dispatcher.store.news();
    while let Err(error) = dispatcher.store.forget_webhook_owners().await {
        tracing::error!(%error, "webhooks: the store");
        sleep(STORE_PAUSE).await;
    }
    while !*stopping.borrow() {
        let began = Instant::now();
        let now_ms = clock::now_ms();
        let wait = match dispatcher.turn(now_ms).await {
            Ok(Some(next)) => Duration::from_millis(next.saturating_sub(now_ms)),
            Ok(None) => limits::WEBHOOK_LOOK,
            Err(error) => {
                tracing::error!(%error, "webhooks: the store; trying again");
                tokio::select! {
                    () = sleep(STORE_PAUSE) => continue,
                    _ = stopping.changed() => break,
                }
            }
        };
        tokio::select! {
            () = sleep(wait.min(limits::WEBHOOK_LOOK)) => {}
            () = dispatcher.landing() => {}
            () = changed.notified() => {}
            told = news.changed() => if told.is_err() { break },
            _ = stopping.changed() => break,
        }
        sleep_until(began + TURN_GAP).await;
    }
    dispatcher.finish().await;
}
