//! Counters of signaling. Labels are templates and classes, never ids, handles or addresses.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// All of them.
pub(crate) struct Metrics {
    /// By route template, method and status class.
    pub(crate) http_requests: IntCounterVec,
    /// By route template.
    pub(crate) http_seconds: HistogramVec,
    pub(crate) connections: IntGauge,
    /// By reason: `total`, `address`.
    pub(crate) connections_refused: IntCounterVec,
    pub(crate) websockets: IntGauge,
    pub(crate) resumes: IntCounter,
    pub(crate) slow_sockets: IntCounter,
    /// By transport: `websocket`, `http`.
    pub(crate) joins: IntCounterVec,
    /// By reason class.
    pub(crate) tokens_refused: IntCounterVec,
    /// By transport.
    pub(crate) offers: IntCounterVec,
    pub(crate) rooms: IntGauge,
    pub(crate) participants: IntGauge,
    pub(crate) commands_dropped: IntCounter,
    pub(crate) rate_limited: IntCounter,
    pub(crate) journal_depth: IntGauge,
    pub(crate) journal_seconds: Histogram,
    pub(crate) journal_failures: IntCounter,
    pub(crate) usage_behind: IntGauge,
    pub(crate) recorded_texts_lost: IntCounter,
}

impl Metrics {
    /// Creates them in `registry`.
    ///
    /// # Errors
    /// When a name is taken there.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let seconds = HistogramVec::new(
            HistogramOpts::new("conclave_http_request_seconds", "Time to answer a request")
                .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
            &["route"],
        )?;
        registry.register(Box::new(seconds.clone()))?;
        let journal = Histogram::with_opts(
            HistogramOpts::new(
                "conclave_journal_commit_seconds",
                "Time to store a transaction of changes of rooms, with every try",
            )
            .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
        )?;
        registry.register(Box::new(journal.clone()))?;
        Ok(Self {
            http_requests: counters(
                "conclave_http_requests_total",
                "Requests answered",
                &["route", "method", "status"],
            )?,
            http_seconds: seconds,
            connections: gauge("conclave_http_connections", "Open TCP connections")?,
            connections_refused: counters(
                "conclave_http_connections_refused_total",
                "TCP connections refused by a cap",
                &["reason"],
            )?,
            websockets: gauge("conclave_websockets", "Open WebSockets")?,
            resumes: counter("conclave_websocket_resumes_total", "Resumes asked for")?,
            slow_sockets: counter("conclave_websocket_slow_total", "Sockets cut: slow reader")?,
            joins: counters("conclave_joins_total", "Joins with a good token", &["transport"])?,
            tokens_refused: counters(
                "conclave_tokens_refused_total",
                "Room tokens refused",
                &["reason"],
            )?,
            offers: counters("conclave_offers_total", "SDP offers received", &["transport"])?,
            rooms: gauge("conclave_rooms", "Open rooms")?,
            participants: gauge("conclave_participants", "Participants in rooms")?,
            commands_dropped: counter(
                "conclave_media_commands_dropped_total",
                "Commands that a busy media node did not take",
            )?,
            rate_limited: counter("conclave_rate_limited_total", "Requests above the rate")?,
            journal_depth: gauge(
                "conclave_journal_depth",
                "Changes of rooms that are not stored yet",
            )?,
            journal_seconds: journal,
            journal_failures: counter(
                "conclave_journal_failures_total",
                "Transactions with changes of rooms that failed and are tried again",
            )?,
            usage_behind: gauge(
                "conclave_usage_events_behind",
                "Events that are not counted in the usage yet, after each count",
            )?,
            recorded_texts_lost: counter(
                "conclave_recorded_texts_lost_total",
                "Texts missing in recordings: the recorder had no room for them",
            )?,
        })
    }
}
