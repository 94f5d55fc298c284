//! Projects, their API keys and their signing keys.

use sdk_spec::scope::Scope;
use sqlx::Row as _;

use super::{Store, StoreError, int, unsigned};
use crate::secret::SecretHash;

/// A partner's project: what keys, rooms and tokens belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// `pj_…`.
    pub id: String,
    /// The operator's name for it.
    pub label: String,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
}

/// What may be told of an API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyInfo {
    /// Its public part, without `ck_`.
    pub id: String,
    /// Project id.
    pub project: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// An API key as a request is held against it. No `Debug`: the hash is a secret.
pub(crate) struct ApiKey {
    /// Project id.
    pub(crate) project: String,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) hash: SecretHash,
}

/// A key that signs room tokens. No `Debug`: it is a secret.
#[derive(Clone)]
pub(crate) struct SigningKey {
    /// `kid` of the tokens.
    pub(crate) id: String,
    pub(crate) project: String,
    /// The only algorithm it is for, as in the header's `alg`.
    pub(crate) algorithm: String,
    /// PKCS #8.
    pub(crate) private_key: Vec<u8>,
    /// Raw.
    pub(crate) public_key: Vec<u8>,
}

impl Store {
    /// Stores a project together with its first signing key.
    pub(crate) async fn insert_project(
        &self,
        project: &Project,
        key: &SigningKey,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("INSERT INTO projects (id, label, created_at) VALUES ($1, $2, $3)")
            .bind(&project.id)
            .bind(&project.label)
            .bind(int(project.created_at_ms))
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO signing_keys (id, project, algorithm, private_key, public_key, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&key.id)
        .bind(&key.project)
        .bind(&key.algorithm)
        .bind(&key.private_key)
        .bind(&key.public_key)
        .bind(int(project.created_at_ms))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// All projects, oldest first.
    pub(crate) async fn projects(&self) -> Result<Vec<Project>, StoreError> {
        let rows =
            sqlx::query("SELECT id, label, created_at FROM projects ORDER BY created_at, id")
                .fetch_all(&self.readers)
                .await?;
        rows.iter()
            .map(|row| {
                Ok(Project {
                    id: row.try_get("id")?,
                    label: row.try_get("label")?,
                    created_at_ms: unsigned(row.try_get("created_at")?, "projects.created_at")?,
                })
            })
            .collect()
    }

    /// Stores an API key. `false` when there is no such project.
    pub(crate) async fn insert_api_key(
        &self,
        key: &ApiKeyInfo,
        hash: SecretHash,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO api_keys (id, project, secret_hash, scopes, created_at) \
             SELECT $1, id, $2, $3, $4 FROM projects WHERE id = $5",
        )
        .bind(&key.id)
        .bind(hash.0.to_vec())
        .bind(write_scopes(&key.scopes))
        .bind(int(key.created_at_ms))
        .bind(&key.project)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keys of a project, oldest first.
    pub(crate) async fn api_keys(&self, project: &str) -> Result<Vec<ApiKeyInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, project, scopes, created_at, CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END AS gone \
             FROM api_keys WHERE project = $1 ORDER BY created_at, id",
        )
        .bind(project)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(ApiKeyInfo {
                    id: row.try_get("id")?,
                    project: row.try_get("project")?,
                    scopes: read_scopes(row)?,
                    created_at_ms: unsigned(row.try_get("created_at")?, "api_keys.created_at")?,
                    revoked: row.try_get::<i64, _>("gone")? == 1,
                })
            })
            .collect()
    }

    /// A key that is not revoked.
    pub(crate) async fn api_key(&self, id: &str) -> Result<Option<ApiKey>, StoreError> {
        let row = sqlx::query(
            "SELECT project, scopes, secret_hash FROM api_keys WHERE id = $1 AND revoked_at IS NULL",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let hash: Vec<u8> = row.try_get("secret_hash")?;
        let hash = hash.try_into().map_err(|_| StoreError::Corrupt("api_keys.secret_hash"))?;
        let (project, scopes) = (row.try_get("project")?, read_scopes(&row)?);
        Ok(Some(ApiKey { project, scopes, hash: SecretHash(hash) }))
    }

    /// Revokes a key. `false` when there is none or it is revoked already.
    pub(crate) async fn revoke_api_key(&self, id: &str, now_ms: u64) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let done =
            sqlx::query("UPDATE api_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
                .bind(int(now_ms))
                .bind(id)
                .execute(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// The newest signing key of a project.
    pub(crate) async fn signing_key_of(
        &self,
        project: &str,
    ) -> Result<Option<SigningKey>, StoreError> {
        let row = sqlx::query(
            "SELECT id, project, algorithm, private_key, public_key FROM signing_keys \
             WHERE project = $1 ORDER BY created_at DESC, id DESC LIMIT 1",
        )
        .bind(project)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(signing_key).transpose()
    }

    /// A signing key by its id.
    pub(crate) async fn signing_key(&self, id: &str) -> Result<Option<SigningKey>, StoreError> {
        let row = sqlx::query(
            "SELECT id, project, algorithm, private_key, public_key FROM signing_keys \
             WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(signing_key).transpose()
    }
}

fn write_scopes(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

fn read_scopes(row: &sqlx::any::AnyRow) -> Result<Vec<Scope>, StoreError> {
    let text: String = row.try_get("scopes")?;
    let scopes: Result<_, _> = text.split_whitespace().map(str::parse).collect();
    scopes.map_err(|_| StoreError::Corrupt("api_keys.scopes"))
}

fn signing_key(row: &sqlx::any::AnyRow) -> Result<SigningKey, StoreError> {
    Ok(SigningKey {
        id: row.try_get("id")?,
        project: row.try_get("project")?,
        algorithm: row.try_get("algorithm")?,
        private_key: row.try_get("private_key")?,
        public_key: row.try_get("public_key")?,
    })
}
