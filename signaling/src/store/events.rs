//! The outbox: events are written in the transaction of the change that they tell of.

use sdk_spec::event::What;
use sfu_proto::id::RoomId;
use sqlx::Row as _;

use super::{StoreError, Tx, int};
use crate::secret;

/// An event to be recorded. No `Debug`: it may hold a handle.
#[derive(Clone)]
pub(crate) struct NewEvent {
    pub(crate) room: Option<RoomId>,
    pub(crate) time_ms: u64,
    pub(crate) what: What,
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
                    "UPDATE rooms SET event_seq = event_seq + 1 WHERE id = $1 RETURNING event_seq",
                )
                .bind(room.to_string())
                .fetch_one(&mut **self)
                .await?;
                Some(next.try_get("event_seq")?)
            }
            None => None,
        };
        let json = serde_json::to_value(&event.what).unwrap_or_default();
        sqlx::query(
            "INSERT INTO events (project, seq, id, time, room, room_seq, type, data) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(project)
        .bind(seq)
        .bind(secret::opaque_id("ev_"))
        .bind(int(event.time_ms))
        .bind(event.room.map(|room| room.to_string()))
        .bind(room_seq)
        .bind(event.what.kind())
        .bind(json["data"].to_string())
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}
