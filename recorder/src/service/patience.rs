//! When what fails is taken to fail for good. A passing error, such as too many open files, a wrong file
//! mode or a disk that does not answer, must not cost a recording: neither age alone says so nor failures
//! in a moment.

use std::time::Duration;

use super::{
    ledger::{Entry, State},
    tries::Unmade,
};
use crate::limits::{MAKE_DEFECTS, MAKE_TRIES, MAKE_TRIES_LATE, MAKE_WAIT};

/// What making files may do about failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// Pass over what cannot be read: half of the age is over, and it failed again and again.
    pub(super) is_last: bool,
    /// Hand over the journal as it is when no files come of what was read: that destroys nothing.
    pub(super) hands_over: bool,
    /// From when on no composite is made, milliseconds since 1970: what else there is goes first.
    pub(super) shown_until_ms: Option<u64>,
}

impl Patience {
    pub(super) fn of(entry: &Entry, failed: Unmade, now_ms: u64) -> Self {
        let is_last = half_age_at_ms(entry).is_some_and(|at| now_ms >= at)
            && failed.count >= MAKE_TRIES_LATE
            && failed.since >= wait(entry);
        Self {
            is_last,
            hands_over: is_last || failed.count >= MAKE_TRIES || failed.defects >= MAKE_DEFECTS,
            shown_until_ms: half_age_at_ms(entry),
        }
    }
}

/// Whether making its files includes pictures or a mix, which takes long.
pub(super) fn is_shown(entry: &Entry, now_ms: u64) -> bool {
    let wanted = entry.outputs.composite.is_some() || entry.outputs.audio_mix;
    let is_to_be_made = !matches!(entry.state, State::Delivered | State::Purging | State::Purged);
    wanted && is_to_be_made && half_age_at_ms(entry).is_none_or(|at| now_ms < at)
}

fn half_age_at_ms(entry: &Entry) -> Option<u64> {
    let (from, to) = (entry.stopped_at_ms?, entry.expires_at_ms?);
    Some(from + to.saturating_sub(from) / 2)
}

/// How long it must have failed: less when the whole age is short.
fn wait(entry: &Entry) -> Duration {
    let age = entry.expires_at_ms.zip(entry.stopped_at_ms);
    let age = age.map_or(u64::MAX, |(to, from)| to.saturating_sub(from));
    Duration::from_millis(age / 16).min(MAKE_WAIT)
}

#[cfg(test)]
mod tests {
    use sfu_proto::id::{RecordingId, RoomId};

    use super::*;
    use crate::service::ledger::{Outputs, Work};

    const HOUR: u64 = 3_600_000;

    /// Stopped at 0, purged after 72 hours.
    fn entry() -> Entry {
        Entry {
            id: RecordingId::from_bits(1),
            project: String::new(),
            room: RoomId::from_bits(1),
            state: State::Finalizing,
            version: 1,
            started_at_ms: 0,
            stopped_at_ms: Some(0),
            expires_at_ms: Some(72 * HOUR),
            held: false,
            is_deleted: false,
            push_wanted: false,
            warned_percent: 0,
            has_journal: true,
            recipients: Vec::new(),
            sealed: false,
            path: String::new(),
            target: None,
            outputs: Outputs { audio_mix: true, ..Outputs::default() },
            artifacts: Vec::new(),
            work: Work::default(),
        }
    }

    fn of(count: u32, defects: u32, since_ms: u64, now_ms: u64) -> (bool, bool) {
        let failed = Unmade { count, defects, since: Duration::from_millis(since_ms) };
        let found = Patience::of(&entry(), failed, now_ms);
        (found.is_last, found.hands_over)
    }

    #[test]
    fn neither_age_nor_failures_alone_end_it() {
        assert_eq!(of(0, 0, 0, 71 * HOUR), (false, false), "the first attempt after a weekend");
        assert_eq!(of(9, 0, HOUR / 60, 71 * HOUR), (false, false), "failures of one moment");
        assert_eq!(of(1, 0, 9 * HOUR, 71 * HOUR), (false, false), "one failure");
        assert_eq!(of(100, 0, 9 * HOUR, 35 * HOUR), (false, true), "it may be read later");
        assert_eq!(of(5, 0, HOUR, 36 * HOUR), (true, true));
        assert_eq!(of(2, 2, 1, 1), (false, true), "defects are no matter of time");
    }

    #[test]
    fn no_composite_is_begun_after_half_of_the_age() {
        let entry = entry();
        assert!(is_shown(&entry, 36 * HOUR - 1) && !is_shown(&entry, 36 * HOUR));
        assert!(!is_shown(&Entry { outputs: Outputs::default(), ..entry }, 0));
    }
}
