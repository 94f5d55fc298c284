//! Storage targets. Credentials go in and never come out.

use std::time::Duration;

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sdk_spec::{
    limits::STORAGE_TARGETS_MAX,
    problem::{Code, FieldError},
    rest::recordings::{CreateStorageTarget, StorageTarget, StorageTargetList, StorageTested},
    scope::Scope,
};

use super::{recordings::recorder, whole};
use crate::{
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Json, OpaqueName, PathId},
    },
    limits, secret,
    store::{Replaced, StoredTarget},
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/storage-targets", post(create).get(list))
        .route("/v1/storage-targets/{target}", get(read).put(replace).delete(delete))
        .route("/v1/storage-targets/{target}/test", post(test))
}

/// Id of a target; whatever else stands in the path is the id of none.
type Id = PathId<OpaqueName>;

/// `POST /v1/storage-targets`.
async fn create(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    body: Json<CreateStorageTarget>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    let wish = body.value;
    check(&app, &wish)?;
    whole(async move {
        let id = secret::opaque_id("st_");
        let (project, by) = (&partner.project, partner.by());
        let Some(row) = app.store.create_storage_target(&id, project, wish, &by).await? else {
            let detail = format!("The project may have {STORAGE_TARGETS_MAX} storage targets.");
            return Err(Failure::new(Code::QuotaExceeded).detail(detail));
        };
        let location = [(header::LOCATION, format!("/v1/storage-targets/{id}"))];
        Ok((StatusCode::CREATED, location, JsonBody(row.shown())).into_response())
    })
    .await
}

/// Whether a target may be stored. What the recorder cannot use would be found out when the first recording
/// waits for it.
fn check(app: &Shared, wish: &CreateStorageTarget) -> Result<(), Failure> {
    wish.check()?;
    let checked = app.recorder.as_deref().map(|recorder| recorder.check_storage(&wish.storage));
    checked.unwrap_or(Ok(())).map_err(|error| vec![error].into())
}

/// `GET /v1/storage-targets`.
async fn list(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
) -> Result<JsonBody<StorageTargetList>, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    let rows = app.store.storage_targets(&partner.project).await?;
    let targets = rows.into_iter().map(StoredTarget::shown).collect();
    Ok(JsonBody(StorageTargetList { targets }))
}

/// `GET /v1/storage-targets/{target}`.
async fn read(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
) -> Result<JsonBody<StorageTarget>, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    Ok(JsonBody(find(&app, &partner, &id).await?.shown()))
}

/// `PUT /v1/storage-targets/{target}`.
async fn replace(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
    body: Json<CreateStorageTarget>,
) -> Result<JsonBody<StorageTarget>, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    let wish = body.value;
    check(&app, &wish)?;
    whole(async move {
        let (project, by) = (&partner.project, partner.by());
        match app.store.replace_storage_target(project, &id, wish, &by).await? {
            Replaced::Done(row) => Ok(JsonBody(row.shown())),
            Replaced::Missing => Err(missing()),
            Replaced::Elsewhere => {
                let reason = "is another place: create another target for it";
                Err(vec![FieldError::new("storage", reason)].into())
            }
        }
    })
    .await
}

/// `DELETE /v1/storage-targets/{target}`.
async fn delete(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
) -> Result<StatusCode, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    whole(async move {
        let by = partner.by();
        let is_gone = app.store.delete_storage_target(&partner.project, &id, &by).await?;
        if is_gone { Ok(StatusCode::NO_CONTENT) } else { Err(missing()) }
    })
    .await
}

/// `POST /v1/storage-targets/{target}/test`.
async fn test(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
) -> Result<JsonBody<StorageTested>, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    let target = find(&app, &partner, &id).await?;
    let recorder = recorder(&app)?;
    let busy = || Failure::new(Code::RateLimited).header(header::RETRY_AFTER, "10");
    let place = app.storage_tests.take(&partner.project, Duration::ZERO).await;
    let _place = place.ok_or_else(busy)?;
    let tested = recorder.test_storage(&partner.project, target.storage);
    let late = |_| Failure::new(Code::Unavailable).detail("The storage did not answer in time.");
    tokio::time::timeout(limits::STORAGE_TEST, tested).await.map(JsonBody).map_err(late)
}

async fn find(app: &Shared, partner: &Partner, id: &str) -> Result<StoredTarget, Failure> {
    app.store.storage_target(&partner.project, id).await?.ok_or_else(missing)
}

fn missing() -> Failure {
    Failure::new(Code::NotFound)
}
