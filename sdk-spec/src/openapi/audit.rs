//! The audit log: entries, checkpoints, proofs.

#![allow(dead_code, unused_qualifications, reason = "described by utoipa's macros, never called")]

use utoipa::OpenApi;

use crate::rest::audit::{
    AuditCheckpoint, AuditConsistency, AuditEntryList, AuditInclusion, AuditPage, AuditRange,
};

#[derive(OpenApi)]
#[openapi(
    paths(list_entries, read_checkpoint, prove_inclusion, prove_consistency),
    tags((name = "audit", description = "Who changed what, provably whole.")),
)]
pub(super) struct Api;

/// List the audit log, oldest first. Scope `privacy:read`.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "audit", operation_id = "listAuditEntries",
    params(AuditPage), responses((status = 200, body = AuditEntryList)),
    extensions(("x-scope" = json!("privacy:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn list_entries() {}

/// Read the newest signed checkpoint. Scope `privacy:read`.
///
/// Changes are covered some seconds after they were made. Before the first one the answer is 404.
#[utoipa::path(get, path = "/v1/audit/checkpoint", tag = "audit",
    operation_id = "readAuditCheckpoint",
    responses((status = 200, body = AuditCheckpoint)),
    extensions(("x-scope" = json!("privacy:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn read_checkpoint() {}

/// Prove that an entry is covered by the newest checkpoint. Scope `privacy:read`.
#[utoipa::path(get, path = "/v1/audit/entries/{seq}/proof", tag = "audit",
    operation_id = "proveAuditInclusion",
    params(("seq" = u64, Path, description = "`seq` of the entry.", maximum = 281474976710656_u64)),
    responses((status = 200, body = AuditInclusion)),
    extensions(("x-scope" = json!("privacy:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn prove_inclusion() {}

/// Prove that the newest checkpoint continues an older one. Scope `privacy:read`.
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "audit",
    operation_id = "proveAuditConsistency",
    params(AuditRange), responses((status = 200, body = AuditConsistency)),
    extensions(("x-scope" = json!("privacy:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn prove_consistency() {}
