//! The asking key's project: what it may have, and what it has.

use axum::{Extension, Json as JsonBody, Router, extract::State, routing::get};
use sdk_spec::{
    problem::Code,
    rest::{
        Timestamp,
        keys::{ProjectInfo, ProjectState},
    },
    scope::Scope,
};

use crate::api::{Failure, Shared, auth::Partner};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/v1/project", get(read))
}

/// `GET /v1/project`.
async fn read(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
) -> Result<JsonBody<ProjectInfo>, Failure> {
    partner.may(Scope::UsageRead)?;
    let project = app.store.project(&partner.project).await?;
    let project = project.ok_or_else(|| Failure::new(Code::NotFound))?;
    let used = app.store.used(&project.id, partner.by().now_ms).await?;
    Ok(JsonBody(ProjectInfo {
        id: project.id,
        state: if project.suspended { ProjectState::Suspended } else { ProjectState::Active },
        created_at: Timestamp(project.created_at_ms),
        quotas: project.quotas,
        used,
    }))
}
