//! Rooms and room tokens.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::{
    limits::{IDEMPOTENCY_SECONDS, OPENS_EARLY_SECONDS, ROOMS_OPEN_MAX},
    problem::{Code, FieldError},
    rest::{CreateRoom, CreateToken, CreatedToken, Page, Room, RoomList, Timestamp},
    room::RoomState,
    scope::Scope,
    token::{AUDIENCE, Claims},
};
use serde::{Deserialize, Serialize};
use sfu_proto::id::RoomId;

use super::{idempotency::request, whole};
use crate::api::{
    Failure, Shared,
    auth::Partner,
    problem::{Json, Params, PathId},
};
use crate::{
    clock,
    domain::Charter,
    rooms::Input,
    secret,
    store::{NewRoom, PageStart, Remembered, RoomRow},
    token,
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/rooms", post(create_room).get(list_rooms))
        .route("/v1/rooms/{room}", get(read_room).delete(delete_room))
        .route("/v1/rooms/{room}/tokens", post(create_token))
}

/// `POST /v1/rooms`.
async fn create_room(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    headers: HeaderMap,
    body: Json<CreateRoom>,
) -> Result<Response, Failure> {
    partner.may(Scope::RoomsWrite)?;
    body.value.check()?;
    let row = new_room(&partner, body.value);
    let answer = serde_json::to_string(&room(&row, 0)).unwrap_or_default();
    let route = (partner.project.as_ref(), "rooms");
    let until = row.created_at_ms + u64::from(IDEMPOTENCY_SECONDS) * 1000;
    let retry = request(&headers, route, &body.bytes, answer.clone(), until)?;
    let stored = whole(async move {
        let stored = app.store.create_room(&row, ROOMS_OPEN_MAX, retry.as_ref()).await?;
        if stored == Some(Remembered::New) {
            app.rooms.open(row);
        }
        Ok(stored)
    });
    match stored.await? {
        None => Err(Failure::new(Code::TooManyRooms)),
        Some(Remembered::Other) => Err(Failure::new(Code::IdempotencyKeyReused)),
        Some(Remembered::Before(answer)) => Ok(created(answer)),
        Some(Remembered::New) => Ok(created(answer)),
    }
}

/// 201 with the room's JSON and `Location`.
fn created(answer: String) -> Response {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    let id = serde_json::from_str::<Id>(&answer).map(|room| room.id).unwrap_or_default();
    let headers = [
        (header::LOCATION, format!("/v1/rooms/{id}")),
        (header::CONTENT_TYPE, String::from("application/json")),
    ];
    (StatusCode::CREATED, headers, answer).into_response()
}

/// `GET /v1/rooms`.
async fn list_rooms(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(page): Params<Page>,
) -> Result<JsonBody<RoomList>, Failure> {
    partner.may(Scope::RoomsRead)?;
    page.check()?;
    let after = page.cursor.as_deref().map(read_cursor).transpose()?;
    // One more than asked for tells whether there is a next page.
    let mut rows = app.store.rooms(&partner.project, after, page.limit() + 1).await?;
    let wanted = page.limit() as usize;
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let next_cursor = rows.last().filter(|_| more).map(write_cursor);
    let rooms = rows.iter().map(|row| room(row, app.rooms.participants(row.id))).collect();
    Ok(JsonBody(RoomList { rooms, next_cursor }))
}

/// `GET /v1/rooms/{room}`.
async fn read_room(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
) -> Result<JsonBody<Room>, Failure> {
    partner.may(Scope::RoomsRead)?;
    let row = app.store.room(&partner.project, id).await?;
    let row = row.ok_or_else(|| Failure::new(Code::NotFound))?;
    Ok(JsonBody(room(&row, app.rooms.participants(id))))
}

/// `DELETE /v1/rooms/{room}`.
async fn delete_room(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
) -> Result<StatusCode, Failure> {
    partner.may(Scope::RoomsWrite)?;
    whole(async move {
        // Stored first: from then on no token is accepted, whatever happens to the task.
        if !app.store.delete_room(&partner.project, id, clock::now_ms()).await? {
            return Err(Failure::new(Code::NotFound));
        }
        app.rooms.send(id, Input::Close).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// What is remembered of a minted token: enough to sign the same again, no handle, no token.
#[derive(Serialize, Deserialize)]
struct Minted {
    jti: String,
    iat: u64,
}

/// `POST /v1/rooms/{room}/tokens`.
async fn create_token(
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

fn new_room(partner: &Partner, wish: CreateRoom) -> NewRoom {
    let duration_ms = wish.duration_seconds.map(|seconds| u64::from(seconds) * 1000);
    let starts_at_ms = wish.starts_at.map(|time| time.0);
    NewRoom {
        id: RoomId::from_bits(secret::random_bits()),
        project: partner.project.to_string(),
        created_at_ms: clock::now_ms(),
        charter: Charter {
            reference: wish.reference,
            starts_at_ms,
            duration_seconds: wish.duration_seconds,
            ends_at_ms: starts_at_ms.zip(duration_ms).map(|(start, length)| start + length),
            ..Charter::new(wish.kind, &wish.settings)
        },
    }
}

fn room(row: &RoomRow, participants: u32) -> Room {
    let charter = &row.charter;
    let opens =
        charter.starts_at_ms.map(|s| s.saturating_sub(u64::from(OPENS_EARLY_SECONDS) * 1000));
    let is_early = opens.is_some_and(|opens| clock::now_ms() < opens);
    Room {
        id: row.id.to_string(),
        created_at: Timestamp(row.created_at_ms),
        kind: charter.kind,
        state: if is_early { RoomState::Scheduled } else { RoomState::Open },
        version: charter.version,
        starts_at: charter.starts_at_ms.map(Timestamp),
        ends_at: charter.ends_at_ms.map(Timestamp),
        duration_seconds: charter.duration_seconds,
        parent: charter.parent.map(|parent| parent.to_string()),
        reference: charter.reference.clone(),
        settings: charter.settings.clone(),
        participants,
        waiting: 0,
    }
}

fn write_cursor(row: &RoomRow) -> String {
    BASE64.encode(format!("{}.{}", row.created_at_ms, row.id))
}

fn read_cursor(text: &str) -> Result<PageStart, Failure> {
    let parse = || -> Option<PageStart> {
        let plain = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
        let (time, id) = plain.split_once('.')?;
        Some(PageStart { created_at_ms: time.parse().ok()?, id: id.parse().ok()? })
    };
    let wrong = || Failure::from(vec![FieldError::new("cursor", "is not a `next_cursor` of ours")]);
    parse().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    #[tokio::test]
    async fn work_is_finished_when_nobody_waits_for_it_any_more() {
        let (done, told) = oneshot::channel();
        let work = whole(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            done.send(()).map_err(|()| Failure::new(Code::Internal))
        });
        assert!(timeout(Duration::from_millis(1), work).await.is_err());
        timeout(Duration::from_secs(5), told).await.unwrap().unwrap();
    }
}
