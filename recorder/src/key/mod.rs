//! The keys of a recording: one data key, subkeys of it for each use, and wraps of it for those who
//! may open it again.
//!
//! ```text
//!                  ┌─ HKDF ─▶ subkey of journal file n, of work file n …   (never stored)
//! data key (random)├─ age ──▶ partner's wrap: only the partner's identities open it
//!                  └─ AES ──▶ operator's wrap, under the key of the hour ([`EpochKeys`])
//! ```
//!
//! The operator's wrap lets a restarted recorder go on. It dies with the key of its hour, whatever
//! copies of the wrap there are. A `sealed` recording has none: its data key is in memory only, and
//! after a crash only the partner can open the journal.

mod epoch;
mod epochs;
pub mod partner;
pub(crate) mod shred;
mod wrapped;

use std::{fmt, fs, io::Read as _, path::Path};

use aws_lc_rs::{
    aead::{AES_256_GCM, LessSafeKey, UnboundKey},
    hkdf, rand,
};
use zeroize::Zeroizing;

pub use epoch::{EpochId, EpochIdError};
pub use epochs::{EpochError, EpochKeys};
pub use wrapped::{OperatorWrap, WrapError, WrappedKeys};

/// Bytes of a data key and of every key derived from it.
pub const KEY_BYTES: usize = 32;

/// In front of every HKDF info: subkeys of this program and of nothing else.
const LABEL: &[u8] = b"conclave recorder v1\0";

/// Key bytes that do not move and are wiped: moves of the value copy the pointer only.
type Secret = Box<Zeroizing<[u8; KEY_BYTES]>>;

fn secret() -> Secret {
    Box::new(Zeroizing::new([0; KEY_BYTES]))
}

/// Random bytes from the operating system.
///
/// # Panics
/// When the operating system has no randomness: nothing would be safe then.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    rand::fill(bytes).expect("the operating system gives random bytes");
}

/// What a subkey is for. Different uses and numbers give unrelated keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A file of the journal.
    Journal {
        /// Its number.
        file: u32,
    },
    /// A file in which finalize keeps something between two passes.
    Work {
        /// Its number, never used twice in a recording.
        file: u32,
    },
}

impl Purpose {
    /// Kind and number: five bytes always, so that no two uses read the same.
    fn info(self) -> [u8; 5] {
        let (kind, number) = match self {
            Self::Journal { file } => (1, file),
            Self::Work { file } => (2, file),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }
}

/// The data key of a recording: opens everything that is kept of it here. No `Debug`, no `Clone`.
pub struct DataKey(Secret);

/// Names a data key without giving it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why bytes are no data key. Blame: the caller, or who wrote the file.
#[derive(Debug, thiserror::Error)]
pub enum DataKeyError {
    /// Another length.
    #[error("a data key has {KEY_BYTES} bytes")]
    Length,
    /// The file cannot be read.
    #[error("data key file: {0}")]
    File(#[from] std::io::Error),
}

impl DataKey {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = secret();
        fill_random(&mut bytes[..]);
        Self(bytes)
    }

    /// One that was unwrapped.
    ///
    /// # Errors
    /// [`DataKeyError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DataKeyError> {
        let mut key = secret();
        if bytes.len() != KEY_BYTES {
            return Err(DataKeyError::Length);
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// Reads the 32 bytes that `age -d` gives of a partner's wrap.
    ///
    /// # Errors
    /// [`DataKeyError`].
    pub fn from_file(path: &Path) -> Result<Self, DataKeyError> {
        // One byte more than a key: what is longer is refused and never read to its end.
        let mut bytes = Zeroizing::new([0; KEY_BYTES + 1]);
        let mut file = fs::File::open(path)?;
        let mut len = 0;
        while len < bytes.len() {
            match file.read(&mut bytes[len..])? {
                0 => break,
                read => len += read,
            }
        }
        Self::from_bytes(&bytes[..len])
    }

    /// Its name: tells a wrong key from a damaged file.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = Zeroizing::new([0; KEY_BYTES]);
        self.derive(b"", &[0; 5], &mut id);
        let mut short = [0; 16];
        short.copy_from_slice(&id[..16]);
        KeyId(short)
    }

    /// The key for one use. `salt`, random and kept in the clear beside what is sealed, makes it
    /// another key even when a number is used twice.
    #[must_use]
    pub fn subkey(&self, purpose: Purpose, salt: &[u8; 16]) -> Subkey {
        let mut key = secret();
        self.derive(salt, &purpose.info(), &mut key);
        Subkey(key)
    }

    /// HKDF-SHA256 (RFC 5869).
    fn derive(&self, salt: &[u8], info: &[u8; 5], out: &mut [u8; KEY_BYTES]) {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
        let extracted = salt.extract(&self.0[..]);
        let info = [LABEL, info];
        let expanded = extracted.expand(&info, hkdf::HKDF_SHA256);
        expanded.and_then(|okm| okm.fill(out)).expect("32 bytes are one block of HKDF-SHA256");
    }

    /// The bytes, for a wrap.
    fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// A key derived for one use. No `Debug`, no `Clone`.
pub struct Subkey(Secret);

impl Subkey {
    /// The key for AES-256-GCM. Its user sees to it that no nonce is used twice.
    #[must_use]
    pub fn cipher(&self) -> LessSafeKey {
        cipher(&self.0)
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_use_number_salt_and_data_key_has_its_own_subkey() {
        let mut seen = HashSet::new();
        for key in [DataKey::generate(), DataKey::generate()] {
            assert!(seen.insert(key.bytes().to_vec()));
            for salt in [[0; 16], [1; 16]] {
                for file in [0, 1, 255, 256, u32::MAX] {
                    for purpose in [Purpose::Journal { file }, Purpose::Work { file }] {
                        let subkey = key.subkey(purpose, &salt);
                        assert!(*subkey.0 == *key.subkey(purpose, &salt).0, "derived anew");
                        assert!(seen.insert(subkey.0.to_vec()), "{purpose:?} repeats");
                    }
                }
            }
            assert!(!seen.iter().any(|bytes| bytes.starts_with(&key.id().0)), "the name is no key");
        }
    }

    /// RFC 5869 appendix A.1, cut to 32 bytes, shows that the construction is HKDF-SHA256: here the
    /// same is computed by hand from HMAC.
    #[test]
    fn subkeys_are_hkdf_sha256() {
        use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
        let key = DataKey::from_bytes(&[7; 32]).unwrap();
        let extracted = sign(&Key::new(HMAC_SHA256, &[9; 16]), &[7; 32]);
        let info = [LABEL, &[1, 4, 3, 0, 0], &[1]].concat();
        let expected = sign(&Key::new(HMAC_SHA256, extracted.as_ref()), &info);
        let subkey = key.subkey(Purpose::Journal { file: 0x304 }, &[9; 16]);
        assert_eq!(&subkey.0[..], expected.as_ref());
    }

    #[test]
    fn a_key_file_holds_exactly_the_key() {
        let path = std::env::temp_dir().join(format!("conclave-datakey-{}", std::process::id()));
        for (len, good) in [(0, false), (31, false), (32, true), (33, false), (100_000, false)] {
            fs::write(&path, vec![5; len]).unwrap();
            assert_eq!(DataKey::from_file(&path).is_ok(), good, "{len}");
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(DataKey::from_file(&path), Err(DataKeyError::File(_))));
    }
}
