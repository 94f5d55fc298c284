//! What the media node was told and what the events tell, kept as simply as can be.

use sdk_spec::event::What;

use super::*;

/// The media node, as its orders make it.
#[derive(Default)]
pub(super) struct Node {
    seen: usize,
    pub(super) sessions: BTreeMap<SessionId, (String, BTreeSet<usize>)>,
    pub(super) tracks: BTreeMap<TrackId, (SessionId, usize, bool)>,
}

impl Node {
    pub(super) fn hear(&mut self, commands: &[control::Command]) {
        for command in &commands[self.seen..] {
            self.obey(command);
        }
        self.seen = commands.len();
    }

    fn obey(&mut self, command: &control::Command) {
        let code = |s: control::Source| ALL.iter().position(|x| offer::source(*x) == s).unwrap();
        match command {
            control::Command::OpenSession { session, participant, permissions, .. } => {
                let may = permissions.publish.iter().map(|s| code(*s)).collect();
                self.sessions.insert(*session, (participant.to_string(), may));
            }
            control::Command::SetPermissions { session, permissions } => {
                let may: BTreeSet<_> = permissions.publish.iter().map(|s| code(*s)).collect();
                self.tracks.retain(|_, (s, source, _)| s != session || may.contains(source));
                self.sessions.get_mut(session).unwrap().1 = may;
            }
            control::Command::CloseSession { session } => {
                self.sessions.remove(session);
                self.tracks.retain(|_, (s, ..)| s != session);
            }
            control::Command::CloseRoom { .. } => {
                self.sessions.clear();
                self.tracks.clear();
            }
            control::Command::Offer { session, publish, .. } => {
                self.tracks.retain(|_, (s, ..)| s != session);
                for p in publish {
                    let source = code(p.source);
                    assert!(self.sessions[session].1.contains(&source), "offered, not permitted");
                    self.tracks.insert(p.track, (*session, source, p.muted));
                }
            }
            control::Command::SetMuted { track, muted } => {
                if let Some((.., is_muted)) = self.tracks.get_mut(track) {
                    *is_muted = *muted;
                }
            }
            _ => {}
        }
    }
}

/// Who is in, which tracks there are, who waits: as the events tell it.
pub(super) fn fold(commits: &[Commit]) -> (BTreeSet<String>, BTreeSet<String>, BTreeSet<String>) {
    let (mut present, mut tracks, mut waiting) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (_, what) in commits.iter().flat_map(|commit| &commit.events) {
        match what {
            What::ParticipantJoined { participant, .. } => {
                waiting.remove(participant);
                assert!(present.insert(participant.clone()), "joined twice");
            }
            What::ParticipantLeft { participant, .. } => {
                assert!(present.remove(participant), "left, never joined");
            }
            What::ParticipantWaiting { participant, .. } => {
                assert!(waiting.insert(participant.clone()));
            }
            What::ParticipantTurnedAway { participant, .. } => {
                assert!(waiting.remove(participant));
            }
            What::TrackPublished { track, participant, .. } => {
                assert!(present.contains(participant) && tracks.insert(track.clone()));
            }
            What::TrackUnpublished { track, .. } => assert!(tracks.remove(track)),
            _ => {}
        }
    }
    (present, tracks, waiting)
}
