//! Seals each file as it is written: no byte of it is on the disk in the clear.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write as _},
};

use sfu_proto::id::ParticipantId;

use super::FinishError;
use crate::{
    evidence::Artifact,
    finalize::{FileInfo, Handle, Sinks, TrackResult},
    seal::{Recipients, Sealed, Sealer},
    service::spool::Spool,
};

/// Where the files of tracks go.
pub(super) struct Sealing<'a> {
    pub(super) spool: &'a Spool,
    pub(super) recipients: &'a Recipients,
    /// What the partner calls people.
    pub(super) handles: BTreeMap<ParticipantId, Handle>,
    pub(super) artifacts: Vec<Artifact>,
}

pub(super) struct SealedFile {
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

impl Sinks for Sealing<'_> {
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
