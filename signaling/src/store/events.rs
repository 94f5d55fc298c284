//! The outbox: events are written in the transaction of the change that they tell of, and read in
//! their order.

use sdk_spec::{
    event::{Event, What},
    rest::Timestamp,
};
use serde::Deserialize as _;
use serde_json::json;
use sfu_proto::id::RoomId;
use sqlx::{AnyConnection, AnyPool, Row as _, any::AnyRow};

use super::{Store, StoreError, Tx, int, unsigned};
use crate::{limits, secret};

/// An event to be recorded. No `Debug`: it may hold a handle.
#[derive(Clone)]
pub(crate) struct NewEvent {
    pub(crate) room: Option<RoomId>,
    pub(crate) time_ms: u64,
    pub(crate) what: What,
}

/// Which part of a project's log.
pub(crate) struct Wanted<'a> {
    /// After this `seq`; none: from the oldest kept.
    pub(crate) after: Option<u64>,
    /// Events at most.
    pub(crate) limit: u32,
    /// Types; none: all.
    pub(crate) kinds: &'a [&'a str],
    /// Only of this room.
    pub(crate) room: Option<RoomId>,
}

/// What there is of it.
pub(crate) enum Log {
    /// `next`: the last `seq` that was looked at; `head`: the newest of the log.
    Page { events: Vec<Event>, next: u64, head: u64 },
    /// Events after the cursor are gone.
    Expired { oldest: u64 },
    /// The cursor is after the end.
    Ahead,
}

impl Tx<'_> {
    /// Records an event of a project. Holds the project's row until the end of the transaction, so
    /// that numbers become visible in order.
    pub(crate) async fn record(
        &mut self,
        project: &str,
        event: &NewEvent,
    ) -> Result<(), StoreError> {
        self.has_events = true;
        let next = sqlx::query(
            "UPDATE projects SET event_seq = event_seq + 1 WHERE id = $1 RETURNING event_seq",
        )
        .bind(project)
        .fetch_one(&mut **self)
        .await?;
        let seq: i64 = next.try_get("event_seq")?;
        let room_seq: Option<i64> = match event.room {
            Some(room) => {
                let next = sqlx::query(
                    "UPDATE rooms SET event_seq = event_seq + 1 \
                     WHERE id = $1 AND project = $2 RETURNING event_seq",
                )
                .bind(room.to_string())
                .bind(project)
                .fetch_one(&mut **self)
                .await?;
                Some(next.try_get("event_seq")?)
            }
            None => None,
        };
        let json = serde_json::to_value(&event.what).unwrap_or_default();
        sqlx::query(
            "INSERT INTO events (project, seq, id, time, room, room_seq, type, data, handle) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(project)
        .bind(seq)
        .bind(secret::opaque_id("ev_"))
        .bind(int(event.time_ms))
        .bind(event.room.map(|room| room.to_string()))
        .bind(room_seq)
        .bind(event.what.kind())
        .bind(json["data"].to_string())
        .bind(json["data"]["handle"].as_str())
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}

impl Store {
    /// Reads a part of a project's log, oldest first. Looks at [`limits::EVENTS_SCANNED_MAX`] events
    /// at most, so a rare type may need several pages.
    pub(crate) async fn log(&self, project: &str, wanted: &Wanted<'_>) -> Result<Log, StoreError> {
        // The head first: everything up to it is committed, and stays so.
        let head = self.head(project).await?;
        let after = match wanted.after {
            Some(after) if after > head => return Ok(Log::Ahead),
            Some(after) => after,
            None => self.oldest(project, head).await?.saturating_sub(1),
        };
        let last = head.min(after.saturating_add(limits::EVENTS_SCANNED_MAX));
        let events = read(&self.readers, project, (after, last), wanted).await?;
        // After reading: what was purged meanwhile is not taken for what never was.
        let oldest = self.oldest(project, head).await?;
        if wanted.after.is_some() && after + 1 < oldest {
            return Ok(Log::Expired { oldest });
        }
        let is_full = events.len() == wanted.limit as usize;
        let next = events.last().filter(|_| is_full).map_or(last, |event| event.seq);
        Ok(Log::Page { events, next, head })
    }

    /// The newest `seq` of a project's log; 0 before the first.
    pub(crate) async fn head(&self, project: &str) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT event_seq FROM projects WHERE id = $1")
            .bind(project)
            .fetch_optional(&self.readers)
            .await?;
        row.map_or(Ok(0), |row| unsigned(row.try_get("event_seq")?, "projects.event_seq"))
    }

    /// How many events after number `after` are no longer kept.
    pub(crate) async fn gone_after(&self, project: &str, after: u64) -> Result<u64, StoreError> {
        // In this order: what comes meanwhile is not taken for gone.
        let head = self.head(project).await?;
        Ok(self.oldest(project, head).await?.saturating_sub(after + 1))
    }

    /// The oldest `seq` that is kept; the next one when there is none.
    async fn oldest(&self, project: &str, head: u64) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT MIN(seq) AS seq FROM events WHERE project = $1")
            .bind(project)
            .fetch_one(&self.readers)
            .await?;
        let oldest: Option<i64> = row.try_get("seq")?;
        oldest.map_or(Ok(head + 1), |seq| unsigned(seq, "events.seq"))
    }

    /// Deletes events from before `before_ms`, oldest first and without gaps, once they are counted
    /// in the usage. An event with an older time that came later stays until its turn. A project that
    /// fails does not stop the others.
    pub(super) async fn purge_events(&self, before_ms: u64) -> Result<u64, StoreError> {
        let mut gone = 0;
        let projects = sqlx::query(
            "SELECT project, seq FROM usage_checkpoints WHERE EXISTS (SELECT 1 FROM events \
             WHERE events.project = usage_checkpoints.project)",
        );
        for row in projects.fetch_all(&self.readers).await? {
            let (project, counted): (String, i64) = (row.try_get("project")?, row.try_get("seq")?);
            match self.purge_project(&project, counted, before_ms).await {
                Ok(rows) => gone += rows,
                Err(error) => tracing::error!(%error, project, "old events are not deleted"),
            }
        }
        Ok(gone)
    }

    async fn purge_project(
        &self,
        project: &str,
        counted: i64,
        before_ms: u64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "DELETE FROM events WHERE project = $1 AND seq <= $2 \
             AND seq < (SELECT MIN(seq) FROM events WHERE project = $1) + $4 \
             AND seq < COALESCE((SELECT seq FROM events WHERE project = $1 AND time >= $3 \
             ORDER BY seq LIMIT 1), $2 + 1)",
        )
        .bind(project)
        .bind(counted)
        .bind(int(before_ms))
        .bind(int(limits::EVENTS_PURGED_MAX))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

async fn read(
    readers: &AnyPool,
    project: &str,
    (after, last): (u64, u64),
    wanted: &Wanted<'_>,
) -> Result<Vec<Event>, StoreError> {
    // One text for both databases: types stand between commas, and none holds one.
    let kinds = match wanted.kinds {
        [] => String::new(),
        kinds => format!(",{},", kinds.join(",")),
    };
    let rows = sqlx::query(
        "SELECT seq, id, time, room, room_seq, type, data FROM events \
         WHERE project = $1 AND seq > $2 AND seq <= $3 AND ($4 = '' OR room = $4) \
         AND ($5 = '' OR $5 LIKE '%,' || type || ',%') ORDER BY seq LIMIT $6",
    )
    .bind(project)
    .bind(int(after))
    .bind(int(last))
    .bind(wanted.room.map(|room| room.to_string()).unwrap_or_default())
    .bind(kinds)
    .bind(i64::from(wanted.limit))
    .fetch_all(readers)
    .await?;
    rows.iter().map(event).collect()
}

/// A part of a project's log for who counts it.
pub(super) struct Following {
    /// Without those of types that this version does not know: nothing is counted for them.
    pub(super) events: Vec<Event>,
    /// Number of the last one, of whatever type.
    pub(super) last: Option<i64>,
    /// How many there were, of whatever type.
    pub(super) rows: usize,
}

/// Events of a project after `after`, in the transaction of who counts them.
pub(super) async fn following(
    tx: &mut AnyConnection,
    project: &str,
    after: i64,
    limit: u32,
) -> Result<Following, StoreError> {
    let rows = sqlx::query(
        "SELECT seq, id, time, room, room_seq, type, data FROM events \
         WHERE project = $1 AND seq > $2 ORDER BY seq LIMIT $3",
    )
    .bind(project)
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(tx)
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        let kind: String = row.try_get("type")?;
        if What::TYPES.contains(&kind.as_str()) {
            events.push(event(row)?);
        }
    }
    let (unknown, last) = (rows.len() - events.len(), rows.last());
    if unknown > 0 {
        tracing::warn!(unknown, project, "events of unknown types are not counted");
    }
    let last = last.map(|row| row.try_get("seq")).transpose()?;
    Ok(Following { events, last, rows: rows.len() })
}

/// Reads the columns seq, id, time, room, room_seq, type, data.
pub(super) fn event(row: &AnyRow) -> Result<Event, StoreError> {
    let (kind, data): (String, String) = (row.try_get("type")?, row.try_get("data")?);
    let data: serde_json::Value =
        serde_json::from_str(&data).map_err(|_| StoreError::Corrupt("events.data"))?;
    let what = What::deserialize(json!({ "type": kind, "data": data }))
        .map_err(|_| StoreError::Corrupt("events.data"))?;
    let room_seq: Option<i64> = row.try_get("room_seq")?;
    Ok(Event {
        id: row.try_get("id")?,
        seq: unsigned(row.try_get("seq")?, "events.seq")?,
        time: Timestamp(unsigned(row.try_get("time")?, "events.time")?),
        room: row.try_get("room")?,
        room_seq: room_seq.map(|seq| unsigned(seq, "events.room_seq")).transpose()?,
        what,
    })
}

#[cfg(test)]
mod tests;
