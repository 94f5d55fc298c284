//! The journal of a recording as what [`finalize`](crate::finalize::finalize) reads.

use crate::{
    finalize::Source,
    journal::{Folder, FolderError, Replay},
    key::DataKey,
};

/// All journal files of a recording. What a crash or a damaged file took is missing, and the next
/// file's packets follow; the files' reports, for the manifest, are those of a [`Replay`] of its own.
pub struct Recorded<'a> {
    folder: &'a Folder,
    key: &'a DataKey,
}

impl<'a> Recorded<'a> {
    /// The recording in `folder`, sealed with `key`.
    pub const fn new(folder: &'a Folder, key: &'a DataKey) -> Self {
        Self { folder, key }
    }
}

impl Source for Recorded<'_> {
    type Error = FolderError;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, FolderError>> + '_, FolderError> {
        let replay = Replay::of(self.folder, self.key)?;
        Ok(replay.map(|batch| Ok(batch.bytes)))
    }

    fn bytes(&self) -> Option<u64> {
        let files = self.folder.files().ok()?;
        files.iter().map(|(_, path)| path.metadata().map(|file| file.len()).ok()).sum()
    }
}
