//! Rooms: kinds, modes and settings, shared by REST, the WebSocket and the events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    handle::personal,
    limits,
    problem::FieldError,
    recording::RecordingRule,
    rest::{Timestamp, collect, range},
};

/// How long a room lives.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Ends when it was empty for `empty_timeout_seconds`, or `duration_seconds` after the first
    /// join.
    #[default]
    AdHoc,
    /// Opens 15 minutes before `starts_at`; ends `duration_seconds` after it.
    Scheduled,
    /// Ends only when it is deleted.
    Permanent,
}

/// Who may publish.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everybody, as granted.
    #[default]
    Group,
    /// Moderators, and participants who hold the floor.
    Lecture,
}

/// What happens when a handle joins that is in the room already.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateHandles {
    /// The newcomer is refused, unless the older one has lost its connection.
    #[default]
    Reject,
    /// The older one is removed.
    Replace,
}

/// What can be set when a room is created and changed while it lives. In a change, what is not
/// named stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomSettings {
    /// Most participants at once; viewers count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000, default = 100)]
    pub participants_max: Option<u32>,
    /// Most viewers at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1000, default = 1000)]
    pub viewers_max: Option<u32>,
    /// Most participants at once that publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000, default = 1000)]
    pub publishers_max: Option<u32>,
    /// Seconds for which an ad hoc room stays open while nobody is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 604800, default = 300)]
    pub empty_timeout_seconds: Option<u32>,
    /// Seconds without a moderator after which everybody is removed; 0 is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 86400, default = 0)]
    pub moderator_timeout_seconds: Option<u32>,
    /// Who may publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Nobody new gets in, moderators excepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// Participants and viewers wait until a moderator admits them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knock: Option<bool>,
    /// Participants and viewers wait until a moderator is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_for_moderator: Option<bool>,
    /// Most participants that hold the floor at once, in lecture mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100, default = 1)]
    pub floor_max: Option<u32>,
    /// What happens when a handle joins twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_handles: Option<DuplicateHandles>,
    /// How the room is recorded; what it does not name is as the project's policy says. A change holds
    /// for recordings that start later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingRule>,
    /// The partner's own opaque text, shown to everybody in the room. At most 4096 bytes; what looks
    /// like an e-mail address, a phone number or an IP address is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub data: Option<String>,
}

impl RoomSettings {
    /// With every default filled in.
    #[must_use]
    pub fn or_default(&self) -> Self {
        let defaults = Self {
            participants_max: Some(limits::PARTICIPANTS_MAX_DEFAULT),
            viewers_max: Some(limits::PARTICIPANTS_MAX),
            publishers_max: Some(limits::PARTICIPANTS_MAX),
            empty_timeout_seconds: Some(limits::EMPTY_TIMEOUT_SECONDS_DEFAULT),
            moderator_timeout_seconds: Some(0),
            mode: Some(Mode::Group),
            locked: Some(false),
            knock: Some(false),
            wait_for_moderator: Some(false),
            floor_max: Some(1),
            duplicate_handles: Some(DuplicateHandles::Reject),
            recording: None,
            data: None,
        };
        defaults.with(self)
    }

    /// With what `change` names.
    #[must_use]
    pub fn with(&self, change: &Self) -> Self {
        Self {
            participants_max: change.participants_max.or(self.participants_max),
            viewers_max: change.viewers_max.or(self.viewers_max),
            publishers_max: change.publishers_max.or(self.publishers_max),
            empty_timeout_seconds: change.empty_timeout_seconds.or(self.empty_timeout_seconds),
            moderator_timeout_seconds: change
                .moderator_timeout_seconds
                .or(self.moderator_timeout_seconds),
            mode: change.mode.or(self.mode),
            locked: change.locked.or(self.locked),
            knock: change.knock.or(self.knock),
            wait_for_moderator: change.wait_for_moderator.or(self.wait_for_moderator),
            floor_max: change.floor_max.or(self.floor_max),
            duplicate_handles: change.duplicate_handles.or(self.duplicate_handles),
            recording: change.recording.clone().or_else(|| self.recording.clone()),
            data: change.data.clone().or_else(|| self.data.clone()),
        }
    }

    /// Checks the ranges and the data.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let most = limits::PARTICIPANTS_MAX;
        let (low, high) = (limits::EMPTY_TIMEOUT_SECONDS_MIN, limits::EMPTY_TIMEOUT_SECONDS_MAX);
        let check = |field: &str, value: Option<u32>, low, high| {
            range(&format!("settings.{field}"), value.unwrap_or(low), low, high)
        };
        let timeout = limits::MODERATOR_TIMEOUT_SECONDS_MAX;
        let rule = self.recording.as_ref().map_or(Ok(()), |rule| rule.check("settings.recording"));
        let own = collect([
            check("participants_max", self.participants_max, 1, most),
            check("viewers_max", self.viewers_max, 0, most),
            check("publishers_max", self.publishers_max, 1, most),
            check("empty_timeout_seconds", self.empty_timeout_seconds, low, high),
            check("moderator_timeout_seconds", self.moderator_timeout_seconds, 0, timeout),
            check("floor_max", self.floor_max, 1, limits::FLOOR_HOLDERS_MAX),
            self.data.as_deref().and_then(data_error),
        ]);
        both(own, rule)
    }
}

/// The errors of two checks.
pub(crate) fn both(
    a: Result<(), Vec<FieldError>>,
    b: Result<(), Vec<FieldError>>,
) -> Result<(), Vec<FieldError>> {
    let errors: Vec<_> = [a, b].into_iter().filter_map(Result::err).flatten().collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Why room data is refused.
fn data_error(data: &str) -> Option<FieldError> {
    let wrong = |reason: String| Some(FieldError::new("settings.data", reason));
    if data.len() > limits::ROOM_DATA_BYTES_MAX {
        return wrong(format!("must be at most {} bytes", limits::ROOM_DATA_BYTES_MAX));
    }
    let found = personal(data)?;
    wrong(format!("holds {found}; keep that with you and refer to it by an opaque id"))
}

/// A participant's rule about whom it sees and hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Audience {
    /// Everybody.
    All {},
    /// Moderators only.
    Moderators {},
    /// These participants only (participant ids).
    Only {
        /// At most 100.
        #[schema(max_items = 100)]
        participants: Vec<String>,
    },
    /// Everybody but these (participant ids).
    Except {
        /// At most 100.
        #[schema(max_items = 100)]
        participants: Vec<String>,
    },
}

impl Default for Audience {
    fn default() -> Self {
        Self::All {}
    }
}

/// State of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomState {
    /// Not open yet.
    Scheduled,
    /// Takes participants.
    Open,
    /// Over.
    Ended,
}

/// A breakout room to be created.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakoutSpec {
    /// The partner's own opaque name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<crate::handle::Handle>,
    /// Participants that are moved into it at once (participant ids).
    #[serde(default)]
    #[schema(max_items = 100)]
    pub participants: Vec<String>,
}

/// A breakout room as its parent shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct Breakout {
    /// `rm_…`.
    pub room: String,
    /// The partner's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<crate::handle::Handle>,
    /// When everybody is moved back, if it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
}
