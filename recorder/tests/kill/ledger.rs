//! Rows that survive the process: one file each, replaced as a whole before a step is answered.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use recorder::{
    service::ledger::{
        ArtifactRow, Entry, Ledger, LedgerError, News, Purge, State, Step, Stop, Timeline, Work,
    },
    storage::Target,
};
use serde::{Deserialize, Serialize};
use sfu_proto::id::RecordingId;
use tokio::sync::{Mutex, watch};

use crate::memory::{Memory, Row};

pub(crate) const STATES: [(State, &str); 8] = [
    (State::Live, "live"),
    (State::Recorded, "recorded"),
    (State::Finalizing, "finalizing"),
    (State::Pushing, "pushing"),
    (State::PushBlocked, "push_blocked"),
    (State::Delivered, "delivered"),
    (State::Purging, "purging"),
    (State::Purged, "purged"),
];

/// A row as it is on the disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct Saved {
    id: String,
    pub(crate) state: String,
    version: u64,
    started_at_ms: u64,
    stopped_at_ms: Option<u64>,
    expires_at_ms: Option<u64>,
    has_journal: bool,
    artifacts: Vec<SavedArtifact>,
    work: Work,
    pub(crate) receipts: Vec<SavedReceipt>,
}

#[derive(Serialize, Deserialize)]
struct SavedArtifact {
    name: String,
    media_type: String,
    bytes: u64,
    sha256: String,
    pushed_bytes: u64,
    verified: bool,
}

/// As the API gives it, and why.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct SavedReceipt {
    pub(crate) reason: Purge,
    pub(crate) receipt: String,
    pub(crate) signature: String,
    pub(crate) key: String,
}

impl Saved {
    fn of(entry: &Entry, receipts: Vec<SavedReceipt>) -> Self {
        let artifact = |row: &ArtifactRow| SavedArtifact {
            name: row.name.clone(),
            media_type: row.media_type.clone(),
            bytes: row.bytes,
            sha256: row.sha256.clone(),
            pushed_bytes: row.pushed_bytes,
            verified: row.verified,
        };
        Self {
            id: entry.id.to_string(),
            state: word(entry.state).to_owned(),
            version: entry.version,
            started_at_ms: entry.started_at_ms,
            stopped_at_ms: entry.stopped_at_ms,
            expires_at_ms: entry.expires_at_ms,
            has_journal: entry.has_journal,
            artifacts: entry.artifacts.iter().map(artifact).collect(),
            work: entry.work.clone(),
            receipts,
        }
    }

    fn entry(&self, recipient: &str) -> Entry {
        let mut entry = row(self.id(), recipient).0;
        entry.state = STATES.iter().find(|(_, word)| *word == self.state).unwrap().0;
        entry.version = self.version;
        entry.started_at_ms = self.started_at_ms;
        entry.stopped_at_ms = self.stopped_at_ms;
        entry.expires_at_ms = self.expires_at_ms;
        entry.has_journal = self.has_journal;
        entry.artifacts = self.artifacts.iter().map(SavedArtifact::row).collect();
        entry.work = self.work.clone();
        entry
    }

    pub(crate) fn id(&self) -> RecordingId {
        self.id.parse().unwrap()
    }
}

impl SavedArtifact {
    fn row(&self) -> ArtifactRow {
        ArtifactRow {
            name: self.name.clone(),
            media_type: self.media_type.clone(),
            track: None,
            participant: None,
            source: None,
            bytes: self.bytes,
            sha256: self.sha256.clone(),
            pushed_bytes: self.pushed_bytes,
            verified: self.verified,
        }
    }
}

pub(crate) fn word(state: State) -> &'static str {
    STATES.iter().find(|(one, _)| *one == state).unwrap().1
}

/// Whether the journal is wanted too, pushed while it goes on: of every other recording.
pub(crate) fn is_pushed_live(id: RecordingId) -> bool {
    id.bits() % 2 == 1
}

fn row(id: RecordingId, recipient: &str) -> Row {
    let mut row = Row::new(id, recipient, "st_local");
    row.0.outputs.journal = is_pushed_live(id);
    row
}

/// All rows on the disk.
pub(crate) fn saved(rows: &Path) -> Vec<Saved> {
    let paths = fs::read_dir(rows).unwrap().map(|entry| entry.unwrap().path());
    let whole = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    whole.map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
}

pub(crate) struct Kept {
    memory: Memory,
    rows: PathBuf,
    recipient: String,
    /// One change at a time reaches the disk.
    saving: Mutex<()>,
}

impl Kept {
    /// With the rows of the process before. What was live then is over, as rooms see to.
    pub(crate) async fn open(rows: &Path, recipient: &str, target: Target) -> Self {
        let memory = Memory::new();
        memory.set_target("st_local", target);
        for saved in saved(rows) {
            memory.insert(Row(saved.entry(recipient)));
        }
        let (rows, recipient) = (rows.to_owned(), recipient.to_owned());
        let kept = Self { memory, rows, recipient, saving: Mutex::default() };
        for entry in kept.memory.open().await.unwrap() {
            if entry.state == State::Live {
                kept.end(entry.id).await;
            }
        }
        kept
    }

    pub(crate) async fn add(&self, id: RecordingId) {
        let _saving = self.saving.lock().await;
        self.memory.insert(row(id, &self.recipient));
        self.save(id, None).await;
    }

    pub(crate) async fn end(&self, id: RecordingId) {
        let _saving = self.saving.lock().await;
        self.memory.stop_now(id);
        self.save(id, None).await;
    }

    pub(crate) async fn is_all_purged(&self) -> bool {
        self.memory.open().await.unwrap().is_empty()
    }

    async fn save(&self, id: RecordingId, news: Option<News>) {
        let entry = self.memory.entry(id).await.unwrap().unwrap();
        let path = self.rows.join(format!("{id}.json"));
        let before = fs::read(&path).ok().map(|text| serde_json::from_slice::<Saved>(&text));
        let mut receipts = before.map_or_else(Vec::new, |saved| saved.unwrap().receipts);
        if let Some(News::Purged { reason, receipt, signature, key, .. }) = news {
            receipts.push(SavedReceipt { reason, receipt, signature, key });
        }
        let new = path.with_extension("new");
        let mut file = File::create(&new).unwrap();
        file.write_all(&serde_json::to_vec(&Saved::of(&entry, receipts)).unwrap()).unwrap();
        file.sync_all().unwrap();
        fs::rename(new, path).unwrap();
        File::open(&self.rows).unwrap().sync_all().unwrap();
        println!("state {id} {}", word(entry.state));
    }
}

#[async_trait]
impl Ledger for Kept {
    async fn open(&self) -> Result<Vec<Entry>, LedgerError> {
        self.memory.open().await
    }

    async fn entry(&self, recording: RecordingId) -> Result<Option<Entry>, LedgerError> {
        self.memory.entry(recording).await
    }

    async fn step(
        &self,
        recording: RecordingId,
        version: u64,
        step: Step,
    ) -> Result<u64, LedgerError> {
        let _saving = self.saving.lock().await;
        let news = step.news.clone();
        let version = self.memory.step(recording, version, step).await?;
        self.save(recording, news).await;
        Ok(version)
    }

    async fn begun(&self, recording: RecordingId) -> Result<(), LedgerError> {
        let _saving = self.saving.lock().await;
        self.memory.begun(recording).await?;
        self.save(recording, None).await;
        Ok(())
    }

    async fn stop(&self, recording: RecordingId, _: Stop) -> Result<(), LedgerError> {
        self.end(recording).await;
        Ok(())
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
