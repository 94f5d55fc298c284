//! Events: what happened, as in `GET /v1/events` and in webhooks.
//!
//! Thin by design: ids, states and numbers. The only thing about a person is the partner's own
//! opaque handle.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    handle::Handle,
    recording::{Blame, BlockReason, Output, PurgeReason, StopReason},
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

/// What happened, told apart by `type`.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "data")]
pub enum What {
    /// A room was created.
    #[serde(rename = "room.created")]
    RoomCreated {
        /// How long it lives.
        kind: Kind,
        /// The room that it is a breakout of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<String>,
    },
    /// A room's settings changed.
    #[serde(rename = "room.updated")]
    RoomUpdated {
        /// Names of the settings.
        changed: Vec<String>,
        /// Version after it.
        version: u64,
    },
    /// The first participant of a session of the room came in.
    #[serde(rename = "room.started")]
    RoomStarted {
        /// Who may publish.
        mode: Mode,
    },
    /// The room's end was moved.
    #[serde(rename = "room.extended")]
    RoomExtended {
        /// The new end.
        ends_at: Timestamp,
    },
    /// The room is over for good.
    #[serde(rename = "room.ended")]
    RoomEnded {
        /// Why.
        reason: RoomEnd,
    },
    /// Somebody waits to be let in.
    #[serde(rename = "participant.waiting")]
    ParticipantWaiting {
        /// Participant id.
        participant: String,
        /// The partner's handle.
        handle: Handle,
    },
    /// Somebody who waited was sent away or went.
    #[serde(rename = "participant.turned_away")]
    ParticipantTurnedAway {
        /// Participant id.
        participant: String,
        /// The partner's handle.
        handle: Handle,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody came in.
    #[serde(rename = "participant.joined")]
    ParticipantJoined {
        /// Participant id, for this stay.
        participant: String,
        /// The partner's handle.
        handle: Handle,
        /// Its role.
        role: Role,
        /// Not shown to the others, in no usage.
        #[serde(default)]
        hidden: bool,
    },
    /// A participant's role or grants changed.
    #[serde(rename = "participant.updated")]
    ParticipantUpdated {
        /// Participant id.
        participant: String,
        /// Role after it.
        role: Role,
    },
    /// Somebody left.
    #[serde(rename = "participant.left")]
    ParticipantLeft {
        /// Participant id.
        participant: String,
        /// The partner's handle.
        handle: Handle,
        /// Why.
        reason: LeaveReason,
        /// Not shown to the others, in no usage.
        #[serde(default)]
        hidden: bool,
    },
    /// A track was published.
    #[serde(rename = "track.published")]
    TrackPublished {
        /// Track id.
        track: String,
        /// Whose.
        participant: String,
        /// What it shows.
        source: Source,
    },
    /// A track ended.
    #[serde(rename = "track.unpublished")]
    TrackUnpublished {
        /// Track id.
        track: String,
        /// Whose.
        participant: String,
        /// What it showed.
        source: Source,
    },
    /// A moderator or the partner muted at the server, or lifted it.
    #[serde(rename = "participant.muted")]
    ParticipantMuted {
        /// Participant id; none is everybody but moderators.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<String>,
        /// What is muted at the server after it.
        sources: Vec<Source>,
    },
    /// The floor was asked for, given, refused, or ended.
    #[serde(rename = "floor.changed")]
    FloorChanged {
        /// Participant id.
        participant: String,
        /// What became of it.
        state: FloorState,
    },
    /// A handle was banned.
    #[serde(rename = "handle.banned")]
    HandleBanned {
        /// The partner's handle.
        handle: Handle,
        /// Until when; none is for as long as the room or project lives.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A ban was lifted.
    #[serde(rename = "handle.unbanned")]
    HandleUnbanned {
        /// The partner's handle.
        handle: Handle,
    },
    /// Participants were moved to another room.
    #[serde(rename = "participant.moved")]
    ParticipantMoved {
        /// Participant id.
        participant: String,
        /// Where.
        to: String,
    },
    /// Bytes of media since the last such event of the participant.
    #[serde(rename = "media.transferred")]
    MediaTransferred {
        /// Participant id.
        participant: String,
        /// Bytes received from it.
        received: u64,
        /// Bytes sent to it.
        sent: u64,
    },
    /// A participant consented to being recorded, or took that back.
    #[serde(rename = "consent.changed")]
    ConsentChanged {
        /// Participant id.
        participant: String,
        /// The partner's handle.
        handle: Handle,
        /// Whether it consents.
        granted: bool,
    },
    /// A recording started.
    #[serde(rename = "recording.started")]
    RecordingStarted {
        /// Recording id.
        recording: String,
    },
    /// A recording pauses: from here on nothing is recorded.
    #[serde(rename = "recording.paused")]
    RecordingPaused {
        /// Recording id.
        recording: String,
    },
    /// A recording goes on.
    #[serde(rename = "recording.resumed")]
    RecordingResumed {
        /// Recording id.
        recording: String,
    },
    /// A recording is over.
    #[serde(rename = "recording.stopped")]
    RecordingStopped {
        /// Recording id.
        recording: String,
        /// Why.
        reason: StopReason,
    },
    /// The files of a recording are made and sealed.
    #[serde(rename = "recording.finalized")]
    RecordingFinalized {
        /// Recording id.
        recording: String,
        /// How many files.
        artifacts: u32,
        /// Bytes of all.
        bytes: u64,
        /// Seconds recorded, pauses left out.
        seconds: u64,
        /// What was wanted and could not be made; tracks come none the less.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<Output>,
        /// Tracks whose pictures or sound the composite, HLS and the audio mix lack, at least from some place
        /// on: they could not be decoded.
        #[serde(default, skip_serializing_if = "is_none")]
        flawed_tracks: u32,
    },
    /// The storage refuses a recording; it is tried again.
    #[serde(rename = "recording.push_blocked")]
    RecordingPushBlocked {
        /// Recording id.
        recording: String,
        /// Why.
        reason: BlockReason,
        /// Who must act.
        blame: Blame,
    },
    /// Every file of a recording was verified in the partner's storage.
    #[serde(rename = "recording.delivered")]
    RecordingDelivered {
        /// Recording id.
        recording: String,
        /// How many files.
        artifacts: u32,
        /// Bytes of all.
        bytes: u64,
    },
    /// A recording that is not delivered grows old.
    #[serde(rename = "recording.expiring")]
    RecordingExpiring {
        /// Recording id.
        recording: String,
        /// Percent of its largest age: 50, 75, 90.
        age_percent: u32,
        /// When it is purged.
        expires_at: Timestamp,
    },
    /// A recording is held, or no longer.
    #[serde(rename = "recording.held")]
    RecordingHeld {
        /// Recording id.
        recording: String,
        /// Whether it is.
        held: bool,
    },
    /// Nothing of a recording is here any more.
    #[serde(rename = "recording.purged")]
    RecordingPurged {
        /// Recording id.
        recording: String,
        /// Why.
        reason: PurgeReason,
        /// The signed receipt: JSON text, exactly as it was signed.
        receipt: String,
        /// Ed25519 signature of it, base64.
        signature: String,
        /// Id of the key that signed it, of those of `GET /v1/evidence-keys`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        key: String,
    },
    /// A webhook endpoint was disabled by its answers.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled {
        /// Endpoint id.
        webhook: String,
        /// Why.
        reason: String,
    },
    /// A test of a webhook endpoint.
    #[serde(rename = "webhook.test")]
    WebhookTest {
        /// Endpoint id.
        webhook: String,
    },
    /// An API key or token key was created, rotated or revoked.
    #[serde(rename = "key.changed")]
    KeyChanged {
        /// Key id.
        key: String,
        /// `created`, `rotated`, `revoked`.
        change: String,
    },
}

/// Names the variants once more: derives do not see what a macro passes to `serde`. A test compares.
macro_rules! kinds {
    ($($name:ident = $text:literal,)*) => {
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

kinds! {
    RoomCreated = "room.created",
    RoomUpdated = "room.updated",
    RoomStarted = "room.started",
    RoomExtended = "room.extended",
    RoomEnded = "room.ended",
    ParticipantWaiting = "participant.waiting",
    ParticipantTurnedAway = "participant.turned_away",
    ParticipantJoined = "participant.joined",
    ParticipantUpdated = "participant.updated",
    ParticipantLeft = "participant.left",
    TrackPublished = "track.published",
    TrackUnpublished = "track.unpublished",
    ParticipantMuted = "participant.muted",
    FloorChanged = "floor.changed",
    HandleBanned = "handle.banned",
    HandleUnbanned = "handle.unbanned",
    ParticipantMoved = "participant.moved",
    MediaTransferred = "media.transferred",
    ConsentChanged = "consent.changed",
    RecordingStarted = "recording.started",
    RecordingPaused = "recording.paused",
    RecordingResumed = "recording.resumed",
    RecordingStopped = "recording.stopped",
    RecordingFinalized = "recording.finalized",
    RecordingPushBlocked = "recording.push_blocked",
    RecordingDelivered = "recording.delivered",
    RecordingExpiring = "recording.expiring",
    RecordingHeld = "recording.held",
    RecordingPurged = "recording.purged",
    WebhookDisabled = "webhook.disabled",
    WebhookTest = "webhook.test",
    KeyChanged = "key.changed",
}

/// Stands for a handle that was erased.
pub const ERASED_HANDLE: &str = "~erased~";

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

const fn is_none(count: &u32) -> bool {
    *count == 0
}
