//! The recorder within `conclave serve`: its ledger is signaling's store, its ring is filled by the
//! media workers.

mod ledger;
mod target;

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use bus::tap::TapReceiver;
use prometheus::Registry;
use recorder::{
    service::{Metrics, Parts, Recorder},
    storage::{Cap, Storages},
};
use signaling::Store;

use self::ledger::StoreLedger;
use crate::config;

/// Starts the recorder with its files under `<data>/recorder`.
///
/// # Errors
/// Its folder or keys cannot be used.
pub(crate) fn start(
    settings: &config::Recorder,
    data: &Path,
    dialer: egress::Dialer,
    (store, tap): (Store, TapReceiver),
    registry: &Registry,
) -> anyhow::Result<Recorder> {
    let folder = data.join("recorder");
    let local = settings.local_folder.clone();
    let folders: Vec<PathBuf> = local.iter().cloned().collect();
    let cap = Cap::new(NonZeroU64::new(settings.push_bytes_per_second));
    let recorder = name(&folder)?;
    let parts = Parts {
        tap,
        ledger: Arc::new(StoreLedger { store, recorder, local }),
        storages: Storages::new(dialer, cap, folders),
        metrics: Arc::new(Metrics::new(registry)?),
        live_max: settings.recordings_max,
        folder,
    };
    Recorder::start(parts).context("the recorder cannot start")
}

/// A name that stays over restarts: what is on this disk only this recorder can finish.
fn name(folder: &Path) -> anyhow::Result<String> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = folder.join("name");
    match std::fs::read_to_string(&file) {
        Ok(name) => Ok(name),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let name = sfu_proto::id::NodeId::from_bits(rand::random()).to_string();
            std::fs::write(&file, &name)?;
            Ok(name)
        }
        Err(error) => Err(error.into()),
    }
}

/// Wall clock, milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
