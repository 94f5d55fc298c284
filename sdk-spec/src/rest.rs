//! Requests and answers of REST `/v1`.
//!
//! Types refuse unknown fields; ranges are checked by `check` methods, so that a server and this
//! contract cannot disagree.

pub mod audit;
mod day;
pub mod events;
pub mod keys;
pub mod operator;
mod path;
pub mod recordings;
mod storage;
mod timestamp;
pub mod usage;
pub mod webhooks;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

pub use day::Day;
pub use timestamp::Timestamp;

use crate::{
    handle::Handle,
    limits,
    problem::FieldError,
    room::{Kind, RoomSettings, RoomState},
    token::JTI_CHARS_MAX,
    ws::{Grants, Role, Source},
};

/// Request to create a room. Everything has a default.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "kind": "scheduled",
    "starts_at": "2026-11-21T20:00:00.000Z",
    "duration_seconds": 3600,
    "reference": "lesson-7f3a",
    "settings": { "participants_max": 20, "mode": "lecture", "knock": true }
}))]
pub struct CreateRoom {
    /// How long it lives.
    #[serde(default)]
    pub kind: Kind,
    /// When a scheduled room starts; it opens 15 minutes before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// How long it lasts: from `starts_at`, or from the first join of an ad hoc room. A permanent
    /// room has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 604800)]
    pub duration_seconds: Option<u32>,
    /// The partner's own opaque name for the room; need not be unique.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Handle>,
    /// What can be changed later.
    #[serde(default, deserialize_with = "crate::object::read")]
    pub settings: RoomSettings,
}

impl CreateRoom {
    /// Checks ranges and what fits together.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut errors = self.settings.check().err().unwrap_or_default();
        let duration = self.duration_seconds.unwrap_or(limits::DURATION_SECONDS_MIN);
        let (low, high) = (limits::DURATION_SECONDS_MIN, limits::DURATION_SECONDS_MAX);
        errors.extend(range("duration_seconds", duration, low, high));
        let wrong = match self.kind {
            Kind::Scheduled if self.starts_at.is_none() => Some(("starts_at", "is needed")),
            Kind::Scheduled if self.duration_seconds.is_none() => {
                Some(("duration_seconds", "is needed"))
            }
            Kind::AdHoc | Kind::Permanent if self.starts_at.is_some() => {
                Some(("starts_at", "is for scheduled rooms"))
            }
            Kind::Permanent if self.duration_seconds.is_some() => {
                Some(("duration_seconds", "is not for permanent rooms"))
            }
            _ => None,
        };
        errors.extend(wrong.map(|(field, reason)| FieldError::new(field, reason)));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// Change of a room: what is not named stays.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "settings": { "locked": true } }))]
pub struct UpdateRoom {
    /// New settings.
    #[serde(deserialize_with = "crate::object::read")]
    pub settings: RoomSettings,
}

/// A room.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "created_at": "2026-11-21T19:00:00.000Z",
    "kind": "ad_hoc",
    "state": "open",
    "version": 1,
    "reference": "lesson-7f3a",
    "settings": { "participants_max": 20, "locked": false },
    "participants": 3,
    "waiting": 0
}))]
pub struct Room {
    /// `rm_…`, unguessable.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// How long it lives.
    pub kind: Kind,
    /// Whether it takes participants.
    pub state: RoomState,
    /// Counts changes; the `ETag`.
    pub version: u64,
    /// When it starts, if it is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// When it ends, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// How long it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
    /// The room that it is a breakout of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The partner's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Handle>,
    /// All settings, defaults included.
    pub settings: RoomSettings,
    /// Participants in it now.
    pub participants: u32,
    /// Those who wait to be let in.
    pub waiting: u32,
}

/// Who is in a room now.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ParticipantList {
    /// In order of arrival; at most 1000.
    pub participants: Vec<RoomParticipant>,
}

/// A participant of a room, as the partner sees it.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "pa_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "handle": "user-5f0c2b",
    "role": "participant",
    "waiting": false,
    "grants": { "publish": ["microphone"], "subscribe": true },
    "muted": [],
    "holds_floor": false,
    "tracks": [{ "id": "tr_01hzx3m8q7v5k2c9d4e6f8g0hj", "source": "microphone", "muted": false }]
}))]
pub struct RoomParticipant {
    /// `pa_…`, for this stay.
    pub id: String,
    /// The partner's handle.
    pub handle: Handle,
    /// Its role.
    pub role: Role,
    /// Whether it waits to be let in.
    pub waiting: bool,
    /// What it may do now.
    pub grants: Grants,
    /// What is muted at the server.
    pub muted: Vec<Source>,
    /// Whether it holds the floor.
    pub holds_floor: bool,
    /// What it publishes.
    pub tracks: Vec<RoomTrack>,
}

/// A published track.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomTrack {
    /// `tr_…`.
    pub id: String,
    /// What it shows.
    pub source: Source,
    /// Whether it is muted.
    pub muted: bool,
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

/// Which rooms are listed, and which page of them.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RoomQuery {
    /// Items at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before, with the same filters.
    #[serde(default)]
    #[param(max_length = 200)]
    pub cursor: Option<String>,
    /// Only rooms of this reference.
    #[serde(default)]
    #[param(pattern = "^[A-Za-z0-9._~-]{1,64}$")]
    pub reference: Option<String>,
    /// Only rooms of this kind.
    #[serde(default)]
    #[param(inline)]
    pub kind: Option<Kind>,
}

impl RoomQuery {
    /// Items at most, with the default.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_SIZE_DEFAULT)
    }

    /// The reference, if it can be one.
    pub fn reference(&self) -> Option<Handle> {
        self.reference.as_deref().and_then(|text| Handle::parse(text).ok())
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let is_none = self.reference.is_some() && self.reference().is_none();
        collect([
            range("limit", self.limit(), 1, limits::PAGE_SIZE_MAX),
            is_none.then(|| FieldError::new("reference", "can be no reference of a room")),
        ])
    }
}

/// The open breakout rooms of a room.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BreakoutList {
    /// Oldest first; at most 50.
    pub breakouts: Vec<Room>,
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

pub(crate) fn range(field: &str, value: u32, low: u32, high: u32) -> Option<FieldError> {
    let inside = (low..=high).contains(&value);
    (!inside).then(|| FieldError::new(field, format!("must be {low} to {high}")))
}

pub(crate) fn collect<const N: usize>(
    errors: [Option<FieldError>; N],
) -> Result<(), Vec<FieldError>> {
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
        assert!(room.check().is_ok() && room.kind == Kind::AdHoc);
        assert_eq!(room.settings.or_default().participants_max, Some(100));
    }

    #[test]
    fn every_field_out_of_range_is_named() {
        let room: CreateRoom = serde_json::from_str(
            r#"{"settings":{"participants_max":1001,"empty_timeout_seconds":9},"kind":"scheduled"}"#,
        )
        .unwrap();
        let fields: Vec<_> = room.check().unwrap_err().into_iter().map(|e| e.field).collect();
        let wanted = ["settings.participants_max", "settings.empty_timeout_seconds", "starts_at"];
        assert_eq!(fields, wanted);
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
