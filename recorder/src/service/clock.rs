//! The clock that ages run by. It is the wall clock, except while that one is doubted: when it jumps ahead
//! (a clock that was set wrong, a machine that lost its time), every recording that waits for its storage
//! would be too old in that moment, and be destroyed.
//!
//! ```text
//!  wall clock ─▶ as the monotonic one says: believed
//!            └─▶ ahead by more than an hour: doubted, alarmed; ages go on by the monotonic one
//!                 └─ still so after a while: believed      └─ set back: believed
//! ```
//! What was shown last is kept on disk, so that a start counts too: a machine that was off for long looks the
//! same as one whose clock is wrong. A clock that is set back is followed at once, which destroys nothing.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntGauge;

use crate::limits::CLOCK_JUMP;

/// Milliseconds since 1970 that it showed last, in decimal digits.
const FILE: &str = "clock";

/// One for all that destroys by age.
pub(super) struct AgeClock {
    path: PathBuf,
    /// How long a clock that jumped is doubted; zero: not at all.
    doubt: Duration,
    state: Mutex<State>,
    /// 1 while it is doubted.
    doubted: IntGauge,
}

struct State {
    /// What was shown last, and when.
    shown_ms: u64,
    at: Instant,
    doubted_since: Option<Instant>,
}

impl AgeClock {
    /// Goes on with what a process before this one showed last in the recorder's `folder`.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub(super) fn open(folder: &Path, doubt: Duration, doubted: IntGauge) -> io::Result<Self> {
        let path = folder.join(FILE);
        let before = match fs::read(&path) {
            // What a power cut left of it says nothing, and is no reason not to start.
            Ok(text) => String::from_utf8_lossy(&text).trim().parse().ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let shown_ms = before.unwrap_or_else(super::now_ms);
        let state = State { shown_ms, at: Instant::now(), doubted_since: None };
        Ok(Self { path, doubt, state: Mutex::new(state), doubted })
    }

    /// Milliseconds since 1970. To be asked at least every few minutes, or time that passed looks like a jump.
    pub(super) fn now_ms(&self) -> u64 {
        self.look(super::now_ms(), Instant::now())
    }

    fn look(&self, wall_ms: u64, now: Instant) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.at);
        let expected_ms = state.shown_ms.saturating_add(passed.as_millis() as u64);
        let is_ahead = wall_ms.saturating_sub(expected_ms) >= CLOCK_JUMP.as_millis() as u64;
        let was_doubted = state.doubted_since.is_some();
        state.doubted_since = match is_ahead {
            false => None,
            true => state.doubted_since.or(Some(now)),
        };
        let is_doubted = state
            .doubted_since
            .is_some_and(|since| now.saturating_duration_since(since) < self.doubt);
        if is_doubted && !was_doubted {
            tracing::error!(
                ahead_s = (wall_ms - expected_ms) / 1000,
                believed_in_s = self.doubt.as_secs(),
                "the clock jumped ahead: no recording grows too old by that until it is believed"
            );
        }
        if !is_doubted && was_doubted {
            tracing::warn!("the clock is believed again");
            state.doubted_since = None;
        }
        self.doubted.set(i64::from(is_doubted));
        (state.shown_ms, state.at) = (if is_doubted { expected_ms } else { wall_ms }, now);
        state.shown_ms
    }

    /// Writes down what it shows now, for the next process.
    ///
    /// # Errors
    /// The disk.
    pub(super) fn keep(&self) -> io::Result<()> {
        let new = self.path.with_extension("new");
        fs::write(&new, self.now_ms().to_string())?;
        fs::rename(new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const MINUTE: u64 = 60_000;
    const DOUBT: Duration = Duration::from_secs(30 * 60);
    /// 30 years.
    const FAR: u64 = 30 * 365 * 24 * 60 * MINUTE;
    const START: u64 = 1_700_000_000_000;

    struct Scene {
        clock: AgeClock,
        begun: Instant,
    }

    impl Scene {
        fn new(doubt: Duration) -> Self {
            let (path, begun) = (PathBuf::new(), Instant::now());
            let state = State { shown_ms: START, at: begun, doubted_since: None };
            let doubted = IntGauge::new("doubted", "doubted").unwrap();
            Self { clock: AgeClock { path, doubt, state: Mutex::new(state), doubted }, begun }
        }

        /// What it shows so long after the beginning when the wall clock is ahead, since [`START`].
        fn shows(&self, after_ms: u64, ahead_ms: u64) -> u64 {
            let now = self.begun + Duration::from_millis(after_ms);
            self.clock.look(START + after_ms + ahead_ms, now) - START
        }

        fn is_doubted(&self) -> bool {
            self.clock.doubted.get() == 1
        }
    }

    #[test]
    fn a_jump_ahead_ages_nothing_until_it_stood_for_a_while() {
        let scene = Scene::new(DOUBT);
        assert_eq!(scene.shows(MINUTE, 0), MINUTE);
        assert_eq!(scene.shows(2 * MINUTE, FAR), 2 * MINUTE, "by the monotonic clock");
        assert!(scene.is_doubted());
        assert_eq!(scene.shows(31 * MINUTE, FAR), 31 * MINUTE);
        assert_eq!(scene.shows(32 * MINUTE, FAR), 32 * MINUTE + FAR, "believed");
        assert!(!scene.is_doubted());
        assert_eq!(scene.shows(33 * MINUTE, FAR), 33 * MINUTE + FAR);
    }

    #[test]
    fn a_clock_that_is_set_right_is_believed_at_once_and_each_jump_is_doubted_anew() {
        let scene = Scene::new(DOUBT);
        scene.shows(MINUTE, FAR);
        assert_eq!(scene.shows(20 * MINUTE, 0), 20 * MINUTE);
        assert!(!scene.is_doubted());
        scene.shows(25 * MINUTE, FAR);
        assert_eq!(scene.shows(45 * MINUTE, FAR), 45 * MINUTE, "30 minutes from the second one");
        assert_eq!(scene.shows(55 * MINUTE, FAR), 55 * MINUTE + FAR);
        assert_eq!(scene.shows(56 * MINUTE, 0), 56 * MINUTE, "set back after all");
    }

    #[test]
    fn corrections_and_time_that_passes_are_no_jumps() {
        let scene = Scene::new(DOUBT);
        assert_eq!(scene.shows(MINUTE, 59 * MINUTE), 60 * MINUTE);
        assert_eq!(scene.shows(500 * MINUTE, 59 * MINUTE), 559 * MINUTE);
        assert!(!scene.is_doubted());
        assert_eq!(Scene::new(Duration::ZERO).shows(MINUTE, FAR), MINUTE + FAR, "no doubt wanted");
    }

    #[test]
    fn what_a_process_showed_last_is_where_the_next_one_goes_on() {
        let folder = std::env::temp_dir().join(format!("conclave-clock-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let open = || {
            let doubted = IntGauge::new("doubted", "doubted").unwrap();
            AgeClock::open(&folder, DOUBT, doubted).unwrap()
        };
        let first = open();
        assert_eq!(first.doubted.get(), 0);
        first.keep().unwrap();
        let before = super::super::now_ms();
        assert!(open().now_ms() >= before, "it goes on");
        // It was off for two days, or its clock is wrong.
        let old = before - 48 * 60 * MINUTE;
        fs::write(folder.join(FILE), old.to_string()).unwrap();
        let next = open();
        assert!((old..old + 10 * MINUTE).contains(&next.now_ms()) && next.doubted.get() == 1);
        fs::write(folder.join(FILE), "no number").unwrap();
        assert!(open().now_ms() >= before);
        fs::remove_dir_all(folder).unwrap();
    }
}
