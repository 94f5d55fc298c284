//! Who does something: a key or a role, never a person.

use sfu_proto::id::ParticipantId;

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Actor {
    /// An API key, by its id.
    Key(String),
    /// The operator, by the id of the operator's key; `cli` for the command line.
    Operator(String),
    /// A client with the right to moderate, by participant id.
    Client(ParticipantId),
    /// We, by a rule (a time-out).
    System,
}
