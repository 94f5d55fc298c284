//! The operator's API, on a listener of its own.

use utoipa::OpenApi;

use crate::rest::{
    Page,
    keys::{CreateKey, CreatedKey, KeyList},
    operator::{
        CreatePartner, CreateProject, Partner, PartnerList, Project, ProjectList, ProjectPage,
        UpdateProject,
    },
};

#[derive(OpenApi)]
#[openapi(
    paths(
        create_partner, list_partners, read_partner, update_partner, delete_partner,
        create_project, list_projects, read_project, update_project,
        create_project_key, list_project_keys, revoke_any_key,
    ),
    tags(
        (name = "operator", description = "For who runs the server, with an operator's key, on a \
            listener of its own (`operator.listen`)."),
    ),
)]
pub(super) struct Api;

/// Create a partner. Scope `operator:write`.
#[utoipa::path(post, path = "/operator/v1/partners", tag = "operator",
    operation_id = "createPartner", extensions(("x-scope" = json!("operator:write"))),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h gets the first answer.")),
    request_body = CreatePartner,
    responses((status = 201, body = Partner, headers(("Location" = String)))),
    security(("operator" = [])))]
fn create_partner() {}

/// List partners, newest first. Scope `operator:read`.
#[utoipa::path(get, path = "/operator/v1/partners", tag = "operator",
    operation_id = "listPartners", extensions(("x-scope" = json!("operator:read"))),
    params(Page),
    responses((status = 200, body = PartnerList)),
    security(("operator" = [])))]
fn list_partners() {}

/// Read a partner. Scope `operator:read`.
#[utoipa::path(get, path = "/operator/v1/partners/{partner}", tag = "operator",
    operation_id = "readPartner", extensions(("x-scope" = json!("operator:read"))),
    params(("partner" = String, Path, description = "`pt_…`")),
    responses((status = 200, body = Partner)),
    security(("operator" = [])))]
fn read_partner() {}

/// Give a partner another label. Scope `operator:write`.
#[utoipa::path(patch, path = "/operator/v1/partners/{partner}", tag = "operator",
    operation_id = "updatePartner", extensions(("x-scope" = json!("operator:write"))),
    params(("partner" = String, Path, description = "`pt_…`")),
    request_body = CreatePartner,
    responses((status = 200, body = Partner)),
    security(("operator" = [])))]
fn update_partner() {}

/// Delete a partner that has no projects. Scope `operator:write`.
#[utoipa::path(delete, path = "/operator/v1/partners/{partner}", tag = "operator",
    operation_id = "deletePartner", extensions(("x-scope" = json!("operator:write"))),
    params(("partner" = String, Path, description = "`pt_…`")),
    responses((status = 204, description = "Deleted")),
    security(("operator" = [])))]
fn delete_partner() {}

/// Create a project of a partner. Scope `operator:write`.
#[utoipa::path(post, path = "/operator/v1/projects", tag = "operator",
    operation_id = "createProject", extensions(("x-scope" = json!("operator:write"))),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h gets the first answer.")),
    request_body = CreateProject,
    responses((status = 201, body = Project, headers(("Location" = String)))),
    security(("operator" = [])))]
fn create_project() {}

/// List projects, newest first. Scope `operator:read`.
#[utoipa::path(get, path = "/operator/v1/projects", tag = "operator",
    operation_id = "listProjects", extensions(("x-scope" = json!("operator:read"))),
    params(ProjectPage),
    responses((status = 200, body = ProjectList)),
    security(("operator" = [])))]
fn list_projects() {}

/// Read a project. Scope `operator:read`.
#[utoipa::path(get, path = "/operator/v1/projects/{project}", tag = "operator",
    operation_id = "readProjectAsOperator", extensions(("x-scope" = json!("operator:read"))),
    params(("project" = String, Path, description = "`pj_…`")),
    responses((status = 200, body = Project)),
    security(("operator" = [])))]
fn read_project() {}

/// Change a project: label, quotas, suspension. Scope `operator:write`.
#[utoipa::path(patch, path = "/operator/v1/projects/{project}", tag = "operator",
    operation_id = "updateProject", extensions(("x-scope" = json!("operator:write"))),
    params(("project" = String, Path, description = "`pj_…`")),
    request_body = UpdateProject,
    responses((status = 200, body = Project)),
    security(("operator" = [])))]
fn update_project() {}

/// Create an API key of a project, such as its first. Scope `operator:write`.
///
/// The secret is in this answer only.
#[utoipa::path(post, path = "/operator/v1/projects/{project}/keys", tag = "operator",
    operation_id = "createProjectKey", extensions(("x-scope" = json!("operator:write"))),
    params(("project" = String, Path, description = "`pj_…`"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h is answered as the first was, or, where that told a secret, with 409 `secret_not_repeated`.")),
    request_body = CreateKey,
    responses((status = 201, body = CreatedKey, headers(("Location" = String)))),
    security(("operator" = [])))]
fn create_project_key() {}

/// List API keys of a project that are not revoked, newest first. Scope `operator:read`.
#[utoipa::path(get, path = "/operator/v1/projects/{project}/keys", tag = "operator",
    operation_id = "listProjectKeys", extensions(("x-scope" = json!("operator:read"))),
    params(("project" = String, Path, description = "`pj_…`"),
        Page),
    responses((status = 200, body = KeyList)),
    security(("operator" = [])))]
fn list_project_keys() {}

/// Revoke an API key of any project. Scope `operator:write`.
#[utoipa::path(delete, path = "/operator/v1/keys/{key}", tag = "operator",
    operation_id = "revokeAnyKey", extensions(("x-scope" = json!("operator:write"))),
    params(("key" = String, Path, description = "`ck_…`")),
    responses((status = 204, description = "Revoked")),
    security(("operator" = [])))]
fn revoke_any_key() {}
