//! Files of a journal as the writer sees them: made once, appended, synced. The seam at which tests
//! let a disk fail.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use crate::key::shred::sync_dir;

/// A file that is being written.
pub(crate) trait Sink: Send {
    /// Writes all bytes, or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Waits until they are on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// Where files are made.
pub(crate) trait Disk: Send {
    /// Makes a file that must not be there yet, for its owner only.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Sink>>;
    /// Makes the names in a directory last.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
}

/// The system's.
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        sync_dir(dir)
    }
}

impl Sink for fs::File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether more room would help, rather than another file.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
