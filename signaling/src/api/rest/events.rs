//! The event log.

use std::time::Duration;

use axum::{Extension, Json as JsonBody, Router, extract::State, routing::get};
use sdk_spec::{
    problem::{Code, FieldError},
    rest::events::{EventsPage, EventsQuery},
    scope::Scope,
};
use sfu_proto::id::RoomId;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    api::{Failure, Shared, auth::Partner, problem::Params},
    limits,
    store::{Log, Wanted},
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new().route(crate::api::EVENTS, get(list_events))
}

/// `GET /v1/events`.
async fn list_events(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(query): Params<EventsQuery>,
) -> Result<JsonBody<EventsPage>, Failure> {
    partner.may(Scope::EventsRead)?;
    query.check()?;
    let room = query.room.as_deref().map(room).transpose()?;
    let kinds = query.kinds();
    let wanted = Wanted { after: query.after, limit: query.limit(), kinds: &kinds, room };
    // Before the first look, so that nothing falls between it and the wait.
    let news = app.store.news();
    let page = look(&app, &partner, &wanted).await?;
    if query.wait_seconds() == 0 || says_something(&page) {
        return Ok(JsonBody(page));
    }
    let _place = app.polls.take(&partner.project)?;
    let until = Instant::now() + Duration::from_secs(query.wait_seconds().into());
    let page = wait(&app, &partner, (wanted, page), (news, until)).await?;
    // It may have been revoked since.
    partner.is_still_valid(&app).await?;
    Ok(JsonBody(page))
}

/// A room's id, as a filter.
pub(super) fn room(text: &str) -> Result<RoomId, Failure> {
    text.parse().map_err(|_| vec![FieldError::new("room", "is not the id of a room")].into())
}

fn says_something(page: &EventsPage) -> bool {
    !page.events.is_empty() || page.more
}

async fn look(app: &Shared, partner: &Partner, wanted: &Wanted<'_>) -> Result<EventsPage, Failure> {
    match app.store.log(&partner.project, wanted).await? {
        Log::Page { events, next, head } => Ok(EventsPage { events, next, more: next < head }),
        Log::Expired { oldest } => Err(Failure::new(Code::CursorExpired).oldest_seq(oldest)),
        Log::Ahead => Err(vec![FieldError::new("after", "is after the end of the log")].into()),
    }
}

/// Looks again when this process wrote events, and each second for those of others, until there is
/// something, the time is over or the server stops.
async fn wait(
    app: &Shared,
    partner: &Partner,
    (mut wanted, mut page): (Wanted<'_>, EventsPage),
    (mut news, until): (tokio::sync::watch::Receiver<u64>, Instant),
) -> Result<EventsPage, Failure> {
    let mut stopping = app.stopping.subscribe();
    loop {
        let is_over = tokio::select! {
            _ = stopping.wait_for(|stops| *stops) => return Ok(page),
            () = sleep_until(until) => true,
            _ = news.changed() => false,
            () = sleep(limits::POLL_LOOK) => false,
        };
        wanted.after = Some(page.next);
        page = look(app, partner, &wanted).await?;
        if is_over || says_something(&page) {
            return Ok(page);
        }
        // Much is written that is not for this one: it looks some times a second at most.
        sleep(limits::POLL_PAUSE).await;
    }
}
