//! Rooms.

use sdk_spec::{
    handle::Handle,
    room::{Kind, RoomSettings},
};
use sfu_proto::id::RoomId;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use super::{
    Store, StoreError,
    idempotency::{self, IdempotentRequest, Remembered},
    int, unsigned,
};
use crate::domain::Charter;

/// A room to be stored.
#[derive(Clone)]
pub(crate) struct NewRoom {
    pub(crate) id: RoomId,
    pub(crate) project: String,
    pub(crate) created_at_ms: u64,
    pub(crate) charter: Charter,
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
            "SELECT id, project, created_at, reference, kind, settings, starts_at, duration_seconds, ",
            "ends_at, parent, version FROM rooms ",
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
        insert(&mut tx, room).await?;
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

async fn open_count(tx: &mut AnyConnection, project: &str) -> Result<u64, StoreError> {
    let row =
        sqlx::query("SELECT COUNT(*) AS n FROM rooms WHERE project = $1 AND closed_at IS NULL")
            .bind(project)
            .fetch_one(&mut *tx)
            .await?;
    unsigned(row.try_get("n")?, "rooms")
}

/// Inserts a room.
pub(super) async fn insert(tx: &mut AnyConnection, room: &NewRoom) -> Result<(), StoreError> {
    let charter = &room.charter;
    sqlx::query(
        "INSERT INTO rooms (id, project, created_at, reference, kind, settings, starts_at, \
         duration_seconds, ends_at, parent, version) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(room.id.to_string())
    .bind(&room.project)
    .bind(int(room.created_at_ms))
    .bind(charter.reference.as_ref().map(Handle::as_str))
    .bind(json_name(charter.kind))
    .bind(serde_json::to_string(&charter.settings).unwrap_or_default())
    .bind(charter.starts_at_ms.map(int))
    .bind(charter.duration_seconds.map(i64::from))
    .bind(charter.ends_at_ms.map(int))
    .bind(charter.parent.map(|parent| parent.to_string()))
    .bind(int(charter.version))
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// The name of a kind, as on the wire.
fn json_name(kind: Kind) -> &'static str {
    match kind {
        Kind::AdHoc => "ad_hoc",
        Kind::Scheduled => "scheduled",
        Kind::Permanent => "permanent",
    }
}

/// Breakout rooms are not read here: they have rows of their own.
fn read(row: &AnyRow) -> Result<RoomRow, StoreError> {
    let id: String = row.try_get("id")?;
    let kind: String = row.try_get("kind")?;
    let kinds = [Kind::AdHoc, Kind::Scheduled, Kind::Permanent];
    let kind = kinds.into_iter().find(|k| json_name(*k) == kind);
    let settings: String = row.try_get("settings")?;
    let settings: RoomSettings =
        serde_json::from_str(&settings).map_err(|_| StoreError::Corrupt("rooms.settings"))?;
    let reference: Option<String> = row.try_get("reference")?;
    let time = |column: &'static str| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value.map(|value| unsigned(value, column)).transpose()
    };
    let duration = time("duration_seconds")?.map(u32::try_from).transpose();
    let parent: Option<String> = row.try_get("parent")?;
    Ok(RoomRow {
        id: id.parse().map_err(|_| StoreError::Corrupt("rooms.id"))?,
        project: row.try_get("project")?,
        created_at_ms: unsigned(row.try_get("created_at")?, "rooms.created_at")?,
        charter: Charter {
            kind: kind.ok_or(StoreError::Corrupt("rooms.kind"))?,
            settings: settings.or_default(),
            reference: reference.as_deref().and_then(|text| Handle::parse(text).ok()),
            starts_at_ms: time("starts_at")?,
            duration_seconds: duration.map_err(|_| StoreError::Corrupt("rooms.duration"))?,
            ends_at_ms: time("ends_at")?,
            parent: parent.as_deref().and_then(|id| id.parse().ok()),
            breakouts: Vec::new(),
            version: unsigned(row.try_get("version")?, "rooms.version")?,
        },
    })
}
