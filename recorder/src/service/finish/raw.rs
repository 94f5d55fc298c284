//! The journal as it is, sealed, and the data key sealed to the partner: for what cannot be made into
//! files here, or is not what was written.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::Path,
};

use super::{FinishError, sealing::seal_into};
use crate::{
    evidence::{Artifact, ArtifactKind},
    journal::{Folder, FolderError},
    key::{DataKey, partner},
    seal::{Recipients, SealError, seal},
    service::{
        cancel::{Cancel, StoppableRead},
        spool::Spool,
    },
};

/// What is handed over, to whom, and how much patience there is.
pub(super) struct Raw<'a> {
    pub(super) spool: &'a Spool,
    pub(super) folder: &'a Folder,
    pub(super) recipients: &'a Recipients,
    /// If it is known here.
    pub(super) key: Option<&'a DataKey>,
    /// Pass over what cannot be read.
    pub(super) past_unreadable: bool,
    pub(super) cancel: &'a Cancel,
}

impl Raw<'_> {
    /// Seals all journal files and the data key.
    ///
    /// # Errors
    /// [`FinishError::NoKey`]: nobody could open them.
    pub(super) fn hand_over(&self) -> Result<Vec<Artifact>, FinishError> {
        let wrap = self.wrap()?;
        let mut artifacts = Vec::new();
        for (number, path) in self.folder.files()? {
            artifacts.extend(self.file(number, &path)?);
        }
        let sealed = seal_into(self.spool, "data-key.age", wrap.as_bytes(), self.recipients)?;
        let (kind, who) = (ArtifactKind::Journal, self.recipients.fingerprints());
        let media = "application/age";
        artifacts.push(Artifact::new("data-key.age".parse()?, kind, media, &sealed, who));
        Ok(artifacts)
    }

    fn file(&self, number: u32, path: &Path) -> Result<Option<Artifact>, FinishError> {
        let input = match File::open(path) {
            Err(_) if self.past_unreadable => return Ok(None),
            other => other?,
        };
        let (cancel, past_unreadable) = (self.cancel, self.past_unreadable);
        let input = StoppableRead { input, cancel, past_unreadable };
        let name = format!("{number:08}.journal.age");
        let mut output = BufWriter::new(self.spool.create(&name)?);
        let sealed = seal(input, &mut output, self.recipients).map_err(|error| match error {
            SealError::Input(error) | SealError::Output(error) => error,
        })?;
        output.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let (kind, media) = (ArtifactKind::Journal, "application/vnd.conclave.journal");
        let who = self.recipients.fingerprints();
        Ok(Some(Artifact::new(name.parse()?, kind, media, &sealed, who)))
    }

    /// The data key for those who get the journal: with masks these are others than the wrap was made
    /// for. Without the key it is the wrap as it was kept for them.
    fn wrap(&self) -> Result<String, FinishError> {
        if let Some(key) = self.key {
            return Ok(partner::wrap(key, self.recipients.as_slice())?);
        }
        match self.folder.keys() {
            Ok(keys) => keys.journal.or(keys.partner).ok_or(FinishError::NoKey),
            Err(error) if is_gone(&error) || self.past_unreadable => Err(FinishError::NoKey),
            Err(error) => Err(error.into()),
        }
    }
}

/// No other attempt will read it.
pub(in crate::service) fn is_gone(error: &FolderError) -> bool {
    match error {
        FolderError::File(error) => error.kind() == io::ErrorKind::NotFound,
        FolderError::Keys => true,
        FolderError::Name | FolderError::TooMany => false,
    }
}
