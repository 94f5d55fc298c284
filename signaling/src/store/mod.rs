//! What must last: projects, keys, rooms, used tokens, idempotent answers. The only place with SQL.
//!
//! sqlx `Any`, so that SQLite and PostgreSQL stand behind the same functions. A test runs each of
//! them on both.

mod audit;
mod backup;
mod bans;
mod catalog;
mod change;
mod connect;
mod creation;
mod data_key;
mod deliveries;
mod error;
mod events;
mod histories;
mod idempotency;
mod journal;
mod keys;
mod operators;
mod partners;
mod recordings;
mod replay;
mod retention;
mod rooms;
mod schema;
mod stays;
mod storage_targets;
mod token_keys;
mod tokens;
mod usage;
mod webhooks;

use std::sync::{Arc, atomic::AtomicBool};

use sqlx::{AnyPool, Connection as _};
use tokio::sync::watch;

pub use audit::OPERATOR_TREE;
pub(crate) use audit::{AuditKey, Change};
pub use backup::{BackupError, backup, restore};
pub(crate) use bans::BanRow;
pub(crate) use change::Tx;
pub(crate) use creation::{After, Author, Creation};
pub(crate) use deliveries::{Owned, Settled, Step, Written};
pub use error::StoreError;
#[allow(unused_imports, reason = "used as areas arrive")]
pub(crate) use events::{Log, NewEvent, Wanted};
pub(crate) use histories::{StaysOf, StaysWanted};
pub(crate) use idempotency::{IdempotentRequest, Remembered};
pub(crate) use journal::{Refused, RoomCommit};
pub(crate) use keys::ApiKey;
pub use keys::ApiKeyInfo;
pub use operators::OperatorKeyInfo;
pub use partners::{Partner, Project};
pub(crate) use recordings::{Changed, MayRecord, RecordingFilter};
pub use recordings::{
    Moment, Purged, RecordingRow, RecordingStep, Stepped, Terms, Timeline, TimelineEvent, ToWork,
    Wish,
};
pub(crate) use rooms::{NewRoom, PageStart, RoomFilter, RoomRow};
pub(crate) use storage_targets::Replaced;
pub use storage_targets::StoredTarget;
pub(crate) use token_keys::{NewTokenKey, SigningKey, TokenKeyInfo, Verifier, VerifyingKey};
pub(crate) use tokens::{Admitted, Use};
pub(crate) use usage::UsageWanted;
pub(crate) use webhooks::{By, Standing, WebhookRow};

use crate::{limits, vault::Vault};
use connect::Target;

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
    /// What was erased may still stand in SQLite's write-ahead log.
    log_is_stale: Arc<AtomicBool>,
}

impl Store {
    /// Opens the database at `url` (`sqlite:///var/lib/conclave/conclave.db`,
    /// `postgres://user@host/name`), creating the file and migrating the schema as needed. `vault`
    /// seals the secrets in it.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened or is not ours.
    pub async fn open(url: &str, vault: Vault) -> Result<Self, StoreError> {
        let target = Target::parse(url)?;
        let dialect = target.dialect;
        let mut alone = target.connect().await?;
        schema::migrate(&mut alone, dialect, schema::NEWEST).await?;
        data_key::check(&mut alone, &vault).await?;
        alone.close().await?;
        let (writer, readers) = target.pools().await?;
        let news = Arc::new(watch::Sender::new(0));
        // It may have been killed before it came to that.
        let log_is_stale = Arc::new(AtomicBool::new(true));
        let store = Self { dialect, writer, readers, vault: Arc::new(vault), news, log_is_stale };
        store.key_old_hashes().await?;
        store.seal_old_keys().await?;
        Ok(store)
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
        Ok(Tx::new(self.writer.begin_with(self.dialect.begin_write()).await?, self))
    }

    /// Begins a change in a project: holds it first ([`Tx::hold`]).
    pub(crate) async fn write_in(&self, project: &str) -> Result<Tx<'_>, StoreError> {
        let mut tx = self.write().await?;
        tx.hold(project).await?;
        Ok(tx)
    }

    /// Deletes what has expired. Returns how many rows went.
    pub(crate) async fn purge(&self, now_ms: u64) -> Result<u64, StoreError> {
        let revoked = now_ms.saturating_sub(limits::REVOKED_KEY_MS);
        let closed = now_ms.saturating_sub(limits::CLOSED_ROOM_MS);
        let here = [
            ("used_tokens", "expires_at < $1", now_ms),
            ("idempotency", "expires_at < $1", now_ms),
            ("bans", "until IS NOT NULL AND until < $1", now_ms),
            (
                "bans",
                "room <> '' AND created_at < $1 AND NOT EXISTS \
                 (SELECT 1 FROM rooms WHERE rooms.id = bans.room AND rooms.closed_at IS NULL)",
                now_ms,
            ),
            ("api_keys", "revoked_at < $1", revoked),
            ("signing_keys", "revoked_at < $1", revoked),
            (
                "rooms",
                // Events of a recording belong to its room.
                "closed_at IS NOT NULL AND closed_at < $1 AND NOT EXISTS \
                 (SELECT 1 FROM recordings WHERE recordings.room = rooms.id \
                 AND recordings.state <> 'purged')",
                closed,
            ),
        ];
        let mut gone = 0;
        for (table, condition, before) in here.into_iter().chain(deliveries::expired(now_ms)) {
            gone += self.sweep(table, condition, before).await?;
        }
        Ok(gone)
    }
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
