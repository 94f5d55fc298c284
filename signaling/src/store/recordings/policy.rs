//! How a project records, and whether it can now.

use sdk_spec::{limits::RECORDINGS_LIVE_MAX, rest::recordings::RecordingPolicy};
use sqlx::{AnyConnection, Row as _};

use super::{
    super::{Author, Store, StoreError, storage_targets, unsigned},
    json, parsed,
};

/// Whether a recording may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MayRecord {
    Yes,
    /// There are no recipients, or no storage target.
    NotConfigured,
    /// As many run as may.
    Full,
}

impl Store {
    /// How a project records; [`RecordingPolicy::none`] when it set nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn recording_policy(&self, project: &str) -> Result<RecordingPolicy, StoreError> {
        let mut connection = self.readers.acquire().await?;
        read(&mut connection, project).await
    }

    /// Sets how a project records, from the next recording on. `false` when there is no such storage
    /// target.
    pub(crate) async fn set_recording_policy(
        &self,
        project: &str,
        policy: &RecordingPolicy,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write_in(project).await?;
        for target in [&policy.target, &policy.rule.target].into_iter().flatten() {
            if !storage_targets::exists(&mut tx, project, target).await? {
                return Ok(false);
            }
        }
        let text = json(policy);
        sqlx::query(
            "INSERT INTO recording_policies (project, policy) VALUES ($1, $2) \
             ON CONFLICT (project) DO UPDATE SET policy = excluded.policy",
        )
        .bind(project)
        .bind(&text)
        .execute(&mut *tx)
        .await?;
        tx.note(by, project, ("recording_policy.set", project), Some(text.as_bytes())).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether a recording may start in a project, to be pushed to `target` or the policy's. What is
    /// true now may change until it starts; then it is looked at again.
    pub(crate) async fn may_record(
        &self,
        project: &str,
        target: Option<&str>,
    ) -> Result<MayRecord, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let policy = read(&mut connection, project).await?;
        let target = target.or(policy.rule.target.as_deref()).or(policy.target.as_deref());
        let is_there = match target {
            Some(target) => storage_targets::exists(&mut connection, project, target).await?,
            None => false,
        };
        if policy.recipients.is_empty() || !is_there {
            return Ok(MayRecord::NotConfigured);
        }
        let live = live_count(&mut connection, project).await?;
        let is_full = live >= u64::from(RECORDINGS_LIVE_MAX);
        Ok(if is_full { MayRecord::Full } else { MayRecord::Yes })
    }
}

/// The policy of a project.
pub(super) async fn read(
    connection: &mut AnyConnection,
    project: &str,
) -> Result<RecordingPolicy, StoreError> {
    let row = sqlx::query("SELECT policy FROM recording_policies WHERE project = $1")
        .bind(project)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(RecordingPolicy::none()) };
    parsed(&row.try_get::<String, _>("policy")?, "recording_policies.policy")
}

/// Recordings of a project that run or are paused.
pub(super) async fn live_count(
    connection: &mut AnyConnection,
    project: &str,
) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM recordings WHERE project = $1 \
         AND state IN ('recording', 'paused')",
    )
    .bind(project)
    .fetch_one(connection)
    .await?;
    unsigned(row.try_get("n")?, "recordings")
}
