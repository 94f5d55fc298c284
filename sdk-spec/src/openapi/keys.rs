//! API keys, token keys, bans and revocations of a project.

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(paths())]
pub(super) struct Api;
