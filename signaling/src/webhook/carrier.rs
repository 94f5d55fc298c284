//! One delivery over HTTP/1.1: looked up, checked, connected, signed, posted, forgotten.
//!
//! Each attempt has a connection of its own, made to an address that the guard has just checked:
//! there is no pool, proxy or redirect by which it could end elsewhere.

use std::time::UNIX_EPOCH;

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use egress::{Admission, DialError, Dialer, Guard, Place, RulesError, Stream, TrustError};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use sdk_spec::rest::webhooks::DeliveryResult;
use tokio::{task::JoinSet, time::timeout};

use super::{Attempt, Attempted, Carrier, sign};
use crate::limits;

/// Why nothing can be sent. Blame: the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CarrierError {
    /// The rules.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The certificates that are trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A metric's name is taken.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// The way out.
pub(crate) struct Http {
    dialer: Dialer,
}

impl Http {
    pub(super) fn new(dialer: Dialer) -> Self {
        Self { dialer }
    }

    pub(super) fn guard(&self) -> &Guard {
        self.dialer.guard()
    }

    async fn post(
        &self,
        attempt: Attempt,
        place: &Place,
        admission: Admission,
    ) -> Result<Attempted, DeliveryResult> {
        let stream = self.dialer.dial(place, admission).await.map_err(unconnected)?;
        let now_ms = attempt.now_ms;
        exchange(stream, request(place, attempt)?, now_ms).await
    }
}

impl Carrier for Http {
    async fn carry(&self, attempt: Attempt) -> Option<Attempted> {
        let Ok(place) = self.guard().parse(&attempt.target.url) else {
            return Some(Attempted::of(DeliveryResult::Forbidden));
        };
        // Not within the receiver's time: others may be what is waited for.
        let admission = self.guard().admit(&place, &attempt.project).await?;
        let posted = timeout(limits::WEBHOOK_ATTEMPT, self.post(attempt, &place, admission));
        Some(match posted.await {
            Ok(Ok(attempted)) => attempted,
            Ok(Err(result)) => Attempted::of(result),
            Err(_) => Attempted::of(DeliveryResult::Timeout),
        })
    }
}

fn unconnected(error: DialError) -> DeliveryResult {
    match error {
        DialError::Forbidden => DeliveryResult::Forbidden,
        DialError::Unreachable => DeliveryResult::Unreachable,
        DialError::Tls => DeliveryResult::Tls,
        DialError::Timeout => DeliveryResult::Timeout,
    }
}

fn request(place: &Place, attempt: Attempt) -> Result<Request<Body>, DeliveryResult> {
    let Attempt { project: _, target, event, body, now_ms } = attempt;
    let signatures = sign::signatures(&target, &event, now_ms, &body);
    Request::post(place.path())
        .header(header::HOST, place.authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "conclave")
        .header("webhook-id", event)
        .header("webhook-timestamp", now_ms / 1000)
        .header("webhook-signature", signatures)
        .body(Body::from(body))
        // What is in a stored URL was checked when it was read.
        .map_err(|_| DeliveryResult::Protocol)
}

async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Body>,
    now_ms: u64,
) -> Result<Attempted, DeliveryResult> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::WEBHOOK_ANSWER_HEAD).max_headers(limits::HEADERS_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| blame(&error))?;
    // Ends with this set, whatever the receiver does.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| blame(&error))?;
    let attempted = judge(answer.status(), answer.headers(), now_ms);
    discard(answer).await;
    Ok(attempted)
}

fn blame(error: &hyper::Error) -> DeliveryResult {
    if error.is_parse() { DeliveryResult::Protocol } else { DeliveryResult::Unreachable }
}

/// Lets a well-behaved receiver finish its answer; nothing of it is kept.
async fn discard(answer: Response<Incoming>) {
    let body = to_bytes(Body::new(answer.into_body()), limits::WEBHOOK_ANSWER_BYTES);
    let _ = timeout(limits::WEBHOOK_ANSWER, body).await;
}

fn judge(status: StatusCode, headers: &HeaderMap, now_ms: u64) -> Attempted {
    let result = match status.as_u16() {
        200..300 => DeliveryResult::Delivered,
        300..400 => DeliveryResult::Redirected,
        410 => DeliveryResult::Gone,
        429 => DeliveryResult::Throttled,
        400..500 => DeliveryResult::Rejected,
        500..600 => DeliveryResult::ServerError,
        _ => DeliveryResult::Protocol,
    };
    let asks = matches!(status.as_u16(), 429 | 502..=504);
    let retry_after_ms = asks.then(|| retry_after_ms(headers, now_ms)).flatten();
    Attempted { result, retry_after_ms }
}

/// RFC 9110 section 10.2.3: seconds, or a date.
fn retry_after_ms(headers: &HeaderMap, now_ms: u64) -> Option<u64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1000));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(at.as_millis()).ok()?.checked_sub(now_ms)
}

#[cfg(test)]
mod tests;
