//! What a recorder in a process of its own says over the link, and what it is asked: JSON between two
//! processes of one release.

use sdk_spec::{
    recording::StopReason,
    rest::recordings::{EvidenceKey, Storage},
};
use serde::{Deserialize, Serialize};
use sfu_proto::id::{RecordingId, RoomId};

use super::Failed;

/// How the recorder is, each second and when it changes.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    /// Whether one more recording may begin.
    pub(super) has_room: bool,
    /// Whether composites, mixes and HLS can be made.
    pub(super) composites: bool,
    /// Every key that ever signed.
    pub(super) keys: Vec<EvidenceKey>,
    /// Recordings that failed of late: said for a while, so that a cut of the link costs none.
    pub(super) failed: Vec<Failure>,
}

/// A recording that failed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Failure {
    room: String,
    recording: String,
    reason: StopReason,
}

impl From<Failed> for Failure {
    fn from((room, recording, reason): Failed) -> Self {
        Self { room: room.to_string(), recording: recording.to_string(), reason }
    }
}

impl Failure {
    /// None: the ids are none.
    pub(super) fn read(&self) -> Option<Failed> {
        let room: RoomId = self.room.parse().ok()?;
        let recording: RecordingId = self.recording.parse().ok()?;
        Some((room, recording, self.reason))
    }
}

/// Whether a storage of a project works. No `Debug`: it has credentials.
#[derive(Serialize, Deserialize)]
pub(super) struct Test {
    pub(super) project: String,
    pub(super) storage: Storage,
}
