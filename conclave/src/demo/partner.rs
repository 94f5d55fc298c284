//! The partner's server of the demo: checks the join code, finds or makes the room, mints a token.
//!
//! One task owns the work, so that two pages that open at once meet in one room.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, Uri},
};
use sdk_spec::{
    handle::Handle,
    problem::{Code, Problem},
    rest::{CreateRoom, CreateToken, CreatedToken, Room},
    room::RoomSettings,
    ws::{Grants, Role, Source},
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};

use super::{
    api::Rest,
    failure::Failure,
    reach::{Reach, authority},
};

/// Joins that wait for the task; more are told to come again.
const JOINS_WAITING_MAX: usize = 64;
/// Rooms whose ids are remembered; one that was forgotten is looked for among the open ones.
const ROOMS_KNOWN_MAX: usize = 1000;
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
pub(super) struct JoinAnswer {
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
    reach: Reach,
    jobs: mpsc::Sender<Job>,
}

/// Starts the task; it ends with the last [`Partner`].
pub(super) fn spawn(rest: Rest, code: String, reach: Reach) -> Partner {
    let (jobs, mut waiting) = mpsc::channel::<Job>(JOINS_WAITING_MAX);
    let mut mint = Mint { rest, known: HashMap::new() };
    tokio::spawn(async move {
        while let Some(job) = waiting.recv().await {
            let minted = mint.token(job.room, job.handle).await;
            // A page that went away meanwhile does not wait for it.
            let _ = job.answer.send(minted);
        }
    });
    Partner { code, reach, jobs }
}

/// `POST /demo/join`.
pub(super) async fn join(
    State(partner): State<Partner>,
    uri: Uri,
    headers: HeaderMap,
    request: Result<Json<JoinRequest>, JsonRejection>,
) -> Result<Json<JoinAnswer>, Failure> {
    let Json(request) = request?;
    if !bool::from(request.code.as_bytes().ct_eq(partner.code.as_bytes())) {
        return Err(Problem::new(Code::NotPermitted).detail("the join code is not right").into());
    }
    let host = authority(&headers, &uri);
    if host.is_none() && partner.reach.public_url.is_none() {
        let detail = "the Host header must be a plain host and port";
        return Err(Problem::new(Code::MalformedRequest).detail(detail).into());
    }
    let (answer, minted) = oneshot::channel();
    let job = Job { room: request.room, handle: request.handle, answer };
    partner.jobs.try_send(job).map_err(|_| Failure::from(Code::Unavailable))?;
    let minted = minted.await.map_err(|_| Failure::from(Code::Internal))??;
    let url = partner.reach.ws_url(minted.ws_url, host);
    Ok(Json(JoinAnswer { url, token: minted.token }))
}

/// Finds or makes the room and asks REST for a token.
struct Mint {
    rest: Rest,
    /// Ids of rooms by their names. A room may have ended since.
    known: HashMap<Handle, String>,
}

impl Mint {
    async fn token(&mut self, room: Handle, handle: Handle) -> Result<CreatedToken, Failure> {
        let grants = Grants { publish: SOURCES.to_vec(), subscribe: true, ..Grants::default() };
        let token = CreateToken { handle, role: Role::Participant, grants, ttl_seconds: None };
        let id = self.open_room(&room).await?;
        match self.rest.create_token(&id, &token).await {
            // The room ended in between: empty for too long.
            Err(failure) if failure.status == StatusCode::NOT_FOUND => {
                self.known.remove(&room);
                let fresh = self.create_room(room).await?;
                self.rest.create_token(&fresh, &token).await
            }
            minted => minted,
        }
    }

    async fn open_room(&mut self, name: &Handle) -> Result<String, Failure> {
        if let Some(id) = self.known.get(name) {
            return Ok(id.clone());
        }
        match self.rest.find_room(name.as_str()).await? {
            Some(found) => Ok(self.remember(name.clone(), found)),
            None => self.create_room(name.clone()).await,
        }
    }

    async fn create_room(&mut self, name: Handle) -> Result<String, Failure> {
        let request = CreateRoom {
            settings: RoomSettings {
                participants_max: Some(PARTICIPANTS_MAX),
                ..RoomSettings::default()
            },
            reference: Some(name.clone()),
            ..CreateRoom::default()
        };
        let room = self.rest.create_room(&request).await?;
        Ok(self.remember(name, room))
    }

    fn remember(&mut self, name: Handle, room: Room) -> String {
        if self.known.len() >= ROOMS_KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(name, room.id.clone());
        room.id
    }
}
