//! Requests and answers of REST `/v1`.
//!
//! Types refuse unknown fields; ranges are checked by `check` methods, so that a server and this
//! contract cannot disagree.

mod timestamp;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use timestamp::Timestamp;

use crate::{
    handle::Handle,
    limits,
    problem::FieldError,
    token::JTI_CHARS_MAX,
    ws::{Grants, Role},
};

/// Request to create a room. Everything has a default.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "participants_max": 20, "empty_timeout_seconds": 300, "reference": "lesson-7f3a" }))]
pub struct CreateRoom {
    /// Most participants at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    pub participants_max: Option<u32>,
    /// Seconds for which the room stays open while nobody is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 604800, default = 300)]
    pub empty_timeout_seconds: Option<u32>,
    /// The partner's own opaque name for the room; need not be unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Handle>,
}

impl CreateRoom {
    /// Participants at most, with the default.
    pub fn participants_max(&self) -> u32 {
        self.participants_max.unwrap_or(limits::PARTICIPANTS_MAX_DEFAULT)
    }

    /// Empty timeout, with the default.
    pub fn empty_timeout_seconds(&self) -> u32 {
        self.empty_timeout_seconds.unwrap_or(limits::EMPTY_TIMEOUT_SECONDS_DEFAULT)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is out of its range.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let (low, high) = (limits::EMPTY_TIMEOUT_SECONDS_MIN, limits::EMPTY_TIMEOUT_SECONDS_MAX);
        collect([
            range("participants_max", self.participants_max(), 1, limits::PARTICIPANTS_MAX),
            range("empty_timeout_seconds", self.empty_timeout_seconds(), low, high),
        ])
    }
}

/// A room.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "created_at": "2026-11-21T20:00:00.000Z",
    "participants_max": 20,
    "empty_timeout_seconds": 300,
    "reference": "lesson-7f3a",
    "participants": 3
}))]
pub struct Room {
    /// `rm_…`, unguessable.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Most participants at once.
    pub participants_max: u32,
    /// Seconds for which it stays open while nobody is in it.
    pub empty_timeout_seconds: u32,
    /// The partner's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Handle>,
    /// Participants in it now.
    pub participants: u32,
}

/// Which page of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// Items at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    #[param(max_length = 200)]
    pub cursor: Option<String>,
}

impl Page {
    /// Items at most, with the default.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_SIZE_DEFAULT)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is out of its range.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        collect([range("limit", self.limit(), 1, limits::PAGE_SIZE_MAX)])
    }
}

/// A page of open rooms, newest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoomList {
    /// The rooms.
    pub rooms: Vec<Room>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Request to mint a room token.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "handle": "user-5f0c2b",
    "role": "participant",
    "grants": { "publish": ["camera", "microphone", "screen"], "subscribe": true },
    "ttl_seconds": 300
}))]
pub struct CreateToken {
    /// The bearer's opaque handle.
    pub handle: Handle,
    /// The bearer's role.
    #[serde(default)]
    pub role: Role,
    /// What the bearer may do. Nothing is granted by default.
    #[serde(deserialize_with = "crate::object::read")]
    pub grants: Grants,
    /// Seconds until the token expires unused. A session outlives its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 900, default = 300)]
    pub ttl_seconds: Option<u32>,
}

impl CreateToken {
    /// Life of the token, with the default.
    pub fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds.unwrap_or(limits::TOKEN_SECONDS_DEFAULT)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is out of its range.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let publish = &self.grants.publish;
        let repeated = (1..publish.len()).any(|i| publish[..i].contains(&publish[i]));
        collect([
            range("ttl_seconds", self.ttl_seconds(), 1, limits::TOKEN_SECONDS_MAX),
            repeated.then(|| FieldError::new("grants.publish", "names a source twice")),
        ])
    }
}

/// A minted token.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "token": "eyJ0eXAiOiJyb29tK2p3dCIs…",
    "expires_at": "2026-11-21T20:05:00.000Z",
    "ws_url": "wss://conclave.example/v1/ws"
}))]
pub struct CreatedToken {
    /// A JWT for one client: send it there over HTTPS, in no URL.
    pub token: String,
    /// When it expires unused.
    pub expires_at: Timestamp,
    /// Where the client joins.
    pub ws_url: String,
}

/// Whether `text` can be a `jti` or an opaque key name: 1 to 64 of `A-Z a-z 0-9 _ -`.
pub fn is_opaque_name(text: &str) -> bool {
    (1..=JTI_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn range(field: &str, value: u32, low: u32, high: u32) -> Option<FieldError> {
    let inside = (low..=high).contains(&value);
    (!inside).then(|| FieldError::new(field, format!("must be {low} to {high}")))
}

fn collect<const N: usize>(errors: [Option<FieldError>; N]) -> Result<(), Vec<FieldError>> {
    let errors: Vec<_> = errors.into_iter().flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_empty_object_is_a_room_with_defaults() {
        let room: CreateRoom = serde_json::from_str("{}").unwrap();
        assert_eq!((room.participants_max(), room.empty_timeout_seconds()), (100, 300));
        assert!(room.check().is_ok());
    }

    #[test]
    fn every_field_out_of_range_is_named() {
        let room: CreateRoom =
            serde_json::from_str(r#"{"participants_max":1001,"empty_timeout_seconds":9}"#).unwrap();
        let fields: Vec<_> = room.check().unwrap_err().into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["participants_max", "empty_timeout_seconds"]);
    }

    #[test]
    fn a_source_granted_twice_is_refused() {
        let token: CreateToken = serde_json::from_str(
            r#"{"handle":"h","grants":{"publish":["camera","camera"]},"ttl_seconds":901}"#,
        )
        .unwrap();
        assert_eq!(token.check().unwrap_err().len(), 2);
    }
}
