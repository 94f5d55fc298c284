//! Creating something once, within a quota, with its entry in the audit log.

use super::{
    Change, StoreError, Tx,
    idempotency::{self, IdempotentRequest, Remembered},
};
use crate::domain::Actor;

/// What became of a wish to create something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Creation {
    /// It is there now.
    Made,
    /// A retry: this was answered before.
    Before(String),
    /// The idempotency key belongs to another request.
    Other,
    /// A quota is used up.
    Full,
    /// What it should belong to is not there.
    Missing,
}

/// Who changes something, and when.
#[derive(Clone)]
pub(crate) struct Author {
    pub(crate) actor: Actor,
    pub(crate) now_ms: u64,
}

impl Author {
    pub(crate) fn new(actor: Actor, now_ms: u64) -> Self {
        Self { actor, now_ms }
    }
}

/// Where a list goes on: after this row.
#[derive(Debug, Clone)]
pub(crate) struct After {
    pub(crate) created_at_ms: u64,
    pub(crate) id: String,
}

impl After {
    /// For the first page of a list, newest first.
    pub(super) fn bounds(after: Option<Self>) -> (i64, String) {
        after.map_or((i64::MAX, String::new()), |a| (super::int(a.created_at_ms), a.id))
    }
}

impl Tx<'_> {
    /// What is known of a request that may be a retry.
    pub(super) async fn recall(
        &mut self,
        request: Option<&IdempotentRequest>,
    ) -> Result<Option<Creation>, StoreError> {
        let Some(request) = request else { return Ok(None) };
        Ok(match idempotency::recall(&mut *self, request).await? {
            Some(Remembered::Before(answer)) => Some(Creation::Before(answer)),
            Some(Remembered::Other) => Some(Creation::Other),
            Some(Remembered::New) | None => None,
        })
    }

    /// Remembers a request whose change is made.
    pub(super) async fn remember(
        &mut self,
        request: Option<&IdempotentRequest>,
    ) -> Result<(), StoreError> {
        match request {
            Some(request) => idempotency::remember(&mut *self, request).await,
            None => Ok(()),
        }
    }

    /// Enters a change into the audit log of a tree: a project or the operator's.
    pub(super) async fn note(
        &mut self,
        by: &Author,
        tree: &str,
        (action, object): (&str, &str),
        after: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let change = Change {
            tree,
            actor: &by.actor,
            action,
            object,
            before: None,
            after,
            now_ms: by.now_ms,
        };
        self.audit(&change).await
    }
}
