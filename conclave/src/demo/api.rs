//! The public REST API as the demo's partner server sees it: requests with a key, nothing else.

use axum::{
    Router,
    body::{self, Body},
    http::{Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use sdk_spec::{
    problem::MEDIA_TYPE,
    rest::{CreateRoom, CreateToken, CreatedToken, Room, RoomList},
};
use serde::{Serialize, de::DeserializeOwned};
use tower::ServiceExt as _;

/// Bytes of the largest answer: a page of rooms.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// A client of REST that calls the router in this process.
#[derive(Clone)]
pub(super) struct Rest {
    router: Router,
    api_key: String,
}

/// An answer that was no success: a problem (RFC 9457), to be handed on.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    problem: Vec<u8>,
}

impl Failure {
    fn ours() -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, problem: b"{}".to_vec() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, MEDIA_TYPE)], self.problem).into_response()
    }
}

impl Rest {
    pub(super) fn new(router: Router, api_key: String) -> Self {
        Self { router, api_key }
    }

    /// The newest open room with this reference.
    pub(super) async fn find_room(&self, reference: &str) -> Result<Option<Room>, Failure> {
        let list: RoomList = self.call(Method::GET, "/v1/rooms?limit=200", &()).await?;
        let named = |room: &Room| room.reference.as_ref().is_some_and(|r| r.as_str() == reference);
        Ok(list.rooms.into_iter().find(named))
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

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = match method {
            Method::GET => Body::empty(),
            _ => Body::from(serde_json::to_vec(body).map_err(|_| Failure::ours())?),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| Failure::ours())?;
        let Ok(response) = self.router.clone().oneshot(request).await;
        let status = response.status();
        let bytes = body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        let bytes = bytes.map_err(|_| Failure::ours())?;
        if !status.is_success() {
            return Err(Failure { status, problem: bytes.to_vec() });
        }
        serde_json::from_slice(&bytes).map_err(|_| Failure::ours())
    }
}
