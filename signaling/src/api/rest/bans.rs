//! Bans of handles. Whoever has a banned handle is removed, and no token of it is accepted.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sdk_spec::{
    problem::Code,
    rest::{
        Page, Timestamp,
        keys::{Ban, BanList, CreateBan},
    },
    scope::Scope,
};

use super::{paging, whole};
use crate::{
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Json, OpaqueName, Params, PathId},
    },
    domain,
    store::{BanRow, Creation},
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/bans", post(create).get(list))
        .route("/v1/bans/{ban}", get(read).delete(lift))
}

/// `POST /v1/bans`.
async fn create(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    body: Json<CreateBan>,
) -> Result<Response, Failure> {
    partner.may(Scope::ParticipantsModerate)?;
    let (by, wish) = (partner.by(), body.value);
    wish.check()?;
    let missing = |_| Failure::new(Code::NotFound);
    let room = wish.room.as_deref().map(str::parse).transpose().map_err(missing)?;
    let until_ms = wish.seconds.map(|seconds| by.now_ms + u64::from(seconds) * 1000);
    let ban = domain::Ban { handle: wish.handle, until_ms };
    let row = whole(async move {
        let stored = app.store.ban(&partner.project, room, &ban, &by).await?;
        // Stored first: from then on no token is accepted, and who is in is removed.
        if stored.is_ok() {
            app.rooms.ban(&partner.project, room, ban).await;
        }
        Ok(stored)
    });
    match row.await? {
        Ok(row) => {
            let location = [(header::LOCATION, format!("/v1/bans/{}", row.id))];
            Ok((StatusCode::CREATED, location, JsonBody(answer(row))).into_response())
        }
        Err(Creation::Full) => {
            Err(Failure::new(Code::QuotaExceeded).detail("The project has as many bans as it may."))
        }
        Err(other) => Err(other.into()),
    }
}

/// `GET /v1/bans`.
async fn list(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(page): Params<Page>,
) -> Result<JsonBody<BanList>, Failure> {
    partner.may(Scope::ParticipantsModerate)?;
    let after = paging::after(&page)?;
    let (project, now_ms) = (partner.project.as_ref(), partner.by().now_ms);
    let mut rows = app.store.ban_page(project, now_ms, after, paging::rows(&page)).await?;
    let next_cursor = paging::cut(&mut rows, &page, |row| (row.created_at_ms, &row.id));
    Ok(JsonBody(BanList { bans: rows.into_iter().map(answer).collect(), next_cursor }))
}

/// `GET /v1/bans/{ban}`.
async fn read(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<OpaqueName>,
) -> Result<JsonBody<Ban>, Failure> {
    partner.may(Scope::ParticipantsModerate)?;
    let row = app.store.ban_by_id(&partner.project, &id.0, partner.by().now_ms).await?;
    Ok(JsonBody(answer(row.ok_or_else(|| Failure::new(Code::NotFound))?)))
}

/// `DELETE /v1/bans/{ban}`.
async fn lift(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<OpaqueName>,
) -> Result<StatusCode, Failure> {
    partner.may(Scope::ParticipantsModerate)?;
    whole(async move {
        let row = app.store.unban(&partner.project, &id.0, &partner.by()).await?;
        let row = row.ok_or_else(|| Failure::new(Code::NotFound))?;
        app.rooms.unban(&partner.project, row.room, row.ban.handle).await;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn answer(row: BanRow) -> Ban {
    Ban {
        id: row.id,
        handle: row.ban.handle,
        room: row.room.map(|room| room.to_string()),
        created_at: Timestamp(row.created_at_ms),
        until: row.ban.until_ms.map(Timestamp),
    }
}
