//! What is recorded, who says so, and who is told.

use sdk_spec::recording::{RecordingRule, StopReason};
use sfu_proto::id::RecordingId;

use super::*;

fn policy() -> RecordingRule {
    RecordingRule {
        target: Some("st_00000000000000000000000000".to_owned()),
        ..RecordingRule::default()
    }
}

fn consenting() -> RecordingRule {
    RecordingRule { consent: Some(true), ..policy() }
}

fn recorded(settings: &RoomSettings, policy: RecordingRule) -> Scene {
    let mut scene = scene(settings);
    scene.policy = Some(Policy::Rule(Box::new(policy)));
    scene
}

fn auto() -> RoomSettings {
    let rule = RecordingRule { auto: Some(true), ..RecordingRule::default() };
    RoomSettings { recording: Some(rule), ..settings() }
}

fn start() -> Action {
    Action::StartRecording { rule: None }
}

impl Scene {
    fn recorder(&mut self) -> ConnectionId {
        let mut who = admission("clerk");
        who.grants.record = true;
        self.enter(who)
    }

    fn tapped(&self) -> Option<usize> {
        self.tap.as_ref().map(|tap| tap.tracks.len())
    }

    fn taps(&self) -> usize {
        self.commands.iter().filter(|c| matches!(c, control::Command::SetTap { .. })).count()
    }

    fn stops(&self) -> Vec<StopReason> {
        let all = self.commits.iter().flat_map(|commit| &commit.recordings);
        let stops = all.filter_map(|change| match change {
            RecordingChange::Stopped { reason, .. } => Some(*reason),
            _ => None,
        });
        stops.collect()
    }

    fn is_told(&self, client: ConnectionId) -> bool {
        self.clients[&client].room.as_ref().unwrap().recording.is_some()
    }

    fn audits(&self) -> Vec<&'static str> {
        let all = self.commits.iter().flat_map(|commit| &commit.audits);
        all.map(|(_, what, _)| *what).filter(|what| what.starts_with("recording.")).collect()
    }
}

#[test]
fn everybody_is_told_and_it_is_stored_before_the_first_packet() {
    let mut scene = recorded(&settings(), policy());
    let (clerk, other) = (scene.recorder(), scene.join());
    scene.camera(other);
    scene.stores = false;
    scene.say(clerk, Body::Act { id: 1, action: Box::new(start()) });
    assert!(scene.is_told(clerk) && scene.is_told(other));
    assert!(scene.tap.is_none() && scene.clients[&clerk].acted.is_empty(), "not stored yet");
    scene.store();
    assert_eq!(scene.tapped(), Some(1));
    let (_, result, _) = scene.clients.get_mut(&clerk).unwrap().acted.pop().unwrap();
    let id = scene.tap.as_ref().unwrap().recording.to_string();
    assert_eq!(result.unwrap().recording, Some(id));
    let late = scene.join();
    assert!(scene.is_told(late), "with `joined`");
    scene.say(clerk, Body::Act { id: 2, action: Box::new(Action::StopRecording {}) });
    assert!(scene.tap.is_none(), "at once, whatever the store does");
    assert!(!scene.is_told(other));
}

fn with_texts(rule: RecordingRule) -> RecordingRule {
    RecordingRule { data: Some(true), ..rule }
}

impl Scene {
    fn chatty(&mut self, handle: &str, role: Role) -> ConnectionId {
        let mut who = who(handle, role);
        who.grants.data = true;
        self.enter(who)
    }

    /// What of a text the recorder got: to how many it was, if it got it.
    fn text(&mut self, from: ConnectionId, to: &[ConnectionId]) -> Option<usize> {
        let before = self.recorded.len();
        let to = to.iter().map(|client| self.id(*client)).collect();
        self.say(from, Body::Data { to, body: "hello".to_owned() });
        assert!(self.recorded.len() <= before + 1, "once");
        let text = self.recorded.get(before)?;
        assert!(text.body == "hello" && text.from.to_string() == self.clients[&from].me);
        assert_eq!(Some(text.recording), self.room.recording());
        Some(text.to.len())
    }
}

#[test]
fn texts_are_recorded_only_where_the_rule_says_so_and_everybody_is_told_that() {
    let mut scene = recorded(&settings(), policy());
    let (a, b) = (scene.chatty("a", Role::Participant), scene.join());
    assert_eq!(scene.text(a, &[]), None, "nothing is recorded at all");
    scene.order(start()).ok().unwrap();
    assert_eq!(scene.text(a, &[]), None, "texts are not unless the rule says so");
    assert!(!scene.clients[&b].room.as_ref().unwrap().recording.as_ref().unwrap().data);
    scene.order(Action::StopRecording {}).ok().unwrap();
    let rule = RecordingRule { data: Some(true), ..RecordingRule::default() };
    scene.order(Action::StartRecording { rule: Some(rule) }).ok().unwrap();
    assert!(scene.clients[&b].room.as_ref().unwrap().recording.as_ref().unwrap().data);
    assert_eq!(scene.text(a, &[]), Some(0));
    assert_eq!(scene.text(a, &[b]), Some(1));
    assert_eq!(scene.clients[&b].texts.len(), 4, "recorded or not, it arrives");
    scene.say(a, Body::Data { to: vec!["pa_nobody".to_owned()], body: "hello".to_owned() });
    assert_eq!(scene.recorded.len(), 2, "what reached nobody is not said to everybody");
    scene.order(Action::StopRecording {}).ok().unwrap();
    assert_eq!(scene.text(a, &[]), None);
}

#[test]
fn texts_of_and_to_those_who_do_not_consent_are_not_recorded() {
    let mut scene = recorded(&settings(), with_texts(consenting()));
    let [a, b, c] = ["a", "b", "c"].map(|handle| scene.chatty(handle, Role::Participant));
    scene.order(start()).ok().unwrap();
    assert_eq!(scene.text(a, &[]), None);
    scene.say(a, Body::Consent { granted: true });
    assert_eq!(scene.text(a, &[]), Some(0), "to everybody: as if said aloud");
    assert_eq!(scene.text(a, &[b]), None, "in private: both must");
    assert_eq!(scene.text(b, &[a]), None);
    scene.say(b, Body::Consent { granted: true });
    assert_eq!((scene.text(a, &[b]), scene.text(a, &[b, c])), (Some(1), None));
    scene.stores = false;
    scene.say(b, Body::Consent { granted: false });
    assert_eq!((scene.text(b, &[]), scene.text(a, &[b])), (None, None), "at once");
    scene.say(b, Body::Consent { granted: true });
    assert_eq!(scene.text(b, &[]), None, "not before it is stored");
    scene.store();
    assert_eq!(scene.text(b, &[a]), Some(1));
}

#[test]
fn texts_are_not_recorded_in_a_pause_nor_of_other_roles_nor_of_who_was_not_told() {
    let teachers = RecordingRule { roles: vec![Role::Moderator], ..with_texts(policy()) };
    let mut scene = recorded(&settings(), teachers);
    let teacher = scene.chatty("teacher", Role::Moderator);
    let pupil = scene.chatty("pupil", Role::Participant);
    let other = scene.chatty("other", Role::Moderator);
    scene.order(start()).ok().unwrap();
    assert_eq!((scene.text(teacher, &[]), scene.text(teacher, &[other])), (Some(0), Some(1)));
    assert_eq!((scene.text(pupil, &[]), scene.text(teacher, &[pupil])), (None, None));
    scene.stores = false;
    scene.order_unanswered(Action::PauseRecording {});
    assert_eq!(scene.text(teacher, &[]), None, "at once");
    scene.store();
    scene.order_unanswered(Action::ResumeRecording {});
    assert_eq!(scene.text(teacher, &[]), None, "until it is stored");
    scene.store();
    assert_eq!(scene.text(teacher, &[]), Some(0));
    scene.stores = true;
    scene.is_attentive = false;
    scene.order(Action::PauseRecording {}).ok().unwrap();
    scene.order(Action::ResumeRecording {}).ok().unwrap();
    assert_eq!(scene.text(teacher, &[other]), None, "it does not know yet that it goes on");
    assert_eq!(scene.text(teacher, &[]), Some(0), "who speaks acknowledges");
    scene.say(other, Body::Ping);
    assert_eq!(scene.text(teacher, &[other]), Some(1));
}

impl Scene {
    fn order_unanswered(&mut self, action: Action) {
        let actor = Actor::Key("key_1".to_owned());
        let ask = Ask::Act { actor, action: Box::new(action), version: None };
        self.apply(Command::Standard { request: RequestId(9), ask });
    }
}

#[test]
fn the_grant_to_record_is_needed_and_the_right_to_moderate_is_not_enough() {
    let mut scene = recorded(&settings(), policy());
    let (boss, clerk) = (scene.moderator(), scene.recorder());
    assert_eq!(scene.act(boss, start()).err(), Some(ActionRefusal::NotPermitted));
    let named = Action::StartRecording { rule: Some(RecordingRule::default()) };
    assert_eq!(scene.act(clerk, named.clone()).err(), Some(ActionRefusal::NotPermitted));
    let auto = Action::Update { settings: auto() };
    assert_eq!(scene.act(boss, auto).err(), Some(ActionRefusal::NotPermitted));
    assert_eq!(scene.act(clerk, Action::StopRecording {}).err(), Some(ActionRefusal::WrongState));
    assert!(scene.act(clerk, start()).is_ok());
    assert_eq!(scene.order(named).err(), Some(ActionRefusal::WrongState), "one at a time");
    for stop in [Action::PauseRecording {}, Action::ResumeRecording {}, Action::StopRecording {}] {
        assert_eq!(scene.act(boss, stop).err(), Some(ActionRefusal::NotPermitted));
    }
    assert!(scene.order(Action::StopRecording {}).is_ok());
}

#[test]
fn nothing_is_recorded_without_a_policy_or_a_place_to_push_it_to() {
    let mut scene = scene(&auto());
    let clerk = scene.recorder();
    assert_eq!(scene.act(clerk, start()).err(), Some(ActionRefusal::NotConfigured));
    scene.policy = Some(Policy::Rule(Box::default()));
    assert_eq!(scene.order(start()).err(), Some(ActionRefusal::NotConfigured));
    scene.policy = Some(Policy::Unavailable);
    assert_eq!(scene.order(start()).err(), Some(ActionRefusal::Unavailable));
    let named = Action::StartRecording { rule: Some(policy()) };
    scene.policy = Some(Policy::Rule(Box::default()));
    assert!(scene.order(named).is_ok(), "a request may name the place");
}

#[test]
fn the_request_is_over_the_room_and_the_room_over_the_policy() {
    let room = RecordingRule {
        consent: Some(false),
        sources: vec![Source::Camera],
        ..RecordingRule::default()
    };
    let set = RoomSettings { recording: Some(room), ..settings() };
    let mut scene = recorded(&set, consenting());
    let client = scene.join();
    let rule = RecordingRule { sources: vec![Source::Microphone], ..RecordingRule::default() };
    scene.order(Action::StartRecording { rule: Some(rule) }).ok().unwrap();
    let told = scene.clients[&client].room.as_ref().unwrap().recording.clone().unwrap();
    assert!(!told.consent && told.sources == [Source::Microphone]);
    let stored = scene.commits.iter().flat_map(|commit| &commit.recordings).next();
    assert!(matches!(stored, Some(RecordingChange::Started { rule, .. }) if rule.target.is_some()));
    scene.publish(client, &[Source::Camera, Source::Microphone]);
    scene.answer();
    assert_eq!(scene.tapped(), Some(1));
}

#[test]
fn with_the_gate_only_those_who_consented_are_recorded_and_withdrawal_waits_for_nothing() {
    let mut scene = recorded(&settings(), consenting());
    let (a, b) = (scene.join(), scene.join());
    scene.camera(a);
    scene.camera(b);
    scene.order(start()).ok().unwrap();
    assert_eq!(scene.tapped(), Some(0), "it is told to the recorder, with nobody");
    scene.say(a, Body::Consent { granted: true });
    scene.say(b, Body::Consent { granted: true });
    assert_eq!(scene.tapped(), Some(2));
    scene.stores = false;
    let before = scene.taps();
    scene.say(a, Body::Consent { granted: false });
    assert_eq!((scene.tapped(), scene.taps()), (Some(1), before + 1), "with the same command");
    scene.say(a, Body::Consent { granted: true });
    scene.say(a, Body::Consent { granted: false });
    scene.store();
    assert_eq!(scene.tapped(), Some(1), "what was stored meanwhile is no consent");
    let changes = scene.kinds().iter().filter(|kind| **kind == "consent.changed").count();
    assert_eq!(changes, 5);
    scene.say(b, Body::Leave);
    scene.say(a, Body::Consent { granted: true });
    scene.store();
    assert_eq!(scene.tapped(), Some(1));
}

#[test]
fn a_pause_takes_everything_out_at_once_and_the_same_recording_goes_on() {
    let mut scene = recorded(&settings(), policy());
    let (clerk, other) = (scene.recorder(), scene.join());
    scene.camera(other);
    scene.act(clerk, start()).ok().unwrap();
    let id = scene.tap.as_ref().unwrap().recording;
    scene.stores = false;
    scene.say(clerk, Body::Act { id: 2, action: Box::new(Action::PauseRecording {}) });
    assert_eq!(scene.tapped(), Some(0));
    assert!(scene.clients[&other].room.as_ref().unwrap().recording.as_ref().unwrap().paused);
    scene.store();
    assert_eq!(
        scene.act_refused(clerk, Action::PauseRecording {}),
        Some(ActionRefusal::WrongState)
    );
    scene.say(clerk, Body::Act { id: 3, action: Box::new(Action::ResumeRecording {}) });
    assert_eq!(scene.tapped(), Some(0), "until it is stored");
    scene.store();
    assert!(scene.tapped() == Some(1) && scene.tap.as_ref().unwrap().recording == id);
    scene.stores = true;
    scene.store();
    scene.act(clerk, Action::StopRecording {}).ok().unwrap();
    let wanted = ["recording.start", "recording.pause", "recording.resume", "recording.stop"];
    assert_eq!(scene.audits(), wanted);
}

impl Scene {
    fn act_refused(&mut self, client: ConnectionId, action: Action) -> Option<ActionRefusal> {
        self.say(client, Body::Act { id: 9, action: Box::new(action) });
        self.clients.get_mut(&client).unwrap().acted.pop().and_then(|(_, _, refused)| refused)
    }
}

#[test]
fn who_is_cut_when_it_begins_is_recorded_when_it_is_back() {
    let mut scene = recorded(&settings(), policy());
    let (clerk, other) = (scene.recorder(), scene.join());
    scene.camera(other);
    scene.detach(other);
    scene.act(clerk, start()).ok().unwrap();
    assert_eq!(scene.tapped(), Some(0), "it was not told");
    let mirror = scene.cut.pop().unwrap();
    let other = scene.resume(mirror);
    assert!(scene.is_told(other) && scene.tapped() == Some(1));
    scene.detach(other);
    assert_eq!(scene.tapped(), Some(1), "a cut later changes nothing");
}

#[test]
fn nobody_is_recorded_who_did_not_acknowledge_to_be_told() {
    let mut scene = recorded(&settings(), policy());
    let (a, b) = (scene.join(), scene.join());
    scene.camera(a);
    scene.camera(b);
    scene.is_attentive = false;
    scene.order(start()).ok().unwrap();
    assert!(scene.is_told(a) && scene.is_told(b) && scene.tapped() == Some(0));
    let stale = scene.clients[&a].received - 1;
    let sent = scene.clients[&a].sent + 1;
    scene.clients.get_mut(&a).unwrap().sent = sent;
    let input = ClientInput { seq: sent, ack: stale, body: Body::Ping };
    scene.apply(Command::Client { connection: a, input });
    assert_eq!(scene.tapped(), Some(0), "it acknowledged what was before");
    scene.say(a, Body::Ping);
    assert_eq!(scene.tapped(), Some(1));
    scene.say(b, Body::Ping);
    assert_eq!(scene.tapped(), Some(2));
    let late = scene.join();
    scene.publish(late, &[Source::Camera]);
    scene.answer();
    assert_eq!(scene.tapped(), Some(3), "its offer came after `joined`");
    scene.order(Action::PauseRecording {}).ok().unwrap();
    scene.order(Action::ResumeRecording {}).ok().unwrap();
    assert_eq!(scene.tapped(), Some(0), "that it goes on is told anew");
    scene.say(b, Body::Ping);
    assert_eq!(scene.tapped(), Some(1));
    scene.detach(late);
    let mirror = scene.cut.pop().unwrap();
    scene.resume(mirror);
    assert_eq!(scene.tapped(), Some(2), "a resume says what it has");
}

#[test]
fn who_cannot_be_told_is_recorded_only_if_the_rule_says_so() {
    let untold = RecordingRule { untold: Some(true), ..policy() };
    let gate = RecordingRule { consent: Some(true), ..untold.clone() };
    for (rule, expected) in [(policy(), 0), (untold, 1), (gate, 0)] {
        let mut scene = recorded(&settings(), rule);
        scene.join();
        let whip = Ask::Open {
            kind: Standard::Whip,
            admission: admission("camera-1"),
            offer: offer(&[("0", sdp::Kind::Video, Direction::SendOnly)]),
        };
        scene.apply(Command::Standard { request: RequestId(1), ask: whip });
        scene.answer();
        scene.order(start()).ok().unwrap();
        assert_eq!(scene.tapped(), Some(expected));
    }
}

#[test]
fn by_rule_it_starts_with_the_first_participant_of_each_session() {
    let mut scene = recorded(&auto(), policy());
    scene.wait(40);
    assert!(scene.commits.is_empty(), "nobody is in");
    let client = scene.join();
    scene.camera(client);
    assert!(scene.is_told(client) && scene.tapped() == Some(1));
    scene.say(client, Body::Leave);
    scene.wait(20);
    let back = scene.join();
    scene.camera(back);
    assert!(scene.stops().is_empty() && scene.tapped() == Some(1), "the same one goes on");
    scene.say(back, Body::Leave);
    scene.wait(29);
    assert!(scene.stops().is_empty());
    scene.wait(1);
    assert_eq!(scene.stops(), [StopReason::Empty]);
    let third = scene.join();
    assert!(scene.is_told(third));
    assert!(scene.order(Action::StopRecording {}).is_ok());
    let fourth = scene.join();
    assert!(!scene.is_told(fourth), "who stopped it is not overruled");
    scene.apply(Command::Close);
    assert_eq!(scene.stops(), [StopReason::Empty, StopReason::Requested]);
}

#[test]
fn a_policy_that_cannot_be_looked_up_is_asked_for_again_for_the_rule() {
    let mut scene = recorded(&auto(), policy());
    scene.policy = None;
    let client = scene.join();
    assert!(scene.unanswered == 1 && !scene.is_told(client));
    scene.unanswered = 0;
    scene.apply(Command::Policy(Policy::Unavailable));
    assert_eq!(scene.unanswered, 1);
    scene.unanswered = 0;
    scene.apply(Command::Policy(Policy::Rule(Box::new(policy()))));
    assert!(scene.is_told(client));
    scene.apply(Command::Policy(Policy::Rule(Box::new(policy()))));
    assert_eq!(scene.commits.iter().flat_map(|commit| &commit.recordings).count(), 1);
}

#[test]
fn what_the_store_does_not_begin_is_taken_back_and_refused() {
    let mut scene = recorded(&settings(), policy());
    let client = scene.join();
    scene.camera(client);
    scene.stores = false;
    let ask = Ask::Act {
        actor: Actor::Key("key_1".to_owned()),
        action: Box::new(start()),
        version: None,
    };
    scene.apply(Command::Standard { request: RequestId(7), ask });
    let id = scene.commits.iter().flat_map(|commit| &commit.recordings).find_map(|c| match c {
        RecordingChange::Started { id, .. } => Some(*id),
        _ => None,
    });
    assert!(scene.is_told(client) && scene.replies.is_empty());
    let why = ActionRefusal::NotConfigured;
    scene.apply(Command::RecordingsRefused(vec![(id.unwrap(), why)]));
    assert!(!scene.is_told(client));
    scene.store();
    let refused = Refusal::Action(why);
    assert!(matches!(scene.replies.pop(), Some(Err(error)) if error == refused));
    assert!(scene.tap.is_none() && scene.stops().is_empty(), "there is no row to stop");
    scene.stores = true;
    assert!(scene.order(start()).is_ok(), "it can be asked for again");
}

#[test]
fn by_rule_it_waits_for_a_place() {
    let mut scene = recorded(&auto(), policy());
    scene.policy = None;
    let client = scene.join();
    for why in [ActionRefusal::QuotaExceeded, ActionRefusal::RecorderFull] {
        scene.unanswered = 0;
        scene.apply(Command::Policy(Policy::Full(Box::new(policy()), why)));
        assert_eq!(scene.unanswered, 1, "asked for again");
    }
    let mut other = recorded(&settings(), policy());
    other.policy = None;
    other.join();
    other.unanswered = 0;
    let full = Policy::Full(Box::new(policy()), ActionRefusal::RecorderFull);
    other.apply(Command::Policy(full));
    assert_eq!(other.unanswered, 0, "nobody wants it");
    scene.apply(Command::Policy(Policy::Rule(Box::new(policy()))));
    scene.policy = Some(Policy::Full(Box::new(policy()), ActionRefusal::RecorderFull));
    assert!(scene.is_told(client));
    scene.order(Action::StopRecording {}).ok().unwrap();
    assert_eq!(scene.order(start()).err(), Some(ActionRefusal::RecorderFull));
}

#[test]
fn a_worker_that_started_over_is_told_again_what_is_recorded() {
    let mut scene = recorded(&settings(), policy());
    let (a, b) = (scene.join(), scene.join());
    scene.camera(a);
    scene.publish(b, &[]);
    scene.order(start()).ok().unwrap();
    let before = scene.taps();
    let session = scene.room.members.values().find(|m| m.info.id == scene.clients[&b].me);
    let session = session.unwrap().session;
    let reason = control::EndReason::Internal;
    scene.apply(Command::Media(Event::SessionEnded { session, reason }));
    assert_eq!((scene.tapped(), scene.taps()), (Some(1), before + 1), "the same, again");
}

#[test]
fn it_ends_with_the_room_its_node_its_time_and_when_the_recorder_fails() {
    let mut scene = recorded(&auto(), policy());
    scene.join();
    scene.apply(Command::MediaLost);
    assert_eq!(scene.stops(), [StopReason::NodeLost]);
    scene.join();
    let live = scene.tap.as_ref().unwrap().recording;
    let stranger = RecordingId::from_bits(5);
    let reason = StopReason::DiskFull;
    scene.apply(Command::RecordingFailed { recording: stranger, reason });
    assert_eq!(scene.stops().len(), 1);
    scene.apply(Command::RecordingFailed { recording: live, reason });
    assert_eq!(scene.stops()[1], StopReason::DiskFull);
    assert!(scene.tap.is_none());
    scene.order(start()).ok().unwrap();
    scene.live(u64::from(sdk_spec::limits::RECORDING_SECONDS_MAX) + 5);
    assert_eq!(scene.stops()[2], StopReason::Duration);
    assert!(scene.tap.is_some(), "by rule the next one follows");
    scene.policy = None;
    scene.unanswered = 0;
    scene.apply(Command::RecorderLost);
    assert_eq!(scene.stops()[3..], [StopReason::RecorderFailed]);
    assert_eq!((scene.tap.is_none(), scene.unanswered), (true, 1), "by rule it is asked for again");
    scene.apply(Command::RecorderLost);
    assert_eq!(scene.stops().len(), 4, "there is none");
    scene.apply(Command::Policy(Policy::Rule(Box::new(policy()))));
    scene.apply(Command::Close);
    assert_eq!(scene.stops()[4..], [StopReason::RoomEnded]);
    assert!(!scene.room_open);
}

#[test]
fn a_store_that_is_behind_or_jammed_keeps_nobody_from_pausing_stopping_and_withdrawing() {
    for is_jammed in [true, false] {
        let mut scene = recorded(&settings(), consenting());
        let (clerk, client) = (scene.recorder(), scene.join());
        scene.camera(client);
        scene.order(start()).ok().unwrap();
        scene.say(client, Body::Consent { granted: true });
        scene.say(client, Body::Ping);
        assert_eq!(scene.tapped(), Some(1));
        scene.stores = false;
        scene.room.jam(is_jammed);
        let update = Action::Update { settings: settings() };
        let fill = if is_jammed { 1 } else { limits::COMMITS_PENDING_MAX + 1 };
        for id in 1..=fill {
            scene.say(clerk, Body::Act { id, action: Box::new(start()) });
            let ask = Ask::Act {
                actor: Actor::Key("key_1".to_owned()),
                action: Box::new(update.clone()),
                version: None,
            };
            scene.apply(Command::Standard { request: RequestId(id), ask });
        }
        let refused = scene.replies.pop().unwrap().err().unwrap();
        assert_eq!(refused, Refusal::Action(ActionRefusal::Unavailable));
        scene.say(client, Body::Consent { granted: false });
        assert_eq!(scene.tapped(), Some(0), "withdrawn");
        scene.say(client, Body::Consent { granted: true });
        let act = |id, action| Body::Act { id, action: Box::new(action) };
        scene.say(clerk, act(8_000, Action::PauseRecording {}));
        assert!(scene.clients[&client].room.as_ref().unwrap().recording.as_ref().unwrap().paused);
        scene.say(clerk, act(8_001, Action::ResumeRecording {}));
        assert!(scene.clients[&client].room.as_ref().unwrap().recording.as_ref().unwrap().paused);
        scene.say(clerk, act(8_002, Action::StopRecording {}));
        assert!(scene.tap.is_none() && !scene.is_told(client), "at once");
        scene.room.jam(false);
        scene.store();
        assert_eq!(scene.stops(), [StopReason::Requested]);
    }
}

#[test]
fn a_recording_that_is_told_by_its_id_is_no_other() {
    let mut scene = recorded(&settings(), policy());
    let client = scene.join();
    scene.order(start()).ok().unwrap();
    let first = scene.room.recording().unwrap();
    scene.order(Action::StopRecording {}).ok().unwrap();
    scene.order(start()).ok().unwrap();
    let second = scene.room.recording().unwrap();
    let mut turn = |recording, action| {
        let action = Box::new(action);
        let ask = Ask::Turn { actor: Actor::Key("key_1".to_owned()), recording, action };
        scene.apply(Command::Standard { request: RequestId(7), ask });
        (scene.replies.pop().unwrap().is_ok(), scene.is_told(client))
    };
    assert_eq!(turn(first, Action::StopRecording {}), (false, true));
    assert_eq!(turn(second, Action::PauseRecording {}), (true, true));
    assert_eq!(turn(second, Action::StopRecording {}), (true, false));
    assert_eq!(turn(second, Action::StopRecording {}), (false, false));
}

#[test]
fn a_start_that_waits_when_the_room_ends_is_answered_and_starts_are_bounded() {
    let mut scene = recorded(&settings(), policy());
    scene.join();
    for _ in 0..sdk_spec::limits::RECORDINGS_PER_HOUR_MAX {
        scene.order(start()).ok().unwrap();
        scene.order(Action::StopRecording {}).ok().unwrap();
    }
    assert_eq!(scene.order(start()).err(), Some(ActionRefusal::OutOfRange));
    scene.live(3600);
    scene.policy = None;
    let ask = Ask::Act {
        actor: Actor::Key("key_1".to_owned()),
        action: Box::new(start()),
        version: None,
    };
    scene.apply(Command::Standard { request: RequestId(7), ask });
    assert!(scene.replies.is_empty());
    scene.apply(Command::Close);
    let refused = Refusal::Action(ActionRefusal::WrongState);
    assert!(matches!(scene.replies.pop(), Some(Err(error)) if error == refused));
    scene.apply(Command::Policy(Policy::Rule(Box::new(policy()))));
    assert!(scene.tap.is_none() && scene.ended);
}
