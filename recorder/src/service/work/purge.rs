//! The stage in which everything is destroyed, and a receipt says so.
//!
//! ```text
//! what the receipt must say is gathered ─▶ uploads taken back ─▶ step to `purging` ─▶ destroyed ─▶ receipt
//!                                                   held: nothing happened │ from here on nothing holds it
//! ```

use std::io;

use super::{Job, WorkError, over};
use crate::{
    evidence::{
        ArtifactName, Delivery, KeyFate, PurgeReason, Receipt, ReceiptArtifact, SignedReceipt,
    },
    journal::{Folder, FolderError},
    limits::WRAPS_TRIES,
    service::{
        finish::is_gone,
        ledger::{ArtifactRow, Block, LedgerError, News, Purge, State, Step, Work},
        now_ms,
        push::rows,
        spool::{Push, Spool, identity},
    },
};

impl Job {
    /// Destroys the key and everything else, then says so with a receipt.
    pub(super) async fn purge(mut self, why: Purge) -> Result<(), WorkError> {
        if self.entry.state != State::Purging {
            self.fence(why).await?;
        }
        self.destroy().await?;
        self.key = None;
        self.shared.keys.forget(self.entry.id);
        self.conclude().await
    }

    /// Gathers what must be known afterwards, and makes sure that nobody holds it.
    async fn fence(&mut self, why: Purge) -> Result<(), WorkError> {
        let row = self.shared.ledger.entry(self.entry.id).await?.ok_or(WorkError::Changed)?;
        if row.held {
            return Err(LedgerError::Held.into());
        }
        let is_asked = over(&row, self.shared.ages.now_ms());
        if row.state != self.entry.state || is_asked.unwrap_or(why) != why {
            return Err(WorkError::Changed);
        }
        self.entry = row;
        let folder = self.folder()?;
        let is_lost = folder.is_none() && self.has_folder();
        if is_lost && !self.is_too_old() {
            return Err(self.block(Block::SpoolMissing).await);
        }
        let sealed = folder.as_ref().map_or(Ok(None), |folder| self.sealed(folder))?;
        let artifacts = sealed.inspect(|rows| self.entry.artifacts.clone_from(rows));
        let mut work = self.known(folder.as_ref(), why)?;
        if is_lost && why != Purge::Delivered {
            work.purge = Some(Purge::Expired);
        }
        work.is_lost = is_lost;
        work.disk = identity(&self.shared.spool);
        if let Some(push) = folder.as_ref().and_then(|folder| Spool::of(folder).push().ok()?) {
            self.take_back(&push).await;
        }
        // The version is that of the row as it was judged: whoever was faster is heard.
        let state = Some(State::Purging);
        let step = Step { state, work: Some(work.clone()), artifacts, ..Step::default() };
        let (id, version) = (self.entry.id, self.entry.version);
        self.entry.version = self.shared.ledger.step(id, version, step).await?;
        (self.entry.state, self.entry.work) = (State::Purging, work);
        Ok(())
    }

    fn is_too_old(&self) -> bool {
        self.entry.expires_at_ms.is_some_and(|at| at <= self.shared.ages.now_ms())
    }

    /// Files that were sealed, and may have arrived, and of which the row does not know.
    fn sealed(&self, folder: &Folder) -> Result<Option<Vec<ArtifactRow>>, WorkError> {
        let spool = Spool::of(folder);
        let read = || -> io::Result<_> {
            let made = spool.export()?.map(|export| export.artifacts);
            let artifacts = made.map_or_else(|| Ok(spool.live()?.artifacts), io::Result::Ok)?;
            Ok(rows(&artifacts, &spool.push()?.unwrap_or_default()))
        };
        match read() {
            Ok(rows) => Ok(Some(rows).filter(|rows| rows.len() > self.entry.artifacts.len())),
            Err(_) if self.shared.tries.count(self.entry.id) >= WRAPS_TRIES => Ok(None),
            Err(error) => Err(FolderError::File(error).into()),
        }
    }

    /// What the receipt says and is read from files that will be gone.
    fn known(&self, folder: Option<&Folder>, why: Purge) -> Result<Work, WorkError> {
        let mut work = self.entry.work.clone();
        work.purge = Some(why);
        // What cannot be read now is tried again, not for ever.
        let is_last = self.shared.tries.count(self.entry.id) >= WRAPS_TRIES;
        if work.epochs.is_empty() && !self.entry.sealed {
            match folder.map(wraps) {
                None => work.are_epochs_unknown = self.has_folder(),
                Some(Ok(Some(epochs))) => work.epochs = epochs,
                Some(Ok(None)) => work.are_epochs_unknown = true,
                Some(Err(_)) if is_last => work.are_epochs_unknown = true,
                Some(Err(error)) => return Err(error.into()),
            }
        }
        if let (None, Some(folder)) = (&work.delivered, folder) {
            match Spool::of(folder).push() {
                Ok(push) => work.delivered = push.and_then(|push| self.arrived(&push)),
                Err(_) if is_last => {}
                Err(error) => return Err(FolderError::File(error).into()),
            }
        }
        Ok(work)
    }

    /// The files that arrived, of a push that was not finished.
    fn arrived(&self, push: &Push) -> Option<Delivery> {
        let rows = self.entry.artifacts.iter().filter_map(|row| row.name.parse().ok());
        let proof = |name: &ArtifactName| {
            let sending = push.files.get(name.as_str())?;
            Some((sending.verified?, sending.verified_at_ms?))
        };
        let only: Vec<ArtifactName> = rows.filter(|name| proof(name).is_some()).collect();
        let proofs = || only.iter().filter_map(proof);
        let verified = proofs().map(|(how, _)| how).min()?;
        let verified_at_ms = proofs().map(|(_, at)| at).max()?;
        Some(Delivery { target: push.target.clone(), verified, verified_at_ms, only })
    }

    async fn destroy(&mut self) -> Result<(), WorkError> {
        match self.folder()? {
            Some(folder) => {
                let destroyed = tokio::task::spawn_blocking(move || folder.destroy()).await;
                destroyed.map_err(|error| WorkError::Internal(error.to_string()))??;
                self.entry.work.is_lost = false;
            }
            // Not there because it is destroyed; or because the disk is not, which says nothing.
            None if self.entry.work.disk != identity(&self.shared.spool) && self.has_folder() => {
                if !self.is_too_old() {
                    return Err(WorkError::Blocked(Block::SpoolMissing));
                }
                self.entry.work.is_lost = true;
            }
            None => {}
        }
        Ok(())
    }

    async fn conclude(mut self) -> Result<(), WorkError> {
        let work = &self.entry.work;
        let why = work.purge.unwrap_or(Purge::Expired);
        // Receipt and event say the same.
        let reason = if work.is_lost { Purge::Lost } else { why };
        let at_ms = now_ms();
        let signed = self.receipt(reason, at_ms)?;
        self.leave_receipt(why, &signed).await?;
        let news = News::Purged {
            reason,
            at_ms,
            receipt: signed.receipt,
            signature: signed.signature,
            key: signed.key.to_string(),
        };
        let step = Step { state: Some(State::Purged), news: Some(news), ..Step::default() };
        let (id, version) = (self.entry.id, self.entry.version);
        self.entry.version = self.shared.ledger.step(id, version, step).await?;
        self.shared.metrics.purged.inc();
        Ok(())
    }

    fn receipt(&self, reason: Purge, at_ms: u64) -> Result<SignedReceipt, WorkError> {
        let work = &self.entry.work;
        let keys = match (self.entry.sealed, work.are_epochs_unknown, work.epochs.is_empty()) {
            (true, ..) => KeyFate::NeverKept,
            (false, true, _) => KeyFate::Unknown,
            (false, false, true) => KeyFate::NeverKept,
            (false, false, false) => KeyFate::Pending { epochs: work.epochs.clone() },
        };
        let internal = |error: &dyn std::fmt::Display| WorkError::Internal(error.to_string());
        let mut artifacts = Vec::new();
        for row in &self.entry.artifacts {
            artifacts.push(ReceiptArtifact {
                name: row.name.parse().map_err(|error| internal(&error))?,
                bytes: row.bytes,
                sha256: row.sha256.parse().map_err(|error| internal(&error))?,
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
            delivered: work.delivered.clone().into_iter().collect(),
            software: self.shared.software.clone(),
        };
        SignedReceipt::sign(receipt, self.shared.signers.export()).map_err(|e| internal(&e))
    }
}

/// The hours whose keys wrap the data key. None: nobody can tell any more.
fn wraps(folder: &Folder) -> Result<Option<Vec<String>>, FolderError> {
    match folder.keys() {
        Ok(keys) => {
            Ok(Some(keys.operator.into_iter().map(|wrap| wrap.epoch.to_string()).collect()))
        }
        // A crash before anything was written: nothing was wrapped.
        Err(error) if is_gone(&error) => Ok(folder.files()?.is_empty().then(Vec::new)),
        Err(error) => Err(error),
    }
}

fn reason_of(reason: Purge) -> PurgeReason {
    match reason {
        Purge::Delivered => PurgeReason::Delivered,
        Purge::Expired => PurgeReason::MaxAge,
        Purge::Deleted => PurgeReason::Deleted,
        Purge::Empty => PurgeReason::Empty,
        Purge::Unreadable => PurgeReason::Unreadable,
        Purge::Lost => PurgeReason::Lost,
    }
}
