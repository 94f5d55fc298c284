//! An entry of the audit log: its leaf, and the opening of its commitment.

use aws_lc_rs::hmac;

use super::tree::{Hash, leaf_hash};
use crate::secret::sha256;

/// Bytes of a salt.
pub const SALT_BYTES: usize = 32;

/// What stands in the tree for good. Nothing in it is about a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Project id, or `operator`.
    pub tree: String,
    /// Index of the leaf, from 0.
    pub seq: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// `key:<id>`, `operator:<id>`, `client:<participant id>` or `system`.
    pub actor: String,
    /// `room.update`, `key.revoke`…
    pub action: String,
    /// Commitment to the [`Opening`].
    pub commitment: Hash,
}

/// What the commitment hides once it is erased. No `Debug`: the object may be a handle.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// Random.
    pub salt: [u8; SALT_BYTES],
    /// What it was done to.
    pub object: String,
    /// Salted digest of the object before it.
    pub before: Option<Hash>,
    /// Salted digest of the object after it.
    pub after: Option<Hash>,
}

impl Entry {
    /// Hash of the leaf. The leaf is text, a line for each field in the order of the struct, after a
    /// line that names the format; the commitment is in lower-case hexadecimal.
    pub fn leaf(&self) -> Hash {
        let Self { tree, seq, time_ms, actor, action, commitment } = self;
        let commitment = hex(commitment);
        let text = format!(
            "conclave-audit-1\n{tree}\n{seq}\n{time_ms}\n{actor}\n{action}\n{commitment}\n"
        );
        leaf_hash(text.as_bytes())
    }
}

impl Opening {
    /// The commitment: SHA-256 of salt, object and digests, each behind its length in four bytes (big
    /// endian; a missing digest has length 0).
    pub fn commitment(&self) -> Hash {
        let digest = |hash: &Option<Hash>| hash.map(|h| h.to_vec()).unwrap_or_default();
        let (before, after) = (digest(&self.before), digest(&self.after));
        let parts = [&self.salt[..], self.object.as_bytes(), &before, &after];
        let mut bytes = b"conclave-commitment-1\n".to_vec();
        for part in parts {
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend(part);
        }
        sha256(&bytes)
    }
}

/// Salted digest of an object's state: HMAC-SHA-256 under the salt.
pub fn digest(salt: &[u8; SALT_BYTES], state: &[u8]) -> Hash {
    let mut out = [0; 32];
    let key = hmac::Key::new(hmac::HMAC_SHA256, salt);
    out.copy_from_slice(hmac::sign(&key, state).as_ref());
    out
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads 32 bytes of hexadecimal.
pub fn unhex(text: &str) -> Option<Hash> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}
