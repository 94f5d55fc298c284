//! A participant of a room and how it is connected.

use std::time::Instant;

use sdk_spec::ws::{Grants, Participant, Source};
use sfu_proto::{
    control,
    id::{RoomId, SessionId, TrackId},
    sdp,
};

use super::{
    input::{Admission, ConnectionId, RequestId, Standard},
    outbox::Outbox,
    seats::Seat,
    shown::Rule,
};
use crate::secret::SecretHash;

/// A participant, from join to leave.
pub(crate) struct Member {
    pub(crate) info: Participant,
    /// Its place among the project's participants, until it hands it to who replaces it.
    pub(super) seat: Option<Seat>,
    /// Counts those who came in: the order of arrival.
    pub(crate) arrival: u64,
    /// Of its token.
    pub(crate) token: Grants,
    /// Of its token, or of a moderator since.
    pub(crate) granted: Grants,
    /// What holds of it now, by role, mode and floor.
    pub(crate) grants: Grants,
    pub(crate) session: SessionId,
    /// Whether the media node has the session. It gets it with the first offer: it ends sessions
    /// that nobody connects to, and a client may stay in a room for long without media.
    pub(crate) has_media: bool,
    pub(crate) tracks: Vec<MemberTrack>,
    pub(crate) pending: Option<Pending>,
    /// What it wants to see first, after what is shown first to everybody.
    pub(crate) wanted: Vec<TrackId>,
    /// Whether it consents to being recorded. Of each stay anew.
    pub(crate) consents: bool,
    /// Whom it may see and hear.
    pub(super) audience: Rule,
    /// What the media node knows of that.
    pub(super) audience_told: control::Audience,
    /// It has a token for another room and is removed soon.
    pub(crate) moving: Option<Moving>,
    /// Bytes received from it and sent to it that no event tells yet.
    pub(crate) traffic: (u64, u64),
    pub(crate) client: Client,
}

/// A track that the participant publishes.
#[derive(Clone)]
pub(crate) struct MemberTrack {
    pub(crate) id: TrackId,
    pub(crate) mid: String,
    pub(crate) source: Source,
    /// What its publisher says.
    pub(crate) muted: bool,
    /// What the media node was told, which also knows of muting at the server.
    pub(crate) told: bool,
}

/// Where a participant goes, and until when it may stay.
pub(crate) struct Moving {
    pub(crate) room: RoomId,
    pub(crate) until: Instant,
}

/// An offer that the media node has not answered yet. At most one per participant.
pub(crate) struct Pending {
    /// `request` of the command, to tell a late answer from the right one.
    pub(crate) request: u64,
    pub(crate) deadline: Instant,
    pub(crate) tracks: Vec<MemberTrack>,
    pub(crate) asker: Asker,
}

/// Who waits for the answer.
pub(crate) enum Asker {
    Sdk {
        offer: u64,
    },
    Open(RequestId),
    /// With the credentials that the client has once it is answered.
    Restart(RequestId, sdp::IceCredentials),
}

/// How the participant talks to us.
pub(crate) enum Client {
    Sdk(Sdk),
    Standard(StandardClient),
}

/// `conclave.v1` over a WebSocket that may be cut and resumed.
///
/// ```text
///          detach, silence             30 s
///  Live ────────────────────▶ Cut ──────────▶ leaves (timeout)
///   ▲                          │
///   └──────── resume ──────────┘
/// ```
pub(crate) struct Sdk {
    pub(crate) link: Link,
    pub(crate) outbox: Outbox,
    /// Highest `seq` received.
    pub(crate) heard: u64,
    pub(crate) ticket: SecretHash,
    /// The ticket before it, good until the new connection is heard, so that the client is known to
    /// have the newest: the `resumed` that brings it may be lost with its connection.
    pub(crate) ticket_before: Option<SecretHash>,
    /// Number of the `joined` that followed a `waiting`, and the ticket in it: when it is sent again
    /// after a resume it must not bring an older ticket than that did.
    pub(crate) joined: Option<(u64, String)>,
}

/// The connection of an SDK client.
#[derive(Clone, Copy)]
pub(crate) enum Link {
    Live { connection: ConnectionId, heard_at: Instant },
    Cut { since: Instant },
}

/// WHIP or WHEP: HTTP requests only.
pub(crate) struct StandardClient {
    pub(crate) kind: Standard,
    pub(crate) secret: SecretHash,
    /// The offer as answered, which an ICE restart repeats.
    pub(crate) offer: Box<sdp::Offer>,
    /// Counts ICE sessions; the entity tag.
    pub(crate) generation: u64,
}

impl Sdk {
    /// The open connection, if there is one.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Live { connection, .. } => Some(connection),
            Link::Cut { .. } => None,
        }
    }
}

impl Member {
    /// Whether the others do not know of it.
    pub(crate) fn hidden(&self) -> bool {
        self.granted.hidden
    }

    /// What it goes to another room as.
    pub(crate) fn admission(&self) -> Admission {
        Admission {
            handle: self.info.handle.clone(),
            role: self.info.role,
            grants: self.granted.clone(),
        }
    }

    /// The SDK side, if it is one.
    pub(crate) fn sdk(&mut self) -> Option<&mut Sdk> {
        match &mut self.client {
            Client::Sdk(sdk) => Some(sdk),
            Client::Standard(_) => None,
        }
    }

    /// The open connection, if there is one.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match &self.client {
            Client::Sdk(sdk) => sdk.connection(),
            Client::Standard(_) => None,
        }
    }
}
