//! What the demo's page is shown of its room's recordings: where each stands and what proves that it
//! is gone, nothing of its contents.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, header},
    routing::get,
};
use sdk_spec::{
    problem::Code,
    recording::{Blame, BlockReason, PurgeReason, RecordingState},
    rest::{
        Timestamp,
        recordings::{Blocked, Receipt, Recording},
    },
};
use serde::{Deserialize, Serialize};
use sfu_proto::id::{RecordingId, RoomId};

use super::{api::Rest, failure::Failure, partner::check_code};

/// Lists recordings for who has the join code.
#[derive(Clone)]
pub(super) struct Shelf {
    rest: Rest,
    code: String,
    /// Whether recordings are sealed to the demo's identity; known once it was looked up.
    opens: Arc<AtomicBool>,
}

/// Of which room.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    room: String,
}

/// Recordings, newest first.
#[derive(Serialize)]
struct Shown {
    /// Whether the identity in the server's data directory opens them.
    opens: bool,
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
    purge_reason: Option<PurgeReason>,
}

/// Why it is not pushed, and who must act.
#[derive(Serialize)]
struct Why {
    reason: BlockReason,
    blame: Blame,
}

impl Shelf {
    pub(super) fn new(rest: Rest, code: String) -> Self {
        Self { rest, code, opens: Arc::default() }
    }

    /// Lets the demo's rooms be recorded.
    pub(super) async fn set_up(self, recipient: String) {
        let opens = self.rest.set_up_recording(recipient).await;
        self.opens.store(opens, Ordering::Relaxed);
    }

    /// The join code as a bearer: addresses are logged on the way, headers are not.
    fn check(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        check_code(shown, &self.code)
    }
}

/// `GET /demo/recordings?room=rm_…` and `GET /demo/recordings/rc_…/receipt`.
pub(super) fn router(shelf: Shelf) -> Router {
    Router::new()
        .route("/demo/recordings", get(list))
        .route("/demo/recordings/{recording}/receipt", get(receipt))
        .with_state(shelf)
}

async fn list(
    State(shelf): State<Shelf>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Json<Shown>, Failure> {
    shelf.check(&headers)?;
    let Query(wanted) = wanted.map_err(|_| Failure::from(Code::MalformedRequest))?;
    let room: RoomId = wanted.room.parse().map_err(|_| Failure::from(Code::InvalidField))?;
    let recordings = shelf.rest.recordings(room).await?.into_iter().map(line).collect();
    Ok(Json(Shown { opens: shelf.opens.load(Ordering::Relaxed), recordings }))
}

async fn receipt(
    State(shelf): State<Shelf>,
    headers: HeaderMap,
    Path(recording): Path<String>,
) -> Result<Json<Receipt>, Failure> {
    shelf.check(&headers)?;
    let id: RecordingId = recording.parse().map_err(|_| Failure::from(Code::NotFound))?;
    Ok(Json(shelf.rest.receipt(id).await?))
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
        purge_reason: recording.purge_reason,
    }
}
