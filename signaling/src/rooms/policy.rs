//! What a room has to know of its project before it records.

use crate::{
    domain::Policy,
    limits,
    store::{MayRecord, Store, StoreError},
};

/// The project's policy for recordings, with its storage target in the rule. Pauses before it says
/// that there is none to be had now: whoever asks may ask again at once.
pub(super) async fn find(store: &Store, project: &str) -> Policy {
    match look(store, project).await {
        Ok(Policy::Unavailable) => {}
        Ok(policy) => return policy,
        Err(error) => tracing::error!(%error, "a recording waits for its policy"),
    }
    tokio::time::sleep(limits::POLICY_AGAIN).await;
    Policy::Unavailable
}

async fn look(store: &Store, project: &str) -> Result<Policy, StoreError> {
    let policy = store.recording_policy(project).await?;
    let mut rule = policy.rule;
    rule.target = rule.target.or(policy.target);
    if policy.recipients.is_empty() {
        return Ok(Policy::Missing);
    }
    match store.may_record(project, None).await? {
        MayRecord::Yes => {}
        // A place may become free.
        MayRecord::Full => return Ok(Policy::Unavailable),
        // The room may name another target.
        MayRecord::NotConfigured => rule.target = None,
    }
    Ok(Policy::Rule(Box::new(rule)))
}
