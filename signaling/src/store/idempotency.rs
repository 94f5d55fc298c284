//! Answers to requests with an `Idempotency-Key`.

use sqlx::{AnyConnection, Row as _};

use super::{Store, StoreError, int};

/// A request that may be a retry, and the answer that it gets if it is not.
#[derive(Clone)]
pub(crate) struct IdempotentRequest {
    /// Hash of project, route and key.
    pub(crate) id: [u8; 32],
    /// Of the body.
    pub(crate) fingerprint: [u8; 32],
    /// Without personal data and without secrets.
    pub(crate) answer: String,
    pub(crate) now_ms: u64,
    pub(crate) expires_at_ms: u64,
}

/// What is known of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// Nothing: it is remembered from now on.
    New,
    /// Answered before, with this.
    Before(String),
    /// The key belongs to another body.
    Other,
}

impl Store {
    /// Remembers a request, or recalls its answer.
    pub(crate) async fn remember(
        &self,
        request: &IdempotentRequest,
    ) -> Result<Remembered, StoreError> {
        let mut tx = self.write().await?;
        if let Some(remembered) = recall(&mut tx, request).await? {
            return Ok(remembered);
        }
        if insert(&mut tx, request).await? {
            tx.commit().await?;
            return Ok(Remembered::New);
        }
        // Its twin came at the same time and has been committed meanwhile.
        Ok(recall(&mut tx, request).await?.unwrap_or(Remembered::Other))
    }

    /// What is known of a request that is remembered with what it does.
    pub(crate) async fn recall(
        &self,
        request: &IdempotentRequest,
    ) -> Result<Option<Remembered>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        recall(&mut connection, request).await
    }

    /// Completes the answer of a remembered request.
    pub(crate) async fn remember_answer(
        &self,
        request: &IdempotentRequest,
        answer: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE idempotency SET answer = $1 WHERE id = $2 AND fingerprint = $3")
            .bind(answer)
            .bind(request.id.to_vec())
            .bind(request.fingerprint.to_vec())
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }
}

pub(super) async fn recall(
    tx: &mut AnyConnection,
    request: &IdempotentRequest,
) -> Result<Option<Remembered>, StoreError> {
    let row = sqlx::query(
        "SELECT fingerprint, answer FROM idempotency WHERE id = $1 AND expires_at >= $2",
    )
    .bind(request.id.to_vec())
    .bind(int(request.now_ms))
    .fetch_optional(&mut *tx)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let fingerprint: Vec<u8> = row.try_get("fingerprint")?;
    Ok(Some(if fingerprint == request.fingerprint {
        Remembered::Before(row.try_get("answer")?)
    } else {
        Remembered::Other
    }))
}

/// Remembers a request with what it does. Between [`recall`] and this the project is held
/// (`Tx::hold`), else its twin could come between.
pub(super) async fn remember(
    tx: &mut AnyConnection,
    request: &IdempotentRequest,
) -> Result<(), StoreError> {
    match insert(tx, request).await? {
        true => Ok(()),
        false => Err(StoreError::Twin),
    }
}

/// `false` when it is there already.
async fn insert(tx: &mut AnyConnection, request: &IdempotentRequest) -> Result<bool, StoreError> {
    // An expired row of the same id may not be purged yet.
    sqlx::query("DELETE FROM idempotency WHERE id = $1 AND expires_at < $2")
        .bind(request.id.to_vec())
        .bind(int(request.now_ms))
        .execute(&mut *tx)
        .await?;
    let done = sqlx::query(
        "INSERT INTO idempotency (id, fingerprint, answer, expires_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(request.id.to_vec())
    .bind(request.fingerprint.to_vec())
    .bind(&request.answer)
    .bind(int(request.expires_at_ms))
    .execute(&mut *tx)
    .await?;
    Ok(done.rows_affected() == 1)
}
