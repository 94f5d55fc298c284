//! Events written past our code, for what takes days: sqlx on the same database.

use serde_json::Value;
use signaling::{Config, Retention};
use sqlx::{AnyPool, Row as _};

pub const HOUR_MS: i64 = 3_600_000;

/// Keeps for ever: what is written here is decades old.
pub fn config() -> Config {
    let (events_days, history_days, usage_days) = (99_999, 99_999, 99_999);
    let retention = Retention { events_days, history_days, usage_days };
    Config { retention, ..super::config() }
}

pub async fn pool(url: &str) -> AnyPool {
    sqlx::any::install_default_drivers();
    AnyPool::connect(url).await.unwrap()
}

/// Writes events (milliseconds, room, type, data) to the end of a project's log.
pub async fn write(pool: &AnyPool, project: &str, events: &[(i64, &str, &str, Value)]) {
    for (time, room, kind, data) in events {
        let mut tx = pool.begin().await.unwrap();
        let seq = "UPDATE projects SET event_seq = event_seq + 1 WHERE id = $1 RETURNING event_seq";
        let seq: i64 =
            sqlx::query(seq).bind(project).fetch_one(&mut *tx).await.unwrap().get("event_seq");
        let room_seq =
            "UPDATE rooms SET event_seq = event_seq + 1 WHERE id = $1 RETURNING event_seq";
        let room_seq: i64 =
            sqlx::query(room_seq).bind(*room).fetch_one(&mut *tx).await.unwrap().get("event_seq");
        sqlx::query(
            "INSERT INTO events (project, seq, id, time, room, room_seq, type, data, handle) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(project)
        .bind(seq)
        .bind(format!("ev_{project}_{seq}"))
        .bind(*time)
        .bind(*room)
        .bind(room_seq)
        .bind(*kind)
        .bind(data.to_string())
        .bind(data["handle"].as_str())
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
    }
}
