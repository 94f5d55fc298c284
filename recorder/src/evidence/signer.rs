//! Private keys that sign evidence, and their published history, in a folder of their own.
//!
//! ```text
//! <folder>/capture.key   private key, PKCS#8, mode 0600
//! <folder>/export.key    private key, PKCS#8, mode 0600
//! <folder>/keys.json     public keys of both, with those that were replaced
//! ```
//! A private key is made when it is missing; the history is brought up to date at each start, so that
//! a crash between the two files leaves nothing to repair. One process uses the folder at a time.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::{KeyId, KeySet, PublishedKey, Role, keys::KeySetError, to_json};
use crate::limits::{KEYS_BYTES_MAX, SIGNING_KEY_BYTES_MAX};

const HISTORY: &str = "keys.json";
/// Mode bits of group and world.
const OTHERS: u32 = 0o077;

/// Why signing keys cannot be used. The environment is to blame, but for [`SignerError::Crypto`].
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// A file or the folder.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// Others may read a private key.
    #[error("{}: other users may read this private key (chmod 600, and think of a new one)", .0.display())]
    Open(PathBuf),
    /// A file holds no private key.
    #[error("{}: holds no private key of Ed25519", .0.display())]
    Key(PathBuf),
    /// The history cannot be read. It is not replaced: old recordings are verified with it.
    #[error("{}: {error}", path.display())]
    History {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: KeySetError,
    },
    /// Us: no key could be made.
    #[error("no signing key could be made")]
    Crypto,
}

/// A private key. Never shown.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: KeyId,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`SignerError::Crypto`].
    pub fn generate() -> Result<Self, SignerError> {
        Ed25519KeyPair::generate().map_err(|_| SignerError::Crypto)?.try_into()
    }

    /// Name of its public key.
    pub const fn id(&self) -> &KeyId {
        &self.id
    }

    /// Its public key, in use from `from_ms` on.
    pub fn published(&self, role: Role, from_ms: u64) -> PublishedKey {
        PublishedKey::new(public(&self.pair).unwrap_or_default(), Some(role), from_ms)
    }

    /// For signatures of other parts of the recorder: the capture key signs checkpoints of journals.
    pub(crate) const fn pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }

    /// The signature of exactly these bytes.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.pair.sign(bytes).as_ref().to_vec()
    }
}

impl TryFrom<Ed25519KeyPair> for SigningKey {
    type Error = SignerError;

    fn try_from(pair: Ed25519KeyPair) -> Result<Self, SignerError> {
        let id = KeyId::of(&public(&pair).ok_or(SignerError::Crypto)?);
        Ok(Self { pair, id })
    }
}

fn public(pair: &Ed25519KeyPair) -> Option<[u8; 32]> {
    pair.public_key().as_ref().try_into().ok()
}

/// The signing keys of a node.
pub struct Signers {
    folder: PathBuf,
    capture: Arc<SigningKey>,
    export: SigningKey,
    history: Vec<PublishedKey>,
}

impl Signers {
    /// Opens the keys in `folder`, and makes what is missing.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn open(folder: &Path, now_ms: u64) -> Result<Self, SignerError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        let mut signers = Self {
            folder: folder.to_owned(),
            capture: Arc::new(open_or_make(folder, Role::Capture)?),
            export: open_or_make(folder, Role::Export)?,
            history: read_history(&folder.join(HISTORY))?,
        };
        signers.publish(now_ms)?;
        Ok(signers)
    }

    /// Signs what was captured. A journal that is being written keeps its key when it is rotated.
    pub const fn capture(&self) -> &Arc<SigningKey> {
        &self.capture
    }

    /// Signs manifests and receipts.
    pub const fn export(&self) -> &SigningKey {
        &self.export
    }

    /// All public keys of this node, also those that were replaced.
    pub fn published(&self) -> KeySet {
        KeySet::checked(self.history.clone()).unwrap_or_default()
    }

    /// Puts a new key in the place of one, and destroys the old one.
    ///
    /// # Errors
    /// [`SignerError`]; then the old key or the new one is in use after the next start.
    pub fn rotate(&mut self, role: Role, now_ms: u64) -> Result<(), SignerError> {
        let path = self.folder.join(file_name(role));
        let old = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
        let new = make(&path)?;
        match role {
            Role::Capture => self.capture = Arc::new(new),
            Role::Export => self.export = new,
        }
        self.publish(now_ms)?;
        overwrite(old).map_err(at(&path))
    }

    /// Adds the keys to the history, and ends the use of others of their role.
    fn publish(&mut self, now_ms: u64) -> Result<(), SignerError> {
        let before = self.history.clone();
        for (key, role) in [(&*self.capture, Role::Capture), (&self.export, Role::Export)] {
            for other in self.history.iter_mut() {
                if other.role == Some(role) && other.id != key.id && other.until_ms.is_none() {
                    other.until_ms = Some(now_ms);
                }
            }
            match self.history.iter_mut().find(|known| known.id == key.id) {
                // The clock was set back since the key was made: it is in use already.
                Some(known) => known.from_ms = known.from_ms.min(now_ms),
                None => self.history.push(key.published(role, now_ms)),
            }
        }
        if self.history == before {
            return Ok(());
        }
        let path = self.folder.join(HISTORY);
        let set = KeySet::checked(self.history.clone());
        let set = set.map_err(|error| SignerError::History { path: path.clone(), error })?;
        let json = to_json(&set.to_jwks()).map_err(|_| SignerError::Crypto)?;
        replace(&path, &json, 0o644).map_err(at(&path))
    }
}

const fn file_name(role: Role) -> &'static str {
    match role {
        Role::Capture => "capture.key",
        Role::Export => "export.key",
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SignerError {
    let path = path.to_owned();
    |error| SignerError::Io { path, error }
}

fn open_or_make(folder: &Path, role: Role) -> Result<SigningKey, SignerError> {
    let path = folder.join(file_name(role));
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return make(&path),
        Err(error) => return Err(at(&path)(error)),
    };
    if file.metadata().map_err(at(&path))?.mode() & OTHERS != 0 {
        return Err(SignerError::Open(path));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(SIGNING_KEY_BYTES_MAX).read_to_end(&mut bytes).map_err(at(&path))?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes)
        .map_err(|_| SignerError::Key(path))?
        .try_into()
}

/// Makes a key and puts it in the place of `path` at once.
fn make(path: &Path) -> Result<SigningKey, SignerError> {
    let key = SigningKey::generate()?;
    // Version 1 of PKCS#8, which all versions of openssl read.
    let private = key.pair.to_pkcs8v1().map_err(|_| SignerError::Crypto)?;
    replace(path, private.as_ref(), 0o600).map_err(at(path))?;
    Ok(key)
}

/// Writes a whole file; whatever happens, the old one or the new one is there.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Best effort: a file system that copies on write keeps the old blocks.
fn overwrite(mut file: File) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len().min(SIGNING_KEY_BYTES_MAX));
    file.write_all(&vec![0; length.unwrap_or_default()])?;
    file.sync_all()
}

fn read_history(path: &Path) -> Result<Vec<PublishedKey>, SignerError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(path)(error)),
    };
    let mut text = String::new();
    file.take(KEYS_BYTES_MAX).read_to_string(&mut text).map_err(at(path))?;
    let set = KeySet::parse(&text);
    let set = set.map_err(|error| SignerError::History { path: path.to_owned(), error })?;
    Ok(set.keys().to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn keys_are_made_once_and_stay() {
        let folder = folder("signers");
        let first = Signers::open(&folder, 5).unwrap();
        let again = Signers::open(&folder, 9).unwrap();
        assert_eq!(first.published(), again.published());
        assert!(first.capture().id() != first.export().id());
        let text = fs::read_to_string(folder.join(HISTORY)).unwrap();
        assert_eq!(KeySet::parse(&text).unwrap(), again.published());
        for name in ["capture.key", "export.key"] {
            let mode = fs::metadata(folder.join(name)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
        let signature = again.export().sign(b"x");
        assert!(first.published().signer(Role::Export, b"x", &signature).is_some());
        assert!(first.published().signer(Role::Capture, b"x", &signature).is_none());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_replaced_key_stays_published_and_its_bytes_go() {
        let folder = folder("rotate");
        let mut signers = Signers::open(&folder, 5).unwrap();
        let signature = signers.export().sign(b"old");
        let mut old = File::open(folder.join("export.key")).unwrap();
        signers.rotate(Role::Export, 8).unwrap();
        let again = Signers::open(&folder, 9).unwrap();
        assert_eq!(again.published(), signers.published());
        assert_eq!(again.published().keys().len(), 3);
        let keys = again.published();
        let by = keys.signer(Role::Export, b"old", &signature).unwrap();
        assert_eq!((by.from_ms, by.until_ms), (5, Some(8)));
        assert!(again.export().id() != &by.id);
        let mut bytes = Vec::new();
        old.read_to_end(&mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0) && bytes.len() > 40);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_crash_before_the_history_was_written_mends_itself() {
        let folder = folder("crash");
        let first = Signers::open(&folder, 5).unwrap();
        fs::remove_file(folder.join("capture.key")).unwrap();
        fs::write(folder.join("capture.new"), b"half").unwrap();
        let keys = Signers::open(&folder, 7).unwrap().published();
        let old = keys.keys().iter().find(|key| &key.id == first.capture().id()).unwrap();
        assert_eq!(old.until_ms, Some(7));
        assert_eq!(keys.keys().len(), 3);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_key_unusable() {
        let folder = folder("clock");
        drop(Signers::open(&folder, 900).unwrap());
        let keys = Signers::open(&folder, 100).unwrap().published();
        assert!(keys.keys().iter().all(|key| key.is_in_use(100) && key.is_in_use(900)));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_not_right_is_told_and_left_as_it_is() {
        let folder = folder("wrong");
        drop(Signers::open(&folder, 5).unwrap());
        let key = folder.join("export.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Signers::open(&folder, 6), Err(SignerError::Open(_))));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, b"no key").unwrap();
        assert!(matches!(Signers::open(&folder, 6), Err(SignerError::Key(_))));
        assert_eq!(fs::read(&key).unwrap(), b"no key");
        fs::remove_file(&key).unwrap();
        fs::write(folder.join(HISTORY), b"{").unwrap();
        assert!(matches!(Signers::open(&folder, 6), Err(SignerError::History { .. })));
        assert_eq!(fs::read(folder.join(HISTORY)).unwrap(), b"{");
        fs::remove_dir_all(&folder).unwrap();
    }
}
