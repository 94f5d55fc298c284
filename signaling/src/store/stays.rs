//! Who is in which room, and which signaling processes live: so that everybody who came in is told
//! to have left, whatever became of the process.

use sdk_spec::{event::What, handle::Handle, ws::LeaveReason};
use sfu_proto::id::RoomId;
use sqlx::{Row as _, any::AnyRow};

use super::{Dialect, NewEvent, RoomCommit, Store, StoreError, Tx, int, unsigned};
use crate::limits;

/// The beginning of a stay.
pub(super) struct Stay<'a> {
    pub(super) participant: &'a str,
    pub(super) handle: &'a Handle,
    pub(super) hidden: bool,
    /// To be let in.
    pub(super) waiting: bool,
}

/// A stay that its process did not end.
struct Left {
    participant: String,
    project: String,
    room: RoomId,
    handle: Handle,
    hidden: bool,
    waiting: bool,
    joined_at_ms: u64,
}

/// A process that is gone.
struct DeadNode {
    node: String,
    seen_at_ms: u64,
}

/// A query for whole stays.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT participant, project, room, handle, hidden, waiting, joined_at FROM stays ",
            $tail
        )
    };
}

impl Tx<'_> {
    pub(super) async fn begin_stay(
        &mut self,
        all: &RoomCommit,
        time_ms: u64,
        stay: &Stay<'_>,
    ) -> Result<bool, StoreError> {
        sqlx::query(
            "INSERT INTO stays (participant, project, room, handle, hidden, waiting, node, joined_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (participant) DO UPDATE SET \
             hidden = excluded.hidden, waiting = excluded.waiting, joined_at = excluded.joined_at",
        )
        .bind(stay.participant)
        .bind(&*all.project)
        .bind(all.room.to_string())
        .bind(stay.handle.as_str())
        .bind(i64::from(stay.hidden))
        .bind(i64::from(stay.waiting))
        .bind(&*all.node)
        .bind(int(time_ms))
        .execute(&mut **self)
        .await?;
        Ok(true)
    }

    /// `false` when there is no such stay.
    pub(super) async fn end_stay(&mut self, participant: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM stays WHERE participant = $1")
            .bind(participant)
            .execute(&mut **self)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends everybody's stay in a room.
    pub(super) async fn empty_room(
        &mut self,
        room: RoomId,
        reason: LeaveReason,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let rows = sqlx::query(select!("WHERE room = $1 ORDER BY joined_at, participant"))
            .bind(room.to_string())
            .fetch_all(&mut **self)
            .await?;
        for row in &rows {
            self.end_left(&read(row)?, reason, now_ms).await?;
        }
        Ok(())
    }

    /// Ends one stay with its event, unless somebody else does.
    async fn end_left(
        &mut self,
        left: &Left,
        reason: LeaveReason,
        time_ms: u64,
    ) -> Result<(), StoreError> {
        self.hold(&left.project).await?;
        if !self.end_stay(&left.participant).await? || !self.has_room(left.room).await? {
            return Ok(());
        }
        let (participant, handle) = (left.participant.clone(), left.handle.clone());
        let what = match left.waiting {
            true => What::ParticipantTurnedAway { participant, handle, reason },
            false => What::ParticipantLeft { participant, handle, reason, hidden: left.hidden },
        };
        let time_ms = time_ms.max(left.joined_at_ms);
        let event = NewEvent { room: Some(left.room), time_ms, what };
        self.record(&left.project, &event).await
    }

    /// Whether no other process gave a sign of life lately. Holds the table: of two that start at once
    /// the second one sees the first.
    async fn is_alone(&mut self, node: &str, now_ms: u64) -> Result<bool, StoreError> {
        sqlx::query("LOCK TABLE heartbeats IN SHARE ROW EXCLUSIVE MODE")
            .execute(&mut **self)
            .await?;
        let row =
            sqlx::query("SELECT COUNT(*) AS n FROM heartbeats WHERE node <> $1 AND seen_at >= $2")
                .bind(node)
                .bind(int(now_ms.saturating_sub(limits::NODE_DEAD_MS)))
                .fetch_one(&mut **self)
                .await?;
        Ok(row.try_get::<i64, _>("n")? == 0)
    }

    /// The row of a room that ended long ago is gone, and nobody asks any more.
    async fn has_room(&mut self, room: RoomId) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM rooms WHERE id = $1")
            .bind(room.to_string())
            .fetch_one(&mut **self)
            .await?;
        Ok(row.try_get::<i64, _>("n")? == 1)
    }
}

impl Store {
    /// Makes a signaling process the one that carries all open rooms: commits of others are refused
    /// from here on. `false` while another one of a shared database gives signs of life. An SQLite
    /// file is of who opened it last.
    pub(crate) async fn take_over(&self, node: &str, now_ms: u64) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        if self.dialect == Dialect::Postgres && !tx.is_alone(node, now_ms).await? {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO heartbeats (node, seen_at) VALUES ($1, $2) \
             ON CONFLICT (node) DO UPDATE SET seen_at = excluded.seen_at",
        )
        .bind(node)
        .bind(int(now_ms))
        .execute(&mut *tx)
        .await?;
        sqlx::query("UPDATE rooms SET carrier = $1 WHERE closed_at IS NULL")
            .bind(node)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Says that a signaling process lives. `false` when another one took it for dead.
    pub(crate) async fn beat(&self, node: &str, now_ms: u64) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let done = sqlx::query("UPDATE heartbeats SET seen_at = $2 WHERE node = $1")
            .bind(node)
            .bind(int(now_ms))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends the stays of processes that are gone: of an SQLite file everybody but `node` itself, of
    /// a shared database those that were not heard for [`limits::NODE_DEAD_MS`]. Returns how many.
    pub(crate) async fn recover(&self, node: &str, now_ms: u64) -> Result<u64, StoreError> {
        let before_ms = match self.dialect {
            Dialect::Sqlite => u64::MAX,
            Dialect::Postgres => now_ms.saturating_sub(limits::NODE_DEAD_MS),
        };
        let mut ended = 0;
        for dead in self.dead_nodes(node, before_ms).await? {
            ended += self.bury(&dead.node, dead.seen_at_ms).await?;
        }
        Ok(ended)
    }

    /// Ends every stay and recording of a process, as of `time_ms`, and forgets it. Returns how many
    /// stays.
    pub(crate) async fn bury(&self, node: &str, time_ms: u64) -> Result<u64, StoreError> {
        let mut ended = 0;
        loop {
            let some = self.end_stays(node, time_ms).await?;
            ended += some;
            if some == 0 {
                break;
            }
        }
        let recordings = self.end_recordings_of_dead(node, time_ms).await?;
        if recordings > 0 {
            tracing::warn!(recordings, "recordings of a process that ended are over");
        }
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM heartbeats WHERE node = $1").bind(node).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(ended)
    }

    async fn dead_nodes(&self, alive: &str, before_ms: u64) -> Result<Vec<DeadNode>, StoreError> {
        let rows = sqlx::query(
            "SELECT node, MAX(seen_at) AS seen_at FROM (SELECT node, seen_at FROM heartbeats \
             UNION ALL SELECT DISTINCT node, 0 AS seen_at FROM stays UNION ALL SELECT DISTINCT node, \
             0 AS seen_at FROM recordings WHERE state IN ('recording', 'paused')) AS nodes \
             WHERE node <> $1 \
             GROUP BY node HAVING MAX(seen_at) < $2",
        )
        .bind(alive)
        .bind(int(before_ms))
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                let seen_at_ms = unsigned(row.try_get("seen_at")?, "heartbeats.seen_at")?;
                Ok(DeadNode { node: row.try_get("node")?, seen_at_ms })
            })
            .collect()
    }

    /// Ends some stays of a process in one transaction; 0 when none is left.
    async fn end_stays(&self, node: &str, time_ms: u64) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        // By project, so that two nodes lock projects in the same order.
        let rows = sqlx::query(select!("WHERE node = $1 ORDER BY project, joined_at LIMIT $2"))
            .bind(node)
            .bind(limits::STAYS_AT_ONCE)
            .fetch_all(&mut *tx)
            .await?;
        for row in &rows {
            tx.end_left(&read(row)?, LeaveReason::ServerError, time_ms).await?;
        }
        tx.commit().await?;
        Ok(rows.len() as u64)
    }
}

fn read(row: &AnyRow) -> Result<Left, StoreError> {
    let (room, handle): (String, String) = (row.try_get("room")?, row.try_get("handle")?);
    Ok(Left {
        participant: row.try_get("participant")?,
        project: row.try_get("project")?,
        room: room.parse().map_err(|_| StoreError::Corrupt("stays.room"))?,
        handle: Handle::parse(&handle).map_err(|_| StoreError::Corrupt("stays.handle"))?,
        hidden: row.try_get::<i64, _>("hidden")? == 1,
        waiting: row.try_get::<i64, _>("waiting")? == 1,
        joined_at_ms: unsigned(row.try_get("joined_at")?, "stays.joined_at")?,
    })
}
