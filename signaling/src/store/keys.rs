//! API keys of projects. Of a secret only a hash keyed with the data key is kept.

use sdk_spec::{event::What, rest::operator::Quotas, scope::Scope};
use sqlx::{Row as _, any::AnyRow};
use subtle::ConstantTimeEq as _;

use super::{
    After, Author, Creation, IdempotentRequest, NewEvent, OPERATOR_TREE, Store, StoreError, Tx,
    int,
    partners::{count, quotas},
    unsigned,
};
use crate::{domain::Actor, secret::sha256, vault::Vault};

/// What may be told of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyInfo {
    /// Its public part, without `ck_`.
    pub id: String,
    /// Project id.
    pub project: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// From when on it is refused.
    pub expires_at_ms: Option<u64>,
    /// When it got its present secret.
    pub rotated_at_ms: Option<u64>,
    /// Until when the secret before is good.
    pub old_until_ms: Option<u64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// An API key as a request is held against it. No `Debug`: the hashes are secrets.
pub(crate) struct ApiKey {
    /// Project id.
    pub(crate) project: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) expires_at_ms: Option<u64>,
    /// Of the project.
    pub(crate) suspended: bool,
    /// Of the project.
    pub(crate) quotas: Quotas,
    hash: Vec<u8>,
    old: Option<(Vec<u8>, u64)>,
}

impl ApiKey {
    /// Whether the hash is that of a secret which is good now; in constant time.
    pub(crate) fn matches(&self, hash: &[u8; 32], now_ms: u64) -> bool {
        let new = self.hash.ct_eq(hash);
        let old = self.old.as_ref().filter(|(_, until)| *until > now_ms);
        let old = old.is_some_and(|(old, _)| bool::from(old.ct_eq(hash)));
        bool::from(new) | old
    }
}

impl Vault {
    /// What is kept of a secret. Keys from before the data key are kept as a keyed hash of their
    /// SHA-256, so all are.
    pub(crate) fn hash_secret(&self, secret: &[u8]) -> [u8; 32] {
        self.hash(&sha256(secret))
    }
}

/// What was done to an API key or token key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyChange {
    Created,
    Rotated,
    Revoked,
}

impl KeyChange {
    /// As events say it.
    pub(super) const fn past(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Rotated => "rotated",
            Self::Revoked => "revoked",
        }
    }

    /// As the audit log says it.
    const fn action(self) -> &'static str {
        match self {
            Self::Created => "key.create",
            Self::Rotated => "key.rotate",
            Self::Revoked => "key.revoke",
        }
    }
}

/// A query for what may be told of keys.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, project, name, scopes, created_at, expires_at, rotated_at, old_until, ",
            "revoked_at FROM api_keys ",
            $tail
        )
    };
}

impl Store {
    /// Stores an API key, within the project's quota.
    pub(crate) async fn insert_api_key(
        &self,
        key: &ApiKeyInfo,
        hash: &[u8; 32],
        by: &Author,
        request: Option<&IdempotentRequest>,
    ) -> Result<Creation, StoreError> {
        let mut tx = self.write().await?;
        if let Some(known) = tx.recall(request).await? {
            return Ok(known);
        }
        let Some(quotas) = tx.quotas(&key.project).await? else { return Ok(Creation::Missing) };
        let have = sqlx::query(
            "SELECT COUNT(*) AS n FROM api_keys WHERE project = $1 AND revoked_at IS NULL",
        )
        .bind(&key.project)
        .fetch_one(&mut *tx)
        .await?;
        if count(&have, "n")? >= quotas.keys {
            return Ok(Creation::Full);
        }
        sqlx::query(
            "INSERT INTO api_keys (id, project, name, secret_hash, keyed, scopes, created_at, \
             expires_at) VALUES ($1, $2, $3, $4, 1, $5, $6, $7)",
        )
        .bind(&key.id)
        .bind(&key.project)
        .bind(key.name.as_deref())
        .bind(hash.to_vec())
        .bind(write_scopes(&key.scopes))
        .bind(int(key.created_at_ms))
        .bind(key.expires_at_ms.map(int))
        .execute(&mut *tx)
        .await?;
        tx.remember(request).await?;
        let scopes = write_scopes(&key.scopes);
        tx.key_changed(&key.project, &key.id, KeyChange::Created, by, Some(scopes.as_bytes()))
            .await?;
        tx.commit().await?;
        Ok(Creation::Made)
    }

    /// Keys of a project, revoked ones too, oldest first: for the command line.
    pub(crate) async fn api_keys(&self, project: &str) -> Result<Vec<ApiKeyInfo>, StoreError> {
        let rows = sqlx::query(select!("WHERE project = $1 ORDER BY created_at, id"))
            .bind(project)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(info).collect()
    }

    /// Keys of a project that are not revoked, newest first.
    pub(crate) async fn api_key_page(
        &self,
        project: &str,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<ApiKeyInfo>, StoreError> {
        let (time, id) = After::bounds(after);
        let rows = sqlx::query(select!(
            "WHERE project = $1 AND revoked_at IS NULL \
             AND (created_at < $2 OR (created_at = $2 AND id < $3)) \
             ORDER BY created_at DESC, id DESC LIMIT $4"
        ))
        .bind(project)
        .bind(time)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(info).collect()
    }

    /// What may be told of a key that is not revoked.
    pub(crate) async fn api_key_info(
        &self,
        project: &str,
        id: &str,
    ) -> Result<Option<ApiKeyInfo>, StoreError> {
        let row = sqlx::query(select!("WHERE id = $1 AND project = $2 AND revoked_at IS NULL"))
            .bind(id)
            .bind(project)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(info).transpose()
    }

    /// A key that is not revoked, with its project.
    pub(crate) async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let row = sqlx::query(
            "SELECT k.project, k.scopes, k.secret_hash, k.old_hash, k.old_until, k.expires_at, \
             p.suspended_at, p.rooms_max, p.participants_max, p.requests_per_second, \
             p.webhooks_max, p.keys_max FROM api_keys k JOIN projects p ON p.id = k.project \
             WHERE k.id = $1 AND k.revoked_at IS NULL",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let old: Option<Vec<u8>> = row.try_get("old_hash")?;
        Ok(Some(ApiKey {
            project: row.try_get("project")?,
            scopes: read_scopes(&row)?,
            expires_at_ms: time(&row, "expires_at")?,
            suspended: row.try_get::<Option<i64>, _>("suspended_at")?.is_some(),
            quotas: quotas(&row)?,
            hash: row.try_get("secret_hash")?,
            old: old.zip(time(&row, "old_until")?),
        }))
    }

    /// Gives a key a new secret; the present one is good until `old_until_ms`. `None` when there is
    /// no such key.
    pub(crate) async fn rotate_api_key(
        &self,
        (project, id): (&str, &str),
        hash: &[u8; 32],
        old_until_ms: u64,
        by: &Author,
        request: Option<&IdempotentRequest>,
    ) -> Result<Result<ApiKeyInfo, Creation>, StoreError> {
        let mut tx = self.write().await?;
        if let Some(known) = tx.recall(request).await? {
            return Ok(Err(known));
        }
        let row = sqlx::query(
            "UPDATE api_keys SET old_hash = secret_hash, old_until = $1, secret_hash = $2, \
             rotated_at = $3 WHERE id = $4 AND project = $5 AND revoked_at IS NULL \
             RETURNING id, project, name, scopes, created_at, expires_at, rotated_at, old_until, \
             revoked_at",
        )
        .bind(int(old_until_ms))
        .bind(hash.to_vec())
        .bind(int(by.now_ms))
        .bind(id)
        .bind(project)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(Err(Creation::Missing)) };
        tx.remember(request).await?;
        tx.key_changed(project, id, KeyChange::Rotated, by, None).await?;
        tx.commit().await?;
        info(&row).map(Ok)
    }

    /// Revokes a key, of `project` if one is named. `false` when there is none or it is revoked
    /// already.
    pub(crate) async fn revoke_api_key(
        &self,
        project: Option<&str>,
        id: &str,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "UPDATE api_keys SET revoked_at = $1, old_hash = NULL, old_until = NULL \
             WHERE id = $2 AND revoked_at IS NULL AND ($3 = '' OR project = $3) \
             RETURNING project",
        )
        .bind(int(by.now_ms))
        .bind(id)
        .bind(project.unwrap_or_default())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let project: String = row.try_get("project")?;
        tx.key_changed(&project, id, KeyChange::Revoked, by, None).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Keys the hashes that are from before the data key.
    pub(super) async fn key_old_hashes(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let rows = sqlx::query("SELECT id, secret_hash FROM api_keys WHERE keyed = 0")
            .fetch_all(&mut *tx)
            .await?;
        for row in rows {
            let plain: Vec<u8> = row.try_get("secret_hash")?;
            let hash = tx.vault().hash(&plain);
            sqlx::query(
                "UPDATE api_keys SET secret_hash = $1, keyed = 1 WHERE id = $2 AND keyed = 0",
            )
            .bind(hash.to_vec())
            .bind(row.try_get::<String, _>("id")?)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }
}

impl Tx<'_> {
    /// The event and the entries in the audit log of a change of an API key.
    async fn key_changed(
        &mut self,
        project: &str,
        id: &str,
        change: KeyChange,
        by: &Author,
        after: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let key = format!("ck_{id}");
        let what = What::KeyChanged { key: key.clone(), change: change.past().to_owned() };
        self.record(project, &NewEvent { room: None, time_ms: by.now_ms, what }).await?;
        let action = change.action();
        self.note(by, project, (action, &key), after).await?;
        if matches!(by.actor, Actor::Operator(_)) {
            self.note(by, OPERATOR_TREE, (action, &key), after).await?;
        }
        Ok(())
    }
}

/// Names, separated by a space.
pub(super) fn write_scopes<S: ToString>(scopes: &[S]) -> String {
    scopes.iter().map(S::to_string).collect::<Vec<_>>().join(" ")
}

pub(super) fn read_scopes<S: std::str::FromStr>(row: &AnyRow) -> Result<Vec<S>, StoreError> {
    let text: String = row.try_get("scopes")?;
    let scopes: Result<_, _> = text.split_whitespace().map(str::parse).collect();
    scopes.map_err(|_| StoreError::Corrupt("scopes"))
}

/// A time that may not be there.
pub(super) fn time(row: &AnyRow, column: &'static str) -> Result<Option<u64>, StoreError> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| unsigned(value, column)).transpose()
}

fn info(row: &AnyRow) -> Result<ApiKeyInfo, StoreError> {
    Ok(ApiKeyInfo {
        id: row.try_get("id")?,
        project: row.try_get("project")?,
        name: row.try_get("name")?,
        scopes: read_scopes(row)?,
        created_at_ms: unsigned(row.try_get("created_at")?, "api_keys.created_at")?,
        expires_at_ms: time(row, "expires_at")?,
        rotated_at_ms: time(row, "rotated_at")?,
        old_until_ms: time(row, "old_until")?,
        revoked: time(row, "revoked_at")?.is_some(),
    })
}

#[cfg(test)]
mod tests;
