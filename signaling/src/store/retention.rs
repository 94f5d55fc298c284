//! What is kept for a time that the operator decides.

use sqlx::AssertSqlSafe;

use super::{Dialect, Store, StoreError, int};
use crate::{config::Retention, limits};

const DAY_MS: u64 = 24 * 3600 * 1000;

impl Store {
    /// Deletes events, histories, usage and rows of purged recordings that were kept long enough. Returns how many rows went.
    pub(crate) async fn purge_kept(
        &self,
        kept: &Retention,
        now_ms: u64,
    ) -> Result<u64, StoreError> {
        let before = |days: u32| now_ms.saturating_sub(u64::from(days) * DAY_MS);
        let mut gone = self.purge_events(before(kept.events_days)).await?;
        for (table, condition, value) in [
            ("histories", "left_at < $1", before(kept.history_days)),
            ("recordings", "purged_at < $1", before(kept.history_days)),
            ("usage_days", "day < $1", before(kept.usage_days) / DAY_MS),
            (
                "usage_stays",
                "left_at IS NOT NULL AND left_at + $1 < (SELECT time \
                 FROM usage_checkpoints WHERE usage_checkpoints.project = usage_stays.project)",
                limits::ENDED_STAY_MS,
            ),
        ] {
            gone += self.sweep(table, condition, value).await?;
        }
        self.forget_log().await?;
        Ok(gone)
    }

    /// Deletes the rows of `table` for which `condition` holds with `value` for `$1`. Each
    /// transaction is short: a backlog must not end in a time-out that comes again for ever, nor
    /// hold up who writes. What is left goes the next time.
    pub(super) async fn sweep(
        &self,
        table: &'static str,
        condition: &'static str,
        value: u64,
    ) -> Result<u64, StoreError> {
        let place = match self.dialect {
            Dialect::Sqlite => "rowid",
            Dialect::Postgres => "ctid",
        };
        let sql = format!(
            "DELETE FROM {table} WHERE {place} IN \
             (SELECT {place} FROM {table} WHERE {condition} LIMIT $2)"
        );
        let mut gone = 0;
        for _ in 0..limits::PURGE_BATCHES_MAX {
            let mut tx = self.write().await?;
            if !tx.is_only_sweeper().await? {
                break;
            }
            let query = sqlx::query(AssertSqlSafe(sql.as_str())).bind(int(value));
            let done = query.bind(int(limits::PURGE_BATCH)).execute(&mut *tx).await?;
            tx.commit().await?;
            gone += done.rows_affected();
            if done.rows_affected() < limits::PURGE_BATCH {
                break;
            }
        }
        Ok(gone)
    }
}
