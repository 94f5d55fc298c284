//! The WebSocket protocol `conclave.v1`.
#![doc = include_str!("ws.md")]

mod error;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::error::{ErrorCode, ErrorInfo};
use crate::{
    action::{Action, ActionRefusal, ActionResult},
    handle::Handle,
    recording::RecordingInfo,
    rest::Timestamp,
    room::{Breakout, Mode},
};

/// How a session goes, in Markdown; the text above.
pub(crate) const PROTOCOL: &str = include_str!("ws.md");

/// Close codes: the number, what it comes after, what the client then does.
pub const CLOSE_CODES: [(u16, &str, &str); 8] = [
    (1000, "`left`", "is done"),
    (1001, "the server goes down", "resumes or joins elsewhere"),
    (1003, "a binary message", "has a defect"),
    (1008, "`error` with `fatal`", "does what `remedy` says"),
    (1009, "a message above the limit of 256 KiB", "has a defect"),
    (1011, "our fault", "resumes"),
    (4000, "too slow a reader, or silence for 15 s", "resumes"),
    (4001, "another connection resumed this session", "does nothing"),
];

/// WebSocket subprotocol name.
pub const SUBPROTOCOL: &str = "conclave.v1";
/// Seconds in which the first message must arrive.
pub const FIRST_MESSAGE_SECONDS: u64 = 5;
/// Seconds between pings of the client.
pub const PING_SECONDS: u64 = 5;
/// Seconds of silence after which either side gives the socket up.
pub const DEAD_SECONDS: u64 = 15;
/// Seconds for which a cut session can be resumed.
pub const RESUME_SECONDS: u64 = 30;
/// Largest message in bytes, either way.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// A message and its place in the sender's sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope<T> {
    /// Counts the sender's messages of one session from 1, over resumes.
    pub seq: u64,
    /// Highest `seq` received from the other side, 0 at first.
    pub ack: u64,
    /// The message itself, in the same JSON object, told apart by `type`.
    #[serde(flatten)]
    pub message: T,
}

/// What a client says.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientMessage {
    /// First message of a new session.
    Join {
        /// Room token (a JWT), single use.
        token: String,
        /// SDK name and version, `conclave-web/0.1.0`, for support; not a user agent.
        #[serde(default)]
        sdk: Option<String>,
    },
    /// First message after a cut.
    Resume {
        /// Newest from [`ServerMessage::Joined`] or [`ServerMessage::Resumed`]. A ticket is used up
        /// when the server hears a message on the resumed connection; until then the one before the
        /// newest stays good, since the `resumed` with the newest may be lost.
        ticket: String,
        /// Highest `seq` received.
        received: u64,
    },
    /// An SDP offer: all m-sections, with the tracks that sending ones carry.
    Offer {
        /// Chosen by the client, returned in the answer; grows.
        id: u64,
        /// RFC 8866 text.
        sdp: String,
        /// What is published. A track that is no longer named ends.
        tracks: Vec<OfferedTrack>,
    },
    /// Mute or unmute an own track.
    Mute {
        /// The track.
        track: String,
        /// New state.
        muted: bool,
    },
    /// Tracks to see first, most wanted first. The rest follows in the server's order.
    Want {
        /// Track ids.
        tracks: Vec<String>,
    },
    /// Moderates.
    Act {
        /// Chosen by the client, returned in [`ServerMessage::Acted`]; grows.
        id: u64,
        /// What to do.
        action: Action,
    },
    /// Asks for the floor, in lecture mode; or takes the request or the floor back.
    Floor {
        /// Whether it is wanted.
        wanted: bool,
    },
    /// Replaces role and grants by those of a new token of the same room and handle.
    Renew {
        /// Room token (a JWT), single use.
        token: String,
    },
    /// Sets the own state shown to the others; needs `grants.update_own`.
    SetState {
        /// The app's own opaque text, at most 1024 bytes; null for none. Not stored, in no event.
        state: Option<String>,
    },
    /// Sends a text to others; needs `grants.data`. In no event, and stored nowhere but in a recording of
    /// which everybody is told that it takes texts ([`RecordingInfo::data`]).
    Data {
        /// Participant ids; empty is everybody.
        #[serde(default)]
        to: Vec<String>,
        /// The app's own opaque text, at most 4096 bytes.
        body: String,
    },
    /// Consents to being recorded, or takes that back. Nothing of a participant who did not consent is
    /// recorded where [`RecordingInfo::consent`] says so.
    Consent {
        /// Whether it consents, from now on.
        granted: bool,
    },
    /// Keeps the session alive.
    Ping {},
    /// Leaves the room for good.
    Leave {},
}

/// A track in an offer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OfferedTrack {
    /// `a=mid` of its m-section.
    pub mid: String,
    /// What it shows.
    pub source: Source,
    /// Whether it starts muted.
    #[serde(default)]
    pub muted: bool,
}

/// What a track shows or carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Camera or another picture of the participant.
    Camera,
    /// Microphone.
    Microphone,
    /// Shared screen, window or tab.
    Screen,
    /// Sound of the shared screen.
    ScreenAudio,
}

/// What the server says.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "written at once, never kept")]
pub enum ServerMessage {
    /// The session is open.
    Joined {
        /// The participant that the client is.
        participant: Participant,
        /// The room.
        room: RoomInfo,
        /// Everybody else.
        participants: Vec<Participant>,
        /// Everybody else's tracks.
        tracks: Vec<Track>,
        /// For [`ClientMessage::Resume`].
        ticket: String,
        /// What the client may do.
        grants: Grants,
        /// Limits that the client must respect.
        limits: ClientLimits,
    },
    /// The session is open, but the client has to wait. `joined` or `left` follows.
    Waiting {
        /// Own participant id.
        participant: String,
        /// For [`ClientMessage::Resume`].
        ticket: String,
        /// What is waited for.
        reason: WaitReason,
    },
    /// Who waits to be let in: told to moderators, whole, at each change.
    Lobby {
        /// In order of arrival.
        waiting: Vec<Participant>,
    },
    /// The room changed.
    RoomUpdated {
        /// The whole, as it is now.
        room: RoomInfo,
    },
    /// What the client may do changed.
    GrantsChanged {
        /// Its role.
        role: Role,
        /// What it may do in the room as it is now.
        grants: Grants,
    },
    /// The floor changed, in lecture mode.
    Floor {
        /// Who holds it (participant ids).
        holders: Vec<String>,
        /// Who asks for it, in order: told to moderators; others see themselves only.
        requests: Vec<String>,
    },
    /// An action was carried out, or refused.
    Acted {
        /// As in [`ClientMessage::Act`].
        id: u64,
        /// What it gave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<ActionResult>,
        /// Why it was refused; then nothing was changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<ActionRefusal>,
    },
    /// The new token is accepted; `grants_changed` may follow.
    Renewed {},
    /// The client is to go to another room: it joins there with the token, then leaves here. Without
    /// `invited` it is removed here soon.
    Move {
        /// Where (`rm_…`).
        room: String,
        /// Room token for it.
        token: String,
        /// Whether it may decline.
        invited: bool,
    },
    /// A text of another participant.
    Data {
        /// Who (participant id).
        from: String,
        /// As sent.
        body: String,
    },
    /// The session goes on after a cut; missed messages follow.
    Resumed {
        /// Highest `seq` received from the client; the client sends later ones again.
        received: u64,
        /// The next ticket.
        ticket: String,
    },
    /// Answer to the offer with the same `id`.
    Answer {
        /// As in the offer.
        id: u64,
        /// RFC 8866 text.
        sdp: String,
        /// The client's own tracks as accepted, with their ids.
        tracks: Vec<PublishedTrack>,
    },
    /// Somebody came.
    ParticipantJoined {
        /// Who.
        participant: Participant,
    },
    /// A participant's role, state, or muting at the server changed. The participant itself is told
    /// of its muting too.
    ParticipantUpdated {
        /// The whole, as it is now.
        participant: Participant,
    },
    /// Somebody left.
    ParticipantLeft {
        /// Who (participant id).
        participant: String,
        /// Why.
        reason: LeaveReason,
    },
    /// The recording of the room began, changed or ended. Told before the first packet is recorded and
    /// after the last one was; who joins later finds it in [`RoomInfo::recording`].
    Recording {
        /// As it is now; none: nothing is recorded.
        recording: Option<RecordingInfo>,
    },
    /// Somebody published a track.
    TrackPublished {
        /// The track.
        track: Track,
    },
    /// A track ended.
    TrackUnpublished {
        /// Track id.
        track: String,
    },
    /// A track was muted or unmuted.
    TrackMuted {
        /// Track id.
        track: String,
        /// New state.
        muted: bool,
    },
    /// The whole state of the client's slots; a lower `version` than seen is to be ignored.
    Slots {
        /// Counts changes.
        version: u64,
        /// Every slot.
        slots: Vec<Slot>,
        /// Tracks without a slot; the client offers more receiving m-sections to see them.
        waiting: Waiting,
    },
    /// Who speaks, loudest first (participant ids).
    Speakers {
        /// Participant ids.
        participants: Vec<String>,
    },
    /// The media path: `connected`, or `interrupted` (the client restarts ICE).
    Media {
        /// State.
        state: MediaState,
    },
    /// Answer to a ping.
    Pong {},
    /// The last message failed. The session goes on unless `fatal`.
    Error {
        /// What and what to do.
        error: ErrorInfo,
        /// `id` of the offer that failed, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offer: Option<u64>,
        /// Whether the socket closes now.
        fatal: bool,
    },
    /// The session is over for good; the socket closes.
    Left {
        /// Why.
        reason: LeaveReason,
    },
}

/// A participant as the others see it.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Participant {
    /// `pa_…`, for this stay.
    pub id: String,
    /// The partner's opaque handle from the token.
    pub handle: Handle,
    /// Its role.
    pub role: Role,
    /// What is muted at the server for this participant. A track's own `muted` is what its
    /// publisher says; it is heard when neither is muted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub muted: Vec<Source>,
    /// The app's own opaque text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
}

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// A moderator must let it in.
    Knock,
    /// A moderator must be there.
    Moderator,
}

/// Role of a participant.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May moderate.
    Moderator,
    /// Takes part.
    #[default]
    Participant,
    /// Only watches and listens.
    Viewer,
}

/// What a token lets its bearer do. Nothing is granted by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Sources that may be published.
    #[serde(default)]
    pub publish: Vec<Source>,
    /// Whether the tracks of others are received.
    #[serde(default)]
    pub subscribe: bool,
    /// Whether texts may be sent to others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub data: bool,
    /// Whether the bearer is not shown to the others; it can publish nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hidden: bool,
    /// Whether it may moderate, whatever its role.
    #[serde(default, skip_serializing_if = "is_false")]
    pub moderate: bool,
    /// Whether it may start and stop recordings.
    #[serde(default, skip_serializing_if = "is_false")]
    pub record: bool,
    /// Whether it may set its own state.
    #[serde(default, skip_serializing_if = "is_false")]
    pub update_own: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The room as a client sees it.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoomInfo {
    /// `rm_…`.
    pub id: String,
    /// Counts changes.
    #[serde(default)]
    pub version: u64,
    /// Who may publish.
    #[serde(default)]
    pub mode: Mode,
    /// Whether nobody new gets in.
    #[serde(default)]
    pub locked: bool,
    /// Whether newcomers have to be let in.
    #[serde(default)]
    pub knock: bool,
    /// When it ends, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// The room that it is a breakout of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its breakout rooms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breakouts: Vec<Breakout>,
    /// What is muted at the server for everybody whose role is not moderator, besides what is
    /// muted for each ([`Participant::muted`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub muted: Vec<Source>,
    /// Participants shown to everybody first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spotlight: Vec<String>,
    /// Tracks shown to everybody first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pinned: Vec<String>,
    /// The recording that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingInfo>,
    /// The partner's own opaque text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// A published track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Track {
    /// `tr_…`.
    pub id: String,
    /// Participant id of the publisher.
    pub participant: String,
    /// What it shows.
    pub source: Source,
    /// Whether it is muted.
    pub muted: bool,
}

/// An own track in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedTrack {
    /// `a=mid` from the offer.
    pub mid: String,
    /// `tr_…`.
    pub id: String,
}

/// A receiving m-section and the track shown in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// `a=mid`.
    pub mid: String,
    /// Track id, or null while empty.
    pub track: Option<String>,
}

/// Tracks that have no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Audio tracks. Audio slots are for the loudest; growing them is seldom needed.
    pub audio: u32,
    /// Video tracks.
    pub video: u32,
}

/// State of the media path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// ICE and DTLS are up.
    Connected,
    /// Consent was lost.
    Interrupted,
}

/// Limits for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientLimits {
    /// Most receiving audio m-sections.
    pub audio_slots_max: u32,
    /// Most receiving video m-sections.
    pub video_slots_max: u32,
    /// Largest message in bytes.
    pub message_bytes_max: u32,
}

/// Why somebody left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// Said so.
    Left,
    /// Silent for too long, or the media path was gone for too long.
    Timeout,
    /// The room was deleted.
    RoomClosed,
    /// Removed by the partner or a moderator.
    Removed,
    /// Not let in by a moderator.
    Denied,
    /// The same handle joined again.
    Replaced,
    /// Moved to another room.
    Moved,
    /// A protocol error.
    ProtocolError,
    /// The server had to give the session up.
    ServerError,
}
