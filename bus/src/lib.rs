//! The bus between signaling and media nodes: [`Command`]s go to a node, [`Event`]s come back.
//!
//! ```text
//!  signaling ── send(registration, Command) ─▶ Bus ── Inbox::deliver ─▶ node
//!  signaling ◀── Subscription::next ◀───────── Bus ◀─ Membership::publish ── node
//! ```
//!
//! [`Bus`] is the contract; [`InProcessBus`] implements it for `conclave serve` with every role in
//! one process. A networked implementation stands behind the same trait: nothing in its signatures
//! assumes shared memory, and only what must wait for a round trip is asynchronous.
//!
//! The bus carries soft state only. Losing a message is allowed where stated; whoever sends a
//! request that needs an answer waits for it with a time limit.

mod in_process;
pub mod limits;
pub mod link;
mod subscription;
pub mod tap;

use std::{pin::Pin, sync::Arc};

use sfu_proto::{
    control::{Command, Event},
    id::NodeId,
};

pub use in_process::InProcessBus;
pub use subscription::{Notice, Subscription};

/// A boxed future, so that [`Bus`] can be used as `Arc<dyn Bus>`.
pub type Wait<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One stay of a node on the bus: its id and the fencing number of this stay.
///
/// A second registration of the same id gets a greater number and supersedes the first: from then
/// on commands to the old registration and events from it are refused, so a node that was thought
/// dead and comes back cannot speak for rooms that live elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registration {
    /// The node.
    pub node: NodeId,
    /// Grows with every registration of this id.
    pub fence: u64,
}

/// How much a node carries, for placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Rooms that are open.
    pub rooms: u32,
    /// Sessions that are open.
    pub sessions: u32,
}

/// A registered node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    /// To whom commands are addressed.
    pub registration: Registration,
    /// As last reported.
    pub load: Load,
}

/// Why a command was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// A queue on the way is full. The command was dropped; the caller answers "try again later"
    /// (HTTP 503).
    #[error("the media node is busy")]
    Busy,
    /// The node has left or was superseded; its rooms are gone and must be placed anew.
    #[error("the media node is gone")]
    Gone,
}

/// Why an event was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The way out is full. The event was dropped.
    #[error("the bus is busy")]
    Busy,
    /// Another registration of the same node id took over: this node must end its sessions.
    #[error("superseded by a later registration")]
    Superseded,
}

/// Why a node could not register.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Environment: more nodes than [`limits::NODES_MAX`].
    #[error("too many media nodes")]
    TooMany,
    /// Environment: the bus cannot be reached.
    #[error("the bus is unavailable: {0}")]
    Unavailable(String),
}

/// The bus as seen by both sides. All methods are safe from any thread, inside a runtime or not.
pub trait Bus: Send + Sync + 'static {
    /// Hands a command over for delivery to one registration. Never blocks, never waits.
    ///
    /// `Ok` means accepted, not done: what came of it is told by an [`Event`], and an answer may
    /// be lost with its node. Commands of one caller to one registration arrive in order.
    ///
    /// # Errors
    /// [`SendError::Busy`] when a bounded queue is full, [`SendError::Gone`] when the registration
    /// is not the current one.
    fn send(&self, to: Registration, command: Command) -> Result<(), SendError>;

    /// Nodes registered now, in order of id. May lag a networked truth by moments; sending to a
    /// node that has just gone answers [`SendError::Gone`].
    fn nodes(&self) -> Vec<NodeStatus>;

    /// Starts to receive what nodes publish, and their coming and going, from now on.
    ///
    /// Subscribe first, then read [`Bus::nodes`]: so no registration is missed.
    fn subscribe(&self) -> Subscription;

    /// Registers a node, superseding an earlier registration of the same id. Commands for it are
    /// given to `inbox`. Dropping the membership leaves the bus.
    ///
    /// # Errors
    /// [`RegisterError`] when the bus has no room or no connection.
    fn register(
        &self,
        node: NodeId,
        inbox: Arc<dyn Inbox>,
    ) -> Wait<'_, Result<Arc<dyn Membership>, RegisterError>>;
}

/// A node's place on the bus. Dropping the last reference leaves it.
pub trait Membership: Send + Sync {
    /// The id and fencing number that events from here carry.
    fn registration(&self) -> Registration;

    /// Publishes an event to every subscriber. Never blocks. Events of one caller arrive in order.
    ///
    /// # Errors
    /// [`PublishError::Busy`] when a bounded queue is full, [`PublishError::Superseded`] when this
    /// registration is stale.
    fn publish(&self, event: Event) -> Result<(), PublishError>;

    /// Tells placement how much the node carries. A hint: may be lost or late.
    fn report(&self, load: Load);
}

/// Where a node takes its commands. Called by the bus from its own threads: an implementation must
/// neither block nor call back into the bus.
pub trait Inbox: Send + Sync + 'static {
    /// Takes a command.
    ///
    /// # Errors
    /// [`InboxFull`] when the queue it belongs into is full; the sender is told
    /// [`SendError::Busy`].
    fn deliver(&self, command: Command) -> Result<(), InboxFull>;

    /// Another registration took this node's id: end every session, publish nothing more.
    fn superseded(&self);
}

/// The node's queue is full; the command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node's inbox is full")]
pub struct InboxFull;
