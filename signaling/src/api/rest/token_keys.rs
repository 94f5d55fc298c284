//! Token keys of the project, and the revocation of single tokens.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::{
    limits::{CLOCK_SKEW_SECONDS_MAX, TOKEN_SECONDS_MAX},
    problem::{Code, FieldError},
    rest::{
        Page, Timestamp, is_opaque_name,
        keys::{
            CreateTokenKey, CreatedTokenKey, RevokeToken, TokenAlgorithm, TokenKey, TokenKeyList,
        },
    },
    scope::Scope,
};

use super::{
    idempotency::request,
    keys::{not_repeated, remembered_until},
    paging,
};
use crate::{
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Json, OpaqueName, Params, PathId},
    },
    secret::{self, SECRET_BYTES},
    store::{Creation, NewTokenKey, TokenKeyInfo, Verifier},
    token::key,
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/token-keys", post(create).get(list))
        .route("/v1/token-keys/{key}", get(read).delete(revoke))
        .route("/v1/token-revocations", post(revoke_token))
}

/// `POST /v1/token-keys`.
async fn create(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    headers: HeaderMap,
    body: Json<CreateTokenKey>,
) -> Result<Response, Failure> {
    partner.may(Scope::KeysWrite)?;
    // Whoever has a token key can mint.
    partner.may(Scope::TokensMint)?;
    let (by, wish) = (partner.by(), body.value);
    wish.check(by.now_ms)?;
    let (verifier, secret) = material(&wish)?;
    let new = NewTokenKey {
        id: secret::opaque_id("tk_"),
        project: partner.project.to_string(),
        name: wish.name.as_ref().map(|name| name.as_str().to_owned()),
        not_after_ms: wish.not_after.map(|time| time.0),
        verifier,
    };
    let place = (partner.project.as_ref(), "token-keys");
    let retry = request(&headers, place, &body.bytes, new.id.clone(), remembered_until(&by))?;
    match app.store.insert_token_key(&new, &by, retry.as_ref()).await? {
        Creation::Made => answer(&app, &partner, &new.id, secret).await,
        Creation::Before(id) if wish.algorithm == TokenAlgorithm::Hs256 => Err(not_repeated(&id)),
        Creation::Before(id) => answer(&app, &partner, &id, None).await,
        Creation::Full => Err(Failure::new(Code::QuotaExceeded)
            .detail("The project has as many token keys as it may.")),
        other => Err(other.into()),
    }
}

/// What tokens of the key are verified with, and the secret as text if we made one.
fn material(wish: &CreateTokenKey) -> Result<(Verifier, Option<String>), Failure> {
    let public = match (&wish.jwk, &wish.pem) {
        (Some(jwk), _) => key::from_jwk(jwk).map_err(|error| ("jwk", error)),
        (None, Some(pem)) => key::from_pem(pem).map_err(|error| ("pem", error)),
        (None, None) => {
            let bytes: [u8; SECRET_BYTES] = secret::random();
            return Ok((Verifier::HmacSha256(bytes.to_vec()), Some(BASE64.encode(bytes))));
        }
    };
    let wrong = |(field, error): (&str, key::KeyError)| {
        Failure::from(vec![FieldError::new(field, error.to_string())])
    };
    Ok((Verifier::Ed25519(public.map_err(wrong)?), None))
}

async fn answer(
    app: &Shared,
    partner: &Partner,
    id: &str,
    secret: Option<String>,
) -> Result<Response, Failure> {
    let info = app.store.token_key(&partner.project, id).await?;
    let info = info.ok_or_else(|| Failure::new(Code::NotFound))?;
    let location = [(header::LOCATION, format!("/v1/token-keys/{id}"))];
    let body = JsonBody(CreatedTokenKey { key: token_key(info), secret });
    Ok((StatusCode::CREATED, location, body).into_response())
}

/// `GET /v1/token-keys`.
async fn list(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(page): Params<Page>,
) -> Result<JsonBody<TokenKeyList>, Failure> {
    partner.may(Scope::KeysWrite)?;
    let after = paging::after(&page)?;
    let mut rows = app.store.token_keys(&partner.project, after, paging::rows(&page)).await?;
    let next_cursor = paging::cut(&mut rows, &page, |row| (row.created_at_ms, &row.id));
    let token_keys = rows.into_iter().map(token_key).collect();
    Ok(JsonBody(TokenKeyList { token_keys, next_cursor }))
}

/// `GET /v1/token-keys/{key}`.
async fn read(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<OpaqueName>,
) -> Result<JsonBody<TokenKey>, Failure> {
    partner.may(Scope::KeysWrite)?;
    let info = app.store.token_key(&partner.project, &id.0).await?;
    Ok(JsonBody(token_key(info.ok_or_else(|| Failure::new(Code::NotFound))?)))
}

/// `DELETE /v1/token-keys/{key}`.
async fn revoke(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<OpaqueName>,
) -> Result<StatusCode, Failure> {
    partner.may(Scope::KeysWrite)?;
    let next = key::generate(&partner.project).ok_or_else(|| Failure::new(Code::Internal))?;
    let place = (partner.project.as_ref(), id.0.as_str());
    if app.store.revoke_token_key(place, &next, &partner.by()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::new(Code::NotFound))
    }
}

/// `POST /v1/token-revocations`.
async fn revoke_token(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    body: Json<RevokeToken>,
) -> Result<StatusCode, Failure> {
    partner.may(Scope::ParticipantsModerate)?;
    body.value.check()?;
    let (by, kid) = (partner.by(), body.value.kid.as_deref());
    // A token that is minted now may be good for so long.
    let seconds = TOKEN_SECONDS_MAX + 4 * CLOCK_SKEW_SECONDS_MAX;
    let until = by.now_ms + u64::from(seconds) * 1000;
    let known = kid.is_none_or(is_opaque_name)
        && app.store.revoke_token(&partner.project, (kid, &body.value.jti), until, &by).await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(Failure::new(Code::NotFound)) }
}

fn token_key(info: TokenKeyInfo) -> TokenKey {
    TokenKey {
        id: info.id,
        algorithm: info.algorithm,
        origin: info.origin,
        name: info.name,
        created_at: Timestamp(info.created_at_ms),
        not_after: info.not_after_ms.map(Timestamp),
        jwk: info.public_key.as_deref().map(key::to_jwk),
    }
}
