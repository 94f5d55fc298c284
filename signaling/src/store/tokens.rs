//! Use of room tokens: once.

use sfu_proto::id::RoomId;
use sqlx::Row as _;

use super::{Store, StoreError, int, unsigned};

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is used up now and its room is open.
    Yes,
    /// It was used before.
    Replayed,
    /// Its room is not open, or not of this project.
    NoRoom,
}

impl Store {
    /// Uses a token up, durably, before its bearer is let in. Until `expires_at_ms` it is not
    /// accepted again.
    pub(crate) async fn use_token(
        &self,
        signing_key: &str,
        jti: &str,
        expires_at_ms: u64,
        (project, room): (&str, RoomId),
    ) -> Result<Admitted, StoreError> {
        let mut tx = self.write().await?;
        let open = sqlx::query(
            "SELECT COUNT(*) AS n FROM rooms WHERE id = $1 AND project = $2 AND closed_at IS NULL",
        )
        .bind(room.to_string())
        .bind(project)
        .fetch_one(&mut *tx)
        .await?;
        if unsigned(open.try_get("n")?, "rooms")? == 0 {
            return Ok(Admitted::NoRoom);
        }
        let used = sqlx::query(
            "INSERT INTO used_tokens (signing_key, jti, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT (signing_key, jti) DO NOTHING",
        )
        .bind(signing_key)
        .bind(jti)
        .bind(int(expires_at_ms))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(if used.rows_affected() == 1 { Admitted::Yes } else { Admitted::Replayed })
    }
}
