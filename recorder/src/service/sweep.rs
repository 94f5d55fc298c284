//! From time to time: what time it is, is written down; folders that are left of purged recordings, and operator's keys of hours that no
//! recording needs any more, are destroyed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    Shared,
    finish::is_gone,
    ledger::{Entry, State},
    now_ms,
};
use crate::{
    journal::{Folder, FolderError},
    key::EpochId,
    limits::EPOCHS_LOOK,
};

const HOUR_MS: u64 = 3_600_000;

/// What lies on the disk.
struct Spooled {
    folders: Vec<Folder>,
    /// Hours of all of them; none: one could not be read.
    epochs: Option<BTreeSet<EpochId>>,
}

/// One sweep.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let own = Arc::clone(&shared);
    if !matches!(tokio::task::spawn_blocking(move || own.ages.keep()).await, Ok(Ok(()))) {
        tracing::error!("the time cannot be written down: a start does not notice a wrong clock");
    }
    let spool = shared.spool.clone();
    // The disk before the rows: a row without a folder was there before, or its folder is missing.
    let Ok(Ok(spooled)) = tokio::task::spawn_blocking(move || look(&spool)).await else {
        tracing::error!("the spool cannot be read");
        return;
    };
    let Ok(rows) = shared.ledger.open().await else { return };
    destroy_epochs(&shared, &spooled, &rows).await;
    for folder in spooled.folders {
        remove_orphan(&shared, folder).await;
    }
}

fn look(spool: &Path) -> io::Result<Spooled> {
    let (mut folders, mut epochs) = (Vec::new(), Some(BTreeSet::new()));
    for entry in fs::read_dir(spool)? {
        let folder = match Folder::open(&entry?.path()) {
            Ok(folder) => folder,
            // Purged meanwhile.
            Err(error) if is_gone(&error) => continue,
            Err(FolderError::Name) => {
                tracing::warn!("something else than a recording lies in the spool");
                continue;
            }
            Err(error) => {
                tracing::error!(%error, "a folder of the spool cannot be read");
                epochs = None;
                continue;
            }
        };
        match folder.keys() {
            Ok(keys) => {
                if let Some(epochs) = &mut epochs {
                    epochs.extend(keys.operator.map(|wrap| wrap.epoch));
                }
            }
            // Nobody will read the wrap, so nobody needs the key of its hour.
            Err(error) if is_gone(&error) => {}
            Err(error) => {
                let recording = folder.recording();
                tracing::error!(%recording, %error, "no hour's key is destroyed: wraps unread");
                epochs = None;
            }
        }
        folders.push(folder);
    }
    Ok(Spooled { folders, epochs })
}

/// Destroys the operator's keys of hours that no recording needs any more.
async fn destroy_epochs(shared: &Arc<Shared>, spooled: &Spooled, rows: &[Entry]) {
    let Some(mut keep) = spooled.epochs.clone() else { return };
    let is_here = |row: &Entry| spooled.folders.iter().any(|one| one.recording() == row.id);
    let rows = || rows.iter().filter(|row| !matches!(row.state, State::Live | State::Purging));
    for row in rows().filter(|row| row.has_journal && !is_here(row)) {
        tracing::error!(recording = %row.id, "its folder is missing: its hours' keys are kept");
        keep.extend(hours_of(row.started_at_ms, row.stopped_at_ms.unwrap_or_else(now_ms)));
    }
    let hours = rows().flat_map(|row| &row.work.epochs);
    keep.extend(hours.filter_map(|hour| hour.parse::<EpochId>().ok()));
    let shared = Arc::clone(shared);
    let before = SystemTime::now() - EPOCHS_LOOK;
    let destroy = move || shared.epochs.destroy_before(before, &keep);
    match tokio::task::spawn_blocking(destroy).await {
        Ok(Ok(gone)) if gone.is_empty() => {}
        Ok(Ok(gone)) => tracing::info!(keys = gone.len(), "operator's keys destroyed"),
        Ok(Err(error)) => tracing::error!(%error, "operator's keys cannot be destroyed"),
        Err(_) => tracing::error!("operator's keys cannot be destroyed, by a defect"),
    }
}

/// The hours in which the data key of a recording can have been wrapped, and one before and after: clocks
/// of others told the times.
fn hours_of(started_at_ms: u64, stopped_at_ms: u64) -> impl Iterator<Item = EpochId> {
    let hour = |ms: u64| ms / HOUR_MS;
    // Not for ever when a row's times are wrong.
    let until = hour(stopped_at_ms.min(now_ms())) + 1;
    let hours = hour(started_at_ms).saturating_sub(1)..=until;
    hours.map(|hour| EpochId::of(UNIX_EPOCH + Duration::from_millis(hour * HOUR_MS)))
}

/// Destroys a folder whose recording is purged.
async fn remove_orphan(shared: &Shared, folder: Folder) {
    let recording = folder.recording();
    match shared.ledger.entry(recording).await {
        Ok(Some(entry)) if entry.state == State::Purged => {
            tracing::warn!(%recording, "what is left of a purged recording is destroyed");
            let destroyed = tokio::task::spawn_blocking(move || folder.destroy()).await;
            if !matches!(destroyed, Ok(Ok(()))) {
                tracing::error!(%recording, "what is left of it cannot be destroyed");
            }
        }
        // A database that was restored or replaced knows it not: somebody must decide.
        Ok(None) => tracing::error!(%recording, "a folder of an unknown recording"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_folder_keeps_the_hours_of_its_recording_and_no_others() {
        let at = |hour: u64| hour * HOUR_MS + 1000;
        let named = |hours: &[u64]| -> Vec<EpochId> {
            hours.iter().map(|h| EpochId::of(UNIX_EPOCH + Duration::from_secs(h * 3600))).collect()
        };
        let kept = |from, to| hours_of(from, to).collect::<Vec<_>>();
        assert_eq!(kept(at(100), at(101)), named(&[99, 100, 101, 102]));
        assert_eq!(kept(at(0), at(0)), named(&[0, 1]));
        assert!(kept(at(9), at(2)).is_empty(), "times that cannot be");
        assert_eq!(kept(now_ms(), u64::MAX).len(), 3);
    }
}
