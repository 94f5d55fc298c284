//! Rooms.

use sfu_proto::id::RoomId;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{
    Store, StoreError,
    idempotency::{self, IdempotentRequest, Remembered},
    int, unsigned,
};

/// A room to be stored.
#[derive(Clone)]
pub(crate) struct NewRoom {
    pub(crate) id: RoomId,
    pub(crate) project: String,
    pub(crate) created_at_ms: u64,
    pub(crate) participants_max: u32,
    pub(crate) empty_timeout_seconds: u32,
    pub(crate) reference: Option<String>,
}

/// A stored room. No `Debug`: the reference is the partner's.
pub(crate) type RoomRow = NewRoom;

/// Where a page of a list begins: after this room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageStart {
    pub(crate) created_at_ms: u64,
    pub(crate) id: RoomId,
}

/// A query for whole rooms.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, project, created_at, participants_max, empty_timeout_seconds, reference ",
            "FROM rooms ",
            $tail
        )
    };
}

impl Store {
    /// Stores a room unless the project has `rooms_max` open ones (`None`), or the request was
    /// answered before.
    pub(crate) async fn create_room(
        &self,
        room: &NewRoom,
        rooms_max: u32,
        request: Option<&IdempotentRequest>,
    ) -> Result<Option<Remembered>, StoreError> {
        let mut tx = self.write().await?;
        if let Some(request) = request
            && let Some(remembered) = idempotency::recall(&mut tx, request).await?
        {
            return Ok(Some(remembered));
        }
        if open_count(&mut tx, &room.project).await? >= u64::from(rooms_max) {
            return Ok(None);
        }
        sqlx::query(
            "INSERT INTO rooms (id, project, created_at, participants_max, \
             empty_timeout_seconds, reference) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(room.id.to_string())
        .bind(&room.project)
        .bind(int(room.created_at_ms))
        .bind(i64::from(room.participants_max))
        .bind(i64::from(room.empty_timeout_seconds))
        .bind(&room.reference)
        .execute(&mut *tx)
        .await?;
        if let Some(request) = request {
            idempotency::remember(&mut tx, request).await?;
        }
        tx.commit().await?;
        Ok(Some(Remembered::New))
    }

    /// An open room of a project.
    pub(crate) async fn room(
        &self,
        project: &str,
        id: RoomId,
    ) -> Result<Option<RoomRow>, StoreError> {
        let row = sqlx::query(select!("WHERE id = $1 AND project = $2 AND closed_at IS NULL"))
            .bind(id.to_string())
            .bind(project)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Open rooms of a project, newest first.
    pub(crate) async fn rooms(
        &self,
        project: &str,
        after: Option<PageStart>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        let (time, id) = match after {
            Some(start) => (int(start.created_at_ms), start.id.to_string()),
            None => (i64::MAX, String::new()),
        };
        let rows = sqlx::query(select!(
            "WHERE project = $1 AND closed_at IS NULL \
             AND (created_at < $2 OR (created_at = $2 AND id < $3)) \
             ORDER BY created_at DESC, id DESC LIMIT $4"
        ))
        .bind(project)
        .bind(time)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Every open room, for the start of the server.
    pub(crate) async fn open_rooms(&self) -> Result<Vec<RoomRow>, StoreError> {
        let rows = sqlx::query(select!("WHERE closed_at IS NULL")).fetch_all(&self.readers).await?;
        rows.iter().map(read).collect()
    }

    /// Closes an open room of a project. `false` when there is none.
    pub(crate) async fn delete_room(
        &self,
        project: &str,
        id: RoomId,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "UPDATE rooms SET closed_at = $1 WHERE id = $2 AND project = $3 AND closed_at IS NULL",
        )
        .bind(int(now_ms))
        .bind(id.to_string())
        .bind(project)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Closes a room if it is open.
    pub(crate) async fn close_room(&self, id: RoomId, now_ms: u64) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE rooms SET closed_at = $1 WHERE id = $2 AND closed_at IS NULL")
            .bind(int(now_ms))
            .bind(id.to_string())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

async fn open_count(tx: &mut Transaction<'_, Any>, project: &str) -> Result<u64, StoreError> {
    let row =
        sqlx::query("SELECT COUNT(*) AS n FROM rooms WHERE project = $1 AND closed_at IS NULL")
            .bind(project)
            .fetch_one(&mut **tx)
            .await?;
    unsigned(row.try_get("n")?, "rooms")
}

fn read(row: &AnyRow) -> Result<RoomRow, StoreError> {
    let small = |column: &'static str| -> Result<u32, StoreError> {
        u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::Corrupt(column))
    };
    let id: String = row.try_get("id")?;
    Ok(RoomRow {
        id: id.parse().map_err(|_| StoreError::Corrupt("rooms.id"))?,
        project: row.try_get("project")?,
        created_at_ms: unsigned(row.try_get("created_at")?, "rooms.created_at")?,
        participants_max: small("participants_max")?,
        empty_timeout_seconds: small("empty_timeout_seconds")?,
        reference: row.try_get("reference")?,
    })
}
