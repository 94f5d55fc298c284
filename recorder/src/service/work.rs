//! What is done with one recording once it is over: one step after the other, each of which a process
//! after this one may do again.
//!
//! ```text
//! recorded ─▶ finalizing ─▶ pushing ⇄ push_blocked ─▶ delivered ─▶ purged
//!      └─ nothing recorded ─────────────┬────────────────────────────▲
//!      too old, deleted (not held) ─────┘
//! ```

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Shared,
    finish::{self, Finish, FinishError, Finished},
    ledger::{Block, Entry, LedgerError, News, Purge, State, Step, Work},
    push::{PushError, Pusher, rows},
    spool::{Push, Spool},
};
use crate::{
    digest::Digest,
    evidence::{
        self, ArtifactName, Delivery, KeyFate, PurgeReason, Receipt, ReceiptArtifact, SignedReceipt,
    },
    journal::{Folder, FolderError},
    key::DataKey,
    limits::{LEDGER_AGAIN, PROGRESS_INTERVAL},
    storage,
};

/// Why the work on a recording stopped for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// The store.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Making files.
    #[error(transparent)]
    Finish(#[from] FinishError),
    /// Pushing them.
    #[error(transparent)]
    Push(#[from] PushError),
    /// Environment: our own disk.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Us.
    #[error("{0}")]
    Internal(String),
}

/// Work on one recording.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Entry,
    /// Of this process, if it wrote the journal.
    pub(super) key: Option<Arc<DataKey>>,
}

impl Job {
    /// Does what is due; gives whether it is purged.
    ///
    /// # Errors
    /// [`WorkError`]: to be tried again later.
    pub(super) async fn run(mut self) -> Result<bool, WorkError> {
        let now = super::now_ms();
        if let Some(reason) = over(&self.entry, now) {
            self.purge(reason).await?;
            return Ok(true);
        }
        if matches!(self.entry.state, State::Recorded | State::Finalizing) && !self.make().await? {
            return Ok(true);
        }
        if matches!(self.entry.state, State::Pushing | State::PushBlocked) {
            self.push().await?;
        }
        if self.entry.state == State::Delivered && !self.entry.held {
            self.purge(Purge::Delivered).await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn step(&mut self, step: Step) -> Result<(), LedgerError> {
        let state = step.state;
        self.entry.version =
            self.shared.ledger.step(self.entry.id, self.entry.version, step).await?;
        self.entry.state = state.unwrap_or(self.entry.state);
        Ok(())
    }

    fn folder(&self) -> Result<Option<Folder>, FolderError> {
        let path = self.shared.spool.join(self.entry.id.to_string());
        // Only what is surely not there is taken for nothing: a disk may fail to answer.
        match path.try_exists().map_err(FolderError::File)? {
            true => Folder::open(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Makes the files; false: there was nothing, and it is purged.
    async fn make(&mut self) -> Result<bool, WorkError> {
        let Some(folder) = self.folder()? else {
            self.purge(Purge::Empty).await?;
            return Ok(false);
        };
        self.step(Step { state: Some(State::Finalizing), progress: Some(0), ..Step::default() })
            .await?;
        let finished = match self.finish(folder.clone()).await {
            Err(WorkError::Finish(FinishError::Empty)) => {
                self.purge(Purge::Empty).await?;
                return Ok(false);
            }
            other => other?,
        };
        self.shared.metrics.finalized.inc();
        let export = finished.export;
        let work = Work {
            manifest_sha256: Some(export.manifest_sha256.clone()),
            epochs: finish::epochs(&folder),
            ..Work::default()
        };
        self.entry.work = work.clone();
        self.entry.artifacts = rows(&export, &Push::default());
        let bytes = export.artifacts.iter().map(|artifact| artifact.bytes).sum();
        self.step(Step {
            state: Some(State::Pushing),
            progress: Some(0),
            artifacts: Some(self.entry.artifacts.clone()),
            work: Some(work),
            news: Some(News::Finalized { bytes, seconds: finished.seconds }),
            ..Step::default()
        })
        .await?;
        Ok(true)
    }

    async fn finish(&mut self, folder: Folder) -> Result<Finished, WorkError> {
        let timeline = self.shared.ledger.timeline(self.entry.id).await?;
        let key = self.key.clone().or_else(|| finish::recover(&folder, &self.shared.epochs));
        let (shared, entry) = (Arc::clone(&self.shared), self.entry.clone());
        let (told, mut heard) = watch::channel(0u8);
        let mut making = tokio::task::spawn_blocking(move || {
            let make = Finish {
                entry: &entry,
                folder: &folder,
                key: key.as_deref(),
                timeline,
                signers: &shared.signers,
                software: shared.software.clone(),
                now_ms: super::now_ms(),
            };
            make.run(&mut |percent| {
                told.send_replace(percent);
            })
        });
        loop {
            tokio::select! {
                done = &mut making => {
                    let done = done.map_err(|error| WorkError::Internal(error.to_string()))?;
                    return Ok(done?);
                }
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                    let percent = u32::from(*heard.borrow_and_update());
                    let progress = Step { progress: Some(percent), ..Step::default() };
                    self.step(progress).await?;
                }
            }
        }
    }

    /// Pushes and verifies everything.
    async fn push(&mut self) -> Result<(), WorkError> {
        if self.entry.push_wanted {
            self.entry.push_wanted = false;
            self.step(Step { served: true, ..Step::default() }).await?;
        }
        let Some(target) = self.entry.target.clone() else {
            return self.block(Block::NoTarget).await;
        };
        let found = self.shared.ledger.target(&self.entry.project, &target).await?;
        let Some(found) = found else { return self.block(Block::NoTarget).await };
        let store = match self.shared.storages.open(&found, &self.entry.project) {
            Ok(store) => store,
            Err(error) => {
                let local = matches!(found, storage::Target::Local(_));
                let block = PushError::Store(error).block().unwrap_or(Block::Refused);
                return self.block(if local { Block::LocalFolder } else { block }).await;
            }
        };
        let Some(folder) = self.folder()? else {
            return Err(WorkError::Internal("the files are gone".to_owned()));
        };
        let spool = Spool::of(&folder);
        let export = spool.export().map_err(FolderError::File)?;
        let export = export.ok_or_else(|| WorkError::Internal("the export is gone".to_owned()))?;
        let result = self.send(&target, &store, &spool, &export).await;
        match result {
            Ok(verified) => self.delivered(verified, &spool, &export).await,
            Err(error) => {
                self.shared.metrics.push_failures.inc();
                match error.block() {
                    Some(block) => self.block(block).await,
                    None => Err(error.into()),
                }
            }
        }
    }

    async fn send(
        &mut self,
        target: &str,
        store: &storage::Store,
        spool: &Spool,
        export: &super::spool::Export,
    ) -> Result<evidence::Verified, PushError> {
        let newest = Arc::new(Mutex::new(None));
        let (slot, shared, entry) =
            (Arc::clone(&newest), Arc::clone(&self.shared), self.entry.clone());
        let pusher =
            Pusher { entry: &entry, target, store, spool, export, metrics: &shared.metrics };
        let mut told = move |rows| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(rows);
        };
        let sending = pusher.run(&mut told);
        tokio::pin!(sending);
        loop {
            tokio::select! {
                done = &mut sending => return done,
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                    let rows = newest.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some(rows) = rows {
                        let progress = Step {
                            progress: Some(percent(&rows)),
                            artifacts: Some(rows),
                            ..Step::default()
                        };
                        let _ = self.step(progress).await; // Told again with the next part.
                    }
                }
            }
        }
    }

    async fn delivered(
        &mut self,
        verified: evidence::Verified,
        spool: &Spool,
        export: &super::spool::Export,
    ) -> Result<(), WorkError> {
        let push = spool.push().map_err(FolderError::File)?.unwrap_or_default();
        let word = match verified {
            evidence::Verified::Size => "size",
            evidence::Verified::ProviderChecksum => "provider_checksum",
            evidence::Verified::ReadBack => "read_back",
        };
        self.entry.work.verified = Some(word.to_owned());
        self.entry.work.verified_at_ms = Some(super::now_ms());
        self.entry.artifacts = rows(export, &push);
        self.shared.metrics.delivered.inc();
        let step = Step {
            state: Some(State::Delivered),
            progress: Some(100),
            artifacts: Some(self.entry.artifacts.clone()),
            work: Some(self.entry.work.clone()),
            news: Some(News::Delivered),
            ..Step::default()
        };
        Ok(self.step(step).await?)
    }

    async fn block(&mut self, block: Block) -> Result<(), WorkError> {
        let again = self.shared.again_after(self.entry.id);
        let retry_at_ms = super::now_ms() + u64::try_from(again.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(recording = %self.entry.id, ?block, "a push is blocked");
        let news = Some(News::Blocked { block, retry_at_ms });
        let step = Step { state: Some(State::PushBlocked), news, ..Step::default() };
        self.step(step).await?;
        Err(PushError::Again.into())
    }

    /// Destroys the key and everything else, then says so with a receipt.
    async fn purge(&mut self, reason: Purge) -> Result<(), WorkError> {
        if let Some(folder) = self.folder()? {
            if self.entry.work.epochs.is_empty() {
                self.entry.work.epochs = finish::epochs(&folder);
                let work = Some(self.entry.work.clone());
                self.step(Step { work, ..Step::default() }).await?;
            }
            self.take_back(&folder, reason).await;
            let destroyed = tokio::task::spawn_blocking(move || folder.destroy()).await;
            destroyed.map_err(|error| WorkError::Internal(error.to_string()))??;
        }
        self.key = None;
        let at_ms = super::now_ms();
        let signed = self.receipt(reason, at_ms)?;
        let news = News::Purged {
            reason,
            at_ms,
            receipt: signed.receipt,
            signature: signed.signature,
            key: signed.key.to_string(),
        };
        self.shared.metrics.purged.inc();
        let step = Step { state: Some(State::Purged), news: Some(news), ..Step::default() };
        while let Err(error) = self.step(step.clone()).await {
            if error == LedgerError::Changed {
                return Err(error.into());
            }
            tokio::time::sleep(LEDGER_AGAIN).await;
        }
        Ok(())
    }

    /// What is not delivered is taken back as far as the storage lets us.
    async fn take_back(&self, folder: &Folder, reason: Purge) {
        if reason == Purge::Delivered {
            return;
        }
        let Some(target) = &self.entry.target else { return };
        let Ok(Some(found)) = self.shared.ledger.target(&self.entry.project, target).await else {
            return;
        };
        if let Ok(store) = self.shared.storages.open(&found, &self.entry.project) {
            let limit = Duration::from_secs(30);
            let spool = Spool::of(folder);
            let _ = tokio::time::timeout(limit, super::push::abort(&spool, &store)).await;
        }
    }

    fn receipt(&self, reason: Purge, at_ms: u64) -> Result<SignedReceipt, WorkError> {
        let work = &self.entry.work;
        let keys = match (self.entry.sealed, work.epochs.is_empty()) {
            (true, _) | (_, true) => KeyFate::NeverKept,
            _ => KeyFate::Pending { epochs: work.epochs.clone() },
        };
        let internal = |error: &dyn std::fmt::Display| WorkError::Internal(error.to_string());
        let mut artifacts = Vec::new();
        for row in &self.entry.artifacts {
            artifacts.push(ReceiptArtifact {
                name: row.name.parse::<ArtifactName>().map_err(|error| internal(&error))?,
                bytes: row.bytes,
                sha256: row.sha256.parse::<Digest>().map_err(|error| internal(&error))?,
            });
        }
        let receipt = Receipt {
            recording: self.entry.id,
            project: self.entry.project.clone(),
            room: self.entry.room,
            reason: reason_of(reason),
            purged_at_ms: at_ms,
            signed_at_ms: at_ms,
            keys,
            manifest_sha256: work.manifest_sha256.as_deref().and_then(|text| text.parse().ok()),
            artifacts,
            delivered: self.delivery(reason).into_iter().collect(),
            software: self.shared.software.clone(),
        };
        SignedReceipt::sign(receipt, self.shared.signers.export()).map_err(|e| internal(&e))
    }

    fn delivery(&self, reason: Purge) -> Option<Delivery> {
        if reason != Purge::Delivered {
            return None;
        }
        let verified = match self.entry.work.verified.as_deref() {
            Some("provider_checksum") => evidence::Verified::ProviderChecksum,
            _ => evidence::Verified::ReadBack,
        };
        let verified_at_ms = self.entry.work.verified_at_ms?;
        Some(Delivery { target: self.entry.target.clone()?, verified, verified_at_ms })
    }
}

/// Why a recording must be purged now, if it must.
pub(super) fn is_over(entry: &Entry, now_ms: u64) -> bool {
    over(entry, now_ms).is_some()
}

fn over(entry: &Entry, now_ms: u64) -> Option<Purge> {
    if entry.held || matches!(entry.state, State::Live | State::Purged) {
        return None;
    }
    if entry.state == State::Delivered {
        return Some(Purge::Delivered);
    }
    if entry.is_deleted {
        return Some(Purge::Deleted);
    }
    entry.expires_at_ms.filter(|at| *at <= now_ms).map(|_| Purge::Expired)
}

fn percent(rows: &[super::ledger::ArtifactRow]) -> u32 {
    let all: u64 = rows.iter().map(|row| row.bytes).sum();
    let pushed: u64 = rows.iter().map(|row| row.pushed_bytes).sum();
    u32::try_from(pushed.saturating_mul(100) / all.max(1)).unwrap_or(100).min(99)
}

fn reason_of(reason: Purge) -> PurgeReason {
    match reason {
        Purge::Delivered => PurgeReason::Delivered,
        Purge::Expired => PurgeReason::MaxAge,
        Purge::Deleted => PurgeReason::Deleted,
        Purge::Empty | Purge::Unreadable => PurgeReason::Empty,
    }
}
