//! Events that are sent to a webhook endpoint once more.

use sdk_spec::rest::webhooks::Wanted;
use sqlx::{AnyConnection, Row as _};

use super::{
    Store, StoreError,
    deliveries::filter,
    int, unsigned,
    webhooks::{By, WebhookRow, audit, lock},
};

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) count: u64,
    /// Where to go on, when there is more.
    pub(crate) next_after: Option<u64>,
}

impl Store {
    /// Makes deliveries pending once more. `None` when there is no such endpoint or event.
    pub(crate) async fn replay(
        &self,
        webhook: &str,
        wanted: Wanted,
        by: By<'_>,
    ) -> Result<Option<Queued>, StoreError> {
        let mut tx = self.write().await?;
        let Some(row) = lock(&mut tx, by.project, webhook).await? else { return Ok(None) };
        let queued = match wanted {
            Wanted::Failed => replay_dead(&mut tx, &row, by.now_ms).await?,
            Wanted::Range(after, until) => {
                replay_range(&mut tx, &row, (after, until), by.now_ms).await?
            }
            Wanted::One(event) => match seq_of(&mut tx, by.project, &event).await? {
                None => return Ok(None),
                // What was not taken up yet comes by itself, in its order.
                Some(seq) if seq > row.after => Queued { count: 0, next_after: None },
                Some(seq) => {
                    let mut any = row.clone();
                    (any.types, any.room) = (Vec::new(), None);
                    let range = (seq.saturating_sub(1), seq);
                    replay_range(&mut tx, &any, range, by.now_ms).await?
                }
            },
        };
        sqlx::query("UPDATE webhooks SET next_at = $1 WHERE id = $2 AND project = $3")
            .bind(int(by.now_ms))
            .bind(webhook)
            .bind(by.project)
            .execute(&mut *tx)
            .await?;
        audit(&mut tx, "webhook.replay", webhook, (None, None), by).await?;
        tx.commit().await?;
        Ok(Some(queued))
    }
}

async fn seq_of(
    tx: &mut AnyConnection,
    project: &str,
    event: &str,
) -> Result<Option<u64>, StoreError> {
    let row = sqlx::query("SELECT seq FROM events WHERE id = $1 AND project = $2")
        .bind(event)
        .bind(project)
        .fetch_optional(&mut *tx)
        .await?;
    row.map(|row| unsigned(row.try_get("seq")?, "events.seq")).transpose()
}

async fn replay_dead(
    tx: &mut AnyConnection,
    row: &WebhookRow,
    now_ms: u64,
) -> Result<Queued, StoreError> {
    let done = sqlx::query(
        "UPDATE deliveries SET state = 'pending', attempts = 0, created_at = $1, next_at = $1 \
         WHERE webhook = $2 AND project = $3 AND state = 'dead'",
    )
    .bind(int(now_ms))
    .bind(&row.id)
    .bind(&row.project)
    .execute(&mut *tx)
    .await?;
    Ok(Queued { count: done.rows_affected(), next_after: None })
}

/// Only what was taken up before: the rest comes by itself, in its order.
async fn replay_range(
    tx: &mut AnyConnection,
    row: &WebhookRow,
    (after, until): (u64, u64),
    now_ms: u64,
) -> Result<Queued, StoreError> {
    let limit = i64::from(sdk_spec::limits::WEBHOOK_REPLAY_MAX);
    let (types, room) = (row.types.join(" "), row.room.as_deref().unwrap_or_default());
    let found = sqlx::query(concat!(
        "SELECT seq FROM events WHERE project = $1 AND seq > $2 AND seq <= $3 AND",
        filter!("$4", "$5"),
        "ORDER BY seq LIMIT $6"
    ))
    .bind(&row.project)
    .bind(int(after))
    .bind(int(until.min(row.after)))
    .bind(&types)
    .bind(room)
    .bind(limit)
    .fetch_all(&mut *tx)
    .await?;
    let Some(last) = found.last() else { return Ok(Queued { count: 0, next_after: None }) };
    let last: i64 = last.try_get("seq")?;
    let done = sqlx::query(concat!(
        "INSERT INTO deliveries (webhook, seq, project, event, lane, state, attempts, created_at, \
         next_at) SELECT $1, seq, project, id, COALESCE(room, ''), 'pending', 0, $2, $2 \
         FROM events WHERE project = $3 AND seq > $4 AND seq <= $5 AND",
        filter!("$6", "$7"),
        "ON CONFLICT (webhook, seq) DO UPDATE SET state = 'pending', attempts = 0, \
         created_at = excluded.created_at, next_at = excluded.next_at \
         WHERE deliveries.state <> 'pending'"
    ))
    .bind(&row.id)
    .bind(int(now_ms))
    .bind(&row.project)
    .bind(int(after))
    .bind(last)
    .bind(&types)
    .bind(room)
    .execute(&mut *tx)
    .await?;
    let is_more = i64::try_from(found.len()).is_ok_and(|count| count == limit);
    let next_after = if is_more { Some(unsigned(last, "events.seq")?) } else { None };
    Ok(Queued { count: done.rows_affected(), next_after })
}
