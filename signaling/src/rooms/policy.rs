//! What a room has to know of its project before it records.

use sdk_spec::action::ActionRefusal;

use crate::{
    domain::Policy,
    limits,
    recorder::RecorderPort,
    store::{MayRecord, Store, StoreError},
};

/// The project's policy for recordings, with its storage target in the rule. Pauses before it says
/// that nothing can be started now: whoever asks may ask again at once.
pub(super) async fn find(store: &Store, recorder: &dyn RecorderPort, project: &str) -> Policy {
    match look(store, recorder, project).await {
        Ok(policy @ (Policy::Rule(_) | Policy::Missing)) => policy,
        Ok(policy) => {
            tokio::time::sleep(limits::POLICY_AGAIN).await;
            policy
        }
        Err(error) => {
            tracing::error!(%error, "a recording waits for its policy");
            tokio::time::sleep(limits::POLICY_AGAIN).await;
            Policy::Unavailable
        }
    }
}

async fn look(
    store: &Store,
    recorder: &dyn RecorderPort,
    project: &str,
) -> Result<Policy, StoreError> {
    let policy = store.recording_policy(project).await?;
    let mut rule = policy.rule;
    rule.target = rule.target.or(policy.target);
    if policy.recipients.is_empty() {
        return Ok(Policy::Missing);
    }
    let full = match store.may_record(project, None).await? {
        MayRecord::Full => Some(ActionRefusal::QuotaExceeded),
        // The room may name another target.
        MayRecord::NotConfigured => {
            rule.target = None;
            None
        }
        MayRecord::Yes => None,
    };
    let full = full.or((!recorder.has_room()).then_some(ActionRefusal::RecorderFull));
    let rule = Box::new(rule);
    Ok(match full {
        Some(why) => Policy::Full(rule, why),
        None => Policy::Rule(rule),
    })
}
