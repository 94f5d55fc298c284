//! Commands that a busy media node did not take and that must reach it: those that end media (until
//! then it forwards the media of who was removed), and the question what is left of a room.

use std::time::Instant;

use bus::{Registration, SendError};
use sfu_proto::control::Command;

use crate::{limits, media::Media};

/// What a room still owes to media nodes, in order. Bounded by the sessions that the room had open:
/// while it owes a node anything, nothing is opened there.
#[derive(Default)]
pub(super) struct Owed {
    list: Vec<(Registration, Command)>,
    due: Option<Instant>,
}

impl Owed {
    /// Whether `node` is owed anything.
    pub(super) fn is_owed(&self, node: Registration) -> bool {
        self.list.iter().any(|(to, _)| *to == node)
    }

    /// When to try again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Keeps a command. The end of the room is the end of its sessions; one question is enough.
    pub(super) fn keep(&mut self, node: Registration, command: Command, now: Instant) {
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
