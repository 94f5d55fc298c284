//! What goes into a room and what comes out of it, as data.

use std::sync::Arc;

use sdk_spec::{
    handle::Handle,
    ws::{Grants, OfferedTrack, Role},
};
use sfu_proto::{
    control::{self, Event},
    id::{ParticipantId, SessionId},
    sdp,
};

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

/// What happens to a room.
pub(crate) enum Command {
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
    /// The room is deleted.
    Close,
    /// A deadline passed.
    Tick,
}

/// A message of a client, with the SDP already parsed.
pub(crate) struct ClientInput {
    pub(crate) seq: u64,
    pub(crate) ack: u64,
    pub(crate) body: Body,
}

/// The message itself.
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

/// What a WHIP or WHEP client asks for.
pub(crate) enum Ask {
    Open { kind: Standard, admission: Admission, offer: Box<sdp::Offer> },
    Patch { kind: Standard, proof: Proof, tag: Option<Tag>, ice: Option<sdp::IceCredentials> },
    End { kind: Standard, proof: Proof },
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
    Opened { answer: Box<sdp::Answer>, resource: String, generation: u64 },
    Restarts { answer: Box<sdp::Answer>, generation: u64 },
    Accepted,
    Ended,
}

/// Why an [`Ask`] failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    RoomFull,
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
    /// The room is over.
    Ended,
}
