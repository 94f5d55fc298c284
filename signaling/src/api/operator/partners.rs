//! Partners.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sdk_spec::{
    problem::Code,
    rest::{
        Page, Timestamp,
        operator::{CreatePartner, Partner, PartnerList, UpdatePartner},
    },
    scope::OperatorScope,
};

use crate::{
    api::{
        Failure, Shared,
        auth::Operator,
        problem::{Json, OpaqueName, Params, PathId},
        rest::{idempotency::request, keys::remembered_until, paging},
    },
    secret,
    store::{self, Creation, OPERATOR_TREE},
};

/// Its routes, behind the operator's key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/operator/v1/partners", post(create).get(list))
        .route("/operator/v1/partners/{partner}", get(read).patch(update).delete(delete))
}

/// `POST /operator/v1/partners`.
async fn create(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    headers: HeaderMap,
    body: Json<CreatePartner>,
) -> Result<Response, Failure> {
    operator.may(OperatorScope::Write)?;
    body.value.check()?;
    let by = operator.by();
    let partner = store::Partner {
        id: secret::opaque_id("pt_"),
        label: body.value.label,
        created_at_ms: by.now_ms,
    };
    let place = (OPERATOR_TREE, "partners");
    let retry = request(&headers, place, &body.bytes, partner.id.clone(), remembered_until(&by))?;
    let id = match app.store.insert_partner(&partner, &by, retry.as_ref()).await? {
        Creation::Made => partner.id,
        Creation::Before(id) => id,
        other => return Err(other.into()),
    };
    let location = [(header::LOCATION, format!("/operator/v1/partners/{id}"))];
    Ok((StatusCode::CREATED, location, JsonBody(find(&app, &id).await?)).into_response())
}

/// `GET /operator/v1/partners`.
async fn list(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    Params(page): Params<Page>,
) -> Result<JsonBody<PartnerList>, Failure> {
    operator.may(OperatorScope::Read)?;
    let after = paging::after(&page)?;
    let mut rows = app.store.partners(after, paging::rows(&page)).await?;
    let next_cursor = paging::cut(&mut rows, &page, |row| (row.created_at_ms, &row.id));
    let partners = rows.into_iter().map(partner).collect();
    Ok(JsonBody(PartnerList { partners, next_cursor }))
}

/// `GET /operator/v1/partners/{partner}`.
async fn read(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
) -> Result<JsonBody<Partner>, Failure> {
    operator.may(OperatorScope::Read)?;
    Ok(JsonBody(find(&app, &id.0).await?))
}

/// `PATCH /operator/v1/partners/{partner}`.
async fn update(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
    body: Json<UpdatePartner>,
) -> Result<JsonBody<Partner>, Failure> {
    operator.may(OperatorScope::Write)?;
    body.value.check()?;
    if !app.store.rename_partner(&id.0, &body.value.label, &operator.by()).await? {
        return Err(Failure::new(Code::NotFound));
    }
    Ok(JsonBody(find(&app, &id.0).await?))
}

/// `DELETE /operator/v1/partners/{partner}`.
async fn delete(
    State(app): State<Shared>,
    Extension(operator): Extension<Operator>,
    PathId(id): PathId<OpaqueName>,
) -> Result<StatusCode, Failure> {
    operator.may(OperatorScope::Write)?;
    match app.store.delete_partner(&id.0, &operator.by()).await? {
        Some(true) => Ok(StatusCode::NO_CONTENT),
        Some(false) => Err(Failure::new(Code::NotEmpty).detail("The partner has projects.")),
        None => Err(Failure::new(Code::NotFound)),
    }
}

async fn find(app: &Shared, id: &str) -> Result<Partner, Failure> {
    let found = app.store.partner(id).await?;
    found.map(partner).ok_or_else(|| Failure::new(Code::NotFound))
}

fn partner(row: store::Partner) -> Partner {
    Partner { id: row.id, label: row.label, created_at: Timestamp(row.created_at_ms) }
}
