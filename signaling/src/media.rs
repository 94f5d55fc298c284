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
    sessions: DashMap<SessionId, Route>,
}

/// Where a session's events go.
struct Route {
    room: RoomId,
    /// It was closed by us: only its last [`Event::Traffic`] is still of interest.
    closed: bool,
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

    /// From now on events of `session` are for `room`.
    pub(crate) fn enter(&self, session: SessionId, room: RoomId) {
        self.sessions.insert(session, Route { room, closed: false });
    }

    /// Events of `session`, except the last count of its traffic, are for nobody any more.
    pub(crate) fn forget(&self, session: SessionId) {
        if let Some(mut route) = self.sessions.get_mut(&session) {
            route.closed = true;
        }
    }

    /// The end of some sessions will not be heard: nothing is kept for those that are closed.
    fn forget_closed(&self) {
        self.sessions.retain(|_, route| !route.closed);
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
            | Event::SlotsChanged { session, .. } => session,
            Event::Traffic { session, .. } => {
                return self.sessions.get(session).map(|route| route.room);
            }
            Event::SessionEnded { session, .. } => {
                self.sessions.remove_if(session, |_, route| route.closed);
                session
            }
        };
        self.sessions.get(session).filter(|route| !route.closed).map(|route| route.room)
    }
}

/// Hands notices of the bus to rooms until the bus is gone. Waits for a room whose queue is full:
/// a room never waits for this, and what the bus drops meanwhile it reports as missed.
pub(crate) async fn pump(rooms: Arc<Rooms>, mut notices: Subscription) {
    while let Some(notice) = notices.next().await {
        match notice {
            Notice::Event { from, event } => {
                if let Some(room) = rooms.media().room_of(&event) {
                    rooms.send_media(room, from, event).await;
                }
            }
            Notice::NodeUp(_) => tracing::info!("media node registered"),
            Notice::NodeDown(node) => {
                tracing::warn!("media node gone");
                rooms.media().forget_closed();
                rooms.send_all(|| Input::NodeDown(node)).await;
            }
            Notice::Missed(count) => {
                tracing::warn!(count, "events of media nodes were missed");
                rooms.media().forget_closed();
                rooms.send_all(|| Input::Missed).await;
            }
        }
    }
}
