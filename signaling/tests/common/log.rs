//! What is stored, past our code.

use serde_json::Value;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tokio::sync::Mutex;

use super::World;

/// A connection of its own to a database.
pub struct Log {
    url: String,
    connection: Mutex<AnyConnection>,
}

/// Keeps every writer of an SQLite file waiting until it is dropped.
pub struct Lock(#[allow(dead_code, reason = "held")] AnyConnection);

impl Log {
    pub async fn open(world: &World) -> Self {
        Self::at(&world.place.url).await
    }

    pub async fn at(url: &str) -> Self {
        sqlx::any::install_default_drivers();
        let connection = AnyConnection::connect(url).await.unwrap();
        Self { url: url.to_owned(), connection: Mutex::new(connection) }
    }

    /// Type and data of every event of a room, in order; checks that none is missing.
    pub async fn of_room(&self, room: &str) -> Vec<(String, Value)> {
        let sql =
            format!("SELECT type, data, room_seq FROM events WHERE room = '{room}' ORDER BY seq");
        let rows = self.rows(&sql).await;
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.try_get::<i64, _>("room_seq").unwrap(), i as i64 + 1);
        }
        let read = |row: &sqlx::any::AnyRow| {
            let data: String = row.try_get("data").unwrap();
            (row.try_get("type").unwrap(), serde_json::from_str(&data).unwrap())
        };
        rows.iter().map(read).collect()
    }

    /// How many events there are of a type.
    pub async fn count(&self, kind: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM events WHERE type = '{kind}'")).await
    }

    pub async fn number(&self, sql: &str) -> i64 {
        self.rows(sql).await[0].try_get(0).unwrap()
    }

    pub async fn rows(&self, sql: &str) -> Vec<sqlx::any::AnyRow> {
        let mut connection = self.connection.lock().await;
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut *connection).await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        let mut connection = self.connection.lock().await;
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut *connection).await.unwrap();
    }

    pub async fn lock(&self) -> Lock {
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        connection.execute("BEGIN IMMEDIATE").await.unwrap();
        Lock(connection)
    }
}
