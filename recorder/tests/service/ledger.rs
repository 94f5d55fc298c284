//! Rows in memory, under the same rules as those of the store.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use recorder::{
    finalize::{Handle, Stay},
    service::ledger::{
        Entry, Ledger, LedgerError, News, Outputs, State, Step, Stop, Timeline, Work,
    },
    storage::Target,
};
use sfu_proto::id::{ParticipantId, RecordingId, RoomId};
use tokio::sync::watch;

pub(crate) struct Row(pub(crate) Entry);

impl Row {
    pub(crate) fn new(id: RecordingId, recipient: &str, target: &str) -> Self {
        Self(Entry {
            id,
            project: "pr_test".to_owned(),
            room: RoomId::from_bits(9),
            state: State::Live,
            version: 1,
            started_at_ms: now_ms(),
            stopped_at_ms: None,
            expires_at_ms: None,
            held: false,
            is_deleted: false,
            push_wanted: false,
            warned_percent: 0,
            has_journal: false,
            recipients: vec![recipient.to_owned()],
            sealed: false,
            path: "{room}/{recording}/{artifact}".to_owned(),
            target: Some(target.to_owned()),
            outputs: Outputs { tracks: true, ..Outputs::default() },
            artifacts: Vec::new(),
            work: Work::default(),
        })
    }
}

#[derive(Default)]
struct Rows {
    rows: HashMap<RecordingId, Entry>,
    told: HashMap<RecordingId, Vec<News>>,
    /// Progress that was noted, with the state it is of.
    percents: HashMap<RecordingId, Vec<(State, u32)>>,
    targets: HashMap<String, Target>,
}

/// What goes wrong, on purpose, and what was asked.
#[derive(Default)]
pub(crate) struct Trouble {
    /// Held in the moment in which their destruction begins.
    pub(crate) hold_at_purging: HashSet<RecordingId>,
    /// The last step is not stored.
    pub(crate) refuse_purged: bool,
    /// Targets that nobody gets an answer about.
    pub(crate) silent_targets: HashSet<String>,
    /// Whose timeline is asked for in vain, with a panic.
    pub(crate) panics: HashSet<RecordingId>,
    /// Whose timeline takes for ever.
    pub(crate) silent_timelines: HashSet<RecordingId>,
    /// Attempts to make files, by recording.
    pub(crate) makes: HashMap<RecordingId, u32>,
    /// How often all rows were read.
    pub(crate) looks: u32,
}

pub(crate) struct Memory {
    rows: Mutex<Rows>,
    trouble: Mutex<Trouble>,
    news: watch::Sender<u64>,
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self { rows: Mutex::default(), trouble: Mutex::default(), news: watch::channel(0).0 }
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }

    pub(crate) fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap()
    }

    pub(crate) fn row(&self, id: RecordingId) -> Entry {
        self.rows().rows[&id].clone()
    }

    pub(crate) fn insert(&self, row: Row) {
        self.rows().rows.insert(row.0.id, row.0);
    }

    pub(crate) fn set_target(&self, id: &str, target: Target) {
        self.rows().targets.insert(id.to_owned(), target);
    }

    pub(crate) fn change(&self, id: RecordingId, change: impl FnOnce(&mut Entry)) {
        {
            let mut rows = self.rows();
            let row = rows.rows.get_mut(&id).unwrap();
            row.version += 1;
            change(row);
        }
        self.news.send_modify(|count| *count += 1);
    }

    pub(crate) fn stop_now(&self, id: RecordingId) {
        self.change(id, |row| {
            row.state = State::Recorded;
            row.stopped_at_ms = Some(now_ms());
            row.expires_at_ms = Some(now_ms() + 3_600_000);
        });
    }

    /// Half of its age is over, and the other half takes long.
    pub(crate) fn grow_old(&self, id: RecordingId) {
        self.change(id, |row| {
            row.stopped_at_ms = Some(now_ms() - 100_000);
            row.expires_at_ms = Some(now_ms() + 90_000);
        });
    }

    pub(crate) fn state(&self, id: RecordingId) -> State {
        self.rows().rows[&id].state
    }

    /// Percents that were noted in a state.
    pub(crate) fn percents(&self, id: RecordingId, of: State) -> Vec<u32> {
        let rows = self.rows();
        let noted = rows.percents.get(&id).into_iter().flatten();
        noted.filter(|(state, _)| *state == of).map(|(_, percent)| *percent).collect()
    }

    pub(crate) fn told(&self, id: RecordingId) -> Vec<News> {
        self.rows().told.get(&id).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Ledger for Memory {
    async fn open(&self) -> Result<Vec<Entry>, LedgerError> {
        self.trouble().looks += 1;
        let rows = self.rows();
        let open = rows.rows.values().filter(|row| row.state != State::Purged);
        Ok(open.cloned().collect())
    }

    async fn entry(&self, recording: RecordingId) -> Result<Option<Entry>, LedgerError> {
        Ok(self.rows().rows.get(&recording).cloned())
    }

    async fn step(
        &self,
        recording: RecordingId,
        version: u64,
        step: Step,
    ) -> Result<u64, LedgerError> {
        let mut rows = self.rows();
        let row = rows.rows.get_mut(&recording).ok_or(LedgerError::Changed)?;
        if step.state == Some(State::Purging) && self.trouble().hold_at_purging.remove(&recording) {
            row.held = true;
        }
        if step.state == Some(State::Purged) && self.trouble().refuse_purged {
            return Err(LedgerError::Unavailable);
        }
        if row.version != version || row.state == State::Purged {
            return Err(LedgerError::Changed);
        }
        if row.held && matches!(step.state, Some(State::Purging | State::Purged)) {
            return Err(LedgerError::Held);
        }
        row.version += 1;
        row.state = step.state.unwrap_or(row.state);
        row.artifacts = step.artifacts.unwrap_or(std::mem::take(&mut row.artifacts));
        row.work = step.work.unwrap_or(std::mem::take(&mut row.work));
        row.push_wanted &= !step.served;
        if let Some(News::Expiring { age_percent }) = step.news {
            row.warned_percent = age_percent;
        }
        let (version, state) = (row.version, row.state);
        let percent = step.progress.map(|percent| (state, percent));
        rows.percents.entry(recording).or_default().extend(percent);
        rows.told.entry(recording).or_default().extend(step.news);
        Ok(version)
    }

    async fn begun(&self, recording: RecordingId) -> Result<(), LedgerError> {
        let mut rows = self.rows();
        let row = rows.rows.get_mut(&recording).ok_or(LedgerError::Changed)?;
        row.has_journal = true;
        Ok(())
    }

    async fn stop(&self, recording: RecordingId, _: Stop) -> Result<(), LedgerError> {
        self.stop_now(recording);
        Ok(())
    }

    async fn timeline(&self, recording: RecordingId) -> Result<Timeline, LedgerError> {
        *self.trouble().makes.entry(recording).or_default() += 1;
        assert!(!self.trouble().panics.contains(&recording), "a defect, on purpose");
        while self.trouble().silent_timelines.contains(&recording) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let stay = Stay {
            participant: ParticipantId::from_bits(5),
            handle: Some(Handle("user-1".to_owned())),
            joined_us: now_ms() * 1000,
            left_us: None,
        };
        Ok(Timeline { stays: vec![stay], pauses: Vec::new() })
    }

    async fn target(&self, _: &str, target: &str) -> Result<Option<Target>, LedgerError> {
        while self.trouble().silent_targets.contains(target) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(self.rows().targets.get(target).cloned())
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }
}
