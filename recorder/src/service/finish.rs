//! From a closed journal to sealed files and their evidence. Blocking. Begins anew after a crash.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

use sfu_proto::id::ParticipantId;
use zeroize::Zeroizing;

use super::{
    ledger::{Entry, Timeline},
    spool::{Export, Spool},
};
use crate::{
    digest::Digest,
    evidence::{
        self, Artifact, ArtifactKind, Capture, Draft, Ended, JournalHead, SignedCapture, Signers,
        Software,
    },
    finalize::{self, Events, FileInfo, Handle, Request, TrackResult, finalize},
    journal::{Ending, FileReport, Folder, FolderError, Replay},
    key::DataKey,
    recorded::Recorded,
    seal::{Recipients, Sealed, Sealer, seal},
};

/// Why no files were made.
#[derive(Debug, thiserror::Error)]
pub(super) enum FinishError {
    /// Nothing that could be made into a file.
    #[error("nothing was recorded")]
    Empty,
    /// Environment: a journal file cannot be read now.
    #[error("journal file {0} cannot be read")]
    Unreadable(u32),
    /// Environment.
    #[error("the spool: {0}")]
    Spool(#[from] io::Error),
    /// Environment.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The row names recipients that are none.
    #[error("recipients: {0}")]
    Recipients(#[from] crate::seal::RecipientError),
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
}

/// What was made.
pub(super) struct Finished {
    pub(super) export: Export,
    /// Seconds from the first to the last packet.
    pub(super) seconds: u64,
}

/// Seals each file as it is written.
struct Sealing<'a> {
    spool: &'a Spool,
    recipients: &'a Recipients,
    /// What the partner calls people.
    handles: BTreeMap<ParticipantId, Handle>,
    artifacts: Vec<Artifact>,
}

struct SealedFile {
    sealer: Sealer<BufWriter<File>>,
}

impl io::Write for SealedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sealer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sealer.flush()
    }
}

impl finalize::Sinks for Sealing<'_> {
    type Sink = SealedFile;

    fn open(&mut self, file: &FileInfo) -> io::Result<SealedFile> {
        let file = self.spool.create(&format!("{}.age", file.name))?;
        Ok(SealedFile { sealer: Sealer::new(BufWriter::new(file), self.recipients)? })
    }

    fn close(&mut self, sink: SealedFile, result: &TrackResult) -> io::Result<()> {
        let (file, sealed) = sink.sealer.finish()?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let handle = self.handles.get(&result.file.participant).cloned();
        let who = self.recipients.fingerprints();
        let artifact = Artifact::of_track(result, handle, &sealed, who);
        self.artifacts.push(artifact.map_err(io::Error::other)?);
        Ok(())
    }
}

impl Finish<'_> {
    /// Makes and seals all files. `progress` is told percents.
    ///
    /// # Errors
    /// [`FinishError`]; what was begun is removed by the next attempt.
    pub(super) fn run(self, progress: &mut dyn FnMut(u8)) -> Result<Finished, FinishError> {
        let spool = Spool::of(self.folder);
        spool.clear()?;
        let recipients = Recipients::parse(&self.entry.recipients)?;
        match self.key {
            Some(key) => self.finalize(&spool, &recipients, key, progress),
            None => self.hand_over(&spool, &recipients),
        }
    }

    fn finalize(
        &self,
        spool: &Spool,
        recipients: &Recipients,
        key: &DataKey,
        progress: &mut dyn FnMut(u8),
    ) -> Result<Finished, FinishError> {
        let (journals, ended, bytes) = heads(self.folder, key)?;
        if bytes == 0 {
            return Err(FinishError::Empty);
        }
        let people = self.timeline.stays.iter();
        let handles =
            people.filter_map(|stay| Some((stay.participant, stay.handle.clone()?))).collect();
        let mut sinks = Sealing { spool, recipients, handles, artifacts: Vec::new() };
        let request = Request {
            recording: Some(self.entry.id),
            people: self.timeline.stays.clone(),
            pauses: self.timeline.pauses.clone(),
            ..Request::default()
        };
        let events = finalize(&Recorded::new(self.folder, key), &mut sinks, &request, progress)?;
        if sinks.artifacts.is_empty() {
            return Err(FinishError::Empty);
        }
        let mut artifacts = sinks.artifacts;
        artifacts.push(self.seal_events(spool, recipients, &events)?);
        let started_at_ms = events.started_at_ms;
        let ended_at_ms = started_at_ms + events.duration_ms;
        let capture = self.capture((started_at_ms, ended_at_ms), ended, journals)?;
        let export = self.export(spool, artifacts, capture)?;
        Ok(Finished { export, seconds: events.duration_ms.div_ceil(1000) })
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

    /// The journal as it is, and the data key sealed to the partner: nobody here can read it.
    fn hand_over(&self, spool: &Spool, recipients: &Recipients) -> Result<Finished, FinishError> {
        let mut artifacts = Vec::new();
        for (number, path) in self.folder.files()? {
            let name = format!("{number:08}.journal.age");
            let mut output = BufWriter::new(spool.create(&name)?);
            let sealed = seal(File::open(path)?, &mut output, recipients)
                .map_err(|error| io::Error::other(error.to_string()))?;
            output.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            let (kind, media) = (ArtifactKind::Journal, "application/vnd.conclave.journal");
            let who = recipients.fingerprints();
            artifacts.push(Artifact::new(name.parse()?, kind, media, &sealed, who));
        }
        let keys = self.folder.keys()?;
        let (false, Some(partner)) = (artifacts.is_empty(), keys.partner) else {
            return Err(FinishError::Empty);
        };
        let sealed = seal_into(spool, "data-key.age", partner.as_bytes(), recipients)?;
        let (kind, who) = (ArtifactKind::Journal, recipients.fingerprints());
        let media = "application/age";
        artifacts.push(Artifact::new("data-key.age".parse()?, kind, media, &sealed, who));
        let start = self.entry.started_at_ms;
        let end = self.entry.stopped_at_ms.unwrap_or(start);
        let capture = self.capture((start, end), Ended::Recovered, Vec::new())?;
        let export = self.export(spool, artifacts, capture)?;
        Ok(Finished { export, seconds: (end - start).div_ceil(1000) })
    }

    fn capture(
        &self,
        (started_at_ms, ended_at_ms): (u64, u64),
        ended: Ended,
        journals: Vec<JournalHead>,
    ) -> Result<(Vec<JournalHead>, SignedCapture), FinishError> {
        let capture = Capture {
            recording: self.entry.id,
            started_at_ms,
            // Packets may carry times of a node whose clock runs ahead.
            ended_at_ms: ended_at_ms.min(self.now_ms),
            ended,
            signed_at_ms: self.now_ms,
            journals: journals.clone(),
            software: self.software.clone(),
        };
        Ok((journals, SignedCapture::sign(capture, self.signers.capture())?))
    }

    fn export(
        &self,
        spool: &Spool,
        artifacts: Vec<Artifact>,
        (journals, capture): (Vec<JournalHead>, SignedCapture),
    ) -> Result<Export, FinishError> {
        let draft = Draft {
            recording: self.entry.id,
            project: self.entry.project.clone(),
            room: self.entry.room,
            created_at_ms: self.now_ms,
            software: self.software.clone(),
            journals,
            artifacts: artifacts.clone(),
        };
        let published = self.signers.published();
        let bundle = evidence::export(draft, &capture, &published, self.signers.export())?;
        for file in &bundle.files {
            let mut output = spool.create(file.name)?;
            output.write_all(&file.bytes)?;
            output.sync_all()?;
        }
        let export = Export {
            artifacts,
            evidence: bundle.files.iter().map(|file| file.name.to_owned()).collect(),
            manifest_sha256: bundle.manifest_sha256.to_string(),
        };
        spool.write_export(&export)?;
        Ok(export)
    }
}

fn seal_into(
    spool: &Spool,
    name: &str,
    plain: &[u8],
    recipients: &Recipients,
) -> Result<Sealed, FinishError> {
    let mut sealer = Sealer::new(spool.create(name)?, recipients)?;
    sealer.write_all(plain)?;
    let (file, sealed) = sealer.finish()?;
    file.sync_all()?;
    Ok(sealed)
}

/// Reads the journal once: its signed heads, how it ended, bytes of records.
///
/// # Errors
/// A file that cannot be read: nothing is decided about a recording then.
fn heads(folder: &Folder, key: &DataKey) -> Result<(Vec<JournalHead>, Ended, u64), FinishError> {
    let mut replay = Replay::of(folder, key)?;
    let mut bytes = 0;
    for batch in &mut replay {
        bytes += batch.bytes.len() as u64;
    }
    let reports = replay.into_reports();
    if let Some(report) = reports.iter().find(|report| report.found.is_err()) {
        return Err(FinishError::Unreadable(report.file));
    }
    let is_closed = |report: &FileReport| {
        report.found.as_ref().is_ok_and(|found| matches!(found.ending, Ending::Whole { .. }))
    };
    let ended = match reports.iter().all(is_closed) {
        true => Ended::Closed,
        false => Ended::Recovered,
    };
    let head = |report: &FileReport| {
        let last = report.found.as_ref().ok()?.last_checkpoint.as_ref()?;
        Some(JournalHead { file: report.file, chunks: last.seq, head: Digest(last.chain) })
    };
    Ok((reports.iter().filter_map(head).collect(), ended, bytes))
}

/// The wraps' hours, for the receipt and for keeping their keys.
pub(super) fn epochs(folder: &Folder) -> Vec<String> {
    let operator = folder.keys().ok().and_then(|keys| keys.operator);
    operator.into_iter().map(|wrap| wrap.epoch.to_string()).collect()
}

/// The data key of a journal that a process before this one wrote.
pub(super) fn recover(folder: &Folder, epochs: &crate::key::EpochKeys) -> Option<Arc<DataKey>> {
    let wrap = folder.keys().ok()?.operator?;
    epochs.unwrap(folder.recording(), &wrap).ok().map(Arc::new)
}
