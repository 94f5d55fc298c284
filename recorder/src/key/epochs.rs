//! The operator's keys, one for each hour, in a directory of their own. Destroying the key of an hour
//! makes every wrap of that hour worthless, in the database, its log and its backups too.
//!
//! ```text
//! <data>/epochs/2026-11-22T01.key    32 random bytes, mode 0600
//! ```

use std::{
    collections::BTreeSet,
    fs, io,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use sfu_proto::id::RecordingId;
use zeroize::Zeroizing;

use super::{
    DataKey, EpochId, KEY_BYTES, OperatorWrap, Secret, cipher, fill_random, secret,
    shred::{shred, sync_dir},
};

const SUFFIX: &str = ".key";
/// A key on its way to its name. What a crash leaves is shredded at the next start.
const NEW: &str = ".new-";
/// In front of what authenticates a wrap's place.
const LABEL: &[u8] = b"conclave operator wrap v1\0";

/// The operator's keys.
pub struct EpochKeys {
    dir: PathBuf,
}

/// Why an operator's key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// Environment: the directory or file cannot be read or written.
    #[error("epoch keys: {0}")]
    File(#[from] io::Error),
    /// Environment: others can read a key.
    #[error("epoch key {0}: others can read it; chmod 600 it")]
    Open(EpochId),
    /// Environment: a key file does not hold a key.
    #[error("epoch key {0}: the file is not {KEY_BYTES} bytes long")]
    Length(EpochId),
    /// The key of that hour is destroyed; nobody here can open the recording again.
    #[error("epoch key {0} is destroyed")]
    Destroyed(EpochId),
    /// The wrap was changed, or is of another recording or data directory.
    #[error("the operator's wrap does not open")]
    Wrap,
}

impl EpochKeys {
    /// The keys in a directory, which is made when it is missing. Shreds what a crash left.
    ///
    /// # Errors
    /// [`EpochError::File`].
    pub fn open(dir: &Path) -> Result<Self, EpochError> {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => sync_dir(
                dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
            )?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(NEW) {
                shred(&entry.path())?;
            }
        }
        sync_dir(dir)?;
        Ok(Self::existing(dir))
    }

    /// The keys in a directory as it is, to open wraps only: changes nothing.
    #[must_use]
    pub fn existing(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Wraps a data key under the key of the hour of `now`, which is made when it is missing.
    ///
    /// # Errors
    /// [`EpochError`].
    pub fn wrap(
        &self,
        recording: RecordingId,
        key: &DataKey,
        now: SystemTime,
    ) -> Result<OperatorWrap, EpochError> {
        let epoch = EpochId::of(now);
        let wrapping = match self.load(epoch) {
            Err(EpochError::Destroyed(_)) => self.make(epoch)?,
            other => other?,
        };
        let mut nonce = [0; NONCE_LEN];
        fill_random(&mut nonce);
        let mut bytes = [0; KEY_BYTES + 16];
        let (sealed, tag) = bytes.split_at_mut(KEY_BYTES);
        let once = Nonce::assume_unique_for_key(nonce);
        let place = Aad::from(place(recording, epoch));
        cipher(&wrapping)
            .seal_out_of_place_scatter(once, place, key.bytes(), sealed, &[], tag)
            .expect("32 bytes are short enough");
        Ok(OperatorWrap { epoch, nonce, bytes })
    }

    /// Opens a wrap.
    ///
    /// # Errors
    /// [`EpochError`]; `Destroyed` when its hour's key is gone.
    pub fn unwrap(
        &self,
        recording: RecordingId,
        wrap: &OperatorWrap,
    ) -> Result<DataKey, EpochError> {
        let wrapping = self.load(wrap.epoch)?;
        let mut bytes = Zeroizing::new(wrap.bytes);
        let nonce = Nonce::assume_unique_for_key(wrap.nonce);
        let place = Aad::from(place(recording, wrap.epoch));
        let plain = cipher(&wrapping)
            .open_in_place(nonce, place, &mut bytes[..])
            .map_err(|_| EpochError::Wrap)?;
        DataKey::from_bytes(plain).map_err(|_| EpochError::Wrap)
    }

    /// Hours whose keys there are.
    ///
    /// # Errors
    /// [`EpochError::File`].
    pub fn held(&self) -> Result<BTreeSet<EpochId>, EpochError> {
        let mut held = BTreeSet::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            held.extend(stem.and_then(|stem| stem.parse::<EpochId>().ok()));
        }
        Ok(held)
    }

    /// Destroys the keys of the hours that were over at `instant`, except those in `keep`: overwrites,
    /// syncs, unlinks. `keep` names the hours of all recordings that are not purged, as the caller
    /// knows them *after* every wrap it ever took was noted; `instant` an hour ago leaves time for
    /// that. Returns what was destroyed; may be called again after a failure.
    ///
    /// # Errors
    /// [`EpochError::File`].
    pub fn destroy_before(
        &self,
        instant: SystemTime,
        keep: &BTreeSet<EpochId>,
    ) -> Result<Vec<EpochId>, EpochError> {
        let open = EpochId::of(instant);
        let over = self.held()?.into_iter().filter(|id| *id < open && !keep.contains(id));
        let mut destroyed = Vec::new();
        for id in over {
            shred(&self.path(id))?;
            destroyed.push(id);
        }
        sync_dir(&self.dir)?;
        Ok(destroyed)
    }

    fn path(&self, epoch: EpochId) -> PathBuf {
        self.dir.join(format!("{epoch}{SUFFIX}"))
    }

    fn load(&self, epoch: EpochId) -> Result<Secret, EpochError> {
        let path = self.path(epoch);
        let found = match fs::metadata(&path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(EpochError::Destroyed(epoch));
            }
            Err(error) => return Err(error.into()),
        };
        if found.mode() & 0o077 != 0 {
            return Err(EpochError::Open(epoch));
        }
        let read = DataKey::from_file(&path).map_err(|_| EpochError::Length(epoch))?;
        // A crash between overwriting and unlinking leaves zeros.
        if read.bytes() == &[0; KEY_BYTES] {
            return Err(EpochError::Destroyed(epoch));
        }
        Ok(read.0)
    }

    /// Makes the key of an hour. It gets its name only when it is safe on disk; when somebody else was
    /// faster, theirs is the key.
    fn make(&self, epoch: EpochId) -> Result<Secret, EpochError> {
        let mut key = secret();
        fill_random(&mut key[..]);
        let mut random = [0; 8];
        fill_random(&mut random);
        let new = self.dir.join(format!("{NEW}{:016x}", u64::from_le_bytes(random)));
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&key[..])?;
        file.sync_all()?;
        let linked = fs::hard_link(&new, self.path(epoch));
        let first = match linked {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error.into()),
        };
        if first {
            fs::remove_file(&new)?
        } else {
            shred(&new)?
        }
        sync_dir(&self.dir)?;
        if first { Ok(key) } else { self.load(epoch) }
    }
}

/// What a wrap is bound to: it opens for this recording and hour only.
fn place(recording: RecordingId, epoch: EpochId) -> Vec<u8> {
    [LABEL, &recording.bits().to_le_bytes(), &epoch.hours().to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{
        os::unix::fs::PermissionsExt as _,
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn start() -> SystemTime {
        UNIX_EPOCH + HOUR * 500_000 + Duration::from_secs(59)
    }

    fn keys(name: &str) -> (PathBuf, EpochKeys) {
        let dir =
            std::env::temp_dir().join(format!("conclave-epochs-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let keys = EpochKeys::open(&dir).unwrap();
        (dir, keys)
    }

    fn recording(bits: u128) -> RecordingId {
        RecordingId::from_bits(bits)
    }

    #[test]
    fn a_wrap_opens_for_its_recording_and_hour_only_and_unchanged() {
        let (dir, keys) = keys("wrap");
        let key = DataKey::generate();
        let wrap = keys.wrap(recording(1), &key, start()).unwrap();
        let again = EpochKeys::open(&dir).unwrap();
        assert!(again.unwrap(recording(1), &wrap).unwrap().bytes() == key.bytes());
        assert!(matches!(keys.unwrap(recording(2), &wrap), Err(EpochError::Wrap)));
        for bit in 0..(wrap.bytes.len() + NONCE_LEN) * 8 {
            let mut bad = wrap.clone();
            match (bit / 8).checked_sub(NONCE_LEN) {
                None => bad.nonce[bit / 8] ^= 1 << (bit % 8),
                Some(at) => bad.bytes[at] ^= 1 << (bit % 8),
            }
            assert!(matches!(keys.unwrap(recording(1), &bad), Err(EpochError::Wrap)));
        }
        let next = keys.wrap(recording(1), &key, start() + HOUR).unwrap();
        let moved = OperatorWrap { epoch: next.epoch, ..wrap };
        assert!(matches!(keys.unwrap(recording(1), &moved), Err(EpochError::Wrap)));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn hours_have_different_keys_and_wraps_different_nonces() {
        let (dir, keys) = keys("hours");
        let key = DataKey::generate();
        let wraps: Vec<_> = (0..4)
            .map(|n| keys.wrap(recording(1), &key, start() + HOUR / 2 * n).unwrap())
            .collect();
        assert_eq!(keys.held().unwrap().len(), 2);
        for (i, one) in wraps.iter().enumerate() {
            assert!(
                wraps[..i].iter().all(|other| other.nonce != one.nonce && other.bytes != one.bytes)
            );
        }
        let files: BTreeSet<Vec<u8>> =
            keys.held().unwrap().into_iter().map(|id| fs::read(keys.path(id)).unwrap()).collect();
        assert_eq!(files.len(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn destroyed_hours_open_nothing_and_kept_ones_still_do() {
        let (dir, keys) = keys("destroy");
        let key = DataKey::generate();
        let wraps: Vec<_> =
            (0..4).map(|n| keys.wrap(recording(1), &key, start() + HOUR * n).unwrap()).collect();
        let looking = dir.join("looking");
        fs::hard_link(keys.path(wraps[0].epoch), &looking).unwrap();
        let keep = BTreeSet::from([wraps[1].epoch]);
        let destroyed = keys.destroy_before(start() + HOUR * 3, &keep).unwrap();
        assert_eq!(destroyed, [wraps[0].epoch, wraps[2].epoch]);
        assert_eq!(fs::read(&looking).unwrap(), [0; KEY_BYTES], "overwritten, not only unlinked");
        for (n, wrap) in wraps.iter().enumerate() {
            match keys.unwrap(recording(1), wrap) {
                Ok(opened) => assert!([1, 3].contains(&n) && opened.bytes() == key.bytes()),
                Err(error) => {
                    assert!([0, 2].contains(&n) && matches!(error, EpochError::Destroyed(_)));
                }
            }
        }
        assert!(keys.destroy_before(start() + HOUR * 3, &keep).unwrap().is_empty());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn what_a_crash_left_is_no_key() {
        let (dir, keys) = keys("crash");
        let key = DataKey::generate();
        let wrap = keys.wrap(recording(1), &key, start()).unwrap();
        // Overwritten and not yet unlinked.
        fs::write(keys.path(wrap.epoch), [0; KEY_BYTES]).unwrap();
        assert!(matches!(keys.unwrap(recording(1), &wrap), Err(EpochError::Destroyed(_))));
        // Half written and not yet named.
        let half = dir.join(format!("{NEW}00"));
        fs::write(&half, [1; 7]).unwrap();
        EpochKeys::open(&dir).unwrap();
        assert!(!half.exists());
        // A short file is refused and never replaced: a wrap might need it.
        let next = start() + HOUR;
        fs::write(keys.path(EpochId::of(next)), [1; 7]).unwrap();
        fs::set_permissions(keys.path(EpochId::of(next)), fs::Permissions::from_mode(0o600))
            .unwrap();
        assert!(matches!(keys.wrap(recording(1), &key, next), Err(EpochError::Length(_))));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn keys_are_private_and_open_ones_refused() {
        let (dir, keys) = keys("mode");
        let wrap = keys.wrap(recording(1), &DataKey::generate(), start()).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        let path = keys.path(wrap.epoch);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(keys.unwrap(recording(1), &wrap), Err(EpochError::Open(_))));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn two_at_once_make_one_key() {
        let (dir, keys) = keys("race");
        let key = DataKey::generate();
        let wraps = std::thread::scope(|scope| {
            let wrap = || keys.wrap(recording(1), &key, start()).unwrap();
            let running: Vec<_> = (0..8).map(|_| scope.spawn(wrap)).collect();
            running.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        for wrap in &wraps {
            assert!(keys.unwrap(recording(1), wrap).unwrap().bytes() == key.bytes());
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no other file is left");
        fs::remove_dir_all(&dir).unwrap();
    }
}
