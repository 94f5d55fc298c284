//! What the recorder does with recordings: finds them, claims them, and stores each step.

use sdk_spec::{
    event::What,
    recording::{PurgeReason, RecordingState, StopReason},
    rest::recordings::{Artifact, Blocked, Receipt},
};
use sfu_proto::id::RecordingId;
use sqlx::Row as _;
use tokio::sync::watch;

use super::{
    super::{Author, Dialect, Store, StoreError, Tx, int, unsigned},
    RecordingRow, of_room, read, readable, select,
};
use crate::{domain::Actor, limits};

/// Rows as the recorder reads them.
#[derive(Default)]
pub struct ToWork {
    /// Those that can be read.
    pub rows: Vec<RecordingRow>,
    /// Ids of those that cannot: of another version, or damaged. Nothing is to be decided about them.
    pub unreadable: Vec<String>,
    /// Where to go on; none: that was all.
    pub next: Option<String>,
}

/// One step: what is named changes, all at once, with the events that tell of it.
#[derive(Clone, Default)]
pub struct RecordingStep {
    /// The recorder that takes it: on a recording whose journal another one wrote it does nothing.
    pub recorder: Option<String>,
    /// The recorder stops it: its disk is full, or it has no room for one more. Says
    /// `recording.stopped`, unless somebody stopped it before.
    pub stopped: Option<StopReason>,
    /// Where it stands. Progress and the reason of a block end with the state.
    pub state: Option<RecordingState>,
    /// Percent of the state's work that is done.
    pub progress: Option<u32>,
    /// Why it is not pushed.
    pub blocked: Option<Blocked>,
    /// Its files.
    pub artifacts: Option<Vec<Artifact>>,
    /// The recorder's own state; bounded by what the recorder puts there.
    pub work: Option<Vec<u8>>,
    /// Percent of its age that was warned of.
    pub warned_percent: Option<u32>,
    /// What the partner asked for is done, or cannot be.
    pub served: bool,
    /// What the partner is told, besides `recording.stopped` and `recording.purged`.
    pub event: Option<What>,
    /// Nothing of it is here any more. Says `recording.purged`, and drops `work`.
    pub purged: Option<Purged>,
}

/// The end of a recording.
#[derive(Clone)]
pub struct Purged {
    /// Why.
    pub reason: PurgeReason,
    /// Proves it.
    pub receipt: Receipt,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// Stored; the recording has this version now.
    Done(u64),
    /// The recording changed meanwhile, or is not there: read it again, decide again.
    Stale,
    /// It is held: nothing was stored, it must not be purged.
    Held,
}

impl Store {
    /// Tells when recordings changed in this process, among other things. Look again after a second at
    /// the latest: other processes of the same database are not heard.
    pub fn recordings_news(&self) -> watch::Receiver<u64> {
        self.news()
    }

    /// A recording of whatever project, for the recorder.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn recording(&self, id: RecordingId) -> Result<Option<RecordingRow>, StoreError> {
        let row = sqlx::query(select!("WHERE id = $1"))
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Recordings that are not purged and whose journal no other recorder wrote, in the order of their
    /// ids; [`limits::RECORDINGS_READ`] at most, those after `after`. One without a journal is anybody's
    /// when it has been over for [`limits::JOURNAL_LATE_MS`]: until then another recorder may be about to
    /// begin one. So is one whose age has been over for [`limits::RECORDER_LOST_MS`]: its recorder, or that
    /// one's disk, is gone for good. The database's clock must say so too: one recorder's wrong clock must not end
    /// what others have.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn recordings_to_work(
        &self,
        recorder: &str,
        after: Option<&str>,
        now_ms: u64,
    ) -> Result<ToWork, StoreError> {
        let both_ms = now_ms.min(self.clock_ms().await?);
        let rows = sqlx::query(select!(
            "WHERE state <> 'purged' AND id > $1 AND (recorder = $2 OR (recorder IS NULL \
             AND (stopped_at IS NULL OR stopped_at <= $3)) OR (held = 0 AND expires_at <= $5)) \
             ORDER BY id LIMIT $4"
        ))
        .bind(after.unwrap_or_default())
        .bind(recorder)
        .bind(int(now_ms.saturating_sub(limits::JOURNAL_LATE_MS)))
        .bind(i64::from(limits::RECORDINGS_READ))
        .bind(int(both_ms.saturating_sub(limits::RECORDER_LOST_MS)))
        .fetch_all(&self.readers)
        .await?;
        let mut found = ToWork::default();
        for row in &rows {
            let id: String = row.try_get("id")?;
            match read(row) {
                Ok(row) => found.rows.push(row),
                // One row that is not as it should be must not keep the others from their end.
                Err(StoreError::Corrupt(_)) => found.unreadable.push(id.clone()),
                Err(error) => return Err(error),
            }
            found.next = Some(id);
        }
        Ok(found)
    }

    /// What the database's clock shows, milliseconds since 1970.
    async fn clock_ms(&self) -> Result<u64, StoreError> {
        let seconds = match self.dialect {
            Dialect::Sqlite => "SELECT CAST(strftime('%s', 'now') AS BIGINT)",
            Dialect::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM now()) AS BIGINT)",
        };
        let seconds: i64 = sqlx::query_scalar(seconds).fetch_one(&self.readers).await?;
        Ok(unsigned(seconds, "clock")?.saturating_mul(1000))
    }

    /// Recordings that are not purged, of all recorders and of one project or all, in the order of their
    /// ids; [`limits::RECORDINGS_READ`] at most, those after `after`.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn recordings_here(
        &self,
        project: Option<&str>,
        after: Option<RecordingId>,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        let rows = sqlx::query(select!(
            "WHERE state <> 'purged' AND ($1 = '' OR project = $1) AND id > $2 ORDER BY id LIMIT $3"
        ))
        .bind(project.unwrap_or_default())
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(i64::from(limits::RECORDINGS_READ))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().filter_map(readable).collect())
    }

    /// Notes for good that a recorder, by a name that stays over restarts, wrote the journal of a
    /// recording. `false` when another one did, or it is purged or about to be. The version stays.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn claim_recording(
        &self,
        id: RecordingId,
        recorder: &str,
    ) -> Result<bool, StoreError> {
        let Some(known) = self.recording(id).await? else { return Ok(false) };
        // The project is held, as by steps: what is being purged as empty gets no journal any more.
        let mut tx = self.write_in(&known.project).await?;
        let done = sqlx::query(
            "UPDATE recordings SET recorder = $1 WHERE id = $2 \
             AND state NOT IN ('purging', 'purged') AND (recorder IS NULL OR recorder = $1)",
        )
        .bind(recorder)
        .bind(id.to_string())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores a step of a recording that has version `expected`, with its events and its audit entry.
    ///
    /// # Errors
    /// [`StoreError`]; then it is not known whether it is stored: read the recording again.
    pub async fn step_recording(
        &self,
        id: RecordingId,
        expected: u64,
        step: RecordingStep,
        now_ms: u64,
    ) -> Result<Stepped, StoreError> {
        let Some(known) = self.recording(id).await? else { return Ok(Stepped::Stale) };
        let mut tx = self.write_in(&known.project).await?;
        let row = tx.recording(id, &known.project).await?;
        let Some(row) = row.filter(|row| row.version == expected) else {
            return Ok(Stepped::Stale);
        };
        let is_foreign = row.recorder.is_some()
            && step.recorder.is_some()
            && row.recorder != step.recorder
            && !is_abandoned(&row, now_ms);
        if row.state == RecordingState::Purged || is_foreign {
            return Ok(Stepped::Stale);
        }
        let ends = step.purged.is_some() || step.state == Some(RecordingState::Purging);
        if row.held && ends {
            return Ok(Stepped::Held);
        }
        let version = tx.step(row, step, now_ms).await?;
        tx.commit().await?;
        Ok(Stepped::Done(version))
    }
}

/// Whether its recorder is taken to be gone for good.
fn is_abandoned(row: &RecordingRow, now_ms: u64) -> bool {
    let since = |at: u64| now_ms.saturating_sub(at) >= limits::RECORDER_LOST_MS;
    !row.held && row.expires_at_ms.is_some_and(since)
}

impl Tx<'_> {
    async fn step(
        &mut self,
        mut row: RecordingRow,
        step: RecordingStep,
        now_ms: u64,
    ) -> Result<u64, StoreError> {
        if let Some(reason) = step.stopped {
            let place = (row.project.as_str(), row.room);
            if self.stop_recording(place, row.id, reason, now_ms).await? {
                let project = row.project.clone();
                let stopped = self.recording(row.id, &project).await?;
                row = stopped.ok_or(StoreError::Corrupt("recordings"))?;
            }
        }
        let before = row.state;
        let event = step.event.clone();
        let purged = apply(&mut row, step, now_ms);
        self.write_recording(&mut row).await?;
        for what in event.into_iter().chain(purged) {
            self.record(&row.project, &of_room(&row, now_ms, what)).await?;
        }
        if row.state != before {
            let by = Author::new(Actor::System, now_ms);
            let action = format!("recording.{}", row.state.as_str());
            self.note(&by, &row.project, (&action, &row.id.to_string()), None).await?;
        }
        // Whoever waits for it looks again.
        self.has_events = true;
        Ok(row.version)
    }
}

/// Applies a step; what it says by itself.
fn apply(row: &mut RecordingRow, step: RecordingStep, now_ms: u64) -> Option<What> {
    if let Some(state) = step.state
        && state != row.state
    {
        row.state = state;
        (row.progress, row.blocked) = (None, None);
    }
    row.progress = step.progress.or(row.progress).map(|percent| percent.min(100));
    row.blocked = step.blocked.or(row.blocked.take());
    row.artifacts = step.artifacts.unwrap_or(std::mem::take(&mut row.artifacts));
    row.work = step.work.or(row.work.take());
    row.warned_percent = step.warned_percent.unwrap_or(row.warned_percent);
    row.wanted = row.wanted.filter(|_| !step.served);
    let Purged { reason, receipt } = step.purged?;
    row.state = RecordingState::Purged;
    (row.progress, row.blocked, row.work, row.wanted) = (None, None, None, None);
    (row.purged_at_ms, row.purge_reason) = (Some(now_ms), Some(reason));
    let recording = row.id.to_string();
    let Receipt { receipt: text, signature, key } = receipt.clone();
    row.receipt = Some(receipt);
    Some(What::RecordingPurged { recording, reason, receipt: text, signature, key })
}
