//! Seals each file as it is written: no byte of it is on the disk in the clear.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
};

use sfu_proto::{control::Source, id::ParticipantId};

use super::FinishError;
use crate::{
    composite::Mask,
    evidence::Artifact,
    finalize::{FileInfo, Handle, Sinks, TrackResult},
    seal::{Recipients, Sealed, Sealer},
    service::spool::Spool,
};

/// Where the files of tracks go.
pub(super) struct Sealing<'a> {
    pub(super) spool: &'a Spool,
    pub(super) rule: Rule<'a>,
    /// What the partner calls people.
    pub(super) handles: BTreeMap<ParticipantId, Handle>,
    pub(super) artifacts: Vec<Artifact>,
}

/// Who gets which tracks.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    /// What is hidden.
    pub(super) masks: &'a [Mask],
    /// Tracks that masks hide are sealed to these; none: nobody gets them.
    pub(super) unmasked: Option<&'a Recipients>,
    /// All others are.
    pub(super) tracks: Option<&'a Recipients>,
}

impl<'a> Rule<'a> {
    fn of(self, source: Source, handle: Option<&Handle>) -> Option<&'a Recipients> {
        let is_masked = self.masks.iter().any(|mask| mask.hides(source, handle));
        if is_masked { self.unmasked } else { self.tracks }
    }
}

impl<'a> Sealing<'a> {
    fn recipients(&self, file: &FileInfo) -> Option<&'a Recipients> {
        self.rule.of(file.source, self.handles.get(&file.participant))
    }
}

pub(super) struct SealedFile {
    sealer: Sealer<BufWriter<File>>,
}

impl SealedFile {
    pub(super) fn create(spool: &Spool, name: &str, to: &Recipients) -> io::Result<Self> {
        Ok(Self { sealer: Sealer::new(BufWriter::new(spool.create(name)?), to)? })
    }

    /// All is written, and safe on the disk.
    pub(super) fn finish(self) -> io::Result<Sealed> {
        let (file, sealed) = self.sealer.finish()?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(sealed)
    }
}

/// A track's file, if anybody gets it.
pub(super) struct TrackFile(Option<SealedFile>);

impl io::Write for TrackFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(bytes.len()), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), io::Write::flush)
    }
}

impl io::Write for SealedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sealer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sealer.flush()
    }
}

impl Sinks for Sealing<'_> {
    type Sink = TrackFile;

    fn open(&mut self, file: &FileInfo) -> io::Result<TrackFile> {
        let (name, to) = (format!("{}.age", file.name), self.recipients(file));
        let sealed = to.map(|to| SealedFile::create(self.spool, &name, to)).transpose()?;
        Ok(TrackFile(sealed))
    }

    fn close(&mut self, sink: TrackFile, result: &TrackResult) -> io::Result<()> {
        let (Some(file), Some(to)) = (sink.0, self.recipients(&result.file)) else {
            return Ok(());
        };
        let (sealed, who) = (file.finish()?, to.fingerprints());
        let handle = self.handles.get(&result.file.participant).cloned();
        let artifact = Artifact::of_track(result, handle, &sealed, who);
        self.artifacts.push(artifact.map_err(io::Error::other)?);
        Ok(())
    }
}

/// Seals a small text into a file.
pub(super) fn seal_into(
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
