//! Random histories of a recorded room whose store is late and whose clients are cut: the recorder
//! never has what may not be recorded at this moment, nor what is not stored yet; and it has
//! everything else as soon as all is stored. What may be is folded from what the store is told. The same
//! holds for texts.

use proptest::prelude::*;
use sdk_spec::{
    action::Action,
    event::What,
    recording::RecordingRule,
    room::{Kind, RoomSettings},
};
use sfu_proto::id::RecordingId;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave(usize),
    Detach(usize),
    Resume(usize),
    Publish(usize, u8),
    Consent(usize, bool),
    Heed(usize),
    /// Says something, to one or to everybody.
    Text(usize, Option<usize>),
    Viewer(usize),
    Record(usize),
    Lose,
    Fail,
    Store,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..5_usize;
    prop_oneof![
        3 => Just(Step::Join),
        1 => who.clone().prop_map(Step::Leave),
        2 => who.clone().prop_map(Step::Detach),
        2 => who.clone().prop_map(Step::Resume),
        4 => (who.clone(), 0..16_u8).prop_map(|(w, s)| Step::Publish(w, s)),
        5 => (who.clone(), any::<bool>()).prop_map(|(w, g)| Step::Consent(w, g)),
        5 => who.clone().prop_map(Step::Heed),
        8 => (who.clone(), proptest::option::of(0..5_usize)).prop_map(|(w, t)| Step::Text(w, t)),
        1 => who.clone().prop_map(Step::Viewer),
        5 => (0..5_usize).prop_map(Step::Record),
        1 => Just(Step::Lose),
        1 => Just(Step::Fail),
        5 => Just(Step::Store),
        1 => (0..12_u64).prop_map(Step::Wait),
    ]
}

/// What a prefix of the commits allows to be recorded.
#[derive(Default)]
struct Fold {
    live: Option<(RecordingId, bool)>,
    consent: BTreeSet<String>,
    tracks: BTreeMap<String, String>,
    viewers: BTreeSet<String>,
}

fn fold<'a>(commits: impl Iterator<Item = &'a Commit>) -> Fold {
    let mut fold = Fold::default();
    for commit in commits {
        for (_, what) in &commit.events {
            match what {
                What::ConsentChanged { participant, granted: true, .. } => {
                    fold.consent.insert(participant.clone());
                }
                What::ConsentChanged { participant, .. } => {
                    fold.consent.remove(participant);
                }
                What::ParticipantUpdated { participant, role: Role::Viewer } => {
                    fold.viewers.insert(participant.clone());
                }
                What::TrackPublished { track, participant, .. } => {
                    fold.tracks.insert(track.clone(), participant.clone());
                }
                What::TrackUnpublished { track, .. } => {
                    fold.tracks.remove(track);
                }
                _ => {}
            }
        }
        for change in &commit.recordings {
            fold.live = match change {
                RecordingChange::Started { id, .. } => Some((*id, false)),
                RecordingChange::Paused(id) => Some((*id, true)),
                RecordingChange::Resumed(id) => Some((*id, false)),
                RecordingChange::Stopped { .. } => None,
            };
        }
    }
    fold
}

impl Fold {
    fn tracks(&self, away: &BTreeSet<String>) -> BTreeSet<String> {
        let tracks = self.tracks.iter().filter(|(_, owner)| self.takes(owner, away));
        tracks.map(|(track, _)| track.clone()).collect()
    }

    fn takes(&self, participant: &String, away: &BTreeSet<String>) -> bool {
        matches!(self.live, Some((_, false)))
            && self.consent.contains(participant)
            && !self.viewers.contains(participant)
            && !away.contains(participant)
    }
}

struct Stage {
    scene: Scene,
    /// Those who did not acknowledge what was said of the recording.
    away: BTreeSet<String>,
    changes: usize,
}

impl Stage {
    fn new() -> Self {
        let policy = RecordingRule {
            consent: Some(true),
            data: Some(true),
            roles: vec![Role::Participant, Role::Moderator],
            target: Some("st_00000000000000000000000000".to_owned()),
            ..RecordingRule::default()
        };
        let charter = Charter::new(Kind::Permanent, &RoomSettings::default());
        let mut scene = Scene::of(charter, begin());
        scene.policy = Some(Policy::Rule(Box::new(policy)));
        (scene.stores, scene.is_attentive) = (false, false);
        Self { scene, away: BTreeSet::new(), changes: 0 }
    }

    fn order(&mut self, action: Action) {
        let actor = Actor::Key("key_1".to_owned());
        let ask = Ask::Act { actor, action: Box::new(action), version: None };
        self.scene.apply(Command::Standard { request: RequestId(7), ask });
    }

    fn client(&self, n: usize) -> Option<ConnectionId> {
        let all: Vec<_> = self.scene.clients.keys().copied().collect();
        (!all.is_empty()).then(|| all[n % all.len()])
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Join => {
                let connection = self.scene.connect(Mirror::default());
                let mut admission = admission(&format!("user-{}", connection.0));
                admission.grants.data = true;
                self.scene.apply(Command::Join { connection, admission });
            }
            Step::Leave(n) => self.say(n, Body::Leave),
            Step::Heed(n) => self.say(n, Body::Ping),
            Step::Consent(n, granted) => self.say(n, Body::Consent { granted }),
            Step::Text(n, to) => self.text(n, to),
            Step::Detach(n) => {
                if let Some(client) = self.client(n) {
                    self.scene.detach(client);
                }
            }
            Step::Resume(n) if !self.scene.cut.is_empty() => {
                let n = n % self.scene.cut.len();
                let mirror = self.scene.cut.swap_remove(n);
                self.scene.resume(mirror);
            }
            Step::Resume(_) => {}
            Step::Publish(n, bits) => {
                let sources: Vec<_> =
                    (0..4).filter(|i| bits >> i & 1 == 1).map(|i| ALL[i]).collect();
                if let Some(client) = self.client(n) {
                    self.scene.publish(client, &sources);
                    self.scene.answer();
                }
            }
            Step::Viewer(n) => {
                if let Some(client) = self.client(n) {
                    let participant = self.scene.clients[&client].me.clone();
                    let role = Role::Viewer;
                    self.order(Action::SetRole { participant, role, grants: None });
                }
            }
            Step::Record(0 | 1) => self.order(Action::StartRecording { rule: None }),
            Step::Record(2) => self.order(Action::PauseRecording {}),
            Step::Record(3) => self.order(Action::ResumeRecording {}),
            Step::Record(_) => self.order(Action::StopRecording {}),
            Step::Lose => self.scene.apply(Command::MediaLost),
            Step::Fail => {
                if let Some((recording, _)) = fold(self.scene.commits.iter()).live {
                    let reason = sdk_spec::recording::StopReason::DiskFull;
                    self.scene.apply(Command::RecordingFailed { recording, reason });
                }
            }
            Step::Store if (self.scene.stored as usize) < self.scene.commits.len() => {
                let next = self.scene.stored + 1;
                self.scene.apply(Command::Committed(next));
            }
            Step::Store => {}
            Step::Wait(seconds) => self.scene.wait(seconds),
        }
    }

    fn say(&mut self, n: usize, body: Body) {
        if let Some(client) = self.client(n) {
            self.scene.say(client, body);
        }
    }

    /// Somebody says something: it is recorded only if that is allowed now and by what is stored, of
    /// everybody whom it concerns; and it is, if all is stored.
    fn text(&mut self, n: usize, to: Option<usize>) {
        let Some(client) = self.client(n) else { return };
        let from = self.scene.clients[&client].me.clone();
        let everybody = self.scene.clients.values().chain(&self.scene.cut);
        let others: Vec<_> = everybody.map(|one| one.me.clone()).filter(|me| *me != from).collect();
        let named = to.filter(|_| !others.is_empty()).map(|n| others[n % others.len()].clone());
        if named.is_none() && to.is_some() {
            return;
        }
        self.away.remove(&from); // It acknowledges with this very message.
        let commits = &self.scene.commits;
        let now = fold(commits.iter());
        let stored = fold(commits.iter().filter(|commit| commit.number <= self.scene.stored));
        let all_stored = self.scene.stored as usize == commits.len();
        let of = [Some(&from), named.as_ref()];
        let may = |fold: &Fold| of.into_iter().flatten().all(|one| fold.takes(one, &self.away));
        let (may, may_stored) = (may(&now), may(&stored));
        let before = self.scene.recorded.len();
        let to: Vec<String> = named.iter().cloned().collect();
        self.scene.say(client, Body::Data { to: to.clone(), body: "said".to_owned() });
        let taken = &self.scene.recorded[before..];
        assert!(taken.is_empty() || (may && may_stored), "no more than may be recorded");
        assert!(taken.len() == 1 || !(may && all_stored), "and no less, once all is stored");
        for text in taken {
            assert_eq!(now.live.map(|(id, _)| id), Some(text.recording));
            let ids: Vec<String> = text.to.iter().map(ToString::to_string).collect();
            assert!(text.from.to_string() == from && ids == to && text.body == "said");
        }
    }

    fn check(&mut self) {
        let scene = &self.scene;
        let changes: Vec<_> = scene.commits.iter().flat_map(|commit| &commit.recordings).collect();
        for change in &changes[self.changes..] {
            use RecordingChange as C;
            match change {
                C::Started { .. } | C::Resumed(_) => {
                    self.away.extend(scene.cut.iter().map(|mirror| mirror.me.clone()));
                }
                C::Stopped { .. } => self.away.clear(),
                C::Paused(_) => {}
            }
        }
        self.changes = changes.len();
        for client in scene.clients.values() {
            if client.told > client.acked {
                self.away.insert(client.me.clone());
            } else {
                self.away.remove(&client.me);
            }
        }
        let now = fold(scene.commits.iter());
        let stored = scene.commits.iter().filter(|commit| commit.number <= scene.stored);
        let stored = fold(stored);
        let given: Option<BTreeSet<String>> =
            scene.tap.as_ref().map(|tap| tap.tracks.iter().map(ToString::to_string).collect());
        let (may, may_stored) = (now.tracks(&self.away), stored.tracks(&self.away));
        let recording = scene.tap.as_ref().map(|tap| tap.recording);
        if let Some(given) = &given {
            assert_eq!(recording, now.live.map(|(id, _)| id));
            assert_eq!(recording, stored.live.map(|(id, _)| id));
            assert!(given.is_subset(&may), "no more than may be recorded now");
            assert!(given.is_subset(&may_stored), "no more than is stored");
        }
        if scene.stored as usize == scene.commits.len() && !scene.room.members.is_empty() {
            assert_eq!(recording, now.live.map(|(id, _)| id));
            assert_eq!(given.unwrap_or_default(), may, "and no less, once all is stored");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_recorder_never_has_what_may_not_be_recorded_and_has_the_rest_once_it_is_stored(
        steps in proptest::collection::vec(step(), 1..100),
    ) {
        let mut stage = Stage::new();
        for step in steps {
            stage.perform(step);
            stage.check();
        }
    }
}
