//! Keys of the operator. Of a secret only a hash keyed with the data key is kept.

use sdk_spec::scope::OperatorScope;
use sqlx::{Row as _, any::AnyRow};
use subtle::ConstantTimeEq as _;

use super::{
    Author, OPERATOR_TREE, Store, StoreError, int,
    keys::{read_scopes, time, write_scopes},
    unsigned,
};

/// What may be told of an operator's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorKeyInfo {
    /// Its public part, without `co_`.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<OperatorScope>,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// From when on it is refused.
    pub expires_at_ms: Option<u64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// An operator's key as a request is held against it. No `Debug`: the hash is a secret.
pub(crate) struct OperatorKey {
    pub(crate) scopes: Vec<OperatorScope>,
    pub(crate) expires_at_ms: Option<u64>,
    hash: Vec<u8>,
}

impl OperatorKey {
    /// Whether the hash is that of its secret; in constant time.
    pub(crate) fn matches(&self, hash: &[u8; 32]) -> bool {
        self.hash.ct_eq(hash).into()
    }
}

impl Store {
    /// Stores an operator's key.
    pub(crate) async fn insert_operator_key(
        &self,
        key: &OperatorKeyInfo,
        hash: &[u8; 32],
        by: &Author,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO operator_keys (id, name, secret_hash, scopes, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&key.id)
        .bind(&key.name)
        .bind(hash.to_vec())
        .bind(write_scopes(&key.scopes))
        .bind(int(key.created_at_ms))
        .bind(key.expires_at_ms.map(int))
        .execute(&mut *tx)
        .await?;
        let object = format!("co_{}", key.id);
        let scopes = write_scopes(&key.scopes);
        let action = ("operator_key.create", object.as_str());
        tx.note(by, OPERATOR_TREE, action, Some(scopes.as_bytes())).await?;
        tx.commit().await
    }

    /// The operator's keys, revoked ones too, oldest first.
    pub(crate) async fn operator_keys(&self) -> Result<Vec<OperatorKeyInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM operator_keys \
             ORDER BY created_at, id",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(info).collect()
    }

    /// A key that is not revoked.
    pub(crate) async fn operator_key(&self, id: &str) -> Result<Option<OperatorKey>, StoreError> {
        let row = sqlx::query(
            "SELECT scopes, expires_at, secret_hash FROM operator_keys \
             WHERE id = $1 AND revoked_at IS NULL",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let (scopes, hash) = (read_scopes(&row)?, row.try_get("secret_hash")?);
        Ok(Some(OperatorKey { scopes, expires_at_ms: time(&row, "expires_at")?, hash }))
    }

    /// Revokes a key. `false` when there is none or it is revoked already.
    pub(crate) async fn revoke_operator_key(
        &self,
        id: &str,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "UPDATE operator_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
        )
        .bind(int(by.now_ms))
        .bind(id)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let object = format!("co_{id}");
        tx.note(by, OPERATOR_TREE, ("operator_key.revoke", &object), None).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn info(row: &AnyRow) -> Result<OperatorKeyInfo, StoreError> {
    Ok(OperatorKeyInfo {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scopes: read_scopes(row)?,
        created_at_ms: unsigned(row.try_get("created_at")?, "operator_keys.created_at")?,
        expires_at_ms: time(row, "expires_at")?,
        revoked: time(row, "revoked_at")?.is_some(),
    })
}
