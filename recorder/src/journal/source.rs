//! The journal as what finalize reads.

use crate::{
    finalize::Source,
    journal::{Ending, FileReport, Folder, FolderError, OpenError, Replay},
    key::DataKey,
};

/// A recording's journal with its key.
///
/// Truncated and tampered files give what is good of them. A file that the system cannot read is an
/// error, told last: another try may read it.
pub struct Stored<'a> {
    /// The recording's folder.
    pub folder: &'a Folder,
    /// Its data key.
    pub key: &'a DataKey,
    /// Whether what cannot be read is passed over, because no other try will.
    pub give_up_unreadable: bool,
}

/// Why a journal cannot be given whole. Blame: the environment.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file, from some place on.
    #[error("journal file {0} cannot be read to its end")]
    Unreadable(u32),
}

impl Source for Stored<'_> {
    type Error = StoredError;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<Vec<u8>, StoredError>> + '_, StoredError> {
        let mut replay = Replay::of(self.folder, self.key)?;
        let mut ended = false;
        Ok(std::iter::from_fn(move || {
            if let Some(mut batch) = replay.next() {
                return Some(Ok(std::mem::take(&mut *batch.bytes)));
            }
            if std::mem::replace(&mut ended, true) || self.give_up_unreadable {
                return None;
            }
            let bad = replay.reports().iter().find(|report| is_unreadable(report))?;
            Some(Err(StoredError::Unreadable(bad.file)))
        }))
    }

    /// A little more than there is: with heads and tags.
    fn bytes(&self) -> Option<u64> {
        let files = self.folder.files().ok()?;
        files.iter().map(|(_, path)| Some(path.metadata().ok()?.len())).sum()
    }
}

fn is_unreadable(report: &FileReport) -> bool {
    match &report.found {
        Ok(found) => matches!(found.ending, Ending::Unreadable { .. }),
        Err(error) => matches!(error, OpenError::File(_)),
    }
}
