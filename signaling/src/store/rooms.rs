//! Rooms.

use std::collections::BTreeMap;

use sdk_spec::{
    event::{RoomEnd, What},
    handle::Handle,
    room::{Kind, RoomSettings},
    ws::LeaveReason,
};
use sfu_proto::id::RoomId;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use super::{
    Change, NewEvent, Store, StoreError,
    idempotency::{self, IdempotentRequest, Remembered},
    int, unsigned,
};
use crate::domain::{Actor, BreakoutRoom, Charter};

/// A room to be stored.
#[derive(Clone)]
pub(crate) struct NewRoom {
    pub(crate) id: RoomId,
    pub(crate) project: String,
    pub(crate) created_at_ms: u64,
    pub(crate) charter: Charter,
    /// Commits of its task that are stored.
    pub(crate) commits: u64,
}

impl NewRoom {
    /// The event of its creation.
    pub(super) fn created(&self) -> NewEvent {
        let parent = self.charter.parent.map(|parent| parent.to_string());
        let what = What::RoomCreated { kind: self.charter.kind, parent };
        NewEvent { room: Some(self.id), time_ms: self.created_at_ms, what }
    }
}

/// A stored room. No `Debug`: the reference is the partner's.
pub(crate) type RoomRow = NewRoom;

/// Where a page of a list begins: after this room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageStart {
    pub(crate) created_at_ms: u64,
    pub(crate) id: RoomId,
}

/// Which open rooms are listed.
#[derive(Clone, Default)]
pub(crate) struct RoomFilter {
    pub(crate) reference: Option<Handle>,
    pub(crate) kind: Option<Kind>,
}

/// A query for whole rooms.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, project, created_at, reference, kind, settings, starts_at, duration_seconds, ",
            "ends_at, parent, version, commits FROM rooms ",
            $tail
        )
    };
}

impl Store {
    /// Stores a room with its event unless the project has `rooms_max` open ones (`None`), or the
    /// request was answered before.
    pub(crate) async fn create_room(
        &self,
        room: &NewRoom,
        actor: &Actor,
        rooms_max: u32,
        request: Option<&IdempotentRequest>,
    ) -> Result<Option<Remembered>, StoreError> {
        let mut tx = self.write_in(&room.project).await?;
        if let Some(request) = request
            && let Some(remembered) = idempotency::recall(&mut tx, request).await?
        {
            return Ok(Some(remembered));
        }
        if open_count(&mut tx, &room.project).await? >= u64::from(rooms_max) {
            return Ok(None);
        }
        insert(&mut tx, room).await?;
        tx.record(&room.project, &room.created()).await?;
        let after = serde_json::to_vec(&room.charter.settings).unwrap_or_default();
        tx.audit(&Change {
            tree: &room.project,
            actor,
            action: "room.create",
            object: &room.id.to_string(),
            before: None,
            after: Some(&after),
            now_ms: room.created_at_ms,
        })
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
        filter: &RoomFilter,
        after: Option<PageStart>,
        limit: u32,
    ) -> Result<Vec<RoomRow>, StoreError> {
        let (time, id) = match after {
            Some(start) => (int(start.created_at_ms), start.id.to_string()),
            None => (i64::MAX, String::new()),
        };
        // An empty text is no reference and no kind.
        let rows = sqlx::query(select!(
            "WHERE project = $1 AND closed_at IS NULL \
             AND (created_at < $2 OR (created_at = $2 AND id < $3)) \
             AND ($4 = '' OR reference = $4) AND ($5 = '' OR kind = $5) \
             ORDER BY created_at DESC, id DESC LIMIT $6"
        ))
        .bind(project)
        .bind(time)
        .bind(id)
        .bind(filter.reference.as_ref().map_or("", Handle::as_str))
        .bind(filter.kind.map_or("", json_name))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Open breakout rooms of a room of a project.
    pub(crate) async fn breakouts(
        &self,
        project: &str,
        parent: RoomId,
    ) -> Result<Vec<RoomRow>, StoreError> {
        let rows = sqlx::query(select!(
            "WHERE project = $1 AND parent = $2 AND closed_at IS NULL ORDER BY created_at, id"
        ))
        .bind(project)
        .bind(parent.to_string())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Every open room with its breakout rooms, for the start of the server.
    pub(crate) async fn open_rooms(&self) -> Result<Vec<RoomRow>, StoreError> {
        let rows = sqlx::query(select!("WHERE closed_at IS NULL ORDER BY created_at, id"))
            .fetch_all(&self.readers)
            .await?;
        let mut rooms = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let mut children: BTreeMap<RoomId, Vec<BreakoutRoom>> = BTreeMap::new();
        for room in &rooms {
            let RoomRow { id, charter, .. } = room;
            let (reference, ends_at_ms) = (charter.reference.clone(), charter.ends_at_ms);
            let child = BreakoutRoom { id: *id, reference, ends_at_ms };
            if let Some(parent) = charter.parent {
                children.entry(parent).or_default().push(child);
            }
        }
        for room in &mut rooms {
            room.charter.breakouts = children.remove(&room.id).unwrap_or_default();
        }
        Ok(rooms)
    }

    /// Whether a process carries a room that it opened.
    pub(crate) async fn carries(
        &self,
        node: &str,
        (project, id): (&str, RoomId),
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n FROM rooms WHERE id = $1 AND project = $2 AND carrier IN ('', $3)",
        )
        .bind(id.to_string())
        .bind(project)
        .bind(node)
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get::<i64, _>("n")? == 1)
    }

    /// Ends an open room whose task cannot do it any more: everybody in it has left for `reason`.
    /// `false` when there is no such room. `actor`: who asked for it, if somebody did.
    pub(crate) async fn end_room(
        &self,
        (project, id): (&str, RoomId),
        reason: LeaveReason,
        actor: Option<&Actor>,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write_in(project).await?;
        if !close(&mut tx, (project, id), now_ms).await? {
            return Ok(false);
        }
        tx.stop_recordings_of_room((project, id), now_ms).await?;
        tx.empty_room(id, reason, now_ms).await?;
        let what = What::RoomEnded { reason: RoomEnd::Closed };
        tx.record(project, &NewEvent { room: Some(id), time_ms: now_ms, what }).await?;
        if let Some(actor) = actor {
            let (action, object) = ("room.close", &id.to_string());
            let (before, after) = (None, None);
            tx.audit(&Change { tree: project, actor, action, object, before, after, now_ms })
                .await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// Ends the row of an open room. `false` when there is none.
pub(super) async fn close(
    tx: &mut AnyConnection,
    (project, id): (&str, RoomId),
    now_ms: u64,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE rooms SET closed_at = $1 WHERE id = $2 AND project = $3 AND closed_at IS NULL",
    )
    .bind(int(now_ms))
    .bind(id.to_string())
    .bind(project)
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Open rooms of a project.
pub(super) async fn open_count(tx: &mut AnyConnection, project: &str) -> Result<u64, StoreError> {
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
         duration_seconds, ends_at, parent, version, commits) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
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
    .bind(int(room.commits))
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
        commits: unsigned(row.try_get("commits")?, "rooms.commits")?,
    })
}
