//! The first signature: what the node captured, as the heads of its journals' chains.

use std::fmt;

use serde::{Deserialize, Serialize};
use sfu_proto::id::RecordingId;

use super::{KeyId, KeySet, PublishedKey, Role, SigningKey, Software, to_json};
use crate::digest::Digest;

/// Name of the statement in a recording.
pub const CAPTURE_FILE: &str = "capture.json";
/// Name of its signature.
pub const CAPTURE_SIGNATURE_FILE: &str = "capture.json.sig";
/// What a signed text says it is.
const TYPE: &str = "conclave.recording.capture";
const VERSION: u32 = 1;

/// Where the chain of a journal file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHead {
    /// Number of the file within the recording.
    pub file: u32,
    /// Chunks in it.
    pub chunks: u64,
    /// Chain hash after the last one.
    pub head: Digest,
}

/// How a capture ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// The journal was closed.
    Closed,
    /// The recorder or the machine stopped; the journal is whole up to its last chunk.
    Recovered,
    /// Something of the journal is missing or not what was written. What comes before the place is in
    /// the files; the journal as it was found is handed over beside them.
    Damaged {
        /// The first file that is not as it was.
        file: u32,
        /// Where in it, bytes.
        offset: u64,
        /// What is wrong there.
        flaw: Damage,
    },
}

/// What is wrong with a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damage {
    /// The file has no header of a journal.
    Header,
    /// Sealed with another data key, or its header was changed.
    OtherKey,
    /// It says that it is another file or of another recording.
    OtherPlace,
    /// A chunk is not what was written.
    Chunk,
    /// A signature is not that of the capture key.
    Signature,
    /// The file is not there.
    Missing,
    /// The end of the file before it is missing.
    Unlinked,
    /// The system could not read it, however often it was tried.
    Unreadable,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "it has no header of a journal",
            Self::OtherKey => "it is sealed with another key, or its header was changed",
            Self::OtherPlace => "it is of another place or recording",
            Self::Chunk => "a chunk is not what was written",
            Self::Signature => "a signature is not that of the capture key",
            Self::Missing => "the file is missing",
            Self::Unlinked => "the end of the file before it is missing",
            Self::Unreadable => "the disk did not give it back",
        })
    }
}

/// What was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The recording.
    pub recording: RecordingId,
    /// First moment, ms since 1970 on the node's clock.
    pub started_at_ms: u64,
    /// Last moment, ms since 1970.
    pub ended_at_ms: u64,
    /// How it ended.
    pub ended: Ended,
    /// Now, ms since 1970: after a crash later than the end.
    pub signed_at_ms: u64,
    /// All journal files, by number.
    pub journals: Vec<JournalHead>,
    /// What captured.
    pub software: Software,
}

/// The text that is signed.
#[derive(Serialize, Deserialize)]
struct Statement {
    r#type: String,
    version: u32,
    key: KeyId,
    #[serde(flatten)]
    capture: Capture,
}

/// A statement with its signature, as it is kept and exported.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedCapture {
    /// Content of [`CAPTURE_FILE`].
    pub statement: Vec<u8>,
    /// Content of [`CAPTURE_SIGNATURE_FILE`].
    pub signature: Vec<u8>,
}

/// Why a signed capture is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error("the signature is not valid by any capture key given")]
    Signature,
    #[error("it is no capture statement of a known version")]
    Content,
    #[error("it names another key than the one that signed it, {0}")]
    OtherKey(KeyId),
}

impl SignedCapture {
    /// Signs what was captured.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which is our mistake.
    pub fn sign(capture: Capture, key: &SigningKey) -> serde_json::Result<Self> {
        let (r#type, key_id) = (TYPE.to_owned(), key.id().clone());
        let statement = to_json(&Statement { r#type, version: VERSION, key: key_id, capture })?;
        Ok(Self { signature: key.sign(&statement), statement })
    }

    /// What it says and which key says so, when that key is one of `keys`.
    pub(crate) fn verify<'a>(
        &self,
        keys: &'a KeySet,
    ) -> Result<(Capture, &'a PublishedKey), CaptureError> {
        let key = keys.signer(Role::Capture, &self.statement, &self.signature);
        let key = key.ok_or(CaptureError::Signature)?;
        let said: Statement =
            serde_json::from_slice(&self.statement).map_err(|_| CaptureError::Content)?;
        if said.r#type != TYPE || said.version != VERSION {
            return Err(CaptureError::Content);
        }
        if said.key != key.id {
            return Err(CaptureError::OtherKey(key.id.clone()));
        }
        Ok((said.capture, key))
    }
}
