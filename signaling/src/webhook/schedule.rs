//! When a delivery is tried again, and when an endpoint is left alone. Pure.
//!
//! ```text
//!             5 failures in a row                one delivery succeeds
//!  closed ───────────────────────▶ open ──────────────────────────────▶ closed
//!  every delivery by its own        one probe at a time, at growing
//!  schedule, attempts count         pauses; its attempt does not count
//!                                    │ 5 days without one success
//!                                    ▼
//!                                   given up (the endpoint is disabled)
//! ```

use sdk_spec::rest::webhooks::DeliveryResult;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Pauses after the first, second, … failed attempt: 75 h 35 min in all.
const PAUSES_MS: [u64; 9] = [
    5 * SECOND,
    5 * MINUTE,
    30 * MINUTE,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];
/// A delivery is tried for so long at least, however its pauses were drawn.
const TRIED_MS: u64 = 72 * HOUR;
/// Failures in a row after which an endpoint is left alone but for probes.
const FAILURES_MAX: u32 = 5;
/// Pauses before the first, second, … probe; the last one repeats. It bounds how late an endpoint
/// that works again is noticed.
const PROBES_MS: [u64; 6] =
    [10 * SECOND, 30 * SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE];
/// Longest wish of an endpoint to be left alone (`Retry-After`) that is granted.
const RETRY_AFTER_MS_MAX: u64 = HOUR;
/// Time without one success after which an endpoint is disabled.
const GIVE_UP_MS: u64 = 5 * 24 * HOUR;

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempted {
    pub(crate) result: DeliveryResult,
    /// How long the endpoint asked to be left alone.
    pub(crate) retry_after_ms: Option<u64>,
}

impl Attempted {
    pub(crate) fn of(result: DeliveryResult) -> Self {
        Self { result, retry_after_ms: None }
    }
}

/// What happens to a delivery after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Delivered,
    /// Tried again at this time.
    Again(u64),
    Dead,
}

/// Why an endpoint is disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It answered 410.
    Gone,
    /// [`GIVE_UP_MS`] passed.
    GivenUp,
}

/// A delivery's history as far as the schedule needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tries {
    /// Attempts that counted, with this one.
    pub(super) attempts: u32,
    pub(super) created_ms: u64,
}

/// What becomes of a delivery whose attempt counted. `jitter` is drawn from 0 to 1.
pub(super) fn fate(tries: Tries, result: DeliveryResult, now_ms: u64, jitter: f64) -> Fate {
    let last = PAUSES_MS.len();
    let tried = usize::try_from(tries.attempts).unwrap_or(usize::MAX);
    let is_old = now_ms.saturating_sub(tries.created_ms) >= TRIED_MS;
    match result {
        DeliveryResult::Delivered => Fate::Delivered,
        DeliveryResult::Expired => Fate::Dead,
        _ if tried > last && is_old => Fate::Dead,
        _ => {
            let pause = PAUSES_MS[tried.clamp(1, last) - 1];
            Fate::Again(now_ms.saturating_add(jittered(pause, jitter)))
        }
    }
}

/// ±20 %: deliveries that failed together do not come back together.
fn jittered(pause_ms: u64, jitter: f64) -> u64 {
    (pause_ms as f64 * (0.8 + 0.4 * jitter.clamp(0.0, 1.0))) as u64
}

/// How an endpoint does: the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Health {
    /// Failures in a row.
    pub(crate) failures: u32,
    pub(crate) failing_since_ms: Option<u64>,
    /// Probes that failed since it opened.
    pub(crate) probes: u32,
    /// Left alone until then; open while there is a time, even a past one.
    pub(crate) open_until_ms: Option<u64>,
}

impl Health {
    /// Whether deliveries are held back but for probes.
    pub(crate) fn is_open(&self) -> bool {
        self.open_until_ms.is_some()
    }

    /// Takes in an attempt; `was_probe` when the breaker was open as it began.
    pub(super) fn handle(
        &mut self,
        attempted: Attempted,
        was_probe: bool,
        now_ms: u64,
        jitter: f64,
    ) -> Option<Stop> {
        match attempted.result {
            DeliveryResult::Delivered => *self = Self::default(),
            DeliveryResult::Expired => {}
            DeliveryResult::Gone => return Some(Stop::Gone),
            _ => self.fail(attempted.retry_after_ms, was_probe, now_ms, jitter),
        }
        let since = self.failing_since_ms.unwrap_or(now_ms);
        let is_over = self.is_open() && now_ms.saturating_sub(since) >= GIVE_UP_MS;
        is_over.then_some(Stop::GivenUp)
    }

    fn fail(&mut self, retry_after_ms: Option<u64>, was_probe: bool, now_ms: u64, jitter: f64) {
        self.failing_since_ms.get_or_insert(now_ms);
        self.failures = self.failures.saturating_add(1);
        let pause = |n: u32| {
            let step = usize::try_from(n).unwrap_or(usize::MAX).min(PROBES_MS.len() - 1);
            now_ms.saturating_add(jittered(PROBES_MS[step], jitter))
        };
        if was_probe && self.is_open() {
            self.probes = self.probes.saturating_add(1);
            self.open_until_ms = Some(pause(self.probes));
        } else if !self.is_open() && self.failures >= FAILURES_MAX {
            self.probes = 0;
            self.open_until_ms = Some(pause(0));
        }
        // Whoever asks to be left alone is, as a whole.
        if let Some(wish) = retry_after_ms.filter(|wish| *wish > 0) {
            let until = now_ms.saturating_add(wish.min(RETRY_AFTER_MS_MAX));
            self.open_until_ms = Some(self.open_until_ms.unwrap_or(0).max(until));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const FAILED: Attempted =
        Attempted { result: DeliveryResult::ServerError, retry_after_ms: None };
    const DONE: Attempted = Attempted { result: DeliveryResult::Delivered, retry_after_ms: None };

    /// Times of all attempts of a delivery that always fails, while others succeed.
    fn attempts(mut jitter: impl FnMut() -> f64) -> Vec<u64> {
        let mut times = vec![0];
        loop {
            let tries = Tries { attempts: times.len() as u32, created_ms: 0 };
            let now = *times.last().unwrap();
            match fate(tries, FAILED.result, now, jitter()) {
                Fate::Again(at) => times.push(at),
                _ => return times,
            }
        }
    }

    #[test]
    fn a_delivery_is_tried_ten_times_in_75_hours() {
        let times = attempts(|| 0.5);
        assert_eq!(times.len(), 10);
        assert_eq!(*times.last().unwrap(), 75 * HOUR + 35 * MINUTE + 5 * SECOND);
        assert_eq!(times[..4], [0, 5 * SECOND, 305 * SECOND, 305 * SECOND + 30 * MINUTE]);
    }

    proptest! {
        #[test]
        fn every_delivery_is_tried_for_72_hours(draws in prop::collection::vec(0.0..=1.0f64, 32)) {
            let mut draws = draws.into_iter();
            let times = attempts(|| draws.next().unwrap_or(0.0));
            prop_assert!(*times.last().unwrap() >= TRIED_MS && times.len() <= 12);
            for (pause, wanted) in times.windows(2).map(|w| w[1] - w[0]).zip(PAUSES_MS) {
                prop_assert!(pause >= wanted * 8 / 10 - 1 && pause <= wanted * 12 / 10 + 1);
            }
        }
    }

    #[test]
    fn five_failures_in_a_row_open_and_one_success_closes() {
        let mut health = Health::default();
        for i in 0..4 {
            assert_eq!(health.handle(FAILED, false, i, 0.5), None);
        }
        health.handle(DONE, false, 4, 0.5);
        assert_eq!(health, Health::default());
        for i in 5..10 {
            assert!(!health.is_open());
            health.handle(FAILED, false, i, 0.5);
        }
        assert_eq!(health.open_until_ms, Some(9 + 10 * SECOND));
        // One that had begun before is no probe.
        health.handle(FAILED, false, 10, 0.5);
        assert_eq!(health.open_until_ms, Some(9 + 10 * SECOND));
        health.handle(FAILED, true, 20_000, 0.5);
        assert_eq!(health.open_until_ms, Some(50_000));
        health.handle(DONE, true, 60_000, 0.5);
        assert_eq!(health, Health::default());
    }

    #[test]
    fn probes_come_at_least_every_18_minutes_and_five_days_end_it() {
        let (mut health, mut now, mut gap) = (Health::default(), 0, 0);
        let stop = loop {
            let probe = health.is_open();
            if let Some(stop) = health.handle(FAILED, probe, now, 1.0) {
                break stop;
            }
            let next = health.open_until_ms.unwrap_or(now + SECOND);
            gap = gap.max(next - now);
            now = next;
        };
        assert_eq!((stop, gap), (Stop::GivenUp, 18 * MINUTE));
        assert!((GIVE_UP_MS..GIVE_UP_MS + HOUR).contains(&now), "{now}");
    }

    #[test]
    fn one_failure_after_a_quiet_week_does_not_end_it() {
        let mut health = Health::default();
        assert_eq!(health.handle(FAILED, false, 0, 0.5), None);
        assert_eq!(health.handle(FAILED, false, 7 * 24 * HOUR, 0.5), None);
    }

    #[test]
    fn who_asks_for_a_pause_gets_it_up_to_an_hour() {
        let mut health = Health::default();
        let busy = |wish| Attempted { retry_after_ms: Some(wish), ..FAILED };
        health.handle(busy(7_000), false, 1_000, 0.5);
        assert_eq!(health.open_until_ms, Some(8_000));
        health.handle(busy(u64::MAX), true, 8_000, 0.5);
        assert_eq!(health.open_until_ms, Some(8_000 + HOUR));
        health.handle(busy(0), true, 8_000 + HOUR, 0.5);
        assert_eq!(health.open_until_ms, Some(8_000 + HOUR + MINUTE));
    }

    #[test]
    fn gone_stops_at_once() {
        let gone = Attempted::of(DeliveryResult::Gone);
        assert_eq!(Health::default().handle(gone, false, 0, 0.5), Some(Stop::Gone));
    }
}
