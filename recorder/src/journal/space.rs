//! How much room the disk has left.

use std::{io, path::Path};

/// Room of a file system, for users without privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that there are.
    pub total: u64,
}

/// How near the end is. Later ones are worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watermark {
    /// More than 20 % is free.
    Plenty,
    /// At most 20 %: time to look after it.
    Low,
    /// At most 10 %: no new recordings.
    VeryLow,
    /// At most 5 %: recordings are about to stop.
    Critical,
}

impl Space {
    /// Of the file system that `path` is on.
    ///
    /// # Errors
    /// When there is no such path.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = nix::sys::statvfs::statvfs(path)?;
        let unit = found.fragment_size();
        Ok(Self {
            free: found.blocks_available().saturating_mul(unit),
            total: found.blocks().saturating_mul(unit),
        })
    }

    /// Which mark it is at. A file system that says nothing of its size has plenty.
    #[must_use]
    pub fn watermark(self) -> Watermark {
        let percent = |n: u64| u128::from(self.total) * u128::from(n) / 100;
        match u128::from(self.free) {
            _ if self.total == 0 => Watermark::Plenty,
            free if free <= percent(5) => Watermark::Critical,
            free if free <= percent(10) => Watermark::VeryLow,
            free if free <= percent(20) => Watermark::Low,
            _ => Watermark::Plenty,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn marks_are_at_20_10_and_5_percent() {
        let at = |free, total| Space { free, total }.watermark();
        assert_eq!(at(201, 1000), Watermark::Plenty);
        assert_eq!(at(200, 1000), Watermark::Low);
        assert_eq!(at(100, 1000), Watermark::VeryLow);
        assert_eq!(at(50, 1000), Watermark::Critical);
        assert_eq!(at(0, 1000), Watermark::Critical);
        assert_eq!(at(0, 0), Watermark::Plenty);
        assert_eq!(at(u64::MAX, u64::MAX), Watermark::Plenty);
        assert!(Watermark::Critical > Watermark::Low);
    }

    #[test]
    fn a_real_disk_has_some() {
        let space = Space::of(&std::env::temp_dir()).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        assert!(Space::of(Path::new("/nonexistent/x")).is_err());
    }
}
