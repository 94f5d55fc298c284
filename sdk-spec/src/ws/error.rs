//! What the server says when something goes wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorInfo {
    /// Machine-readable.
    pub code: ErrorCode,
    /// For a developer; may change.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Codes of [`ServerMessage::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Token missing, wrong, expired, used, or for a room that is gone: one answer for all.
    TokenRefused,
    /// Ticket unknown, used up, or too late. Join with a new token.
    ResumeRefused,
    /// The room has as many participants as it may.
    RoomFull,
    /// The room is locked.
    RoomLocked,
    /// The room is not open yet.
    RoomNotOpen,
    /// The handle is banned.
    Banned,
    /// The handle is in the room already.
    DuplicateHandle,
    /// Not a message of this protocol.
    MalformedMessage,
    /// A well-formed message at the wrong time.
    UnexpectedMessage,
    /// A message above the limit.
    MessageTooLarge,
    /// Too many messages.
    RateLimited,
    /// Nothing arrived in time.
    Timeout,
    /// The SDP cannot be parsed or is above a limit.
    MalformedSdp,
    /// The SDP is fine but cannot be answered.
    OfferRefused,
    /// The grants do not allow it.
    NotPermitted,
    /// No such track, or not the client's own.
    UnknownTrack,
    /// No media node is free.
    NoMediaNode,
    /// The media node has no room for what was offered. The session goes on as it was; try again
    /// later.
    NoCapacity,
    /// Our fault.
    Internal,
}
