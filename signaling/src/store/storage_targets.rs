//! Storage targets: where a project's recordings are pushed to. Their configuration has credentials
//! and is sealed as a whole.

use sdk_spec::{
    handle::Handle,
    limits::STORAGE_TARGETS_MAX,
    rest::{
        Timestamp,
        recordings::{CreateStorageTarget, Storage, StorageTarget},
    },
};
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use super::{Author, Store, StoreError, int, unsigned};
use crate::vault::Vault;

/// A storage target with its credentials. No `Debug`.
#[derive(Clone)]
pub struct StoredTarget {
    /// `st_…`.
    pub id: String,
    /// The partner's name for it.
    pub name: Handle,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// Where it is, with secrets.
    pub storage: Storage,
}

/// What became of new credentials.
pub(crate) enum Replaced {
    Done(Box<StoredTarget>),
    /// There is no such target.
    Missing,
    /// It would be another place.
    Elsewhere,
}

impl StoredTarget {
    /// As it is shown: without secrets.
    pub(crate) fn shown(self) -> StorageTarget {
        StorageTarget {
            id: self.id,
            name: self.name,
            created_at: Timestamp(self.created_at_ms),
            storage: self.storage.without_secrets(),
        }
    }
}

impl Store {
    /// Stores a target. `None` when the project has [`STORAGE_TARGETS_MAX`] already.
    pub(crate) async fn create_storage_target(
        &self,
        id: &str,
        project: &str,
        wish: CreateStorageTarget,
        by: &Author,
    ) -> Result<Option<StoredTarget>, StoreError> {
        let mut tx = self.write_in(project).await?;
        let count = sqlx::query("SELECT COUNT(*) AS n FROM storage_targets WHERE project = $1")
            .bind(project)
            .fetch_one(&mut *tx)
            .await?;
        if count.try_get::<i64, _>("n")? >= i64::from(STORAGE_TARGETS_MAX) {
            return Ok(None);
        }
        let plain = serde_json::to_vec(&wish.storage).unwrap_or_default();
        sqlx::query(
            "INSERT INTO storage_targets (id, project, name, created_at, config) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(id)
        .bind(project)
        .bind(wish.name.as_str())
        .bind(int(by.now_ms))
        .bind(tx.vault().seal(&context(id), &plain))
        .execute(&mut *tx)
        .await?;
        let shown = serde_json::to_vec(&wish.storage.clone().without_secrets());
        let after = shown.unwrap_or_default();
        tx.note(by, project, ("storage_target.create", id), Some(&after)).await?;
        tx.commit().await?;
        let (id, name) = (id.to_owned(), wish.name);
        Ok(Some(StoredTarget { id, name, created_at_ms: by.now_ms, storage: wish.storage }))
    }

    /// The targets of a project, oldest first.
    pub(crate) async fn storage_targets(
        &self,
        project: &str,
    ) -> Result<Vec<StoredTarget>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, created_at, config FROM storage_targets WHERE project = $1 \
             ORDER BY created_at, id",
        )
        .bind(project)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| read(row, &self.vault)).collect()
    }

    /// A target of a project, with its credentials.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails, or the credentials are sealed with another key.
    pub async fn storage_target(
        &self,
        project: &str,
        id: &str,
    ) -> Result<Option<StoredTarget>, StoreError> {
        let row = sqlx::query(
            "SELECT id, name, created_at, config FROM storage_targets \
             WHERE id = $1 AND project = $2",
        )
        .bind(id)
        .bind(project)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| read(&row, &self.vault)).transpose()
    }

    /// Replaces name and credentials of a target, which stays where it is.
    pub(crate) async fn replace_storage_target(
        &self,
        project: &str,
        id: &str,
        wish: CreateStorageTarget,
        by: &Author,
    ) -> Result<Replaced, StoreError> {
        let mut tx = self.write_in(project).await?;
        let row = sqlx::query(
            "SELECT id, name, created_at, config FROM storage_targets \
             WHERE id = $1 AND project = $2",
        )
        .bind(id)
        .bind(project)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(before) = row.map(|row| read(&row, tx.vault())).transpose()? else {
            return Ok(Replaced::Missing);
        };
        if !wish.storage.is_place_of(&before.storage) {
            return Ok(Replaced::Elsewhere);
        }
        let plain = serde_json::to_vec(&wish.storage).unwrap_or_default();
        sqlx::query(
            "UPDATE storage_targets SET name = $1, config = $2 WHERE id = $3 AND project = $4",
        )
        .bind(wish.name.as_str())
        .bind(tx.vault().seal(&context(id), &plain))
        .bind(id)
        .bind(project)
        .execute(&mut *tx)
        .await?;
        let shown = serde_json::to_vec(&wish.storage.clone().without_secrets());
        let after = shown.unwrap_or_default();
        tx.note(by, project, ("storage_target.replace", id), Some(&after)).await?;
        tx.commit().await?;
        let StoredTarget { id, created_at_ms, .. } = before;
        let now = StoredTarget { id, name: wish.name, created_at_ms, storage: wish.storage };
        Ok(Replaced::Done(Box::new(now)))
    }

    /// Deletes a target, used or not: credentials that leaked must go at once. What should be pushed
    /// there waits for another one. `false` when there is none.
    pub(crate) async fn delete_storage_target(
        &self,
        project: &str,
        id: &str,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write_in(project).await?;
        let done = sqlx::query("DELETE FROM storage_targets WHERE id = $1 AND project = $2")
            .bind(id)
            .bind(project)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        tx.note(by, project, ("storage_target.delete", id), None).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// Whether a project has this target.
pub(super) async fn exists(
    connection: &mut AnyConnection,
    project: &str,
    id: &str,
) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT 1 FROM storage_targets WHERE id = $1 AND project = $2")
        .bind(id)
        .bind(project)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// What the sealed configuration is bound to.
fn context(id: &str) -> String {
    format!("storage_targets.config:{id}")
}

fn read(row: &AnyRow, vault: &Vault) -> Result<StoredTarget, StoreError> {
    let (id, name): (String, String) = (row.try_get("id")?, row.try_get("name")?);
    let sealed: Vec<u8> = row.try_get("config")?;
    let plain = vault.open(&context(&id), &sealed).map_err(|_| StoreError::Sealed)?;
    Ok(StoredTarget {
        name: Handle::parse(&name).map_err(|_| StoreError::Corrupt("storage_targets.name"))?,
        created_at_ms: unsigned(row.try_get("created_at")?, "storage_targets.created_at")?,
        storage: serde_json::from_slice(&plain)
            .map_err(|_| StoreError::Corrupt("storage_targets.config"))?,
        id,
    })
}
