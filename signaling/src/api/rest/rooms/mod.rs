//! Rooms: create, list, read, change, delete.

mod actions;
pub(super) mod tags;
mod tokens;

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::{
    action::Action,
    limits::{IDEMPOTENCY_SECONDS, OPENS_EARLY_SECONDS},
    problem::{Code, FieldError},
    rest::{BreakoutList, CreateRoom, Room, RoomList, RoomQuery, Timestamp, UpdateRoom},
    room::RoomState,
    scope::Scope,
    ws::LeaveReason,
};
use serde::Deserialize;
use sfu_proto::id::RoomId;

use self::actions::check_settings;
pub(super) use self::actions::moderate;
use super::{idempotency::request, whole};
use crate::{
    api::{
        App, Failure, Shared,
        auth::Partner,
        problem::{Json, Params, PathId},
    },
    clock,
    domain::{Ask, Charter, Refusal},
    rooms::Input,
    secret,
    store::{NewRoom, PageStart, Remembered, RoomFilter, RoomRow},
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/rooms", post(create_room).get(list_rooms))
        .route("/v1/rooms/{room}", get(read_room).patch(update_room).delete(delete_room))
        .route("/v1/rooms/{room}/breakouts", get(list_breakouts))
        .route("/v1/rooms/{room}/participants", get(actions::list_participants))
        .route("/v1/rooms/{room}/actions", post(actions::act))
        .route("/v1/rooms/{room}/tokens", post(tokens::create_token))
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
    check_settings(&app, &partner, &body.value.settings)?;
    let row = new_room(&partner, body.value);
    let answer = serde_json::to_string(&room(&row, (0, 0))).unwrap_or_default();
    let route = (partner.project.as_ref(), "rooms");
    let until = row.created_at_ms + u64::from(IDEMPOTENCY_SECONDS) * 1000;
    let retry = request(&headers, route, &body.bytes, answer.clone(), until)?;
    let actor = partner.actor();
    let rooms_max = partner.quotas.rooms;
    let stored = whole(async move {
        let stored = app.store.create_room(&row, &actor, rooms_max, retry.as_ref()).await?;
        if stored == Some(Remembered::New) {
            app.rooms.open(row, Vec::new());
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

/// 201 with the room's JSON, `Location` and `ETag`.
fn created(answer: String) -> Response {
    #[derive(Deserialize)]
    struct Essence {
        id: String,
        version: u64,
    }
    let mut headers = HeaderMap::new();
    if let Ok(Essence { id, version }) = serde_json::from_str(&answer) {
        if let Ok(location) = HeaderValue::from_str(&format!("/v1/rooms/{id}")) {
            headers.insert(header::LOCATION, location);
        }
        headers.insert(header::ETAG, tags::of(version));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (StatusCode::CREATED, headers, answer).into_response()
}

/// `GET /v1/rooms`.
async fn list_rooms(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(query): Params<RoomQuery>,
) -> Result<JsonBody<RoomList>, Failure> {
    partner.may(Scope::RoomsRead)?;
    query.check()?;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let filter = RoomFilter { reference: query.reference(), kind: query.kind };
    // One more than asked for tells whether there is a next page.
    let mut rows = app.store.rooms(&partner.project, &filter, after, query.limit() + 1).await?;
    let wanted = query.limit() as usize;
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    let next_cursor = rows.last().filter(|_| more).map(write_cursor);
    let rooms = rows.iter().map(|row| room(row, app.rooms.present(row.id))).collect();
    Ok(JsonBody(RoomList { rooms, next_cursor }))
}

/// `GET /v1/rooms/{room}`.
async fn read_room(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    partner.may(Scope::RoomsRead)?;
    let row = find(&app, &partner, id).await?;
    if tags::is_known(&headers, row.charter.version) {
        let tag = [(header::ETAG, tags::of(row.charter.version))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok(shown(&app, &row))
}

/// `PATCH /v1/rooms/{room}`.
async fn update_room(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
    headers: HeaderMap,
    body: Json<UpdateRoom>,
) -> Result<Response, Failure> {
    partner.may(Scope::RoomsWrite)?;
    let settings = body.value.settings;
    check_settings(&app, &partner, &settings)?;
    let version = tags::wanted(&headers)?;
    whole(async move {
        find(&app, &partner, id).await?;
        let action = Box::new(Action::Update { settings });
        app.rooms.ask(id, Ask::Act { actor: partner.actor(), action, version }).await?;
        // Answered when it was stored: what is read now has it.
        let row = find(&app, &partner, id).await?;
        Ok(shown(&app, &row))
    })
    .await
}

/// `DELETE /v1/rooms/{room}`.
async fn delete_room(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    partner.may(Scope::RoomsWrite)?;
    let version = tags::wanted(&headers)?;
    whole(async move {
        find(&app, &partner, id).await?;
        let (actor, action) = (partner.actor(), Box::new(Action::Close {}));
        match app.rooms.ask(id, Ask::Act { actor, action, version }).await {
            Ok(_) => Ok(StatusCode::NO_CONTENT),
            // Gone: it ends at this moment, for somebody else.
            Err(Refusal::NotFound | Refusal::Gone) => {
                end_without_task(&app, &partner, id, version).await
            }
            Err(refusal) => Err(refusal.into()),
        }
    })
    .await
}

/// The task of a room that the store still has is gone. When it ends just now, what it said last is
/// stored first; a defect may have ended it before that.
async fn end_without_task(
    app: &App,
    partner: &Partner,
    id: RoomId,
    version: Option<u64>,
) -> Result<StatusCode, Failure> {
    if !app.rooms.ended(id).await {
        return Err(Failure::new(Code::Unavailable));
    }
    let row = find(app, partner, id).await?;
    if version.is_some_and(|version| version != row.charter.version) {
        return Err(Failure::new(Code::VersionMismatch));
    }
    let (place, actor) = ((partner.project.as_ref(), id), partner.actor());
    let now = clock::now_ms();
    app.store.end_room(place, LeaveReason::RoomClosed, Some(&actor), now).await?;
    app.rooms.send(id, Input::Close).await;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/rooms/{room}/breakouts`.
async fn list_breakouts(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
) -> Result<JsonBody<BreakoutList>, Failure> {
    partner.may(Scope::RoomsRead)?;
    find(&app, &partner, id).await?;
    let rows = app.store.breakouts(&partner.project, id).await?;
    let breakouts = rows.iter().map(|row| room(row, app.rooms.present(row.id))).collect();
    Ok(JsonBody(BreakoutList { breakouts }))
}

/// An open room of the partner; a foreign one is as unknown as one that never was.
async fn find(app: &App, partner: &Partner, id: RoomId) -> Result<RoomRow, Failure> {
    let row = app.store.room(&partner.project, id).await?;
    row.ok_or_else(|| Failure::new(Code::NotFound))
}

/// A room with its entity tag.
fn shown(app: &App, row: &RoomRow) -> Response {
    let tag = [(header::ETAG, tags::of(row.charter.version))];
    (tag, JsonBody(room(row, app.rooms.present(row.id)))).into_response()
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
        commits: 0,
    }
}

fn room(row: &RoomRow, (participants, waiting): (u32, u32)) -> Room {
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
        waiting,
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
