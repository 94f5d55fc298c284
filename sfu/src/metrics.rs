//! Counters of all workers for Prometheus, labelled by worker and nothing else that could name a
//! room or a person.

use std::{collections::BTreeMap, sync::Arc};

use prometheus::{
    core::{Collector, Desc},
    proto,
};
use sfu_core::stats::{Metric, MetricKind, Stats};

use crate::stats::IoStats;

/// Prefix of every metric's name.
const PREFIX: &str = "conclave_sfu_";

/// A collector of a node's counters; clones share them.
#[derive(Clone)]
pub struct Metrics {
    workers: Arc<[WorkerStats]>,
}

/// The counters of one worker.
pub struct WorkerStats {
    /// Of its shard.
    pub shard: Arc<Stats>,
    /// Of its sockets and queues.
    pub io: Arc<IoStats>,
}

impl Metrics {
    pub(crate) fn new(workers: Vec<WorkerStats>) -> Self {
        Self { workers: workers.into() }
    }

    /// The counters of each worker.
    pub fn workers(&self) -> &[WorkerStats] {
        &self.workers
    }

    /// Sum over all workers of the metrics with this name, as listed by
    /// [`Stats::metrics`] and [`IoStats::metrics`].
    pub fn total(&self, name: &str) -> f64 {
        let all = self.workers.iter().flat_map(WorkerStats::metrics);
        all.filter(|metric| metric.name == name).map(|metric| metric.value).sum()
    }
}

impl WorkerStats {
    fn metrics(&self) -> impl Iterator<Item = Metric> + '_ {
        self.shard.metrics().chain(self.io.metrics())
    }
}

impl Collector for Metrics {
    fn desc(&self) -> Vec<&Desc> {
        // An unchecked collector: its families are the core's to name, and names from two tables
        // of constants cannot collide with anything but each other (see the tests).
        Vec::new()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut families: BTreeMap<&'static str, proto::MetricFamily> = BTreeMap::new();
        for (index, worker) in self.workers.iter().enumerate() {
            for metric in worker.metrics() {
                let family = families.entry(metric.name).or_insert_with(|| family_of(&metric));
                family.mut_metric().push(sample(&metric, index));
            }
        }
        families.into_values().collect()
    }
}

fn family_of(metric: &Metric) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    let (kind, suffix) = match metric.kind {
        MetricKind::Counter => (proto::MetricType::COUNTER, "_total"),
        MetricKind::Gauge => (proto::MetricType::GAUGE, ""),
    };
    family.set_name(format!("{PREFIX}{}{suffix}", metric.name));
    family.set_help(metric.help.to_owned());
    family.set_field_type(kind);
    family
}

fn sample(metric: &Metric, worker: usize) -> proto::Metric {
    let mut sample = proto::Metric::default();
    let worker = worker.to_string();
    let labels = metric.label.into_iter().chain([("worker", worker.as_str())]);
    sample.set_label(labels.map(|(name, value)| label(name, value)).collect());
    match metric.kind {
        MetricKind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(metric.value);
            sample.set_counter(counter);
        }
        MetricKind::Gauge => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(metric.value);
            sample.set_gauge(gauge);
        }
    }
    sample
}

fn label(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashSet;

    use prometheus::{Encoder as _, Registry, TextEncoder};
    use sfu_core::transport::session::Drop;

    use super::*;

    fn metrics() -> Metrics {
        let worker = || WorkerStats { shard: Arc::default(), io: Arc::default() };
        Metrics::new(vec![worker(), worker()])
    }

    #[test]
    fn every_worker_appears_in_the_exposition() {
        let metrics = metrics();
        metrics.workers()[1].shard.packets_in.add(5);
        metrics.workers()[0].shard.on_drop(Drop::Replay);
        metrics.workers()[0].io.tcp_connections.add(2);
        let registry = Registry::new();
        registry.register(Box::new(metrics.clone())).unwrap();
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "# TYPE conclave_sfu_packets_in_total counter",
            "conclave_sfu_packets_in_total{worker=\"0\"} 0",
            "conclave_sfu_packets_in_total{worker=\"1\"} 5",
            "conclave_sfu_drops_total{reason=\"replay\",worker=\"0\"} 1",
            "conclave_sfu_tcp_connections{worker=\"0\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert_eq!(metrics.total("packets_in"), 5.0);
    }

    #[test]
    fn no_two_metrics_share_name_and_label() {
        let metrics = metrics();
        let mut seen = HashSet::new();
        for metric in metrics.workers()[0].metrics() {
            assert!(seen.insert((metric.name, metric.label)), "{} twice", metric.name);
            assert!(!metric.help.is_empty());
        }
    }
}
