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
    /// More is free than at the next mark.
    Plenty,
    /// At most 20 %, and at most 20 GiB: time to look after it.
    Low,
    /// At most 10 %, and at most 10 GiB: no new recordings.
    VeryLow,
    /// At most 5 %, and at most 4 GiB: recordings are about to stop.
    Critical,
}

/// The marks: percent of the disk, and GiB. On a large disk a few percent are many recordings.
const MARKS: [(Watermark, u64, u64); 3] =
    [(Watermark::Critical, 5, 4), (Watermark::VeryLow, 10, 10), (Watermark::Low, 20, 20)];

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
        let is_at = |(_, share, gib): &&(Watermark, u64, u64)| {
            self.free <= gib << 30 && u128::from(self.free) <= percent(*share)
        };
        let found = MARKS.iter().find(is_at).filter(|_| self.total > 0);
        found.map_or(Watermark::Plenty, |(mark, ..)| *mark)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn marks_are_at_shares_of_the_disk_and_at_sizes() {
        let at = |free, total| Space { free, total }.watermark();
        assert_eq!(at(201, 1000), Watermark::Plenty);
        assert_eq!(at(200, 1000), Watermark::Low);
        assert_eq!(at(100, 1000), Watermark::VeryLow);
        assert_eq!(at(50, 1000), Watermark::Critical);
        assert_eq!(at(0, 1000), Watermark::Critical);
        assert_eq!(at(0, 0), Watermark::Plenty);
        assert_eq!(at(u64::MAX, u64::MAX), Watermark::Plenty);
        assert!(Watermark::Critical > Watermark::Low);
        let gib = |free: u64| at(free << 30, 1000 << 30);
        assert_eq!((gib(21), gib(20)), (Watermark::Plenty, Watermark::Low));
        assert_eq!((gib(11), gib(10)), (Watermark::Low, Watermark::VeryLow));
        assert_eq!((gib(5), gib(4)), (Watermark::VeryLow, Watermark::Critical));
    }

    #[test]
    fn a_real_disk_has_some() {
        let space = Space::of(&std::env::temp_dir()).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
        assert!(Space::of(Path::new("/nonexistent/x")).is_err());
    }
}
