//! Those who wait to be let in: connected, but unknown to the others, without media, counted for no
//! cap.

use std::time::Instant;

use sdk_spec::{
    action::ActionRefusal,
    event::What,
    ws::{LeaveReason, Participant, ServerMessage, WaitReason},
};
use sfu_proto::id::ParticipantId;

use super::{
    Admission, Client, Room,
    member::{Link, Sdk},
    sdk::send_to,
};

/// Somebody who waits.
pub(super) struct Guest {
    pub(super) id: ParticipantId,
    pub(super) who: Admission,
    pub(super) sdk: Sdk,
    /// The newest ticket, to be said again in `joined`.
    pub(super) ticket: String,
}

impl Room {
    /// Those who wait to be let in.
    pub(crate) fn waiting(&self) -> u32 {
        u32::try_from(self.lobby.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn guest(&self, id: ParticipantId) -> Option<&Guest> {
        self.lobby.iter().find(|guest| guest.id == id)
    }

    pub(super) fn wait(&mut self, guest: Guest, reason: WaitReason, now: Instant) {
        let (id, ticket) = (guest.id, guest.ticket.clone());
        let what = What::ParticipantWaiting {
            participant: id.to_string(),
            handle: guest.who.handle.clone(),
        };
        self.happened(what, now);
        self.lobby.push(guest);
        self.stale.lobby = true;
        let participant = id.to_string();
        self.tell(id, &ServerMessage::Waiting { participant, ticket, reason });
    }

    fn take_guest(&mut self, id: ParticipantId) -> Option<Guest> {
        let place = self.lobby.iter().position(|guest| guest.id == id)?;
        self.stale.lobby = true;
        Some(self.lobby.remove(place))
    }

    /// Lets somebody in who waits; `false` when there is no place.
    fn let_in(&mut self, id: ParticipantId, now: Instant) -> bool {
        let fits = self.guest(id).is_some_and(|guest| self.has_place(guest.who.role, None));
        let Some(seat) = fits.then(|| self.seats.take()).flatten() else { return false };
        let Some(mut guest) = self.take_guest(id) else { return false };
        guest.sdk.joined = Some((guest.sdk.outbox.next(), guest.ticket.clone()));
        self.admit(id, guest.who, Client::Sdk(guest.sdk), Some(seat), now);
        self.welcome(id, guest.ticket);
        true
    }

    pub(super) fn turn_away(
        &mut self,
        id: ParticipantId,
        reason: LeaveReason,
        now: Instant,
    ) -> bool {
        let Some(mut guest) = self.take_guest(id) else { return false };
        let what = What::ParticipantTurnedAway {
            participant: id.to_string(),
            handle: guest.who.handle.clone(),
            reason,
        };
        self.happened(what, now);
        if let Link::Live { connection, .. } = guest.sdk.link {
            self.connections.remove(&connection);
            self.effects
                .extend(send_to(&mut guest.sdk, super::encode(&ServerMessage::Left { reason })));
            self.disconnect(connection, reason);
        }
        if self.members.is_empty() && self.lobby.is_empty() {
            self.empty_since = Some(now);
        }
        true
    }

    pub(super) fn turn_all_away(&mut self, reason: LeaveReason, now: Instant) {
        for id in self.lobby.iter().map(|guest| guest.id).collect::<Vec<_>>() {
            self.turn_away(id, reason, now);
        }
    }

    pub(super) fn admit_waiting(
        &mut self,
        named: &[ParticipantId],
        now: Instant,
    ) -> Result<Vec<ParticipantId>, ActionRefusal> {
        let mut admitted = self.named_guests(named)?;
        let wished = admitted.len();
        admitted.retain(|id| self.let_in(*id, now));
        // Nobody of them: there is no place.
        if wished > 0 && admitted.is_empty() {
            Err(ActionRefusal::WrongState)
        } else {
            Ok(admitted)
        }
    }

    pub(super) fn deny_waiting(
        &mut self,
        named: &[ParticipantId],
        now: Instant,
    ) -> Result<Vec<ParticipantId>, ActionRefusal> {
        let denied = self.named_guests(named)?;
        for id in &denied {
            self.turn_away(*id, LeaveReason::Denied, now);
        }
        Ok(denied)
    }

    /// Those of the lobby that are named; all when nobody is.
    fn named_guests(&self, named: &[ParticipantId]) -> Result<Vec<ParticipantId>, ActionRefusal> {
        if !named.iter().all(|id| self.guest(*id).is_some()) {
            return Err(ActionRefusal::UnknownParticipant);
        }
        let is_named = |id: &ParticipantId| named.is_empty() || named.contains(id);
        Ok(self.lobby.iter().map(|guest| guest.id).filter(is_named).collect())
    }

    /// Lets those in who need not wait any more, as far as there is place. `false` when it has to be tried
    /// again though nothing else changes here: somebody came in, the store is behind, or other rooms have
    /// the project's places.
    pub(super) fn open_lobby(&mut self, now: Instant) -> bool {
        if self.lobby.is_empty() {
            return true;
        }
        let is_locked = self.charter.settings.locked.unwrap_or_default();
        if is_locked || self.recalled.is_some() || self.record.is_behind() {
            return !self.record.is_behind();
        }
        let free = self.lobby.iter().filter(|guest| self.must_wait(&guest.who).is_none());
        let free: Vec<_> = free.map(|guest| guest.id).collect();
        let mut is_settled = true;
        for id in free {
            // Who comes in may be whom the others wait for.
            is_settled &= !self.let_in(id, now) && !self.seats.is_full();
        }
        is_settled
    }

    /// Tells moderators the lobby, if it changed.
    pub(super) fn tell_lobby(&mut self) {
        if !std::mem::take(&mut self.stale.lobby) {
            return;
        }
        let body = super::encode(&self.lobby_message());
        for member in self.members.values_mut().filter(|member| member.grants.moderate) {
            self.effects.extend(super::sdk::send(member, std::sync::Arc::clone(&body)));
        }
    }

    /// Tells a moderator who comes, unless all are told soon.
    pub(super) fn tell_lobby_to(&mut self, id: ParticipantId) {
        if !self.lobby.is_empty() && !self.stale.lobby {
            let message = self.lobby_message();
            self.tell(id, &message);
        }
    }

    pub(super) fn lobby_message(&self) -> ServerMessage {
        let shown = |guest: &Guest| Participant {
            id: guest.id.to_string(),
            handle: guest.who.handle.clone(),
            role: guest.who.role,
            muted: Vec::new(),
            state: None,
        };
        ServerMessage::Lobby { waiting: self.lobby.iter().map(shown).collect() }
    }
}
