//! The audit log: entries, checkpoints, proofs.

use axum::{Extension, Json as JsonBody, Router, extract::State, routing::get};
use sdk_spec::{
    limits::AUDIT_SEQ_MAX,
    problem::Code,
    rest::audit::{
        AuditCheckpoint, AuditConsistency, AuditEntryList, AuditInclusion, AuditPage, AuditRange,
    },
    scope::Scope,
};

use crate::{
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Params, PathId},
    },
    audit::keeper,
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/audit/entries", get(list))
        .route("/v1/audit/entries/{seq}/proof", get(inclusion))
        .route("/v1/audit/checkpoint", get(checkpoint))
        .route("/v1/audit/consistency", get(consistency))
}

async fn list(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(page): Params<AuditPage>,
) -> Result<JsonBody<AuditEntryList>, Failure> {
    partner.may(Scope::PrivacyRead)?;
    page.check()?;
    let (from, limit) = (page.from.unwrap_or(0), page.limit());
    // One more than asked for tells whether there is a next page.
    let mut rows = app.store.audit_entries(&partner.project, from, limit + 1).await?;
    let next = rows.get(limit as usize).map(|(entry, _)| entry.seq);
    rows.truncate(limit as usize);
    let entries = rows.iter().map(|(entry, opening)| keeper::shown(entry, opening.as_ref()));
    Ok(JsonBody(AuditEntryList { entries: entries.collect(), next }))
}

async fn checkpoint(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
) -> Result<JsonBody<AuditCheckpoint>, Failure> {
    partner.may(Scope::PrivacyRead)?;
    let newest = keeper::newest(&app.store, &partner.project).await?;
    newest.map(|(_, shown)| JsonBody(shown)).ok_or(Failure::new(Code::NotFound))
}

async fn inclusion(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(seq): PathId<u64>,
) -> Result<JsonBody<AuditInclusion>, Failure> {
    partner.may(Scope::PrivacyRead)?;
    let proof = if seq <= AUDIT_SEQ_MAX {
        keeper::prove_inclusion(&app.store, &partner.project, seq).await?
    } else {
        None
    };
    proof.map(JsonBody).ok_or(Failure::new(Code::NotFound))
}

async fn consistency(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(range): Params<AuditRange>,
) -> Result<JsonBody<AuditConsistency>, Failure> {
    partner.may(Scope::PrivacyRead)?;
    let proof = keeper::prove_consistency(&app.store, &partner.project, range.from).await?;
    proof
        .map(JsonBody)
        .ok_or_else(|| Failure::new(Code::NotFound).detail("No checkpoint covers so many entries."))
}
