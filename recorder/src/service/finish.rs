//! From a closed journal to sealed files and their evidence. Blocking. Begins anew after a crash.
//!
//! ```text
//! prepare: key, room on the disk ─▶ inspect ─▶ tracks ─▶ events, texts ─▶ capture.json, manifest ─▶ export.json
//!                no key, nothing playable, damage └─▶ raw journal and data key, for the partner
//! ```

mod again;
mod inspect;
mod raw;
mod room;
mod sealing;
mod shown;
mod texts;

use std::{
    io::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use zeroize::Zeroizing;

pub(super) use self::{
    again::Again,
    raw::{Raw, is_gone},
};
use self::{
    inspect::{inspect, inspect_sealed},
    room::bytes_to_make,
    sealing::{Rule, Sealing, seal_into},
    shown::Shown,
};
use super::{
    cancel::{Cancel, Stoppable},
    clock::AgeClock,
    ledger::{Entry, Timeline},
    patience::Patience,
    spool::{Export, Spool},
};
use crate::{
    composite::Tools,
    evidence::{
        self, Artifact, ArtifactKind, Capture, Draft, Ended, JournalHead, SignedCapture, Signers,
        Software,
    },
    finalize::{self, Events, Request, finalize},
    journal::{Folder, FolderError, Space},
    key::{DataKey, EpochError, EpochKeys},
    limits::SPOOL_RESERVE_BYTES,
    recorded::Recorded,
    seal::Recipients,
};

/// Why no files were made.
#[derive(Debug, thiserror::Error)]
pub(super) enum FinishError {
    /// Surely nothing was recorded.
    #[error("nothing was recorded")]
    Empty,
    /// Whoever waited for it said stop.
    #[error("stopped")]
    Cancelled,
    /// Environment: the disk has no room for the files besides the journal.
    #[error("the disk has no room for the files")]
    NoRoom,
    /// Environment: a journal file cannot be read now.
    #[error("journal file {0} cannot be read")]
    Unreadable(u32),
    /// Environment: no file of the journal is there, and there was one.
    #[error("the journal files are gone")]
    NoJournal,
    /// Environment: neither we nor the partner can open the journal, for the wraps of its key are gone.
    #[error("nobody has the key")]
    NoKey,
    /// Environment: no composite comes of it, and what is left would show what is masked.
    #[error("what could be delivered would show what is masked")]
    Masked,
    /// Us: a defect, met by what was recorded.
    #[error("a defect ended it")]
    Defect,
    /// Environment: the operator's key cannot be read now.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// Environment.
    #[error("the spool: {0}")]
    Spool(#[from] io::Error),
    /// Environment.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The row names recipients that are none.
    #[error("recipients: {0}")]
    Recipients(#[from] crate::seal::RecipientError),
    /// As [`Self::Recipients`].
    #[error(transparent)]
    Partner(#[from] crate::key::partner::PartnerError),
    /// The records.
    #[error(transparent)]
    Finalize(#[from] finalize::FinalizeError),
    /// The evidence.
    #[error(transparent)]
    Export(#[from] evidence::ExportError),
    /// Us.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// Us.
    #[error(transparent)]
    Name(#[from] evidence::ArtifactNameError),
}

impl FinishError {
    /// Our own disk has no room.
    pub(super) fn is_full(&self) -> bool {
        let error = match self {
            Self::NoRoom => return true,
            Self::Spool(error) => error,
            Self::Finalize(finalize::FinalizeError::File(finalize::MuxError::Write(error))) => {
                error
            }
            _ => return false,
        };
        matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// It comes of what was recorded: the journal as it is can be handed over none the less.
    fn is_of_content(&self) -> bool {
        matches!(
            self,
            Self::Defect | Self::Finalize(_) | Self::Export(_) | Self::Json(_) | Self::Name(_)
        )
    }
}

/// What a defect in `work` ends is that work alone: it reads what strangers sent. None: it did.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    // What it left half done is thrown away by whoever calls.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The data key, if it can still be had, and an empty place for files with room for them.
///
/// `is_last`: what cannot be read now will not be read later either. Without the partner's wrap that is
/// never said of the key: it would be the end of the recording.
///
/// # Errors
/// [`FinishError`]: to be tried again.
pub(super) fn prepare(
    entry: &Entry,
    folder: &Folder,
    key: Option<Arc<DataKey>>,
    epochs: &EpochKeys,
    is_last: bool,
) -> Result<Option<Arc<DataKey>>, FinishError> {
    let spool = Spool::of(folder);
    match entry.raw_recipients() {
        Ok(Some(to)) if entry.outputs.journal => {
            spool.check_live(&to.fingerprints(), entry.target.as_deref())?;
        }
        _ => spool.forget_live()?,
    }
    spool.clear()?;
    let bytes = bytes_to_make(&entry.outputs, folder, &spool.live()?, is_last)?;
    if !has_room(Space::of(folder.path())?, bytes) {
        return Err(FinishError::NoRoom);
    }
    match key {
        Some(key) => Ok(Some(key)),
        None => match recover(folder, epochs) {
            // The partner can open it.
            Err(_) if is_last && folder.keys().is_ok_and(|keys| keys.partner.is_some()) => Ok(None),
            other => other,
        },
    }
}

/// Sealed files are about as large as the journal; live recordings need room meanwhile.
pub(super) fn has_room(space: Space, bytes: u64) -> bool {
    let reserve = (space.total / 20).min(SPOOL_RESERVE_BYTES);
    space.total == 0 || space.free >= bytes.saturating_add(reserve)
}

/// The data key of a journal that a process before this one wrote; none: it is gone for good here.
fn recover(folder: &Folder, epochs: &EpochKeys) -> Result<Option<Arc<DataKey>>, FinishError> {
    let keys = match folder.keys() {
        Err(error) if is_gone(&error) => return Ok(None),
        other => other?,
    };
    let Some(wrap) = keys.operator else { return Ok(None) };
    match epochs.unwrap(folder.recording(), &wrap) {
        Ok(key) => Ok(Some(Arc::new(key))),
        Err(EpochError::Destroyed(_) | EpochError::Wrap) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What is needed to make files.
pub(super) struct Finish<'a> {
    pub(super) entry: &'a Entry,
    pub(super) folder: &'a Folder,
    /// None: nobody here can read the journal any more; the partner gets it as it is.
    pub(super) key: Option<&'a DataKey>,
    pub(super) timeline: Timeline,
    pub(super) signers: &'a Signers,
    pub(super) software: Software,
    pub(super) now_ms: u64,
    pub(super) patience: Patience,
    pub(super) cancel: &'a Cancel,
    /// None: composites cannot be made here.
    pub(super) composites: Option<Tools>,
    /// What ages run by.
    pub(super) ages: &'a AgeClock,
}

impl Finish<'_> {
    /// Makes and seals all files. `progress` is told percents.
    ///
    /// # Errors
    /// [`FinishError`]; nothing stays of what was begun.
    pub(super) fn run(self, progress: &mut dyn FnMut(u8)) -> Result<Export, FinishError> {
        let spool = Spool::of(self.folder);
        self.make(&spool, progress).map_err(|error| {
            let cleared = spool.clear();
            match (self.cancel.is_set(), cleared) {
                (true, _) => FinishError::Cancelled,
                (false, Err(worse)) => worse.into(),
                (false, Ok(())) => error,
            }
        })
    }

    fn make(&self, spool: &Spool, progress: &mut dyn FnMut(u8)) -> Result<Export, FinishError> {
        let recipients = Recipients::parse(&self.entry.recipients)?;
        if self.folder.files()?.is_empty() {
            let is_lost = self.entry.has_journal;
            return Err(if is_lost { FinishError::NoJournal } else { FinishError::Empty });
        }
        let Some(key) = self.key else { return self.hand_over(spool) };
        self.look_at_room()?;
        let hands_over = |error: &FinishError| {
            self.patience.hands_over && error.is_of_content() && !self.cancel.is_set()
        };
        let made = caught(|| self.finalize(spool, &recipients, key, progress));
        match made.unwrap_or(Err(FinishError::Defect)) {
            Err(error) if hands_over(&error) => {
                tracing::error!(recording = %self.entry.id, %error, "handed over as it is");
                spool.clear()?;
                self.hand_over(spool)
            }
            other => other,
        }
    }

    fn finalize(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        key: &DataKey,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Export, FinishError> {
        tracing::debug!(recording = %self.entry.id, "files are made");
        let known = (self.entry.has_journal, self.entry.outputs.data);
        let found = inspect(self.folder, key, known, self.cancel)?;
        if let Some(file) = found.unreadable.filter(|_| !self.patience.is_last) {
            return Err(FinishError::Unreadable(file));
        }
        if found.is_empty() {
            return Err(FinishError::Empty);
        }
        let Shown { mut artifacts, events, mut missing } =
            self.tracks_and_shown(spool, recipients, (key, found.has_texts), progress)?;
        let has_none = events.tracks.is_empty();
        let times = if has_none { self.row_times() } else { event_times(&events) };
        let is_unplayable = has_none && (found.has_media || found.is_damaged());
        let is_wanted = self.entry.outputs.journal;
        if is_unplayable || found.is_damaged() || is_wanted {
            match self.entry.raw_recipients()? {
                Some(to) => artifacts.extend(self.raw(spool, &to).hand_over()?),
                // Texts hide nothing, and need not wait for what nobody may have.
                None if is_unplayable && !found.has_texts => return Err(FinishError::Masked),
                None if is_wanted => missing.push(ArtifactKind::Journal),
                None => tracing::warn!(recording = %self.entry.id, "damaged; masked, so not raw"),
            }
        }
        artifacts.push(self.seal_events(spool, recipients, &events)?);
        if self.entry.outputs.data {
            artifacts.push(self.seal_texts(spool, recipients, key, &events)?);
        }
        self.conclude(spool, (artifacts, missing), times, (found.ended, found.heads))
    }

    /// A sealed file for each track that `rule` gives somebody, and what happened.
    fn tracks(
        &self,
        spool: &Spool,
        rule: Rule<'_>,
        key: &DataKey,
        progress: &mut dyn FnMut(u8),
    ) -> Result<(Vec<Artifact>, Events), FinishError> {
        let people = self.timeline.stays.iter();
        let handles =
            people.filter_map(|stay| Some((stay.participant, stay.handle.clone()?))).collect();
        let mut sinks = Sealing { spool, rule, handles, artifacts: Vec::new() };
        let events = finalize(&self.source(key), &mut sinks, &self.request(), progress)?;
        Ok((sinks.artifacts, events))
    }

    /// What is known beside the records.
    fn request(&self) -> Request {
        Request {
            recording: Some(self.entry.id),
            people: self.timeline.stays.clone(),
            pauses: self.timeline.pauses.clone(),
            ..Request::default()
        }
    }

    fn source<'a>(&'a self, key: &'a DataKey) -> Stoppable<'a> {
        let mut recorded = Recorded::new(self.folder, key);
        if self.patience.is_last {
            recorded = recorded.past_unreadable();
        }
        Stoppable { recorded, cancel: self.cancel }
    }

    fn seal_events(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        events: &Events,
    ) -> Result<Artifact, FinishError> {
        let text = Zeroizing::new(serde_json::to_vec_pretty(events)?);
        let sealed = seal_into(spool, "events.json.age", &text, recipients)?;
        let name = "events.json.age".parse()?;
        let recipients = recipients.fingerprints();
        Ok(Artifact::new(name, ArtifactKind::Events, "application/json", &sealed, recipients))
    }

    /// Only the journal as it is: nobody here can read it.
    fn hand_over(&self, spool: &Spool) -> Result<Export, FinishError> {
        let to = self.entry.raw_recipients()?.ok_or(FinishError::Masked)?;
        let artifacts = self.raw(spool, &to).hand_over()?;
        let made = (artifacts, self.wanted());
        let found = inspect_sealed(self.folder, self.patience.is_last)?;
        self.conclude(spool, made, self.row_times(), found)
    }

    fn raw<'a>(&'a self, spool: &'a Spool, recipients: &'a Recipients) -> Raw<'a> {
        let (folder, key, cancel) = (self.folder, self.key, self.cancel);
        let past_unreadable = self.patience.is_last;
        Raw { spool, folder, recipients, key, past_unreadable, cancel }
    }

    /// Start and end as the row has them, when no media tell.
    fn row_times(&self) -> (u64, u64) {
        let start = self.entry.started_at_ms;
        (start, self.entry.stopped_at_ms.unwrap_or(start).max(start))
    }

    /// Signs, and says that all is made.
    fn conclude(
        &self,
        spool: &Spool,
        made: (Vec<Artifact>, Vec<ArtifactKind>),
        (start_ms, end_ms): (u64, u64),
        (ended, journals): (Ended, Vec<JournalHead>),
    ) -> Result<Export, FinishError> {
        let capture = Capture {
            recording: self.entry.id,
            started_at_ms: start_ms,
            // Packets may carry times of a node whose clock runs ahead.
            ended_at_ms: end_ms.min(self.now_ms),
            ended,
            signed_at_ms: self.now_ms,
            journals: journals.clone(),
            software: self.software.clone(),
        };
        let capture = SignedCapture::sign(capture, self.signers.capture())?;
        let seconds = (end_ms - start_ms).div_ceil(1000);
        self.export(spool, made, (journals, capture), seconds)
    }

    fn export(
        &self,
        spool: &Spool,
        (artifacts, missing): (Vec<Artifact>, Vec<ArtifactKind>),
        (journals, capture): (Vec<JournalHead>, SignedCapture),
        seconds: u64,
    ) -> Result<Export, FinishError> {
        let draft = Draft {
            recording: self.entry.id,
            project: self.entry.project.clone(),
            room: self.entry.room,
            created_at_ms: self.now_ms,
            software: self.software.clone(),
            journals,
            artifacts,
            missing,
        };
        let export = sign(spool, draft, &capture, self.signers, seconds)?;
        spool.write_export(&export)?;
        Ok(export)
    }
}

/// Signs the manifest, and writes all evidence.
fn sign(
    spool: &Spool,
    draft: Draft,
    capture: &SignedCapture,
    signers: &Signers,
    seconds: u64,
) -> Result<Export, FinishError> {
    let (artifacts, missing) = (draft.artifacts.clone(), draft.missing.clone());
    let bundle = evidence::export(draft, capture, &signers.published(), signers.export())?;
    for file in &bundle.files {
        let mut output = spool.create(file.name)?;
        output.write_all(&file.bytes)?;
        output.sync_all()?;
    }
    let export = Export {
        artifacts,
        evidence: bundle.files.iter().map(|file| file.name.to_owned()).collect(),
        manifest_sha256: bundle.manifest_sha256.to_string(),
        seconds,
        missing,
        is_aside: false,
    };
    Ok(export)
}

/// Start and end as the media tell.
fn event_times(events: &Events) -> (u64, u64) {
    (events.started_at_ms, events.started_at_ms.saturating_add(events.duration_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_made_only_when_live_recordings_keep_their_room() {
        let disk = |free, total| Space { free, total };
        assert!(has_room(disk(150, 1000), 100) && !has_room(disk(149, 1000), 100));
        let large = 1 << 50;
        assert!(has_room(disk(SPOOL_RESERVE_BYTES + 1, large), 1));
        assert!(
            !has_room(disk(SPOOL_RESERVE_BYTES, large), 1) && !has_room(disk(1, large), u64::MAX)
        );
        assert!(has_room(disk(0, 0), 1), "a file system that says nothing");
    }
}
