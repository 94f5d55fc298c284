//! What must last: projects, keys, rooms, used tokens, idempotent answers. The only place with SQL.
//!
//! SQLite by way of sqlx `Any`, so that a PostgreSQL twin stands behind the same functions later.
//! One connection writes, in `BEGIN IMMEDIATE` transactions: a read-then-write in a deferred one
//! fails with SQLITE_BUSY under load whatever the busy time-out. A few others read.

mod idempotency;
mod keys;
mod rooms;
#[cfg(test)]
mod tests;
mod tokens;

use std::{borrow::Cow, sync::Once, time::Duration};

use sqlx::{
    Any, AnyConnection, AnyPool, Executor as _, SqlSafeStr as _, Transaction,
    any::AnyPoolOptions,
    migrate::{Migration, MigrationType, Migrator},
};

pub(crate) use idempotency::{IdempotentRequest, Remembered};
pub(crate) use keys::SigningKey;
pub use keys::{ApiKeyInfo, Project};
pub(crate) use rooms::{NewRoom, PageStart, RoomRow};
pub(crate) use tokens::Admitted;

use crate::limits;

/// Why the store failed. Always the environment (disk, locks, a foreign file) or a defect of ours.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("database schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row holds what it never should.
    #[error("database: unexpected value in {0}")]
    Corrupt(&'static str),
    /// The URL names a database that is not built in.
    #[error("database URL must begin with sqlite:")]
    UnknownDatabase,
}

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    writer: AnyPool,
    readers: AnyPool,
}

const SQLITE: &[(i64, &str, &str)] =
    &[(1, "first", include_str!("../../migrations/sqlite/0001_first.sql"))];

/// WAL and FULL: a commit survives a power cut, readers do not wait for the writer. `secure_delete`
/// overwrites what is deleted.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; PRAGMA secure_delete = ON;";

impl Store {
    /// Opens the database at `url` (`sqlite:///var/lib/conclave/conclave.db`), creating and
    /// migrating it as needed.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened or is not ours.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        if !url.starts_with("sqlite:") {
            return Err(StoreError::UnknownDatabase);
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        let writing = format!("{url}{separator}mode=rwc");
        let writer = pool(1).connect(&writing).await?;
        migrations().run(&writer).await?;
        let readers = pool(limits::STORE_READERS).connect(&writing).await?;
        Ok(Self { writer, readers })
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Database`] when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    /// Closes the connections, so that the write-ahead log is folded in.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn write(&self) -> Result<Transaction<'_, Any>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Deletes what has expired. Returns how many rows went.
    pub(crate) async fn purge(&self, now_ms: u64) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let mut gone = 0;
        for (sql, before) in [
            ("DELETE FROM used_tokens WHERE expires_at < $1", now_ms),
            ("DELETE FROM idempotency WHERE expires_at < $1", now_ms),
            (
                "DELETE FROM rooms WHERE closed_at IS NOT NULL AND closed_at < $1",
                now_ms.saturating_sub(limits::CLOSED_ROOM_MS),
            ),
        ] {
            gone += sqlx::query(sql).bind(int(before)).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(gone)
    }
}

fn pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(limits::STORE_WAIT)
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .after_connect(|connection: &mut AnyConnection, _| {
            Box::pin(async move {
                connection.execute(PRAGMAS).await?;
                Ok(())
            })
        })
}

fn migrations() -> Migrator {
    let all = SQLITE.iter().map(|(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(*version, Cow::Borrowed(*name), kind, (*sql).into_sql_str(), false)
    });
    Migrator::with_migrations(all.collect())
}

/// Times and counts fit 63 bits; more is cut, never wrapped.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64, place: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt(place))
}
