//! Usage and histories.

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(paths())]
pub(super) struct Api;
