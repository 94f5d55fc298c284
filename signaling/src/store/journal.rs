//! Commits of rooms: many in one transaction, none twice.
//!
//! A room numbers its commits, and its row has the number of the last one stored. So a commit whose
//! transaction ended without an answer can be tried again: what is stored is passed over.

use std::{collections::BTreeMap, sync::Arc};

use sdk_spec::{action::ActionRefusal, event::What, limits::BANS_MAX};
use sfu_proto::id::{RecordingId, RoomId};
use sqlx::Row as _;

use super::{
    Change, IdempotentRequest, NewEvent, NewRoom, Store, StoreError, Tx, idempotency, int,
    partners::count, rooms, stays::Stay,
};
use crate::domain::{Charter, Commit};

/// A commit on its way to the store.
pub(crate) struct RoomCommit {
    pub(crate) project: Arc<str>,
    pub(crate) room: RoomId,
    /// The signaling process that carries the room.
    pub(crate) node: Arc<str>,
    /// Counts the room's commits over restarts, from 1.
    pub(crate) number: u64,
    pub(crate) commit: Commit,
    /// The request that brought it, if it may come again.
    pub(crate) request: Option<IdempotentRequest>,
    pub(crate) now_ms: u64,
}

/// What the store did not do of commits that it stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Breakout rooms that were not created.
    pub(crate) rooms: Vec<RoomId>,
    /// Recordings that were not begun, and why.
    pub(crate) recordings: Vec<(RecordingId, ActionRefusal)>,
}

impl Refused {
    /// With what else was refused.
    pub(crate) fn add(&mut self, more: Self) {
        self.rooms.extend(more.rooms);
        self.recordings.extend(more.recordings);
    }

    fn is_nothing(&self) -> bool {
        self.rooms.is_empty() && self.recordings.is_empty()
    }

    fn names(&self, object: &str) -> bool {
        self.rooms.iter().any(|id| id.to_string() == object)
            || self.recordings.iter().any(|(id, _)| id.to_string() == object)
    }
}

impl Store {
    /// Stores commits, all or none; those of one room must be in order. What is stored already, or
    /// comes after the end of its room, is passed over. Gives the breakout rooms among them that were not
    /// created (a commit's all, when the project's quota has no place for all of them) and the recordings
    /// that were not begun.
    ///
    /// # Errors
    /// [`StoreError`]; then it is not known whether they are stored.
    pub(crate) async fn store_commits(
        &self,
        commits: &[RoomCommit],
    ) -> Result<Refused, StoreError> {
        // By project, so that two nodes lock projects in the same order.
        let mut by_project: BTreeMap<&str, Vec<&RoomCommit>> = BTreeMap::new();
        for commit in commits {
            by_project.entry(&commit.project).or_default().push(commit);
        }
        let mut tx = self.write().await?;
        let mut refused = Refused::default();
        for (project, commits) in by_project {
            tx.hold(project).await?;
            for commit in commits {
                refused.add(tx.store_commit(commit).await?);
            }
        }
        tx.commit().await?;
        Ok(refused)
    }
}

impl Tx<'_> {
    /// Gives what was refused.
    async fn store_commit(&mut self, all: &RoomCommit) -> Result<Refused, StoreError> {
        if !self.claim(all).await? {
            let rooms = self.missing_breakouts(all).await?;
            return Ok(Refused { rooms, recordings: self.missing_recordings(all).await? });
        }
        let commit = &all.commit;
        let before = match (&commit.charter, commit.audits.is_empty()) {
            (Some(_), false) => self.settings(all).await?,
            _ => None,
        };
        if let Some(charter) = &commit.charter {
            self.store_charter(all, charter).await?;
        }
        let rooms = self.store_breakouts(all).await?;
        let mut refused = Refused { rooms, recordings: Vec::new() };
        // What is recorded ends before the room does, and begins after its first participant came in.
        if commit.ended {
            refused.recordings = self.store_recordings(all).await?;
            self.stop_recordings_of_room((&all.project, all.room), all.now_ms).await?;
        }
        for (time_ms, what) in &commit.events {
            self.store_event(all, *time_ms, what).await?;
        }
        if !commit.ended {
            refused.recordings = self.store_recordings(all).await?;
        }
        self.store_bans(all).await?;
        if let Some(request) = all.request.as_ref().filter(|_| refused.is_nothing()) {
            idempotency::remember(self, request).await?;
        }
        self.store_audits(all, before.as_deref(), &refused).await?;
        if commit.ended {
            rooms::close(self, (&all.project, all.room), all.now_ms).await?;
        }
        Ok(refused)
    }

    /// Whether the commit is new and its room open; traffic is counted after its end too. From here
    /// on it counts as stored. [`StoreError::TakenOver`] when another process carries the room.
    async fn claim(&mut self, all: &RoomCommit) -> Result<bool, StoreError> {
        let is_traffic = |(_, what): &(u64, What)| matches!(what, What::MediaTransferred { .. });
        let commit = &all.commit;
        let is_late = commit.charter.is_none()
            && commit.recordings.is_empty()
            && commit.events.iter().all(is_traffic);
        let done = sqlx::query(
            "UPDATE rooms SET commits = $1, carrier = $5 WHERE id = $2 AND project = $3 \
             AND commits < $1 AND carrier IN ('', $5) AND (closed_at IS NULL OR $4 = 1)",
        )
        .bind(int(all.number))
        .bind(all.room.to_string())
        .bind(&*all.project)
        .bind(i64::from(is_late))
        .bind(&*all.node)
        .execute(&mut **self)
        .await?;
        if done.rows_affected() == 0 && !self.carries(all).await? {
            return Err(StoreError::TakenOver);
        }
        Ok(done.rows_affected() == 1)
    }

    /// Whether nobody else carries the room. What is not claimed then is stored already, or late.
    async fn carries(&mut self, all: &RoomCommit) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM rooms WHERE id = $1 AND project = $2 \
             AND carrier NOT IN ('', $3)",
        )
        .bind(all.room.to_string())
        .bind(&*all.project)
        .bind(&*all.node)
        .fetch_one(&mut **self)
        .await?;
        Ok(row.try_get::<i64, _>("n")? == 0)
    }

    async fn settings(&mut self, all: &RoomCommit) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT settings FROM rooms WHERE id = $1 AND project = $2")
            .bind(all.room.to_string())
            .bind(&*all.project)
            .fetch_optional(&mut **self)
            .await?;
        Ok(row.map(|row| row.try_get("settings")).transpose()?)
    }

    async fn store_charter(
        &mut self,
        all: &RoomCommit,
        charter: &Charter,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE rooms SET settings = $1, starts_at = $2, duration_seconds = $3, ends_at = $4, \
             version = $5 WHERE id = $6 AND project = $7",
        )
        .bind(serde_json::to_string(&charter.settings).unwrap_or_default())
        .bind(charter.starts_at_ms.map(int))
        .bind(charter.duration_seconds.map(i64::from))
        .bind(charter.ends_at_ms.map(int))
        .bind(int(charter.version))
        .bind(all.room.to_string())
        .bind(&*all.project)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Creates all of a commit's breakout rooms, or none when the quota has no place for all.
    async fn store_breakouts(&mut self, all: &RoomCommit) -> Result<Vec<RoomId>, StoreError> {
        let breakouts = &all.commit.breakouts;
        if breakouts.is_empty() {
            return Ok(Vec::new());
        }
        let quotas = self.quotas(&all.project).await?;
        let rooms_max = quotas.map_or(0, |quotas| u64::from(quotas.rooms));
        let open = rooms::open_count(self, &all.project).await?;
        if open + breakouts.len() as u64 > rooms_max {
            return Ok(breakouts.iter().map(|(id, _)| *id).collect());
        }
        for (id, charter) in breakouts {
            self.store_breakout(all, *id, charter).await?;
        }
        Ok(Vec::new())
    }

    /// Of a commit that is passed over: those that were refused when it was stored, whose answer was lost.
    async fn missing_breakouts(&mut self, all: &RoomCommit) -> Result<Vec<RoomId>, StoreError> {
        let mut missing = Vec::new();
        for (id, _) in &all.commit.breakouts {
            let row = sqlx::query("SELECT COUNT(*) AS n FROM rooms WHERE id = $1 AND project = $2")
                .bind(id.to_string())
                .bind(&*all.project)
                .fetch_one(&mut **self)
                .await?;
            if count(&row, "n")? == 0 {
                missing.push(*id);
            }
        }
        Ok(missing)
    }

    async fn store_breakout(
        &mut self,
        all: &RoomCommit,
        id: RoomId,
        charter: &Charter,
    ) -> Result<(), StoreError> {
        let room = NewRoom {
            id,
            project: all.project.to_string(),
            created_at_ms: all.now_ms,
            charter: charter.clone(),
            commits: 0,
        };
        rooms::insert(self, &room).await?;
        self.record(&all.project, &room.created()).await
    }

    /// Bans of the room hold in its open breakout rooms too: somebody may have a token for one already.
    /// What is above the project's bound is not stored: it holds while the room's task lives.
    async fn store_bans(&mut self, all: &RoomCommit) -> Result<(), StoreError> {
        if all.commit.bans.is_empty() {
            return Ok(());
        }
        let children = sqlx::query(
            "SELECT id FROM rooms WHERE project = $1 AND parent = $2 AND closed_at IS NULL",
        )
        .bind(&*all.project)
        .bind(all.room.to_string())
        .fetch_all(&mut **self)
        .await?;
        let mut rooms = vec![all.room];
        for row in children {
            let id: String = row.try_get("id")?;
            rooms.push(id.parse().map_err(|_| StoreError::Corrupt("rooms.id"))?);
        }
        let mut places = BANS_MAX.saturating_sub(self.bans_held(all).await?);
        for ban in &all.commit.bans {
            for room in &rooms {
                if places == 0 {
                    tracing::warn!(room = %all.room, "a ban is not stored: the project has too many");
                    return Ok(());
                }
                self.ban(&all.project, Some(*room), ban, all.now_ms).await?;
                places -= 1;
            }
        }
        Ok(())
    }

    async fn bans_held(&mut self, all: &RoomCommit) -> Result<u32, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM bans WHERE project = $1 AND (until IS NULL OR until > $2)",
        )
        .bind(&*all.project)
        .bind(int(all.now_ms))
        .fetch_one(&mut **self)
        .await?;
        count(&row, "n")
    }

    /// Records an event and keeps the table of stays in step with it. The end of a stay that is not
    /// there was told before: by another node, which took this one for dead.
    async fn store_event(
        &mut self,
        all: &RoomCommit,
        time_ms: u64,
        what: &What,
    ) -> Result<(), StoreError> {
        let news = match what {
            What::ParticipantWaiting { participant, handle } => {
                let stay = Stay { participant, handle, hidden: false, waiting: true };
                self.begin_stay(all, time_ms, &stay).await?
            }
            What::ParticipantJoined { participant, handle, hidden, .. } => {
                let stay = Stay { participant, handle, hidden: *hidden, waiting: false };
                self.begin_stay(all, time_ms, &stay).await?
            }
            What::ParticipantLeft { participant, .. }
            | What::ParticipantTurnedAway { participant, .. } => self.end_stay(participant).await?,
            _ => true,
        };
        if !news {
            return Ok(());
        }
        let event = NewEvent { room: Some(all.room), time_ms, what: what.clone() };
        self.record(&all.project, &event).await
    }

    async fn store_audits(
        &mut self,
        all: &RoomCommit,
        before: Option<&str>,
        refused: &Refused,
    ) -> Result<(), StoreError> {
        let charter = all.commit.charter.as_ref();
        let after = charter.map(|c| serde_json::to_string(&c.settings).unwrap_or_default());
        let made = all.commit.audits.iter().filter(|(_, _, object)| !refused.names(object));
        for (actor, action, object) in made {
            self.audit(&Change {
                tree: &all.project,
                actor,
                action,
                object,
                before: before.map(str::as_bytes),
                after: after.as_deref().map(str::as_bytes),
                now_ms: all.now_ms,
            })
            .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
