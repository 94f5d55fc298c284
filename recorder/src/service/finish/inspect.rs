//! Reads a journal once before files are made of it: what its evidence says, and whether it is as it
//! was written.

use std::{fs::File, io::BufReader};

use sfu_proto::tap::{Body, records};

use super::FinishError;
use crate::{
    digest::Digest,
    evidence::{Damage, Ended, JournalHead},
    journal::{
        Ending, FileFound, FileReport, Flaw, Folder, HeaderError, OpenError, Replay, Structure,
    },
    key::DataKey,
    service::cancel::Cancel,
};

/// What was found.
pub(in crate::service) struct Inspected {
    pub(super) heads: Vec<JournalHead>,
    pub(super) ended: Ended,
    /// Whether there is a packet of any track.
    pub(super) has_media: bool,
    /// Whether there is a text, and texts are wanted.
    pub(super) has_texts: bool,
    /// A file that the system cannot read now.
    pub(super) unreadable: Option<u32>,
}

impl Inspected {
    /// Surely nothing was recorded.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_media && !self.has_texts && !self.is_damaged()
    }

    pub(super) fn is_damaged(&self) -> bool {
        matches!(self.ended, Ended::Damaged { .. })
    }
}

/// `is_begun`: its first file was safe on disk once. `texts`: they are wanted.
///
/// # Errors
/// The folder's, or that it was stopped.
pub(super) fn inspect(
    folder: &Folder,
    key: &DataKey,
    (is_begun, texts): (bool, bool),
    cancel: &Cancel,
) -> Result<Inspected, FinishError> {
    let mut replay = Replay::of(folder, key)?;
    let (mut has_media, mut has_texts) = (false, false);
    for batch in &mut replay {
        if cancel.is_set() {
            return Err(FinishError::Cancelled);
        }
        has_media = has_media || any(&batch.bytes, |body| matches!(body, Body::Packet(_)));
        has_texts = has_texts || texts && any(&batch.bytes, |body| matches!(body, Body::Data(_)));
    }
    let reports = replay.into_reports();
    let found = reports.iter().filter_map(|report| report.found.as_ref().ok());
    let unreadable = reports.iter().find(|report| is_unreadable(report));
    Ok(Inspected {
        heads: found.map(FileFound::journal_head).collect(),
        ended: ended(&reports, is_begun),
        has_media,
        has_texts,
        unreadable: unreadable.map(|report| report.file),
    })
}

/// The same for a journal that nobody here can open: its shape and the heads of its chains. That a
/// chunk was changed is seen by whoever has the key.
///
/// # Errors
/// A file that cannot be read, unless `past_unreadable`.
pub(super) fn inspect_sealed(
    folder: &Folder,
    past_unreadable: bool,
) -> Result<(Ended, Vec<JournalHead>), FinishError> {
    let (mut heads, mut ended) = (Vec::new(), Ended::Recovered);
    for (at, (file, path)) in folder.files()?.into_iter().enumerate() {
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let flaw = match File::open(path).and_then(|file| Structure::read(BufReader::new(file))) {
            _ if file != number => Some((0, Damage::Missing)),
            Err(_) if past_unreadable => Some((0, Damage::Unreadable)),
            Err(error) => return Err(error.into()),
            // A crash at its very beginning.
            Ok(Err(HeaderError::Short(_))) => None,
            Ok(Err(_)) => Some((0, Damage::Header)),
            Ok(Ok(Structure { header, .. })) if header.file != file => {
                Some((0, Damage::OtherPlace))
            }
            Ok(Ok(found)) => {
                let chunks = found.batches + found.checkpoints;
                heads.push(JournalHead { file, chunks, head: Digest(found.chain) });
                match found.ending {
                    Ending::Unreadable { error, .. } if !past_unreadable => {
                        return Err(error.into());
                    }
                    Ending::Unreadable { offset, .. } => Some((offset, Damage::Unreadable)),
                    Ending::Tampered { offset, .. } => Some((offset, Damage::Chunk)),
                    Ending::Whole { .. } | Ending::Truncated { .. } => None,
                }
            }
        };
        if let (Some((offset, flaw)), Ended::Recovered) = (flaw, ended) {
            ended = Ended::Damaged { file: file.min(number), offset, flaw };
        }
    }
    Ok((ended, heads))
}

fn any(bytes: &[u8], is: impl Fn(&Body<'_>) -> bool) -> bool {
    records(bytes).any(|one| one.is_ok_and(|one| is(&one.body)))
}

fn is_unreadable(report: &FileReport) -> bool {
    match &report.found {
        Ok(found) => matches!(found.ending, Ending::Unreadable { .. }),
        Err(error) => matches!(error, OpenError::File(_)),
    }
}

fn ended(reports: &[FileReport], is_begun: bool) -> Ended {
    let is_whole = |report: &FileReport| {
        report.found.as_ref().is_ok_and(|found| matches!(found.ending, Ending::Whole { .. }))
    };
    let is_last = |report: &FileReport| {
        report
            .found
            .as_ref()
            .is_ok_and(|found| matches!(found.ending, Ending::Whole { last: true }))
    };
    match first_damage(reports, is_begun) {
        Some(damaged) => damaged,
        None if reports.iter().all(is_whole) && reports.last().is_some_and(is_last) => {
            Ended::Closed
        }
        None => Ended::Recovered,
    }
}

/// Numbers count from 1 without a hole: one that has no file was taken away.
fn first_damage(reports: &[FileReport], is_begun: bool) -> Option<Ended> {
    let damaged = |file, offset, flaw| Some(Ended::Damaged { file, offset, flaw });
    for (at, report) in reports.iter().enumerate() {
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        if report.file != number {
            return damaged(number, 0, Damage::Missing);
        }
        if let Some((offset, flaw)) = damage(report, reports.get(at + 1), is_begun && at == 0) {
            return damaged(report.file, offset, flaw);
        }
    }
    None
}

/// `next`: the file after it, which proves by its link that everything in this one was read.
fn damage(
    report: &FileReport,
    next: Option<&FileReport>,
    must_begin: bool,
) -> Option<(u64, Damage)> {
    let found = match &report.found {
        // A crash at the very beginning of a file leaves such a one.
        Err(OpenError::Header(HeaderError::Short(_))) if !must_begin => return None,
        Err(OpenError::Header(_)) => return Some((0, Damage::Header)),
        Err(OpenError::Key(_)) => return Some((0, Damage::OtherKey)),
        Err(OpenError::Place) => return Some((0, Damage::OtherPlace)),
        Err(OpenError::File(_)) => return Some((0, Damage::Unreadable)),
        Ok(found) if !found.linked => return Some((0, Damage::Unlinked)),
        Ok(found) => found,
    };
    let is_continued = next.and_then(|next| next.found.as_ref().ok()).is_some_and(|next| {
        // With a chunk its header is authentic.
        next.linked && next.header.run == found.header.run && next.chunks > 0
    });
    match &found.ending {
        // A disk that failed wrote something behind what was safe; the next file has it.
        _ if is_continued => None,
        Ending::Whole { .. } | Ending::Truncated { .. } => None,
        Ending::Tampered { offset, flaw: Flaw::Signature, .. } => {
            Some((*offset, Damage::Signature))
        }
        Ending::Tampered { offset, .. } => Some((*offset, Damage::Chunk)),
        Ending::Unreadable { offset, .. } => Some((*offset, Damage::Unreadable)),
    }
}
