//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::HeaderMap;
use dashmap::DashSet;
use sdk_spec::{
    limits::IDEMPOTENCY_KEY_CHARS_MAX,
    problem::{Code, FieldError},
};

use crate::{api::Failure, clock, secret, store::IdempotentRequest};

/// The request as the store remembers it until `expires_at_ms`; `None` without a key.
///
/// The key itself is not kept: what is kept of the body is keyed with it, so that a stolen
/// database does not tell what was sent.
pub(in crate::api) fn request(
    headers: &HeaderMap,
    (project, route): (&str, &str),
    body: &[u8],
    answer: String,
    expires_at_ms: u64,
) -> Result<Option<IdempotentRequest>, Failure> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.as_bytes();
    let fits = (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len());
    if !fits || !key.iter().all(u8::is_ascii_graphic) {
        let reason = format!("must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters");
        return Err(Failure::new(Code::InvalidField)
            .errors(vec![FieldError::new("Idempotency-Key", reason)]));
    }
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), body);
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(mac.as_ref());
    Ok(Some(IdempotentRequest {
        // Neither project nor route has a line feed.
        id: secret::sha256(&[project.as_bytes(), route.as_bytes(), key].join(&b'\n')),
        fingerprint,
        answer,
        now_ms: clock::now_ms(),
        expires_at_ms,
    }))
}

/// Requests with a key that are being answered: their retries wait. Bounded by the requests that are
/// being answered.
#[derive(Default)]
pub(crate) struct Turns(DashSet<[u8; 32]>);

/// How often one that waits looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Turns {
    /// Waits for the turn of this request; it lasts until the value is dropped.
    pub(super) async fn take(&self, id: [u8; 32]) -> Turn<'_> {
        while !self.0.insert(id) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Turn { turns: self, id }
    }
}

/// A request is being answered.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    id: [u8; 32],
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.0.remove(&self.id);
    }
}
