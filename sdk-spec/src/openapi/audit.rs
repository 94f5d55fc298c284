//! The audit log: entries, checkpoints, proofs.

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(paths())]
pub(super) struct Api;
