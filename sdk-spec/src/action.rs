//! What a moderator can do: the same by REST (`POST /v1/rooms/{room}/actions`) and in the client
//! (`act` of [`crate::ws`]), with the same rules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    recording::RecordingRule,
    room::{Audience, Breakout, BreakoutSpec, RoomSettings},
    ws::{Grants, Role, Source},
};

/// One act of moderation. Participants are named by participant id (`pa_…`), tracks by track id.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Change settings of the room; what is not named stays.
    Update {
        /// The new settings.
        settings: RoomSettings,
    },
    /// Let those who wait in.
    Admit {
        /// Who. Empty: everybody who waits.
        #[serde(default)]
        #[schema(max_items = 100)]
        participants: Vec<String>,
    },
    /// Send those who wait away.
    Deny {
        /// Who. Empty: everybody who waits.
        #[serde(default)]
        #[schema(max_items = 100)]
        participants: Vec<String>,
    },
    /// Remove a participant. Its token and its resume ticket are void.
    Eject {
        /// Who.
        participant: String,
        /// Seconds for which its handle may not come back into this room; 0 is no ban, none is for
        /// as long as the room lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ban_seconds: Option<u32>,
    },
    /// Change role and, if named, grants of a participant.
    SetRole {
        /// Who.
        participant: String,
        /// The new role.
        role: Role,
        /// The new grants; without them those of the token hold, within the new role.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grants: Option<Grants>,
    },
    /// Mute at the server. Lifting it does not unmute: only people themselves do that.
    Mute {
        /// Who. None: everybody but moderators, those who come later too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<String>,
        /// What. Empty: everything.
        #[serde(default)]
        #[schema(max_items = 4)]
        sources: Vec<Source>,
        /// Whether it is muted or lifted.
        muted: bool,
    },
    /// Give the floor to a participant, asked for or not.
    GrantFloor {
        /// Who.
        participant: String,
    },
    /// Refuse a request for the floor.
    DenyFloor {
        /// Who.
        participant: String,
    },
    /// Take the floor back from one who holds it.
    ReleaseFloor {
        /// Who. None: from everybody, and every request is forgotten.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<String>,
    },
    /// Show these participants to everybody first. Empty ends it.
    Spotlight {
        /// Who, most important first; at most 10.
        #[schema(max_items = 10)]
        participants: Vec<String>,
    },
    /// Show these tracks to everybody first. Empty ends it.
    Pin {
        /// Which, most important first; at most 10.
        #[schema(max_items = 10)]
        tracks: Vec<String>,
    },
    /// Decide whom a participant sees and hears.
    SetAudience {
        /// Who.
        participant: String,
        /// The rule.
        audience: Audience,
    },
    /// Let a room that has an end last longer.
    Extend {
        /// By how many seconds.
        #[schema(minimum = 1, maximum = 86400)]
        seconds: u32,
    },
    /// End the room for everybody.
    Close {},
    /// Create breakout rooms.
    CreateBreakouts {
        /// At most 50.
        #[schema(min_items = 1, max_items = 50)]
        rooms: Vec<BreakoutSpec>,
        /// Seconds after which everybody is moved back and they close.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(minimum = 10, maximum = 86400)]
        duration_seconds: Option<u32>,
    },
    /// Move participants to a breakout room of this room, or from one to its parent.
    Move {
        /// Who; at most 100.
        #[schema(min_items = 1, max_items = 100)]
        participants: Vec<String>,
        /// Where (`rm_…`).
        room: String,
    },
    /// Invite participants to a breakout room; they decide.
    Invite {
        /// Who; at most 100.
        #[schema(min_items = 1, max_items = 100)]
        participants: Vec<String>,
        /// Where (`rm_…`).
        room: String,
    },
    /// Move everybody back from the breakout rooms and close them.
    CloseBreakouts {},
    /// Start a recording. A client needs the grant `record`, an API key the scope
    /// `recordings:write`; so for the other three.
    StartRecording {
        /// What is not named is as the room's settings say, then the project's policy. Clients name
        /// nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<RecordingRule>,
    },
    /// Record nothing for a while.
    PauseRecording {},
    /// Go on after a pause.
    ResumeRecording {},
    /// End the recording.
    StopRecording {},
}

/// What an action gave.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct ActionResult {
    /// Version of the room after it; the `ETag` of REST.
    pub version: u64,
    /// Participants that it had an effect on.
    pub participants: u32,
    /// Rooms that were created.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakouts: Vec<Breakout>,
    /// The recording that it was about (`rc_…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
}

/// Why an action was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActionRefusal {
    /// The client may not moderate, or not this.
    NotPermitted,
    /// No such participant here.
    UnknownParticipant,
    /// No such track here.
    UnknownTrack,
    /// No such breakout room.
    UnknownRoom,
    /// A value is out of its range, or too many are named.
    OutOfRange,
    /// It does not fit the state: a floor in a group, an end where there is none, a breakout of a
    /// breakout, a second recording.
    WrongState,
    /// The floor is held by as many as may.
    FloorTaken,
    /// Nothing can be recorded: the project has no recipients, or its storage target is gone.
    NotConfigured,
    /// `If-Match` names another version than the room has.
    VersionMismatch,
    /// It cannot be stored now; nothing was changed.
    Unavailable,
    /// The project has as many open rooms as it may; no breakout room was created. Or it has as many
    /// recordings at a time as it may; none was started.
    QuotaExceeded,
    /// The recorder has no room for one more recording now.
    RecorderFull,
}
