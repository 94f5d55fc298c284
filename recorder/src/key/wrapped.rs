//! All wraps of one data key, as they are stored.

use std::time::SystemTime;

use age::x25519::Recipient;
use aws_lc_rs::aead::NONCE_LEN;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sfu_proto::id::RecordingId;

use super::{
    DataKey, EpochError, EpochId, EpochKeys, KEY_BYTES,
    partner::{self, PartnerError},
};

/// A data key under the operator's key of an hour. No `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorWrap {
    /// Whose key opens it.
    pub epoch: EpochId,
    /// AES-GCM nonce, random.
    #[serde(with = "Base64")]
    pub nonce: [u8; NONCE_LEN],
    /// Sealed key and tag.
    #[serde(with = "Base64")]
    pub bytes: [u8; KEY_BYTES + 16],
}

/// The wraps of one data key. No `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedKeys {
    /// An armored `age` file for the partner.
    pub partner: Option<String>,
    /// The operator's; none when the recording is `sealed`.
    pub operator: Option<OperatorWrap>,
    /// An armored `age` file for who may have the journal as it is, where these are others than the
    /// partner's recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
}

/// Why a data key cannot be wrapped.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// Caller: neither the partner nor the operator could open it.
    #[error("nobody could open the recording: no recipient, and no operator's key")]
    Nobody,
    /// To the partner.
    #[error(transparent)]
    Partner(#[from] PartnerError),
    /// To the operator.
    #[error(transparent)]
    Epoch(#[from] EpochError),
}

impl WrappedKeys {
    /// Wraps a new data key. `epochs` is none for a `sealed` recording.
    ///
    /// # Errors
    /// [`WrapError`].
    pub fn wrap(
        recording: RecordingId,
        key: &DataKey,
        recipients: &[Recipient],
        epochs: Option<&EpochKeys>,
        now: SystemTime,
    ) -> Result<Self, WrapError> {
        if recipients.is_empty() && epochs.is_none() {
            return Err(WrapError::Nobody);
        }
        let partner = match recipients {
            [] => None,
            some => Some(partner::wrap(key, some)?),
        };
        let operator = epochs.map(|epochs| epochs.wrap(recording, key, now)).transpose()?;
        Ok(Self { partner, operator, journal: None })
    }

    /// Wraps it also for who may have the journal as it is.
    ///
    /// # Errors
    /// [`WrapError`].
    pub fn with_journal(self, key: &DataKey, recipients: &[Recipient]) -> Result<Self, WrapError> {
        Ok(Self { journal: Some(partner::wrap(key, recipients)?), ..self })
    }
}

/// Bytes of a fixed length as base64 text.
struct Base64;

impl Base64 {
    fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(bytes))
    }

    fn deserialize<'de, const N: usize, D: Deserializer<'de>>(d: D) -> Result<[u8; N], D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|_| D::Error::custom("not base64"))?;
        bytes.try_into().map_err(|_| D::Error::custom("not the expected length"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use age::x25519::Identity;

    use super::*;

    #[test]
    fn wraps_read_back_from_a_column_and_a_sealed_one_has_no_operator() {
        let dir = std::env::temp_dir().join(format!("conclave-wraps-{}", std::process::id()));
        let epochs = EpochKeys::open(&dir).unwrap();
        let (recording, now) = (RecordingId::from_bits(5), SystemTime::now());
        let (key, partner) = (DataKey::generate(), Identity::generate());
        let to = [partner.to_public()];

        let wraps = WrappedKeys::wrap(recording, &key, &to, Some(&epochs), now).unwrap();
        let column = serde_json::to_string(&wraps).unwrap();
        let read: WrappedKeys = serde_json::from_str(&column).unwrap();
        assert!(read == wraps);
        let operators = epochs.unwrap(recording, read.operator.as_ref().unwrap()).unwrap();
        let partners = partner::unwrap(&read.partner.unwrap(), &partner).unwrap();
        assert!(operators.bytes() == key.bytes() && partners.bytes() == key.bytes());

        let (second, text) = (Identity::generate(), serde_json::to_string(&wraps).unwrap());
        assert!(!text.contains("journal"), "as before where nobody else gets it");
        let wraps = wraps.with_journal(&key, &[second.to_public()]).unwrap();
        let text = serde_json::to_string(&wraps).unwrap();
        let read: WrappedKeys = serde_json::from_str(&text).unwrap();
        let opened = partner::unwrap(&read.journal.unwrap(), &second).unwrap();
        assert!(opened.bytes() == key.bytes());

        let sealed = WrappedKeys::wrap(recording, &key, &to, None, now).unwrap();
        assert!(sealed.operator.is_none() && sealed.partner.is_some());
        let nobody = WrappedKeys::wrap(recording, &key, &[], None, now);
        assert!(matches!(nobody, Err(WrapError::Nobody)));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_malformed_column_is_refused() {
        for bad in [
            "",
            "{}x",
            r#"{"partner":1,"operator":null}"#,
            r#"{"partner":null,"operator":{"epoch":"2026-11-22T01","nonce":"AA==","bytes":""}}"#,
            r#"{"partner":null,"operator":{"epoch":"now","nonce":"AAAAAAAAAAAAAAAA","bytes":""}}"#,
            r#"{"partner":null,"operator":null,"plain":"x"}"#,
        ] {
            assert!(serde_json::from_str::<WrappedKeys>(bad).is_err(), "{bad}");
        }
    }
}
