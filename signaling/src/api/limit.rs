//! How many requests an API key, and how many failed authentications an address has left: a token
//! bucket for each, bounded in memory.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use sdk_spec::problem::Code;

use super::{Failure, Peer};
use crate::limits::{FAILED_ADDRESSES_MAX, FAILED_BURST, FAILED_PER_SECOND};

/// A token bucket that counts in time: full at `full_at`, one token each `period`.
///
/// Generic cell rate algorithm: one instant is all the state there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    full_at: Instant,
}

/// Rate and size of a bucket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl Rate {
    fn period(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

impl Bucket {
    pub(crate) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes `tokens`. `Err` says how long until there are so many.
    pub(crate) fn take(&mut self, tokens: u32, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.period() * tokens;
        let ahead = full_at - now;
        let most = rate.period() * rate.burst;
        if ahead > most {
            return Err(ahead - most);
        }
        self.full_at = full_at;
        Ok(())
    }

    fn remaining(&self, rate: Rate, now: Instant) -> u32 {
        let used = self.full_at.saturating_duration_since(now).div_duration_f64(rate.period());
        rate.burst.saturating_sub(used.ceil() as u32)
    }
}

/// What became of a request's token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    pub(crate) granted: bool,
    rate: Rate,
    remaining: u32,
    pub(super) wait: Duration,
}

/// The buckets of everybody who is counted.
pub(crate) struct Rates<K> {
    buckets: Mutex<HashMap<K, Bucket>>,
    known_max: usize,
}

impl<K> Rates<K> {
    /// For as many as this.
    pub(crate) fn of(known_max: usize) -> Self {
        Self { buckets: Mutex::new(HashMap::new()), known_max }
    }
}

impl<K: Hash + Eq + Clone> Rates<K> {
    /// Takes a token of `key`, which must be authenticated: guesses take no memory.
    pub(crate) fn take(&self, key: &K, rate: Rate) -> Allowance {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= self.known_max && !buckets.contains_key(key) {
            // Full buckets are as good as forgotten ones.
            buckets.retain(|_, bucket| bucket.full_at > now);
            if buckets.len() >= self.known_max {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(key.clone()).or_insert_with(|| Bucket::full(now));
        let taken = bucket.take(1, rate, now);
        Allowance {
            granted: taken.is_ok(),
            rate,
            remaining: bucket.remaining(rate, now),
            wait: taken.err().unwrap_or_default(),
        }
    }
}

impl<K: Hash + Eq> Rates<K> {
    /// Full buckets are as good as forgotten ones.
    fn forget_full(&self, now: Instant) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, bucket| bucket.full_at > now);
    }
}

/// Guesses of credentials by network. Who has had too many is told to wait; right credentials are
/// taken all the same, since others may share the network (a school, a carrier's NAT). 128 bits and
/// more are not guessed at any rate: this only makes guessing visible and unattractive.
pub(crate) struct Failures(Rates<IpAddr>);

/// How many guesses one network has.
const GUESSES: Rate = Rate { per_second: FAILED_PER_SECOND, burst: FAILED_BURST };

impl Default for Failures {
    fn default() -> Self {
        Self(Rates::of(FAILED_ADDRESSES_MAX))
    }
}

impl Failures {
    /// Credentials of this peer were unknown or forged. A proxy speaks for everybody, so what comes
    /// through one on this machine is not counted.
    ///
    /// # Errors
    /// [`Code::RateLimited`] after too many.
    pub(super) fn count(&self, peer: Peer) -> Result<(), Failure> {
        let Peer::Network(network) = peer else { return Ok(()) };
        self.count_network(network)
    }

    /// As [`Failures::count`], for everybody together.
    pub(super) fn count_all(&self) -> Result<(), Failure> {
        self.count_network(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn count_network(&self, network: IpAddr) -> Result<(), Failure> {
        let allowance = self.0.take(&network, GUESSES);
        if allowance.granted { Ok(()) } else { Err(refusal(allowance.wait)) }
    }

    /// Addresses are not kept for longer than they are needed.
    pub(crate) fn forget(&self, now: Instant) {
        self.0.forget_full(now);
    }
}

/// The answer to a request above the rate.
pub(super) fn refusal(wait: Duration) -> Failure {
    let seconds = wait.as_secs() + 1;
    Failure::new(Code::RateLimited).header(header::RETRY_AFTER, &seconds.to_string())
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers): an item for each
/// bucket that the request counts in.
pub(super) fn write_headers(counted: &[(&str, Allowance)], headers: &mut HeaderMap) {
    let (mut policies, mut left) = (Vec::new(), Vec::new());
    for (name, allowance) in counted {
        let rate = allowance.rate;
        let window = rate.burst.div_ceil(rate.per_second.max(1));
        policies.push(format!("\"{name}\";q={};w={window}", rate.burst));
        left.push(format!("\"{name}\";r={};t={window}", allowance.remaining));
    }
    for (name, items) in [("ratelimit-policy", policies), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::from_str(&items.join(", ")) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let rate = Rate { per_second: 10, burst: 5 };
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert_eq!((0..20).filter(|_| bucket.take(1, rate, start).is_ok()).count(), 5);
        assert_eq!(bucket.remaining(rate, start), 0);
        assert_eq!(bucket.take(1, rate, start), Err(Duration::from_millis(100)));
        let later = start + Duration::from_millis(300);
        assert_eq!((0..20).filter(|_| bucket.take(1, rate, later).is_ok()).count(), 3);
        let much_later = start + Duration::from_secs(60);
        assert_eq!((0..20).filter(|_| bucket.take(1, rate, much_later).is_ok()).count(), 5);
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_keys() {
        let rates = Rates::of(100);
        let rate = Rate { per_second: 1, burst: 1 };
        for i in 0..110 {
            assert!(rates.take(&i.to_string(), rate).granted);
        }
        assert!(rates.buckets.lock().expect("not poisoned").len() <= 100);
    }

    #[test]
    fn guesses_are_counted_by_network_and_not_behind_a_proxy() {
        let failures = Failures::default();
        let [bad, good] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(|a| Peer::Network(a.into()));
        for _ in 0..FAILED_BURST {
            assert!(failures.count(bad).is_ok());
        }
        assert!(failures.count(bad).is_err() && failures.count(good).is_ok());
        let full_again = Duration::from_secs((FAILED_BURST / FAILED_PER_SECOND).into());
        failures.forget(Instant::now());
        assert!(!failures.0.buckets.lock().expect("not poisoned").is_empty());
        failures.forget(Instant::now() + full_again);
        assert!(failures.0.buckets.lock().expect("not poisoned").is_empty());
        for _ in 0..=FAILED_BURST {
            assert!(failures.count(Peer::Unknown).is_ok() && failures.count(Peer::Here).is_ok());
        }
    }
}
