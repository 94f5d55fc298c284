//! Metrics of webhooks. No label names an endpoint or a host.

use std::collections::BTreeMap;

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use sdk_spec::rest::webhooks::{DeliveryResult, DeliveryState};

use super::endpoint::Endpoint;
use crate::webhook::Attempted;

/// All of them.
pub(crate) struct Meters {
    /// By result.
    attempts: IntCounterVec,
    dead: IntCounter,
    skipped: IntCounter,
    in_flight: IntGauge,
    /// By state of the breaker.
    endpoints: IntGaugeVec,
    lag_seconds: Gauge,
}

impl Meters {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let attempts = Opts::new("conclave_webhook_attempts_total", "Attempts to deliver an event");
        let endpoints = Opts::new("conclave_webhook_endpoints", "Endpoints with something to send");
        let meters = Self {
            attempts: IntCounterVec::new(attempts, &["result"])?,
            dead: IntCounter::new("conclave_webhook_dead_total", "Deliveries given up")?,
            skipped: IntCounter::new(
                "conclave_webhook_skipped_total",
                "Events that were no longer kept when an endpoint was to be sent them",
            )?,
            in_flight: IntGauge::new("conclave_webhook_in_flight", "Attempts under way")?,
            endpoints: IntGaugeVec::new(endpoints, &["breaker"])?,
            lag_seconds: Gauge::new(
                "conclave_webhook_lag_seconds",
                "Age of the oldest pending delivery to an endpoint whose breaker is closed",
            )?,
        };
        registry.register(Box::new(meters.attempts.clone()))?;
        registry.register(Box::new(meters.dead.clone()))?;
        registry.register(Box::new(meters.skipped.clone()))?;
        registry.register(Box::new(meters.in_flight.clone()))?;
        registry.register(Box::new(meters.endpoints.clone()))?;
        registry.register(Box::new(meters.lag_seconds.clone()))?;
        Ok(meters)
    }

    pub(crate) fn count(&self, result: DeliveryResult) {
        self.attempts.with_label_values(&[result.as_str()]).inc();
    }

    pub(super) fn skip(&self, events: u64) {
        self.skipped.inc_by(events);
    }

    pub(super) fn landed(&self, attempted: Option<Attempted>, state: Option<DeliveryState>) {
        if let Some(attempted) = attempted {
            self.count(attempted.result);
        }
        if state == Some(DeliveryState::Dead) {
            self.dead.inc();
        }
    }

    pub(super) fn show(
        &self,
        endpoints: &BTreeMap<String, Endpoint>,
        in_flight: usize,
        now_ms: u64,
    ) {
        let open = endpoints.values().filter(|endpoint| endpoint.is_open()).count();
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.in_flight.set(count(in_flight));
        self.endpoints.with_label_values(&["open"]).set(count(open));
        self.endpoints.with_label_values(&["closed"]).set(count(endpoints.len() - open));
        let closed = endpoints.values().filter(|endpoint| !endpoint.is_open());
        let lag_ms = closed.map(|endpoint| endpoint.lag_ms(now_ms)).max().unwrap_or(0);
        self.lag_seconds.set(lag_ms as f64 / 1000.0);
    }
}
