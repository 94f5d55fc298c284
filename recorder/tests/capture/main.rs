//! What the writers of journals do when the store, the disk or the media are not as they should be. The
//! disk and the partner's storage are real; rows are in memory.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod full;
mod ledger;
mod load;
#[path = "../service/ledger.rs"]
#[allow(dead_code, reason = "of another test program")]
mod memory;
mod recording;
mod resume;
mod store;

use std::{fs, path::PathBuf, sync::Arc};

use bus::tap::TapSender;
use ledger::Faulty;
use memory::Row;
use prometheus::Registry;
use recorder::{limits::WRITERS, service::Recorder};
use sfu_proto::id::RecordingId;

/// A folder for everything, removed with the test.
struct World {
    root: PathBuf,
    ledger: Arc<Faulty>,
    recipient: String,
}

impl World {
    fn new(name: &str) -> Self {
        let name = format!("conclave-capture-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(recording::partner(&root)).unwrap();
        let recipient = recording::identity(&root.join("identity"));
        let ledger = Arc::new(Faulty::new());
        ledger.memory.set_target("st_local", recording::target(&root));
        Self { root, ledger, recipient }
    }

    /// A new row; all of them are of one writer.
    fn row(&self, number: u128) -> RecordingId {
        self.row_of_any_writer(number * WRITERS as u128)
    }

    fn row_of_any_writer(&self, bits: u128) -> RecordingId {
        let id = RecordingId::from_bits(bits);
        self.ledger.memory.insert(Row::new(id, &self.recipient, "st_local"));
        id
    }

    fn start(&self) -> (Recorder, TapSender, Registry) {
        recording::start(&self.root, self.ledger.clone(), 100)
    }

    fn has_folder(&self, id: RecordingId) -> bool {
        self.root.join("data/spool").join(id.to_string()).exists()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn metric(registry: &Registry, name: &str) -> u64 {
    let all = registry.gather();
    let found = all.iter().find(|family| family.name() == format!("conclave_recorder_{name}"));
    let metric = &found.unwrap().get_metric()[0];
    (metric.get_counter().get_value() + metric.get_gauge().get_value()) as u64
}
