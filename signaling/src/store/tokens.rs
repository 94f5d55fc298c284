//! Use of room tokens: once, and only while everything that they rest on holds.

use sdk_spec::handle::Handle;
use sfu_proto::id::RoomId;
use sqlx::Row as _;

use super::{Author, Store, StoreError, int, partners::count, partners::quotas};

/// What became of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is used up now and its room is open. `participants_max`: the project's quota.
    Yes { participants_max: u32 },
    /// It was used before.
    Replayed,
    /// It was revoked.
    Revoked,
    /// The key that signed it was revoked meanwhile.
    KeyRevoked,
    /// Its room is not open, or not of this project.
    NoRoom,
    /// Its project is suspended.
    Suspended,
    /// Its bearer's handle is banned.
    Banned,
}

/// A token with a right signature, to be used up.
pub(crate) struct Use<'a> {
    pub(crate) signing_key: &'a str,
    pub(crate) jti: &'a str,
    /// Until then it is not accepted again.
    pub(crate) expires_at_ms: u64,
    pub(crate) project: &'a str,
    pub(crate) room: RoomId,
    pub(crate) handle: &'a Handle,
    pub(crate) now_ms: u64,
}

impl Store {
    /// A project's quota of participants.
    pub(crate) async fn participants_max(&self, project: &str) -> Result<Option<u32>, StoreError> {
        let row = sqlx::query(
            "SELECT rooms_max, participants_max, requests_per_second, webhooks_max, keys_max \
             FROM projects WHERE id = $1",
        )
        .bind(project)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| Ok(quotas(&row)?.participants)).transpose()
    }

    /// Uses a token up, durably, before its bearer is let in. A ban of a room holds in its breakout rooms.
    /// The quota of participants is for the rooms to keep: who came in last is not stored yet.
    pub(crate) async fn use_token(&self, token: &Use<'_>) -> Result<Admitted, StoreError> {
        let mut tx = self.write().await?;
        let state = sqlx::query(
            "SELECT p.suspended_at, p.rooms_max, p.participants_max, p.requests_per_second, \
             p.webhooks_max, p.keys_max, \
             (SELECT COUNT(*) FROM rooms r WHERE r.id = $1 AND r.project = $2 \
             AND r.closed_at IS NULL) AS open, \
             (SELECT COUNT(*) FROM signing_keys k WHERE k.id = $3 AND k.project = $2 \
             AND k.revoked_at IS NULL) AS keys, \
             (SELECT COUNT(*) FROM bans b WHERE b.project = $2 AND b.handle = $4 \
             AND (b.room IN ('', $1) OR b.room = (SELECT r.parent FROM rooms r WHERE r.id = $1 \
             AND r.project = $2)) AND (b.until IS NULL OR b.until > $5)) AS bans \
             FROM projects p WHERE p.id = $2",
        )
        .bind(token.room.to_string())
        .bind(token.project)
        .bind(token.signing_key)
        .bind(token.handle.as_str())
        .bind(int(token.now_ms))
        .fetch_one(&mut *tx)
        .await?;
        if count(&state, "keys")? == 0 {
            return Ok(Admitted::KeyRevoked);
        }
        if count(&state, "open")? == 0 {
            return Ok(Admitted::NoRoom);
        }
        if state.try_get::<Option<i64>, _>("suspended_at")?.is_some() {
            return Ok(Admitted::Suspended);
        }
        if count(&state, "bans")? > 0 {
            return Ok(Admitted::Banned);
        }
        let used = sqlx::query(
            "INSERT INTO used_tokens (signing_key, jti, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT (signing_key, jti) DO NOTHING",
        )
        .bind(token.signing_key)
        .bind(token.jti)
        .bind(int(token.expires_at_ms))
        .execute(&mut *tx)
        .await?;
        if used.rows_affected() == 1 {
            let participants_max = quotas(&state)?.participants;
            tx.commit().await?;
            return Ok(Admitted::Yes { participants_max });
        }
        let before = sqlx::query(
            "SELECT COUNT(*) AS n FROM used_tokens WHERE signing_key = $1 AND jti = $2 \
             AND revoked = 1",
        )
        .bind(token.signing_key)
        .bind(token.jti)
        .fetch_one(&mut *tx)
        .await?;
        Ok(if count(&before, "n")? == 1 { Admitted::Revoked } else { Admitted::Replayed })
    }

    /// Revokes a token that may not have been used: it counts as used until `until_ms`. Without a
    /// key it is revoked for every key of the project. `false` when the project has no such key.
    pub(crate) async fn revoke_token(
        &self,
        project: &str,
        (key, jti): (Option<&str>, &str),
        until_ms: u64,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO used_tokens (signing_key, jti, expires_at, revoked) \
             SELECT id, $1, $2, 1 FROM signing_keys \
             WHERE project = $3 AND revoked_at IS NULL AND ($4 = '' OR id = $4) \
             ON CONFLICT (signing_key, jti) DO UPDATE SET revoked = 1, expires_at = \
             CASE WHEN used_tokens.expires_at > excluded.expires_at \
             THEN used_tokens.expires_at ELSE excluded.expires_at END",
        )
        .bind(jti)
        .bind(int(until_ms))
        .bind(project)
        .bind(key.unwrap_or_default())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        tx.note(by, project, ("token.revoke", jti), None).await?;
        tx.commit().await?;
        Ok(true)
    }
}
