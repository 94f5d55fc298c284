//! Rows in memory, with a store that fails as it is told.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use recorder::{
    service::ledger::{Entry, Ledger, LedgerError, Step, Stop, Timeline},
    storage::Target,
};
use sfu_proto::id::RecordingId;
use tokio::sync::watch;

use crate::memory::Memory;

#[derive(Default)]
struct Faults {
    /// Look-ups of these fail; of those never answer.
    failing: HashSet<RecordingId>,
    silent: HashSet<RecordingId>,
    /// The first look-up of these panics.
    defects: HashSet<RecordingId>,
    asked: HashMap<RecordingId, u32>,
    claims: HashMap<RecordingId, VecDeque<LedgerError>>,
    claimed: HashSet<RecordingId>,
    stops: Vec<(RecordingId, Stop)>,
}

pub(crate) struct Faulty {
    pub(crate) memory: Memory,
    faults: Mutex<Faults>,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self { memory: Memory::new(), faults: Mutex::default() }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }

    pub(crate) fn set_silent(&self, recording: RecordingId) {
        self.faults().silent.insert(recording);
    }

    pub(crate) fn set_failing(&self, recording: RecordingId) {
        self.faults().failing.insert(recording);
    }

    pub(crate) fn set_defect(&self, recording: RecordingId) {
        self.faults().defects.insert(recording);
    }

    pub(crate) fn heal(&self) {
        let mut faults = self.faults();
        faults.silent.clear();
        faults.failing.clear();
    }

    /// How the next claims are refused; later ones are not.
    pub(crate) fn refuse_claims(&self, recording: RecordingId, errors: &[LedgerError]) {
        self.faults().claims.insert(recording, errors.iter().copied().collect());
    }

    pub(crate) fn asked(&self, recording: RecordingId) -> u32 {
        self.faults().asked.get(&recording).copied().unwrap_or_default()
    }

    pub(crate) fn is_claimed(&self, recording: RecordingId) -> bool {
        self.faults().claimed.contains(&recording)
    }

    pub(crate) fn stopped(&self, recording: RecordingId) -> Vec<Stop> {
        let faults = self.faults();
        faults.stops.iter().filter(|(id, _)| *id == recording).map(|(_, why)| *why).collect()
    }
}

#[async_trait]
impl Ledger for Faulty {
    async fn open(&self) -> Result<Vec<Entry>, LedgerError> {
        self.memory.open().await
    }

    async fn entry(&self, recording: RecordingId) -> Result<Option<Entry>, LedgerError> {
        *self.faults().asked.entry(recording).or_default() += 1;
        while self.faults().silent.contains(&recording) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let is_defect = self.faults().defects.remove(&recording);
        assert!(!is_defect, "a defect, on purpose");
        if self.faults().failing.contains(&recording) {
            return Err(LedgerError::Unavailable);
        }
        self.memory.entry(recording).await
    }

    async fn step(
        &self,
        recording: RecordingId,
        version: u64,
        step: Step,
    ) -> Result<u64, LedgerError> {
        self.memory.step(recording, version, step).await
    }

    async fn begun(&self, recording: RecordingId) -> Result<(), LedgerError> {
        let refused = self.faults().claims.get_mut(&recording).and_then(VecDeque::pop_front);
        if let Some(error) = refused {
            return Err(error);
        }
        self.faults().claimed.insert(recording);
        self.memory.begun(recording).await
    }

    async fn stop(&self, recording: RecordingId, why: Stop) -> Result<(), LedgerError> {
        self.faults().stops.push((recording, why));
        self.memory.stop(recording, why).await
    }

    async fn timeline(&self, recording: RecordingId) -> Result<Timeline, LedgerError> {
        self.memory.timeline(recording).await
    }

    async fn target(&self, project: &str, id: &str) -> Result<Option<Target>, LedgerError> {
        self.memory.target(project, id).await
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.memory.news()
    }
}
