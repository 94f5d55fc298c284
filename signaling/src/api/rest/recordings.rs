//! Recordings: start, list, read, stop, pause, resume, push, hold, delete; and the evidence.

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post, put},
};
use sdk_spec::{
    action::{Action, ActionRefusal},
    limits::{IDEMPOTENCY_SECONDS, RECORDINGS_LIVE_MAX},
    problem::{Code, FieldError},
    recording::{Output, RecordingRule, RecordingState},
    rest::{
        Timestamp,
        recordings::{
            EvidenceKeys, HoldRecording, ListRecordings, PushRecording, Receipt, Recording,
            RecordingPage, RecordingPolicy, StartRecording,
        },
    },
    scope::Scope,
};
use sfu_proto::id::{RecordingId, RoomId};

use super::{
    events, idempotency, paging,
    rooms::{moderate, tags},
    whole,
};
use crate::{
    api::{
        App, Failure, Shared,
        auth::Partner,
        problem::{Json, Params, PathId},
    },
    clock,
    domain::{Ask, Refusal},
    limits,
    recorder::RecorderPort,
    store::{Changed, MayRecord, RecordingFilter, RecordingRow, Wish},
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/rooms/{room}/recordings", post(start))
        .route("/v1/recordings", get(list))
        .route("/v1/recordings/{recording}", get(read).delete(delete))
        .route("/v1/recordings/{recording}/stop", post(stop))
        .route("/v1/recordings/{recording}/pause", post(pause))
        .route("/v1/recordings/{recording}/resume", post(resume))
        .route("/v1/recordings/{recording}/push", post(push))
        .route("/v1/recordings/{recording}/hold", put(hold))
        .route("/v1/recordings/{recording}/receipt", get(receipt))
        .route("/v1/evidence-keys", get(evidence_keys))
        .route("/v1/recording-policy", get(read_policy).put(set_policy))
}

/// `POST /v1/rooms/{room}/recordings`.
async fn start(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(room): PathId<RoomId>,
    headers: HeaderMap,
    body: Json<StartRecording>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    body.value.rule.check("rule")?;
    can_make(&app, &body.value.rule)?;
    let route = format!("rooms/{room}/recordings");
    let route = (partner.project.as_ref(), route.as_str());
    let until = clock::now_ms() + u64::from(IDEMPOTENCY_SECONDS) * 1000;
    let retry = idempotency::request(&headers, route, &body.bytes, String::new(), until)?;
    whole(async move {
        let action = Action::StartRecording { rule: Some(body.value.rule) };
        let result = moderate(&app, &partner, room, (action, None), retry).await?;
        let id = result.recording.and_then(|id| id.parse::<RecordingId>().ok());
        let row = match id {
            Some(id) => app.store.recording_of(&partner.project, id).await?,
            // A retry after a crash: it is done, and what it made is the newest.
            None => {
                let filter = RecordingFilter { room: Some(room), state: None };
                app.store.recordings(&partner.project, filter, None, 1).await?.pop()
            }
        };
        // The policy was emptied meanwhile: nothing is recorded.
        let row = row.ok_or_else(|| Failure::from(ActionRefusal::NotConfigured))?;
        let location = [(header::LOCATION, format!("/v1/recordings/{}", row.id))];
        Ok((StatusCode::CREATED, location, shown(row)).into_response())
    })
    .await
}

/// Whether a recording may start in a project, pushed to `target` or where its policy says.
///
/// # Errors
/// Why not.
pub(super) async fn may_record(
    app: &App,
    partner: &Partner,
    target: Option<&str>,
) -> Result<(), Failure> {
    match app.store.may_record(&partner.project, target).await? {
        MayRecord::Yes if recorder(app)?.has_room() => Ok(()),
        MayRecord::Yes => Err(ActionRefusal::RecorderFull.into()),
        MayRecord::NotConfigured => Err(ActionRefusal::NotConfigured.into()),
        MayRecord::Full => {
            let detail =
                format!("The project may have {RECORDINGS_LIVE_MAX} recordings at a time.");
            Err(Failure::new(Code::QuotaExceeded).detail(detail))
        }
    }
}

/// The recorder of this server.
///
/// # Errors
/// [`Code::Unavailable`] when it has none.
pub(super) fn recorder(app: &App) -> Result<&dyn RecorderPort, Failure> {
    let missing = || Failure::new(Code::Unavailable).detail("This server does not record.");
    app.recorder.as_deref().ok_or_else(missing)
}

/// Whether this server can make what a rule asks for.
///
/// # Errors
/// [`Code::Unavailable`] when it cannot.
pub(super) fn can_make(app: &App, rule: &RecordingRule) -> Result<(), Failure> {
    let is_made = |output: &Output| !matches!(output, Output::Tracks | Output::Journal);
    let can = || app.recorder.as_deref().is_some_and(RecorderPort::composites);
    if !rule.outputs.iter().any(is_made) || can() {
        return Ok(());
    }
    let detail = "This server makes files of tracks only: ffmpeg or its sandbox is missing.";
    Err(Failure::new(Code::Unavailable).detail(detail))
}

/// `GET /v1/recordings`.
async fn list(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    Params(query): Params<ListRecordings>,
) -> Result<JsonBody<RecordingPage>, Failure> {
    partner.may(Scope::RecordingsRead)?;
    let page = query.page();
    let after = paging::after(&page)?;
    let room = query.room.as_deref().map(events::room).transpose()?;
    let filter = RecordingFilter { room, state: query.state };
    let rows = app.store.recordings(&partner.project, filter, after, paging::rows(&page)).await?;
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row.started_at_ms, answer(row))).collect();
    let next = paging::cut(&mut rows, &page, |(started_ms, row)| (*started_ms, &row.id));
    Ok(JsonBody(RecordingPage { recordings: rows.into_iter().map(|row| row.1).collect(), next }))
}

/// `GET /v1/recordings/{recording}`.
async fn read(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsRead)?;
    let row = find(&app, &partner, id).await?;
    if tags::is_known(&headers, row.version) {
        let tag = [(header::ETAG, tags::of(row.version))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok(shown(row))
}

/// `POST /v1/recordings/{recording}/stop`.
async fn stop(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    turn(app, partner, id, Turn::Stop).await
}

/// `POST /v1/recordings/{recording}/pause`.
async fn pause(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    turn(app, partner, id, Turn::Pause).await
}

/// `POST /v1/recordings/{recording}/resume`.
async fn resume(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    turn(app, partner, id, Turn::Resume).await
}

/// What a live recording can be told.
#[derive(Clone, Copy)]
enum Turn {
    Stop,
    Pause,
    Resume,
}

impl Turn {
    fn action(self) -> Action {
        match self {
            Self::Stop => Action::StopRecording {},
            Self::Pause => Action::PauseRecording {},
            Self::Resume => Action::ResumeRecording {},
        }
    }

    /// What is so while the store has not taken it.
    fn unstored(self) -> &'static str {
        match self {
            Self::Stop => "Nothing is recorded any more. That is not stored yet: ask again.",
            Self::Pause => "Nothing is recorded for now. That is not stored yet: ask again.",
            Self::Resume => "It goes on when that is stored: ask again.",
        }
    }

    /// Whether nothing is left to do.
    fn is_done(self, state: RecordingState) -> bool {
        match self {
            Self::Stop => !state.is_live(),
            Self::Pause => state == RecordingState::Paused,
            Self::Resume => state == RecordingState::Recording,
        }
    }
}

/// Tells the room of a recording, before the store is asked for anything: it may stand still. Said twice,
/// it is done once.
async fn turn(
    app: Shared,
    partner: Partner,
    id: RecordingId,
    turn: Turn,
) -> Result<Response, Failure> {
    whole(async move {
        let told = tell_room(&app, &partner, id, turn).await?;
        // Answered when it was stored: what is read now has it.
        let row = find(&app, &partner, id).await?;
        match told {
            Ok(()) => Ok(shown(row)),
            // It is so already, or came to be at this moment, by somebody else.
            Err(_) if turn.is_done(row.state) => Ok(shown(row)),
            Err(_) if !row.state.is_live() => Err(refused("The recording is over.")),
            Err(Refusal::NotFound | Refusal::Gone) => Err(Failure::new(Code::Unavailable)),
            Err(refusal) => Err(refusal.into()),
        }
    })
    .await
}

/// What the room that has a recording says to it.
///
/// # Errors
/// [`Code::Unavailable`] when what it did is not stored in time.
async fn tell_room(
    app: &App,
    partner: &Partner,
    id: RecordingId,
    turn: Turn,
) -> Result<Result<(), Refusal>, Failure> {
    let Some(room) = app.rooms.recorded(&partner.project, id) else {
        return Ok(Err(Refusal::NotFound));
    };
    let ask = Ask::Turn { actor: partner.actor(), recording: id, action: Box::new(turn.action()) };
    let told = tokio::time::timeout(limits::RECORDING_TURN, app.rooms.ask(room, ask)).await;
    let told = told.map_err(|_| Failure::new(Code::Unavailable).detail(turn.unstored()))?;
    Ok(told.map(|_| ()))
}

/// `POST /v1/recordings/{recording}/push`.
async fn push(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
    body: Option<Json<PushRecording>>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    let target = body.and_then(|body| body.value.target);
    let wished = wish(app, partner, id, (Wish::Push, target)).await?;
    Ok((StatusCode::ACCEPTED, wished).into_response())
}

/// `DELETE /v1/recordings/{recording}`.
async fn delete(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    let wished = wish(app, partner, id, (Wish::Purge, None)).await?;
    Ok((StatusCode::ACCEPTED, wished).into_response())
}

/// The recorder does it when it sees the row.
async fn wish(
    app: Shared,
    partner: Partner,
    id: RecordingId,
    wish: (Wish, Option<String>),
) -> Result<Response, Failure> {
    whole(async move {
        let by = partner.by();
        changed(app.store.wish_for_recording(&partner.project, id, wish, &by).await?)
    })
    .await
}

/// `PUT /v1/recordings/{recording}/hold`.
async fn hold(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
    body: Json<HoldRecording>,
) -> Result<Response, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    whole(async move {
        let (by, held) = (partner.by(), body.value.held);
        changed(app.store.hold_recording(&partner.project, id, held, &by).await?)
    })
    .await
}

/// `GET /v1/recordings/{recording}/receipt`.
async fn receipt(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(id): PathId<RecordingId>,
) -> Result<JsonBody<Receipt>, Failure> {
    partner.may(Scope::RecordingsRead)?;
    let row = find(&app, &partner, id).await?;
    let missing = || refused("It is not purged yet, so there is no receipt.");
    row.receipt.map(JsonBody).ok_or_else(missing)
}

/// `GET /v1/evidence-keys`.
async fn evidence_keys(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
) -> Result<JsonBody<EvidenceKeys>, Failure> {
    partner.may(Scope::RecordingsRead)?;
    let keys = recorder(&app)?.evidence_keys().await;
    Ok(JsonBody(EvidenceKeys { keys }))
}

/// `GET /v1/recording-policy`.
async fn read_policy(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
) -> Result<JsonBody<RecordingPolicy>, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    Ok(JsonBody(app.store.recording_policy(&partner.project).await?))
}

/// `PUT /v1/recording-policy`.
async fn set_policy(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    body: Json<RecordingPolicy>,
) -> Result<JsonBody<RecordingPolicy>, Failure> {
    partner.may(Scope::RecordingsWrite)?;
    let policy = body.value;
    policy.check()?;
    can_make(&app, &policy.rule)?;
    whole(async move {
        let by = partner.by();
        if app.store.set_recording_policy(&partner.project, &policy, &by).await? {
            return Ok(JsonBody(policy));
        }
        Err(no_target())
    })
    .await
}

fn no_target() -> Failure {
    let reason = "is not the id of a storage target of the project";
    vec![FieldError::new("target", reason)].into()
}

fn refused(detail: &str) -> Failure {
    Failure::new(Code::ActionRefused).detail(detail)
}

/// A recording of the partner; a foreign one is as unknown as one that never was.
async fn find(app: &App, partner: &Partner, id: RecordingId) -> Result<RecordingRow, Failure> {
    let row = app.store.recording_of(&partner.project, id).await?;
    row.ok_or_else(|| Failure::new(Code::NotFound))
}

fn changed(changed: Changed) -> Result<Response, Failure> {
    match changed {
        Changed::Done(row) => Ok(shown(*row)),
        Changed::Missing => Err(Failure::new(Code::NotFound)),
        Changed::Unfit(why) => Err(refused(why)),
        Changed::NoTarget => Err(no_target()),
    }
}

/// A recording with its entity tag.
fn shown(row: RecordingRow) -> Response {
    let tag = [(header::ETAG, tags::of(row.version))];
    (tag, JsonBody(answer(row))).into_response()
}

fn answer(row: RecordingRow) -> Recording {
    Recording {
        id: row.id.to_string(),
        room: row.room.to_string(),
        state: row.state,
        progress: row.progress,
        rule: row.rule,
        target: row.terms.target,
        started_at: Timestamp(row.started_at_ms),
        stopped_at: row.stopped_at_ms.map(Timestamp),
        stop_reason: row.stop_reason,
        expires_at: row.expires_at_ms.map(Timestamp),
        held: row.held,
        blocked: row.blocked,
        artifacts: row.artifacts,
        purged_at: row.purged_at_ms.map(Timestamp),
        purge_reason: row.purge_reason,
    }
}
