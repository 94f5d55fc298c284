//! What rooms say of their recordings: started, paused, resumed, stopped; and the end of those whose
//! process died.

use sdk_spec::{
    action::ActionRefusal,
    event::What,
    limits::RECORDINGS_LIVE_MAX,
    recording::{RecordingRule, StopReason},
};
use sfu_proto::id::{RecordingId, RoomId};
use sqlx::Row as _;

use super::{
    super::{NewEvent, RoomCommit, Store, StoreError, Tx, int},
    Terms, json, name,
};
use crate::{domain::RecordingChange, limits};

const HOUR_MS: u64 = 3600 * 1000;

/// A recording that its process did not stop.
struct Orphan {
    id: RecordingId,
    project: String,
    room: RoomId,
}

impl Tx<'_> {
    /// Stores what became of recordings, with the events that say so. What does not fit the state of
    /// a recording is passed over: somebody else stopped it before, or it was never made. Gives those
    /// that were not begun, and why.
    pub(in super::super) async fn store_recordings(
        &mut self,
        all: &RoomCommit,
    ) -> Result<Vec<(RecordingId, ActionRefusal)>, StoreError> {
        let mut refused = Vec::new();
        for change in &all.commit.recordings {
            match change {
                RecordingChange::Started { id, rule } => {
                    let why = self.start_recording(all, *id, rule).await?;
                    refused.extend(why.map(|why| (*id, why)));
                    Ok(())
                }
                RecordingChange::Paused(id) => {
                    let what = What::RecordingPaused { recording: id.to_string() };
                    self.turn_recording(all, *id, ("recording", "paused"), what).await
                }
                RecordingChange::Resumed(id) => {
                    let what = What::RecordingResumed { recording: id.to_string() };
                    self.turn_recording(all, *id, ("paused", "recording"), what).await
                }
                RecordingChange::Stopped { id, reason } => {
                    let place = (&*all.project, all.room);
                    self.stop_recording(place, *id, *reason, all.now_ms).await.map(|_| ())
                }
            }?;
        }
        Ok(refused)
    }

    /// Of a commit that is passed over: recordings that were not begun when it was stored, whose answer
    /// was lost.
    pub(in super::super) async fn missing_recordings(
        &mut self,
        all: &RoomCommit,
    ) -> Result<Vec<(RecordingId, ActionRefusal)>, StoreError> {
        let mut missing = Vec::new();
        for change in &all.commit.recordings {
            let RecordingChange::Started { id, .. } = change else { continue };
            let row = sqlx::query("SELECT 1 FROM recordings WHERE id = $1 AND project = $2")
                .bind(id.to_string())
                .bind(&*all.project)
                .fetch_optional(&mut **self)
                .await?;
            if row.is_none() {
                missing.push((*id, ActionRefusal::Unavailable));
            }
        }
        Ok(missing)
    }

    /// Makes the row and says so. A project without recipients, or with as many recordings as it may
    /// have at once, gets neither row nor event: there is nobody to seal it to, so nothing may be
    /// written down. The recorder writes down nothing without a row.
    async fn start_recording(
        &mut self,
        all: &RoomCommit,
        id: RecordingId,
        rule: &RecordingRule,
    ) -> Result<Option<ActionRefusal>, StoreError> {
        let policy = super::policy::read(self, &all.project).await?;
        let live = super::policy::live_count(self, &all.project).await?;
        let why = match () {
            () if policy.recipients.is_empty() => Some(ActionRefusal::NotConfigured),
            () if live >= u64::from(RECORDINGS_LIVE_MAX) => Some(ActionRefusal::QuotaExceeded),
            () => None,
        };
        if why.is_some() {
            tracing::warn!(recording = %id, live, "not recorded: no recipients, or too many run");
            return Ok(why);
        }
        let rule = policy.rule.with(rule);
        let terms = Terms {
            recipients: policy.recipients,
            target: rule.target.clone().or(policy.target),
            path: policy.path,
            sealed: policy.sealed,
        };
        let done = sqlx::query(
            "INSERT INTO recordings (id, project, room, node, state, rule, terms, max_age, \
             started_at) VALUES ($1, $2, $3, $4, 'recording', $5, $6, $7, $8) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(&*all.project)
        .bind(all.room.to_string())
        .bind(&*all.node)
        .bind(json(&rule))
        .bind(json(&terms))
        .bind(int(u64::from(policy.max_age_hours) * HOUR_MS))
        .bind(int(all.now_ms))
        .execute(&mut **self)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let what = What::RecordingStarted { recording: id.to_string() };
        let event = NewEvent { room: Some(all.room), time_ms: all.now_ms, what };
        self.record(&all.project, &event).await?;
        Ok(None)
    }

    async fn turn_recording(
        &mut self,
        all: &RoomCommit,
        id: RecordingId,
        (from, to): (&str, &str),
        what: What,
    ) -> Result<(), StoreError> {
        let done = sqlx::query(
            "UPDATE recordings SET state = $1, version = version + 1 \
             WHERE id = $2 AND project = $3 AND room = $4 AND state = $5",
        )
        .bind(to)
        .bind(id.to_string())
        .bind(&*all.project)
        .bind(all.room.to_string())
        .bind(from)
        .execute(&mut **self)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        let event = NewEvent { room: Some(all.room), time_ms: all.now_ms, what };
        self.record(&all.project, &event).await
    }

    /// Stops a live recording, with its event; its age counts from here. `false` when it is not live.
    pub(super) async fn stop_recording(
        &mut self,
        (project, room): (&str, RoomId),
        id: RecordingId,
        reason: StopReason,
        time_ms: u64,
    ) -> Result<bool, StoreError> {
        // A process is taken for dead as of its last sign of life, which may be older than the start.
        let stopped = sqlx::query(
            "UPDATE recordings SET state = 'recorded', version = version + 1, stop_reason = $1, \
             stopped_at = CASE WHEN started_at > $2 THEN started_at ELSE $2 END, \
             expires_at = CASE WHEN started_at > $2 THEN started_at ELSE $2 END + max_age \
             WHERE id = $3 AND project = $4 AND room = $5 AND state IN ('recording', 'paused') \
             RETURNING stopped_at",
        )
        .bind(name(&reason))
        .bind(int(time_ms))
        .bind(id.to_string())
        .bind(project)
        .bind(room.to_string())
        .fetch_optional(&mut **self)
        .await?;
        let Some(stopped) = stopped else { return Ok(false) };
        let time_ms = super::unsigned(stopped.try_get("stopped_at")?, "recordings.stopped_at")?;
        let what = What::RecordingStopped { recording: id.to_string(), reason };
        self.record(project, &NewEvent { room: Some(room), time_ms, what }).await?;
        Ok(true)
    }

    /// Stops what is recorded of a room that is over.
    pub(in super::super) async fn stop_recordings_of_room(
        &mut self,
        (project, room): (&str, RoomId),
        time_ms: u64,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM recordings WHERE project = $1 AND room = $2 \
             AND state IN ('recording', 'paused')",
        )
        .bind(project)
        .bind(room.to_string())
        .fetch_all(&mut **self)
        .await?;
        for row in rows {
            let id = id(row.try_get("id")?)?;
            self.stop_recording((project, room), id, StopReason::RoomEnded, time_ms).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Stops the recordings of a process that is gone, as of `time_ms`: what was written down is
    /// finished. Returns how many.
    pub(in super::super) async fn end_recordings_of_dead(
        &self,
        node: &str,
        time_ms: u64,
    ) -> Result<u64, StoreError> {
        let mut ended = 0;
        loop {
            let mut tx = self.write().await?;
            // By project, so that two nodes lock projects in the same order.
            let rows = sqlx::query(
                "SELECT id, project, room FROM recordings WHERE node = $1 \
                 AND state IN ('recording', 'paused') ORDER BY project, id LIMIT $2",
            )
            .bind(node)
            .bind(limits::STAYS_AT_ONCE)
            .fetch_all(&mut *tx)
            .await?;
            if rows.is_empty() {
                return Ok(ended);
            }
            for row in &rows {
                let orphan = Orphan {
                    id: id(row.try_get("id")?)?,
                    project: row.try_get("project")?,
                    room: row
                        .try_get::<String, _>("room")?
                        .parse()
                        .map_err(|_| StoreError::Corrupt("recordings.room"))?,
                };
                tx.hold(&orphan.project).await?;
                let place = (orphan.project.as_str(), orphan.room);
                let reason = StopReason::NodeLost;
                ended += u64::from(tx.stop_recording(place, orphan.id, reason, time_ms).await?);
            }
            tx.commit().await?;
        }
    }
}

fn id(text: String) -> Result<RecordingId, StoreError> {
    text.parse().map_err(|_| StoreError::Corrupt("recordings.id"))
}
