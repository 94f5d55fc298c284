//! Who may come in, and whether at once.
//!
//! ```text
//!  join ─▶ refused?  banned, not open, locked, twice, full
//!     └─▶ waits?     knock, no moderator ─▶ lobby ──▶ in
//!     └─▶ in                                  └────▶ turned away
//! ```

use std::time::Instant;

use sdk_spec::{
    action::ActionRefusal,
    event::What,
    handle::Handle,
    limits::{LOBBY_MAX, PARTICIPANTS_MAX},
    room::{DuplicateHandles, Mode},
    ws::{Grants, LeaveReason, Participant, Role, ServerMessage, WaitReason},
};
use sfu_proto::{
    control,
    id::{ParticipantId, SessionId},
};

use super::{
    Admission, Ban, Client, Effect, Refusal, Room,
    grants::{effective, moderates},
    member::{Link, Member, Sdk},
    seats::Seat,
};
use crate::limits::{BANS_KEPT_MAX, EXPECTED_MAX};

impl Room {
    /// Checks a newcomer; gives the older one of the same handle, which it replaces.
    pub(super) fn check_entry(
        &self,
        who: &Admission,
        now: Instant,
    ) -> Result<Option<ParticipantId>, Refusal> {
        if self.record.is_behind() {
            return Err(Refusal::Action(ActionRefusal::Unavailable));
        }
        if self.recalled.is_some() {
            return Err(Refusal::Gone);
        }
        if !self.is_open(now) {
            return Err(Refusal::RoomNotOpen);
        }
        if self.is_banned(&who.handle, now) {
            return Err(Refusal::Banned);
        }
        let is_locked = self.charter.settings.locked.unwrap_or_default();
        if is_locked && !moderates(who.role, &who.grants) && !self.is_expected(&who.handle) {
            return Err(Refusal::RoomLocked);
        }
        let older = self.older(&who.handle)?;
        let waits = self.must_wait(who).is_some();
        match waits {
            true if self.lobby.len() >= LOBBY_MAX => Err(Refusal::RoomFull),
            false if !self.has_place(who.role, older) => Err(Refusal::RoomFull),
            false if !older.is_some_and(|id| self.members.contains_key(&id)) => {
                if self.seats.is_full() { Err(Refusal::QuotaExceeded) } else { Ok(older) }
            }
            _ => Ok(older),
        }
    }

    /// The place of a newcomer among the project's participants: that of who gives way to it, or a free
    /// one. None for who has to wait. To be asked last: another room may have taken the last one.
    pub(super) fn seat(
        &mut self,
        who: &Admission,
        older: Option<ParticipantId>,
    ) -> Result<Option<Seat>, Refusal> {
        let inherited = older.and_then(|id| self.members.get_mut(&id)?.seat.take());
        if inherited.is_some() || self.must_wait(who).is_some() {
            return Ok(inherited);
        }
        self.seats.take().map(Some).ok_or(Refusal::QuotaExceeded)
    }

    /// Who has the handle already and gives way.
    fn older(&self, handle: &Handle) -> Result<Option<ParticipantId>, Refusal> {
        let inside = self.members.iter().filter(|(_, m)| m.info.handle == *handle);
        let inside = inside.map(|(id, m)| (*id, matches!(&m.client, Client::Sdk(s) if is_cut(s))));
        let waiting = self.lobby.iter().filter(|guest| guest.who.handle == *handle);
        let waiting = waiting.map(|guest| (guest.id, is_cut(&guest.sdk)));
        let Some((id, is_cut)) = inside.chain(waiting).next() else { return Ok(None) };
        match self.charter.settings.duplicate_handles.unwrap_or_default() {
            DuplicateHandles::Reject if !is_cut => Err(Refusal::DuplicateHandle),
            DuplicateHandles::Reject | DuplicateHandles::Replace => Ok(Some(id)),
        }
    }

    /// Whether one more of this role fits in, not counting `but`.
    pub(super) fn has_place(&self, role: Role, but: Option<ParticipantId>) -> bool {
        let others = || self.members.iter().filter(|(id, _)| Some(**id) != but);
        let viewers = others().filter(|(_, m)| m.info.role == Role::Viewer).count();
        let viewers_max = self.charter.settings.viewers_max.unwrap_or(u32::MAX);
        others().count() < self.participants_max() as usize
            && (role != Role::Viewer || viewers < viewers_max as usize)
    }

    /// Whether one more may begin to publish.
    pub(super) fn has_publishing_place(&self, id: Option<ParticipantId>) -> bool {
        let publishes = |m: &&Member| {
            !m.tracks.is_empty() || m.pending.as_ref().is_some_and(|p| !p.tracks.is_empty())
        };
        if id.and_then(|id| self.members.get(&id)).is_some_and(|m| publishes(&m)) {
            return true;
        }
        let publishers = self.members.values().filter(publishes).count();
        publishers < self.charter.settings.publishers_max.unwrap_or(u32::MAX) as usize
    }

    /// What a newcomer has to wait for. Who was moved away by us comes back as it went.
    pub(super) fn must_wait(&self, who: &Admission) -> Option<WaitReason> {
        let settings = &self.charter.settings;
        if moderates(who.role, &who.grants) || self.is_expected(&who.handle) {
            None
        } else if settings.knock.unwrap_or_default() {
            Some(WaitReason::Knock)
        } else if settings.wait_for_moderator.unwrap_or_default() && !self.has_moderator() {
            Some(WaitReason::Moderator)
        } else {
            None
        }
    }

    pub(super) fn is_banned(&self, handle: &Handle, now: Instant) -> bool {
        let now_ms = self.wall_ms(now);
        let holds = |ban: &Ban| ban.handle == *handle && ban.until_ms.is_none_or(|at| at > now_ms);
        self.bans.iter().any(holds)
    }

    /// Remembers a ban and removes whoever has the handle. The store holds all bans and is asked
    /// before a join; here the oldest give way.
    pub(super) fn ban(&mut self, ban: Ban, now: Instant) {
        let now_ms = self.wall_ms(now);
        self.bans.retain(|old| {
            old.handle != ban.handle && old.until_ms.is_none_or(|until| until > now_ms)
        });
        if self.bans.len() >= BANS_KEPT_MAX {
            self.bans.remove(0);
        }
        let members = self.members.iter().filter(|(_, m)| m.info.handle == ban.handle);
        let guests = self.lobby.iter().filter(|guest| guest.who.handle == ban.handle);
        let ids: Vec<_> = members.map(|(id, _)| *id).chain(guests.map(|guest| guest.id)).collect();
        self.bans.push(ban.clone());
        for id in ids {
            self.end(id, LeaveReason::Removed, now);
        }
        self.expect_no_more(&ban.handle);
        // It may be there by now, or on its way with a token of ours.
        let rooms: Vec<_> = self.charter.breakouts.iter().map(|breakout| breakout.id).collect();
        if !rooms.is_empty() {
            self.effects.push(Effect::Ban { rooms, ban });
        }
    }

    fn is_expected(&self, handle: &Handle) -> bool {
        self.expected.iter().any(|who| who.handle == *handle)
    }

    /// Somebody who was sent to another room by us and may come back past lock and lobby.
    pub(super) fn expect(&mut self, who: Admission) {
        self.stale.door = true;
        self.expect_no_more(&who.handle);
        if self.expected.len() >= EXPECTED_MAX {
            self.expected.remove(0);
        }
        self.expected.push(who);
    }

    pub(super) fn expect_no_more(&mut self, handle: &Handle) {
        self.expected.retain(|who| who.handle != *handle);
    }

    /// Somebody goes who is expected back: as what it is now, which may be less than it was.
    pub(super) fn remember_expected(&mut self, member: &Member) {
        let mut all = self.expected.iter_mut();
        if let Some(expected) = all.find(|who| who.handle == member.info.handle) {
            *expected = member.admission();
        }
    }

    /// What somebody of a breakout room comes here as: what it is or was here. To moderate there is
    /// no right to anything here.
    pub(super) fn returning(&self, who: Admission, now: Instant) -> Result<Admission, Refusal> {
        if self.is_banned(&who.handle, now) {
            return Err(Refusal::Banned);
        }
        if let Some(member) = self.members.values().find(|m| m.info.handle == who.handle) {
            return Ok(member.admission());
        }
        if let Some(expected) = self.expected.iter().find(|other| other.handle == who.handle) {
            return Ok(expected.clone());
        }
        if who.grants.hidden {
            return Err(Refusal::NotPermitted); // Neither unseen nor shown: it was never here.
        }
        let role = match who.role {
            Role::Moderator => Role::Participant,
            role => role,
        };
        let grants = Grants { moderate: false, record: false, ..who.grants };
        Ok(Admission { role, grants, ..who })
    }

    /// A new participant: told to the others. The caller has checked that it may, and has its seat.
    pub(super) fn admit(
        &mut self,
        participant: ParticipantId,
        who: Admission,
        client: Client,
        seat: Option<Seat>,
        now: Instant,
    ) {
        let session = SessionId::from_bits(self.draw_bits());
        if self.members.is_empty() {
            // The cap is a rule of ours and may change; the node's is a guard.
            let sessions_max = PARTICIPANTS_MAX;
            self.media(control::Command::OpenRoom { room: self.id, sessions_max });
            self.begin(now);
            self.record_by_rule();
        }
        self.expect_no_more(&who.handle);
        let member = self.newcomer(participant, session, who, (client, seat));
        let (info, is_hidden) = (member.info.clone(), member.hidden());
        self.stale.roster |= member.grants.moderate;
        let what = What::ParticipantJoined {
            participant: info.id.clone(),
            handle: info.handle.clone(),
            role: info.role,
            hidden: is_hidden,
        };
        self.happened(what, now);
        if !is_hidden {
            let joined = ServerMessage::ParticipantJoined { participant: info };
            self.tell_others(participant, &joined);
        }
        self.sessions.insert(session, participant);
        self.members.insert(participant, member);
        self.empty_since = None;
        self.stale.roster |= self.unattended_since.is_none();
    }

    fn newcomer(
        &mut self,
        participant: ParticipantId,
        session: SessionId,
        who: Admission,
        (client, seat): (Client, Option<Seat>),
    ) -> Member {
        self.arrivals += 1;
        let info = Participant {
            id: participant.to_string(),
            handle: who.handle,
            role: who.role,
            muted: Vec::new(),
            state: None,
        };
        Member {
            info,
            seat,
            arrival: self.arrivals,
            grants: effective(&who.grants, who.role, self.mode(), false),
            granted: who.grants.clone(),
            token: who.grants,
            session,
            has_media: false,
            tracks: Vec::new(),
            pending: None,
            wanted: Vec::new(),
            consents: false,
            audience: super::shown::Rule::All,
            audience_told: control::Audience::All,
            moving: None,
            traffic: (0, 0),
            client,
        }
    }

    /// Who may publish what in the room as it is, before somebody is in.
    pub(super) fn publishes(&self, who: &Admission) -> Vec<sdk_spec::ws::Source> {
        effective(&who.grants, who.role, self.mode(), false).publish
    }

    /// The settings changed: what follows for those who are in.
    pub(super) fn on_mode(&mut self, before: Mode, now: Instant) {
        if before != self.mode() {
            self.clear_floor(now);
            self.refresh_all(now);
        }
    }
}

fn is_cut(sdk: &Sdk) -> bool {
    matches!(sdk.link, Link::Cut { .. })
}
