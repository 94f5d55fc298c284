//! Each rule on its own: kinds, lobby, roles, caps, floor, muting, what is shown, bans, breakouts.

mod closing;
mod people;
mod recording;

use sdk_spec::{
    action::Action,
    event::{RoomEnd, What},
    room::{Audience, DuplicateHandles, Kind, Mode, RoomSettings},
};

use super::*;

/// The wall when a scene begins.
const BEGIN_MS: u64 = 1_000_000;

fn settings() -> RoomSettings {
    RoomSettings::default()
}

fn scene(settings: &RoomSettings) -> Scene {
    Scene::of(Charter::new(Kind::AdHoc, settings), begin())
}

fn who(handle: &str, role: Role) -> Admission {
    Admission { role, ..admission(handle) }
}

impl Scene {
    fn enter(&mut self, who: Admission) -> ConnectionId {
        let connection = self.connect(Mirror::default());
        self.apply(Command::Join { connection, admission: who });
        connection
    }

    fn moderator(&mut self) -> ConnectionId {
        self.enter(who("boss", Role::Moderator))
    }

    fn is_in(&self, client: ConnectionId) -> bool {
        self.clients.get(&client).is_some_and(|c| !c.waits && !c.me.is_empty())
    }

    fn id(&self, client: ConnectionId) -> String {
        self.clients[&client].me.clone()
    }

    /// What a client's action gave.
    fn act(&mut self, client: ConnectionId, action: Action) -> Result<ActionResult, ActionRefusal> {
        self.say(client, Body::Act { id: 1, action: Box::new(action) });
        let (_, result, refused) = self.clients.get_mut(&client).unwrap().acted.pop().unwrap();
        result.ok_or_else(|| refused.unwrap())
    }

    /// What the partner's action gave.
    fn order(&mut self, action: Action) -> Result<ActionResult, ActionRefusal> {
        let ask = Ask::Act {
            actor: Actor::Key("key_1".to_owned()),
            action: Box::new(action),
            version: None,
        };
        self.apply(Command::Standard { request: RequestId(7), ask });
        match self.replies.pop() {
            Some(Ok(Reply::Acted(result))) => Ok(result),
            Some(Err(Refusal::Action(refused))) => Err(refused),
            _ => panic!("an answer to the action"),
        }
    }

    fn update(&mut self, settings: RoomSettings) {
        self.order(Action::Update { settings }).ok().unwrap();
    }

    fn events(&self) -> impl DoubleEndedIterator<Item = &What> {
        self.commits.iter().flat_map(|commit| commit.events.iter().map(|(_, what)| what))
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events().map(What::kind).collect()
    }

    /// Time passes with everybody alive.
    fn live(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(5) {
            self.wait(5);
            for client in self.clients.keys().copied().collect::<Vec<_>>() {
                self.say(client, Body::Ping);
            }
        }
    }

    fn error(&self, client: ConnectionId) -> Option<ErrorCode> {
        self.clients.get(&client)?.errors.last().map(|(code, _)| *code)
    }

    fn refused(&self) -> Option<ErrorCode> {
        self.turned_off.last()?.errors.last().map(|(code, _)| *code)
    }

    fn left(&self) -> Option<LeaveReason> {
        self.turned_off.last()?.left
    }

    fn camera(&mut self, client: ConnectionId) -> String {
        self.publish(client, &[Source::Camera]);
        self.answer();
        let id: ParticipantId = self.id(client).parse().unwrap();
        self.room.members[&id].tracks[0].id.to_string()
    }
}

#[test]
fn a_scheduled_room_opens_15_minutes_before_and_ends_on_time() {
    let now = begin();
    let mut charter = Charter::new(Kind::Scheduled, &settings());
    charter.starts_at_ms = Some(BEGIN_MS + 1_000_000);
    charter.duration_seconds = Some(60);
    let mut scene = Scene::of(charter, now);
    scene.wait(99);
    let early = scene.moderator();
    assert!(!scene.is_in(early) && scene.refused() == Some(ErrorCode::RoomNotOpen));
    scene.wait(1);
    let client = scene.moderator();
    assert!(scene.is_in(client));
    scene.say(client, Body::Leave);
    scene.wait(959);
    assert!(!scene.ended, "being empty does not end it");
    scene.wait(1);
    assert!(scene.ended);
    assert!(matches!(scene.events().last(), Some(What::RoomEnded { reason: RoomEnd::Duration })));
}

#[test]
fn an_ad_hoc_rooms_duration_begins_with_the_first_join_and_can_be_extended() {
    let now = begin();
    let mut charter = Charter::new(Kind::AdHoc, &settings());
    charter.duration_seconds = Some(60);
    let mut scene = Scene::of(charter, now);
    assert_eq!(scene.order(Action::Extend { seconds: 1 }).err(), Some(ActionRefusal::WrongState));
    scene.wait(100);
    let client = scene.moderator();
    let charter = scene.commits.last().unwrap().charter.as_ref().unwrap();
    assert_eq!((charter.ends_at_ms, charter.version), (Some(BEGIN_MS + 160_000), 2));
    scene.act(client, Action::Extend { seconds: 60 }).ok().unwrap();
    assert_eq!(scene.order(Action::Extend { seconds: 0 }).err(), Some(ActionRefusal::OutOfRange));
    scene.live(115);
    assert!(scene.is_in(client));
    scene.live(5);
    assert!(scene.ended && scene.left() == Some(LeaveReason::RoomClosed));
    let kinds = scene.kinds();
    assert_eq!(kinds[..3], ["room.started", "participant.joined", "room.extended"]);
    assert_eq!(kinds[3..], ["participant.left", "room.ended"]);
}

#[test]
fn a_permanent_room_outlives_emptiness_and_loses_people_without_a_moderator() {
    let set = RoomSettings { moderator_timeout_seconds: Some(30), ..settings() };
    let mut scene = Scene::of(Charter::new(Kind::Permanent, &set), begin());
    let boss = scene.moderator();
    let client = scene.join();
    scene.say(boss, Body::Leave);
    scene.live(25);
    assert!(scene.is_in(client));
    scene.live(5);
    assert!(!scene.is_in(client) && !scene.ended && scene.left() == Some(LeaveReason::Removed));
    assert_eq!(scene.room.deadline(), None);
}

#[test]
fn an_ad_hoc_room_ends_when_its_moderator_stays_away() {
    let mut scene = scene(&RoomSettings { moderator_timeout_seconds: Some(30), ..settings() });
    let (boss, client) = (scene.moderator(), scene.join());
    scene.say(boss, Body::Leave);
    scene.live(20);
    let boss = scene.moderator();
    scene.live(60);
    assert!(scene.is_in(client), "a moderator is here again");
    scene.say(boss, Body::Leave);
    scene.live(30);
    assert!(scene.ended);
    let end = scene.events().last();
    assert!(matches!(end, Some(What::RoomEnded { reason: RoomEnd::NoModerator })));
}

#[test]
fn answers_wait_for_the_store_and_a_store_that_is_behind_takes_nothing_new() {
    let mut scene = scene(&settings());
    let boss = scene.moderator();
    scene.stores = false;
    let lock = |locked| RoomSettings { locked: Some(locked), ..settings() };
    let act = |settings| Body::Act { id: 3, action: Box::new(Action::Update { settings }) };
    scene.say(boss, act(lock(true)));
    assert!(scene.clients[&boss].acted.is_empty());
    assert!(scene.clients[&boss].room.as_ref().unwrap().locked, "what happened is told at once");
    scene.store();
    assert_eq!(scene.clients[&boss].acted.len(), 1);
    for n in 0..limits::COMMITS_PENDING_MAX {
        scene.say(boss, act(lock(n % 2 == 1)));
    }
    assert_eq!(scene.clients[&boss].acted.len(), 1, "none is stored");
    scene.say(boss, act(lock(false)));
    let last = scene.clients[&boss].acted.last().unwrap();
    assert_eq!(last.2, Some(ActionRefusal::Unavailable));
    let late = scene.join();
    assert!(!scene.is_in(late) && scene.refused() == Some(ErrorCode::NoCapacity));
    scene.publish(boss, &[Source::Camera]);
    assert!(scene.offers.is_empty() && scene.error(boss) == Some(ErrorCode::NoCapacity));
    scene.store();
    assert_eq!(scene.clients[&boss].acted.len() as u64, 2 + limits::COMMITS_PENDING_MAX);
    assert!(scene.act(boss, Action::Update { settings: lock(false) }).is_ok());
}

#[test]
fn a_commit_comes_first_and_names_who_did_what() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.join());
    let (me, other) = (scene.id(boss), scene.id(client));
    let eject = Action::Eject { participant: other.clone(), ban_seconds: Some(60) };
    let body = Body::Act { id: 1, action: Box::new(eject) };
    let effects = scene.room.handle(
        Command::Client { connection: boss, input: ClientInput { seq: 1, ack: 0, body } },
        scene.now,
    );
    let Effect::Commit(commit) = &effects[0] else { panic!("first") };
    let actor = Actor::Client(me.parse().unwrap());
    assert!(commit.audits == [(actor, "participant.eject", other)]);
    assert!(commit.bans[0].until_ms == Some(BEGIN_MS + 60_000));
    let closes = effects.iter().position(|e| matches!(e, Effect::Disconnect { .. }));
    assert!(closes.is_some(), "gone in the same effects");
}

#[test]
fn lecture_mode_takes_the_word_from_all_but_moderators_and_gives_it_back() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.join());
    scene.camera(boss);
    scene.camera(client);
    scene.update(RoomSettings { mode: Some(Mode::Lecture), ..settings() });
    assert_eq!(scene.room.tracks.len(), 1);
    assert!(scene.clients[&client].grants.publish.is_empty());
    let told = scene.commands.iter().filter(|c| {
        matches!(c, control::Command::SetPermissions { permissions, .. } if permissions.publish.is_empty())
    });
    assert_eq!(told.count(), 1);
    scene.publish(client, &[Source::Camera]);
    assert_eq!(scene.error(client), Some(ErrorCode::NotPermitted));
    scene.update(RoomSettings { mode: Some(Mode::Group), ..settings() });
    assert_eq!(scene.clients[&client].grants.publish, ALL);
}

#[test]
fn the_floor_is_asked_for_given_denied_taken_and_lost_by_leaving() {
    let mut scene = scene(&RoomSettings { mode: Some(Mode::Lecture), ..settings() });
    let (boss, a, b) = (scene.moderator(), scene.join(), scene.join());
    let (ida, idb) = (scene.id(a), scene.id(b));
    scene.say(a, Body::Floor { wanted: true });
    scene.say(b, Body::Floor { wanted: true });
    assert_eq!(scene.clients[&boss].floor.1, [ida.clone(), idb.clone()]);
    assert_eq!(scene.clients[&b].floor.1, [idb.as_str()], "others see themselves only");
    scene.act(boss, Action::GrantFloor { participant: ida.clone() }).ok().unwrap();
    assert_eq!(scene.clients[&b].floor.0, [ida.as_str()]);
    assert_eq!(scene.clients[&a].grants.publish, ALL);
    let taken = scene.act(boss, Action::GrantFloor { participant: idb.clone() });
    assert_eq!(taken.err(), Some(ActionRefusal::FloorTaken));
    scene.camera(a);
    scene.say(a, Body::Leave);
    assert!(scene.clients[&b].floor.0.is_empty(), "leaving frees it");
    scene.act(boss, Action::DenyFloor { participant: idb.clone() }).ok().unwrap();
    assert!(scene.clients[&boss].floor.1.is_empty());
    scene.act(boss, Action::GrantFloor { participant: idb.clone() }).ok().unwrap();
    let track = scene.camera(b);
    scene.act(boss, Action::ReleaseFloor { participant: None }).ok().unwrap();
    assert!(!scene.clients[&boss].tracks.contains_key(&track), "its track ends with it");
    let states: Vec<_> = scene
        .events()
        .filter_map(|what| match what {
            What::FloorChanged { state, .. } => Some(format!("{state:?}")),
            _ => None,
        })
        .collect();
    let wanted = "Requested Requested Granted Released Denied Granted Released";
    assert_eq!(states.join(" "), wanted);
}

fn muted_at_node(scene: &Scene) -> Vec<bool> {
    let orders = scene.commands.iter().filter_map(|command| match command {
        control::Command::SetMuted { muted, .. } => Some(*muted),
        _ => None,
    });
    orders.collect()
}

#[test]
fn the_servers_mute_holds_whatever_the_client_says_and_lifting_keeps_the_clients_own() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.join());
    let track = scene.camera(client);
    let participant = Some(scene.id(client));
    let mute = |muted| Action::Mute { participant: participant.clone(), sources: vec![], muted };
    scene.act(boss, mute(true)).ok().unwrap();
    assert_eq!(scene.clients[&client].updated.last().unwrap().muted, ALL, "it is told itself");
    scene.say(client, Body::Mute { track: track.clone(), muted: true });
    scene.say(client, Body::Mute { track: track.clone(), muted: false });
    scene.say(client, Body::Mute { track: track.clone(), muted: true });
    assert_eq!(muted_at_node(&scene), [true], "nothing that the client says changes it");
    scene.act(boss, mute(false)).ok().unwrap();
    assert_eq!(muted_at_node(&scene), [true], "still muted by itself");
    scene.say(client, Body::Mute { track, muted: false });
    assert_eq!(muted_at_node(&scene), [true, false]);
}

#[test]
fn muting_everybody_spares_moderators_and_holds_for_latecomers() {
    let mut scene = scene(&settings());
    let (boss, early) = (scene.moderator(), scene.join());
    scene.camera(boss);
    scene.camera(early);
    let before = scene.commands.len();
    let mute = |muted| Action::Mute { participant: None, sources: vec![Source::Camera], muted };
    scene.act(boss, mute(true)).ok().unwrap();
    assert_eq!(muted_at_node(&scene), [true]);
    assert_eq!(scene.clients[&early].room.as_ref().unwrap().muted, [Source::Camera]);
    let late = scene.join();
    scene.camera(late);
    let offered = scene.commands[before..].iter().filter_map(|command| match command {
        control::Command::Offer { publish, .. } => publish.first().map(|p| p.muted),
        _ => None,
    });
    assert_eq!(offered.collect::<Vec<_>>(), [true], "muted from the first packet on");
    scene.act(boss, mute(false)).ok().unwrap();
    assert_eq!(muted_at_node(&scene), [true, false, false]);
}

fn wants(scene: &Scene, since: usize) -> Vec<Vec<TrackId>> {
    let wants = scene.commands[since..].iter().filter_map(|command| match command {
        control::Command::Want { tracks, .. } => Some(tracks.clone()),
        _ => None,
    });
    wants.collect()
}

#[test]
fn pins_and_spotlight_come_before_everybodys_own_wishes_until_they_end() {
    let mut scene = scene(&settings());
    let (boss, a, b) = (scene.moderator(), scene.join(), scene.join());
    let tracks = [boss, a, b].map(|client| scene.camera(client));
    let [mine, ta, tb] = tracks.clone().map(|track| track.parse::<TrackId>().unwrap());
    scene.say(a, Body::Want { tracks: vec![tracks[0].clone()] });
    let before = scene.commands.len();
    scene.act(boss, Action::Spotlight { participants: vec![scene.id(a)] }).ok().unwrap();
    let told = wants(&scene, before);
    assert!(told.len() == 3 && told.iter().all(|w| w[0] == ta) && told.contains(&vec![ta, mine]));
    let before = scene.commands.len();
    scene.act(boss, Action::Pin { tracks: vec![tracks[2].clone()] }).ok().unwrap();
    assert!(wants(&scene, before).iter().all(|w| w[..2] == [tb, ta]));
    let before = scene.commands.len();
    scene.say(boss, Body::Ping);
    assert!(wants(&scene, before).is_empty(), "only when it changes");
    scene.say(b, Body::Leave);
    assert!(wants(&scene, before).iter().all(|w| w[0] == ta));
    scene.say(a, Body::Leave);
    let room = scene.clients[&boss].room.as_ref().unwrap();
    assert!(room.spotlight.is_empty() && room.pinned.is_empty());
    let gone = Action::Pin { tracks: vec![tracks[1].clone()] };
    assert_eq!(scene.act(boss, gone).err(), Some(ActionRefusal::UnknownTrack));
}

#[test]
fn an_audience_is_enforced_at_the_media_node_and_follows_the_moderators() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.join());
    let (me, participant) = (scene.id(boss).parse().unwrap(), scene.id(client));
    let rule = Action::SetAudience { participant, audience: Audience::Moderators {} };
    scene.act(boss, rule).ok().unwrap();
    assert!(!scene.commands.iter().any(|c| matches!(c, control::Command::SetAudience { .. })));
    scene.camera(client);
    let audiences = |scene: &Scene| -> Vec<control::Audience> {
        let all = scene.commands.iter().filter_map(|command| match command {
            control::Command::SetAudience { audience, .. } => Some(audience.clone()),
            _ => None,
        });
        all.collect()
    };
    assert_eq!(audiences(&scene), [control::Audience::Only(vec![me])], "from the first media on");
    scene.enter(who("second", Role::Moderator));
    scene.join();
    let last = audiences(&scene);
    assert!(last.len() == 2 && matches!(&last[1], control::Audience::Only(ids) if ids.len() == 2));
    let own = Action::SetAudience { participant: scene.id(boss), audience: Audience::All {} };
    assert_eq!(scene.act(boss, own).err(), Some(ActionRefusal::NotPermitted));
}
