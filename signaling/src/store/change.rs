//! A change of the store: one transaction with its events and its entry in the audit log.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use sqlx::{Any, AnyConnection, Transaction};
use tokio::sync::watch;

use super::{Dialect, Store, StoreError};
use crate::vault::Vault;

/// A transaction. Dropped without [`Tx::commit`], nothing happened.
///
/// ```text
/// let mut tx = store.write_in(project).await?;   // holds the project: no races, no deadlocks
/// … UPDATE …                      // the change
/// tx.record(project, &event).await?;   // what the partner is told of it
/// tx.audit(&change).await?;            // who did it
/// tx.commit().await?;
/// ```
pub(crate) struct Tx<'a> {
    inner: Transaction<'a, Any>,
    dialect: Dialect,
    vault: Arc<Vault>,
    news: Arc<watch::Sender<u64>>,
    pub(super) has_events: bool,
}

impl<'a> Tx<'a> {
    pub(super) fn new(inner: Transaction<'a, Any>, store: &Store) -> Self {
        Self {
            inner,
            dialect: store.dialect,
            vault: Arc::clone(&store.vault),
            news: Arc::clone(&store.news),
            has_events: false,
        }
    }

    /// Which database it is.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What seals secrets.
    pub(super) fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Holds a project's row until the end of the transaction, so that what is counted stays true
    /// until it is changed. Whoever reads and then writes, or locks other rows of the project before
    /// it records an event, calls this first: all take their locks in this order, so nobody waits in
    /// a circle. Several projects: in the order of their ids. Nothing on SQLite, which has one
    /// writer.
    pub(crate) async fn hold(&mut self, project: &str) -> Result<(), StoreError> {
        if self.dialect == Dialect::Postgres {
            sqlx::query("SELECT id FROM projects WHERE id = $1 FOR NO KEY UPDATE")
                .bind(project)
                .fetch_optional(&mut *self.inner)
                .await?;
        }
        Ok(())
    }

    /// Whether no other node deletes old rows at this moment: two that meet the same rows in another
    /// order would wait for each other.
    pub(super) async fn is_only_sweeper(&mut self) -> Result<bool, StoreError> {
        if self.dialect == Dialect::Sqlite {
            return Ok(true);
        }
        let row = sqlx::query("SELECT name FROM meta FOR UPDATE SKIP LOCKED");
        Ok(row.fetch_optional(&mut *self.inner).await?.is_some())
    }

    /// Makes everything since [`Store::write`] last.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await?;
        if self.has_events {
            self.news.send_modify(|count| *count += 1);
        }
        Ok(())
    }
}

impl Deref for Tx<'_> {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.inner
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}

impl Dialect {
    /// Begins a transaction that will write.
    pub(super) fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Ends a `SELECT` of rows to be worked on: those that another worker holds are left out.
    ///
    /// ```text
    /// format!("WITH picked AS MATERIALIZED (SELECT id FROM t WHERE due <= $1 ORDER BY due \
    ///     LIMIT 100{}) UPDATE t SET leased_until = $2 WHERE id IN (SELECT id FROM picked) \
    ///     RETURNING id", tx.dialect().skip_locked())
    /// ```
    ///
    /// Without it two workers on PostgreSQL take the same rows. `MATERIALIZED`: the planner may
    /// else run the inner query again for each row, and take more than the limit.
    #[allow(dead_code, reason = "used as areas arrive")]
    pub(crate) fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Ends a `SELECT` of rows that this transaction will change, so that they stay as read.
    #[allow(dead_code, reason = "used as areas arrive")]
    pub(crate) fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR NO KEY UPDATE",
        }
    }
}

#[cfg(test)]
mod tests;
