//! Random commands against a small model of the rules, written apart from them: sets instead of
//! tables, everything computed anew. After each command the clients' pictures, the media node's
//! orders, the partner's list and the folded events must be what the model says; and the same
//! commands with the same draws must give the same effects again.

mod compare;
mod dice;
mod world;

use std::collections::BTreeMap;

use sdk_spec::{
    action::Action,
    recording::RecordingRule,
    room::{DuplicateHandles, Kind, Mode, RoomSettings},
};

use self::{compare::compare, dice::Dice, world::Node};
use super::*;

const RUNS: u64 = 2_000;
const STEPS: usize = 40;

#[derive(Clone)]
struct Person {
    connection: ConnectionId,
    id: String,
    handle: usize,
    role: Role,
    token: Grants,
    granted: Grants,
    waits: bool,
    consents: bool,
    /// Source to whether its publisher muted it.
    tracks: BTreeMap<usize, bool>,
    silenced: BTreeSet<usize>,
}

impl Person {
    fn moderates(&self) -> bool {
        self.role == Role::Moderator || self.granted.moderate
    }
}

struct Model {
    settings: RoomSettings,
    people: Vec<Person>,
    all_silenced: BTreeSet<usize>,
    holders: Vec<String>,
    requests: Vec<String>,
    banned: BTreeSet<usize>,
    /// Of the project; none: nothing can be recorded.
    policy: Option<RecordingRule>,
    /// What is recorded, and whether it is paused.
    recording: Option<(RecordingRule, bool)>,
    /// Nobody was in at some time during the command.
    was_empty: bool,
}

fn number(source: Source) -> usize {
    ALL.iter().position(|s| *s == source).unwrap()
}

fn numbers(sources: &[Source]) -> BTreeSet<usize> {
    sources.iter().copied().map(number).collect()
}

impl Model {
    fn is_empty(&self) -> bool {
        self.inside().next().is_none()
    }

    fn inside(&self) -> impl Iterator<Item = &Person> {
        self.people.iter().filter(|p| !p.waits)
    }

    fn has_moderator(&self) -> bool {
        self.inside().any(Person::moderates)
    }

    fn must_wait(&self, p: &Person) -> bool {
        let no_moderator = self.settings.wait_for_moderator == Some(true) && !self.has_moderator();
        !p.moderates() && (self.settings.knock == Some(true) || no_moderator)
    }

    fn has_place(&self, role: Role, but: Option<&str>) -> bool {
        let others = || self.inside().filter(|p| Some(p.id.as_str()) != but);
        let viewers = others().filter(|p| p.role == Role::Viewer).count();
        others().count() < self.settings.participants_max.unwrap() as usize
            && (role != Role::Viewer || viewers < self.settings.viewers_max.unwrap() as usize)
    }

    fn publishable(&self, p: &Person) -> BTreeSet<usize> {
        let lecture = self.settings.mode == Some(Mode::Lecture);
        let word = !lecture || p.moderates() || self.holders.contains(&p.id);
        if p.role == Role::Viewer || !word { BTreeSet::new() } else { numbers(&p.granted.publish) }
    }

    fn silenced(&self, p: &Person) -> BTreeSet<usize> {
        match p.role {
            Role::Moderator => p.silenced.clone(),
            _ => p.silenced.union(&self.all_silenced).copied().collect(),
        }
    }

    /// Everything that follows by itself.
    fn settle(&mut self) {
        self.was_empty |= self.is_empty();
        let inside: Vec<String> = self.inside().map(|p| p.id.clone()).collect();
        self.holders.retain(|id| inside.contains(id));
        self.requests.retain(|id| inside.contains(id));
        for p in self.people.clone() {
            if p.role == Role::Viewer || p.moderates() {
                self.holders.retain(|id| *id != p.id);
                self.requests.retain(|id| *id != p.id);
            }
        }
        for i in 0..self.people.len() {
            let p = &self.people[i];
            let free = p.waits && !self.must_wait(p) && self.settings.locked != Some(true);
            if free && self.has_place(p.role, None) {
                self.people[i].waits = false;
            }
        }
        for i in 0..self.people.len() {
            let may = self.publishable(&self.people[i]);
            self.people[i].tracks.retain(|source, _| may.contains(source));
        }
        if std::mem::take(&mut self.was_empty) && !self.is_empty() {
            self.begin();
        }
        // In order of arrival in the room would need a clock; the lobby keeps its own order.
    }

    fn person(&mut self, id: &str) -> Option<&mut Person> {
        self.people.iter_mut().find(|p| p.id == id)
    }

    fn inside_person(&mut self, id: &str) -> Option<&mut Person> {
        self.person(id).filter(|p| !p.waits)
    }

    /// Whether it is accepted; does it then.
    fn act(&mut self, actor: Option<&str>, action: &Action) -> bool {
        let is_self = |id: &String| actor == Some(id.as_str());
        let about = matches!(
            action,
            Action::StartRecording { .. }
                | Action::PauseRecording {}
                | Action::ResumeRecording {}
                | Action::StopRecording {}
        );
        let allowed = match actor {
            None => true,
            Some(id) if about => self.inside_person(id).is_some_and(|p| p.granted.record),
            Some(id) => self.inside_person(id).is_some_and(|p| p.moderates()),
        };
        if !allowed {
            return false;
        }
        match action {
            Action::Update { settings } if settings.recording.is_some() && actor.is_some() => false,
            Action::Update { settings } => {
                let before = self.settings.mode;
                self.settings = self.settings.with(settings);
                if before != self.settings.mode {
                    self.holders.clear();
                    self.requests.clear();
                }
                true
            }
            Action::Admit { participants } => self.admit(participants),
            Action::Deny { participants } => {
                let known = self.all_wait(participants);
                if known {
                    self.people.retain(|p| {
                        !(p.waits && (participants.is_empty() || participants.contains(&p.id)))
                    });
                }
                known
            }
            Action::Eject { participant, ban_seconds } => {
                let Some(handle) = self.person(participant).map(|p| p.handle) else { return false };
                self.people.retain(|p| p.id != *participant);
                if *ban_seconds != Some(0) {
                    self.banned.insert(handle);
                }
                true
            }
            Action::SetRole { participant, role, grants } => {
                let Some(p) = self.inside_person(participant).cloned() else { return false };
                let new_viewer = *role == Role::Viewer && p.role != Role::Viewer;
                let gives = grants.as_ref().is_some_and(|g| g.record && !p.granted.record);
                let full = new_viewer && !self.has_place(*role, Some(&p.id));
                if is_self(participant) || full || (gives && actor.is_some()) {
                    return false;
                }
                let had = p.granted.record;
                let p = self.person(participant).unwrap();
                p.role = *role;
                p.granted = grants.clone().unwrap_or_else(|| p.token.clone());
                p.granted.record &= actor.is_none() || had;
                true
            }
            Action::Mute { participant, sources, muted } => {
                let named = if sources.is_empty() { numbers(&ALL) } else { numbers(sources) };
                let set = match participant {
                    None => &mut self.all_silenced,
                    Some(id) if is_self(id) && !muted => return false,
                    Some(id) => match self.inside_person(id) {
                        Some(p) => &mut p.silenced,
                        None => return false,
                    },
                };
                match muted {
                    true => set.extend(named),
                    false => set.retain(|s| !named.contains(s)),
                }
                true
            }
            Action::GrantFloor { participant } => {
                let lecture = self.settings.mode == Some(Mode::Lecture);
                let Some(p) = self.inside_person(participant).cloned() else { return false };
                if is_self(participant) || !lecture || p.moderates() || p.role == Role::Viewer {
                    return false;
                }
                if self.holders.contains(&p.id) {
                    return true;
                }
                if self.holders.len() >= self.settings.floor_max.unwrap() as usize {
                    return false;
                }
                self.requests.retain(|id| *id != p.id);
                self.holders.push(p.id);
                true
            }
            Action::DenyFloor { participant } => {
                let before = self.requests.len();
                self.requests.retain(|id| id != participant);
                self.requests.len() < before
            }
            Action::ReleaseFloor { participant: Some(participant) } => {
                let before = self.holders.len();
                self.holders.retain(|id| id != participant);
                self.holders.len() < before
            }
            Action::ReleaseFloor { participant: None } => {
                self.holders.clear();
                self.requests.clear();
                true
            }
            Action::StartRecording { rule } => {
                let named = rule.is_some() && actor.is_some();
                !named && self.start(rule.clone().unwrap_or_default())
            }
            Action::PauseRecording {} => self.pause(true),
            Action::ResumeRecording {} => self.pause(false),
            Action::StopRecording {} => self.recording.take().is_some(),
            _ => unreachable!("not rolled"),
        }
    }

    fn start(&mut self, given: RecordingRule) -> bool {
        if self.recording.is_some() {
            return false;
        }
        let Some(policy) = &self.policy else { return false };
        let room = self.settings.recording.clone().unwrap_or_default();
        let rule = policy.with(&room.with(&given));
        let goes_somewhere = rule.target.is_some();
        self.recording = goes_somewhere.then_some((rule, false));
        goes_somewhere
    }

    fn pause(&mut self, paused: bool) -> bool {
        match &mut self.recording {
            Some((_, is_paused)) if *is_paused != paused => {
                *is_paused = paused;
                true
            }
            _ => false,
        }
    }

    /// Nobody was in, somebody comes.
    fn begin(&mut self) {
        let room = self.settings.recording.clone().unwrap_or_default();
        let policy = self.policy.clone().unwrap_or_default().with(&room);
        if self.recording.is_none() && policy.auto == Some(true) {
            self.start(RecordingRule::default());
        }
    }

    /// Whose tracks of which sources the recorder may have; none: nothing at all.
    fn tapped(&self) -> Option<BTreeSet<(String, usize)>> {
        let (rule, paused) = self.recording.as_ref()?;
        self.inside().next()?;
        let takes = |p: &Person, source: usize| {
            !paused
                && (rule.consent != Some(true) || p.consents)
                && (rule.roles.is_empty() || rule.roles.contains(&p.role))
                && (rule.sources.is_empty() || rule.sources.contains(&ALL[source]))
        };
        let tracks = self.inside().flat_map(|p| p.tracks.keys().map(move |source| (p, *source)));
        let taken = tracks.filter(|(p, source)| takes(p, *source));
        Some(taken.map(|(p, source)| (p.id.clone(), source)).collect())
    }

    fn all_wait(&self, named: &[String]) -> bool {
        named.iter().all(|id| self.people.iter().any(|p| p.waits && p.id == *id))
    }

    fn admit(&mut self, named: &[String]) -> bool {
        if !self.all_wait(named) {
            return false;
        }
        let (mut wished, mut done) = (0, 0);
        for i in 0..self.people.len() {
            let p = &self.people[i];
            if p.waits && (named.is_empty() || named.contains(&p.id)) {
                wished += 1;
                if self.has_place(p.role, None) {
                    self.people[i].waits = false;
                    done += 1;
                }
            }
        }
        wished == 0 || done > 0
    }

    fn join(&mut self, scene: &mut Scene, handle: usize, role: Role, grants: Grants) {
        let connection = scene.connect(Mirror::default());
        let who = Admission {
            handle: Handle::parse(&format!("user-{handle}")).unwrap(),
            role,
            grants: grants.clone(),
        };
        scene.apply(Command::Join { connection, admission: who });
        let mut new = Person {
            connection,
            id: String::new(),
            handle,
            role,
            token: grants.clone(),
            granted: grants,
            waits: false,
            consents: false,
            tracks: BTreeMap::new(),
            silenced: BTreeSet::new(),
        };
        let older = self.people.iter().find(|p| p.handle == handle).map(|p| p.id.clone());
        let replace = self.settings.duplicate_handles == Some(DuplicateHandles::Replace);
        let twice = older.is_some() && !replace;
        let locked = self.settings.locked == Some(true) && !new.moderates();
        new.waits = self.must_wait(&new);
        let full = !new.waits && !self.has_place(role, older.as_deref());
        let accepted = !(self.banned.contains(&handle) || locked || twice || full);
        assert_eq!(scene.clients.contains_key(&connection), accepted, "join of user-{handle}");
        if accepted {
            self.people.retain(|p| Some(&p.id) != older.as_ref());
            self.was_empty |= self.is_empty();
            // The older one may have been the moderator that was waited for.
            new.waits = self.must_wait(&new);
            new.id.clone_from(&scene.clients[&connection].me);
            self.people.push(new);
        }
    }
}

fn settings(dice: &mut Dice) -> RoomSettings {
    let mut change = RoomSettings::default();
    match dice.roll(9) {
        8 => change.recording = rule(dice),
        0 | 1 => change.mode = Some([Mode::Group, Mode::Lecture][dice.roll(2)]),
        2 => change.knock = Some(dice.flip()),
        3 => change.wait_for_moderator = Some(dice.flip()),
        4 => change.locked = Some(dice.roll(4) == 0),
        5 => change.floor_max = Some(1 + dice.roll(2) as u32),
        6 => change.participants_max = Some(3 + dice.roll(5) as u32),
        _ => change.viewers_max = Some(dice.roll(3) as u32),
    }
    change
}

fn rule(dice: &mut Dice) -> Option<RecordingRule> {
    let target = "st_00000000000000000000000000".to_owned();
    (dice.roll(4) > 0).then(|| RecordingRule {
        auto: (dice.roll(3) == 0).then(|| dice.flip()),
        consent: (dice.roll(3) > 0).then(|| dice.flip()),
        sources: if dice.flip() { Vec::new() } else { dice.sources() },
        roles: if dice.roll(3) > 0 { Vec::new() } else { vec![dice.role()] },
        target: (dice.roll(6) > 0).then_some(target),
        ..RecordingRule::default()
    })
}

fn action(dice: &mut Dice, someone: String) -> Action {
    let participant = someone;
    match dice.roll(20) {
        14 | 15 => Action::StartRecording { rule: dice.flip().then(|| rule(dice)).flatten() },
        16 => Action::PauseRecording {},
        17 => Action::ResumeRecording {},
        18 => Action::StopRecording {},
        0 | 1 => Action::Update { settings: settings(dice) },
        2 => Action::Admit { participants: Vec::new() },
        3 => Action::Admit { participants: vec![participant] },
        4 => Action::Deny { participants: vec![participant] },
        5 => Action::Eject { participant, ban_seconds: [Some(0), None][dice.roll(2)] },
        6 => Action::SetRole { participant, role: dice.role(), grants: None },
        7 => {
            let grants = Some(dice.grants());
            Action::SetRole { participant, role: dice.role(), grants }
        }
        8 => Action::Mute {
            participant: Some(participant),
            sources: dice.sources(),
            muted: dice.flip(),
        },
        9 => Action::Mute { participant: None, sources: dice.sources(), muted: dice.flip() },
        10 | 11 => Action::GrantFloor { participant },
        12 => Action::DenyFloor { participant },
        _ => {
            let participant = dice.flip().then_some(participant);
            Action::ReleaseFloor { participant }
        }
    }
}

fn act(scene: &mut Scene, model: &mut Model, dice: &mut Dice, someone: &Person) {
    let by = dice.flip().then(|| model.people[dice.roll(model.people.len())].clone());
    let action = action(dice, someone.id.clone());
    let expected = model.act(by.as_ref().map(|p| p.id.as_str()), &action);
    let accepted = match by {
        None => {
            let actor = Actor::Key("key_1".to_owned());
            let ask = Ask::Act { actor, action: Box::new(action.clone()), version: None };
            scene.apply(Command::Standard { request: RequestId(1), ask });
            matches!(scene.replies.pop(), Some(Ok(Reply::Acted(_))))
        }
        Some(p) if p.waits => {
            scene.say(p.connection, Body::Act { id: 1, action: Box::new(action.clone()) });
            false
        }
        Some(p) => {
            let before = scene.commits.len();
            scene.say(p.connection, Body::Act { id: 1, action: Box::new(action.clone()) });
            match scene.clients.get_mut(&p.connection).and_then(|client| client.acted.pop()) {
                Some((_, result, _)) => result.is_some(),
                // It removed itself.
                None => scene.commits.len() > before,
            }
        }
    };
    let text = serde_json::to_string(&action).unwrap();
    assert_eq!(accepted, expected, "{text}");
}

fn publish(scene: &mut Scene, model: &mut Model, dice: &mut Dice, p: &Person) {
    let sources = dice.sources();
    scene.publish(p.connection, &sources);
    let fits = numbers(&sources).is_subset(&model.publishable(p)) && !p.waits;
    scene.answer();
    if fits {
        let tracks = numbers(&sources).into_iter().map(|source| (source, false)).collect();
        model.person(&p.id).unwrap().tracks = tracks;
    }
}

fn mute_own(scene: &mut Scene, model: &mut Model, dice: &mut Dice, p: &Person) {
    let Some(source) = p.tracks.keys().nth(dice.roll(4)).copied() else { return };
    let id: ParticipantId = p.id.parse().unwrap();
    let own = scene.room.members[&id].tracks.iter().find(|t| number(t.source) == source);
    let (track, muted) = (own.unwrap().id.to_string(), dice.flip());
    scene.say(p.connection, Body::Mute { track, muted });
    model.person(&p.id).unwrap().tracks.insert(source, muted);
}

fn ask_floor(scene: &mut Scene, model: &mut Model, dice: &mut Dice, p: &Person) {
    let wanted = dice.roll(3) > 0;
    scene.say(p.connection, Body::Floor { wanted });
    let known = model.holders.contains(&p.id) || model.requests.contains(&p.id);
    let lecture = model.settings.mode == Some(Mode::Lecture);
    if p.waits {
    } else if !wanted {
        model.holders.retain(|id| *id != p.id);
        model.requests.retain(|id| *id != p.id);
    } else if lecture && !known && !p.moderates() && p.role != Role::Viewer {
        model.requests.push(p.id.clone());
    }
}

fn renew(scene: &mut Scene, model: &mut Model, dice: &mut Dice, p: &Person) {
    let (role, grants) = (dice.role(), dice.grants());
    let stranger = dice.roll(4) == 0;
    let handle = if stranger { 99 } else { p.handle };
    let handle = Handle::parse(&format!("user-{handle}")).unwrap();
    let admission = Admission { handle, role, grants: grants.clone() };
    scene.apply(Command::Renew { connection: p.connection, admission });
    let new_viewer = role == Role::Viewer && p.role != Role::Viewer;
    let fits = !new_viewer || model.has_place(role, Some(&p.id));
    if !stranger && !p.waits && fits {
        let p = model.person(&p.id).unwrap();
        (p.role, p.token, p.granted) = (role, grants.clone(), grants);
    }
}

fn run(seed: u64) {
    let mut dice = Dice(seed);
    let base = RoomSettings {
        participants_max: Some(6),
        viewers_max: Some(2),
        duplicate_handles: Some(
            [DuplicateHandles::Reject, DuplicateHandles::Replace][dice.roll(2)],
        ),
        ..RoomSettings::default()
    };
    let charter = Charter::new(Kind::AdHoc, &base);
    let mut model = Model {
        settings: charter.settings.clone(),
        people: Vec::new(),
        all_silenced: BTreeSet::new(),
        holders: Vec::new(),
        requests: Vec::new(),
        banned: BTreeSet::new(),
        policy: rule(&mut dice),
        recording: None,
        was_empty: true,
    };
    let now = begin();
    let mut scene = Scene::of(charter.clone(), now);
    let mut node = Node::default();
    let policy = model.policy.clone().map(Box::new);
    scene.policy = Some(policy.map_or(Policy::Missing, Policy::Rule));
    for _ in 0..STEPS {
        let who = dice.roll(model.people.len().max(1));
        model.was_empty = model.is_empty();
        match (model.people.get(who).cloned(), dice.roll(13)) {
            (Some(p), 0) => {
                scene.say(p.connection, Body::Leave);
                model.people.retain(|other| other.id != p.id);
            }
            (Some(p), 1 | 2) => publish(&mut scene, &mut model, &mut dice, &p),
            (Some(p), 3) => mute_own(&mut scene, &mut model, &mut dice, &p),
            (Some(p), 4) => ask_floor(&mut scene, &mut model, &mut dice, &p),
            (Some(p), 12) => {
                let granted = dice.flip();
                scene.say(p.connection, Body::Consent { granted });
                if !p.waits {
                    model.person(&p.id).unwrap().consents = granted;
                }
            }
            (Some(p), 5) => renew(&mut scene, &mut model, &mut dice, &p),
            (Some(p), 6..=9) => act(&mut scene, &mut model, &mut dice, &p),
            _ => {
                let (handle, role, grants) = (dice.roll(9), dice.role(), dice.grants());
                model.join(&mut scene, handle, role, grants);
            }
        }
        model.settle();
        compare(&mut scene, &model, &mut node);
    }
    replay(&scene, charter, now);
}

/// The rules hang on nothing but commands, times and draws.
fn replay(scene: &Scene, charter: Charter, now: Instant) {
    let mut again = Room::new(RoomId::from_bits(1), charter, Vec::new(), draw(), (now, 1_000_000));
    for (command, at, effects) in &scene.history {
        let given: Vec<_> = again.handle(command.clone(), *at).iter().map(describe).collect();
        assert_eq!(given, *effects);
    }
}

#[test]
fn random_commands_do_what_the_model_says() {
    for seed in 0..RUNS {
        let result = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = result {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
