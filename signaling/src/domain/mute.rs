//! Muting at the server. What the publisher says of its track and what the server says are kept
//! apart: a track is heard when neither mutes it.

use std::time::Instant;

use sdk_spec::{
    event::What,
    ws::{Role, Source},
};
use sfu_proto::{control, id::ParticipantId};

use super::{Room, member::Member};

/// All sources, in the order in which lists of them are told.
pub(super) const ALL: [Source; 4] =
    [Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio];

/// `before` with `named` (empty: all) put in or taken out.
fn changed(before: &[Source], named: &[Source], muted: bool) -> Vec<Source> {
    let stays = |source: &Source| match named.is_empty() || named.contains(source) {
        true => muted,
        false => before.contains(source),
    };
    ALL.into_iter().filter(stays).collect()
}

impl Room {
    /// What is muted at the server of a participant.
    pub(super) fn silenced(&self, member: &Member) -> Vec<Source> {
        let all = if member.info.role == Role::Moderator { &[][..] } else { &self.muted };
        let own = &member.info.muted;
        ALL.into_iter().filter(|s| all.contains(s) || own.contains(s)).collect()
    }

    /// Mutes one participant, or lifts that.
    pub(super) fn mute_one(
        &mut self,
        id: ParticipantId,
        (sources, muted): (&[Source], bool),
        now: Instant,
    ) -> u32 {
        let Some(member) = self.members.get_mut(&id) else { return 0 };
        let sources = changed(&member.info.muted, sources, muted);
        if sources == member.info.muted {
            return 0;
        }
        member.info.muted.clone_from(&sources);
        self.happened(What::ParticipantMuted { participant: Some(id.to_string()), sources }, now);
        self.announce_update(id, true);
        self.enforce_mutes(id);
        1
    }

    /// Mutes everybody but moderators, now and later, or lifts that.
    pub(super) fn mute_all(&mut self, (sources, muted): (&[Source], bool), now: Instant) -> u32 {
        let sources = changed(&self.muted, sources, muted);
        if sources == self.muted {
            return 0;
        }
        self.muted.clone_from(&sources);
        self.happened(What::ParticipantMuted { participant: None, sources }, now);
        self.stale.info = true;
        let others = |id: &ParticipantId| {
            self.members.get(id).is_some_and(|m| m.info.role != Role::Moderator)
        };
        let ids: Vec<_> = self.in_order().into_iter().filter(others).collect();
        ids.iter().for_each(|id| self.enforce_mutes(*id));
        u32::try_from(ids.len()).unwrap_or(u32::MAX)
    }

    /// Makes the media node mute what is muted by anybody, and nothing else. An offer in flight
    /// said it for its tracks too, in case that it is accepted.
    pub(super) fn enforce_mutes(&mut self, id: ParticipantId) {
        let Some(member) = self.members.get(&id) else { return };
        let silenced = self.silenced(member);
        let Some(member) = self.members.get_mut(&id) else { return };
        let mut orders = Vec::new();
        let offered = member.pending.as_mut().map(|p| p.tracks.as_mut_slice()).unwrap_or_default();
        let wanted = |muted: bool, source| muted || silenced.contains(&source);
        for track in &mut member.tracks {
            let twin = offered.iter_mut().find(|other| other.id == track.id);
            let muted = twin.as_ref().map_or(track.muted, |twin| twin.muted);
            let muted = wanted(muted, track.source);
            if track.told != muted || twin.as_ref().is_some_and(|twin| twin.told != muted) {
                orders.push((track.id, muted));
            }
            track.told = muted;
            if let Some(twin) = twin {
                twin.told = muted;
            }
        }
        for track in offered {
            let muted = wanted(track.muted, track.source);
            if std::mem::replace(&mut track.told, muted) != muted {
                orders.push((track.id, muted));
            }
        }
        for (track, muted) in orders {
            self.media(control::Command::SetMuted { track, muted });
        }
    }
}
