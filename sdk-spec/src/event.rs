//! Events: what happened, as in `GET /v1/events` and in webhooks.
//!
//! Thin by design: ids, states and numbers. The only thing about a person is the partner's own
//! opaque handle.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    handle::Handle,
    rest::Timestamp,
    room::{Kind, Mode},
    ws::{LeaveReason, Role, Source},
};

/// Something that happened in a project.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "ev_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "seq": 42,
    "time": "2026-11-21T20:00:00.000Z",
    "room": "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "room_seq": 3,
    "type": "participant.joined",
    "data": { "participant": "pa_01hzx3m8q7v5k2c9d4e6f8g0hj", "handle": "user-5f0c2b", "role": "participant" }
}))]
pub struct Event {
    /// `ev_…`; the same in the log and in every attempt of every webhook.
    pub id: String,
    /// Counts the project's events from 1, without gaps.
    pub seq: u64,
    /// When it happened.
    pub time: Timestamp,
    /// The room that it happened in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// Counts the room's events from 1, without gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_seq: Option<u64>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

macro_rules! whats {
    ($($(#[$doc:meta])* $name:ident = $text:literal { $($(#[$fdoc:meta])* $field:ident: $kind:ty,)* };)*) => {
        /// What happened, told apart by `type`.
        #[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(tag = "type", content = "data")]
        pub enum What {
            $($(#[$doc])* #[serde(rename = $text)] $name { $($(#[$fdoc])* $field: $kind,)* },)*
        }

        impl What {
            /// Every type.
            pub const TYPES: &[&str] = &[$($text),*];

            /// Its type, as on the wire.
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$name { .. } => $text),* }
            }
        }
    };
}

whats! {
    /// A room was created.
    RoomCreated = "room.created" {
        /// How long it lives.
        kind: Kind,
        /// The room that it is a breakout of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
    };
    /// A room's settings changed.
    RoomUpdated = "room.updated" {
        /// Names of the settings.
        changed: Vec<String>,
        /// Version after it.
        version: u64,
    };
    /// The first participant of a session of the room came in.
    RoomStarted = "room.started" {
        /// Who may publish.
        mode: Mode,
    };
    /// The room's end was moved.
    RoomExtended = "room.extended" {
        /// The new end.
        ends_at: Timestamp,
    };
    /// The room is over for good.
    RoomEnded = "room.ended" {
        /// Why.
        reason: RoomEnd,
    };
    /// Somebody waits to be let in.
    ParticipantWaiting = "participant.waiting" {
        /// Participant id.
        participant: String,
        /// The partner's handle.
        handle: Handle,
    };
    /// Somebody who waited was sent away or went.
    ParticipantTurnedAway = "participant.turned_away" {
        /// Participant id.
        participant: String,
        /// The partner's handle.
        handle: Handle,
        /// Why.
        reason: LeaveReason,
    };
    /// Somebody came in.
    ParticipantJoined = "participant.joined" {
        /// Participant id, for this stay.
        participant: String,
        /// The partner's handle.
        handle: Handle,
        /// Its role.
        role: Role,
        /// Not shown to the others, in no usage.
        #[serde(default)]
        hidden: bool,
    };
    /// A participant's role or grants changed.
    ParticipantUpdated = "participant.updated" {
        /// Participant id.
        participant: String,
        /// Role after it.
        role: Role,
    };
    /// Somebody left.
    ParticipantLeft = "participant.left" {
        /// Participant id.
        participant: String,
        /// The partner's handle.
        handle: Handle,
        /// Why.
        reason: LeaveReason,
        /// Not shown to the others, in no usage.
        #[serde(default)]
        hidden: bool,
    };
    /// A track was published.
    TrackPublished = "track.published" {
        /// Track id.
        track: String,
        /// Whose.
        participant: String,
        /// What it shows.
        source: Source,
    };
    /// A track ended.
    TrackUnpublished = "track.unpublished" {
        /// Track id.
        track: String,
        /// Whose.
        participant: String,
        /// What it showed.
        source: Source,
    };
    /// A moderator or the partner muted at the server, or lifted it.
    ParticipantMuted = "participant.muted" {
        /// Participant id; none is everybody but moderators.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<String>,
        /// What is muted at the server after it.
        sources: Vec<Source>,
    };
    /// The floor was asked for, given, refused, or ended.
    FloorChanged = "floor.changed" {
        /// Participant id.
        participant: String,
        /// What became of it.
        state: FloorState,
    };
    /// A handle was banned.
    HandleBanned = "handle.banned" {
        /// The partner's handle.
        handle: Handle,
        /// Until when; none is for as long as the room or project lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    };
    /// A ban was lifted.
    HandleUnbanned = "handle.unbanned" {
        /// The partner's handle.
        handle: Handle,
    };
    /// Participants were moved to another room.
    ParticipantMoved = "participant.moved" {
        /// Participant id.
        participant: String,
        /// Where.
        to: String,
    };
    /// Bytes of media since the last such event of the participant.
    MediaTransferred = "media.transferred" {
        /// Participant id.
        participant: String,
        /// Bytes received from it.
        received: u64,
        /// Bytes sent to it.
        sent: u64,
    };
    /// A webhook endpoint was disabled by its answers.
    WebhookDisabled = "webhook.disabled" {
        /// Endpoint id.
        webhook: String,
        /// Why.
        reason: String,
    };
    /// A test of a webhook endpoint.
    WebhookTest = "webhook.test" {
        /// Endpoint id.
        webhook: String,
    };
    /// An API key or token key was created, rotated or revoked.
    KeyChanged = "key.changed" {
        /// Key id.
        key: String,
        /// `created`, `rotated`, `revoked`.
        change: String,
    };
}

/// Why a room ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoomEnd {
    /// Nobody was there for too long.
    Empty,
    /// Its time was over.
    Duration,
    /// Deleted by the partner, or closed by a moderator.
    Closed,
    /// No moderator was there for too long.
    NoModerator,
    /// The room that it was a breakout of ended.
    ParentEnded,
}

/// What became of the floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FloorState {
    /// Asked for.
    Requested,
    /// Given.
    Granted,
    /// Refused.
    Denied,
    /// Given back, taken back, or no longer asked for.
    Released,
}
