//! A defect costs one recording: no test outside can make one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod linked;

use std::{
    path::Path,
    sync::{Mutex, atomic::AtomicUsize},
};

use async_trait::async_trait;
use bus::tap::tap;
use prometheus::Registry;
use sfu_proto::id::RoomId;
use tokio::sync::watch;

use super::*;
use crate::{
    evidence::SigningKey,
    key::EpochKeys,
    limits::{STUCK_TOTAL_BYTES_MAX, WAITING_TOTAL_BYTES_MAX},
    service::{
        Metrics,
        capture::{load::Load, reserve::Reserve},
        ledger::{Entry, Ledger, LedgerError, Outputs, State, Step, Timeline, Work},
    },
    storage::Target,
};

/// Only knows what was stopped.
#[derive(Default)]
struct Stopped(Mutex<Vec<RecordingId>>);

#[async_trait]
impl Ledger for Stopped {
    async fn open(&self) -> Result<Vec<Entry>, LedgerError> {
        Err(LedgerError::Unavailable)
    }

    async fn entry(&self, _: RecordingId) -> Result<Option<Entry>, LedgerError> {
        Err(LedgerError::Unavailable)
    }

    async fn step(&self, _: RecordingId, _: u64, _: Step) -> Result<u64, LedgerError> {
        Err(LedgerError::Unavailable)
    }

    async fn begun(&self, _: RecordingId) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn stop(&self, recording: RecordingId, _: Stop) -> Result<(), LedgerError> {
        self.0.lock().unwrap().push(recording);
        Ok(())
    }

    async fn timeline(&self, _: RecordingId) -> Result<Timeline, LedgerError> {
        Err(LedgerError::Unavailable)
    }

    async fn target(&self, _: &str, _: &str) -> Result<Option<Target>, LedgerError> {
        Err(LedgerError::Unavailable)
    }

    fn news(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

fn entry(id: RecordingId) -> Entry {
    Entry {
        id,
        project: "pr_test".to_owned(),
        room: RoomId::from_bits(1),
        state: State::Live,
        version: 1,
        started_at_ms: 0,
        stopped_at_ms: None,
        expires_at_ms: None,
        held: false,
        is_deleted: false,
        push_wanted: false,
        warned_percent: 0,
        has_journal: false,
        recipients: vec![age::x25519::Identity::generate().to_public().to_string()],
        sealed: false,
        path: String::new(),
        target: None,
        outputs: Outputs::default(),
        artifacts: Vec::new(),
        work: Work::default(),
    }
}

/// What lanes with files in `dir` share.
fn common(dir: &Path, ledger: Arc<Stopped>) -> Arc<Common> {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir.join("spool")).unwrap();
    Arc::new(Common {
        ledger,
        runtime: tokio::runtime::Handle::current(),
        spool: dir.join("spool"),
        reserve: Reserve::beside(&dir.join("spool")),
        epochs: Arc::new(EpochKeys::open(&dir.join("epochs")).unwrap()),
        capture: Arc::new(SigningKey::generate().unwrap()),
        metrics: Arc::new(Metrics::new(&Registry::new()).unwrap()),
        rotation: crate::journal::Rotation::LIVE,
        load: Arc::new(Load::new(10, 1)),
        waiting: AtomicUsize::new(0),
    })
}

/// A journal that has begun.
fn live(common: &Arc<Common>, id: RecordingId) -> Live {
    let place = common.load.place(id).unwrap();
    begin::journal(common, &entry(id), place).map_err(|error| error.to_string()).unwrap()
}

#[tokio::test]
async fn a_defect_ends_the_recording_that_it_happens_at_and_no_other() {
    let dir = std::env::temp_dir().join(format!("conclave-lane-{}", std::process::id()));
    let ledger = Arc::new(Stopped::default());
    let common = common(&dir, Arc::clone(&ledger));
    let (_sender, receiver) = tap(1000);
    let mut lane = Lane::new(0, receiver, mpsc::channel(), Arc::clone(&common));
    let [broken, other] = [1, 2].map(RecordingId::from_bits);
    for id in [broken, other] {
        lane.on_live(id, live(&common, id));
    }
    lane.guarded(|lane| {
        lane.on_batch(Batch { recording: broken, bytes: vec![1; 10] }, Hold::default());
        panic!("a defect, on purpose");
    });
    assert!(!lane.live.contains_key(&broken) && lane.over.has(broken));
    assert!(lane.over.take_key(broken).is_some(), "what was written can be read");
    lane.guarded(|lane| {
        lane.on_batch(Batch { recording: other, bytes: vec![2; 10] }, Hold::default());
    });
    lane.guarded(Lane::end);
    assert!(lane.live.is_empty(), "the other was closed");
    tokio::task::yield_now().await;
    assert_eq!(*ledger.0.lock().unwrap(), [broken]);
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_journal_that_the_disk_does_not_give_is_waited_for_but_not_for_ever() {
    let dir = std::env::temp_dir().join(format!("conclave-stuck-{}", std::process::id()));
    let ledger = Arc::new(Stopped::default());
    let common = common(&dir, Arc::clone(&ledger));
    let (_sender, receiver) = tap(1000);
    let mut lane = Lane::new(0, receiver, mpsc::channel(), Arc::clone(&common));
    let id = RecordingId::from_bits(1);
    lane.on_batch(Batch { recording: id, bytes: vec![1; 10] }, Hold::default());
    lane.on_begun(id, Err(Refusal::Stuck(JournalError::Missing)));
    assert_eq!(lane.waiting[&id].len(), 1, "the disk may be mounted late");
    let long_ago = Instant::now().checked_sub(STUCK_WAIT).unwrap();
    lane.waiting.get_mut(&id).unwrap().stuck_since = Some(long_ago);
    lane.on_begun(id, Err(Refusal::Stuck(JournalError::Missing)));
    assert!(lane.waiting.is_empty() && lane.over.has(id));
    tokio::task::yield_now().await;
    assert_eq!(*ledger.0.lock().unwrap(), [id], "its room is told");
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn what_waits_for_the_disk_leaves_room_for_what_begins() {
    let dir = std::env::temp_dir().join(format!("conclave-share-{}", std::process::id()));
    let common = common(&dir, Arc::default());
    let all = common.may_wait(STUCK_TOTAL_BYTES_MAX, WAITING_TOTAL_BYTES_MAX);
    assert!(all, "as much as those may keep that are stuck");
    let mut stuck = Waiting::new(Arc::clone(&common));
    stuck.stuck_since = Some(Instant::now());
    let mut new = Waiting::new(Arc::clone(&common));
    for waiting in [&mut stuck, &mut new] {
        waiting.push(vec![1; 10], Hold::default());
    }
    assert_eq!((stuck.len(), new.len()), (0, 1));
    std::fs::remove_dir_all(dir).unwrap();
}
