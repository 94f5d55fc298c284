//! The journal as it is, sealed, and the data key sealed to the partner: for what cannot be made into
//! files here, or is not what was written, and for who wants it.

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
pub(in crate::service) struct Raw<'a> {
    pub(in crate::service) spool: &'a Spool,
    pub(in crate::service) folder: &'a Folder,
    pub(in crate::service) recipients: &'a Recipients,
    /// If it is known here.
    pub(in crate::service) key: Option<&'a DataKey>,
    /// Pass over what cannot be read.
    pub(in crate::service) past_unreadable: bool,
    pub(in crate::service) cancel: &'a Cancel,
}

impl Raw<'_> {
    /// What the data key is called when it is sealed.
    pub(in crate::service) const KEY: &'static str = "data-key.age";

    /// Seals all journal files and the data key, but what was sealed while the recording went on.
    ///
    /// # Errors
    /// [`FinishError::NoKey`]: nobody could open them.
    pub(super) fn hand_over(&self) -> Result<Vec<Artifact>, FinishError> {
        let live = self.spool.live()?;
        let sealed = live.names();
        let wrap = if sealed.contains(Self::KEY) { None } else { Some(self.wrap()?) };
        let mut artifacts = Vec::new();
        for (number, path) in self.folder.files()? {
            if !sealed.contains(&*Self::name(number)) {
                artifacts.extend(self.file(number, &path)?);
            }
        }
        if let Some(wrap) = wrap {
            artifacts.push(self.sealed_key(&wrap)?);
        }
        Ok(live.artifacts.into_iter().chain(artifacts).collect())
    }

    /// What a journal file is called when it is sealed.
    pub(in crate::service) fn name(number: u32) -> String {
        format!("{number:08}.journal.age")
    }

    /// Seals the data key.
    ///
    /// # Errors
    /// As [`Self::hand_over`].
    pub(in crate::service) fn data_key(&self) -> Result<Artifact, FinishError> {
        self.sealed_key(&self.wrap()?)
    }

    fn sealed_key(&self, wrap: &str) -> Result<Artifact, FinishError> {
        let sealed = seal_into(self.spool, Self::KEY, wrap.as_bytes(), self.recipients)?;
        let (kind, who) = (ArtifactKind::Journal, self.recipients.fingerprints());
        Ok(Artifact::new(Self::KEY.parse()?, kind, "application/age", &sealed, who))
    }

    /// Seals a journal file. None: it cannot be read and is passed over.
    ///
    /// # Errors
    /// What reading or writing fails with.
    pub(in crate::service) fn file(
        &self,
        number: u32,
        path: &Path,
    ) -> Result<Option<Artifact>, FinishError> {
        let input = match File::open(path) {
            Err(_) if self.past_unreadable => return Ok(None),
            other => other?,
        };
        let (cancel, past_unreadable) = (self.cancel, self.past_unreadable);
        let input = StoppableRead { input, cancel, past_unreadable };
        let name = Self::name(number);
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
