//! Projects and their API keys.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sdk_spec::{
    problem::{Code, FieldError},
    rest::{
        Page, Timestamp, is_opaque_name,
        keys::{CreateKey, KeyList, ProjectState},
        operator::{CreateProject, Project, ProjectList, ProjectPage, Quotas, UpdateProject},
    },
    scope::OperatorScope,
};

use crate::{
    admin::bare,
    api::{
        Failure, Shared,
        auth::Operator,
        problem::{Json, OpaqueName, Params, PathId},
        rest::{
            idempotency::request,
            keys::{self, remembered_until},
            paging,
        },
    },
    secret,
    store::{self, Creation, OPERATOR_TREE},
    token::key,
};

/// Its routes, behind the operator's key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/operator/v1/projects", post(create).get(list))
        .route("/operator/v1/projects/{project}", get(read).patch(update))
        .route("/operator/v1/projects/{project}/keys", post(create_key).get(list_keys))
        .route("/operator/v1/keys/{key}", axum::routing::delete(revoke_key))
}

/// `POST /operator/v1/projects`.
async fn create(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
    body: Json<CreateProject>,
) -> Result<Response, Failure> {
    operator.may(OperatorScope::Write)?;
    body.value.check()?;
    let (by, wish) = (operator.by(), body.value);
    let no_partner =
        || Failure::from(vec![FieldError::new("partner", "names no partner: create one first")]);
    if !is_opaque_name(&wish.partner) {
        return Err(no_partner());
    }
    let project = store::Project {
        id: secret::opaque_id("pj_"),
        partner: wish.partner,
        label: wish.label,
        created_at_ms: by.now_ms,
        suspended: false,
        quotas: Quotas::default(),
    };
    let place = (OPERATOR_TREE, "projects");
    let retry = request(&headers, place, &body.bytes, project.id.clone(), remembered_until(&by))?;
    let key = key::generate(&project.id).ok_or_else(|| Failure::new(Code::Internal))?;
    let made = app.store.insert_project(&project, &wish.quotas, &key, &by, retry.as_ref());
    let id = match made.await? {
        Creation::Made => project.id,
        Creation::Before(id) => id,
        Creation::Missing => return Err(no_partner()),
        other => return Err(other.into()),
    };
    let location = [(header::LOCATION, format!("/operator/v1/projects/{id}"))];
    Ok((StatusCode::CREATED, location, JsonBody(find(&app, &id).await?)).into_response())
}

/// `GET /operator/v1/projects`.
async fn list(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    Params(query): Params<ProjectPage>,
) -> Result<JsonBody<ProjectList>, Failure> {
    operator.may(OperatorScope::Read)?;
    let page = query.page();
    let after = paging::after(&page)?;
    let of = query.partner.as_deref();
    if of.is_some_and(|partner| !is_opaque_name(partner)) {
        return Ok(JsonBody(ProjectList { projects: Vec::new(), next_cursor: None }));
    }
    let mut rows = app.store.projects(of, after, paging::rows(&page)).await?;
    let next_cursor = paging::cut(&mut rows, &page, |row| (row.created_at_ms, &row.id));
    let projects = rows.into_iter().map(project).collect();
    Ok(JsonBody(ProjectList { projects, next_cursor }))
}

/// `GET /operator/v1/projects/{project}`.
async fn read(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
) -> Result<JsonBody<Project>, Failure> {
    operator.may(OperatorScope::Read)?;
    Ok(JsonBody(find(&app, &id.0).await?))
}

/// `PATCH /operator/v1/projects/{project}`.
async fn update(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
    body: Json<UpdateProject>,
) -> Result<JsonBody<Project>, Failure> {
    operator.may(OperatorScope::Write)?;
    body.value.check()?;
    let row = app.store.update_project(&id.0, &body.value, &operator.by()).await?;
    row.map(|row| JsonBody(project(row))).ok_or_else(|| Failure::new(Code::NotFound))
}

/// `POST /operator/v1/projects/{project}/keys`.
async fn create_key(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
    headers: HeaderMap,
    body: Json<CreateKey>,
) -> Result<Response, Failure> {
    operator.may(OperatorScope::Write)?;
    let by = operator.by();
    body.value.check(by.now_ms)?;
    let route = format!("projects/{}/keys", id.0);
    keys::create(&app, &id.0, &by, body, |bytes, answer| {
        request(&headers, (OPERATOR_TREE, &route), bytes, answer, remembered_until(&by))
    })
    .await
}

/// `GET /operator/v1/projects/{project}/keys`.
async fn list_keys(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
    Params(page): Params<Page>,
) -> Result<JsonBody<KeyList>, Failure> {
    operator.may(OperatorScope::Read)?;
    find(&app, &id.0).await?;
    keys::list(&app, &id.0, &page).await
}

/// `DELETE /operator/v1/keys/{key}`.
async fn revoke_key(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
) -> Result<StatusCode, Failure> {
    operator.may(OperatorScope::Write)?;
    let id = bare(&id.0, "ck_");
    if app.store.revoke_api_key(None, id, &operator.by()).await? {
        app.known_keys.note(id, None);
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::new(Code::NotFound))
    }
}

async fn find(app: &Shared, id: &str) -> Result<Project, Failure> {
    let found = app.store.project(id).await?;
    found.map(project).ok_or_else(|| Failure::new(Code::NotFound))
}

fn project(row: store::Project) -> Project {
    Project {
        id: row.id,
        partner: row.partner,
        label: row.label,
        state: if row.suspended { ProjectState::Suspended } else { ProjectState::Active },
        created_at: Timestamp(row.created_at_ms),
        quotas: row.quotas,
    }
}
