//! Names of epochs: one for each hour of UTC, such as `2026-11-22T01`.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const SECONDS: u64 = 3600;
const HOURS_A_DAY: u32 = 24;
/// The last hour of the year 9999: a name has ten characters and three.
const LAST: u32 = 2_932_897 * HOURS_A_DAY - 1;

/// An hour of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochId(u32);

/// Why a text names no epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no epoch: expected an hour such as 2026-11-22T01")]
pub struct EpochIdError;

impl EpochId {
    /// The hour in which `time` is. Times before 1970 are its first hour, those after 9999 its last.
    #[must_use]
    pub fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / SECONDS;
        Self(u32::try_from(since).unwrap_or(LAST).min(LAST))
    }

    /// When it begins.
    #[must_use]
    pub fn begins(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::from(self.0) * SECONDS)
    }

    /// Hours since 1970, for authenticated data.
    pub(super) fn hours(self) -> u32 {
        self.0
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / HOURS_A_DAY);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}", self.0 % HOURS_A_DAY)
    }
}

impl FromStr for EpochId {
    type Err = EpochIdError;

    fn from_str(text: &str) -> Result<Self, EpochIdError> {
        let number = |from: usize, to: usize| -> Option<u32> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|c| c.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let read = || -> Option<Self> {
            let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
            let days = days(year, month, day)?;
            Some(Self(days * HOURS_A_DAY + number(11, 13)?))
        };
        // Written back it must be the same: refuses February 30th and hour 24.
        read().filter(|id| id.to_string() == text).ok_or(EpochIdError)
    }
}

impl Serialize for EpochId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EpochId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// Days of 400 years.
const ERA: u32 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const SHIFT: u32 = 719_468;

/// Year, month and day of a day since 1970. Howard Hinnant, "chrono-compatible low-level date
/// algorithms": years begin in March, so that the leap day is the last.
fn date(days: u32) -> (u32, u32, u32) {
    let shifted = days + SHIFT;
    let (era, day) = (shifted / ERA, shifted % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let march = (5 * day + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (year + era * 400 + u32::from(month <= 2), month, day - (153 * march + 2) / 5 + 1)
}

/// The reverse; `None` before 1970 and for what cannot be a month or day.
fn days(year: u32, month: u32, day: u32) -> Option<u32> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let year = year - u32::from(month <= 2);
    let march = if month > 2 { month - 3 } else { month + 9 };
    let (era, rest) = (year / 400, year % 400);
    let in_year = (153 * march + 2) / 5 + day - 1;
    (era * ERA + rest * 365 + rest / 4 - rest / 100 + in_year).checked_sub(SHIFT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_hours_of_utc() {
        for (seconds, name) in [
            (0, "1970-01-01T00"),
            (951_782_400 + 3599, "2000-02-29T00"),
            (1_795_312_799, "2026-11-22T01"),
            (4_107_542_400, "2100-03-01T00"),
            (u64::MAX >> 2, "9999-12-31T23"),
        ] {
            let id = EpochId::of(UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap());
            assert_eq!(id.to_string(), name);
            assert_eq!(name.parse(), Ok(id));
        }
        assert_eq!(EpochId::of(UNIX_EPOCH - Duration::from_secs(1)), EpochId(0));
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "2026-02-30T01",
            "2026-11-22T24",
            "2026-13-01T00",
            "2026-11-22 01",
            "1969-12-31T23",
            "+026-11-22T01",
            "2026-11-22T01x",
            "2026-11-22T1",
            "٢٠٢٦-11-22T01",
            "2026-00-00T00",
        ] {
            assert_eq!(bad.parse::<EpochId>(), Err(EpochIdError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_hour_reads_back(hours in 0..=LAST) {
            let id = EpochId(hours);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(EpochId::of(id.begins()), id);
        }
    }
}
