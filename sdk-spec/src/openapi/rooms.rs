//! Operations on rooms.

use utoipa::OpenApi;

use crate::{
    action::{Action, ActionResult},
    rest::{
        BreakoutList, CreateRoom, CreateToken, CreatedToken, ParticipantList, Room, RoomList,
        RoomQuery, UpdateRoom,
    },
};

#[derive(OpenApi)]
#[openapi(paths(
    create_room,
    list_rooms,
    read_room,
    update_room,
    delete_room,
    list_breakouts,
    list_participants,
    act,
    create_token,
))]
pub(super) struct Api;

/// Create a room. Scope `rooms:write`.
#[utoipa::path(post, path = "/v1/rooms", tag = "rooms", operation_id = "createRoom", extensions(("x-scope" = json!("rooms:write"))),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h gets the first answer.")),
    request_body = CreateRoom,
    responses((status = 201, body = Room, headers(("Location" = String), ("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn create_room() {}

/// List open rooms, newest first. Scope `rooms:read`.
#[utoipa::path(get, path = "/v1/rooms", tag = "rooms", operation_id = "listRooms", extensions(("x-scope" = json!("rooms:read"))),
    params(RoomQuery), responses((status = 200, body = RoomList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_rooms() {}

/// Read a room. Scope `rooms:read`.
#[utoipa::path(get, path = "/v1/rooms/{room}", tag = "rooms", operation_id = "readRoom", extensions(("x-scope" = json!("rooms:read"))),
    params(("room" = String, Path, description = "`rm_…`"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag`: 304 while it holds.")),
    responses((status = 200, body = Room, headers(("ETag" = String, description = "The version."))),
        (status = 304, description = "It has this version still; who is in it may have changed")),
    security(("key" = []), ("key_basic" = [])))]
fn read_room() {}

/// Delete a room: everybody in it is removed and it never opens again. Scope `rooms:write`.
#[utoipa::path(delete, path = "/v1/rooms/{room}", tag = "rooms", operation_id = "deleteRoom", extensions(("x-scope" = json!("rooms:write"))),
    params(("room" = String, Path, description = "`rm_…`"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that it must have.")),
    responses((status = 204, description = "Gone")),
    security(("key" = []), ("key_basic" = [])))]
fn delete_room() {}

/// Mint a room token for one client. Scope `tokens:mint`.
#[utoipa::path(post, path = "/v1/rooms/{room}/tokens", tag = "rooms",
    operation_id = "createToken", extensions(("x-scope" = json!("tokens:mint"))),
    params(("room" = String, Path, description = "`rm_…`"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h gets the first answer.")),
    request_body = CreateToken, responses((status = 201, body = CreatedToken)),
    security(("key" = []), ("key_basic" = [])))]
fn create_token() {}

/// Change settings of a room; what is not named stays. The same as the action `update`. Scope
/// `rooms:write`.
#[utoipa::path(patch, path = "/v1/rooms/{room}", tag = "rooms", operation_id = "updateRoom",
    extensions(("x-scope" = json!("rooms:write"))),
    params(("room" = String, Path, description = "`rm_…`"),
        ("If-Match" = Option<String>, Header,
        description = "The `ETag` that it must have; otherwise 412 `version_mismatch`.")),
    request_body = UpdateRoom,
    responses((status = 200, body = Room, headers(("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn update_room() {}

/// List the open breakout rooms of a room. Scope `rooms:read`.
#[utoipa::path(get, path = "/v1/rooms/{room}/breakouts", tag = "rooms",
    operation_id = "listBreakouts", extensions(("x-scope" = json!("rooms:read"))),
    params(("room" = String, Path, description = "`rm_…`")),
    responses((status = 200, body = BreakoutList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_breakouts() {}

/// List who is in a room and who waits to be let in. Scope `rooms:read`.
#[utoipa::path(get, path = "/v1/rooms/{room}/participants", tag = "rooms",
    operation_id = "listParticipants", extensions(("x-scope" = json!("rooms:read"))),
    params(("room" = String, Path, description = "`rm_…`")),
    responses((status = 200, body = ParticipantList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_participants() {}

/// Moderate: everything that a moderator can do in the client, with the same rules. Answered when it
/// is stored with its events. Scope `participants:moderate`.
#[utoipa::path(post, path = "/v1/rooms/{room}/actions", tag = "rooms", operation_id = "act",
    extensions(("x-scope" = json!("participants:moderate"))),
    params(("room" = String, Path, description = "`rm_…`"),
        ("If-Match" = Option<String>, Header,
        description = "The `ETag` that the room must have; otherwise 412 `version_mismatch`."),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h does nothing and gets the \
        first answer (after a failure of ours just then: only the version).")),
    request_body(content = Action, example = json!({
        "type": "eject", "participant": "pa_01hzx3m8q7v5k2c9d4e6f8g0hj", "ban_seconds": 600 })),
    responses((status = 200, body = ActionResult, headers(("ETag" = String)),
        example = json!({ "version": 4, "participants": 1 }))),
    security(("key" = []), ("key_basic" = [])))]
fn act() {}
