//! What only the recorder can do at once, behind a border: this package knows neither media nor
//! storage. Everything else it is told by the rows of recordings (see [`crate::store::RecordingRow`]).

use std::{future::Future, pin::Pin};

use sdk_spec::{
    problem::FieldError,
    rest::recordings::{EvidenceKey, Storage, StorageTested},
};
use sfu_proto::id::{ParticipantId, RecordingId};

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A text of a room that is recorded. Has no `Debug`: what people say is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct RecordedText {
    /// Into which recording.
    pub recording: RecordingId,
    /// Who sent it.
    pub from: ParticipantId,
    /// To whom; nobody is everybody in the room.
    pub to: Vec<ParticipantId>,
    /// As sent.
    pub body: String,
}

/// The recorder, as REST and rooms ask it.
pub trait RecorderPort: Send + Sync {
    /// Whether settings of a storage can be used, as far as that can be told without asking it: keys and
    /// URLs are read by whoever uses them. Answers at once.
    ///
    /// # Errors
    /// The field that is not as it must be.
    fn check_storage(&self, storage: &Storage) -> Result<(), FieldError>;

    /// Writes a small file to a storage of a project, reads it back and deletes it. Ends within
    /// [`crate::limits::STORAGE_TEST`]; it is dropped after that.
    fn test_storage<'a>(&'a self, project: &'a str, storage: Storage) -> Answer<'a, StorageTested>;

    /// Whether composites, audio mixes and HLS can be made.
    fn composites(&self) -> bool;

    /// Whether the recorder has room for one more recording now: on its disk, and for the work. Asked
    /// before each start; answers at once.
    fn has_room(&self) -> bool;

    /// Takes a text that was sent just now; `lost`: so many before it were not taken and not told yet.
    /// Answers at once: `false` when there is no room for it, and it is not in the recording then.
    fn take_text(&self, text: &RecordedText, lost: u32) -> bool;

    /// Writes down that so many texts were not taken, when none comes that could tell it. `false` as with
    /// [`Self::take_text`].
    fn texts_lost(&self, recording: RecordingId, lost: u32) -> bool;

    /// Every key that ever signed evidence here, oldest first.
    fn evidence_keys(&self) -> Answer<'_, Vec<EvidenceKey>>;
}
