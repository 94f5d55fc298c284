//! Breakout rooms, and participants that go from one room to another. A room creates and calls back
//! its breakouts, and never looks into them.

use std::time::{Duration, Instant};

use sdk_spec::{
    action::ActionRefusal,
    event::{RoomEnd, What},
    limits::{BREAKOUT_SECONDS_MAX, BREAKOUT_SECONDS_MIN, BREAKOUTS_MAX, MOVE_SECONDS},
    rest::Timestamp,
    room::{Breakout, BreakoutSpec, Kind, RoomSettings},
    ws::{LeaveReason, ServerMessage},
};
use sfu_proto::id::{ParticipantId, RoomId};

use super::{Actor, BreakoutRoom, Charter, Client, Effect, Room, member::Moving, shown::distinct};
use crate::limits::BREAKOUTS_PER_HOUR_MAX;

const HOUR: Duration = Duration::from_secs(3600);

impl BreakoutRoom {
    pub(super) fn shown(&self) -> Breakout {
        Breakout {
            room: self.id.to_string(),
            reference: self.reference.clone(),
            ends_at: self.ends_at_ms.map(Timestamp),
        }
    }
}

impl Room {
    pub(super) fn create_breakouts(
        &mut self,
        actor: &Actor,
        (specs, seconds): (Vec<BreakoutSpec>, Option<u32>),
        now: Instant,
    ) -> Result<(u32, Vec<Breakout>), ActionRefusal> {
        let (low, high) = (BREAKOUT_SECONDS_MIN, BREAKOUT_SECONDS_MAX);
        if self.charter.parent.is_some() {
            return Err(ActionRefusal::WrongState);
        }
        let count = self.charter.breakouts.len() + specs.len();
        self.forget_creations(now);
        if specs.is_empty()
            || count > BREAKOUTS_MAX
            || self.creations.len() + specs.len() > BREAKOUTS_PER_HOUR_MAX
            || !seconds.is_none_or(|seconds| (low..=high).contains(&seconds))
        {
            return Err(ActionRefusal::OutOfRange);
        }
        let mut moved = Vec::new();
        for spec in &specs {
            moved.push(self.movable(actor, &spec.participants)?);
        }
        let all = moved.concat();
        if distinct(all.clone()).len() < all.len() {
            return Err(ActionRefusal::OutOfRange);
        }
        let ends_at_ms = seconds.map(|seconds| self.wall_ms(now) + u64::from(seconds) * 1000);
        let mut created = Vec::new();
        for (spec, participants) in specs.into_iter().zip(moved) {
            let breakout = self.create_breakout(spec, ends_at_ms);
            self.creations.push_back(now);
            created.push(breakout.shown());
            self.transfer(participants, breakout.id, false);
        }
        self.charter_changed();
        self.stale.info = true;
        Ok((all.len() as u32, created))
    }

    fn forget_creations(&mut self, now: Instant) {
        let is_old = |at: &mut Instant| now.saturating_duration_since(*at) >= HOUR;
        while self.creations.pop_front_if(is_old).is_some() {}
    }

    fn create_breakout(&mut self, spec: BreakoutSpec, ends_at_ms: Option<u64>) -> BreakoutRoom {
        // Who is sent there is wanted there, by a moderator who may not come along.
        let settings = RoomSettings {
            locked: Some(false),
            knock: Some(false),
            wait_for_moderator: Some(false),
            moderator_timeout_seconds: Some(0),
            data: None,
            ..self.charter.settings.clone()
        };
        let id = RoomId::from_bits(self.draw_bits());
        let charter = Charter {
            reference: spec.reference.clone(),
            ends_at_ms,
            parent: Some(self.id),
            ..Charter::new(Kind::AdHoc, &settings)
        };
        let breakout = BreakoutRoom { id, reference: spec.reference, ends_at_ms };
        self.record.commit.breakouts.push((id, charter));
        self.charter.breakouts.push(breakout.clone());
        breakout
    }

    /// Sends participants to another room, or invites them.
    pub(super) fn send_away(
        &mut self,
        actor: &Actor,
        (named, room): (&[String], &str),
        invited: bool,
    ) -> Result<Vec<ParticipantId>, ActionRefusal> {
        let room = room.parse::<RoomId>().map_err(|_| ActionRefusal::UnknownRoom)?;
        let is_breakout = self.charter.breakouts.iter().any(|breakout| breakout.id == room);
        if !is_breakout && self.charter.parent != Some(room) {
            return Err(ActionRefusal::UnknownRoom);
        }
        if named.is_empty() {
            return Err(ActionRefusal::OutOfRange);
        }
        let participants = distinct(self.movable(actor, named)?);
        self.transfer(participants.clone(), room, invited);
        Ok(participants)
    }

    /// Those named, if all of them can be moved: WHIP and WHEP clients cannot be told where to go.
    fn movable(
        &self,
        actor: &Actor,
        named: &[String],
    ) -> Result<Vec<ParticipantId>, ActionRefusal> {
        let ids = self.targets(actor, named)?;
        let can = |id: &ParticipantId| {
            self.members.get(id).is_some_and(|m| matches!(m.client, Client::Sdk(_)))
        };
        if ids.iter().all(can) { Ok(ids) } else { Err(ActionRefusal::WrongState) }
    }

    fn transfer(&mut self, participants: Vec<ParticipantId>, room: RoomId, invited: bool) {
        let admission = |id| Some((id, self.members.get(&id)?.admission()));
        let participants: Vec<_> = participants.into_iter().filter_map(admission).collect();
        if !participants.is_empty() {
            self.effects.push(Effect::Transfer { participants, room, invited });
        }
    }

    pub(super) fn on_ticket(
        &mut self,
        id: ParticipantId,
        (room, token): (RoomId, String),
        invited: bool,
        now: Instant,
    ) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let who = member.admission();
        if !invited {
            let until = now + Duration::from_secs(MOVE_SECONDS.into());
            member.moving = Some(Moving { room, until });
        }
        if self.charter.parent != Some(room) {
            self.expect(who);
        }
        self.tell(id, &ServerMessage::Move { room: room.to_string(), token, invited });
    }

    /// Removes those whose time to move is over.
    pub(super) fn end_moved(&mut self, now: Instant) {
        let due = |m: &super::Member| m.moving.as_ref().is_some_and(|moving| moving.until <= now);
        let moved = self.members.iter().filter(|(_, m)| due(m)).map(|(id, _)| *id);
        for id in moved.collect::<Vec<_>>() {
            self.end(id, LeaveReason::Moved, now);
        }
    }

    /// Why somebody who goes leaves, and where to.
    pub(super) fn note_move(
        &mut self,
        id: ParticipantId,
        reason: LeaveReason,
        now: Instant,
    ) -> LeaveReason {
        let moving = self.members.get(&id).and_then(|member| member.moving.as_ref());
        match (moving, reason) {
            (Some(moving), LeaveReason::Left | LeaveReason::Moved) => {
                let (participant, to) = (id.to_string(), moving.room.to_string());
                self.happened(What::ParticipantMoved { participant, to }, now);
                LeaveReason::Moved
            }
            _ => reason,
        }
    }

    pub(super) fn close_breakouts(&mut self) -> Result<u32, ActionRefusal> {
        if self.charter.breakouts.is_empty() {
            return Err(ActionRefusal::WrongState);
        }
        let rooms = self.charter.breakouts.iter().map(|breakout| breakout.id).collect();
        self.effects.push(Effect::Recall { rooms, parent_ended: false });
        Ok(0)
    }

    pub(super) fn on_recall(&mut self, parent_ended: bool, now: Instant) {
        match parent_ended {
            true => self.close(RoomEnd::ParentEnded, now),
            false => self.call_back(RoomEnd::Closed, now),
        }
    }

    pub(super) fn on_breakout_ended(&mut self, room: RoomId, now: Instant) {
        self.forget_breakouts(&[room], now);
    }

    /// They were never there: whoever created them learns it, and those in the room.
    pub(super) fn on_breakouts_refused(&mut self, rooms: &[RoomId], now: Instant) {
        self.refuse_created(rooms);
        // What was not made does not count in the limit of an hour.
        self.creations.truncate(self.creations.len().saturating_sub(rooms.len()));
        self.forget_breakouts(rooms, now);
    }

    fn forget_breakouts(&mut self, rooms: &[RoomId], now: Instant) {
        let before = self.charter.breakouts.len();
        self.charter.breakouts.retain(|breakout| !rooms.contains(&breakout.id));
        if self.charter.breakouts.len() == before {
            return;
        }
        if let Some(since) = &mut self.empty_since {
            *since = now; // Its people were in the breakout rooms until now.
        }
        self.charter_changed();
        self.stale.info = true;
        let (changed, version) = (vec!["breakouts".to_owned()], self.charter.version);
        self.happened(What::RoomUpdated { changed, version }, now);
    }
}
