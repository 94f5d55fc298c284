//! What must last: projects, keys, rooms, used tokens, idempotent answers. The only place with SQL.
//!
//! SQLite by way of sqlx `Any`, so that a PostgreSQL twin stands behind the same functions later.
//! One connection writes, in `BEGIN IMMEDIATE` transactions: a read-then-write in a deferred one
//! fails with SQLITE_BUSY under load whatever the busy time-out. A few others read.

mod audit;
mod change;
mod events;
mod idempotency;
mod journal;
mod keys;
mod rooms;
mod schema;
mod stays;
mod tokens;
mod usage;
mod webhooks;

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use sqlx::{AnyConnection, AnyPool, Executor as _, any::AnyPoolOptions};
use tokio::sync::watch;

pub use audit::OPERATOR_TREE;
pub(crate) use audit::{AuditKey, Change};
pub(crate) use change::Tx;
#[allow(unused_imports, reason = "used as areas arrive")]
pub(crate) use events::NewEvent;
pub(crate) use idempotency::{IdempotentRequest, Remembered};
pub(crate) use journal::RoomCommit;
pub(crate) use keys::SigningKey;
pub use keys::{ApiKeyInfo, Project};
pub(crate) use rooms::{NewRoom, PageStart, RoomFilter, RoomRow};
pub(crate) use tokens::Admitted;

use crate::{limits, vault::Vault};

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
    #[error("database URL must begin with sqlite: or postgres:")]
    UnknownDatabase,
    /// A secret column does not open: another data key, or changed bytes.
    #[error("database: a secret does not open with this data key")]
    Sealed,
}

impl StoreError {
    /// Whether trying again cannot help: what is to be stored does not fit what is stored.
    pub(crate) fn is_final(&self) -> bool {
        use sqlx::error::ErrorKind as K;
        match self {
            Self::Database(sqlx::Error::Database(error)) => matches!(
                error.kind(),
                K::UniqueViolation
                    | K::ForeignKeyViolation
                    | K::NotNullViolation
                    | K::CheckViolation
            ),
            Self::Database(sqlx::Error::RowNotFound) | Self::Corrupt(_) => true,
            _ => false,
        }
    }

    /// Whether the store was closed, by us.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolClosed))
    }
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A file of this process.
    Sqlite,
    /// A server that nodes share.
    Postgres,
}

/// The database. Clones share it.
#[derive(Clone)]
pub struct Store {
    dialect: Dialect,
    writer: AnyPool,
    readers: AnyPool,
    vault: Arc<Vault>,
    /// Counts commits of this process that brought events.
    news: Arc<watch::Sender<u64>>,
}

/// WAL and FULL: a commit survives a power cut, readers do not wait for the writer. `secure_delete`
/// overwrites what is deleted.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; PRAGMA secure_delete = ON;";

impl Store {
    /// Opens the database at `url` (`sqlite:///var/lib/conclave/conclave.db`,
    /// `postgres://user@host/name`), creating the file and migrating the schema as needed. `vault`
    /// seals the secrets in it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened or is not ours.
    pub async fn open(url: &str, vault: Vault) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let dialect = match url.split_once(':') {
            Some(("sqlite", _)) => Dialect::Sqlite,
            Some(("postgres" | "postgresql", _)) => Dialect::Postgres,
            _ => return Err(StoreError::UnknownDatabase),
        };
        let (writer, readers) = match dialect {
            Dialect::Sqlite => {
                let separator = if url.contains('?') { '&' } else { '?' };
                let writing = format!("{url}{separator}mode=rwc");
                let writer = sqlite_pool(1).connect(&writing).await?;
                schema::migrations(dialect).run(&writer).await?;
                (writer, sqlite_pool(limits::STORE_READERS).connect(&writing).await?)
            }
            Dialect::Postgres => {
                let both = pool(limits::STORE_CONNECTIONS).connect(url).await?;
                schema::migrations(dialect).run(&both).await?;
                (both.clone(), both)
            }
        };
        let news = Arc::new(watch::Sender::new(0));
        Ok(Self { dialect, writer, readers, vault: Arc::new(vault), news })
    }

    /// Tells when events came. Other nodes of the same database are not heard: look again after a
    /// second at the latest.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What seals secrets.
    pub(crate) fn vault(&self) -> &Vault {
        &self.vault
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

    /// Begins a change. What it does takes effect with [`Tx::commit`], all or nothing.
    pub(crate) async fn write(&self) -> Result<Tx<'_>, StoreError> {
        let begin = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        Ok(Tx::new(self.writer.begin_with(begin).await?, self))
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
}

fn sqlite_pool(connections: u32) -> AnyPoolOptions {
    pool(connections).after_connect(|connection: &mut AnyConnection, _| {
        Box::pin(async move {
            connection.execute(PRAGMAS).await?;
            Ok(())
        })
    })
}

/// Times and counts fit 63 bits; more is cut, never wrapped.
fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64, place: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Corrupt(place))
}

#[cfg(test)]
#[path = "../../tests/common/databases.rs"]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
