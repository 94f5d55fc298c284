//! The second signature: puts the evidence of a recording together, unless its capture is in doubt.

use sfu_proto::id::{RecordingId, RoomId};

use super::{
    Artifact, ArtifactKind, ArtifactName, CAPTURE_FILE, CAPTURE_SIGNATURE_FILE, Capture,
    JournalHead, MANIFEST_FILE, MANIFEST_SIGNATURE_FILE, Manifest, SUMS_FILE, SignedCapture,
    SigningKey, Software, VERIFY_SCRIPT, VERIFY_SCRIPT_FILE,
    capture::CaptureError,
    keys::KeySet,
    manifest::{TYPE, VERSION},
    sums::{self, Sums},
    to_json,
};
use crate::{
    digest::Digest,
    limits::{ARTIFACTS_MAX, EVIDENCE_BYTES_MAX},
    seal::SEGMENT_BYTES,
};

/// What is known of a recording when all its artifacts are sealed.
#[derive(Clone)]
pub struct Draft {
    /// The recording.
    pub recording: RecordingId,
    /// Project of the room.
    pub project: String,
    /// The room.
    pub room: RoomId,
    /// Now, ms since 1970.
    pub created_at_ms: u64,
    /// What made the artifacts.
    pub software: Software,
    /// Heads of the journals as they were read when the artifacts were made.
    pub journals: Vec<JournalHead>,
    /// The sealed files.
    pub artifacts: Vec<Artifact>,
    /// What was wanted and could not be made.
    pub missing: Vec<ArtifactKind>,
}

/// A small file that goes beside the artifacts, in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct EvidenceFile {
    /// Its name in the folder of the recording.
    pub name: &'static str,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The evidence of a recording.
#[derive(Clone)]
pub struct Bundle {
    /// Files in the order in which they are pushed, after all artifacts. The last one says that the
    /// recording is whole.
    pub files: Vec<EvidenceFile>,
    /// SHA-256 of the manifest, for the deletion receipt.
    pub manifest_sha256: Digest,
}

/// Why no evidence is made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The capture was not signed by a key of ours, or was changed after it was signed.
    #[error("the capture is in doubt, so it is not exported: {0}")]
    Capture(String),
    /// The capture is of another recording.
    #[error("the capture is of another recording, so it is not exported")]
    OtherRecording,
    /// What was read from the disk is not what was captured.
    #[error("the journals are not those that were captured, so they are not exported")]
    OtherJournals,
    /// Us: two artifacts of one name.
    #[error("two artifacts have the name {0}")]
    SameName(ArtifactName),
    /// Us: a key of ours is not in the published set, so nobody could verify it.
    #[error("the export key is not published")]
    Unpublished,
    /// Caller: more than [`ARTIFACTS_MAX`] artifacts or [`EVIDENCE_BYTES_MAX`] bytes.
    #[error("more than {ARTIFACTS_MAX} artifacts or {EVIDENCE_BYTES_MAX} bytes of manifest")]
    TooLarge,
    /// Us: JSON could not be written.
    #[error("the manifest cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<CaptureError> for ExportError {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error.to_string())
    }
}

/// Checks the capture against `published` and signs the manifest with `key`.
///
/// # Errors
/// [`ExportError`].
pub fn export(
    draft: Draft,
    capture: &SignedCapture,
    published: &KeySet,
    key: &SigningKey,
) -> Result<Bundle, ExportError> {
    let (captured, capture_key) = capture.verify(published)?;
    if captured.recording != draft.recording {
        return Err(ExportError::OtherRecording);
    }
    if captured.journals != draft.journals {
        return Err(ExportError::OtherJournals);
    }
    if draft.artifacts.len() > ARTIFACTS_MAX {
        return Err(ExportError::TooLarge);
    }
    let sums = sums::write(&digests(&draft.artifacts, capture)?);
    let manifest = manifest(draft, captured, capture_key.id.clone(), &sums, key);
    let manifest = to_json(&manifest)?;
    if manifest.len() as u64 > EVIDENCE_BYTES_MAX {
        return Err(ExportError::TooLarge);
    }
    let signature = key.sign(&manifest);
    if published.signer(super::Role::Export, &manifest, &signature).is_none() {
        return Err(ExportError::Unpublished);
    }
    let manifest_sha256 = Digest::of(&manifest);
    let files = [
        (CAPTURE_FILE, capture.statement.clone()),
        (CAPTURE_SIGNATURE_FILE, capture.signature.clone()),
        (VERIFY_SCRIPT_FILE, VERIFY_SCRIPT.into()),
        (SUMS_FILE, sums.into_bytes()),
        (MANIFEST_FILE, manifest),
        (MANIFEST_SIGNATURE_FILE, signature),
    ];
    let files = files.map(|(name, bytes)| EvidenceFile { name, bytes }).into();
    Ok(Bundle { files, manifest_sha256 })
}

/// What `SHA256SUMS` holds: all but itself and the manifest, which vouches for it.
fn digests(artifacts: &[Artifact], capture: &SignedCapture) -> Result<Sums, ExportError> {
    let mut sums = Sums::from([
        (CAPTURE_FILE.to_owned(), Digest::of(&capture.statement)),
        (CAPTURE_SIGNATURE_FILE.to_owned(), Digest::of(&capture.signature)),
        (VERIFY_SCRIPT_FILE.to_owned(), Digest::of(VERIFY_SCRIPT.as_bytes())),
    ]);
    for artifact in artifacts {
        if sums.insert(artifact.name.as_str().to_owned(), artifact.sha256).is_some() {
            return Err(ExportError::SameName(artifact.name.clone()));
        }
    }
    Ok(sums)
}

fn manifest(
    draft: Draft,
    captured: Capture,
    capture_key: super::KeyId,
    sums: &str,
    key: &SigningKey,
) -> Manifest {
    Manifest {
        r#type: TYPE.to_owned(),
        version: VERSION,
        recording: draft.recording,
        project: draft.project,
        room: draft.room,
        started_at_ms: captured.started_at_ms,
        ended_at_ms: captured.ended_at_ms,
        created_at_ms: draft.created_at_ms,
        software: draft.software,
        key: key.id().clone(),
        capture_key,
        journals: captured.journals,
        sums_sha256: Digest::of(sums.as_bytes()),
        segment_bytes: SEGMENT_BYTES as u64,
        artifacts: draft.artifacts,
        missing: draft.missing,
    }
}
