//! Random bits, and capabilities: texts that let their bearer act for one participant.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sfu_proto::id::{ParticipantId, RoomId};
use subtle::ConstantTimeEq as _;

/// Bytes of a secret: 256 random bits cannot be guessed, so a plain hash keeps them.
pub(crate) const SECRET_BYTES: usize = 32;

/// Random bytes from the operating system.
///
/// # Panics
/// When the operating system has no randomness: nothing would be safe then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// 128 random bits, for an id.
pub(crate) fn random_bits() -> u128 {
    u128::from_ne_bytes(random())
}

/// `prefix` and 128 random bits in the text form of all our ids.
pub(crate) fn opaque_id(prefix: &str) -> String {
    let id = RoomId::from_bits(random_bits()).to_string();
    let (_, text) = id.split_once('_').unwrap_or(("", &id));
    format!("{prefix}{text}")
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-256 of a secret, which is what is kept of it.
#[derive(Clone, Copy)]
pub(crate) struct SecretHash(pub(crate) [u8; 32]);

impl SecretHash {
    pub(crate) fn of(secret: &[u8]) -> Self {
        Self(sha256(secret))
    }

    /// Whether `secret` is the one; in constant time.
    pub(crate) fn matches(&self, secret: &[u8]) -> bool {
        bool::from(self.0.ct_eq(&sha256(secret)))
    }
}

/// Names a participant and proves the right to act for it: the resume ticket of a WebSocket and
/// the resource of a WHIP or WHEP session. No `Debug`: it is a secret.
#[derive(Clone, Copy)]
pub(crate) struct Capability {
    pub(crate) room: RoomId,
    pub(crate) participant: ParticipantId,
    pub(crate) secret: [u8; SECRET_BYTES],
}

const ID_BYTES: usize = 16;

impl Capability {
    /// Base64url text of 86 characters.
    pub(crate) fn encode(&self) -> String {
        let mut bytes = [0; 2 * ID_BYTES + SECRET_BYTES];
        bytes[..ID_BYTES].copy_from_slice(&self.room.bits().to_be_bytes());
        bytes[ID_BYTES..2 * ID_BYTES].copy_from_slice(&self.participant.bits().to_be_bytes());
        bytes[2 * ID_BYTES..].copy_from_slice(&self.secret);
        BASE64.encode(bytes)
    }

    /// Reads the text; `None` when it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 2 * ID_BYTES + SECRET_BYTES] = if text.len() <= 128 {
            BASE64.decode(text).ok()?.try_into().ok()?
        } else {
            return None;
        };
        let id = |from: usize| -> Option<u128> {
            Some(u128::from_be_bytes(bytes[from..from + ID_BYTES].try_into().ok()?))
        };
        Some(Self {
            room: RoomId::from_bits(id(0)?),
            participant: ParticipantId::from_bits(id(ID_BYTES)?),
            secret: bytes[2 * ID_BYTES..].try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn capability_round_trips_and_junk_is_refused() {
        let one = Capability {
            room: RoomId::from_bits(random_bits()),
            participant: ParticipantId::from_bits(random_bits()),
            secret: random(),
        };
        let text = one.encode();
        let back = Capability::parse(&text).unwrap();
        assert!(back.room == one.room && back.participant == one.participant);
        assert!(SecretHash::of(&one.secret).matches(&back.secret));
        assert!(!SecretHash::of(&one.secret).matches(&random::<32>()));
        for bad in ["", "a", &text[1..], &format!("{text}A"), &"A".repeat(10_000), "ü"] {
            assert!(Capability::parse(bad).is_none());
        }
    }
}
