//! CPU time of the calling thread, and what to make of several measurements.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_gettime};

/// CPU time that this thread has used, system calls and softirq work in its context included.
pub(super) fn thread_cpu() -> Result<Duration> {
    let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("thread CPU clock")?;
    Ok(Duration::new(now.tv_sec() as u64, now.tv_nsec() as u32))
}

/// Median and least of several rounds, nanoseconds per packet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    pub(super) median: f64,
    pub(super) least: f64,
}

/// Gathers one case's rounds.
#[derive(Debug, Default, Clone)]
pub(super) struct Rounds(Vec<f64>);

impl Rounds {
    /// Adds a round in which `packets` cost `cpu`.
    pub(super) fn add(&mut self, cpu: Duration, packets: usize) {
        self.0.push(cpu.as_nanos() as f64 / packets.max(1) as f64);
    }

    /// Rounds so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// `None` without rounds.
    pub(super) fn cost(&self) -> Option<Cost> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        Some(Cost { median: *sorted.get(sorted.len() / 2)?, least: *sorted.first()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_least_are_per_packet() {
        let mut rounds = Rounds::default();
        assert_eq!(rounds.cost(), None);
        for micros in [30, 10, 20] {
            rounds.add(Duration::from_micros(micros), 10);
        }
        assert_eq!(rounds.cost(), Some(Cost { median: 2000.0, least: 1000.0 }));
    }
}
