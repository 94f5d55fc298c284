//! REST `/v1/rooms`: types, paths and answers as in [`sdk_spec::rest`].

mod idempotency;

use axum::{
    Extension, Json as JsonBody,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::{
    handle::Handle,
    limits::{IDEMPOTENCY_SECONDS, ROOMS_OPEN_MAX},
    problem::{Code, FieldError},
    rest::{CreateRoom, CreateToken, CreatedToken, Page, Room, RoomList, Timestamp},
    scope::Scope,
    token::{AUDIENCE, Claims},
};
use serde::{Deserialize, Serialize};
use sfu_proto::id::RoomId;

use self::idempotency::request;
use super::{
    Failure, Shared,
    auth::Partner,
    problem::{Json, Params, PathId},
};
use crate::{
    clock,
    rooms::{Input, rules},
    secret,
    store::{NewRoom, PageStart, Remembered, RoomRow},
    token,
};

/// `POST /v1/rooms`.
pub(super) async fn create_room(
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
            app.rooms.open(row.id, rules(&row));
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

/// Runs work whose steps belong together to its end, even when the client goes away meanwhile: the
/// server drops a handler whose connection is closed.
async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(Failure::new(Code::Internal)))
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
pub(super) async fn list_rooms(
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
pub(super) async fn read_room(
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
pub(super) async fn delete_room(
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

fn new_room(partner: &Partner, wish: CreateRoom) -> NewRoom {
    NewRoom {
        id: RoomId::from_bits(secret::random_bits()),
        project: partner.project.to_string(),
        created_at_ms: clock::now_ms(),
        participants_max: wish.participants_max(),
        empty_timeout_seconds: wish.empty_timeout_seconds(),
        reference: wish.reference.map(|reference| reference.as_str().to_owned()),
    }
}

fn room(row: &RoomRow, participants: u32) -> Room {
    Room {
        id: row.id.to_string(),
        created_at: Timestamp(row.created_at_ms),
        participants_max: row.participants_max,
        empty_timeout_seconds: row.empty_timeout_seconds,
        reference: row.reference.as_deref().and_then(|text| Handle::parse(text).ok()),
        participants,
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
