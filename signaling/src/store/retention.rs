//! What is kept for a time that the operator decides.

use super::{Store, StoreError, int};
use crate::{config::Retention, limits};

const DAY_MS: u64 = 24 * 3600 * 1000;

impl Store {
    /// Deletes events, histories and usage that were kept long enough. Returns how many rows went.
    pub(crate) async fn purge_kept(
        &self,
        kept: &Retention,
        now_ms: u64,
    ) -> Result<u64, StoreError> {
        let before = |days: u32| now_ms.saturating_sub(u64::from(days) * DAY_MS);
        let mut gone = self.purge_events(before(kept.events_days)).await?;
        let mut tx = self.write().await?;
        if !tx.is_only_sweeper().await? {
            return Ok(gone);
        }
        for (sql, value) in [
            ("DELETE FROM histories WHERE left_at < $1", before(kept.history_days)),
            ("DELETE FROM usage_days WHERE day < $1", before(kept.usage_days) / DAY_MS),
            (
                "DELETE FROM usage_stays WHERE left_at IS NOT NULL AND left_at + $1 < (SELECT time \
                 FROM usage_checkpoints WHERE usage_checkpoints.project = usage_stays.project)",
                limits::ENDED_STAY_MS,
            ),
        ] {
            gone += sqlx::query(sql).bind(int(value)).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok(gone)
    }
}
