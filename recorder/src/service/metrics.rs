//! What an operator sees of the recorder. No label names a recording or anybody.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};

/// The recorder's metrics.
pub struct Metrics {
    pub(super) live: IntGauge,
    pub(super) unpurged: IntGauge,
    pub(super) oldest_seconds: IntGauge,
    pub(super) blocked: IntGauge,
    pub(super) clock_doubted: IntGauge,
    pub(super) push_lag_bytes: IntGauge,
    pub(super) free_bytes: IntGauge,
    pub(super) disk_mark: IntGauge,
    pub(super) round_ms: IntGauge,
    pub(super) captured_bytes: IntCounter,
    pub(super) batches_refused: IntCounter,
    pub(super) sync_seconds: Histogram,
    pub(super) finalized: IntCounter,
    pub(super) pushed_bytes: IntCounter,
    pub(super) live_pushed_bytes: IntCounter,
    pub(super) push_failures: IntCounter,
    pub(super) delivered: IntCounter,
    pub(super) purged: IntCounter,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// A name is taken.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("conclave_recorder_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("conclave_recorder_{name}_total"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let opts = HistogramOpts::new(
            "conclave_recorder_sync_seconds",
            "Time for which a journal waited for its disk, once per chunk.",
        );
        let steps = prometheus::exponential_buckets(0.000_5, 2.0, 12)?;
        let sync_seconds = Histogram::with_opts(opts.buckets(steps))?;
        registry.register(Box::new(sync_seconds.clone()))?;
        Ok(Self {
            live: gauge("live", "Recordings that are written now.")?,
            unpurged: gauge("unpurged", "Recordings that are not purged.")?,
            oldest_seconds: gauge("oldest_seconds", "Age of the oldest that ended, not held.")?,
            blocked: gauge("push_blocked", "Recordings that their storage refuses.")?,
            clock_doubted: gauge(
                "clock_doubted",
                "1 while the wall clock is an hour or more ahead and no recording grows old by it.",
            )?,
            push_lag_bytes: gauge("push_lag_bytes", "Bytes sealed and not yet pushed.")?,
            free_bytes: gauge("free_bytes", "Free bytes of the disk of journals.")?,
            disk_mark: gauge(
                "disk_mark",
                "How full the disk of journals is: 1 at 20 % free, 2 at 10 % (no new recordings), \
                 3 at 5 %.",
            )?,
            round_ms: gauge(
                "round_ms",
                "Time that the slowest writer took to bring all its journals to disk, milliseconds; \
                 above 200 no new recordings.",
            )?,
            captured_bytes: counter("captured_bytes", "Bytes taken from the tap.")?,
            batches_refused: counter(
                "batches_refused",
                "Batches of the tap that were not written.",
            )?,
            sync_seconds,
            finalized: counter("finalized", "Recordings whose files were made.")?,
            pushed_bytes: counter("pushed_bytes", "Bytes that storages took.")?,
            live_pushed_bytes: counter(
                "live_pushed_bytes",
                "Bytes of journal files that storages took and proved while recordings went on.",
            )?,
            push_failures: counter("push_failures", "Attempts to push that failed.")?,
            delivered: counter("delivered", "Recordings delivered and verified.")?,
            purged: counter("purged", "Recordings purged.")?,
        })
    }
}
