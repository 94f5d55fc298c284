//! The partner's server of the demo: checks the join code, finds or makes the room, mints a token.
//!
//! One task owns the work, so that two pages that open at once meet in one room.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use sdk_spec::{
    handle::Handle,
    rest::{CreateRoom, CreateToken, CreatedToken, Room},
    ws::{Grants, Role, Source},
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};

use super::api::{Failure, Rest};

/// Joins that wait for the task; more are told to come again.
const JOINS_WAITING_MAX: usize = 64;
/// Participants of a demo room at most: what one page can show.
const PARTICIPANTS_MAX: u32 = 16;
/// Everything that a participant can publish.
const SOURCES: [Source; 4] =
    [Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio];

/// What the page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinRequest {
    code: String,
    room: Handle,
    handle: Handle,
}

/// What the page gets, for the SDK's `Room.join(url, token)`.
#[derive(Serialize)]
struct JoinAnswer {
    url: String,
    token: String,
}

struct Job {
    room: Handle,
    handle: Handle,
    answer: oneshot::Sender<Result<CreatedToken, Failure>>,
}

/// Door to the task.
#[derive(Clone)]
pub(super) struct Partner {
    code: String,
    tls: bool,
    jobs: mpsc::Sender<Job>,
}

/// Starts the task; it ends with the last [`Partner`].
pub(super) fn spawn(rest: Rest, code: String, tls: bool) -> Partner {
    let (jobs, mut waiting) = mpsc::channel::<Job>(JOINS_WAITING_MAX);
    tokio::spawn(async move {
        while let Some(job) = waiting.recv().await {
            let minted = mint(&rest, job.room, job.handle).await;
            // A page that went away meanwhile does not wait for it.
            let _ = job.answer.send(minted);
        }
    });
    Partner { code, tls, jobs }
}

/// `POST /demo/join`.
pub(super) async fn join(
    State(partner): State<Partner>,
    headers: HeaderMap,
    Json(request): Json<JoinRequest>,
) -> Response {
    if !bool::from(request.code.as_bytes().ct_eq(partner.code.as_bytes())) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(host) = super::host(&headers) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let url = format!("{}://{host}/v1/ws", if partner.tls { "wss" } else { "ws" });
    let (answer, minted) = oneshot::channel();
    let job = Job { room: request.room, handle: request.handle, answer };
    if partner.jobs.try_send(job).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match minted.await {
        Ok(Ok(minted)) => Json(JoinAnswer { url, token: minted.token }).into_response(),
        Ok(Err(failure)) => failure.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn mint(rest: &Rest, room: Handle, handle: Handle) -> Result<CreatedToken, Failure> {
    let grants = Grants { publish: SOURCES.to_vec(), subscribe: true };
    let token = CreateToken { handle, role: Role::Participant, grants, ttl_seconds: None };
    let found = open_room(rest, &room).await?;
    match rest.create_token(&found.id, &token).await {
        // The room ended in between: empty for too long.
        Err(failure) if failure.status == StatusCode::NOT_FOUND => {
            let fresh = create_room(rest, &room).await?;
            rest.create_token(&fresh.id, &token).await
        }
        minted => minted,
    }
}

async fn open_room(rest: &Rest, name: &Handle) -> Result<Room, Failure> {
    match rest.find_room(name.as_str()).await? {
        Some(room) => Ok(room),
        None => create_room(rest, name).await,
    }
}

async fn create_room(rest: &Rest, name: &Handle) -> Result<Room, Failure> {
    let request = CreateRoom {
        participants_max: Some(PARTICIPANTS_MAX),
        empty_timeout_seconds: None,
        reference: Some(name.clone()),
    };
    rest.create_room(&request).await
}
