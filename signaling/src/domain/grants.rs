//! What a participant may do: the grants of its token or of a moderator, within its role and the
//! room's mode.

use std::time::Instant;

use sdk_spec::{
    event::What,
    handle::Handle,
    room::Mode,
    ws::{Grants, Role, ServerMessage},
};
use sfu_proto::{control, id::ParticipantId};

use super::{Admission, Room, offer::permissions};

/// Whether somebody may moderate.
pub(super) fn moderates(role: Role, granted: &Grants) -> bool {
    role == Role::Moderator || granted.moderate
}

/// What holds of `granted`.
pub(super) fn effective(granted: &Grants, role: Role, mode: Mode, holds_floor: bool) -> Grants {
    let moderate = moderates(role, granted);
    let has_word = mode == Mode::Group || moderate || holds_floor;
    let publishes = role != Role::Viewer && !granted.hidden && has_word;
    let publish = if publishes { granted.publish.clone() } else { Vec::new() };
    Grants { publish, moderate, ..granted.clone() }
}

impl Room {
    pub(super) fn mode(&self) -> Mode {
        self.charter.settings.mode.unwrap_or_default()
    }

    /// Whether somebody who may moderate is in.
    pub(super) fn has_moderator(&self) -> bool {
        self.members.values().any(|member| member.grants.moderate)
    }

    /// Brings what a participant may do in line with its grants, role, the mode and the floor: at
    /// the media node, in its tracks, and told to it.
    pub(super) fn refresh(&mut self, id: ParticipantId, is_news: bool, now: Instant) {
        let (mode, holds) = (self.mode(), self.floor.holders.contains(&id));
        let Some(member) = self.members.get_mut(&id) else { return };
        let role = member.info.role;
        let grants = effective(&member.granted, role, mode, holds);
        let before = std::mem::replace(&mut member.grants, grants.clone());
        if before == grants && !is_news {
            return;
        }
        let (old, new) =
            (permissions(&before, &member.client), permissions(&grants, &member.client));
        let (session, has_media) = (member.session, member.has_media);
        self.stale.roster |= before.moderate != grants.moderate;
        let news = ServerMessage::GrantsChanged { role, grants: grants.clone() };
        self.tell(id, &news);
        if has_media && old != new {
            self.media(control::Command::SetPermissions { session, permissions: new });
        }
        self.withdraw(id, now);
        if grants.moderate != before.moderate {
            // Also when there is nothing to see: it may know what was when it last moderated.
            self.tell_floor_of(id);
        }
        if grants.moderate && !before.moderate {
            let lobby = self.lobby_message();
            self.tell(id, &lobby);
        }
    }

    pub(super) fn refresh_all(&mut self, now: Instant) {
        for id in self.in_order() {
            self.refresh(id, false, now);
        }
    }

    /// Ends tracks that are no longer allowed. The media node ends them by itself.
    fn withdraw(&mut self, id: ParticipantId, now: Instant) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let allowed = &member.grants.publish;
        if let Some(pending) = &mut member.pending {
            pending.tracks.retain(|track| allowed.contains(&track.source));
        }
        let mut kept = member.tracks.clone();
        kept.retain(|track| allowed.contains(&track.source));
        if kept.len() < member.tracks.len() {
            self.apply(id, kept, now);
        }
    }

    /// A new role and new grants of somebody who is in.
    pub(super) fn regrant(
        &mut self,
        id: ParticipantId,
        role: Role,
        mut granted: Grants,
        now: Instant,
    ) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return false };
        // For the whole stay: the others cannot unlearn who is here.
        granted.hidden = member.hidden();
        let has_role = std::mem::replace(&mut member.info.role, role) != role;
        let has_grants = std::mem::replace(&mut member.granted, granted.clone()) != granted;
        if !has_role && !has_grants {
            return false;
        }
        self.stale.door |= has_role; // There may be place for a viewer.
        if role == Role::Viewer || moderates(role, &granted) {
            self.drop_floor(id, now);
        }
        self.happened(What::ParticipantUpdated { participant: id.to_string(), role }, now);
        self.refresh(id, has_role, now);
        if has_role {
            self.announce_update(id, false);
            self.enforce_mutes(id);
        }
        true
    }

    /// A new token of somebody who is in.
    pub(super) fn on_renew(
        &mut self,
        connection: super::ConnectionId,
        who: Admission,
        now: Instant,
    ) {
        let Some(id) = self.connections.get(&connection).copied() else { return };
        let fits = |handle: &Handle| *handle == who.handle && !self.is_banned(handle, now);
        let is_same = self.members.get(&id).is_some_and(|m| fits(&m.info.handle));
        let role = self.members.get(&id).map(|member| member.info.role);
        let is_new_viewer = who.role == Role::Viewer && role != Some(Role::Viewer);
        let fits = !is_new_viewer || self.has_place(Role::Viewer, Some(id));
        if !is_same || !fits || self.record.is_behind() {
            return self.on_renew_refused(connection);
        }
        if let Some(member) = self.members.get_mut(&id) {
            member.token = who.grants.clone();
        }
        self.tell(id, &ServerMessage::Renewed {});
        self.regrant(id, who.role, who.grants, now);
    }

    pub(super) fn on_renew_refused(&mut self, connection: super::ConnectionId) {
        if let Some(id) = self.connections.get(&connection).copied() {
            self.tell(id, &super::error(super::TOKEN_REFUSED, None, false));
        }
    }

    /// Tells what is new about a participant to the others, and to itself if `itself`.
    pub(super) fn announce_update(&mut self, id: ParticipantId, itself: bool) {
        let Some(member) = self.members.get(&id) else { return };
        let is_hidden = member.hidden();
        let updated = ServerMessage::ParticipantUpdated { participant: member.info.clone() };
        if itself {
            self.tell(id, &updated);
        }
        if !is_hidden {
            self.tell_others(id, &updated);
        }
    }
}
