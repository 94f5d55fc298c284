//! When the files of a journal end before they are full: those that are pushed while it is written.

use std::time::Duration;

use crate::limits::{
    JOURNAL_FILE_BYTES_MAX, LIVE_FILE_AFTER, LIVE_FILE_BYTES, LIVE_FILES_MAX, LIVE_FILES_STEP,
};

/// A file that holds a batch ends by whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Its age.
    pub after: Duration,
    /// Its size in bytes, checked after each chunk.
    pub bytes: u64,
}

impl Rotation {
    /// As the limits say.
    pub const LIVE: Self = Self { after: LIVE_FILE_AFTER, bytes: LIVE_FILE_BYTES };

    /// Of the file with this number. Later ones are larger, so that their count is bounded.
    pub(super) fn of(self, file: u32) -> Self {
        if file > LIVE_FILES_MAX {
            return Self { after: Duration::MAX, bytes: JOURNAL_FILE_BYTES_MAX };
        }
        let times = 1 + file.saturating_sub(1) / LIVE_FILES_STEP;
        let bytes = self.bytes.saturating_mul(u64::from(times));
        Self { after: self.after.saturating_mul(times), bytes: bytes.min(JOURNAL_FILE_BYTES_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{JOURNAL_FILES_MAX, RECORDING_US_MAX};

    #[test]
    fn the_longest_recording_has_few_files_and_a_fast_one_does_not_run_out_of_them() {
        let first = Rotation::LIVE;
        assert_eq!((first.of(1), first.of(LIVE_FILES_STEP)), (first, first));
        let next = first.of(LIVE_FILES_STEP + 1);
        assert_eq!((next.after, next.bytes), (2 * first.after, 2 * first.bytes));
        let (mut age, mut files) = (Duration::ZERO, 0);
        while age < Duration::from_micros(RECORDING_US_MAX.unsigned_abs()) {
            files += 1;
            age += first.of(files).after;
        }
        assert!(files < 4_000, "{files} files");
        let bytes: u64 = (1..=JOURNAL_FILES_MAX as u32).map(|file| first.of(file).bytes).sum();
        assert!(bytes > 4 << 40, "{bytes} bytes, two days at 200 Mbit/s");
        let longest = Rotation { after: Duration::MAX, bytes: u64::MAX }.of(LIVE_FILES_MAX);
        assert_eq!(longest.bytes, JOURNAL_FILE_BYTES_MAX);
    }
}
