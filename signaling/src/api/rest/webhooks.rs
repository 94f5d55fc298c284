//! Webhook endpoints and deliveries.

use std::sync::Arc;

use axum::{
    Extension, Json as JsonBody, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use sdk_spec::{
    problem::{Code, FieldError},
    rest::{
        Timestamp,
        webhooks::{
            CreateWebhook, CreatedWebhook, DeliveryList, DeliveryPage, Replay, Replayed,
            RotateSecret, UpdateWebhook, Webhook, WebhookList, WebhookState, WebhookTested,
        },
    },
    scope::Scope,
};
use sfu_proto::id::RoomId;

use super::whole;
use crate::{
    api::{
        Failure, Shared,
        auth::Partner,
        problem::{Json, OpaqueName, Params, PathId},
    },
    clock, secret,
    store::{By, Standing, WebhookRow},
    webhook::{Attempt, Stop},
};

/// Its routes, behind the API key.
pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/webhooks", post(create).get(list))
        .route("/v1/webhooks/{webhook}", get(read).patch(update).delete(delete))
        .route("/v1/webhooks/{webhook}/rotate-secret", post(rotate))
        .route("/v1/webhooks/{webhook}/test", post(test))
        .route("/v1/webhooks/{webhook}/deliveries", get(deliveries))
        .route("/v1/webhooks/{webhook}/replay", post(replay))
}

/// Id of an endpoint; whatever else stands in the path is the id of none.
type Id = PathId<OpaqueName>;

/// `POST /v1/webhooks`.
async fn create(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    body: Json<CreateWebhook>,
) -> Result<Response, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    let wish = body.value;
    let errors = wish.check().err().unwrap_or_default();
    check(&app, Some(&wish.url), wish.room.as_deref(), errors)?;
    whole(async move {
        let id = secret::opaque_id("wh_");
        let (actor, now_ms) = (partner.actor(), clock::now_ms());
        let by = By { project: &partner.project, actor: &actor, now_ms };
        let most = partner.quotas.webhooks;
        let row = app.store.create_webhook(&id, wish, most, by).await?;
        let Some(row) = row else {
            let detail = format!("The project may have {most} webhook endpoints.");
            return Err(Failure::new(Code::QuotaExceeded).detail(detail));
        };
        let location = [(header::LOCATION, format!("/v1/webhooks/{id}"))];
        Ok((StatusCode::CREATED, location, JsonBody(with_secret(&row, now_ms))).into_response())
    })
    .await
}

/// `GET /v1/webhooks`.
async fn list(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
) -> Result<JsonBody<WebhookList>, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    let (rows, now_ms) = (app.store.webhooks(&partner.project).await?, clock::now_ms());
    Ok(JsonBody(WebhookList { webhooks: rows.iter().map(|row| webhook(row, now_ms)).collect() }))
}

/// `GET /v1/webhooks/{webhook}`.
async fn read(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
) -> Result<JsonBody<Webhook>, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    let row = app.store.webhook(&partner.project, &id).await?;
    Ok(JsonBody(webhook(&row.ok_or_else(missing)?, clock::now_ms())))
}

/// `PATCH /v1/webhooks/{webhook}`.
async fn update(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
    body: Json<UpdateWebhook>,
) -> Result<JsonBody<Webhook>, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    let wish = body.value;
    let errors = wish.check().err().unwrap_or_default();
    check(&app, wish.url.as_deref(), wish.room.as_ref().and_then(|r| r.as_deref()), errors)?;
    whole(async move {
        let (actor, now_ms) = (partner.actor(), clock::now_ms());
        let by = By { project: &partner.project, actor: &actor, now_ms };
        let row = app.store.update_webhook(&id, wish, by).await?.ok_or_else(missing)?;
        app.webhooks.changed.notify_one();
        Ok(JsonBody(webhook(&row, now_ms)))
    })
    .await
}

/// `DELETE /v1/webhooks/{webhook}`.
async fn delete(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
) -> Result<StatusCode, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    whole(async move {
        let (actor, now_ms) = (partner.actor(), clock::now_ms());
        let by = By { project: &partner.project, actor: &actor, now_ms };
        let is_gone = app.store.delete_webhook(&id, by).await?;
        app.webhooks.changed.notify_one();
        if is_gone { Ok(StatusCode::NO_CONTENT) } else { Err(missing()) }
    })
    .await
}

/// `POST /v1/webhooks/{webhook}/rotate-secret`.
async fn rotate(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
    body: Json<RotateSecret>,
) -> Result<JsonBody<CreatedWebhook>, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    body.value.check()?;
    whole(async move {
        let (actor, now_ms) = (partner.actor(), clock::now_ms());
        let until_ms = now_ms + u64::from(body.value.overlap_seconds) * 1000;
        let by = By { project: &partner.project, actor: &actor, now_ms };
        let row = app.store.rotate_webhook(&id, until_ms, by).await?.ok_or_else(missing)?;
        app.webhooks.changed.notify_one();
        Ok(JsonBody(with_secret(&row, now_ms)))
    })
    .await
}

/// `POST /v1/webhooks/{webhook}/test`.
async fn test(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
) -> Result<JsonBody<WebhookTested>, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    let (actor, now_ms) = (partner.actor(), clock::now_ms());
    let by = By { project: &partner.project, actor: &actor, now_ms };
    let recorded = app.store.record_webhook_test(&id, by).await?;
    let (row, payload) = recorded.ok_or_else(missing)?;
    let (target, event) = (Arc::new(row.target), payload.event);
    let project = partner.project.to_string();
    let attempt = Attempt { project, target, event: event.clone(), body: payload.body, now_ms };
    let result = app.webhooks.test(attempt).await;
    let busy = || Failure::new(Code::RateLimited).header(header::RETRY_AFTER, "10");
    let milliseconds = clock::now_ms().saturating_sub(now_ms);
    Ok(JsonBody(WebhookTested { event, result: result.ok_or_else(busy)?, milliseconds }))
}

/// `GET /v1/webhooks/{webhook}/deliveries`.
async fn deliveries(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
    Params(page): Params<DeliveryPage>,
) -> Result<JsonBody<DeliveryList>, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    page.check()?;
    app.store.webhook(&partner.project, &id).await?.ok_or_else(missing)?;
    // One more than asked for tells whether there is a next page.
    let (before, limit) = (page.before.unwrap_or(u64::MAX), page.limit() + 1);
    let found = app.store.deliveries(&partner.project, &id, page.state, before, limit).await;
    let mut deliveries = found?;
    let wanted = page.limit() as usize;
    let more = deliveries.len() > wanted;
    deliveries.truncate(wanted);
    let next_before = deliveries.last().filter(|_| more).map(|delivery| delivery.seq);
    Ok(JsonBody(DeliveryList { deliveries, next_before }))
}

/// `POST /v1/webhooks/{webhook}/replay`.
async fn replay(
    State(app): State<Shared>,
    Extension(partner): Extension<Partner>,
    PathId(OpaqueName(id)): Id,
    body: Json<Replay>,
) -> Result<Response, Failure> {
    partner.may(Scope::WebhooksWrite)?;
    let wanted = body.value.wanted()?;
    whole(async move {
        let (actor, now_ms) = (partner.actor(), clock::now_ms());
        let by = By { project: &partner.project, actor: &actor, now_ms };
        let queued = app.store.replay(&id, wanted, by).await?.ok_or_else(missing)?;
        app.webhooks.changed.notify_one();
        let replayed = Replayed { queued: queued.count, next_after: queued.next_after };
        Ok((StatusCode::ACCEPTED, JsonBody(replayed)).into_response())
    })
    .await
}

fn missing() -> Failure {
    Failure::new(Code::NotFound)
}

/// Adds to `errors` what only we can tell: where webhooks may go, and what a room id is.
fn check(
    app: &Shared,
    url: Option<&str>,
    room: Option<&str>,
    mut errors: Vec<FieldError>,
) -> Result<(), Failure> {
    if let Some(refusal) = url.and_then(|url| app.webhooks.check(url).err()) {
        errors.push(FieldError::new("url", refusal.to_string()));
    }
    if room.is_some_and(|room| room.parse::<RoomId>().is_err()) {
        errors.push(FieldError::new("room", "must be the id of a room"));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.into()) }
}

fn with_secret(row: &WebhookRow, now_ms: u64) -> CreatedWebhook {
    CreatedWebhook { webhook: webhook(row, now_ms), secret: row.target.secrets.secret_text() }
}

fn webhook(row: &WebhookRow, now_ms: u64) -> Webhook {
    let previous = row.target.previous.as_ref().filter(|(_, until_ms)| now_ms < *until_ms);
    Webhook {
        id: row.id.clone(),
        created_at: Timestamp(row.created_at_ms),
        url: row.target.url.clone(),
        types: row.types.clone(),
        room: row.room.clone(),
        enabled: row.standing == Standing::Enabled,
        signatures: row.target.schemes.clone(),
        public_key: row.target.secrets.public_text(),
        previous_public_key: previous.map(|(old, _)| old.public_text()),
        previous_until: previous.map(|(_, until_ms)| Timestamp(*until_ms)),
        state: match row.standing {
            Standing::Enabled if row.health.is_open() => WebhookState::Failing,
            Standing::Enabled => WebhookState::Healthy,
            Standing::Disabled => WebhookState::Disabled,
            Standing::Stopped(Stop::Gone) => WebhookState::Gone,
            Standing::Stopped(Stop::GivenUp) => WebhookState::GivenUp,
        },
        failing_since: row.health.failing_since_ms.map(Timestamp),
        after: row.after,
    }
}
