//! Webhooks: events sent to partners' servers. The only place that calls partners' URLs.
//!
//! ```text
//!  outbox (events) ─▶ dispatcher ─▶ queue (order in each room) ─▶ carrier ─▶ egress ─▶ internet
//!                        ▲  │           schedule (when again)       sign
//!                        └──┴── store: endpoints, deliveries, leases
//! ```
//!
//! An endpoint belongs to one process at a time, by a lease in the store. Its owner takes events up
//! from the outbox in batches, as there is room to send them; everything it decides from is pure:
//! [`schedule`] and [`queue`].

mod carrier;
mod dispatcher;
mod queue;
mod schedule;
mod sign;

use std::{sync::Arc, time::Duration};

pub(crate) use egress::Shares;
use egress::{Dialer, Guard, UrlRefusal};
use prometheus::Registry;
use sdk_spec::rest::webhooks::{DeliveryResult, Scheme};
use tokio::sync::Notify;

pub(crate) use self::{
    carrier::CarrierError,
    dispatcher::{Dispatcher, run},
    queue::Entry,
    schedule::{Attempted, Health, Stop},
    sign::Secrets,
};
use self::{carrier::Http, dispatcher::Meters};
use crate::{config::Webhooks as Config, limits};

/// What an endpoint's deliveries are made with. No `Debug`: secrets, and the path may be one.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) schemes: Vec<Scheme>,
    pub(crate) secrets: Secrets,
    /// Those before the last rotation, and until when they sign too.
    pub(crate) previous: Option<(Secrets, u64)>,
}

/// One event to be sent once. No `Debug`: it holds a handle.
pub(crate) struct Attempt {
    pub(crate) project: String,
    pub(crate) target: Arc<Target>,
    /// Event id, the `webhook-id`.
    pub(crate) event: String,
    pub(crate) body: Vec<u8>,
    pub(crate) now_ms: u64,
}

/// Sends one event once.
pub(crate) trait Carrier: Send + Sync + 'static {
    /// What became of it. `None`: it was not made, for want of something of ours.
    fn carry(&self, attempt: Attempt) -> impl Future<Output = Option<Attempted>> + Send;
}

/// What the rest of signaling can ask for.
pub(crate) struct Webhooks {
    http: Arc<Http>,
    meters: Arc<Meters>,
    /// Tests being carried out.
    tests: Shares,
    /// Endpoints or deliveries changed.
    pub(crate) changed: Arc<Notify>,
}

impl Webhooks {
    /// Reads the configuration; metrics go to `registry`.
    ///
    /// # Errors
    /// What cannot be used of it, or a metric's name that is taken.
    pub(crate) fn new(config: &Config, registry: &Registry) -> Result<Self, CarrierError> {
        let guard = Arc::new(Guard::new(&config.rules())?);
        let dialer = Dialer::new(guard, config.ca_file.as_deref())?;
        Ok(Self {
            http: Arc::new(Http::new(dialer)),
            meters: Arc::new(Meters::new(registry)?),
            tests: Shares::new(limits::WEBHOOK_TESTS_MAX, limits::WEBHOOK_PROJECT_TESTS_MAX),
            changed: Arc::default(),
        })
    }

    /// Whether events may be sent to this URL, as far as can be told without asking for addresses.
    pub(crate) fn check(&self, url: &str) -> Result<(), UrlRefusal> {
        self.http.guard().parse(url).map(|_| ())
    }

    /// Sends one event now, apart from all queues. `None` when too many such tests are under way.
    pub(crate) async fn test(&self, attempt: Attempt) -> Option<DeliveryResult> {
        let _place = self.tests.take(&attempt.project, Duration::ZERO).await?;
        let carried = tokio::time::timeout(limits::WEBHOOK_TEST, self.http.carry(attempt)).await;
        let result = match carried {
            Ok(attempted) => attempted?.result,
            Err(_) => DeliveryResult::Timeout,
        };
        self.meters.count(result);
        Some(result)
    }

    /// What sends the events of `store`.
    pub(crate) fn dispatcher(&self, store: crate::store::Store) -> Dispatcher<Http> {
        Dispatcher::new(store, Arc::clone(&self.http), Arc::clone(&self.meters))
    }
}
