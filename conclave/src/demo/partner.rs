//! The partner's server of the demo: checks the join code, finds or makes the room, mints a token.
//!
//! One task owns the work, so that two pages that open at once meet in one room.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode, Uri},
};
use sdk_spec::{
    handle::Handle,
    problem::{Code, Problem},
    rest::{CreateRoom, CreateToken, CreatedToken, Room},
    room::{RoomSettings, RoomState},
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
/// Time that who was given an empty room to moderate has for getting in: devices and a question.
const MODERATOR_COMES_WITHIN: Duration = Duration::from_secs(60);
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
    /// Instead of: moderator who comes first, then participant.
    #[serde(default)]
    role: Option<Role>,
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
    role: Option<Role>,
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
            let minted = mint.token(job.room, job.handle, job.role).await;
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
    check_code(&request.code, &partner.code)?;
    let host = authority(&headers, &uri);
    if host.is_none() && partner.reach.public_url.is_none() {
        let detail = "the Host header must be a plain host and port";
        return Err(Problem::new(Code::MalformedRequest).detail(detail).into());
    }
    let (answer, minted) = oneshot::channel();
    let JoinRequest { room, handle, role, .. } = request;
    let job = Job { room, handle, role, answer };
    partner.jobs.try_send(job).map_err(|_| Failure::from(Code::Unavailable))?;
    let minted = minted.await.map_err(|_| Failure::from(Code::Internal))??;
    let url = partner.reach.ws_url(minted.ws_url, host);
    Ok(Json(JoinAnswer { url, token: minted.token }))
}

/// Whether a page has the join code.
pub(super) fn check_code(shown: &str, right: &str) -> Result<(), Failure> {
    match bool::from(shown.as_bytes().ct_eq(right.as_bytes())) {
        true => Ok(()),
        false => Err(Problem::new(Code::NotPermitted).detail("the join code is not right").into()),
    }
}

/// Finds or makes the room and asks REST for a token.
struct Mint {
    rest: Rest,
    /// Rooms by their names. A room may have ended since.
    known: HashMap<Handle, Known>,
}

/// What is remembered of a room.
#[derive(Clone)]
struct Known {
    id: String,
    /// Who was made its moderator, and when; nobody yet when it was found.
    moderator: Option<(Handle, Instant)>,
}

impl Known {
    /// Whether this handle moderates: whoever is the first in an empty room.
    fn moderates(&self, handle: &Handle, is_empty: bool) -> bool {
        match &self.moderator {
            Some((moderator, _)) if moderator == handle => true,
            Some((_, since)) => is_empty && since.elapsed() > MODERATOR_COMES_WITHIN,
            None => is_empty,
        }
    }
}

impl Mint {
    async fn token(
        &mut self,
        name: Handle,
        handle: Handle,
        role: Option<Role>,
    ) -> Result<CreatedToken, Failure> {
        let room = self.open_room(&name).await?;
        let as_what = role.unwrap_or_else(|| self.role(&name, &room, &handle));
        let token = create_token(handle.clone(), as_what);
        match self.rest.create_token(&room.id, &token).await {
            // The room ended in between: empty for too long.
            Err(failure) if failure.status == StatusCode::NOT_FOUND => {
                self.known.remove(&name);
                let fresh = self.create_room(name.clone()).await?;
                let as_what = role.unwrap_or_else(|| self.role(&name, &fresh, &handle));
                self.rest.create_token(&fresh.id, &create_token(handle, as_what)).await
            }
            minted => minted,
        }
    }

    /// The role of who asks for none, and notes who moderates.
    fn role(&mut self, name: &Handle, room: &Room, handle: &Handle) -> Role {
        let Some(known) = self.known.get_mut(name) else { return Role::Participant };
        if !known.moderates(handle, room.participants == 0) {
            return Role::Participant;
        }
        known.moderator = Some((handle.clone(), Instant::now()));
        Role::Moderator
    }

    async fn open_room(&mut self, name: &Handle) -> Result<Room, Failure> {
        if let Some(known) = self.known.get(name) {
            match self.rest.room(&known.id).await {
                Ok(room) if room.state != RoomState::Ended => return Ok(room),
                Err(failure) if failure.status != StatusCode::NOT_FOUND => return Err(failure),
                _ => drop(self.known.remove(name)),
            }
        }
        match self.rest.find_room(name.as_str()).await? {
            Some(found) => Ok(self.remember(name.clone(), found)),
            None => self.create_room(name.clone()).await,
        }
    }

    async fn create_room(&mut self, name: Handle) -> Result<Room, Failure> {
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

    fn remember(&mut self, name: Handle, room: Room) -> Room {
        if self.known.len() >= ROOMS_KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(name, Known { id: room.id.clone(), moderator: None });
        room
    }
}

/// Everything; moderating comes with the role, and moderators may record.
fn create_token(handle: Handle, role: Role) -> CreateToken {
    let publish = if role == Role::Viewer { Vec::new() } else { SOURCES.to_vec() };
    let grants = Grants {
        publish,
        subscribe: true,
        data: true,
        update_own: true,
        record: role == Role::Moderator,
        ..Grants::default()
    };
    CreateToken { handle, role, grants, ttl_seconds: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_first_in_an_empty_room_moderates_and_stays_moderator() {
        let (ann, ben) = (Handle::parse("guest-a").unwrap(), Handle::parse("guest-b").unwrap());
        let mut known = Known { id: "rm_1".to_owned(), moderator: None };
        assert!(known.moderates(&ann, true));
        assert!(!known.moderates(&ann, false), "of a room that others opened");
        known.moderator = Some((ann.clone(), Instant::now()));
        assert!(known.moderates(&ann, false), "who comes back");
        assert!(!known.moderates(&ben, true), "the moderator is on its way");
        let long_ago = Instant::now().checked_sub(2 * MODERATOR_COMES_WITHIN);
        known.moderator = long_ago.map(|then| (ann, then));
        assert!(known.moderates(&ben, true) && !known.moderates(&ben, false));
    }
}
