//! Webhook endpoints and deliveries.

use utoipa::OpenApi;

use crate::rest::webhooks::{
    CreateWebhook, CreatedWebhook, DeliveryList, DeliveryPage, Replay, Replayed, RotateSecret,
    UpdateWebhook, Webhook, WebhookList, WebhookTested,
};

#[derive(OpenApi)]
#[openapi(
    paths(
        create_webhook, list_webhooks, read_webhook, update_webhook, delete_webhook,
        rotate_webhook_secret, test_webhook, list_deliveries, replay_deliveries,
    ),
    tags((name = "webhooks", description = "Events sent to a partner's server, signed by \
        Standard Webhooks: in order for each room, at least once, for more than 72 hours.")),
)]
pub(super) struct Api;

/// Create a webhook endpoint. Scope `webhooks:write`.
///
/// It gets the events that happen from now on. The secret is shown only in this answer.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", operation_id = "createWebhook",
    extensions(("x-scope" = json!("webhooks:write"))),
    request_body = CreateWebhook,
    responses((status = 201, body = CreatedWebhook, headers(("Location" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn create_webhook() {}

/// List webhook endpoints, oldest first. Scope `webhooks:write`.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", operation_id = "listWebhooks",
    extensions(("x-scope" = json!("webhooks:write"))),
    responses((status = 200, body = WebhookList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_webhooks() {}

/// Read a webhook endpoint. Scope `webhooks:write`.
#[utoipa::path(get, path = "/v1/webhooks/{webhook}", tag = "webhooks",
    operation_id = "readWebhook",
    extensions(("x-scope" = json!("webhooks:write"))),
    params(("webhook" = String, Path, description = "`wh_…`")),
    responses((status = 200, body = Webhook)),
    security(("key" = []), ("key_basic" = [])))]
fn read_webhook() {}

/// Change a webhook endpoint. Scope `webhooks:write`.
///
/// What happened while it was disabled is sent when it is enabled again, as far as the event log
/// goes back.
#[utoipa::path(patch, path = "/v1/webhooks/{webhook}", tag = "webhooks",
    operation_id = "updateWebhook",
    extensions(("x-scope" = json!("webhooks:write"))),
    params(("webhook" = String, Path, description = "`wh_…`")),
    request_body = UpdateWebhook, responses((status = 200, body = Webhook)),
    security(("key" = []), ("key_basic" = [])))]
fn update_webhook() {}

/// Delete a webhook endpoint and its deliveries. Scope `webhooks:write`.
#[utoipa::path(delete, path = "/v1/webhooks/{webhook}", tag = "webhooks",
    operation_id = "deleteWebhook",
    extensions(("x-scope" = json!("webhooks:write"))),
    params(("webhook" = String, Path, description = "`wh_…`")),
    responses((status = 204, description = "Gone")),
    security(("key" = []), ("key_basic" = [])))]
fn delete_webhook() {}

/// Replace secret and signing key. Scope `webhooks:write`.
///
/// The old ones sign beside the new ones until the overlap is over. The secret is shown only in
/// this answer.
#[utoipa::path(post, path = "/v1/webhooks/{webhook}/rotate-secret", tag = "webhooks",
    operation_id = "rotateWebhookSecret",
    extensions(("x-scope" = json!("webhooks:write"))),
    params(("webhook" = String, Path, description = "`wh_…`")),
    request_body = RotateSecret, responses((status = 200, body = CreatedWebhook)),
    security(("key" = []), ("key_basic" = [])))]
fn rotate_webhook_secret() {}

/// Send a `webhook.test` event now, once, and tell what became of it. Scope `webhooks:write`.
#[utoipa::path(post, path = "/v1/webhooks/{webhook}/test", tag = "webhooks",
    operation_id = "testWebhook",
    extensions(("x-scope" = json!("webhooks:write"))),
    params(("webhook" = String, Path, description = "`wh_…`")),
    responses((status = 200, body = WebhookTested)),
    security(("key" = []), ("key_basic" = [])))]
fn test_webhook() {}

/// List deliveries, the newest event first. Scope `webhooks:write`.
#[utoipa::path(get, path = "/v1/webhooks/{webhook}/deliveries", tag = "webhooks",
    operation_id = "listDeliveries",
    extensions(("x-scope" = json!("webhooks:write"))),
    params(("webhook" = String, Path, description = "`wh_…`"), DeliveryPage),
    responses((status = 200, body = DeliveryList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_deliveries() {}

/// Send events once more: one, a range, or every dead letter. Scope `webhooks:write`.
#[utoipa::path(post, path = "/v1/webhooks/{webhook}/replay", tag = "webhooks",
    operation_id = "replayDeliveries",
    extensions(("x-scope" = json!("webhooks:write"))),
    params(("webhook" = String, Path, description = "`wh_…`")),
    request_body = Replay, responses((status = 202, body = Replayed)),
    security(("key" = []), ("key_basic" = [])))]
fn replay_deliveries() {}
