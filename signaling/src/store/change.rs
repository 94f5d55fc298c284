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
/// let mut tx = store.write().await?;
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
