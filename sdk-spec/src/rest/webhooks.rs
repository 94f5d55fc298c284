//! Webhook endpoints and deliveries.
//!
//! What is sent is an [`Event`](crate::event::Event) as in `GET /v1/events`, signed as Standard
//! Webhooks say (<https://www.standardwebhooks.com>).

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, RefOr, Schema, schema::Type},
};

use super::{Timestamp, collect, is_opaque_name, range};
use crate::{event::What, limits, problem::FieldError};

/// How a delivery is signed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// HMAC-SHA256 with the endpoint's secret.
    V1,
    /// Ed25519: the receiver needs only the public key.
    V1a,
}

/// Largest number that every reader of JSON holds exactly.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// Both, so that every receiver finds the one that it knows.
pub const SCHEMES_DEFAULT: &[Scheme] = &[Scheme::V1a, Scheme::V1];

/// Request to create a webhook endpoint.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "url": "https://hooks.example.com/conclave",
    "types": ["room.started", "room.ended"]
}))]
pub struct CreateWebhook {
    /// Where events are sent: `https`, port 443 or 8443, a host name that is reachable from the
    /// internet. The operator can allow others.
    #[schema(
        max_length = 2048,
        pattern = "^https://([a-z][a-z0-9]{0,20}\\.){1,3}(com|net|org|example)(:443|:8443)?(/[A-Za-z0-9_]{0,20}){0,4}$"
    )]
    pub url: String,
    /// Types of events; empty is every type, those of the future too.
    #[serde(default)]
    #[schema(schema_with = types_schema)]
    pub types: Vec<String>,
    /// Only events of this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^rm_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub room: Option<String>,
    /// Whether events are sent.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
    /// How deliveries are signed.
    #[serde(default = "schemes_default")]
    #[schema(schema_with = schemes_schema)]
    pub signatures: Vec<Scheme>,
}

/// Change of an endpoint: what is not named stays.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "enabled": true }))]
pub struct UpdateWebhook {
    /// Where events are sent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = String, max_length = 2048, pattern = "^https://([a-z][a-z0-9]{0,20}\\.){1,3}(com|net|org|example)(:443|:8443)?(/[A-Za-z0-9_]{0,20}){0,4}$")]
    pub url: Option<String>,
    /// Types of events; empty is every type.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(schema_with = types_schema)]
    pub types: Option<Vec<String>>,
    /// Only events of this room; `null` is every room.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^rm_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub room: Option<Option<String>>,
    /// Whether events are sent. What happened while they were not is sent when they are again.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = bool)]
    pub enabled: Option<bool>,
    /// How deliveries are signed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(schema_with = schemes_schema)]
    pub signatures: Option<Vec<Scheme>>,
}

/// A webhook endpoint.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "wh_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "created_at": "2026-11-21T19:00:00.000Z",
    "url": "https://hooks.example.com/conclave",
    "types": ["room.started", "room.ended"],
    "enabled": true,
    "signatures": ["v1a", "v1"],
    "public_key": "whpk_GUwDiJ0DHrJ+dtNxVTt1vdfYR2PBuYzvhbXxsDcfRyE=",
    "state": "healthy",
    "after": 42
}))]
pub struct Webhook {
    /// `wh_…`.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where events are sent.
    pub url: String,
    /// Types of events; empty is every type.
    pub types: Vec<String>,
    /// Only events of this room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Whether events are sent.
    pub enabled: bool,
    /// How deliveries are signed.
    pub signatures: Vec<Scheme>,
    /// `whpk_` and the Ed25519 public key in base64, for `v1a`.
    pub public_key: String,
    /// The key before the last rotation, while it still signs too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_public_key: Option<String>,
    /// Until when the secret and key before the last rotation sign too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until: Option<Timestamp>,
    /// How it does.
    pub state: WebhookState,
    /// Since when every attempt has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Events up to this `seq` were taken up: delivered, waiting in the deliveries, or filtered out.
    pub after: u64,
}

/// How an endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebhookState {
    /// Deliveries go out.
    Healthy,
    /// It failed too often in a row: one delivery at a time is tried until one succeeds.
    Failing,
    /// Disabled by the partner.
    Disabled,
    /// Disabled because it answered 410.
    Gone,
    /// Disabled because every attempt of five days failed.
    GivenUp,
}

/// An endpoint with its secret, which is shown only here.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "wh_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "created_at": "2026-11-21T19:00:00.000Z",
    "url": "https://hooks.example.com/conclave",
    "types": ["room.started", "room.ended"],
    "enabled": true,
    "signatures": ["v1a", "v1"],
    "public_key": "whpk_GUwDiJ0DHrJ+dtNxVTt1vdfYR2PBuYzvhbXxsDcfRyE=",
    "state": "healthy",
    "after": 42,
    "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
}))]
pub struct CreatedWebhook {
    /// The endpoint.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// `whsec_` and the HMAC secret in base64, for `v1`. Keep it: it is not shown again.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    pub secret: String,
}

/// The endpoints of a project, oldest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookList {
    /// All of them.
    pub webhooks: Vec<Webhook>,
}

/// Request to replace an endpoint's secret and key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "overlap_seconds": 3600 }))]
pub struct RotateSecret {
    /// How long the old ones sign beside the new ones.
    #[serde(default = "overlap_default")]
    #[schema(minimum = 0, maximum = 604800, default = 86400)]
    pub overlap_seconds: u32,
}

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryResult {
    /// Answered with 2xx.
    Delivered,
    /// Answered with 3xx, which is not followed.
    Redirected,
    /// Answered with another 4xx.
    Rejected,
    /// Answered with 410: the endpoint is disabled.
    Gone,
    /// Answered with 429.
    Throttled,
    /// Answered with 5xx.
    ServerError,
    /// No answer within 15 seconds.
    Timeout,
    /// The host name has no address, or nobody listens there.
    Unreachable,
    /// The host name leads to an address that is not allowed.
    Forbidden,
    /// No TLS connection: an untrusted or foreign certificate, an old protocol.
    Tls,
    /// The answer is no HTTP.
    Protocol,
    /// The event is older than the log is kept: there is nothing left to send.
    Expired,
}

impl DeliveryResult {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::Delivered,
        Self::Redirected,
        Self::Rejected,
        Self::Gone,
        Self::Throttled,
        Self::ServerError,
        Self::Timeout,
        Self::Unreachable,
        Self::Forbidden,
        Self::Tls,
        Self::Protocol,
        Self::Expired,
    ];

    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Redirected => "redirected",
            Self::Rejected => "rejected",
            Self::Gone => "gone",
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Expired => "expired",
        }
    }
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "event": "ev_01hzx3m8q7v5k2c9d4e6f8g0hj", "result": "delivered", "milliseconds": 87 }))]
pub struct WebhookTested {
    /// Id of the `webhook.test` event, which was the `webhook-id`.
    pub event: String,
    /// What became of it.
    pub result: DeliveryResult,
    /// How long it took.
    pub milliseconds: u64,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be sent, for the first time or again.
    Pending,
    /// Accepted by the receiver.
    Delivered,
    /// Every attempt failed: only a replay sends it again.
    Dead,
}

impl DeliveryState {
    /// As on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

/// One event on its way to one endpoint. Without bodies and headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "event": "ev_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "seq": 42,
    "state": "pending",
    "attempts": 2,
    "created_at": "2026-11-21T20:00:00.000Z",
    "last_attempt_at": "2026-11-21T20:00:05.000Z",
    "last_result": "server_error",
    "next_attempt_at": "2026-11-21T20:05:05.000Z"
}))]
pub struct Delivery {
    /// Event id, the `webhook-id` of every attempt.
    pub event: String,
    /// The event's number in the log.
    pub seq: u64,
    /// How far it is.
    pub state: DeliveryState,
    /// Attempts that counted.
    pub attempts: u32,
    /// When it was taken up.
    pub created_at: Timestamp,
    /// When it was last tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<Timestamp>,
    /// What became of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_result: Option<DeliveryResult>,
    /// When it is tried next, if nothing is in front of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Timestamp>,
}

/// Which deliveries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryPage {
    /// Only those that are so far; `dead` lists the dead letters.
    #[serde(default)]
    #[param(inline)]
    pub state: Option<DeliveryState>,
    /// Items at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// `next_before` of the page before: only lower numbers.
    #[serde(default)]
    #[param(minimum = 1, maximum = 9007199254740991_u64)]
    pub before: Option<u64>,
}

/// A page of deliveries, the newest event first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryList {
    /// Deliveries of the last 7 days, and dead ones for as long as their event is kept.
    pub deliveries: Vec<Delivery>,
    /// For the next page, if there is one.
    pub next_before: Option<u64>,
}

/// Which events to send once more: one of `event`, `after` (and `until`), `failed`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "failed": true }))]
pub struct Replay {
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = String, pattern = "^ev_[0-9a-hjkmnp-tv-z]{26}$")]
    pub event: Option<String>,
    /// Those with a higher number.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = u64, minimum = 0, maximum = 9007199254740991_u64)]
    pub after: Option<u64>,
    /// And up to this number.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = u64, minimum = 1, maximum = 9007199254740991_u64)]
    pub until: Option<u64>,
    /// `true`: every dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schema(value_type = bool)]
    pub failed: Option<bool>,
}

/// What is sent once more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "queued": 1000, "next_after": 1042 }))]
pub struct Replayed {
    /// Deliveries that are pending again. The endpoint's filter holds for ranges.
    pub queued: u64,
    /// Where to go on: there is more than one request takes (1000 events).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

impl CreateWebhook {
    /// Checks what can be checked without looking at the URL.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        collect([check_types(&self.types), check_schemes(&self.signatures), url_length(&self.url)])
    }
}

impl UpdateWebhook {
    /// Checks what can be checked without looking at the URL.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        collect([
            self.types.as_deref().and_then(check_types),
            self.signatures.as_deref().and_then(check_schemes),
            self.url.as_deref().and_then(url_length),
        ])
    }
}

impl RotateSecret {
    /// Checks the range.
    ///
    /// # Errors
    /// The field, when it is out of it.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let max = limits::WEBHOOK_OVERLAP_SECONDS_MAX;
        collect([range("overlap_seconds", self.overlap_seconds, 0, max)])
    }
}

impl DeliveryPage {
    /// Items at most, with the default.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_SIZE_DEFAULT)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is out of its range.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let fits = self.before.is_none_or(|before| (1..=EXACT_MAX).contains(&before));
        collect([
            range("limit", self.limit(), 1, limits::PAGE_SIZE_MAX),
            (!fits).then(|| FieldError::new("before", format!("must be 1 to {EXACT_MAX}"))),
        ])
    }
}

/// What a [`Replay`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The event of this id.
    One(String),
    /// Numbers above the first, up to the second.
    Range(u64, u64),
    /// Dead letters.
    Failed,
}

impl Replay {
    /// What it asks for.
    ///
    /// # Errors
    /// When it names nothing, or several things.
    pub fn wanted(self) -> Result<Wanted, Vec<FieldError>> {
        let wrong = |field: &str, reason: &str| Err(vec![FieldError::new(field, reason)]);
        match (self.event, self.after, self.until, self.failed) {
            (Some(event), None, None, None) if is_opaque_name(&event) => Ok(Wanted::One(event)),
            (Some(_), None, None, None) => wrong("event", "must be the id of an event"),
            (None, Some(after), until, None) => match until.unwrap_or(u64::MAX) {
                until if until <= after => wrong("until", "must be above `after`"),
                until => Ok(Wanted::Range(after, until)),
            },
            (None, None, None, Some(true)) => Ok(Wanted::Failed),
            (None, None, None, Some(false)) => wrong("failed", "must be true"),
            _ => wrong("event", "exactly one of `event`, `after` and `failed` is needed"),
        }
    }
}

fn yes() -> bool {
    true
}

fn schemes_default() -> Vec<Scheme> {
    SCHEMES_DEFAULT.to_vec()
}

fn overlap_default() -> u32 {
    limits::WEBHOOK_OVERLAP_SECONDS_DEFAULT
}

/// A member that is there must have a value of its own type: `null` is not the same as left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

fn check_types(types: &[String]) -> Option<FieldError> {
    let unknown = types.iter().any(|t| !What::TYPES.contains(&t.as_str()));
    let repeated = (1..types.len()).any(|i| types[..i].contains(&types[i]));
    let wrong = |reason| Some(FieldError::new("types", reason));
    match (unknown, repeated) {
        (true, _) => wrong("must be types of events"),
        (_, true) => wrong("must name no type twice"),
        _ => None,
    }
}

fn check_schemes(schemes: &[Scheme]) -> Option<FieldError> {
    let repeated = (1..schemes.len()).any(|i| schemes[..i].contains(&schemes[i]));
    let wrong = schemes.is_empty() || repeated;
    wrong.then(|| FieldError::new("signatures", "must be `v1`, `v1a` or both"))
}

fn url_length(url: &str) -> Option<FieldError> {
    let max = limits::WEBHOOK_URL_BYTES_MAX;
    (url.len() > max).then(|| FieldError::new("url", format!("must have at most {max} bytes")))
}

fn types_schema() -> RefOr<Schema> {
    let types = What::TYPES.iter().copied();
    let item = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(types));
    ArrayBuilder::new().items(item).unique_items(true).into()
}

fn schemes_schema() -> RefOr<Schema> {
    let item = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["v1", "v1a"]));
    ArrayBuilder::new().items(item).unique_items(true).min_items(Some(1)).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn filters_name_known_types_once() {
        let create = |types: &str| -> CreateWebhook {
            serde_json::from_str(&format!(r#"{{"url":"https://a.example","types":{types}}}"#))
                .unwrap()
        };
        assert!(create("[]").check().is_ok() && create(r#"["room.ended"]"#).check().is_ok());
        assert!(create(r#"["room.exploded"]"#).check().is_err());
        assert!(create(r#"["room.ended","room.ended"]"#).check().is_err());
        assert_eq!(create("[]").signatures, SCHEMES_DEFAULT);
    }

    #[test]
    fn a_change_tells_null_from_left_out() {
        let read = serde_json::from_str::<UpdateWebhook>;
        assert_eq!(read("{}").unwrap().room, None);
        assert_eq!(read(r#"{"room":null}"#).unwrap().room, Some(None));
        assert!(read(r#"{"enabled":null}"#).is_err() && read(r#"{"url":null}"#).is_err());
    }

    #[test]
    fn a_replay_asks_for_one_thing() {
        let read = |text: &str| serde_json::from_str::<Replay>(text).unwrap().wanted();
        assert_eq!(read(r#"{"failed":true}"#), Ok(Wanted::Failed));
        assert_eq!(read(r#"{"after":3}"#), Ok(Wanted::Range(3, u64::MAX)));
        assert_eq!(read(r#"{"event":"ev_x"}"#), Ok(Wanted::One(String::from("ev_x"))));
        for bad in [
            "{}",
            r#"{"failed":false}"#,
            r#"{"until":3}"#,
            r#"{"after":3,"until":3}"#,
            r#"{"after":3,"failed":true}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn results_are_named_as_on_the_wire() {
        for result in DeliveryResult::ALL {
            assert_eq!(serde_json::to_value(result).unwrap(), result.as_str());
        }
    }
}
