//! Histories: who was in which room; and their erasure.

use axum::{Extension, Json as JsonBody, extract::State};
use sdk_spec::{
    problem::Code,
    rest::{
        Page, Timestamp,
        usage::{CreateErasure, Erasure, Session, SessionList, SessionsQuery},
    },
    scope::Scope,
};
use sfu_proto::id::RoomId;

use super::{cursor, events::room, usage::count_first, whole};
use crate::{
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Json, Params, PathId},
    },
    clock, secret,
    store::{StaysOf, StaysWanted},
};

/// `GET /v1/rooms/{room}/sessions`.
pub(super) async fn of_room(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(room): PathId<RoomId>,
    Params(page): Params<Page>,
) -> Result<JsonBody<SessionList>, Failure> {
    partner.may(Scope::RoomsRead)?;
    page.check()?;
    let after = page.cursor.as_deref().map(cursor::read).transpose()?;
    count_first(&app, &partner.project).await?;
    if !app.store.knows_room(&partner.project, room).await? {
        return Err(Failure::new(Code::NotFound));
    }
    let began_ms = (0, u64::MAX);
    let of = StaysOf::Room(room);
    let wanted = StaysWanted { of, began_ms, after, limit: page.limit() + 1 };
    list(&app, &partner, wanted).await
}

/// `GET /v1/sessions`.
pub(super) async fn of_handle(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(query): Params<SessionsQuery>,
) -> Result<JsonBody<SessionList>, Failure> {
    partner.may(Scope::PrivacyRead)?;
    let page = Page { limit: query.limit, cursor: query.cursor };
    page.check()?;
    let after = page.cursor.as_deref().map(cursor::read).transpose()?;
    let only = query.room.as_deref().map(room).transpose()?;
    count_first(&app, &partner.project).await?;
    let time = |time: Option<Timestamp>, otherwise| time.map_or(otherwise, |time| time.0);
    let began_ms = (time(query.from, 0), time(query.to, u64::MAX));
    let of = StaysOf::Handle(&query.handle, only);
    let wanted = StaysWanted { of, began_ms, after, limit: page.limit() + 1 };
    list(&app, &partner, wanted).await
}

/// The page; one more than asked for tells whether there is a next.
async fn list(
    app: &Shared,
    partner: &Partner,
    wanted: StaysWanted<'_>,
) -> Result<JsonBody<SessionList>, Failure> {
    let mut sessions = app.store.stays(&partner.project, &wanted).await?;
    let most = wanted.limit.saturating_sub(1) as usize;
    let is_more = sessions.len() > most;
    sessions.truncate(most);
    let next = |last: &Session| cursor::write(last.joined_at.0, &last.participant);
    let next_cursor = sessions.last().filter(|_| is_more).map(next);
    Ok(JsonBody(SessionList { sessions, next_cursor }))
}

/// `POST /v1/erasures`.
pub(super) async fn erase(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    body: Json<CreateErasure>,
) -> Result<JsonBody<Erasure>, Failure> {
    partner.may(Scope::PrivacyErase)?;
    whole(async move {
        let (id, now_ms) = (secret::opaque_id("er_"), clock::now_ms());
        let (handle, actor) = (body.value.handle, partner.actor());
        let by = (id.as_str(), &actor);
        let erased = app.store.erase_handle(&partner.project, &handle, by, now_ms).await?;
        let erased = erased.ok_or_else(|| {
            Failure::new(Code::ActionRefused)
                .detail("The handle is in a room now: eject it first, then erase.")
        })?;
        app.rooms.unban(&partner.project, None, handle).await;
        Ok(JsonBody(Erasure {
            id,
            erased_at: Timestamp(now_ms),
            events: erased.events,
            sessions: erased.sessions,
            bans: erased.bans,
        }))
    })
    .await
}
