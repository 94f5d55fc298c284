//! Acts of moderation: the same rules whether a client or the partner's server asks.

use std::time::Instant;

use sdk_spec::{
    action::{Action, ActionRefusal, ActionResult},
    event::{RoomEnd, What},
    limits::{BAN_SECONDS_MAX, DURATION_SECONDS_MAX, EXTEND_SECONDS_MAX, NAMED_MAX},
    rest::Timestamp,
    room::{Breakout, Kind, RoomSettings},
    ws::{Grants, LeaveReason, Role, Source},
};
use sfu_proto::id::{ParticipantId, TrackId};

use super::{
    Actor, Ban, Room,
    record::Asked,
    recording::{is_about_recording, takes_less},
    shown::Rule,
};

/// How many participants it had an effect on, and rooms that were created.
type Done = Result<(u32, Vec<Breakout>), ActionRefusal>;

impl Room {
    /// A client moderates.
    pub(super) fn on_act(&mut self, from: ParticipantId, id: u64, action: Action, now: Instant) {
        let may = self.members.get(&from).is_some_and(|member| match is_about_recording(&action) {
            true => member.grants.record,
            false => member.grants.moderate,
        });
        let to = Asked::Client(from, id);
        match may {
            true => self.on_action(to, Actor::Client(from), (action, None), now),
            false => self.answer(to, Err(ActionRefusal::NotPermitted)),
        }
    }

    /// Does it and answers, now or when it can be told.
    pub(super) fn on_action(
        &mut self,
        to: Asked,
        actor: Actor,
        (action, version): (Action, Option<u64>),
        now: Instant,
    ) {
        let result = match action {
            Action::StartRecording { rule } => {
                let wanted = self.check_store().and_then(|()| self.check_version(version));
                match wanted.and_then(|()| self.want_recording(to, actor, rule, now)) {
                    Ok(()) => return,
                    Err(refused) => Err(refused),
                }
            }
            action => self.act(&actor, action, version, now),
        };
        self.answer(to, result);
    }

    /// Whether anything may be done now that the store must take.
    fn check_store(&self) -> Result<(), ActionRefusal> {
        match self.record.is_behind() {
            true => Err(ActionRefusal::Unavailable),
            false => Ok(()),
        }
    }

    fn check_version(&self, version: Option<u64>) -> Result<(), ActionRefusal> {
        match version.is_some_and(|version| version != self.charter.version) {
            true => Err(ActionRefusal::VersionMismatch),
            false => Ok(()),
        }
    }

    /// Does it, or changes nothing.
    fn act(
        &mut self,
        actor: &Actor,
        action: Action,
        version: Option<u64>,
        now: Instant,
    ) -> Result<ActionResult, ActionRefusal> {
        // As many more commits as this: to resume or to start another waits for the store.
        if !takes_less(&action) {
            self.check_store()?;
        }
        self.check_version(version)?;
        let recording = is_about_recording(&action).then(|| self.recording()).flatten();
        let (participants, breakouts) = self.dispatch(actor, action, now)?;
        let recording = recording.map(|id| id.to_string());
        Ok(ActionResult { version: self.charter.version, participants, breakouts, recording })
    }

    fn dispatch(&mut self, actor: &Actor, action: Action, now: Instant) -> Done {
        let participants = match action {
            Action::Update { settings } => self.update(actor, &settings, now)?,
            Action::Admit { participants } => {
                let ids = self.admit_waiting(&parse_all(&participants)?, now)?;
                self.audit_each(actor, "participant.admit", &ids)
            }
            Action::Deny { participants } => {
                let ids = self.deny_waiting(&parse_all(&participants)?, now)?;
                self.audit_each(actor, "participant.deny", &ids)
            }
            Action::Eject { participant, ban_seconds } => {
                self.eject(actor, &participant, ban_seconds, now)?
            }
            Action::SetRole { participant, role, grants } => {
                self.set_role(actor, &participant, role, grants, now)?
            }
            Action::Mute { participant, sources, muted } => {
                self.mute(actor, participant.as_deref(), (&sources, muted), now)?
            }
            Action::GrantFloor { .. } | Action::DenyFloor { .. } | Action::ReleaseFloor { .. } => {
                self.act_on_floor(actor, action, now)?
            }
            Action::Spotlight { .. } | Action::Pin { .. } | Action::SetAudience { .. } => {
                self.act_on_view(actor, action)?
            }
            Action::Extend { seconds } => self.extend(actor, seconds, now)?,
            Action::Close {} => {
                self.audit(actor, "room.close", self.id);
                let all = self.participants();
                self.close(RoomEnd::Closed, now);
                all
            }
            action if is_about_recording(&action) => self.act_on_recording(actor, &action)?,
            action => return self.act_on_breakouts(actor, action, now),
        };
        Ok((participants, Vec::new()))
    }

    fn act_on_floor(
        &mut self,
        actor: &Actor,
        action: Action,
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        let (what, object, count) = match action {
            Action::GrantFloor { participant } => {
                let id = self.other(actor, &participant)?;
                ("floor.grant", id.to_string(), self.grant_floor(id, now)?)
            }
            Action::DenyFloor { participant } => {
                let id = self.target(actor, &participant)?;
                ("floor.deny", id.to_string(), self.deny_floor(id, now)?)
            }
            Action::ReleaseFloor { participant: Some(participant) } => {
                let id = self.target(actor, &participant)?;
                ("floor.release", id.to_string(), self.release_floor(id, now)?)
            }
            _ => ("floor.release", self.id.to_string(), self.clear_floor(now)),
        };
        self.audit(actor, what, object);
        Ok(count)
    }

    fn act_on_view(&mut self, actor: &Actor, action: Action) -> Result<u32, ActionRefusal> {
        let (what, object, count) = match action {
            Action::Spotlight { participants } => {
                let ids = self.targets(actor, &participants)?;
                ("room.spotlight", self.id.to_string(), self.set_spotlight(ids)?)
            }
            Action::Pin { tracks } => {
                let tracks = tracks.iter().map(|track| track.parse::<TrackId>());
                let tracks = tracks.collect::<Result<Vec<_>, _>>();
                let tracks = tracks.map_err(|_| ActionRefusal::UnknownTrack)?;
                ("room.pin", self.id.to_string(), self.set_pinned(tracks)?)
            }
            Action::SetAudience { participant, audience } => {
                let id = self.other(actor, &participant)?;
                let rule = Rule::parse(&audience)?;
                ("participant.set_audience", id.to_string(), self.set_audience(id, rule))
            }
            _ => return Err(ActionRefusal::WrongState),
        };
        self.audit(actor, what, object);
        Ok(count)
    }

    fn act_on_breakouts(&mut self, actor: &Actor, action: Action, now: Instant) -> Done {
        match action {
            Action::CreateBreakouts { rooms, duration_seconds } => {
                let (count, created) =
                    self.create_breakouts(actor, (rooms, duration_seconds), now)?;
                let (changed, version) = (vec!["breakouts".to_owned()], self.charter.version);
                self.happened(What::RoomUpdated { changed, version }, now);
                for breakout in &created {
                    self.audit(actor, "breakout.create", &breakout.room);
                }
                Ok((count, created))
            }
            Action::Move { participants, room } => {
                let ids = self.send_away(actor, (&participants, &room), false)?;
                Ok((self.audit_each(actor, "participant.move", &ids), Vec::new()))
            }
            Action::Invite { participants, room } => {
                let ids = self.send_away(actor, (&participants, &room), true)?;
                Ok((self.audit_each(actor, "participant.invite", &ids), Vec::new()))
            }
            Action::CloseBreakouts {} => {
                let count = self.close_breakouts()?;
                self.audit(actor, "breakout.close", self.id);
                Ok((count, Vec::new()))
            }
            _ => Err(ActionRefusal::WrongState),
        }
    }

    fn update(
        &mut self,
        actor: &Actor,
        settings: &RoomSettings,
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        settings.check().map_err(|_| ActionRefusal::OutOfRange)?;
        // What is recorded by itself, and where it goes, is not for a client to say.
        if settings.recording.is_some() && matches!(actor, Actor::Client(_)) {
            return Err(ActionRefusal::NotPermitted);
        }
        let before = self.charter.settings.clone();
        let after = before.with(settings);
        let changed = changed_settings(&before, &after);
        self.audit(actor, "room.update", self.id);
        if changed.is_empty() {
            return Ok(0);
        }
        let mode = self.mode();
        self.charter.settings = after;
        self.charter_changed();
        let version = self.charter.version;
        self.happened(What::RoomUpdated { changed, version }, now);
        self.stale.info = true;
        self.stale.door = true;
        self.on_mode(mode, now);
        Ok(self.participants())
    }

    fn eject(
        &mut self,
        actor: &Actor,
        participant: &str,
        ban_seconds: Option<u32>,
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        if ban_seconds.is_some_and(|seconds| seconds > BAN_SECONDS_MAX) {
            return Err(ActionRefusal::OutOfRange);
        }
        let id = parse(participant)?;
        let handle = match self.guest(id) {
            Some(guest) => guest.who.handle.clone(),
            None => {
                let id = self.target(actor, participant)?;
                let member = self.members.get(&id).ok_or(ActionRefusal::UnknownParticipant)?;
                member.info.handle.clone()
            }
        };
        self.audit(actor, "participant.eject", id);
        self.end(id, LeaveReason::Removed, now);
        self.expect_no_more(&handle);
        if ban_seconds != Some(0) {
            let until_ms = ban_seconds.map(|s| self.wall_ms(now) + u64::from(s) * 1000);
            let until = until_ms.map(Timestamp);
            self.happened(What::HandleBanned { handle: handle.clone(), until }, now);
            let ban = Ban { handle, until_ms };
            self.record.commit.bans.push(ban.clone());
            self.ban(ban, now);
        }
        Ok(1)
    }

    fn set_role(
        &mut self,
        actor: &Actor,
        participant: &str,
        role: Role,
        grants: Option<Grants>,
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        let id = self.other(actor, participant)?;
        let member = self.members.get(&id).ok_or(ActionRefusal::UnknownParticipant)?;
        let is_client = matches!(actor, Actor::Client(_));
        let mut granted = match grants {
            None => member.token.clone(),
            Some(given) => {
                let repeated = (1..given.publish.len())
                    .any(|i| given.publish[..i].contains(&given.publish[i]));
                let gives_record = given.record && !member.granted.record;
                if is_client && (gives_record || given.hidden) {
                    return Err(ActionRefusal::NotPermitted);
                }
                if given.hidden != member.hidden() || repeated {
                    return Err(ActionRefusal::WrongState);
                }
                given
            }
        };
        // The token's, too, gives back nothing that a client may not give.
        granted.record &= !is_client || member.granted.record;
        let is_new_viewer = role == Role::Viewer && member.info.role != Role::Viewer;
        if is_new_viewer && !self.has_place(role, Some(id)) {
            return Err(ActionRefusal::WrongState);
        }
        self.audit(actor, "participant.set_role", id);
        Ok(u32::from(self.regrant(id, role, granted, now)))
    }

    fn mute(
        &mut self,
        actor: &Actor,
        participant: Option<&str>,
        (sources, muted): (&[Source], bool),
        now: Instant,
    ) -> Result<u32, ActionRefusal> {
        let Some(participant) = participant else {
            self.audit(actor, "room.mute", self.id);
            return Ok(self.mute_all((sources, muted), now));
        };
        // To lift one's own would undo what another moderator decided.
        let id = match muted {
            true => self.target(actor, participant)?,
            false => self.other(actor, participant)?,
        };
        self.audit(actor, "participant.mute", id);
        Ok(self.mute_one(id, (sources, muted), now))
    }

    fn extend(&mut self, actor: &Actor, seconds: u32, now: Instant) -> Result<u32, ActionRefusal> {
        if self.charter.kind == Kind::Permanent || self.recalled.is_some() {
            return Err(ActionRefusal::WrongState);
        }
        let ends = self.charter.ends_at_ms.ok_or(ActionRefusal::WrongState)?;
        let ends = ends + u64::from(seconds) * 1000;
        let latest = self.wall_ms(now) + u64::from(DURATION_SECONDS_MAX) * 1000;
        let starts = self.charter.starts_at_ms.unwrap_or_default();
        let latest = latest.max(starts + u64::from(DURATION_SECONDS_MAX) * 1000);
        if !(1..=EXTEND_SECONDS_MAX).contains(&seconds) || ends > latest {
            return Err(ActionRefusal::OutOfRange);
        }
        self.charter.ends_at_ms = Some(ends);
        self.charter_changed();
        self.stale.info = true;
        self.happened(What::RoomExtended { ends_at: Timestamp(ends) }, now);
        self.audit(actor, "room.extend", self.id);
        Ok(self.participants())
    }

    fn audit_each(&mut self, actor: &Actor, what: &'static str, ids: &[ParticipantId]) -> u32 {
        ids.iter().for_each(|id| self.audit(actor, what, id));
        if ids.is_empty() {
            self.audit(actor, what, self.id); // Accepted, though nobody was there.
        }
        ids.len() as u32
    }

    /// Somebody who is in. To a client, hidden ones are not.
    pub(super) fn target(&self, actor: &Actor, id: &str) -> Result<ParticipantId, ActionRefusal> {
        let id = parse(id)?;
        let is_known = |hidden: bool| !hidden || !matches!(actor, Actor::Client(me) if *me != id);
        match self.members.get(&id) {
            Some(member) if is_known(member.hidden()) => Ok(id),
            _ => Err(ActionRefusal::UnknownParticipant),
        }
    }

    pub(super) fn targets(
        &self,
        actor: &Actor,
        ids: &[String],
    ) -> Result<Vec<ParticipantId>, ActionRefusal> {
        if ids.len() > NAMED_MAX {
            return Err(ActionRefusal::OutOfRange);
        }
        ids.iter().map(|id| self.target(actor, id)).collect()
    }

    /// Somebody else: nobody acts on itself to gain.
    fn other(&self, actor: &Actor, id: &str) -> Result<ParticipantId, ActionRefusal> {
        match self.target(actor, id)? {
            id if *actor == Actor::Client(id) => Err(ActionRefusal::NotPermitted),
            id => Ok(id),
        }
    }
}

fn parse(id: &str) -> Result<ParticipantId, ActionRefusal> {
    id.parse().map_err(|_| ActionRefusal::UnknownParticipant)
}

fn parse_all(ids: &[String]) -> Result<Vec<ParticipantId>, ActionRefusal> {
    if ids.len() > NAMED_MAX {
        return Err(ActionRefusal::OutOfRange);
    }
    ids.iter().map(|id| parse(id)).collect()
}

/// Names of the settings that differ.
fn changed_settings(a: &RoomSettings, b: &RoomSettings) -> Vec<String> {
    let differs = [
        ("participants_max", a.participants_max != b.participants_max),
        ("viewers_max", a.viewers_max != b.viewers_max),
        ("publishers_max", a.publishers_max != b.publishers_max),
        ("empty_timeout_seconds", a.empty_timeout_seconds != b.empty_timeout_seconds),
        ("moderator_timeout_seconds", a.moderator_timeout_seconds != b.moderator_timeout_seconds),
        ("mode", a.mode != b.mode),
        ("locked", a.locked != b.locked),
        ("knock", a.knock != b.knock),
        ("wait_for_moderator", a.wait_for_moderator != b.wait_for_moderator),
        ("floor_max", a.floor_max != b.floor_max),
        ("duplicate_handles", a.duplicate_handles != b.duplicate_handles),
        ("recording", a.recording != b.recording),
        ("data", a.data != b.data),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
}
