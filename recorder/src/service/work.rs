//! What is done with one recording once it is over: one stage after the other, each of which a process
//! after this one may do again.
//!
//! ```text
//! recorded ─▶ finalizing ─▶ pushing ⇄ push_blocked ─▶ delivered ─▶ purging ─▶ purged
//!      └─ nothing recorded ─────────────┬──────────────────────────────▲
//!      too old, deleted (not held) ─────┘
//! ```
//! Between its steps a job looks whether others changed the row: it goes on with what they wrote, or
//! stops when that asks for something else.

mod left;
mod live;
mod make;
mod purge;
mod push;

use std::sync::Arc;

use tokio::sync::watch;

use super::{
    Shared,
    finish::FinishError,
    ledger::{Block, Entry, LedgerError, News, Purge, State, Step},
    now_ms,
    push::PushError,
};
use crate::{
    journal::{Folder, FolderError},
    key::DataKey,
    limits::{PROGRESS_INTERVAL, STEP_TRIES},
};

/// Why the work on a recording stopped for now.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    /// Others changed the row, or the process ends: nothing failed.
    #[error("something else is due")]
    Changed,
    /// Somebody must act; the row says who.
    #[error("blocked: {0:?}")]
    Blocked(Block),
    /// The store, or a hold.
    #[error(transparent)]
    Ledger(LedgerError),
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

impl From<LedgerError> for WorkError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Changed => Self::Changed,
            LedgerError::Held | LedgerError::Unavailable => Self::Ledger(error),
        }
    }
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It goes on; what is closed of its journal is pushed.
    Live,
    /// Files are made of the journal.
    Make,
    /// They are pushed and verified.
    Push,
    /// All is destroyed.
    Purge,
}

impl Stage {
    /// Whether it takes a place among those that push.
    pub(super) fn is_push(self) -> bool {
        matches!(self, Self::Live | Self::Push)
    }
}

/// Work on one recording.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Entry,
    /// Of this process, if it wrote the journal and files are to be made of it.
    pub(super) key: Option<Arc<DataKey>>,
    /// Becomes true when the recording is over and this stage was of one that goes on.
    pub(super) over: watch::Receiver<bool>,
}

impl Job {
    /// Does one stage.
    ///
    /// # Errors
    /// [`WorkError`]: to be tried again.
    pub(super) async fn run(self, stage: Stage) -> Result<(), WorkError> {
        match stage {
            Stage::Live => self.live().await,
            Stage::Make => self.make().await,
            Stage::Push => self.push().await,
            Stage::Purge => {
                let why = over(&self.entry, self.shared.ages.now_ms()).ok_or(WorkError::Changed)?;
                self.purge(why).await
            }
        }
    }

    /// Takes a step. Others may change the row meanwhile, as long as they do not want something else.
    async fn step(&mut self, step: Step) -> Result<(), WorkError> {
        for _ in 0..STEP_TRIES {
            let (id, version) = (self.entry.id, self.entry.version);
            match self.shared.ledger.step(id, version, step.clone()).await {
                Ok(version) => {
                    self.entry.version = version;
                    self.entry.state = step.state.unwrap_or(self.entry.state);
                    return Ok(());
                }
                Err(LedgerError::Changed) => self.refresh().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(WorkError::Changed)
    }

    /// Reads the row again.
    async fn refresh(&mut self) -> Result<(), WorkError> {
        let row = self.shared.ledger.entry(self.entry.id).await?;
        let row = row.ok_or(WorkError::Changed)?;
        // Where files go is of no matter while they are made.
        let goes_there = row.target == self.entry.target || row.state == State::Finalizing;
        if row.state != self.entry.state || !goes_there || self.is_over(&row) {
            return Err(WorkError::Changed);
        }
        self.entry = row;
        Ok(())
    }

    /// Whether a recording must be purged now.
    fn is_over(&self, entry: &Entry) -> bool {
        over(entry, self.shared.ages.now_ms()).is_some()
    }

    /// Notes progress, until something else is due; gives why.
    async fn until_changed(
        &mut self,
        mut progress: impl FnMut(State) -> Option<Step>,
    ) -> WorkError {
        let (mut stop, mut over_now) = (self.shared.stop.clone(), self.over.clone());
        loop {
            tokio::select! {
                () = stopped(&mut stop) => return WorkError::Changed,
                () = stopped(&mut over_now) => return WorkError::Changed,
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {}
            }
            // A store that stands still stops nothing but the purge that is due by the clock.
            if self.is_over(&self.entry) || matches!(self.refresh().await, Err(WorkError::Changed))
            {
                return WorkError::Changed;
            }
            if let Some(step) = progress(self.entry.state)
                && matches!(self.step(step).await, Err(WorkError::Changed))
            {
                return WorkError::Changed;
            }
        }
    }

    /// None: it is surely not there.
    fn folder(&self) -> Result<Option<Folder>, FolderError> {
        let path = self.shared.spool.join(self.entry.id.to_string());
        // Only what is surely not there is taken for nothing: a disk may fail to answer.
        match path.try_exists().map_err(FolderError::File)? {
            true => Folder::open(&path).map(Some),
            false => Ok(None),
        }
    }

    /// Whether there must be a folder, until it is destroyed.
    fn has_folder(&self) -> bool {
        self.entry.has_journal || !self.entry.artifacts.is_empty()
    }

    /// Says that somebody must act, and gives that as the error.
    async fn block(&mut self, block: Block) -> WorkError {
        let again = self.shared.tries.again_after(self.entry.id);
        let retry_at_ms = now_ms() + u64::try_from(again.as_millis()).unwrap_or(u64::MAX);
        // What is delivered stays so.
        if self.entry.state != State::Delivered {
            let news = Some(News::Blocked { block, retry_at_ms });
            let step = Step { state: Some(State::PushBlocked), news, ..Step::default() };
            if let Err(error) = self.step(step).await {
                return error;
            }
        }
        WorkError::Blocked(block)
    }
}

/// Returns when the process ends.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Nobody to tell: the recorder was dropped.
    let _ = stop.wait_for(|is_over| *is_over).await;
}

/// Why a recording must be purged now, if it must.
pub(super) fn over(entry: &Entry, now_ms: u64) -> Option<Purge> {
    let is_old = entry.expires_at_ms.is_some_and(|at| at <= now_ms);
    match entry.state {
        State::Live | State::Purged => None,
        // It cannot be held any more, and what was begun is ended as it began.
        State::Purging => Some(entry.work.purge.unwrap_or(Purge::Expired)),
        _ if entry.held => None,
        State::Delivered => Some(Purge::Delivered),
        _ if entry.is_deleted => Some(Purge::Deleted),
        _ => is_old.then_some(Purge::Expired),
    }
}
