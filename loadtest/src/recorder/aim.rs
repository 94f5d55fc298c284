//! Where a recording stands by what lies on the disk, and the moment at which to strike.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use rand::{RngExt as _, rngs::StdRng};

/// Longest wait for a state: a journal waits for up to half a minute for what a killed server may still have said.
const WAIT: Duration = Duration::from_secs(90);
/// Between looks at the disk.
const LOOK: Duration = Duration::from_micros(50);

/// What a recording is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Its journal is written.
    Recording,
    /// It is over; nothing is made of the journal yet.
    Recorded,
    /// Files are made and sealed.
    Finalizing,
    /// They are pushed and verified.
    Pushing,
    /// The key is destroyed, then everything else, then the receipt is written.
    Purging,
}

impl Phase {
    pub(super) const ALL: [Self; 5] =
        [Self::Recording, Self::Recorded, Self::Finalizing, Self::Pushing, Self::Purging];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Recorded => "recorded",
            Self::Finalizing => "finalizing",
            Self::Pushing => "pushing",
            Self::Purging => "purging",
        }
    }

    /// By the recording's folder. `has_ended`: it was asked to stop.
    pub(super) fn of(folder: &Path, has_ended: bool) -> Self {
        let has = |name: &str| folder.join(name).exists();
        match (has("keys.json"), has("export.json"), has("out")) {
            (false, _, _) if has_ended => Self::Purging,
            (_, true, _) => Self::Pushing,
            (_, false, true) => Self::Finalizing,
            _ if has_ended => Self::Recorded,
            _ => Self::Recording,
        }
    }

    /// How long after its beginning to strike at most: about as long as it takes.
    fn spread(self) -> Duration {
        Duration::from_micros(match self {
            Self::Recording => 0, // The caller has waited already.
            Self::Recorded => 450_000,
            Self::Finalizing => 12_000,
            Self::Pushing => 700_000,
            Self::Purging => 4_000,
        })
    }

    /// Waits for this state of a recording that was asked to stop, and a while. Blocks: the moment
    /// must be met.
    pub(super) fn await_moment(self, folder: &Path, random: &mut StdRng) {
        let end = Instant::now() + WAIT;
        while self != Self::Recording && Self::of(folder, true) < self && Instant::now() < end {
            sleep(LOOK);
        }
        sleep(self.spread().mul_f64(random.random_range(0.0..1.0)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use super::*;

    #[test]
    fn the_disk_tells_the_phase() {
        let folder = std::env::temp_dir().join(format!("conclave-aim-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let put = |name: &str| fs::write(folder.join(name), b"x").unwrap();
        assert_eq!(Phase::of(&folder, false), Phase::Recording);
        put("keys.json");
        assert_eq!(Phase::of(&folder, false), Phase::Recording);
        assert_eq!(Phase::of(&folder, true), Phase::Recorded);
        fs::create_dir(folder.join("out")).unwrap();
        assert_eq!(Phase::of(&folder, true), Phase::Finalizing);
        put("export.json");
        assert_eq!(Phase::of(&folder, true), Phase::Pushing);
        fs::remove_file(folder.join("keys.json")).unwrap();
        assert_eq!(Phase::of(&folder, true), Phase::Purging);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(Phase::of(&folder, true), Phase::Purging);
    }
}
