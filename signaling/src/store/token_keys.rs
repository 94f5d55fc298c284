//! Keys that sign room tokens: ours, and those that partners registered. Every secret part is
//! sealed.

use sdk_spec::{
    event::What,
    limits::TOKEN_KEYS_MAX,
    rest::keys::{TokenAlgorithm, TokenKeyOrigin},
};
use sqlx::{Row as _, any::AnyRow};

use super::{
    After, Author, Creation, IdempotentRequest, NewEvent, Store, StoreError, Tx, int,
    keys::{KeyChange, time},
    partners::count,
    unsigned,
};

/// Our key that signs a project's tokens. No `Debug`: it is a secret.
#[derive(Clone)]
pub(crate) struct SigningKey {
    /// `kid` of the tokens.
    pub(crate) id: String,
    pub(crate) project: String,
    /// PKCS #8.
    pub(crate) private_key: Vec<u8>,
    /// Raw.
    pub(crate) public_key: Vec<u8>,
}

/// What a token's signature is held against. The algorithm is a property of the key.
pub(crate) enum Verifier {
    /// Raw public key.
    Ed25519(Vec<u8>),
    /// Secret.
    HmacSha256(Vec<u8>),
}

/// A key that tokens are verified with. No `Debug`: it may hold a secret.
pub(crate) struct VerifyingKey {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) verifier: Verifier,
    pub(crate) not_after_ms: Option<u64>,
    pub(crate) revoked: bool,
}

/// A token key of a partner, to be stored.
pub(crate) struct NewTokenKey {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) name: Option<String>,
    pub(crate) not_after_ms: Option<u64>,
    pub(crate) verifier: Verifier,
}

/// What may be told of a token key.
pub(crate) struct TokenKeyInfo {
    pub(crate) id: String,
    pub(crate) algorithm: TokenAlgorithm,
    pub(crate) origin: TokenKeyOrigin,
    pub(crate) name: Option<String>,
    pub(crate) created_at_ms: u64,
    pub(crate) not_after_ms: Option<u64>,
    /// Raw; none of a secret.
    pub(crate) public_key: Option<Vec<u8>>,
}

const ED_DSA: &str = TokenAlgorithm::EdDsa.as_str();
const HS256: &str = TokenAlgorithm::Hs256.as_str();

/// Where a key's secret part stands, so that it opens nowhere else.
fn place(id: &str) -> String {
    format!("signing_keys.private_key {id}")
}

impl Store {
    /// Registers a token key of a partner.
    pub(crate) async fn insert_token_key(
        &self,
        key: &NewTokenKey,
        by: &Author,
        request: Option<&IdempotentRequest>,
    ) -> Result<Creation, StoreError> {
        let mut tx = self.write().await?;
        if let Some(known) = tx.recall(request).await? {
            return Ok(known);
        }
        if tx.quotas(&key.project).await?.is_none() {
            return Ok(Creation::Missing);
        }
        let have = sqlx::query(
            "SELECT COUNT(*) AS n FROM signing_keys WHERE project = $1 AND revoked_at IS NULL",
        )
        .bind(&key.project)
        .fetch_one(&mut *tx)
        .await?;
        if count(&have, "n")? >= TOKEN_KEYS_MAX {
            return Ok(Creation::Full);
        }
        let (algorithm, private, public) = match &key.verifier {
            Verifier::Ed25519(public) => (ED_DSA, Vec::new(), public.clone()),
            Verifier::HmacSha256(secret) => {
                (HS256, tx.vault().seal(&place(&key.id), secret), Vec::new())
            }
        };
        sqlx::query(
            "INSERT INTO signing_keys (id, project, algorithm, private_key, public_key, \
             created_at, origin, name, not_after, sealed) \
             VALUES ($1, $2, $3, $4, $5, $6, 'partner', $7, $8, 1)",
        )
        .bind(&key.id)
        .bind(&key.project)
        .bind(algorithm)
        .bind(private)
        .bind(public)
        .bind(int(by.now_ms))
        .bind(key.name.as_deref())
        .bind(key.not_after_ms.map(int))
        .execute(&mut *tx)
        .await?;
        tx.remember(request).await?;
        tx.token_key_changed((&key.project, &key.id), KeyChange::Created, by).await?;
        tx.commit().await?;
        Ok(Creation::Made)
    }

    /// Token keys of a project that are not revoked, newest first.
    pub(crate) async fn token_keys(
        &self,
        project: &str,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<TokenKeyInfo>, StoreError> {
        let (time, id) = After::bounds(after);
        let rows = sqlx::query(
            "SELECT id, algorithm, origin, name, created_at, not_after, public_key \
             FROM signing_keys WHERE project = $1 AND revoked_at IS NULL \
             AND (created_at < $2 OR (created_at = $2 AND id < $3)) \
             ORDER BY created_at DESC, id DESC LIMIT $4",
        )
        .bind(project)
        .bind(time)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(info).collect()
    }

    /// A token key that is not revoked.
    pub(crate) async fn token_key(
        &self,
        project: &str,
        id: &str,
    ) -> Result<Option<TokenKeyInfo>, StoreError> {
        let row = sqlx::query(
            "SELECT id, algorithm, origin, name, created_at, not_after, public_key \
             FROM signing_keys WHERE id = $1 AND project = $2 AND revoked_at IS NULL",
        )
        .bind(id)
        .bind(project)
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(info).transpose()
    }

    /// Revokes a token key: its tokens are refused at once. `next` takes the place of one of ours,
    /// so that tokens can be minted. `false` when there is none.
    pub(crate) async fn revoke_token_key(
        &self,
        (project, id): (&str, &str),
        next: &SigningKey,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        // The secret part has no use any more.
        let row = sqlx::query(
            "UPDATE signing_keys SET revoked_at = $1, private_key = $2, sealed = 1 \
             WHERE id = $3 AND project = $4 AND revoked_at IS NULL RETURNING origin",
        )
        .bind(int(by.now_ms))
        .bind(Vec::<u8>::new())
        .bind(id)
        .bind(project)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(false) };
        tx.token_key_changed((project, id), KeyChange::Revoked, by).await?;
        if row.try_get::<String, _>("origin")? == "platform" {
            tx.insert_signing_key(next, by.now_ms).await?;
            tx.token_key_changed((project, &next.id), KeyChange::Created, by).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Our newest signing key of a project.
    pub(crate) async fn signing_key_of(
        &self,
        project: &str,
    ) -> Result<Option<SigningKey>, StoreError> {
        let row = sqlx::query(
            "SELECT id, project, private_key, public_key FROM signing_keys \
             WHERE project = $1 AND origin = 'platform' AND revoked_at IS NULL \
             ORDER BY created_at DESC, id DESC LIMIT 1",
        )
        .bind(project)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id: String = row.try_get("id")?;
        let private_key = self.unseal(&id, &row)?;
        let (project, public_key) = (row.try_get("project")?, row.try_get("public_key")?);
        Ok(Some(SigningKey { id, project, private_key, public_key }))
    }

    /// What the tokens of a key are verified with, revoked or not.
    pub(crate) async fn verifying_key(&self, id: &str) -> Result<Option<VerifyingKey>, StoreError> {
        let row = sqlx::query(
            "SELECT id, project, algorithm, private_key, public_key, not_after, revoked_at \
             FROM signing_keys WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let id: String = row.try_get("id")?;
        let revoked = time(&row, "revoked_at")?.is_some();
        let verifier = match algorithm(&row)? {
            TokenAlgorithm::EdDsa => Verifier::Ed25519(row.try_get("public_key")?),
            // Its secret is gone, and nobody can know whether a token was of it.
            TokenAlgorithm::Hs256 if revoked => return Ok(None),
            TokenAlgorithm::Hs256 => Verifier::HmacSha256(self.unseal(&id, &row)?),
        };
        let (project, not_after_ms) = (row.try_get("project")?, time(&row, "not_after")?);
        Ok(Some(VerifyingKey { id, project, verifier, not_after_ms, revoked }))
    }

    fn unseal(&self, id: &str, row: &AnyRow) -> Result<Vec<u8>, StoreError> {
        let sealed: Vec<u8> = row.try_get("private_key")?;
        self.vault().open(&place(id), &sealed).map_err(|_| StoreError::Sealed)
    }

    /// Seals the keys that are from before the data key.
    pub(super) async fn seal_old_keys(&self) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        let rows = sqlx::query("SELECT id, private_key FROM signing_keys WHERE sealed = 0")
            .fetch_all(&mut *tx)
            .await?;
        for row in rows {
            let id: String = row.try_get("id")?;
            let plain: Vec<u8> = row.try_get("private_key")?;
            let sealed = tx.vault().seal(&place(&id), &plain);
            sqlx::query(
                "UPDATE signing_keys SET private_key = $1, sealed = 1 WHERE id = $2 AND sealed = 0",
            )
            .bind(sealed)
            .bind(&id)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await
    }
}

impl Tx<'_> {
    /// Stores a signing key of ours.
    pub(super) async fn insert_signing_key(
        &mut self,
        key: &SigningKey,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let sealed = self.vault().seal(&place(&key.id), &key.private_key);
        sqlx::query(
            "INSERT INTO signing_keys (id, project, algorithm, private_key, public_key, \
             created_at, origin, sealed) VALUES ($1, $2, $3, $4, $5, $6, 'platform', 1)",
        )
        .bind(&key.id)
        .bind(&key.project)
        .bind(ED_DSA)
        .bind(sealed)
        .bind(&key.public_key)
        .bind(int(now_ms))
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    async fn token_key_changed(
        &mut self,
        (project, id): (&str, &str),
        change: KeyChange,
        by: &Author,
    ) -> Result<(), StoreError> {
        let what = What::KeyChanged { key: id.to_owned(), change: change.past().to_owned() };
        self.record(project, &NewEvent { room: None, time_ms: by.now_ms, what }).await?;
        let action = match change {
            KeyChange::Created => "token_key.create",
            KeyChange::Rotated => "token_key.rotate",
            KeyChange::Revoked => "token_key.revoke",
        };
        self.note(by, project, (action, id), None).await
    }
}

fn algorithm(row: &AnyRow) -> Result<TokenAlgorithm, StoreError> {
    match row.try_get::<String, _>("algorithm")?.as_str() {
        ED_DSA => Ok(TokenAlgorithm::EdDsa),
        HS256 => Ok(TokenAlgorithm::Hs256),
        _ => Err(StoreError::Corrupt("signing_keys.algorithm")),
    }
}

fn info(row: &AnyRow) -> Result<TokenKeyInfo, StoreError> {
    let algorithm = algorithm(row)?;
    let origin: String = row.try_get("origin")?;
    let public_key: Vec<u8> = row.try_get("public_key")?;
    Ok(TokenKeyInfo {
        id: row.try_get("id")?,
        algorithm,
        origin: match origin.as_str() {
            "platform" => TokenKeyOrigin::Platform,
            _ => TokenKeyOrigin::Partner,
        },
        name: row.try_get("name")?,
        created_at_ms: unsigned(row.try_get("created_at")?, "signing_keys.created_at")?,
        not_after_ms: time(row, "not_after")?,
        public_key: (algorithm == TokenAlgorithm::EdDsa).then_some(public_key),
    })
}
