//! What goes into a room and what comes out of it, as data.

use std::sync::Arc;

use sdk_spec::{
    action::{Action, ActionRefusal, ActionResult},
    event::What,
    handle::Handle,
    recording::{RecordingRule, StopReason},
    rest::RoomParticipant,
    room::{Kind, RoomSettings},
    ws::{Grants, OfferedTrack, Role},
};
use sfu_proto::{
    control::{self, Event},
    id::{ParticipantId, RecordingId, RoomId, SessionId},
    sdp,
};

use super::actor::Actor;
use crate::recorder::RecordedText;

/// One WebSocket connection, for as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// One request that waits for a [`Reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RequestId(pub(crate) u64);

/// Who a token lets in, and as what.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) handle: Handle,
    pub(crate) role: Role,
    pub(crate) grants: Grants,
}

/// Proof of the right to act for a participant (see [`crate::secret::Capability`]).
#[derive(Clone, Copy)]
pub(crate) struct Proof {
    pub(crate) participant: ParticipantId,
    pub(crate) secret: [u8; 32],
}

/// What of a room lasts; stored at each change.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Charter {
    pub(crate) kind: Kind,
    /// All settings, defaults included.
    pub(crate) settings: RoomSettings,
    pub(crate) reference: Option<Handle>,
    /// Wall clock, like all of these.
    pub(crate) starts_at_ms: Option<u64>,
    pub(crate) duration_seconds: Option<u32>,
    /// When it ends, once that is known: an ad hoc room's duration begins with the first join.
    pub(crate) ends_at_ms: Option<u64>,
    /// The room that it is a breakout of.
    pub(crate) parent: Option<RoomId>,
    pub(crate) breakouts: Vec<BreakoutRoom>,
    /// Counts changes from 1.
    pub(crate) version: u64,
}

impl Charter {
    /// Of a room without a time, a parent or a name.
    pub(crate) fn new(kind: Kind, settings: &RoomSettings) -> Self {
        Self {
            kind,
            settings: settings.or_default(),
            reference: None,
            starts_at_ms: None,
            duration_seconds: None,
            ends_at_ms: None,
            parent: None,
            breakouts: Vec::new(),
            version: 1,
        }
    }
}

/// A breakout room of a room.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BreakoutRoom {
    pub(crate) id: RoomId,
    pub(crate) reference: Option<Handle>,
    pub(crate) ends_at_ms: Option<u64>,
}

/// A handle that may not come in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) handle: Handle,
    /// None: for as long as the room lives.
    pub(crate) until_ms: Option<u64>,
}

/// What must last of a change: stored in one transaction. What depends on it (answers to actions) is
/// given only after [`Command::Committed`].
#[derive(Default)]
pub(crate) struct Commit {
    /// Counts the room's commits from 1.
    pub(crate) number: u64,
    /// The charter after it, if it changed.
    pub(crate) charter: Option<Charter>,
    /// What happened, with its time on the wall clock, in order.
    pub(crate) events: Vec<(u64, What)>,
    pub(crate) bans: Vec<Ban>,
    /// Rooms to be created, with their charter.
    pub(crate) breakouts: Vec<(RoomId, Charter)>,
    /// What became of recordings, in order.
    pub(crate) recordings: Vec<RecordingChange>,
    /// For the audit log: who, what (`room.update`), to what.
    pub(crate) audits: Vec<(Actor, &'static str, String)>,
    /// The room is over.
    pub(crate) ended: bool,
}

/// What a room decides about a recording; stored with the event that says so.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum RecordingChange {
    /// A new recording, with its whole rule: the request's over the room's over the policy's.
    Started {
        id: RecordingId,
        rule: RecordingRule,
    },
    Paused(RecordingId),
    Resumed(RecordingId),
    Stopped {
        id: RecordingId,
        reason: StopReason,
    },
}

/// What a project says about recordings.
#[derive(Clone)]
pub(crate) enum Policy {
    /// What holds unless the room or a request says otherwise.
    Rule(Box<RecordingRule>),
    /// Nothing can be recorded: there is nobody to seal it to.
    Missing,
    /// It could not be looked up.
    Unavailable,
    /// As [`Policy::Rule`], but nothing can be started now, for this reason: there may be a place later.
    Full(Box<RecordingRule>, ActionRefusal),
}

/// What happens to a room.
#[derive(Clone)]
pub(crate) enum Command {
    /// A commit is stored; commits are stored in order.
    Committed(u64),
    /// A handle was banned, in this room or in the project: whoever has it is removed.
    Banned(Ban),
    /// Lifts a ban.
    Unbanned(Handle),
    /// A token for another room was minted, as [`Effect::Transfer`] asked.
    Ticket { participant: ParticipantId, room: RoomId, token: String, invited: bool },
    /// The room's parent calls everybody back, and the room ends; or the parent is over: then
    /// nobody can go back, and the room ends at once.
    Recall { parent_ended: bool },
    /// A breakout room of this room is over.
    BreakoutEnded(RoomId),
    /// Breakout rooms of a commit that is stored were not: the project has as many rooms as it may. Said
    /// before [`Command::Committed`] of that commit.
    BreakoutsRefused(Vec<RoomId>),
    /// Recordings of a commit that is stored were not begun, and why. Said before
    /// [`Command::Committed`] of that commit.
    RecordingsRefused(Vec<(RecordingId, ActionRefusal)>),
    /// A new token of a client that is in: replaces role and grants if it is of the same handle.
    Renew { connection: ConnectionId, admission: Admission },
    /// A new token was refused: the client is told, nothing changes.
    RenewRefused { connection: ConnectionId },
    /// A client joins by WebSocket.
    Join { connection: ConnectionId, admission: Admission },
    /// A client comes back after a cut.
    Resume { connection: ConnectionId, proof: Proof, received: u64 },
    /// A client says something.
    Client { connection: ConnectionId, input: ClientInput },
    /// A connection closed, or its reader was too slow.
    Detach { connection: ConnectionId },
    /// A WHIP or WHEP client asks for something.
    Standard { request: RequestId, ask: Ask },
    /// The answer that opened a WHIP or WHEP session reached nobody: its client went away.
    Unclaimed(ParticipantId),
    /// The media node says something.
    Media(Event),
    /// The media node is gone with everything on it.
    MediaLost,
    /// Events of the media node were lost.
    MediaMissed,
    /// The media node did not take the room.
    RoomRefused,
    /// The media node did not take a session.
    SessionRefused(SessionId),
    /// The project's policy for recordings, as [`Effect::FindPolicy`] asked.
    Policy(Policy),
    /// The recorder cannot go on with a recording.
    RecordingFailed { recording: RecordingId, reason: StopReason },
    /// Nobody records any more.
    RecorderLost,
    /// The room is deleted.
    Close,
    /// A deadline passed.
    Tick,
}

/// A message of a client, with the SDP already parsed.
#[derive(Clone)]
pub(crate) struct ClientInput {
    pub(crate) seq: u64,
    pub(crate) ack: u64,
    pub(crate) body: Body,
}

/// The message itself.
#[derive(Clone)]
pub(crate) enum Body {
    Offer {
        id: u64,
        sdp: Result<Box<sdp::Offer>, String>,
        tracks: Vec<OfferedTrack>,
    },
    Mute {
        track: String,
        muted: bool,
    },
    Want {
        tracks: Vec<String>,
    },
    Act {
        id: u64,
        action: Box<Action>,
    },
    Consent {
        granted: bool,
    },
    Floor {
        wanted: bool,
    },
    SetState {
        state: Option<String>,
    },
    Data {
        to: Vec<String>,
        body: String,
    },
    /// A `renew` whose token is being checked; [`Command::Renew`] follows.
    Renewing,
    Ping,
    Leave,
    /// `join` or `resume` on an open session.
    Repeated,
    /// An envelope with something else in it.
    Unknown,
    /// Not even an envelope.
    Malformed,
    /// More messages than allowed.
    TooMany,
    /// A message above the limit.
    TooLarge,
}

/// Direction of a WHIP or WHEP session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standard {
    Whip,
    Whep,
}

/// What a WHIP or WHEP client or the partner asks for.
#[derive(Clone)]
pub(crate) enum Ask {
    /// The partner moderates. `version`: what `If-Match` named.
    Act {
        actor: Actor,
        action: Box<Action>,
        version: Option<u64>,
    },
    /// The partner stops, pauses or resumes this recording, if it is the one that runs.
    Turn {
        actor: Actor,
        recording: RecordingId,
        action: Box<Action>,
    },
    /// Who is here.
    Participants,
    /// Whether there is a place for a newcomer: refused only with [`Refusal::RoomFull`] or
    /// [`Refusal::QuotaExceeded`].
    Vacancy {
        who: Admission,
    },
    /// A breakout room sends somebody here who is `who` there: as what may it come?
    Return {
        who: Admission,
    },
    Open {
        kind: Standard,
        admission: Admission,
        offer: Box<sdp::Offer>,
    },
    Patch {
        kind: Standard,
        proof: Proof,
        tag: Option<Tag>,
        ice: Option<sdp::IceCredentials>,
    },
    End {
        kind: Standard,
        proof: Proof,
    },
}

/// `If-Match` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// `*`.
    Any,
    /// An entity tag of ours.
    Generation(u64),
    /// Some other text.
    Foreign,
}

/// Answer to an [`Ask`].
pub(crate) enum Reply {
    Acted(ActionResult),
    Participants(Vec<RoomParticipant>),
    Returns(Admission),
    Opened { answer: Box<sdp::Answer>, resource: String, generation: u64 },
    Restarts { answer: Box<sdp::Answer>, generation: u64 },
    Accepted,
    Ended,
}

/// Why an [`Ask`] failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Action(ActionRefusal),
    RoomFull,
    /// The project has as many participants as it may.
    QuotaExceeded,
    RoomLocked,
    RoomNotOpen,
    Banned,
    DuplicateHandle,
    NotPermitted,
    NotFound,
    PreconditionRequired,
    PreconditionFailed,
    Busy,
    Offer(sdp::Refusal),
    MediaTimeout,
    NoMediaNode,
    Gone,
}

/// Why a connection is closed by us; see the table in [`sdk_spec::ws`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    Done,
    Refused,
    Silent,
    Superseded,
}

/// What a room wants done, in this order.
pub(crate) enum Effect {
    /// Write a message to a client; `body` is the JSON of a [`sdk_spec::ws::ServerMessage`].
    Send { to: ConnectionId, seq: u64, ack: u64, body: Arc<str> },
    /// Close a connection after what was sent to it.
    Disconnect { connection: ConnectionId, close: Close },
    /// Tell the media node.
    Media(control::Command),
    /// Answer a request.
    Reply { to: RequestId, result: Result<Reply, Refusal> },
    /// Give a text to the recorder.
    Text(Box<RecordedText>),
    /// Store a change.
    Commit(Box<Commit>),
    /// Mint tokens for another room, for these participants: [`Command::Ticket`] follows for each.
    Transfer { participants: Vec<(ParticipantId, Admission)>, room: RoomId, invited: bool },
    /// Look up the project's policy for recordings: [`Command::Policy`] follows.
    FindPolicy,
    /// Ban a handle in breakout rooms too: each is told [`Command::Banned`]. It is stored for them with
    /// the commit.
    Ban { rooms: Vec<RoomId>, ban: Ban },
    /// End breakout rooms: each is told [`Command::Recall`].
    Recall { rooms: Vec<RoomId>, parent_ended: bool },
    /// The room is over, and refuses whoever comes. Two things may still be told to it:
    /// [`Command::Committed`], which gives the answers that wait for it, and the last
    /// [`Event::Traffic`] of its sessions, which gives a last commit.
    Ended,
}
