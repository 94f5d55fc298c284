//! Who is in a room, and moderation by the partner: the rules are the room's.

use axum::{
    Extension, Json as JsonBody,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
};
use sdk_spec::{
    action::{Action, ActionResult},
    limits::IDEMPOTENCY_SECONDS,
    problem::Code,
    rest::ParticipantList,
    room::RoomSettings,
    scope::Scope,
};
use sfu_proto::id::RoomId;

use super::{
    super::{
        idempotency::request,
        recordings::{can_make, may_record},
    },
    find, tags, whole,
};
use crate::{
    api::{
        App, Failure, Shared,
        auth::Partner,
        problem::{Json, PathId},
    },
    clock,
    domain::{Ask, Reply},
    store::{IdempotentRequest, Remembered},
};

/// `GET /v1/rooms/{room}/participants`.
pub(super) async fn list_participants(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
) -> Result<JsonBody<ParticipantList>, Failure> {
    partner.may(Scope::RoomsRead)?;
    find(&app, &partner, id).await?;
    match app.rooms.ask(id, Ask::Participants).await? {
        Reply::Participants(participants) => Ok(JsonBody(ParticipantList { participants })),
        _ => Err(Failure::new(Code::Internal)),
    }
}

/// `POST /v1/rooms/{room}/actions`.
pub(super) async fn act(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RoomId>,
    headers: HeaderMap,
    body: Json<Action>,
) -> Result<Response, Failure> {
    partner.may(Scope::ParticipantsModerate)?;
    check(&app, &partner, &body.value)?;
    let version = tags::wanted(&headers)?;
    let route = format!("rooms/{id}/actions");
    let route = (partner.project.as_ref(), route.as_str());
    let until = clock::now_ms() + u64::from(IDEMPOTENCY_SECONDS) * 1000;
    let retry = request(&headers, route, &body.bytes, String::new(), until)?;
    whole(async move {
        let result = moderate(&app, &partner, id, (body.value, version), retry).await?;
        let tag = [(header::ETAG, tags::of(result.version))];
        Ok((tag, JsonBody(result)).into_response())
    })
    .await
}

/// Checks what is said, and whether the key may say it.
fn check(app: &App, partner: &Partner, action: &Action) -> Result<(), Failure> {
    match action {
        Action::Update { settings } => check_settings(app, partner, settings)?,
        Action::StartRecording { rule } => {
            partner.may(Scope::RecordingsWrite)?;
            rule.as_ref().map_or(Ok(()), |rule| rule.check("rule"))?;
            rule.as_ref().map_or(Ok(()), |rule| can_make(app, rule))?;
        }
        Action::PauseRecording {} | Action::ResumeRecording {} | Action::StopRecording {} => {
            partner.may(Scope::RecordingsWrite)?;
        }
        _ => {}
    }
    Ok(())
}

/// Checks settings; what is recorded by them is for whoever may record.
pub(super) fn check_settings(
    app: &App,
    partner: &Partner,
    settings: &RoomSettings,
) -> Result<(), Failure> {
    settings.check()?;
    let Some(rule) = &settings.recording else { return Ok(()) };
    partner.may(Scope::RecordingsWrite)?;
    can_make(app, rule)
}

/// Moderates a room, once for each `retry`.
pub(in crate::api::rest) async fn moderate(
    app: &App,
    partner: &Partner,
    id: RoomId,
    (action, version): (Action, Option<u64>),
    retry: Option<IdempotentRequest>,
) -> Result<ActionResult, Failure> {
    let start = match &action {
        Action::StartRecording { rule } => Some(rule.as_ref().and_then(|r| r.target.clone())),
        _ => None,
    };
    let ask = Ask::Act { actor: partner.actor(), action: Box::new(action), version };
    match retry {
        None => {
            ready(app, partner, id, start).await?;
            acted(app.rooms.ask(id, ask).await?)
        }
        Some(retry) => once(app, partner, id, (ask, start), retry).await,
    }
}

/// Whether the room is there, and can be recorded if that is asked for.
async fn ready(
    app: &App,
    partner: &Partner,
    id: RoomId,
    start: Option<Option<String>>,
) -> Result<(), Failure> {
    let row = find(app, partner, id).await?;
    let Some(target) = start else { return Ok(()) };
    let of_room = row.charter.settings.recording.and_then(|rule| rule.target);
    may_record(app, partner, target.or(of_room).as_deref()).await
}

fn acted(reply: Reply) -> Result<ActionResult, Failure> {
    match reply {
        Reply::Acted(result) => Ok(result),
        _ => Err(Failure::new(Code::Internal)),
    }
}

/// Acts unless this request did before. That it did is stored with what it did, its answer after
/// that: a retry after a crash between the two learns that it is done, not with what result.
async fn once(
    app: &App,
    partner: &Partner,
    id: RoomId,
    (ask, start): (Ask, Option<Option<String>>),
    retry: IdempotentRequest,
) -> Result<ActionResult, Failure> {
    let _turn = app.turns.take(retry.id).await;
    match app.store.recall(&retry).await? {
        None | Some(Remembered::New) => {}
        Some(Remembered::Other) => return Err(Failure::new(Code::IdempotencyKeyReused)),
        // The room may have ended with it.
        Some(Remembered::Before(answer)) => {
            if let Ok(result) = serde_json::from_str(&answer) {
                return Ok(result);
            }
            let row = app.store.room(&partner.project, id).await?;
            let version = row.map_or(0, |row| row.charter.version);
            return Ok(ActionResult { version, ..ActionResult::default() });
        }
    }
    ready(app, partner, id, start).await?;
    let result = acted(app.rooms.ask_once(id, ask, Some(retry.clone())).await?)?;
    let answer = serde_json::to_string(&result).unwrap_or_default();
    // It is done, whether or not its answer can be kept.
    if let Err(error) = app.store.remember_answer(&retry, &answer).await {
        tracing::warn!(%error, "the answer to an action is not kept");
    }
    Ok(result)
}
