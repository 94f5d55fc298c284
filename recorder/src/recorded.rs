//! The journal of a recording as what [`finalize`](crate::finalize::finalize) reads.

use crate::{
    finalize::Source,
    journal::{Ending, FileReport, Folder, FolderError, OpenError, Replay},
    key::DataKey,
};

/// All journal files of a recording. What a crash or a damaged file took is missing, and the next
/// file's packets follow; the files' reports, for the manifest, are those of a [`Replay`] of its own.
/// A file that the system cannot read is an error, told last: another try may read it.
pub struct Recorded<'a> {
    folder: &'a Folder,
    key: &'a DataKey,
    past_unreadable: bool,
}

/// Why a journal cannot be given. Blame: the environment.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file, from some place on.
    #[error("journal file {0} cannot be read to its end")]
    Unreadable(u32),
}

impl<'a> Recorded<'a> {
    /// The recording in `folder`, sealed with `key`.
    pub const fn new(folder: &'a Folder, key: &'a DataKey) -> Self {
        Self { folder, key, past_unreadable: false }
    }

    /// Passes over what the system cannot read, when no other try will read it.
    #[must_use]
    pub const fn past_unreadable(self) -> Self {
        Self { past_unreadable: true, ..self }
    }
}

impl Source for Recorded<'_> {
    type Error = RecordedError;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, RecordedError>> + '_, RecordedError>
    {
        let mut replay = Replay::of(self.folder, self.key)?;
        let mut told = self.past_unreadable;
        Ok(std::iter::from_fn(move || {
            if let Some(batch) = replay.next() {
                return Some(Ok(batch.bytes));
            }
            if std::mem::replace(&mut told, true) {
                return None;
            }
            let bad = replay.reports().iter().find(|report| is_unreadable(report))?;
            Some(Err(RecordedError::Unreadable(bad.file)))
        }))
    }

    /// A little more than there is: with heads and tags.
    fn bytes(&self) -> Option<u64> {
        let files = self.folder.files().ok()?;
        files.iter().map(|(_, path)| path.metadata().map(|file| file.len()).ok()).sum()
    }
}

fn is_unreadable(report: &FileReport) -> bool {
    match &report.found {
        Ok(found) => matches!(found.ending, Ending::Unreadable { .. }),
        Err(error) => matches!(error, OpenError::File(_)),
    }
}
