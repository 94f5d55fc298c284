//! Problems (RFC 9457): the one shape of every failure of the HTTP interfaces.
//!
//! [`Code`] is stable: a code keeps its meaning and status for as long as `/v1` stands.

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A failure, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:conclave:problem:not_found",
    "title": "There is no such resource",
    "status": 404,
    "code": "not_found",
    "remedy": "Check the path and the id. A room that ended is gone for good: create a new one."
}))]
pub struct Problem {
    /// `urn:conclave:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// For programs.
    pub code: Code,
    /// What to do.
    pub remedy: String,
    /// About this occurrence; may change. Never repeats what was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What is wrong with which field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// With `cursor_expired`: the oldest event that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_seq: Option<u64>,
}

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// Its name.
    #[schema(example = "participants_max")]
    pub field: String,
    /// What is wrong.
    #[schema(example = "must be 1 to 1000")]
    pub reason: String,
}

impl FieldError {
    /// `field` is wrong because of `reason`.
    pub fn new(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.to_owned(), reason: reason.into() }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal, $remedy:literal;)*) => {
        /// Machine-readable kind of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[doc = $title] #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// HTTP status code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            /// Title, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }

            /// What to do.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy),* }
            }
        }
    };
}

codes! {
    MalformedRequest = "malformed_request", 400, "The request cannot be read",
        "Send JSON (or the stated query parameters) as described in openapi.json.";
    MalformedSdp = "malformed_sdp", 400, "The session description cannot be read",
        "Send an RFC 8866 offer with ICE credentials, a SHA-256 fingerprint and BUNDLE, within the limits.";
    Unauthorized = "unauthorized", 401, "The API key is missing or not accepted",
        "Send `Authorization: Bearer ck_…`. Create a key with POST /v1/keys or `conclave key create`.";
    TokenRefused = "token_refused", 401, "The room token is not accepted",
        "Mint a new token with POST /v1/rooms/{id}/tokens. A token is for one room, once, for minutes.";
    NotPermitted = "not_permitted", 403, "The token's grants do not allow this",
        "Mint a token with the grants that the client needs.";
    ScopeMissing = "scope_missing", 403, "The API key's scopes do not allow this",
        "Use a key with the scope that `detail` names: `conclave key create --scope …`.";
    NotFound = "not_found", 404, "There is no such resource",
        "Check the path and the id. A room that ended is gone for good: create a new one.";
    MethodNotAllowed = "method_not_allowed", 405, "The resource does not know this method",
        "Use a method from the `Allow` header.";
    NotAcceptable = "not_acceptable", 406, "The answer does not exist in an accepted media type",
        "Accept `application/json`, or `application/sdp` where SDP is spoken.";
    RequestTimeout = "request_timeout", 408, "The request did not arrive in time",
        "Send the whole request without pauses.";
    RoomFull = "room_full", 409, "The room has as many participants as it may",
        "Wait until somebody leaves, or create the room with a higher `participants_max`; then come with a new token.";
    RoomLocked = "room_locked", 409, "The room is locked",
        "Unlock it (`settings.locked`), or let a moderator in, who may always enter.";
    RoomNotOpen = "room_not_open", 409, "The room is not open yet",
        "A scheduled room opens 15 minutes before `starts_at`; come then with a new token.";
    Banned = "banned", 403, "The handle is banned",
        "Lift the ban with DELETE /v1/bans/{ban}, then mint a new token.";
    DuplicateHandle = "duplicate_handle", 409, "The handle is in the room already",
        "Leave with the other client, or create the room with `duplicate_handles` `replace`.";
    ActionRefused = "action_refused", 409, "The action does not fit the state of the room",
        "Look at `detail`, read the room and its participants, and try again.";
    VersionMismatch = "version_mismatch", 412, "The resource changed meanwhile",
        "Read it again, and send the `ETag` that it has now in `If-Match`.";
    ProjectSuspended = "project_suspended", 403, "The project is suspended",
        "Ask the operator.";
    SecretNotRepeated = "secret_not_repeated", 409, "A secret is shown once, and this retry is not the first",
        "If the first answer was lost, delete or rotate what `detail` names and use a new idempotency key.";
    NotEmpty = "not_empty", 409, "Something still belongs to it",
        "Delete what belongs to it first.";
    QuotaExceeded = "quota_exceeded", 409, "A quota of the project is used up",
        "`detail` names it. Delete what is no longer needed, or ask the operator for more.";
    TooManyRooms = "too_many_rooms", 409, "The project has as many open rooms as it may",
        "Delete rooms that are no longer needed, or give them a shorter `empty_timeout_seconds`.";
    CursorExpired = "cursor_expired", 410, "The events after the cursor are no longer kept",
        "Read the rooms anew, then go on without `after`, or with one less than `oldest_seq`.";
    PreconditionFailed = "precondition_failed", 412, "The entity tag is not the current one",
        "Use the `ETag` of the last answer, or `*` to restart ICE.";
    PayloadTooLarge = "payload_too_large", 413, "The body is above the limit",
        "Send less. The limits are listed in openapi.json.";
    UnsupportedMediaType = "unsupported_media_type", 415, "The body's media type is not spoken here",
        "Send `Content-Type: application/json`, or the SDP type that the endpoint names.";
    InvalidField = "invalid_field", 422, "A field is not as it must be",
        "Correct the named fields.";
    PersonalDataRefused = "personal_data_refused", 422, "Personal data has no place here",
        "Keep names, addresses and numbers with you and send an opaque id that only you can resolve.";
    OfferRefused = "offer_refused", 422, "The offer cannot be answered",
        "See `detail`.";
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The idempotency key belongs to another request",
        "Use a new key for a new request, and the same body for a retry.";
    PreconditionRequired = "precondition_required", 428, "The request must name an entity tag",
        "Send `If-Match` with the `ETag` of the last answer, or `*` to restart ICE.";
    RateLimited = "rate_limited", 429, "Too many requests",
        "Wait for the seconds in `Retry-After`.";
    Internal = "internal", 500, "We failed",
        "Try again; if it stays, report it with the time.";
    NoMediaNode = "no_media_node", 503, "No media node is free",
        "Try again after the seconds in `Retry-After`, with a new token.";
    Unavailable = "unavailable", 503, "The service is not available now",
        "Try again after the seconds in `Retry-After`; a client with a new token.";
    RecorderFull = "recorder_full", 503, "The recorder has no room for one more recording",
        "Try again after the seconds in `Retry-After`; if it stays, ask the operator.";
    MediaTimeout = "media_timeout", 504, "The media node did not answer in time",
        "Try again with a new token.";
}

/// By hand: the derive does not see names that a macro passes to `serde`.
impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .description(Some("Machine-readable kind of a problem."))
            .into()
    }
}

impl ToSchema for Code {}

impl Problem {
    /// The problem of `code`, without detail.
    pub fn new(code: Code) -> Self {
        Self {
            kind: format!("urn:conclave:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            remedy: code.remedy().to_owned(),
            detail: None,
            errors: Vec::new(),
            oldest_seq: None,
        }
    }

    /// With a sentence about this occurrence, which must not repeat what was sent.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With wrong fields.
    #[must_use]
    pub fn errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_complete() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!((400..600).contains(&code.status()), "{code:?}");
            assert!(code.remedy().ends_with('.') && !code.title().ends_with('.'), "{code:?}");
            let json = serde_json::to_value(Problem::new(*code)).expect("serializes");
            assert_eq!(json["code"], code.as_str());
        }
    }
}
