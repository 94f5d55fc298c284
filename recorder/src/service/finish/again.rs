//! What was sealed while the recording went on, arrived, and is gone from the storage: it is sealed anew out
//! of the journal, which needs no key, and the evidence is signed anew around all other files.
//!
//! ```text
//! sealed anew ─▶ export.json removed ─▶ evidence, push.json, live.json ─▶ export.json
//!                └── a crash in here: all is made anew ──────────────────┘
//! ```

use std::{collections::BTreeSet, fs};

use super::{FinishError, Raw, conclude};
use crate::{
    evidence::{
        Artifact, CAPTURE_FILE, CAPTURE_SIGNATURE_FILE, Draft, ExportError, SignedCapture, Signers,
    },
    journal::Folder,
    service::{
        cancel::Cancel,
        ledger::Entry,
        spool::{Export, Spool},
    },
};

/// What is needed for it.
pub(in crate::service) struct Again<'a> {
    pub(in crate::service) entry: &'a Entry,
    pub(in crate::service) folder: &'a Folder,
    pub(in crate::service) signers: &'a Signers,
    pub(in crate::service) now_ms: u64,
    pub(in crate::service) cancel: &'a Cancel,
}

impl Again<'_> {
    /// Seals the files of these names, and gives what is to be pushed now. None: one of them is no journal
    /// file, and comes only when all is made anew.
    ///
    /// # Errors
    /// [`FinishError`]; what was to be pushed before still is.
    pub(in crate::service) fn run(
        &self,
        gone: &BTreeSet<String>,
    ) -> Result<Option<Export>, FinishError> {
        let spool = Spool::of(self.folder);
        let (Some(export), live) = (spool.export()?, spool.live()?) else { return Ok(None) };
        let names = live.names();
        if !gone.iter().all(|name| names.contains(name.as_str())) {
            return Ok(None);
        }
        let sealed = self.sealed(&spool, gone).inspect_err(|_| {
            // With other bytes than export.json says it must not stay.
            gone.iter().for_each(|name| drop(spool.remove(name)));
        })?;
        self.signed(&spool, export, &sealed).map(Some)
    }

    fn sealed(&self, spool: &Spool, gone: &BTreeSet<String>) -> Result<Vec<Artifact>, FinishError> {
        let recipients = &self.entry.raw_recipients()?.ok_or(FinishError::Masked)?;
        let (folder, cancel) = (self.folder, self.cancel);
        let raw = Raw { spool, folder, recipients, key: None, past_unreadable: false, cancel };
        let mut sealed = Vec::new();
        for name in gone {
            spool.remove(name)?; // Of an attempt that a crash ended.
        }
        if gone.contains(Raw::KEY) {
            sealed.push(raw.data_key()?);
        }
        for (number, path) in folder.files()? {
            if gone.contains(&Raw::name(number)) {
                sealed.extend(raw.file(number, &path)?);
            }
        }
        match sealed.len() == gone.len() {
            true => Ok(sealed),
            false => Err(FinishError::NoJournal),
        }
    }

    fn signed(
        &self,
        spool: &Spool,
        mut export: Export,
        sealed: &[Artifact],
    ) -> Result<Export, FinishError> {
        let capture = SignedCapture {
            statement: fs::read(spool.file(CAPTURE_FILE))?,
            signature: fs::read(spool.file(CAPTURE_SIGNATURE_FILE))?,
        };
        let captured = capture.verify(&self.signers.published()).map_err(ExportError::from)?.0;
        let (mut live, mut push) = (spool.live()?, spool.push()?.unwrap_or_default());
        for artifacts in [&mut export.artifacts, &mut live.artifacts] {
            replace(artifacts, sealed);
        }
        spool.forget_export()?;
        export.evidence.iter().try_for_each(|name| spool.remove(name))?;
        push.files.retain(|name, _| !export.evidence.contains(name));
        spool.write_push(&push)?;
        spool.write_live(&live)?;
        let draft = Draft {
            recording: self.entry.id,
            project: self.entry.project.clone(),
            room: self.entry.room,
            created_at_ms: self.now_ms,
            software: captured.software,
            journals: captured.journals,
            artifacts: export.artifacts,
            missing: export.missing,
        };
        conclude(spool, draft, &capture, self.signers, export.seconds)
    }
}

fn replace(artifacts: &mut [Artifact], by: &[Artifact]) {
    for artifact in artifacts {
        if let Some(new) = by.iter().find(|new| new.name == artifact.name) {
            artifact.clone_from(new);
        }
    }
}
