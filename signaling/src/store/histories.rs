//! Histories: who was in which room, folded from the events; and their erasure.

use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};

use sdk_spec::{
    event::{ERASED_HANDLE, Event, What},
    handle::Handle,
    rest::{Timestamp, usage::Session},
    ws::LeaveReason,
};
use serde::{Serialize, de::DeserializeOwned};
use sfu_proto::id::RoomId;
use sqlx::{AnyConnection, Connection as _, Row as _, any::AnyRow};

use super::{Change, Dialect, Store, StoreError, int, unsigned, usage};
use crate::{domain::Actor, usage::fold::TrackMs};

/// Which stays of a project.
pub(crate) struct StaysWanted<'a> {
    pub(crate) of: StaysOf<'a>,
    /// Those that began from then on, and before then.
    pub(crate) began_ms: (u64, u64),
    /// Only those after this one: when it began, and whose it is.
    pub(crate) after: Option<(u64, String)>,
    pub(crate) limit: u32,
}

/// Whose or where.
pub(crate) enum StaysOf<'a> {
    Room(RoomId),
    Handle(&'a Handle, Option<RoomId>),
}

/// What was erased.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Erased {
    pub(crate) events: u64,
    pub(crate) sessions: u64,
    pub(crate) bans: u64,
}

/// Stays of `$1` where a column is `$2`, newest first.
macro_rules! select {
    ($column:literal) => {
        concat!(
            "SELECT participant, room, handle, role, hidden, joined_at, left_at, reason, \
             camera_ms, microphone_ms, screen_ms, screen_audio_ms FROM histories \
             WHERE project = $1 AND ",
            $column,
            " = $2 AND ($3 = '' OR room = $3) AND joined_at >= $4 AND joined_at < $5 \
             AND (joined_at < $6 OR (joined_at = $6 AND participant < $7)) \
             ORDER BY joined_at DESC, participant DESC LIMIT $8"
        )
    };
}

impl Store {
    /// Stays, newest first.
    pub(crate) async fn stays(
        &self,
        project: &str,
        wanted: &StaysWanted<'_>,
    ) -> Result<Vec<Session>, StoreError> {
        let (sql, key, room) = match wanted.of {
            StaysOf::Room(room) => (select!("room"), room.to_string(), None),
            StaysOf::Handle(handle, room) => (select!("handle"), handle.as_str().to_owned(), room),
        };
        let (before_ms, participant) = match &wanted.after {
            Some((joined_ms, participant)) => (int(*joined_ms), participant.clone()),
            None => (i64::MAX, String::new()),
        };
        let rows = sqlx::query(sql)
            .bind(project)
            .bind(key)
            .bind(room.map(|room| room.to_string()).unwrap_or_default())
            .bind(int(wanted.began_ms.0))
            .bind(int(wanted.began_ms.1))
            .bind(before_ms)
            .bind(participant)
            .bind(i64::from(wanted.limit))
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(session).collect()
    }

    /// Whether a project has or had this room, as far as that is kept.
    pub(crate) async fn knows_room(&self, project: &str, room: RoomId) -> Result<bool, StoreError> {
        let known = sqlx::query(
            "SELECT 1 FROM rooms WHERE project = $1 AND id = $2 \
             UNION ALL SELECT 1 FROM histories WHERE project = $1 AND room = $2 LIMIT 1",
        )
        .bind(project)
        .bind(room.to_string())
        .fetch_optional(&self.readers)
        .await?;
        Ok(known.is_some())
    }

    /// Erases what is kept about a handle, and says so in the audit log under the id `erasure`.
    /// `None`, and nothing is erased, while it is in a room.
    pub(crate) async fn erase_handle(
        &self,
        project: &str,
        handle: &Handle,
        (erasure, actor): (&str, &Actor),
        now_ms: u64,
    ) -> Result<Option<Erased>, StoreError> {
        let mut tx = self.write_in(project).await?;
        // Nobody counts meanwhile: an event read before would write the handle again after.
        usage::lock(&mut tx, project).await?;
        let here = "SELECT 1 FROM stays WHERE project = $1 AND handle = $2 LIMIT 1";
        let here = sqlx::query(here).bind(project).bind(handle.as_str());
        if here.fetch_optional(&mut *tx).await?.is_some() {
            return Ok(None);
        }
        // The JSON is ours: no spaces, and a quotation mark inside of a text is escaped.
        let member = |text: &str| format!("\"handle\":\"{text}\"");
        let events = sqlx::query(
            "UPDATE events SET data = REPLACE(data, $3, $4), handle = NULL \
             WHERE project = $1 AND handle = $2",
        )
        .bind(project)
        .bind(handle.as_str())
        .bind(member(handle.as_str()))
        .bind(member(ERASED_HANDLE))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        let sessions = delete(
            &mut tx,
            "DELETE FROM histories WHERE project = $1 AND handle = $2",
            (project, handle),
        )
        .await?;
        let bans = delete(
            &mut tx,
            "DELETE FROM bans WHERE project = $1 AND handle = $2",
            (project, handle),
        )
        .await?;
        tx.redact_audit(project, handle.as_str()).await?;
        let erased = Erased { events, sessions, bans };
        tx.audit(&Change {
            tree: project,
            actor,
            action: "handle.erase",
            object: erasure,
            before: None,
            after: None,
            now_ms,
        })
        .await?;
        tx.commit().await?;
        // The erasure is made whatever becomes of this; the purge tries again.
        self.log_is_stale.store(true, Relaxed);
        self.forget_log().await?;
        Ok(Some(erased))
    }

    /// What was overwritten goes from the write-ahead log too, unless somebody reads it right now, a
    /// backup for example: nobody may write while this waits, so it does not wait, and is called
    /// again by the purge.
    pub(super) async fn forget_log(&self) -> Result<(), StoreError> {
        if self.dialect != Dialect::Sqlite || !self.log_is_stale.load(Relaxed) {
            return Ok(());
        }
        // A connection of its own, closed in the end: none of the pool keeps the other time-out.
        let mut connection = self.readers.acquire().await?.detach();
        sqlx::query("PRAGMA busy_timeout = 0").execute(&mut connection).await?;
        // Cleared before: an erasure meanwhile wants another turn.
        self.log_is_stale.store(false, Relaxed);
        let done = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await;
        let is_busy = match &done {
            Ok(row) => row.try_get::<i64, _>(0).unwrap_or(1) != 0,
            Err(_) => true,
        };
        self.log_is_stale.fetch_or(is_busy, Relaxed);
        Ok(connection.close().await?)
    }
}

async fn delete(
    tx: &mut AnyConnection,
    sql: &'static str,
    (project, handle): (&str, &Handle),
) -> Result<u64, StoreError> {
    let done = sqlx::query(sql).bind(project).bind(handle.as_str()).execute(tx).await?;
    Ok(done.rows_affected())
}

/// Writes what events say about stays, and adds to the time of their tracks.
pub(super) async fn write(
    tx: &mut AnyConnection,
    project: &str,
    events: &[Event],
    tracks: &BTreeMap<String, TrackMs>,
) -> Result<(), StoreError> {
    for event in events {
        write_event(tx, project, event).await?;
    }
    for (participant, ms) in tracks {
        sqlx::query(
            "UPDATE histories SET camera_ms = camera_ms + $3, \
             microphone_ms = microphone_ms + $4, screen_ms = screen_ms + $5, \
             screen_audio_ms = screen_audio_ms + $6 WHERE project = $1 AND participant = $2",
        )
        .bind(project)
        .bind(participant)
        .bind(int(ms.camera))
        .bind(int(ms.microphone))
        .bind(int(ms.screen))
        .bind(int(ms.screen_audio))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn write_event(
    tx: &mut AnyConnection,
    project: &str,
    event: &Event,
) -> Result<(), StoreError> {
    let time = int(event.time.0);
    let query = match &event.what {
        What::ParticipantJoined { participant, handle, role, hidden } => sqlx::query(
            "INSERT INTO histories (project, participant, room, handle, role, hidden, joined_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project, participant) DO NOTHING",
        )
        .bind(project)
        .bind(participant)
        .bind(event.room.as_deref().unwrap_or_default())
        .bind(handle.as_str())
        .bind(name(role))
        .bind(i64::from(*hidden))
        .bind(time),
        What::ParticipantUpdated { participant, role } => {
            sqlx::query("UPDATE histories SET role = $3 WHERE project = $1 AND participant = $2")
                .bind(project)
                .bind(participant)
                .bind(name(role))
        }
        What::ParticipantLeft { participant, reason, .. } => sqlx::query(
            "UPDATE histories SET left_at = $3, reason = $4 \
             WHERE project = $1 AND participant = $2 AND left_at IS NULL",
        )
        .bind(project)
        .bind(participant)
        .bind(time)
        .bind(name(reason)),
        What::RoomEnded { .. } => sqlx::query(
            "UPDATE histories SET left_at = $3, reason = $4 \
             WHERE project = $1 AND room = $2 AND left_at IS NULL",
        )
        .bind(project)
        .bind(event.room.as_deref().unwrap_or_default())
        .bind(time)
        .bind(name(&LeaveReason::RoomClosed)),
        _ => return Ok(()),
    };
    query.execute(tx).await?;
    Ok(())
}

/// The name of a state, as on the wire.
fn name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn named<T: DeserializeOwned>(text: String, place: &'static str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| StoreError::Corrupt(place))
}

fn session(row: &AnyRow) -> Result<Session, StoreError> {
    let hidden: i64 = row.try_get("hidden")?;
    let left: Option<i64> = row.try_get("left_at")?;
    let reason: Option<String> = row.try_get("reason")?;
    Ok(Session {
        participant: row.try_get("participant")?,
        room: row.try_get("room")?,
        handle: named(row.try_get("handle")?, "histories.handle")?,
        role: named(row.try_get("role")?, "histories.role")?,
        hidden: hidden != 0,
        joined_at: Timestamp(unsigned(row.try_get("joined_at")?, "histories.joined_at")?),
        left_at: left.map(|left| unsigned(left, "histories.left_at").map(Timestamp)).transpose()?,
        reason: reason.map(|reason| named(reason, "histories.reason")).transpose()?,
        track_seconds: usage::tracks(row)?.seconds(),
    })
}

#[cfg(test)]
mod tests;
