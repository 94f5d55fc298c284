//! The turn of a recording that still goes on: journal files that are closed are sealed and pushed.
//!
//! ```text
//! closed file ─▶ sealed, safe on disk, noted ─▶ pushed, verified ─▶ sealed copy removed ─▶ the next one …
//! (before the first: the data key)
//! ```
//! The newest file is being written, and is left alone. A failure changes nothing of the recording: it is
//! tried again, and what is left at the end is pushed with the rest.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Job, WorkError, stopped};
use crate::{
    evidence::Artifact,
    journal::{Folder, FolderError, Space},
    limits::{LIVE_TOLD_FILES, LIVE_TOLD_PART, LIVE_TURN_FILES},
    seal::Recipients,
    service::{
        cancel::Cancel,
        finish::{FinishError, Raw, has_room},
        ledger::{ArtifactRow, Step},
        push::rows,
        spool::{Export, Live, Push, Spool},
    },
    storage::Store,
};

/// Where a turn pushes to.
struct Place<'a> {
    spool: &'a Spool,
    target: &'a str,
    store: &'a Store,
}

impl Job {
    /// Seals and pushes what is closed, some files at most: then it is others' turn.
    pub(super) async fn live(mut self) -> Result<(), WorkError> {
        let Some(folder) = self.folder()? else { return Ok(()) };
        let listed = folder.clone();
        let mut files = apart(move || listed.files()).await??;
        files.pop();
        if files.len() <= self.shared.turns.pushed(self.entry.id) {
            return Ok(());
        }
        let to = self.entry.raw_recipients().map_err(FinishError::from)?;
        let Some(to) = to else { return Ok(()) }; // Masked for good: nobody gets it.
        let spool = Spool::of(&folder);
        let (target, store) = tokio::select! {
            found = self.place(&spool) => found?,
            () = self.ended() => return Err(WorkError::Changed),
        };
        let mut live = self.begin(spool.clone(), to.clone(), target.clone()).await?;
        let place = Place { spool: &spool, target: &target, store: &store };
        for _ in 0..LIVE_TURN_FILES {
            self.send_sealed(&place, &live).await?;
            match next(&files, &live) {
                Some(file) => live = self.seal_next(&folder, &to, file, live).await?,
                None => {
                    self.shared.turns.set_pushed(self.entry.id, files.len());
                    return self.tell_pushed(&spool, &live).await;
                }
            }
        }
        self.tell_pushed(&spool, &live).await?;
        Err(WorkError::Changed)
    }

    /// The recording is over, or the process ends.
    async fn ended(&self) {
        let (mut stop, mut over) = (self.shared.stop.clone(), self.over.clone());
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = stopped(&mut over) => {}
        }
    }

    /// The storage. What is half there in another one is taken back.
    async fn place(&self, spool: &Spool) -> Result<(String, Store), WorkError> {
        let (target, store) = self.store().await?.map_err(WorkError::Blocked)?;
        self.take_back_elsewhere(spool, &target).await;
        Ok((target, store))
    }

    /// What of earlier turns is right still; what they left half done is removed, here and there.
    async fn begin(&self, spool: Spool, to: Recipients, target: String) -> Result<Live, WorkError> {
        let begin = move || {
            spool.check_live(&to.fingerprints(), Some(&target))?;
            let (live, mut stale) = (spool.live()?, spool.push()?.unwrap_or_default());
            let names = live.names();
            stale.files.retain(|name, _| !names.contains(name.as_str()));
            drop(names);
            spool.clear()?;
            io::Result::Ok((live, stale))
        };
        let (live, stale) = apart(begin).await?.map_err(FolderError::File)?;
        if !stale.files.is_empty() {
            self.take_back(&stale).await;
        }
        Ok(live)
    }

    /// Pushes and verifies what is sealed, and removes the sealed copies.
    async fn send_sealed(&mut self, place: &Place<'_>, live: &Live) -> Result<(), WorkError> {
        let push = pushed(place.spool).await?;
        let is_there = |name: &str| push.target == place.target && push.has(name);
        let waiting = live.artifacts.iter().filter(|artifact| !is_there(artifact.name.as_str()));
        let artifacts: Vec<_> = waiting.cloned().collect();
        if artifacts.is_empty() {
            return Ok(());
        }
        let export = Export { artifacts, ..Export::default() };
        let sent = self.send(place.target, place.store, place.spool, &export).await;
        if let Err(WorkError::Push(_)) = sent {
            self.shared.metrics.push_failures.inc();
        }
        sent?;
        let (spool, sent) = (place.spool.clone(), export.artifacts);
        self.shared.metrics.live_pushed_bytes.inc_by(sent.iter().map(|one| one.bytes).sum());
        let remove = move || sent.iter().try_for_each(|one| spool.remove(one.name.as_str()));
        Ok(apart(remove).await?.map_err(FolderError::File)?)
    }

    /// Seals a file in a thread of its own, which has ended at return.
    async fn seal_next(
        &mut self,
        folder: &Folder,
        to: &Recipients,
        file: (u32, PathBuf),
        live: Live,
    ) -> Result<Live, WorkError> {
        let (folder, to) = (folder.clone(), to.clone());
        let cancel = Cancel::default();
        let (_stops, stop) = (cancel.on_drop(), cancel.clone());
        let mut sealing =
            tokio::task::spawn_blocking(move || seal(&folder, &to, &file, live, &stop));
        let why = tokio::select! {
            done = &mut sealing => return Ok(done.map_err(defect)??),
            why = self.until_changed(|_| None) => why,
        };
        cancel.set();
        let _ = sealing.await; // Only when it has ended may others touch the folder.
        Err(why)
    }

    /// Writes into the row what arrived, when it is a good part more than the row says.
    async fn tell_pushed(&mut self, spool: &Spool, live: &Live) -> Result<(), WorkError> {
        let Some(newest) = untold(&self.entry.artifacts, &live.artifacts) else { return Ok(()) };
        let artifacts = Some(rows(newest, &pushed(spool).await?));
        self.step(Step { artifacts, ..Step::default() }).await
    }
}

/// What the row is to name now. None: it will do as it is.
fn untold<'a>(told: &[ArtifactRow], live: &'a [Artifact]) -> Option<&'a [Artifact]> {
    let last = told.last().map(|row| &*row.name);
    let known = live.iter().rposition(|one| Some(one.name.as_str()) == last);
    let known = known.map_or(0, |at| at + 1);
    let is_due = live.len() > known + known / LIVE_TOLD_PART;
    is_due.then(|| &live[live.len().saturating_sub(LIVE_TOLD_FILES)..])
}

/// How far it is.
async fn pushed(spool: &Spool) -> Result<Push, WorkError> {
    let spool = spool.clone();
    let push = apart(move || spool.push()).await?;
    Ok(push.map_err(FolderError::File)?.unwrap_or_default())
}

/// What reads or writes the disk has a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, WorkError> {
    tokio::task::spawn_blocking(work).await.map_err(defect)
}

/// The oldest file that is not sealed.
fn next(files: &[(u32, PathBuf)], live: &Live) -> Option<(u32, PathBuf)> {
    let sealed = live.names();
    files.iter().find(|(number, _)| !sealed.contains(&*Raw::name(*number))).cloned()
}

fn seal(
    folder: &Folder,
    recipients: &Recipients,
    (number, path): &(u32, PathBuf),
    mut live: Live,
    cancel: &Cancel,
) -> Result<Live, FinishError> {
    look_at_room(folder, path)?;
    let spool = &Spool::of(folder);
    // The wraps that lie with the journal will do: the key itself is with whoever writes it.
    let raw = Raw { spool, folder, recipients, key: None, past_unreadable: false, cancel };
    if !live.names().contains(Raw::KEY) {
        live.artifacts.insert(0, raw.data_key()?);
    }
    live.artifacts.extend(raw.file(*number, path)?);
    spool.write_live(&live)?;
    Ok(live)
}

/// What is written now needs the room more.
fn look_at_room(folder: &Folder, path: &Path) -> Result<(), FinishError> {
    let is_room = has_room(Space::of(folder.path())?, path.metadata()?.len());
    if is_room { Ok(()) } else { Err(FinishError::NoRoom) }
}

fn defect(error: tokio::task::JoinError) -> WorkError {
    tracing::error!(%error, "a defect while journal files were pushed");
    FinishError::Defect.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{digest::Digest, evidence::ArtifactKind, seal::Sealed};

    fn sealed(count: u32) -> Vec<Artifact> {
        let none = Digest([0; 32]);
        let sealed = Sealed {
            bytes: 1,
            sha256: none,
            plain_bytes: 1,
            plain_sha256: none,
            merkle_root: none,
        };
        let one = |number| {
            let name = Raw::name(number).parse().unwrap();
            Artifact::new(name, ArtifactKind::Journal, "", &sealed, Vec::new())
        };
        (1..=count).map(one).collect()
    }

    #[test]
    fn a_row_names_the_newest_only_and_is_written_now_and_then() {
        let files = sealed(3000);
        let told = |count: usize, row: &[ArtifactRow]| {
            untold(row, &files[..count]).map(|newest| rows(newest, &Push::default()))
        };
        assert!(told(0, &[]).is_none());
        let first = told(1, &[]).unwrap();
        assert!(first.len() == 1 && told(1, &first).is_none());
        let (mut row, mut writes) = (first, 1);
        for count in 2..=files.len() {
            if let Some(newest) = told(count, &row) {
                (row, writes) = (newest, writes + 1);
            }
            assert!(row.len() <= LIVE_TOLD_FILES, "{count}");
        }
        assert!((100..400).contains(&writes), "{writes}");
        let last: u32 = row.last().unwrap().name[..8].parse().unwrap();
        assert!(last > 2900, "{last}");
    }
}
