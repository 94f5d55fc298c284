//! The way to the media nodes: sends commands, and fans events out to the rooms they concern.

use std::sync::Arc;

use bus::{Bus, Notice, Registration, SendError, Subscription};
use dashmap::DashMap;
use sfu_proto::{
    control::{Command, Event},
    id::{RoomId, SessionId},
};

use crate::{
    placement,
    rooms::{Input, Rooms},
};

/// The bus, and which session belongs to which room.
pub(crate) struct Media {
    bus: Arc<dyn Bus>,
    sessions: DashMap<SessionId, RoomId>,
}

impl Media {
    pub(crate) fn new(bus: Arc<dyn Bus>) -> Self {
        Self { bus, sessions: DashMap::new() }
    }

    /// A node for a room, if any is registered.
    pub(crate) fn place(&self) -> Option<Registration> {
        placement::choose(&self.bus.nodes())
    }

    /// Whether `node` is still registered.
    pub(crate) fn is_up(&self, node: Registration) -> bool {
        self.bus.nodes().iter().any(|status| status.registration == node)
    }

    /// Hands a command to a room's node.
    pub(crate) fn send(&self, node: Registration, command: Command) -> Result<(), SendError> {
        self.bus.send(node, command)
    }

    /// Keeps the table of sessions in step with a command, whether or not a node gets it.
    pub(crate) fn note(&self, room: RoomId, command: &Command) {
        match command {
            Command::OpenSession { session, .. } => drop(self.sessions.insert(*session, room)),
            Command::CloseSession { session } => drop(self.sessions.remove(session)),
            _ => {}
        }
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        self.bus.subscribe()
    }

    fn room_of(&self, event: &Event) -> Option<RoomId> {
        let session = match event {
            Event::TrackStarted { room, .. } | Event::SpeakersChanged { room, .. } => {
                return Some(*room);
            }
            Event::Answered { session, .. }
            | Event::OfferRefused { session, .. }
            | Event::Connected { session }
            | Event::Interrupted { session }
            | Event::SessionEnded { session, .. }
            | Event::SlotsChanged { session, .. } => session,
        };
        self.sessions.get(session).map(|room| *room)
    }
}

/// Hands notices of the bus to rooms until the bus is gone. Waits for a room whose queue is full:
/// a room never waits for this, and what the bus drops meanwhile it reports as missed.
pub(crate) async fn pump(rooms: Arc<Rooms>, mut notices: Subscription) {
    while let Some(notice) = notices.next().await {
        match notice {
            Notice::Event { from, event } => {
                if let Some(room) = rooms.media().room_of(&event) {
                    rooms.send(room, Input::Media { from, event }).await;
                }
            }
            Notice::NodeUp(_) => tracing::info!("media node registered"),
            Notice::NodeDown(node) => {
                tracing::warn!("media node gone");
                rooms.send_all(|| Input::NodeDown(node)).await;
            }
            Notice::Missed(count) => {
                tracing::warn!(count, "events of media nodes were missed");
                rooms.send_all(|| Input::Missed).await;
            }
        }
    }
}
