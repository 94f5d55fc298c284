//! The audit log: entries, checkpoints, proofs.
//!
//! Hashes are SHA-256 in lower-case hexadecimal; the tree is that of RFC 9162 section 2.1.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Timestamp, collect, range};
use crate::{limits, problem::FieldError};

/// Which entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditPage {
    /// First entry, by its `seq`.
    #[serde(default)]
    #[param(minimum = 0, maximum = 281474976710656_u64, default = 0)]
    pub from: Option<u64>,
    /// Entries at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
}

impl AuditPage {
    /// Entries at most, with the default.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_SIZE_DEFAULT)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is out of its range.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let far = self.from.is_some_and(|from| from > limits::AUDIT_SEQ_MAX);
        collect([
            range("limit", self.limit(), 1, limits::PAGE_SIZE_MAX),
            far.then(|| FieldError::new("from", "is above what a log can have")),
        ])
    }
}

/// One accepted change.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "seq": 7,
    "time": "2026-11-21T20:00:00.000Z",
    "actor": "key:01hzx3m8q7v5k2c9d4e6f8g0hj",
    "action": "room.update",
    "object": "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "salt": "00…", "after": "5f…",
    "commitment": "9a…", "leaf": "c1…"
}))]
pub struct AuditEntry {
    /// Index of the leaf in the tree, from 0.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// `key:<id>`, `operator:<id>`, `client:<participant id>` or `system`: never a person.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// What it was done to; gone after a redaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Salt of the commitment; gone after a redaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Digest of the object before it: HMAC-SHA-256 of its JSON under the salt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Digest of the object after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Commitment to salt, object and digests.
    pub commitment: String,
    /// Hash of the leaf.
    pub leaf: String,
}

/// A page of the log, oldest first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntryList {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// `from` of the next page; null on the last.
    pub next: Option<u64>,
}

/// Signed state of the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "size": 42, "root": "5f…", "time": "2026-11-21T20:00:00.000Z",
    "note": "conclave/pj_…\n42\nX1…=\ntime 1795000000000\n\n\u{2014} conclave/pj_… c7…=\n",
    "key": "conclave/pj_…+c74f20a3+ARpc2Q…"
}))]
pub struct AuditCheckpoint {
    /// Entries that it covers.
    pub size: u64,
    /// Root of the tree.
    pub root: String,
    /// When it was signed.
    pub time: Timestamp,
    /// Signed note (C2SP `tlog-checkpoint`). Keep some: they prove that nothing before them changed.
    pub note: String,
    /// Verifier key (C2SP `signed-note`). Keep the first that you got.
    pub key: String,
}

/// Proof that an entry is in the log (RFC 9162 section 2.1.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "seq": 1, "leaf": "c1…", "path": ["9a…"],
    "checkpoint": { "size": 2, "root": "5f…", "time": "2026-11-21T20:00:00.000Z", "note": "…", "key": "…" }
}))]
pub struct AuditInclusion {
    /// Index of the leaf.
    pub seq: u64,
    /// Hash of the leaf.
    pub leaf: String,
    /// Hashes from the leaf to the root.
    pub path: Vec<String>,
    /// What it is proven against.
    pub checkpoint: AuditCheckpoint,
}

/// Which two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditRange {
    /// Size of a checkpoint that you kept.
    #[param(minimum = 1, maximum = 281474976710656_u64)]
    pub from: u64,
}

/// Proof that an older state is the beginning of the newest (RFC 9162 section 2.1.4).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "from": 1, "path": ["9a…"],
    "checkpoint": { "size": 2, "root": "5f…", "time": "2026-11-21T20:00:00.000Z", "note": "…", "key": "…" }
}))]
pub struct AuditConsistency {
    /// Size of the older state.
    pub from: u64,
    /// The proof.
    pub path: Vec<String>,
    /// The newest state.
    pub checkpoint: AuditCheckpoint,
}
