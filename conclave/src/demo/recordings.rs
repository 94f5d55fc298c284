//! What the demo's page is shown of its room's recordings: where each stands, nothing of its contents.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, header},
};
use sdk_spec::{
    problem::Code,
    recording::{Blame, BlockReason, RecordingState},
    rest::{
        Timestamp,
        recordings::{Blocked, Recording},
    },
};
use serde::{Deserialize, Serialize};
use sfu_proto::id::RoomId;

use super::{api::Rest, failure::Failure, partner::check_code};

/// Lists recordings for who has the join code.
#[derive(Clone)]
pub(super) struct Shelf {
    rest: Rest,
    code: String,
}

/// Of which room.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    room: String,
}

/// Recordings, newest first.
#[derive(Serialize)]
pub(super) struct Shown {
    recordings: Vec<Line>,
}

/// A recording as the page shows it.
#[derive(Serialize)]
struct Line {
    id: String,
    state: RecordingState,
    /// Percent of the state's work.
    progress: Option<u32>,
    started_at: Timestamp,
    files: usize,
    blocked: Option<Why>,
}

/// Why it is not pushed, and who must act.
#[derive(Serialize)]
struct Why {
    reason: BlockReason,
    blame: Blame,
}

impl Shelf {
    pub(super) fn new(rest: Rest, code: String) -> Self {
        Self { rest, code }
    }
}

/// `GET /demo/recordings?room=rm_…`, with the join code as a bearer: addresses are logged on the way,
/// headers are not.
pub(super) async fn list(
    State(shelf): State<Shelf>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Shown>, Failure> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    check_code(shown, &shelf.code)?;
    let Query(wanted) = wanted.map_err(|_| Failure::from(Code::MalformedRequest))?;
    let room: RoomId = wanted.room.parse().map_err(|_| Failure::from(Code::InvalidField))?;
    let recordings = shelf.rest.recordings(room).await?.into_iter().map(line).collect();
    Ok(Json(Shown { recordings }))
}

fn line(recording: Recording) -> Line {
    let why = |Blocked { reason, blame, .. }: Blocked| Why { reason, blame };
    Line {
        id: recording.id,
        state: recording.state,
        progress: recording.progress,
        started_at: recording.started_at,
        files: recording.artifacts.len(),
        blocked: recording.blocked.map(why),
    }
}
