//! Usage and histories.

use utoipa::OpenApi;

use crate::rest::{
    Page,
    usage::{CreateErasure, Erasure, SessionList, SessionsQuery, Usage, UsageQuery},
};

#[derive(OpenApi)]
#[openapi(
    paths(read_usage, list_room_sessions, list_sessions, create_erasure),
    tags(
        (name = "usage", description = "What was used, counted from the event log."),
        (name = "privacy", description = "What is kept about a handle, and its erasure."),
    ),
)]
pub(super) struct Api;

/// Read usage. Scope `usage:read`.
///
/// Without names, handles, addresses or agents. Everything up to the newest event is counted.
#[utoipa::path(get, path = "/v1/usage", tag = "usage", operation_id = "readUsage",
    params(UsageQuery),
    responses((status = 200, content((Usage = "application/json"), (String = "text/csv",
        example = "room,day,stays,participant_seconds,camera_seconds,microphone_seconds,screen_seconds,screen_audio_seconds,recorded_seconds,bytes_received,bytes_sent\r\n,2026-11-21,2,5400,3600,5400,0,0,0,104857600,314572800\r\n")),
        headers(("Link" = String, description = "The next page, `rel=\"next\"`; none on the last")))),
    extensions(("x-scope" = json!("usage:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn read_usage() {}

/// List the stays in a room, newest first. Scope `rooms:read`.
///
/// Rooms that are over too, for as long as histories are kept.
#[utoipa::path(get, path = "/v1/rooms/{room}/sessions", tag = "usage",
    operation_id = "listRoomSessions",
    params(("room" = String, Path, description = "`rm_…`"), Page),
    responses((status = 200, body = SessionList)),
    extensions(("x-scope" = json!("rooms:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn list_room_sessions() {}

/// List the stays of a handle, newest first. Scope `privacy:read`.
#[utoipa::path(get, path = "/v1/sessions", tag = "privacy", operation_id = "listSessions",
    params(SessionsQuery), responses((status = 200, body = SessionList)),
    extensions(("x-scope" = json!("privacy:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn list_sessions() {}

/// Erase what is kept about a handle. Scope `privacy:erase`.
///
/// Its stays and bans are deleted and events name `~erased~` in its place; their numbers, and usage,
/// which holds no handle, stay. Refused while the handle is in a room: eject it first. May be
/// repeated. Backups that were made before hold the handle until they are deleted.
#[utoipa::path(post, path = "/v1/erasures", tag = "privacy", operation_id = "createErasure",
    request_body = CreateErasure, responses((status = 200, body = Erasure)),
    extensions(("x-scope" = json!("privacy:erase"))),
    security(("key" = []), ("key_basic" = [])))]
fn create_erasure() {}
