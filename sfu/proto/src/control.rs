//! Control of a media node: [`Command`]s go to the node, [`Event`]s come back. Both are data, so
//! they cross a thread, a bus or a network alike.
//!
//! A node knows opaque ids only: no tenant, no handle, no token.
//!
//! ```text
//! signaling ── OpenRoom, OpenSession, Offer, SetMuted, Want, SetPermissions, SetAudience, SetTap, Sync,
//!              CloseSession, CloseRoom ────────────────────────────────────────────────▶ node
//! signaling ◀── Answered, OfferRefused, Connected, Interrupted, SlotsChanged, TrackStarted,
//!               SpeakersChanged, Traffic, SessionEnded ────────────────────────────────── node
//! ```

use serde::{Deserialize, Serialize};

use crate::{
    id::{ParticipantId, RecordingId, RoomId, SessionId, TrackId},
    sdp,
};

/// What a published track shows or carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A camera, or another moving picture of the participant.
    Camera,
    /// A microphone.
    Microphone,
    /// A shared screen, window or tab.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
}

impl Source {
    /// All sources, in the order used by permission tables.
    pub const ALL: [Self; 4] = [Self::Camera, Self::Microphone, Self::Screen, Self::ScreenAudio];

    /// The media kind that this source must have in the session description.
    pub const fn kind(self) -> sdp::Kind {
        match self {
            Self::Camera | Self::Screen => sdp::Kind::Video,
            Self::Microphone | Self::ScreenAudio => sdp::Kind::Audio,
        }
    }
}

/// What one session may do in its room. Nothing unless granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// Sources that the session may publish, at most one track each.
    pub publish: Vec<Source>,
    /// Whether the session receives the tracks of others.
    pub subscribe: bool,
}

/// Whose tracks a session may be given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Everybody's.
    #[default]
    All,
    /// Those of these participants.
    Only(Vec<ParticipantId>),
    /// Those of all but these participants.
    Except(Vec<ParticipantId>),
}

/// A client's wish to publish the media of one m-section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// `a=mid` of the sending m-section in the offer.
    pub mid: sdp::Mid,
    /// Id that signaling gave the track; stable across offers while published.
    pub track: TrackId,
    /// What the track shows.
    pub source: Source,
    /// Whether it starts muted.
    pub muted: bool,
}

/// What of a room the recorder is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tap {
    /// For which recording. Track indexes and times go on while it is the same.
    pub recording: RecordingId,
    /// Which tracks; none is a pause.
    pub tracks: Vec<TrackId>,
}

/// An order to a media node. Unknown ids are ignored and counted; they are races, not errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Create a room. Idempotent.
    OpenRoom {
        /// The room.
        room: RoomId,
        /// Most sessions at once.
        sessions_max: u32,
    },
    /// End a room and every session in it.
    CloseRoom {
        /// The room.
        room: RoomId,
    },
    /// Admit a participant's peer connection to a room that is open.
    OpenSession {
        /// The room.
        room: RoomId,
        /// The new session.
        session: SessionId,
        /// Whose it is: a session never receives tracks of its own participant.
        participant: ParticipantId,
        /// What it may do.
        permissions: Permissions,
    },
    /// End a session; its tracks end with it.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// The client's offer, first or later. Sending m-sections without a [`Publish`] are refused
    /// (answered inactive); receiving m-sections become slots. New ICE credentials restart ICE.
    Offer {
        /// The session.
        session: SessionId,
        /// Chosen by signaling, returned in the answer.
        request: u64,
        /// The parsed offer.
        offer: Box<sdp::Offer>,
        /// Tracks that the offer's sending m-sections carry.
        publish: Vec<Publish>,
    },
    /// Stop or resume forwarding a track.
    SetMuted {
        /// The track.
        track: TrackId,
        /// Whether packets are dropped at the publisher's side.
        muted: bool,
    },
    /// Tracks that a session wants to see first, most wanted first. Video that is not named
    /// follows in the default order: shared screens, then cameras by time of publication.
    Want {
        /// The session.
        session: SessionId,
        /// Most wanted first.
        tracks: Vec<TrackId>,
    },
    /// Change what a session may do; tracks no longer allowed end.
    SetPermissions {
        /// The session.
        session: SessionId,
        /// What it may do from now on.
        permissions: Permissions,
    },
    /// Decide whose tracks a session is given, of those that it may have at all. Tracks of others
    /// leave its slots, get none, and are not counted as waiting for one.
    SetAudience {
        /// The session.
        session: SessionId,
        /// The rule from now on.
        audience: Audience,
    },
    /// Hand these tracks of a room to the recorder, and no others, from now on. Idempotent; a track
    /// that is not there yet counts when it comes. A track that comes in begins with
    /// [`crate::tap::Body::Track`] and a request for a key frame, one that goes out ends with
    /// [`crate::tap::Body::Ended`].
    SetTap {
        /// The room.
        room: RoomId,
        /// What is recorded; none ends the tap.
        tap: Option<Tap>,
    },
    /// Tell again what may have been missed: [`Event::SessionEnded`] for sessions that the node
    /// does not have, and soon, spread over time, [`Event::SlotsChanged`] for the others.
    Sync {
        /// Those that the sender believes to be on the node.
        sessions: Vec<SessionId>,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Signaling closed the session or its room.
    Closed,
    /// The peer closed DTLS.
    PeerClosed,
    /// No consent (RFC 7675) for longer than the resume time.
    ConsentLost,
    /// The handshake did not finish in time, or the certificate did not match its fingerprint.
    HandshakeFailed,
    /// The room or node was full.
    Refused,
    /// A defect of ours; the session was given up to protect the others.
    Internal,
}

/// What a slot shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotState {
    /// `a=mid` of the receiving m-section.
    pub mid: sdp::Mid,
    /// The track forwarded in it, if any.
    pub track: Option<TrackId>,
}

/// News from a media node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Answer to [`Command::Offer`].
    Answered {
        /// The session.
        session: SessionId,
        /// As in the command.
        request: u64,
        /// To be written as SDP.
        answer: Box<sdp::Answer>,
    },
    /// The offer cannot be answered; the session goes on as it was.
    OfferRefused {
        /// The session.
        session: SessionId,
        /// As in the command.
        request: u64,
        /// Why.
        reason: sdp::Refusal,
    },
    /// ICE and DTLS are up for the first time, or again after [`Event::Interrupted`].
    Connected {
        /// The session.
        session: SessionId,
    },
    /// Consent was lost; the session waits for an ICE restart or new binding requests.
    Interrupted {
        /// The session.
        session: SessionId,
    },
    /// The session is gone.
    SessionEnded {
        /// The session.
        session: SessionId,
        /// Why.
        reason: EndReason,
    },
    /// The whole state of the session's slots after a change.
    SlotsChanged {
        /// The session.
        session: SessionId,
        /// Counts changes; a receiver ignores a lower version than it has.
        version: u64,
        /// Every slot.
        slots: Vec<SlotState>,
        /// Tracks of each kind that exist for this session but have no slot: (audio, video).
        waiting: (u32, u32),
    },
    /// The first authenticated packet of a track arrived.
    TrackStarted {
        /// The room.
        room: RoomId,
        /// The track.
        track: TrackId,
    },
    /// Media of a session since the last such event: once a minute while there is any, and right
    /// before [`Event::SessionEnded`].
    Traffic {
        /// The session.
        session: SessionId,
        /// Bytes of authentic RTP packets received from it.
        received: u64,
        /// Bytes of RTP packets sent to it, repetitions included.
        sent: u64,
    },
    /// Who speaks now, loudest first; at most one event per 200 ms and room.
    SpeakersChanged {
        /// The room.
        room: RoomId,
        /// Tracks with speech, loudest first, bounded by a limit.
        tracks: Vec<TrackId>,
    },
}
