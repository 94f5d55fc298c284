//! Where a recording stands, kept by somebody else: one row, each step in a transaction with its event.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId, RoomId, TrackId},
};
use tokio::sync::watch;

use crate::{
    composite::{Canvas, Layout, Mask},
    evidence::{ArtifactKind, Delivery},
    seal::{RecipientError, Recipients},
};

/// Keeps the rows. Every call may be repeated.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// All recordings that are not purged and whose journal no other recorder wrote, oldest first. A row
    /// that cannot be read is left out and counted.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn open(&self) -> Result<Vec<Entry>, LedgerError>;

    /// One recording.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn entry(&self, recording: RecordingId) -> Result<Option<Entry>, LedgerError>;

    /// Takes a step from the row as it was read (`version`); gives the new version.
    ///
    /// # Errors
    /// [`LedgerError::Changed`] when somebody else was faster; nothing is changed then.
    async fn step(
        &self,
        recording: RecordingId,
        version: u64,
        step: Step,
    ) -> Result<u64, LedgerError>;

    /// Notes that this recorder writes the journal: nobody else may say what became of it. No new version.
    ///
    /// # Errors
    /// [`LedgerError::Changed`] when another one wrote it.
    async fn begun(&self, recording: RecordingId) -> Result<(), LedgerError>;

    /// Ends a recording that cannot go on.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn stop(&self, recording: RecordingId, why: Stop) -> Result<(), LedgerError>;

    /// Who was in the room while it was recorded, and when recording was paused.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn timeline(&self, recording: RecordingId) -> Result<Timeline, LedgerError>;

    /// The storage of a project by its id, as [`crate::storage::Target`] reads it.
    ///
    /// # Errors
    /// [`LedgerError`].
    async fn target(
        &self,
        project: &str,
        target: &str,
    ) -> Result<Option<crate::storage::Target>, LedgerError>;

    /// Changes when some row may have changed.
    fn news(&self) -> watch::Receiver<u64>;
}

/// Why a row cannot be read or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Somebody else changed the row.
    #[error("the recording changed meanwhile")]
    Changed,
    /// The partner holds it: nothing is destroyed, nothing is changed.
    #[error("the recording is held")]
    Held,
    /// Environment: the store does not answer.
    #[error("the store cannot be used now")]
    Unavailable,
}

/// Where a recording stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Media may come.
    Live,
    /// Over; nothing is made yet.
    Recorded,
    /// Files are being made.
    Finalizing,
    /// Files are on their way.
    Pushing,
    /// The storage refuses them.
    PushBlocked,
    /// All verified; to be purged.
    Delivered,
    /// Being destroyed, for the reason in [`Work::purge`]; cannot be held any more. Goes on to `Purged` only.
    Purging,
    /// Gone.
    Purged,
}

/// A row, as far as the recorder needs it.
#[derive(Clone)]
pub struct Entry {
    /// The recording.
    pub id: RecordingId,
    /// Its project.
    pub project: String,
    /// Its room.
    pub room: RoomId,
    /// Where it stands.
    pub state: State,
    /// Counts changes of the row.
    pub version: u64,
    /// Milliseconds since 1970.
    pub started_at_ms: u64,
    /// Milliseconds since 1970; none while live.
    pub stopped_at_ms: Option<u64>,
    /// When it is purged whatever became of it, milliseconds since 1970; none while live.
    pub expires_at_ms: Option<u64>,
    /// Not to be purged.
    pub held: bool,
    /// To be purged now.
    pub is_deleted: bool,
    /// To be pushed now, whenever it is due.
    pub push_wanted: bool,
    /// Percent of its age that was warned of.
    pub warned_percent: u32,
    /// Whether this recorder wrote a journal of it: then it is on this disk, or it is lost.
    pub has_journal: bool,
    /// Public keys that files are sealed to.
    pub recipients: Vec<String>,
    /// No operator's wrap.
    pub sealed: bool,
    /// Template of the names in the storage.
    pub path: String,
    /// Id of the storage target.
    pub target: Option<String>,
    /// What it is made into.
    pub outputs: Outputs,
    /// Its files, once made.
    pub artifacts: Vec<ArtifactRow>,
    /// What the recorder kept for itself.
    pub work: Work,
}

/// What a recording is made into.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outputs {
    /// A file for each track.
    pub tracks: bool,
    /// One picture with the sound of all.
    pub composite: Option<Composite>,
    /// The sound of all, alone.
    pub audio_mix: bool,
    /// The composite as HLS too.
    pub hls: bool,
    /// The journal as it is; its files are pushed while the recording goes on.
    pub journal: bool,
    /// The texts that participants sent each other.
    pub data: bool,
    /// What a composite does not show. Tracks of masked sources are not delivered.
    pub masks: Vec<Mask>,
    /// Public keys that tracks of masked sources are sealed to instead; none: nobody gets them.
    pub unmasked_recipients: Vec<String>,
}

impl Entry {
    /// Who may have the journal as it is: with masks, only who may see what they hide.
    pub(super) fn raw_recipients(&self) -> Result<Option<Recipients>, RecipientError> {
        let Outputs { masks, unmasked_recipients, .. } = &self.outputs;
        match (masks.is_empty(), unmasked_recipients.is_empty()) {
            (true, _) => Recipients::parse(&self.recipients).map(Some),
            (false, true) => Ok(None),
            (false, false) => Recipients::parse(unmasked_recipients).map(Some),
        }
    }
}

impl Outputs {
    /// Nothing is made but the journal.
    pub(super) fn is_journal_only(&self) -> bool {
        self.journal && !self.tracks && self.composite.is_none() && !self.audio_mix
    }
}

/// How a composite looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Composite {
    /// Who is where.
    pub layout: Layout,
    /// How large it is.
    pub canvas: Canvas,
}

/// What the recorder keeps in the row for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Work {
    /// SHA-256 of the manifest, hexadecimal.
    pub manifest_sha256: Option<String>,
    /// Hours whose keys wrap the data key.
    pub epochs: Vec<String>,
    /// Whether hours may be missing in `epochs`: the wraps could not be read.
    pub are_epochs_unknown: bool,
    /// What verifiably arrived at the partner's.
    pub delivered: Option<Delivery>,
    /// Why it is being purged, from [`State::Purging`] on.
    pub purge: Option<Purge>,
    /// Whether it is given up with the disk that it was on: nothing is there to be destroyed.
    pub is_lost: bool,
    /// The disk on which it is being destroyed: there, and only there, no folder means that it is done.
    pub disk: Option<String>,
}

/// A file, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Its name.
    pub name: String,
    /// What is inside the seal.
    pub media_type: String,
    /// Of which track.
    pub track: Option<TrackId>,
    /// Of which participant.
    pub participant: Option<ParticipantId>,
    /// What it shows.
    pub source: Option<Source>,
    /// Bytes as sealed.
    pub bytes: u64,
    /// SHA-256 as sealed, hexadecimal.
    pub sha256: String,
    /// Bytes that arrived.
    pub pushed_bytes: u64,
    /// Whether it was verified.
    pub verified: bool,
}

/// A change of a row. What is none stays.
#[derive(Clone, Default)]
pub struct Step {
    /// Where it stands now.
    pub state: Option<State>,
    /// Percent of the state's work.
    pub progress: Option<u32>,
    /// Its files.
    pub artifacts: Option<Vec<ArtifactRow>>,
    /// What the recorder keeps for itself.
    pub work: Option<Work>,
    /// What the partner asked for was tried.
    pub served: bool,
    /// What is told to the partner.
    pub news: Option<News>,
}

/// What is told to the partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Files are made and sealed.
    Finalized {
        /// Bytes of all.
        bytes: u64,
        /// Seconds recorded.
        seconds: u64,
        /// What was wanted and could not be made.
        missing: Vec<ArtifactKind>,
        /// Tracks that composite or mix lack from some place on.
        flawed_tracks: u32,
    },
    /// The storage refuses.
    Blocked {
        /// Why.
        block: Block,
        /// When it is tried again, milliseconds since 1970.
        retry_at_ms: u64,
    },
    /// Everything arrived.
    Delivered,
    /// It grows old.
    Expiring {
        /// Percent of its largest age.
        age_percent: u32,
    },
    /// Gone, with the proof.
    Purged {
        /// Why.
        reason: Purge,
        /// When, milliseconds since 1970.
        at_ms: u64,
        /// The signed text.
        receipt: String,
        /// Base64.
        signature: String,
        /// Id of the key.
        key: String,
    },
}

/// Why a push is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Block {
    /// There is no target.
    NoTarget,
    /// Credentials or permissions.
    Credentials,
    /// Bucket or folder.
    NotFound,
    /// An address that may not be reached.
    AddressForbidden,
    /// No space there.
    Full,
    /// What arrives is not what is sent.
    Checksum,
    /// Another refusal.
    Refused,
    /// Our own folder.
    LocalFolder,
    /// The journal is not where it was written: the recorder's disk is missing.
    SpoolMissing,
    /// The recorder's disk has no room for the files.
    SpoolFull,
}

/// Why a recording ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The spool's disk is full.
    DiskFull,
    /// As many as may be run already.
    NoCapacity,
    /// The disk refuses for another reason than that it is full, or a defect of ours.
    Failed,
    /// The process that wrote it was lost, and its key with it: it cannot go on. See `sealed`.
    Lost,
}

/// Why a recording was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purge {
    /// The partner has it.
    Delivered,
    /// Too old.
    Expired,
    /// The partner deleted it.
    Deleted,
    /// Nothing was recorded.
    Empty,
    /// What was written down could not be read.
    Unreadable,
    /// Too old, while the disk that it was on was missing.
    Lost,
}

/// Who was there.
#[derive(Clone, Default)]
pub struct Timeline {
    /// Stays.
    pub stays: Vec<crate::finalize::Stay>,
    /// Pauses.
    pub pauses: Vec<crate::finalize::Pause>,
}
