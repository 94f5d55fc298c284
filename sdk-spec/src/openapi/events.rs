//! The event log: `GET /v1/events`.

use utoipa::OpenApi;

use crate::{
    event::Event,
    rest::events::{EventsPage, EventsQuery},
};

#[derive(OpenApi)]
#[openapi(
    paths(list_events),
    components(schemas(Event)),
    tags((name = "events", description = "What happened, in order. Webhooks carry the same.")),
)]
pub(super) struct Api;

/// Read the event log. Scope `events:read`.
///
/// A page of the log in the order of `seq`, which has no gaps and never shows a number before a
/// lower one. Give `next` as `after` of the next request; with `wait_seconds` an empty answer is
/// held until there is an event. A cursor whose events are gone gets 410 `cursor_expired` with
/// `oldest_seq`.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "listEvents",
    params(EventsQuery), responses((status = 200, body = EventsPage)),
    extensions(("x-scope" = json!("events:read"))),
    security(("key" = []), ("key_basic" = [])))]
fn list_events() {}
