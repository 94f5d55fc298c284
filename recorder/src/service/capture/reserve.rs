//! A file that holds room on the disk. The database is on the same one by default: at the end of the room
//! recordings must still take the steps that purge them. It is removed when nothing else is free and no
//! journal would take its room, and made anew when there is room.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::posix_fallocate;

use crate::{
    journal::{Space, Watermark},
    limits::RESERVE_BYTES,
};

const NAME: &str = "reserve";

/// Beside the spool.
pub(super) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(super) fn beside(spool: &Path) -> Self {
        Self { path: spool.with_file_name(NAME) }
    }

    /// Makes or gives up the room, as the disk is; `live`: recordings that are written.
    pub(super) fn keep(&self, space: Space, live: usize) {
        let bytes = RESERVE_BYTES.min(space.total / 100);
        let is_there = self.path.exists();
        let done = match space.watermark() {
            Watermark::Plenty | Watermark::Low if !is_there && bytes > 0 => self.make(bytes),
            Watermark::Critical if is_there && live == 0 && space.free < bytes => {
                tracing::error!("the disk is full: the last room is given to the database");
                fs::remove_file(&self.path)
            }
            _ => Ok(()),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "the reserve of the recorder's disk");
        }
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&self.path)?;
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        posix_fallocate(&file, 0, bytes).map_err(|error| {
            let _ = fs::remove_file(&self.path); // A part of it is of no use.
            error.into()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn room_is_held_until_nothing_else_is_left_and_nobody_records() {
        let dir = std::env::temp_dir().join(format!("conclave-reserve-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let (reserve, file) = (Reserve::beside(&dir.join("spool")), dir.join(NAME));
        let disk = |free| Space { free, total: 100 << 20 };
        reserve.keep(disk(8 << 20), 0);
        assert!(!file.exists(), "there is little room");
        reserve.keep(disk(50 << 20), 5);
        assert!(fs::metadata(&file).unwrap().blocks() * 512 >= 1 << 20, "the disk gave it");
        reserve.keep(disk(2 << 20), 0);
        reserve.keep(disk(1000), 1);
        assert!(file.exists(), "a journal would take it");
        reserve.keep(disk(1000), 0);
        assert!(!file.exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
