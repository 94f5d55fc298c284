//! Handles that may not come in, into a room or into any room of a project.

use sdk_spec::{event::What, handle::Handle, limits::BANS_MAX, rest::Timestamp};
use sfu_proto::id::RoomId;
use sqlx::{Row as _, any::AnyRow};

use super::{
    After, Author, Creation, NewEvent, Store, StoreError, Tx, int, keys::time, partners::count,
    unsigned,
};
use crate::{domain::Ban, secret};

/// A stored ban. No `Debug`: it is about somebody.
#[derive(Clone)]
pub(crate) struct BanRow {
    /// `bn_…`.
    pub(crate) id: String,
    /// None: every room of the project.
    pub(crate) room: Option<RoomId>,
    pub(crate) created_at_ms: u64,
    pub(crate) ban: Ban,
}

/// A query for whole bans.
macro_rules! select {
    ($tail:literal) => {
        concat!("SELECT id, room, handle, until, created_at FROM bans ", $tail)
    };
}

impl Store {
    /// Bans a handle with the event, as the partner asks: [`Creation::Missing`] when the room is not
    /// an open one of the project. What is stored has the id of an earlier ban of the same handle
    /// and room.
    pub(crate) async fn ban(
        &self,
        project: &str,
        room: Option<RoomId>,
        ban: &Ban,
        by: &Author,
    ) -> Result<Result<BanRow, Creation>, StoreError> {
        let mut tx = self.write_in(project).await?;
        if tx.quotas(project).await?.is_none() || !tx.is_open(project, room).await? {
            return Ok(Err(Creation::Missing));
        }
        let have = sqlx::query(
            "SELECT COUNT(*) AS n FROM bans WHERE project = $1 AND (until IS NULL OR until > $2)",
        )
        .bind(project)
        .bind(int(by.now_ms))
        .fetch_one(&mut *tx)
        .await?;
        if count(&have, "n")? >= BANS_MAX {
            return Ok(Err(Creation::Full));
        }
        let row = tx.ban(project, room, ban, by.now_ms).await?;
        let until = ban.until_ms.map(Timestamp);
        let what = What::HandleBanned { handle: ban.handle.clone(), until };
        tx.record(project, &NewEvent { room, time_ms: by.now_ms, what }).await?;
        tx.note(by, project, ("handle.ban", &row.id), None).await?;
        tx.commit().await?;
        Ok(Ok(row))
    }

    /// Lifts a ban of a project: `None` when there is none.
    pub(crate) async fn unban(
        &self,
        project: &str,
        id: &str,
        by: &Author,
    ) -> Result<Option<BanRow>, StoreError> {
        let mut tx = self.write_in(project).await?;
        let row = sqlx::query(
            "DELETE FROM bans WHERE id = $1 AND project = $2 \
             RETURNING id, room, handle, until, created_at",
        )
        .bind(id)
        .bind(project)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row.as_ref().map(read).transpose()? else { return Ok(None) };
        // The event is the room's only while the room is there.
        let room = if tx.is_open(project, row.room).await? { row.room } else { None };
        let what = What::HandleUnbanned { handle: row.ban.handle.clone() };
        tx.record(project, &NewEvent { room, time_ms: by.now_ms, what }).await?;
        tx.note(by, project, ("handle.unban", id), None).await?;
        tx.commit().await?;
        Ok(Some(row))
    }

    /// A ban of a project that holds.
    pub(crate) async fn ban_by_id(
        &self,
        project: &str,
        id: &str,
        now_ms: u64,
    ) -> Result<Option<BanRow>, StoreError> {
        let row = sqlx::query(select!(
            "WHERE id = $1 AND project = $2 AND (until IS NULL OR until > $3)"
        ))
        .bind(id)
        .bind(project)
        .bind(int(now_ms))
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Bans of a project that hold, newest first.
    pub(crate) async fn ban_page(
        &self,
        project: &str,
        now_ms: u64,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<BanRow>, StoreError> {
        let (time, id) = After::bounds(after);
        let rows = sqlx::query(select!(
            "WHERE project = $1 AND (until IS NULL OR until > $2) \
             AND (created_at < $3 OR (created_at = $3 AND id < $4)) \
             ORDER BY created_at DESC, id DESC LIMIT $5"
        ))
        .bind(project)
        .bind(int(now_ms))
        .bind(time)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }
}

impl Tx<'_> {
    /// Stores a ban and nothing else: no event, no audit, no quota. A ban of the same handle and
    /// room keeps its id and gets the new end.
    pub(crate) async fn ban(
        &mut self,
        project: &str,
        room: Option<RoomId>,
        ban: &Ban,
        now_ms: u64,
    ) -> Result<BanRow, StoreError> {
        let row = sqlx::query(
            "INSERT INTO bans (id, project, room, handle, until, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (project, handle, room) DO UPDATE SET until = excluded.until \
             RETURNING id, room, handle, until, created_at",
        )
        .bind(secret::opaque_id("bn_"))
        .bind(project)
        .bind(room.map(|room| room.to_string()).unwrap_or_default())
        .bind(ban.handle.as_str())
        .bind(ban.until_ms.map(int))
        .bind(int(now_ms))
        .fetch_one(&mut **self)
        .await?;
        read(&row)
    }

    /// Whether a room of the project is open; no room is the project itself.
    async fn is_open(&mut self, project: &str, room: Option<RoomId>) -> Result<bool, StoreError> {
        let Some(room) = room else { return Ok(true) };
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM rooms WHERE id = $1 AND project = $2 AND closed_at IS NULL",
        )
        .bind(room.to_string())
        .bind(project)
        .fetch_one(&mut **self)
        .await?;
        Ok(count(&row, "n")? == 1)
    }
}

fn read(row: &AnyRow) -> Result<BanRow, StoreError> {
    let room: String = row.try_get("room")?;
    let room = (!room.is_empty()).then(|| room.parse()).transpose();
    let handle: String = row.try_get("handle")?;
    Ok(BanRow {
        id: row.try_get("id")?,
        room: room.map_err(|_| StoreError::Corrupt("bans.room"))?,
        created_at_ms: unsigned(row.try_get("created_at")?, "bans.created_at")?,
        ban: Ban {
            handle: Handle::parse(&handle).map_err(|_| StoreError::Corrupt("bans.handle"))?,
            until_ms: time(row, "until")?,
        },
    })
}
