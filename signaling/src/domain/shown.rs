//! What is shown first to everybody, and whom a participant sees and hears at all.

use sdk_spec::{
    action::ActionRefusal,
    limits::{NAMED_MAX, SHOWN_FIRST_MAX},
    room::Audience,
    ws::Source,
};
use sfu_proto::{
    control,
    id::{ParticipantId, TrackId},
};

use super::{Room, member::Member};

/// A participant's rule about whom it sees and hears.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Rule {
    All,
    Moderators,
    Only(Vec<ParticipantId>),
    Except(Vec<ParticipantId>),
}

impl Rule {
    pub(super) fn parse(audience: &Audience) -> Result<Self, ActionRefusal> {
        // Those who left are no fault: a list outlives a stay.
        let ids = |list: &[String]| -> Result<Vec<_>, _> {
            if list.len() > NAMED_MAX {
                return Err(ActionRefusal::OutOfRange);
            }
            let ids = list.iter().map(|id| id.parse::<ParticipantId>());
            ids.collect::<Result<_, _>>().map_err(|_| ActionRefusal::UnknownParticipant)
        };
        Ok(match audience {
            Audience::All {} => Self::All,
            Audience::Moderators {} => Self::Moderators,
            Audience::Only { participants } => Self::Only(ids(participants)?),
            Audience::Except { participants } => Self::Except(ids(participants)?),
        })
    }
}

impl Room {
    pub(super) fn set_audience(&mut self, id: ParticipantId, rule: Rule) -> u32 {
        let Some(member) = self.members.get_mut(&id) else { return 0 };
        let changed = std::mem::replace(&mut member.audience, rule.clone()) != rule;
        self.enforce_audience(id);
        u32::from(changed)
    }

    /// Tells the media node whom a participant may see, if it does not know.
    pub(super) fn enforce_audience(&mut self, id: ParticipantId) {
        let Some(member) = self.members.get(&id).filter(|member| member.has_media) else { return };
        let audience = match &member.audience {
            Rule::All => control::Audience::All,
            Rule::Only(list) => control::Audience::Only(list.clone()),
            Rule::Except(list) => control::Audience::Except(list.clone()),
            Rule::Moderators => {
                let moderators = self.members.iter().filter(|(_, m)| m.grants.moderate);
                control::Audience::Only(moderators.map(|(id, _)| *id).collect())
            }
        };
        let session = member.session;
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.audience_told != audience {
            member.audience_told.clone_from(&audience);
            self.media(control::Command::SetAudience { session, audience });
        }
    }

    /// Other moderators are here.
    pub(super) fn enforce_moderator_audiences(&mut self) {
        let ruled = self.members.iter().filter(|(_, m)| m.audience == Rule::Moderators);
        for id in ruled.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.enforce_audience(id);
        }
    }

    pub(super) fn set_spotlight(&mut self, ids: Vec<ParticipantId>) -> Result<u32, ActionRefusal> {
        if ids.len() > SHOWN_FIRST_MAX {
            return Err(ActionRefusal::OutOfRange);
        }
        if !ids.iter().all(|id| self.members.get(id).is_some_and(|m| !m.hidden())) {
            return Err(ActionRefusal::UnknownParticipant);
        }
        let ids = distinct(ids);
        let count = ids.len();
        self.stale.info |= self.spotlight != ids;
        self.spotlight = ids;
        Ok(count as u32)
    }

    pub(super) fn set_pinned(&mut self, tracks: Vec<TrackId>) -> Result<u32, ActionRefusal> {
        if tracks.len() > SHOWN_FIRST_MAX {
            return Err(ActionRefusal::OutOfRange);
        }
        if !tracks.iter().all(|track| self.tracks.contains_key(track)) {
            return Err(ActionRefusal::UnknownTrack);
        }
        let tracks = distinct(tracks);
        let owners: Vec<_> = tracks.iter().filter_map(|track| self.tracks.get(track)).collect();
        let count = distinct(owners).len();
        self.stale.info |= self.pinned != tracks;
        self.pinned = tracks;
        Ok(count as u32)
    }

    /// Forgets who left and what ended, and tells the media node for everybody what comes first, if
    /// that changed. Looks at the few that are shown first, at nobody else unless it changed.
    pub(super) fn settle_shown(&mut self) {
        let before = self.spotlight.len() + self.pinned.len();
        self.spotlight.retain(|id| self.members.contains_key(id));
        self.pinned.retain(|track| self.tracks.contains_key(track));
        self.stale.info |= self.spotlight.len() + self.pinned.len() < before;
        let lit = self.spotlight.iter().filter_map(|id| self.members.get(id));
        let lit = lit.flat_map(|member| {
            let of = |source| member.tracks.iter().filter(move |track| track.source == source);
            of(Source::Screen).chain(of(Source::Camera)).map(|track| track.id)
        });
        let first = distinct(self.pinned.iter().copied().chain(lit).collect());
        if first == self.first {
            return;
        }
        self.first = first;
        let watching = self.members.iter().filter(|(_, m)| m.has_media && m.grants.subscribe);
        for id in watching.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send_wants(id);
        }
    }

    /// Tells the media node what a participant sees first.
    pub(super) fn send_wants(&mut self, id: ParticipantId) {
        let Some(member) = self.members.get(&id).filter(|member| member.has_media) else { return };
        let tracks = self.wants_of(member);
        let session = member.session;
        self.media(control::Command::Want { session, tracks });
    }

    pub(super) fn wants_of(&self, member: &Member) -> Vec<TrackId> {
        let own = member.wanted.iter().filter(|track| self.tracks.contains_key(track));
        distinct(self.first.iter().chain(own).copied().collect())
    }
}

/// Without repetitions, in order; for short lists.
pub(super) fn distinct<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    let mut seen = Vec::with_capacity(list.len());
    for item in list {
        if !seen.contains(&item) {
            seen.push(item);
        }
    }
    seen
}
