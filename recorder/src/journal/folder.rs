//! The folder of a recording: its journal files and its wrapped keys. Names are ours alone: the id and
//! numbers.
//!
//! The wraps lie beside what they open and need no copy elsewhere; destroying the folder shreds them
//! first, so that from this moment on only the partner can open what is left anywhere.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sfu_proto::id::RecordingId;

use super::format::{CHECKPOINT_BYTES, CHUNK_HEAD_BYTES, HEADER_BYTES, TAG_BYTES};
use crate::{
    key::{
        WrappedKeys,
        shred::{shred, sync_dir},
    },
    limits::{JOURNAL_FILES_MAX, KEYS_FILE_BYTES_MAX},
};

const SUFFIX: &str = ".journal";
const DIGITS: usize = 8;
const KEYS: &str = "keys.json";
/// Their name until they are whole and safe on disk.
const KEYS_NEW: &str = "keys.json.new";

/// Folder of a recording.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    recording: RecordingId,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Environment.
    #[error("recording folder: {0}")]
    File(#[from] io::Error),
    /// Caller: the name is no recording's id.
    #[error("no folder of a recording: its name is not an id")]
    Name,
    /// Environment: something fills it.
    #[error("more than {JOURNAL_FILES_MAX} journal files")]
    TooMany,
    /// Environment: the wrapped keys were changed.
    #[error("{KEYS} is not what was written")]
    Keys,
}

impl Folder {
    /// Bytes of a journal file that has no more than its opening.
    pub(crate) const OPENING_BYTES: u64 =
        (HEADER_BYTES + CHUNK_HEAD_BYTES + CHECKPOINT_BYTES + TAG_BYTES) as u64;

    /// Makes the folder of a new recording in `parent`.
    ///
    /// # Errors
    /// [`FolderError::File`], also when it is there already.
    pub fn create(parent: &Path, recording: RecordingId) -> Result<Self, FolderError> {
        let path = parent.join(recording.to_string());
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        sync_dir(parent)?;
        Ok(Self { path, recording })
    }

    /// A folder that is there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let path = path.canonicalize()?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(FolderError::Name)?;
        let recording = name.parse().map_err(|_| FolderError::Name)?;
        if !path.is_dir() {
            return Err(FolderError::Name);
        }
        Ok(Self { path, recording })
    }

    /// Whose it is.
    #[must_use]
    pub fn recording(&self) -> RecordingId {
        self.recording
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its journal files by number. Other names are passed over.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn files(&self) -> Result<Vec<(u32, PathBuf)>, FolderError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            files.extend(file_number(&path).map(|number| (number, path)));
            if files.len() > JOURNAL_FILES_MAX {
                return Err(FolderError::TooMany);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Where a journal file is.
    pub(super) fn file(&self, number: u32) -> PathBuf {
        self.path.join(format!("{number:0DIGITS$}{SUFFIX}"))
    }

    /// Keeps the wraps of the data key, safe on disk at return. Done once, before the journal begins.
    ///
    /// # Errors
    /// [`FolderError::File`], also when there are some already.
    pub fn write_keys(&self, keys: &WrappedKeys) -> Result<(), FolderError> {
        let text = serde_json::to_vec(keys).map_err(|_| FolderError::Keys)?;
        let (new, path) = (self.path.join(KEYS_NEW), self.path.join(KEYS));
        if path.try_exists()? {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        Ok(sync_dir(&self.path)?)
    }

    /// The wraps of the data key.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn keys(&self) -> Result<WrappedKeys, FolderError> {
        let mut text = Vec::new();
        let file = fs::File::open(self.path.join(KEYS))?;
        file.take(KEYS_FILE_BYTES_MAX).read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(|_| FolderError::Keys)
    }

    /// Destroys the key, then removes everything. May be called again after a failure or a crash.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn destroy(self) -> Result<(), FolderError> {
        shred(&self.path.join(KEYS))?;
        shred(&self.path.join(KEYS_NEW))?;
        match sync_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        fs::remove_dir_all(&self.path)?;
        Ok(self.path.parent().map_or(Ok(()), sync_dir)?)
    }
}

/// The number that a journal file's name says.
pub(super) fn file_number(path: &Path) -> Option<u32> {
    let digits = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    let plain = digits.len() >= DIGITS && digits.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::key::{DataKey, EpochKeys};

    fn parent(name: &str) -> PathBuf {
        let dir =
            std::env::temp_dir().join(format!("conclave-folder-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn files_are_found_by_number_and_other_names_passed_over() {
        let dir = parent("files");
        let folder = Folder::create(&dir, RecordingId::from_bits(7)).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
        for number in [10, 2, u32::MAX] {
            fs::write(folder.file(number), b"").unwrap();
        }
        for other in [
            "keys.json",
            "1.journal",
            "x0000001.journal",
            "00000001.journal.part",
            "99999999999.journal",
        ] {
            fs::write(folder.path().join(other), b"").unwrap();
        }
        let again = Folder::open(folder.path()).unwrap();
        assert_eq!(again.recording(), folder.recording());
        let numbers: Vec<u32> = again.files().unwrap().into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [2, 10, u32::MAX]);
        assert!(matches!(Folder::open(&dir), Err(FolderError::Name)));
        assert!(Folder::create(&dir, RecordingId::from_bits(7)).is_err(), "never taken over");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_key_dies_first_and_destroying_may_be_repeated() {
        let dir = parent("destroy");
        let recording = RecordingId::from_bits(8);
        let folder = Folder::create(&dir, recording).unwrap();
        let epochs = EpochKeys::open(&dir.join("epochs")).unwrap();
        let now = std::time::SystemTime::now();
        let key = DataKey::generate();
        let wraps = WrappedKeys::wrap(recording, &key, &[], Some(&epochs), now).unwrap();
        folder.write_keys(&wraps).unwrap();
        assert!(folder.keys().unwrap() == wraps);
        assert!(folder.write_keys(&wraps).is_err(), "written once");
        let keys = folder.path().join(KEYS);
        assert_eq!(fs::metadata(&keys).unwrap().mode() & 0o777, 0o600);
        let looking = dir.join("looking");
        fs::hard_link(&keys, &looking).unwrap();
        let (new, half) = (folder.path().join(KEYS_NEW), dir.join("half"));
        fs::write(&new, b"half").unwrap();
        fs::hard_link(&new, &half).unwrap();
        fs::write(folder.file(1), b"x").unwrap();
        folder.clone().destroy().unwrap();
        assert!(!folder.path().exists());
        assert!(fs::read(&looking).unwrap().iter().all(|b| *b == 0));
        assert_eq!(fs::read(&half).unwrap(), [0; 4], "what a crash left of writing them");
        folder.destroy().unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}
