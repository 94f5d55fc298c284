//! What was sealed while the recording went on, arrived, and is gone from the storage: it is sealed anew out
//! of the journal, which needs no key, and the evidence is signed anew around all other files.
//!
//! ```text
//! room on the disk ─▶ sealed and signed, aside ─▶ export.json ─▶ files in their places, push.json, live.json
//!                     └ a crash: begun anew ───┘                 └ a crash: gone on with (Spool::settle) ──┘
//! ```
//! Nothing that was made before is given up for it: of a sealed recording it cannot be made twice.

use std::{collections::BTreeSet, fs};

use super::{FinishError, Raw, has_room, sign};
use crate::{
    evidence::{
        Artifact, CAPTURE_FILE, CAPTURE_SIGNATURE_FILE, Draft, ExportError, SignedCapture, Signers,
    },
    journal::{Folder, Space},
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
        let is_gone = |artifact: &&Artifact| gone.contains(artifact.name.as_str());
        let bytes = export.artifacts.iter().filter(is_gone).map(|artifact| artifact.bytes).sum();
        self.look_at_room(bytes)?;
        let aside = spool.aside()?;
        let made = self.sealed(&aside, gone).and_then(|sealed| {
            let export = self.signed(&spool, &aside, export, &sealed)?;
            Ok(spool.write_export(&export)?)
        });
        if let Err(error) = made {
            // Live recordings need the room; but what export.json speaks of stays.
            if spool.export().is_ok_and(|now| now.is_none_or(|now| !now.is_aside)) {
                let _ = spool.remove_aside(); // Else by the next attempt.
            }
            return Err(error);
        }
        Ok(spool.settle()?)
    }

    fn sealed(&self, spool: &Spool, gone: &BTreeSet<String>) -> Result<Vec<Artifact>, FinishError> {
        let recipients = &self.entry.raw_recipients()?.ok_or(FinishError::Masked)?;
        let (folder, cancel) = (self.folder, self.cancel);
        let raw = Raw { spool, folder, recipients, key: None, past_unreadable: false, cancel };
        let mut sealed = Vec::new();
        if gone.contains(Raw::KEY) {
            sealed.push(raw.data_key()?);
        }
        for (number, path) in folder.files()? {
            if gone.contains(&Raw::name(number)) {
                self.look_at_room(path.metadata()?.len())?;
                sealed.extend(raw.file(number, &path)?);
            }
        }
        match sealed.len() == gone.len() {
            true => Ok(sealed),
            false => Err(FinishError::NoJournal),
        }
    }

    /// What is written now needs the room more.
    fn look_at_room(&self, bytes: u64) -> Result<(), FinishError> {
        let is_room = has_room(Space::of(self.folder.path())?, bytes);
        if is_room { Ok(()) } else { Err(FinishError::NoRoom) }
    }

    fn signed(
        &self,
        spool: &Spool,
        aside: &Spool,
        mut export: Export,
        sealed: &[Artifact],
    ) -> Result<Export, FinishError> {
        let capture = SignedCapture {
            statement: fs::read(spool.file(CAPTURE_FILE))?,
            signature: fs::read(spool.file(CAPTURE_SIGNATURE_FILE))?,
        };
        let captured = capture.verify(&self.signers.published()).map_err(ExportError::from)?.0;
        replace(&mut export.artifacts, sealed);
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
        let signed = sign(aside, draft, &capture, self.signers, export.seconds)?;
        Ok(Export { is_aside: true, ..signed })
    }
}

fn replace(artifacts: &mut [Artifact], by: &[Artifact]) {
    for artifact in artifacts {
        if let Some(new) = by.iter().find(|new| new.name == artifact.name) {
            artifact.clone_from(new);
        }
    }
}
