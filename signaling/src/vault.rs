//! The data key: seals secret columns, keys the hashes of API keys.
//!
//! AES-256-GCM with a random nonce under a key derived for each use; the context (table and column,
//! row) is authenticated, so that a sealed value cannot be moved to another place.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::secret;

/// First byte of everything sealed: names the key, for a later rotation.
const VERSION: u8 = 1;
/// Bytes of the data key.
pub(crate) const DATA_KEY_BYTES: usize = 32;

/// The data key. No `Debug`: it is a secret.
pub struct Vault {
    sealing: LessSafeKey,
    hashing: hmac::Key,
}

/// Why a data key cannot be used. Blame: the operator's environment.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be read or made.
    #[error("data key file: {0}")]
    File(#[from] io::Error),
    /// Others can read the file.
    #[error("data key file: others can read it; chmod 600 it")]
    Open,
    /// Not 32 bytes in base64.
    #[error("data key: must be 32 bytes in base64 (openssl rand -base64 32)")]
    Format,
}

/// Sealed bytes that do not open: changed, moved, or of another data key.
#[derive(Debug, thiserror::Error)]
#[error("sealed bytes do not open")]
pub(crate) struct Unsealed;

impl Vault {
    /// A vault of a key.
    ///
    /// # Panics
    /// Never: the key has the length that the algorithm wants.
    pub fn new(key: &[u8; DATA_KEY_BYTES]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derived = |use_for: &[u8]| hmac::sign(&root, use_for);
        let sealing = UnboundKey::new(&AES_256_GCM, derived(b"conclave seal v1").as_ref());
        Self {
            sealing: LessSafeKey::new(sealing.expect("32 bytes")),
            hashing: hmac::Key::new(hmac::HMAC_SHA256, derived(b"conclave hash v1").as_ref()),
        }
    }

    /// Reads a key in base64.
    ///
    /// # Errors
    /// [`VaultError::Format`].
    pub fn from_base64(text: &str) -> Result<Self, VaultError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| VaultError::Format)?;
        let key: [u8; DATA_KEY_BYTES] = bytes.try_into().map_err(|_| VaultError::Format)?;
        Ok(Self::new(&key))
    }

    /// Reads the key in a file, which only its owner may read; makes a missing one.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn from_file(path: &Path) -> Result<Self, VaultError> {
        match fs::metadata(path) {
            Ok(found) if found.mode() & 0o077 != 0 => Err(VaultError::Open),
            Ok(_) => Self::from_base64(&fs::read_to_string(path)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(error) => Err(error.into()),
        }
    }

    fn make(path: &Path) -> Result<Self, VaultError> {
        let key: [u8; DATA_KEY_BYTES] = secret::random();
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(STANDARD.encode(key).as_bytes())?;
        file.sync_all()?;
        Ok(Self::new(&key))
    }

    /// Seals bytes for one place.
    ///
    /// # Panics
    /// Never: what is sealed is far below the algorithm's limit.
    pub(crate) fn seal(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = secret::random();
        let mut sealed = plain.to_vec();
        self.sealing
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut sealed,
            )
            .expect("short enough");
        [&[VERSION][..], &nonce, &sealed].concat()
    }

    /// Opens what was sealed for the same place.
    pub(crate) fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let (head, body) = sealed.split_at_checked(1 + NONCE_LEN).ok_or(Unsealed)?;
        if head[0] != VERSION {
            return Err(Unsealed);
        }
        let nonce = Nonce::try_assume_unique_for_key(&head[1..]).map_err(|_| Unsealed)?;
        let mut body = body.to_vec();
        let aad = Aad::from(context.as_bytes());
        let plain = self.sealing.open_in_place(nonce, aad, &mut body).map_err(|_| Unsealed)?;
        Ok(plain.to_vec())
    }

    /// Keyed hash of a secret, which is what is kept of it.
    pub(crate) fn hash(&self, secret: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(hmac::sign(&self.hashing, secret).as_ref());
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_sealed_opens_only_unchanged_in_its_place_with_its_key() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("a", b"secret");
        assert_eq!(vault.open("a", &sealed).unwrap(), b"secret");
        assert!(vault.open("b", &sealed).is_err());
        assert!(Vault::new(&[8; 32]).open("a", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(vault.open("a", &bad).is_err());
            assert!(vault.open("a", &sealed[..i]).is_err());
        }
        assert_ne!(vault.seal("a", b"secret"), sealed);
    }

    #[test]
    fn a_key_file_is_made_once_and_must_be_private() {
        let path = std::env::temp_dir().join(secret::opaque_id("conclave-vault-"));
        let sealed = Vault::from_file(&path).unwrap().seal("a", b"s");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(Vault::from_file(&path).unwrap().open("a", &sealed).is_ok());
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Vault::from_file(&path), Err(VaultError::Open)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(Vault::from_base64("AAAA"), Err(VaultError::Format)));
    }
}
