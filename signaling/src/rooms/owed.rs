//! Commands that a busy media node did not take and that must reach it: those that end media (until
//! then it forwards the media of who was removed), those that mute or unmute, those that say what a
//! session may do and whom it may see, and the question what is left of a room.

use std::time::Instant;

use bus::{Registration, SendError};
use sfu_proto::control::Command;

use crate::{limits, media::Media};

/// What a room still owes to media nodes, in order. Bounded by the sessions that the room had open:
/// while it owes a node an end, nothing is opened there; of mutes only the newest of a track is kept,
/// of permissions and audiences that of a session, and there is one question.
#[derive(Default)]
pub(super) struct Owed {
    list: Vec<(Registration, Command)>,
    due: Option<Instant>,
}

impl Owed {
    /// Whether `node` is owed an end, which must come before everything else. The order of the rest
    /// does not matter.
    pub(super) fn holds_back(&self, node: Registration) -> bool {
        self.list.iter().any(|(to, command)| *to == node && is_end(command))
    }

    /// Forgets what a command makes void, whether or not the node takes it.
    pub(super) fn supersede(&mut self, command: &Command) {
        self.list.retain(|(_, older)| match (older, command) {
            (Command::SetMuted { track, .. }, Command::SetMuted { track: newest, .. }) => {
                track != newest
            }
            (
                Command::SetPermissions { session, .. },
                Command::SetPermissions { session: newest, .. }
                | Command::CloseSession { session: newest },
            )
            | (
                Command::SetAudience { session, .. },
                Command::SetAudience { session: newest, .. }
                | Command::CloseSession { session: newest },
            ) => session != newest,
            (Command::SetTap { room, .. }, Command::SetTap { room: newest, .. }) => room != newest,
            _ => true,
        });
    }

    /// When to try again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Keeps a command. The end of the room is the end of its sessions; one question is enough.
    pub(super) fn keep(&mut self, node: Registration, command: Command, now: Instant) {
        self.supersede(&command);
        match command {
            Command::CloseRoom { .. } => self.list.retain(|(to, _)| *to != node),
            Command::Sync { .. } => self.list.retain(|(_, c)| !matches!(c, Command::Sync { .. })),
            _ => {}
        }
        self.list.push((node, command));
        self.due = Some(now + limits::CLOSE_AGAIN);
    }

    /// Sends again, in order for each node. What a node is owed that is gone is void.
    pub(super) fn settle(&mut self, media: &Media, now: Instant) {
        let mut busy = Vec::new();
        self.list.retain(|(node, command)| {
            if !busy.contains(node) && media.send(*node, command.clone()) == Err(SendError::Busy) {
                busy.push(*node);
            }
            busy.contains(node)
        });
        self.due = (!self.list.is_empty()).then(|| now + limits::CLOSE_AGAIN);
    }
}

fn is_end(command: &Command) -> bool {
    matches!(command, Command::CloseRoom { .. } | Command::CloseSession { .. })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use bus::{Bus as _, InProcessBus, Inbox, InboxFull};
    use sfu_proto::control::{Audience, Permissions};
    use sfu_proto::id::{NodeId, RoomId, SessionId, TrackId};

    use super::*;

    struct Deaf;

    impl Inbox for Deaf {
        fn deliver(&self, _: Command) -> Result<(), InboxFull> {
            Err(InboxFull)
        }

        fn superseded(&self) {}
    }

    #[tokio::test]
    async fn only_ends_hold_back_and_of_mutes_the_newest_is_owed() {
        let bus = Arc::new(InProcessBus::new());
        let _member = bus.register(NodeId::from_bits(1), Arc::new(Deaf)).await.unwrap();
        let node = bus.nodes()[0].registration;
        let media = Media::new(bus);
        let (mut owed, now) = (Owed::default(), Instant::now());
        for _ in 0..2 {
            owed.keep(node, Command::Sync { sessions: Vec::new() }, now);
        }
        let mute = |track, muted| Command::SetMuted { track: TrackId::from_bits(track), muted };
        for command in [mute(1, true), mute(2, true), mute(1, false)] {
            owed.keep(node, command, now);
        }
        assert!(!owed.holds_back(node) && owed.due().is_some());
        assert_eq!(owed.list.len(), 3, "a question and a mute of each track");
        owed.supersede(&mute(1, true));
        assert_eq!(owed.list.len(), 2);
        let session = SessionId::from_bits(1);
        let permit = |subscribe| Command::SetPermissions {
            session,
            permissions: Permissions { publish: Vec::new(), subscribe },
        };
        let hear = Command::SetAudience { session, audience: Audience::Only(Vec::new()) };
        for command in [permit(true), hear, permit(false)] {
            owed.keep(node, command, now);
        }
        assert_eq!(owed.list.len(), 4, "the newest permissions and an audience besides");
        owed.keep(node, Command::CloseSession { session: SessionId::from_bits(1) }, now);
        assert!(owed.holds_back(node));
        owed.settle(&media, now);
        assert_eq!(owed.list.len(), 3, "still busy; who is closed needs no permissions");
        owed.keep(node, Command::CloseRoom { room: RoomId::from_bits(1) }, now);
        assert_eq!(owed.list.len(), 1, "nothing else matters then");
    }
}
