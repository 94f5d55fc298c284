//! The deletion receipt: which files were handed over, how that was checked, and that ours are gone.
//!
//! The signed text travels as a string within JSON, so it reaches whoever checks it byte by byte:
//!
//! ```text
//! {"receipt": "{\n  \"type\": \"conclave.recording.receipt\", …}\n", "key": "…", "signature": "…"}
//! ```

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use sfu_proto::id::{RecordingId, RoomId};

use super::{Artifact, ArtifactName, KeyId, KeySet, Manifest, Role, SigningKey, Software, to_json};
use crate::{digest::Digest, limits::RECEIPT_BYTES_MAX};

/// Its name beside files of a recording that will not become whole there.
pub const RECEIPT_FILE: &str = "receipt.json";
/// What a signed text says it is.
const TYPE: &str = "conclave.recording.receipt";
const VERSION: u32 = 1;

/// What happened to a recording here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The recording.
    pub recording: RecordingId,
    /// Project of the room.
    pub project: String,
    /// The room.
    pub room: RoomId,
    /// Why it was purged.
    pub reason: PurgeReason,
    /// When the last of it was gone here, ms since 1970.
    pub purged_at_ms: u64,
    /// When this was signed, ms since 1970.
    pub signed_at_ms: u64,
    /// What became of the keys.
    pub keys: KeyFate,
    /// SHA-256 of `manifest.json`; none when it did not come to a manifest.
    pub manifest_sha256: Option<Digest>,
    /// The files.
    pub artifacts: Vec<ReceiptArtifact>,
    /// Where files verifiably arrived. Empty: nowhere that is known of.
    pub delivered: Vec<Delivery>,
    /// What purged it.
    pub software: Software,
}

/// A file that a receipt is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptArtifact {
    /// Its name.
    pub name: ArtifactName,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of the file as it was handed over.
    pub sha256: Digest,
}

impl From<&Artifact> for ReceiptArtifact {
    fn from(from: &Artifact) -> Self {
        Self { name: from.name.clone(), bytes: from.bytes, sha256: from.sha256 }
    }
}

/// Why a recording was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurgeReason {
    /// The partner has it.
    Delivered,
    /// It became as old as it may become here.
    MaxAge,
    /// Erasure was demanded.
    Erasure,
    /// Somebody who may do so deleted it.
    Deleted,
    /// Nothing was recorded.
    Empty,
    /// What was recorded could be opened by nobody any more, neither here nor by the partner.
    Unreadable,
    /// It became as old as it may become while the disk that it was on was missing here. Nothing was
    /// destroyed for this receipt.
    Lost,
}

/// What became of the keys of a recording's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum KeyFate {
    /// The operator's keys of these hours are destroyed, and with them its wraps, also in backups.
    Destroyed {
        /// Names of the hours.
        epochs: Vec<String>,
    },
    /// Our copy of the wrapped key is gone; the operator's key of its hour is destroyed later, when
    /// no other recording needs it.
    Pending {
        /// Names of the hours.
        epochs: Vec<String>,
    },
    /// There never was an operator's wrap (option `sealed`): the key was only in memory.
    NeverKept,
    /// The list of the hours whose keys wrapped it could not be read. Our copy of the wrapped key is
    /// gone with the rest, unless the recording is lost.
    Unknown,
}

/// A place where the files are now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Id of the storage target. No address and no credentials.
    pub target: String,
    /// How it was checked that they are there.
    pub verified: Verified,
    /// When, ms since 1970.
    pub verified_at_ms: u64,
    /// Only these files, when not all of them arrived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<ArtifactName>,
}

/// How it was checked that the files arrived, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// The size of each (V1).
    Size,
    /// The provider's own checksum of each (V2).
    ProviderChecksum,
    /// SHA-256 of each, read back (V3).
    ReadBack,
}

/// The text that is signed.
#[derive(Serialize, Deserialize)]
struct Statement {
    r#type: String,
    version: u32,
    key: KeyId,
    #[serde(flatten)]
    receipt: Receipt,
}

/// A receipt with its signature, as the API and webhooks hand it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReceipt {
    /// Exactly the signed text.
    pub receipt: String,
    /// The export key that signed it.
    pub key: KeyId,
    /// Ed25519 over the bytes of `receipt`, base64.
    pub signature: String,
}

/// Why a receipt is refused. Blames who made or carried it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not the JSON of a signed receipt, or longer than [`RECEIPT_BYTES_MAX`].
    #[error("it is no signed receipt")]
    Malformed,
    /// Changed, or signed by another key.
    #[error("the signature is not valid by any export key given")]
    Signature,
    /// Signed, but not by the key that it names.
    #[error("it names another key than the one that signed it, {0}")]
    OtherKey(KeyId),
    /// Signed with a key that was not in use then.
    #[error("key {0} was not in use when it was signed")]
    Retired(KeyId),
    /// Signed, but of another type or version.
    #[error("it is no receipt of a known version")]
    Content,
}

impl SignedReceipt {
    /// Signs a receipt with the export key.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is our mistake.
    pub fn sign(receipt: Receipt, key: &SigningKey) -> serde_json::Result<Self> {
        let (r#type, key_id) = (TYPE.to_owned(), key.id().clone());
        let text = to_json(&Statement { r#type, version: VERSION, key: key_id, receipt })?;
        let signature = BASE64_STANDARD.encode(key.sign(&text));
        let receipt = String::from_utf8(text).map_err(serde::ser::Error::custom)?;
        Ok(Self { receipt, key: key.id().clone(), signature })
    }

    /// Reads the JSON of a signed receipt.
    ///
    /// # Errors
    /// [`ReceiptError::Malformed`].
    pub fn parse(json: &[u8]) -> Result<Self, ReceiptError> {
        if json.len() as u64 > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::Malformed);
        }
        serde_json::from_slice(json).map_err(|_| ReceiptError::Malformed)
    }

    /// What the receipt says, when one of `keys` vouches for it.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn verify(&self, keys: &KeySet) -> Result<Receipt, ReceiptError> {
        let signature =
            BASE64_STANDARD.decode(&self.signature).map_err(|_| ReceiptError::Malformed)?;
        let text = self.receipt.as_bytes();
        let key = keys.signer(Role::Export, text, &signature).ok_or(ReceiptError::Signature)?;
        let said: Statement = serde_json::from_slice(text).map_err(|_| ReceiptError::Content)?;
        if said.r#type != TYPE || said.version != VERSION {
            return Err(ReceiptError::Content);
        }
        if said.key != key.id || self.key != key.id {
            return Err(ReceiptError::OtherKey(key.id.clone()));
        }
        if !key.is_in_use(said.receipt.signed_at_ms) {
            return Err(ReceiptError::Retired(key.id.clone()));
        }
        Ok(said.receipt)
    }
}

impl Receipt {
    /// It is about this manifest and all its artifacts.
    pub fn is_of(&self, manifest: &Manifest, manifest_bytes: &[u8]) -> bool {
        let mut ours: Vec<ReceiptArtifact> = self.artifacts.clone();
        let mut theirs: Vec<ReceiptArtifact> = manifest.artifacts.iter().map(Into::into).collect();
        ours.sort_by(|a, b| a.name.cmp(&b.name));
        theirs.sort_by(|a, b| a.name.cmp(&b.name));
        self.recording == manifest.recording
            && self.manifest_sha256 == Some(Digest::of(manifest_bytes))
            && ours == theirs
    }
}
