//! API keys of the project.
//!
//! A secret is in the first answer only and is stored nowhere: the retry of a creation or rotation
//! with the same `Idempotency-Key` is answered with [`Code::SecretNotRepeated`], which names the key.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sdk_spec::{
    limits::IDEMPOTENCY_SECONDS,
    problem::Code,
    rest::{
        Page, Timestamp,
        keys::{CreateKey, CreatedKey, Key, KeyList, RotateKey},
    },
    scope::Scope,
};

use super::{idempotency::request, paging};
use crate::{
    admin::{KeyWish, bare, fresh_secret, new_key},
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Json, OpaqueName, Params, PathId},
    },
    store::{ApiKeyInfo, Author, Creation, IdempotentRequest},
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/keys", post(create_key).get(list_keys))
        .route("/v1/keys/{key}", get(read_key).delete(revoke_key))
        .route("/v1/keys/{key}/rotate", post(rotate_key))
}

/// `POST /v1/keys`.
async fn create_key(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    headers: HeaderMap,
    mut body: Json<CreateKey>,
) -> Result<Response, Failure> {
    partner.may(Scope::KeysWrite)?;
    let by = partner.by();
    body.value.check(by.now_ms)?;
    // A key can never give what it has not itself.
    for scope in &body.value.scopes {
        partner.may(*scope)?;
    }
    // Nor last longer.
    body.value.expires_at = partner.end_of(body.value.expires_at.map(|time| time.0)).map(Timestamp);
    let place = (partner.project.as_ref(), "keys");
    create(&app, &partner.project, &by, body, |bytes, answer| {
        request(&headers, place, bytes, answer, remembered_until(&by))
    })
    .await
}

/// Until when a retry of a request of now is known.
pub(in crate::api) fn remembered_until(by: &Author) -> u64 {
    by.now_ms + u64::from(IDEMPOTENCY_SECONDS) * 1000
}

/// Makes an API key of a project; shared with the operator's API.
pub(in crate::api) async fn create(
    app: &Shared,
    project: &str,
    by: &Author,
    body: Json<CreateKey>,
    retry: impl FnOnce(&[u8], String) -> Result<Option<IdempotentRequest>, Failure>,
) -> Result<Response, Failure> {
    let wish = KeyWish {
        name: Some(body.value.name.as_str().to_owned()),
        scopes: body.value.scopes.clone(),
        expires_at_ms: body.value.expires_at.map(|time| time.0),
    };
    let (info, text) = new_key(project, wish, by.now_ms);
    let hash = app.store.vault().hash_secret(text.as_bytes());
    let retry = retry(&body.bytes, format!("ck_{}", info.id))?;
    match app.store.insert_api_key(&info, &hash, by, retry.as_ref()).await? {
        Creation::Made => Ok(created(StatusCode::CREATED, info, &text)),
        Creation::Before(id) => Err(not_repeated(&id)),
        Creation::Full => {
            Err(Failure::new(Code::QuotaExceeded).detail("The quota `keys` is used up."))
        }
        other => Err(other.into()),
    }
}

/// The answer with a secret, the only one.
fn created(status: StatusCode, info: ApiKeyInfo, text: &str) -> Response {
    let location = format!("/v1/keys/ck_{}", info.id);
    let secret = format!("ck_{}_{text}", info.id);
    let body = JsonBody(CreatedKey { key: key(info), secret });
    (status, [(header::LOCATION, location)], body).into_response()
}

/// The answer to a retry whose first answer had a secret.
pub(super) fn not_repeated(id: &str) -> Failure {
    let detail = format!("The first answer to this request told the secret of `{id}`.");
    Failure::new(Code::SecretNotRepeated).detail(detail)
}

/// `GET /v1/keys`.
async fn list_keys(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(page): Params<Page>,
) -> Result<JsonBody<KeyList>, Failure> {
    partner.may(Scope::KeysWrite)?;
    list(&app, &partner.project, &page).await
}

/// A page of the keys of a project; shared with the operator's API.
pub(in crate::api) async fn list(
    app: &Shared,
    project: &str,
    page: &Page,
) -> Result<JsonBody<KeyList>, Failure> {
    let after = paging::after(page)?;
    let mut rows = app.store.api_key_page(project, after, paging::rows(page)).await?;
    let next_cursor = paging::cut(&mut rows, page, |row| (row.created_at_ms, &row.id));
    Ok(JsonBody(KeyList { keys: rows.into_iter().map(key).collect(), next_cursor }))
}

/// `GET /v1/keys/{key}`.
async fn read_key(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<OpaqueName>,
) -> Result<JsonBody<Key>, Failure> {
    partner.may(Scope::KeysWrite)?;
    let info = app.store.api_key_info(&partner.project, bare(&id.0, "ck_")).await?;
    Ok(JsonBody(key(info.ok_or_else(|| Failure::new(Code::NotFound))?)))
}

/// `DELETE /v1/keys/{key}`.
async fn revoke_key(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<OpaqueName>,
) -> Result<StatusCode, Failure> {
    // A key may always give up itself: who finds a leaked one can end it.
    if partner.key.as_ref() != id.0 {
        partner.may(Scope::KeysWrite)?;
    }
    let (project, id) = (Some(partner.project.as_ref()), bare(&id.0, "ck_"));
    if app.store.revoke_api_key(project, id, &partner.by()).await? {
        app.known_keys.note(id, None);
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::new(Code::NotFound))
    }
}

/// `POST /v1/keys/{key}/rotate`.
async fn rotate_key(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<OpaqueName>,
    headers: HeaderMap,
    body: Json<RotateKey>,
) -> Result<Response, Failure> {
    partner.may(Scope::KeysWrite)?;
    body.value.check()?;
    let id = bare(&id.0, "ck_");
    let place = (partner.project.as_ref(), id);
    let missing = || Failure::new(Code::NotFound);
    let info = app.store.api_key_info(place.0, id).await?.ok_or_else(missing)?;
    // The new secret would be a way to what the asking key has not.
    for scope in &info.scopes {
        partner.may(*scope)?;
    }
    if partner.end_of(info.expires_at_ms) != info.expires_at_ms {
        return Err(Failure::new(Code::NotPermitted)
            .detail("The asking key ends earlier than the one to be rotated."));
    }
    let by = partner.by();
    let route = format!("keys/{id}/rotate");
    let route = (place.0, route.as_str());
    let answer = format!("ck_{id}");
    let retry = request(&headers, route, &body.bytes, answer, remembered_until(&by))?;
    let text = fresh_secret();
    let hash = app.store.vault().hash_secret(text.as_bytes());
    let until = by.now_ms + u64::from(body.value.overlap_seconds()) * 1000;
    match app.store.rotate_api_key(place, &hash, until, &by, retry.as_ref()).await? {
        Ok(info) => {
            app.known_keys.note(id, None);
            Ok(created(StatusCode::OK, info, &text))
        }
        Err(Creation::Before(id)) => Err(not_repeated(&id)),
        Err(other) => Err(other.into()),
    }
}

fn key(info: ApiKeyInfo) -> Key {
    Key {
        id: format!("ck_{}", info.id),
        name: info.name,
        scopes: info.scopes,
        created_at: Timestamp(info.created_at_ms),
        expires_at: info.expires_at_ms.map(Timestamp),
        rotated_at: info.rotated_at_ms.map(Timestamp),
        old_secret_until: info.old_until_ms.map(Timestamp),
    }
}
