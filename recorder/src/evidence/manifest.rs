//! The manifest: everything that is known of a recording, in one signed text.

use serde::{Deserialize, Serialize};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId, RoomId, TrackId},
};

use super::{ArtifactName, ArtifactNameError, JournalHead, KeyId, Software};
use crate::{
    digest::Digest,
    finalize::{CodecName, Gap, Handle, SenderFit, TrackResult},
    seal::{Fingerprint, Sealed},
};

/// Its name in a recording.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of its signature, which is pushed last: where it is, the recording is whole.
pub const MANIFEST_SIGNATURE_FILE: &str = "manifest.json.sig";
/// What a signed text says it is.
pub(crate) const TYPE: &str = "conclave.recording.manifest";
pub(crate) const VERSION: u32 = 1;

/// A recording, as the partner gets it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `conclave.recording.manifest`.
    pub r#type: String,
    /// Version of this format: 1.
    pub version: u32,
    /// The recording.
    pub recording: RecordingId,
    /// Project of the room.
    pub project: String,
    /// The room.
    pub room: RoomId,
    /// First moment, ms since 1970 on the node's clock; times of artifacts count from it.
    pub started_at_ms: u64,
    /// Last moment, ms since 1970.
    pub ended_at_ms: u64,
    /// When this was signed, ms since 1970.
    pub created_at_ms: u64,
    /// What made it.
    pub software: Software,
    /// The key that signed it.
    pub key: KeyId,
    /// The key that signed the capture.
    pub capture_key: KeyId,
    /// Heads of the journals that the artifacts were made from.
    pub journals: Vec<JournalHead>,
    /// SHA-256 of `SHA256SUMS`, which has the digest of every other file.
    pub sums_sha256: Digest,
    /// Bytes of a segment below `merkle_root`.
    pub segment_bytes: u64,
    /// The files.
    pub artifacts: Vec<Artifact>,
    /// What was wanted and could not be made, such as a composite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<ArtifactKind>,
}

/// One sealed file.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Artifact {
    /// Path under the folder of the recording.
    pub name: ArtifactName,
    /// What it is.
    pub kind: ArtifactKind,
    /// Media type of the plaintext, such as `video/webm`.
    pub media_type: String,
    /// Codec; none when it is no media or has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<CodecName>,
    /// The track, when it holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<TrackId>,
    /// What the track shows or carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Whose track it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<ParticipantId>,
    /// What the partner calls that participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Bytes of the plaintext.
    pub plain_bytes: u64,
    /// SHA-256 of the plaintext.
    pub plain_sha256: Digest,
    /// Merkle root of the plaintext (RFC 9162 section 2.1.1).
    pub merkle_root: Digest,
    /// Where the file's own time 0 is, ms since the recording started. A player that puts all tracks
    /// at their offsets has them in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_ms: Option<u64>,
    /// How long it is, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Times without media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Tracks that a composite or mix shows or sounds not to their end: they could not be decoded.
    #[serde(default, skip_serializing_if = "is_none")]
    pub flawed_tracks: u32,
    /// What sender reports told of the publisher's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sr_fit: Option<SenderFit>,
    /// Who can open it.
    pub recipients: Vec<Fingerprint>,
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactKind {
    /// One track, as it was published.
    Track,
    /// The picture of the whole room.
    Composite,
    /// All voices in one file.
    AudioMix,
    /// Playlist or piece of an HLS stream.
    Hls,
    /// Who is where in the composite, and when.
    Layout,
    /// Who was there when, gaps, speakers.
    Events,
    /// Chat and data of the room.
    Messages,
    /// Journal file as it was written, or its key.
    Journal,
}

/// For serde.
const fn is_none(count: &u32) -> bool {
    *count == 0
}

impl Artifact {
    /// An artifact of which only what sealing tells is known.
    pub fn new(
        name: ArtifactName,
        kind: ArtifactKind,
        media_type: &str,
        sealed: &Sealed,
        recipients: Vec<Fingerprint>,
    ) -> Self {
        Self {
            name,
            kind,
            media_type: media_type.to_owned(),
            codec: None,
            track: None,
            source: None,
            participant: None,
            handle: None,
            bytes: sealed.bytes,
            sha256: sealed.sha256,
            plain_bytes: sealed.plain_bytes,
            plain_sha256: sealed.plain_sha256,
            merkle_root: sealed.merkle_root,
            offset_ms: None,
            duration_ms: None,
            gaps: Vec::new(),
            flawed_tracks: 0,
            sr_fit: None,
            recipients,
        }
    }

    /// The sealed file of a track.
    ///
    /// # Errors
    /// When the file's name is none of an artifact.
    pub fn of_track(
        result: &TrackResult,
        handle: Option<Handle>,
        sealed: &Sealed,
        recipients: Vec<Fingerprint>,
    ) -> Result<Self, ArtifactNameError> {
        let file = &result.file;
        let is_video = matches!(file.source, Source::Camera | Source::Screen);
        let (name, media) = (format!("{}.age", file.name), file.container.media_type(is_video));
        Ok(Self {
            codec: Some(file.codec),
            track: Some(file.track),
            source: Some(file.source),
            participant: Some(file.participant),
            handle,
            offset_ms: Some(result.offset_ms),
            duration_ms: Some(result.duration_ms),
            gaps: result.gaps.clone(),
            sr_fit: result.sr_fit,
            ..Self::new(name.parse()?, ArtifactKind::Track, media, sealed, recipients)
        })
    }
}

impl Manifest {
    /// Reads a manifest whose signature is valid; `None` when it is none of a known version.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let manifest: Self = serde_json::from_slice(bytes).ok()?;
        (manifest.r#type == TYPE && manifest.version == VERSION).then_some(manifest)
    }
}
