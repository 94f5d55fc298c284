//! The floor of a lecture: who asks for it, who holds it.

use std::time::Instant;

use sdk_spec::{
    action::ActionRefusal,
    event::{FloorState, What},
    limits::FLOOR_REQUESTS_MAX,
    room::Mode,
    ws::{ErrorCode, Role, ServerMessage},
};
use sfu_proto::id::ParticipantId;

use super::{Fault, Room, error, sdk::NOT_ALLOWED};

const NO_FLOOR: Fault = (
    ErrorCode::UnexpectedMessage,
    "there is no floor in a group, and a moderator needs none",
    "Ask for the floor in lecture mode, as a participant.",
);
const TOO_MANY_REQUESTS: Fault = (
    ErrorCode::UnexpectedMessage,
    "as many ask for the floor as are remembered",
    "Ask again when some were answered.",
);

/// Who holds the floor and who asks for it, in order.
#[derive(Default)]
pub(super) struct Floor {
    pub(super) holders: Vec<ParticipantId>,
    pub(super) requests: Vec<ParticipantId>,
    /// The holders changed since it was told.
    new_holders: bool,
    /// Those whose request came or went since it was told.
    asked: Vec<ParticipantId>,
}

impl Room {
    pub(super) fn on_floor(&mut self, id: ParticipantId, wanted: bool, now: Instant) {
        let Some(member) = self.members.get(&id) else { return };
        let is_known = self.floor.holders.contains(&id) || self.floor.requests.contains(&id);
        let refused = if !wanted {
            None
        } else if member.hidden() || member.info.role == Role::Viewer {
            Some(NOT_ALLOWED)
        } else if self.mode() == Mode::Group || member.grants.moderate {
            Some(NO_FLOOR)
        } else if !is_known && self.floor.requests.len() >= FLOOR_REQUESTS_MAX {
            Some(TOO_MANY_REQUESTS)
        } else if self.record.is_behind() {
            Some(super::BEHIND)
        } else {
            None
        };
        match refused {
            Some(fault) => self.tell(id, &error(fault, None, false)),
            None if !wanted => {
                self.drop_floor(id, now);
            }
            None if !is_known => {
                self.floor.requests.push(id);
                self.floor.asked.push(id);
                self.floor_changed(id, FloorState::Requested, now);
            }
            None => {}
        }
    }

    pub(super) fn grant_floor(
        &mut self,
        id: ParticipantId,
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        let member = self.members.get(&id).ok_or(ActionRefusal::UnknownParticipant)?;
        let may_hold =
            member.info.role != Role::Viewer && !member.hidden() && !member.grants.moderate;
        if self.mode() == Mode::Group || !may_hold {
            return Err(ActionRefusal::WrongState);
        }
        if self.floor.holders.contains(&id) {
            return Ok(0);
        }
        if self.floor.holders.len() >= self.charter.settings.floor_max.unwrap_or(1) as usize {
            return Err(ActionRefusal::FloorTaken);
        }
        self.forget_request(id);
        self.floor.holders.push(id);
        self.floor.new_holders = true;
        self.floor_changed(id, FloorState::Granted, now);
        self.refresh(id, false, now);
        Ok(1)
    }

    pub(super) fn deny_floor(
        &mut self,
        id: ParticipantId,
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        if !self.forget_request(id) {
            return Err(ActionRefusal::WrongState);
        }
        self.floor_changed(id, FloorState::Denied, now);
        Ok(1)
    }

    pub(super) fn release_floor(
        &mut self,
        id: ParticipantId,
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        if !self.floor.holders.contains(&id) {
            return Err(ActionRefusal::WrongState);
        }
        Ok(u32::from(self.drop_floor(id, now)))
    }

    /// Takes it from everybody and forgets every request.
    pub(super) fn clear_floor(&mut self, now: Instant) -> u32 {
        let all = [self.floor.holders.clone(), self.floor.requests.clone()].concat();
        all.iter().map(|id| u32::from(self.drop_floor(*id, now))).sum()
    }

    /// Whoever had it or asked for it has it no more.
    pub(super) fn drop_floor(&mut self, id: ParticipantId, now: Instant) -> bool {
        let had = self.floor.holders.len();
        self.floor.holders.retain(|holder| *holder != id);
        let held = self.floor.holders.len() < had;
        self.floor.new_holders |= held;
        if !self.forget_request(id) && !held {
            return false;
        }
        self.floor_changed(id, FloorState::Released, now);
        if held {
            self.refresh(id, false, now);
        }
        true
    }

    fn forget_request(&mut self, id: ParticipantId) -> bool {
        let had = self.floor.requests.len();
        self.floor.requests.retain(|other| *other != id);
        let asked = self.floor.requests.len() < had;
        if asked {
            self.floor.asked.push(id);
        }
        asked
    }

    fn floor_changed(&mut self, id: ParticipantId, state: FloorState, now: Instant) {
        self.happened(What::FloorChanged { participant: id.to_string(), state }, now);
    }

    /// Tells what changed to those for whom it did.
    pub(super) fn tell_floor(&mut self) {
        let new_holders = std::mem::take(&mut self.floor.new_holders);
        let asked = std::mem::take(&mut self.floor.asked);
        if !new_holders && asked.is_empty() {
            return;
        }
        let concerned =
            |id: &ParticipantId, moderates| new_holders || moderates || asked.contains(id);
        let members = self.members.iter();
        let ids: Vec<_> =
            members.filter(|(id, m)| concerned(id, m.grants.moderate)).map(|(id, _)| *id).collect();
        for id in ids {
            self.tell_floor_of(id);
        }
    }

    /// Tells a newcomer, if there is anything to tell.
    pub(super) fn tell_floor_to(&mut self, id: ParticipantId) {
        if !self.floor.holders.is_empty() || !self.floor.requests.is_empty() {
            self.tell_floor_of(id);
        }
    }

    pub(super) fn tell_floor_of(&mut self, id: ParticipantId) {
        let Some(member) = self.members.get(&id) else { return };
        let sees = |other: &&ParticipantId| member.grants.moderate || **other == id;
        let requests = self.floor.requests.iter().filter(sees).map(ToString::to_string).collect();
        let holders = self.floor.holders.iter().map(ToString::to_string).collect();
        self.tell(id, &ServerMessage::Floor { holders, requests });
    }
}
