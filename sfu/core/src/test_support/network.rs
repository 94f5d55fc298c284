//! A network of virtual time between two ends: delay, jitter (hence reordering), loss and
//! duplication, all from one seed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// How one direction treats packets.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Shortest time under way.
    pub delay: Duration,
    /// Added at random; more than the gap between packets reorders them.
    pub jitter: Duration,
    /// Share of packets lost, 0 to 1.
    pub loss: f64,
    /// Share of packets that arrive twice, 0 to 1.
    pub duplicate: f64,
}

impl Link {
    /// 10 ms, nothing lost.
    pub const GOOD: Self = Self {
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicate: 0.0,
    };
    /// 10 to 60 ms, 15 % lost, 10 % twice.
    pub const BAD: Self = Self {
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(50),
        loss: 0.15,
        duplicate: 0.10,
    };
}

/// Packets under way, each with a destination `D` of the caller's.
pub struct Network<D> {
    rng: StdRng,
    queue: BTreeMap<(Instant, u64), (D, Vec<u8>)>,
    count: u64,
}

impl<D: Clone> Network<D> {
    /// An empty network; equal seeds treat equal packets equally.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), queue: BTreeMap::new(), count: 0 }
    }

    /// Sends a packet over a link.
    pub fn send(&mut self, link: Link, to: &D, bytes: &[u8], now: Instant) {
        let lost = self.rng.random_bool(link.loss);
        let copies = if self.rng.random_bool(link.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let at = now + link.delay + link.jitter.mul_f64(self.rng.random());
            self.count += 1;
            if !lost {
                self.queue.insert((at, self.count), (to.clone(), bytes.to_vec()));
            }
        }
    }

    /// When the next packet arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// Takes the next packet that has arrived by `now`.
    pub fn poll(&mut self, now: Instant) -> Option<(D, Vec<u8>)> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
