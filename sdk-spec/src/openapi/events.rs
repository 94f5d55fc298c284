//! The event log: `GET /v1/events`.

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(paths())]
pub(super) struct Api;
