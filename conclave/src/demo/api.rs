//! The public REST API as the demo's partner server sees it: requests with a key, nothing else.

use axum::{
    Router,
    body::{self, Body},
    http::{Method, Request, header},
};
use sdk_spec::{
    handle::Handle,
    limits::{PAGE_SIZE_MAX, ROOMS_OPEN_MAX},
    problem::Code,
    rest::{
        CreateRoom, CreateToken, CreatedToken, Room, RoomList,
        recordings::{
            CreateStorageTarget, Receipt, Recording, RecordingPage, RecordingPolicy, Storage,
            StorageTarget,
        },
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tower::ServiceExt as _;

use sfu_proto::id::{RecordingId, RoomId};

use super::failure::Failure;

/// Bytes of the largest answer: a page of rooms.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Recordings that a page of the demo shows at most.
const RECORDINGS_SHOWN_MAX: usize = 20;
/// Pages of rooms that are read at most: those of a project that has all it may.
const PAGES_MAX: u32 = ROOMS_OPEN_MAX.div_ceil(PAGE_SIZE_MAX);

/// A client of REST that calls the router in this process.
#[derive(Clone)]
pub(super) struct Rest {
    router: Router,
    api_key: String,
}

impl Rest {
    pub(super) fn new(router: Router, api_key: String) -> Self {
        Self { router, api_key }
    }

    /// The newest open room with this reference.
    pub(super) async fn find_room(&self, reference: &str) -> Result<Option<Room>, Failure> {
        let named = |room: &Room| room.reference.as_ref().is_some_and(|r| r.as_str() == reference);
        let mut path = format!("/v1/rooms?limit={PAGE_SIZE_MAX}");
        for _ in 0..PAGES_MAX {
            let list: RoomList = self.call(Method::GET, &path, &()).await?;
            if let Some(room) = list.rooms.into_iter().find(named) {
                return Ok(Some(room));
            }
            let Some(cursor) = list.next_cursor else { return Ok(None) };
            path = format!("/v1/rooms?limit={PAGE_SIZE_MAX}&cursor={cursor}");
        }
        Ok(None)
    }

    pub(super) async fn room(&self, id: &str) -> Result<Room, Failure> {
        self.call(Method::GET, &format!("/v1/rooms/{id}"), &()).await
    }

    pub(super) async fn create_room(&self, request: &CreateRoom) -> Result<Room, Failure> {
        self.call(Method::POST, "/v1/rooms", request).await
    }

    pub(super) async fn create_token(
        &self,
        room: &str,
        request: &CreateToken,
    ) -> Result<CreatedToken, Failure> {
        self.call(Method::POST, &format!("/v1/rooms/{room}/tokens"), request).await
    }

    /// The newest recordings of a room.
    pub(super) async fn recordings(&self, room: RoomId) -> Result<Vec<Recording>, Failure> {
        let path = format!("/v1/recordings?room={room}&limit={RECORDINGS_SHOWN_MAX}");
        let page: RecordingPage = self.call(Method::GET, &path, &()).await?;
        Ok(page.recordings)
    }

    /// What proves that a recording is gone.
    pub(super) async fn receipt(&self, recording: RecordingId) -> Result<Receipt, Failure> {
        self.call(Method::GET, &format!("/v1/recordings/{recording}/receipt"), &()).await
    }

    /// Lets rooms of the project be recorded into the server's folder, sealed to the demo's identity,
    /// unless somebody has decided otherwise. Gives whether that identity opens the recordings.
    pub(super) async fn set_up_recording(&self, recipient: String) -> bool {
        let done = self.try_to_set_up_recording(recipient).await;
        done.unwrap_or_else(|failure| {
            tracing::warn!(status = %failure.status, "the demo cannot record");
            false
        })
    }

    async fn try_to_set_up_recording(&self, recipient: String) -> Result<bool, Failure> {
        let policy: RecordingPolicy = self.call(Method::GET, "/v1/recording-policy", &()).await?;
        if !policy.recipients.is_empty() || recipient.is_empty() {
            return Ok(policy.recipients.contains(&recipient));
        }
        let name = Handle::parse("local").map_err(|_| Failure::from(Code::Internal))?;
        let request = CreateStorageTarget { name, storage: Storage::Local {} };
        let target: StorageTarget =
            self.call(Method::POST, "/v1/storage-targets", &request).await?;
        let policy = RecordingPolicy {
            recipients: vec![recipient],
            target: Some(target.id),
            ..RecordingPolicy::none()
        };
        let _: RecordingPolicy = self.call(Method::PUT, "/v1/recording-policy", &policy).await?;
        Ok(true)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let ours = || Failure::from(Code::Internal);
        let body = match method {
            Method::GET => Body::empty(),
            _ => Body::from(serde_json::to_vec(body).map_err(|_| ours())?),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| ours())?;
        let Ok(response) = self.router.clone().oneshot(request).await;
        let status = response.status();
        let bytes = body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|_| ours())?;
        if !status.is_success() {
            return Err(Failure::handed_on(status, bytes.to_vec()));
        }
        serde_json::from_slice(&bytes).map_err(|_| ours())
    }
}
