//! Pushes the files of a recording and proves that they arrived. Goes on where a process before it
//! stopped; nothing is purged by it.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
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
    limits::{ARRIVED_LOOK_AFTER, ARRIVED_LOOKS, PUSH_RESTARTS_MAX},
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
            Self::Spool(_) | Self::Stopped => None,
            Self::Store(error) if !error.is_blocking() => None,
            Self::Store(StoreError::Credentials(_)) => Some(Block::Credentials),
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
        let mut weakest = Verified::ReadBack;
        let files = self.files().await?;
        self.look_again(&files, &mut push).await?;
        for file in files {
            let verified = self.file(&file, &mut push, told).await?;
            weakest = weakest.min(verified);
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

    /// Looks at what arrived a while ago: rules and people remove things from storages, and once all of it
    /// is delivered there is no other copy. What is gone is due again.
    async fn look_again(&self, files: &[File], push: &mut Push) -> Result<(), PushError> {
        let now = super::now_ms();
        let arrived = files.iter().filter_map(|file| {
            let sending = push.files.get(&file.name)?;
            is_old(sending, now).then(|| self.unless_there(file, sending))
        });
        let looks: Vec<_> = arrived.collect();
        let found: Vec<_> =
            stream::iter(looks).buffer_unordered(ARRIVED_LOOKS).try_collect().await?;
        let gone: Vec<String> = found.into_iter().flatten().collect();
        if gone.is_empty() {
            return Ok(());
        }
        tracing::error!(recording = %self.entry.id, files = gone.len(), "gone from the storage");
        gone.iter().for_each(|name| drop(push.files.remove(name)));
        self.keep(push).await?;
        for name in &gone {
            // What was sealed while the recording went on is here no more, and is made anew.
            tokio::fs::metadata(self.spool.file(name)).await?;
        }
        Ok(())
    }

    /// The name of a file that is not there as it arrived.
    async fn unless_there(
        &self,
        file: &File,
        sending: &Sending,
    ) -> Result<Option<String>, PushError> {
        if self.cancel.is_set() {
            return Err(PushError::Stopped);
        }
        let is = Expected { bytes: file.bytes, sha256: file.sha256 };
        let is_there = self.store.is_there(&sending.upload, is).await?;
        Ok((!is_there).then(|| file.name.clone()))
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
        let is = Expected { bytes: file.bytes, sha256: file.sha256 };
        let verified = self.store.verify(&sending.upload, is).await?;
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

/// Where a file of a recording goes.
pub(super) fn key_of(entry: &Entry, artifact: &str) -> Result<Key, PushError> {
    let (room, recording) = (entry.room.to_string(), entry.id.to_string());
    Ok(Template::parse(&entry.path)?.key(&Values {
        project: &entry.project,
        room: &room,
        recording: &recording,
        artifact,
        began_ms: entry.started_at_ms,
    })?)
}

/// Verified so long ago that much may have happened since.
fn is_old(sending: &Sending, now_ms: u64) -> bool {
    let age = now_ms.saturating_sub(sending.verified_at_ms.unwrap_or(0));
    sending.verified.is_some() && u128::from(age) >= ARRIVED_LOOK_AFTER.as_millis()
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
