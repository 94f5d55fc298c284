//! Pushes the files of a recording and proves that they arrived. Goes on where a process before it
//! stopped; nothing is purged by it.

mod arrived;

use std::{collections::BTreeSet, io, sync::Arc};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{
    cancel::Cancel,
    ledger::{ArtifactRow, Block, Entry},
    metrics::Metrics,
    spool::{Export, Push, Sending, Spool},
};
use crate::{
    digest::Digest,
    evidence::Artifact,
    limits::{ARRIVED_ROUNDS, PUSH_RESTARTS_MAX},
    storage::{Expected, Key, Store, StoreError, Template, Values, Verified},
};

/// Why a push stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    /// The storage.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Environment: our own disk.
    #[error("the spool: {0}")]
    Spool(#[from] io::Error),
    /// The path template of the row does not work.
    #[error("the path: {0}")]
    Path(#[from] crate::storage::TemplateError),
    /// What was sealed while the recording went on is neither in the storage nor here any more.
    #[error("{} files must be sealed anew", .0.len())]
    Unsealed(BTreeSet<String>),
    /// A file did not arrive as it was sent, again and again.
    #[error("what arrives is not what is sent")]
    Again,
    /// Whoever waited for it said stop.
    #[error("stopped")]
    Stopped,
}

impl PushError {
    /// A file that was made is not on our disk as it was: it must be made again.
    pub(super) fn is_unmade(&self) -> bool {
        let Self::Spool(error) = self else { return false };
        matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
    }

    /// What somebody must do something about; none: try again.
    pub(super) fn block(&self) -> Option<Block> {
        match self {
            Self::Again => Some(Block::Checksum),
            Self::Path(_) => Some(Block::Refused),
            Self::Spool(_) | Self::Unsealed(_) | Self::Stopped => None,
            Self::Store(error) if !error.is_blocking() => None,
            Self::Store(StoreError::Credentials(_) | StoreError::HostKey) => {
                Some(Block::Credentials)
            }
            Self::Store(StoreError::NoPlace(_)) => Some(Block::NotFound),
            Self::Store(StoreError::ForbiddenAddress(_)) => Some(Block::AddressForbidden),
            Self::Store(StoreError::Full) => Some(Block::Full),
            Self::Store(_) => Some(Block::Refused),
        }
    }
}

/// One attempt to push a recording.
pub(super) struct Pusher<'a> {
    pub(super) entry: &'a Entry,
    pub(super) target: &'a str,
    pub(super) store: &'a Store,
    pub(super) spool: &'a Spool,
    pub(super) export: &'a Export,
    pub(super) metrics: &'a Arc<Metrics>,
    /// Heard between two parts.
    pub(super) cancel: &'a Cancel,
}

/// A file to be pushed.
struct File {
    name: String,
    bytes: u64,
    sha256: Digest,
}

impl File {
    fn expected(&self) -> Expected {
        Expected { bytes: self.bytes, sha256: self.sha256 }
    }
}

impl Pusher<'_> {
    /// Pushes and verifies everything; gives the weakest way in which a file was verified. `told` hears
    /// of the sealed files after each part.
    ///
    /// # Errors
    /// [`PushError`]; what arrived so far is kept.
    pub(super) async fn run(
        &self,
        told: &mut (dyn FnMut(Vec<ArtifactRow>) + Send),
    ) -> Result<Verified, PushError> {
        let mut push = self.begin().await?;
        if let Err(error) = Template::parse(&self.entry.path) {
            tracing::warn!(recording = %self.entry.id, %error, "its path is the default one");
        }
        let files = self.files().await?;
        let (artifacts, evidence) = files.split_at(self.export.artifacts.len());
        for _ in 0..ARRIVED_ROUNDS {
            self.are_here(artifacts, &push).await?;
            let weakest = self.all(artifacts, &mut push, told).await?;
            // What says that all is there is sent when all is there.
            if self.is_all_there(&files, &mut push).await? {
                return Ok(weakest.min(self.all(evidence, &mut push, told).await?));
            }
        }
        Err(PushError::Again)
    }

    /// What is still to be sent lies here.
    async fn are_here(&self, files: &[File], push: &Push) -> Result<(), PushError> {
        let mut missing = BTreeSet::new();
        for file in files.iter().filter(|file| !push.has(&file.name)) {
            if !tokio::fs::try_exists(self.spool.file(&file.name)).await? {
                missing.insert(file.name.clone());
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(PushError::Unsealed(missing)) }
    }

    /// Pushes and verifies what is not yet; the weakest way in which one was.
    async fn all(
        &self,
        files: &[File],
        push: &mut Push,
        told: &mut (dyn FnMut(Vec<ArtifactRow>) + Send),
    ) -> Result<Verified, PushError> {
        let mut weakest = Verified::ReadBack;
        for file in files {
            weakest = weakest.min(self.file(file, push, told).await?);
        }
        Ok(weakest)
    }

    /// How far it is; anew when the target is another one.
    async fn begin(&self) -> Result<Push, PushError> {
        let before = self.spool.push()?.unwrap_or_default();
        if before.target == self.target {
            return Ok(before);
        }
        Ok(Push { target: self.target.to_owned(), ..Push::default() })
    }

    /// Artifacts first, then evidence in its order; the last one says that all is there.
    async fn files(&self) -> Result<Vec<File>, PushError> {
        let mut files: Vec<File> = Vec::new();
        for artifact in &self.export.artifacts {
            let name = artifact.name.as_str().to_owned();
            files.push(File { name, bytes: artifact.bytes, sha256: artifact.sha256 });
        }
        for name in &self.export.evidence {
            let bytes = tokio::fs::read(self.spool.file(name)).await?;
            let (name, sha256) = (name.clone(), Digest::of(&bytes));
            files.push(File { name, bytes: bytes.len() as u64, sha256 });
        }
        Ok(files)
    }

    async fn file(
        &self,
        file: &File,
        push: &mut Push,
        told: &mut (dyn FnMut(Vec<ArtifactRow>) + Send),
    ) -> Result<Verified, PushError> {
        let done = push.files.get(&file.name).and_then(|sending| sending.verified);
        if let Some(verified) = done {
            return Ok(verified);
        }
        let key = key_of(self.entry, &file.name)?;
        loop {
            match self.send(&key, file, push, told).await {
                Err(PushError::Store(error)) if error.is_restart() => {
                    self.restart(file, push, &error).await?;
                }
                other => return other,
            }
        }
    }

    /// Sends what is missing of a file, then verifies it.
    async fn send(
        &self,
        key: &Key,
        file: &File,
        push: &mut Push,
        told: &mut (dyn FnMut(Vec<ArtifactRow>) + Send),
    ) -> Result<Verified, PushError> {
        if !push.files.contains_key(&file.name) {
            let upload = self.store.begin(key, Some(file.bytes)).await?;
            let sending = Sending { upload, verified: None, verified_at_ms: None, restarts: 0 };
            push.files.insert(file.name.clone(), sending);
            self.keep(push).await?;
        }
        while let Some(data) = self.next(file, push).await? {
            let Some(sending) = push.files.get_mut(&file.name) else { continue };
            let bytes = data.len() as u64;
            self.store.put_part(&mut sending.upload, data).await?;
            self.metrics.pushed_bytes.inc_by(bytes);
            self.keep(push).await?;
            told(rows(&self.export.artifacts, push));
        }
        let Some(sending) = push.files.get_mut(&file.name) else { return Err(PushError::Again) };
        self.store.finish(&mut sending.upload).await?;
        let verified = self.store.verify(&sending.upload, file.expected()).await?;
        (sending.verified, sending.verified_at_ms) = (Some(verified), Some(super::now_ms()));
        self.keep(push).await?;
        told(rows(&self.export.artifacts, push));
        Ok(verified)
    }

    /// The next part, if one is missing.
    async fn next(&self, file: &File, push: &Push) -> Result<Option<Bytes>, PushError> {
        if self.cancel.is_set() {
            return Err(PushError::Stopped);
        }
        let Some(sending) = push.files.get(&file.name) else { return Ok(None) };
        let (upload, at) = (&sending.upload, sending.upload.offset());
        if upload.is_done() || at >= file.bytes {
            return Ok(None);
        }
        let mut input = tokio::fs::File::open(self.spool.file(&file.name)).await?;
        input.seek(io::SeekFrom::Start(at)).await?;
        let length = upload.part_bytes().min(file.bytes - at);
        let mut part = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        input.read_exact(&mut part).await?;
        Ok(Some(part.into()))
    }

    /// Forgets an upload that cannot go on; not for ever.
    async fn restart(
        &self,
        file: &File,
        push: &mut Push,
        error: &StoreError,
    ) -> Result<(), PushError> {
        let Some(sending) = push.files.get_mut(&file.name) else { return Ok(()) };
        tracing::warn!(recording = %self.entry.id, %error, "a file is pushed anew");
        if sending.restarts >= PUSH_RESTARTS_MAX {
            push.files.remove(&file.name);
            self.keep(push).await?;
            return Err(PushError::Again);
        }
        let restarts = sending.restarts + 1;
        let _ = self.store.abort(&sending.upload).await; // The storage's own rules remove it else.
        let key = sending.upload.key().clone();
        let upload = self.store.begin(&key, Some(file.bytes)).await?;
        *sending = Sending { upload, verified: None, verified_at_ms: None, restarts };
        self.keep(push).await
    }

    async fn keep(&self, push: &Push) -> Result<(), PushError> {
        let (spool, push) = (self.spool.clone(), push.clone());
        let kept = tokio::task::spawn_blocking(move || spool.write_push(&push)).await;
        Ok(kept.map_err(io::Error::other)??)
    }
}

/// Where a file of a recording goes. Rows that an older release began may have a path that it took and nobody
/// could ever use: they are delivered where files go by default, not lost.
pub(super) fn key_of(entry: &Entry, artifact: &str) -> Result<Key, PushError> {
    let (room, recording) = (entry.room.to_string(), entry.id.to_string());
    Ok(Template::parse(&entry.path).unwrap_or_default().key(&Values {
        project: &entry.project,
        room: &room,
        recording: &recording,
        artifact,
        began_ms: entry.started_at_ms,
    })?)
}

/// Takes back what is there of uploads that will not be finished.
pub(super) async fn abort(push: &Push, store: &Store) {
    for sending in push.files.values() {
        let _ = store.abort(&sending.upload).await; // The storage's own rules remove it else.
    }
}

/// The sealed files as the API shows them.
pub(super) fn rows(artifacts: &[Artifact], push: &Push) -> Vec<ArtifactRow> {
    let row = |artifact: &Artifact| {
        let sending = push.files.get(artifact.name.as_str());
        ArtifactRow {
            name: artifact.name.as_str().to_owned(),
            media_type: artifact.media_type.clone(),
            track: artifact.track,
            participant: artifact.participant,
            source: artifact.source,
            bytes: artifact.bytes,
            sha256: artifact.sha256.to_string(),
            pushed_bytes: sending.map_or(0, |sending| sending.upload.offset()),
            verified: sending.is_some_and(|sending| sending.verified.is_some()),
        }
    };
    artifacts.iter().map(row).collect()
}
