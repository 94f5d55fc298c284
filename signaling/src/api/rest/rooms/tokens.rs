//! Room tokens.

use axum::{
    Extension, Json as JsonBody,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use sdk_spec::{
    problem::Code,
    rest::{CreateToken, CreatedToken, Timestamp},
    scope::Scope,
    token::{AUDIENCE, Claims},
};
use serde::{Deserialize, Serialize};
use sfu_proto::id::RoomId;

use super::super::idempotency::request;
use crate::{
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Json, PathId},
    },
    clock, secret,
    store::{Remembered, RoomRow},
    token,
};

/// What is remembered of a minted token: enough to sign the same again, no handle, no token.
#[derive(Serialize, Deserialize)]
struct Minted {
    jti: String,
    iat: u64,
}

/// `POST /v1/rooms/{room}/tokens`.
pub(super) async fn create_token(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
    headers: HeaderMap,
    body: Json<CreateToken>,
) -> Result<Response, Failure> {
    partner.may(Scope::TokensMint)?;
    body.value.check()?;
    let missing = || Failure::new(Code::NotFound);
    let row = app.store.room(&partner.project, id).await?.ok_or_else(missing)?;
    let key = app.store.signing_key_of(&row.project).await?;
    let key = key.ok_or_else(|| Failure::new(Code::Internal))?;
    let fresh = Minted { jti: secret::opaque_id(""), iat: clock::now_ms() / 1000 };
    let answer = serde_json::to_string(&fresh).unwrap_or_default();
    let route = format!("rooms/{id}/tokens");
    // A retry gets the same token while it is good for anything, then another.
    let until = (fresh.iat + u64::from(body.value.ttl_seconds())) * 1000;
    let route = (partner.project.as_ref(), route.as_str());
    let retry = request(&headers, route, &body.bytes, answer, until)?;
    let remembered = match &retry {
        Some(retry) => app.store.remember(retry).await?,
        None => Remembered::New,
    };
    let minted = match remembered {
        Remembered::New => fresh,
        Remembered::Other => return Err(Failure::new(Code::IdempotencyKeyReused)),
        Remembered::Before(answer) => {
            serde_json::from_str(&answer).map_err(|_| Failure::new(Code::Internal))?
        }
    };
    let claims = claims(&row, body.value, minted);
    let token = token::mint(&key, &claims)?;
    let expires_at = Timestamp(claims.exp * 1000);
    let created = CreatedToken { token, expires_at, ws_url: app.ws_url.clone() };
    Ok((StatusCode::CREATED, JsonBody(created)).into_response())
}

fn claims(room: &RoomRow, wish: CreateToken, minted: Minted) -> Claims {
    let exp = minted.iat + u64::from(wish.ttl_seconds());
    Claims {
        iss: room.project.clone(),
        aud: AUDIENCE.to_owned(),
        room: room.id.to_string(),
        handle: wish.handle,
        role: wish.role,
        grants: wish.grants,
        jti: minted.jti,
        iat: minted.iat,
        nbf: minted.iat,
        exp,
    }
}
