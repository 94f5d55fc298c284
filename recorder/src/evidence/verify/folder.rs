//! The folder of a recording, as it is found. Nothing in it is believed.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::{
    digest::Digest,
    limits::{ARTIFACTS_MAX, EVIDENCE_BYTES_MAX, UNLISTED_NAMED_MAX},
};

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("is missing")]
    Missing,
    #[error("is no file")]
    NoFile,
    #[error("is larger than {EVIDENCE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Missing } else { Self::Io(error) }
    }
}

pub(super) struct Folder<'a>(&'a Path);

impl<'a> Folder<'a> {
    pub(super) const fn new(path: &'a Path) -> Self {
        Self(path)
    }

    pub(super) fn open(&self, name: &str) -> Result<File, ReadError> {
        // Without this flag a pipe that has the name of a file would be waited for.
        let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.0.join(name))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(ReadError::NoFile) }
    }

    /// All of a small file.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.open(name)?.take(EVIDENCE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > EVIDENCE_BYTES_MAX { Err(ReadError::TooLarge) } else { Ok(bytes) }
    }

    /// Size and digest of a file of any size.
    pub(super) fn digest(&self, name: &str) -> Result<(u64, Digest), ReadError> {
        Ok(Digest::of_reader(&mut self.open(name)?)?)
    }

    /// Files that are not `known`: one more than are named in a report, at most. Best effort: folders
    /// that cannot be read are passed over.
    pub(super) fn others(&self, known: &HashSet<&str>) -> BTreeSet<String> {
        let (mut found, mut open) = (BTreeSet::new(), vec![PathBuf::new()]);
        let mut left = 2 * ARTIFACTS_MAX;
        while let Some(folder) = open.pop() {
            let Ok(entries) = fs::read_dir(self.0.join(&folder)) else { continue };
            for entry in entries.flatten() {
                left -= 1;
                if left == 0 || found.len() > UNLISTED_NAMED_MAX {
                    return found;
                }
                let path = folder.join(entry.file_name());
                let name = path.to_string_lossy();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                } else if !known.contains(&*name) {
                    found.insert(name.into_owned());
                }
            }
        }
        found
    }
}
