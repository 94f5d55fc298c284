//! Webhook endpoints and deliveries.

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(paths())]
pub(super) struct Api;
