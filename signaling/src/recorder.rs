//! What only the recorder can do at once, behind a border: this package knows neither media nor
//! storage. Everything else it is told by the rows of recordings (see [`crate::store::RecordingRow`]).

use std::{future::Future, pin::Pin};

use sdk_spec::rest::recordings::{EvidenceKey, Storage, StorageTested};

/// An answer that takes a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The recorder, as REST asks it.
pub trait RecorderPort: Send + Sync {
    /// Writes a small file to a storage of a project, reads it back and deletes it. Ends within
    /// [`crate::limits::STORAGE_TEST`]; it is dropped after that.
    fn test_storage<'a>(&'a self, project: &'a str, storage: Storage) -> Answer<'a, StorageTested>;

    /// Whether composites, audio mixes and HLS can be made.
    fn composites(&self) -> bool;

    /// Whether the recorder has room for one more recording now: on its disk, and for the work. Asked
    /// before each start; answers at once.
    fn has_room(&self) -> bool;

    /// Every key that ever signed evidence here, oldest first.
    fn evidence_keys(&self) -> Answer<'_, Vec<EvidenceKey>>;
}
