//! When a push is tried again. Pure: the attempt and a random number in, a delay out.

use std::time::Duration;

use crate::limits::{PUSH_DELAY_FIRST, PUSH_DELAY_MAX};

/// How long to wait after `attempt` failures in a row (1 after the first): doubled each time up to an
/// hour, less up to a quarter by `random`, so that uploads that failed together do not come back
/// together.
pub fn delay(attempt: u32, random: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    let full = PUSH_DELAY_FIRST.saturating_mul(1 << doublings).min(PUSH_DELAY_MAX);
    full - full / 4 * (random % 1024) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_an_hour_and_differ() {
        let full: Vec<u64> = (0..16).map(|attempt| delay(attempt, 0).as_secs()).collect();
        assert_eq!(full, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600, 3600]);
        for attempt in [1, 5, 20, u32::MAX] {
            let least = delay(attempt, 1023);
            assert!(least < delay(attempt, 0) && least >= delay(attempt, 0) * 3 / 4);
        }
    }
}
