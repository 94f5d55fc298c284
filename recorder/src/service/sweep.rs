//! From time to time: folders that are left of purged recordings, and operator's keys of hours that no
//! recording needs any more, are destroyed.

use std::{collections::BTreeSet, fs, io, path::Path, sync::Arc, time::SystemTime};

use super::{
    Shared,
    finish::is_gone,
    ledger::{Entry, State},
};
use crate::{
    journal::{Folder, FolderError},
    key::EpochId,
    limits::EPOCHS_LOOK,
};

/// What lies on the disk.
struct Spooled {
    folders: Vec<Folder>,
    /// Hours of all of them; none: one could not be read.
    epochs: Option<BTreeSet<EpochId>>,
}

/// One sweep.
pub(super) async fn sweep(shared: Arc<Shared>) {
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
    if rows().any(|row| row.has_journal && !is_here(row)) {
        tracing::error!("no hour's key is destroyed: a recording's folder is missing");
        return;
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
