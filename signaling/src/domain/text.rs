//! What participants say to each other: their state, and texts. Nothing of it lasts but in a recording
//! whose rule asks for texts.

use std::sync::Arc;

use sdk_spec::{
    limits::{DATA_BYTES_MAX, NAMED_MAX, STATE_BYTES_MAX},
    ws::{ErrorCode, ServerMessage},
};
use sfu_proto::id::ParticipantId;

use super::{Effect, Fault, Room, error, sdk::NOT_ALLOWED};
use crate::recorder::RecordedText;

const TOO_LONG: Fault = (
    ErrorCode::MessageTooLarge,
    "the text is longer, or names more participants, than allowed",
    "Send at most 1024 bytes of state and 4096 bytes of data to at most 100 participants.",
);

impl Room {
    pub(super) fn on_set_state(&mut self, id: ParticipantId, state: Option<String>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let fault = if !member.grants.update_own || member.hidden() {
            Some(NOT_ALLOWED)
        } else if state.as_ref().is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            Some(TOO_LONG)
        } else {
            None
        };
        match fault {
            Some(fault) => self.tell(id, &error(fault, None, false)),
            None if member.info.state == state => {}
            None => {
                member.info.state = state;
                self.announce_update(id, false);
            }
        }
    }

    pub(super) fn on_data(&mut self, id: ParticipantId, to: &[String], body: String) {
        let Some(member) = self.members.get(&id) else { return };
        let fault = if !member.grants.data || member.hidden() {
            Some(NOT_ALLOWED)
        } else if body.len() > DATA_BYTES_MAX || to.len() > NAMED_MAX {
            Some(TOO_LONG)
        } else {
            None
        };
        if let Some(fault) = fault {
            return self.tell(id, &error(fault, None, false));
        }
        if to.is_empty() {
            self.record_text(id, Vec::new(), &body);
            return self.tell_others(id, &ServerMessage::Data { from: id.to_string(), body });
        }
        // Who is not here any more is a race, not a fault.
        let ids = to.iter().filter_map(|id| id.parse::<ParticipantId>().ok()).collect();
        let mut named = super::shown::distinct(ids);
        named.retain(|to| *to != id && self.members.contains_key(to));
        if !named.is_empty() {
            self.record_text(id, named.clone(), &body);
        }
        let body = super::encode(&ServerMessage::Data { from: id.to_string(), body });
        for to in named {
            if let Some(member) = self.members.get_mut(&to) {
                self.effects.extend(super::sdk::send(member, Arc::clone(&body)));
            }
        }
    }

    /// Gives a text to the recorder if it may have it. What is said to named participants it may only if
    /// each of them may be recorded as well.
    fn record_text(&mut self, from: ParticipantId, to: Vec<ParticipantId>, body: &str) {
        let mut of = vec![from];
        of.extend(&to);
        if let Some(recording) = self.texts_taken(&of) {
            let text = RecordedText { recording, from, to, body: body.to_owned() };
            self.effects.push(Effect::Text(Box::new(text)));
        }
    }
}
