//! Who has to go: bans, moves, breakout rooms, the end.

use sdk_spec::room::BreakoutSpec;

use super::*;

#[test]
fn the_ejected_are_gone_at_once_and_their_handle_stays_out_for_its_time() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.enter(admission("rude")));
    scene.camera(client);
    let (session, _) = scene.room.sessions.iter().next().map(|(s, p)| (*s, *p)).unwrap();
    let ticket = Mirror { ticket: scene.clients[&client].ticket.clone(), ..Mirror::default() };
    let eject = Action::Eject { participant: scene.id(client), ban_seconds: Some(60) };
    scene.act(boss, eject).ok().unwrap();
    assert!(!scene.sessions.contains(&session) && scene.left() == Some(LeaveReason::Removed));
    let thief = scene.resume(ticket);
    assert!(!scene.clients.contains_key(&thief), "its ticket is void");
    let again = scene.enter(admission("rude"));
    assert!(!scene.is_in(again) && scene.refused() == Some(ErrorCode::Banned));
    scene.live(60);
    let later = scene.enter(admission("rude"));
    assert!(scene.is_in(later));
    scene.apply(Command::Banned(Ban { handle: Handle::parse("rude").unwrap(), until_ms: None }));
    assert!(!scene.is_in(later), "banned elsewhere");
    scene.apply(Command::Unbanned(Handle::parse("rude").unwrap()));
    let back = scene.enter(admission("rude"));
    assert!(scene.is_in(back));
}

#[test]
fn a_guest_who_is_banned_is_turned_away() {
    let mut scene = scene(&RoomSettings { knock: Some(true), ..settings() });
    let guest = scene.enter(admission("rude"));
    let eject = Action::Eject { participant: scene.id(guest), ban_seconds: None };
    scene.order(eject).ok().unwrap();
    assert!(scene.room.waiting() == 0 && scene.left() == Some(LeaveReason::Removed));
}

fn breakouts(scene: &mut Scene, boss: ConnectionId, who: Vec<String>) -> RoomId {
    let rooms = vec![BreakoutSpec { reference: None, participants: who }];
    let create = Action::CreateBreakouts { rooms, duration_seconds: Some(600) };
    let done = scene.act(boss, create).ok().unwrap();
    done.breakouts[0].room.parse().unwrap()
}

#[test]
fn breakouts_are_created_with_the_caps_of_the_room_and_take_who_is_named() {
    let set = RoomSettings { knock: Some(true), participants_max: Some(7), ..settings() };
    let mut scene = scene(&set);
    let boss = scene.moderator();
    let client = scene.join();
    scene.act(boss, Action::Admit { participants: Vec::new() }).ok().unwrap();
    let id = scene.id(client);
    let room = breakouts(&mut scene, boss, vec![id.clone()]);
    let (made, charter) = &scene.commits.last().unwrap().breakouts[0];
    assert!(*made == room && charter.parent == Some(RoomId::from_bits(1)));
    assert_eq!(charter.settings.participants_max, Some(7));
    assert_eq!(charter.settings.knock, Some(false));
    assert_eq!(charter.ends_at_ms, Some(BEGIN_MS + 600_000));
    let participant: ParticipantId = id.parse().unwrap();
    assert!(scene.transfers == [(vec![participant], room, false)]);
    assert_eq!(scene.clients[&client].room.as_ref().unwrap().breakouts.len(), 1);
    let token = "t".to_owned();
    scene.apply(Command::Ticket { participant, room, token, invited: false });
    assert_eq!(scene.clients[&client].moves.len(), 1);
    scene.live(10);
    assert!(!scene.is_in(client) && scene.left() == Some(LeaveReason::Moved));
    assert!(scene.kinds().contains(&"participant.moved"));
    let back = scene.enter(admission(&format!("user-{}", client.0)));
    assert!(scene.is_in(back), "who was sent away by us comes back past the lobby");
    let twice = vec![BreakoutSpec { reference: None, participants: vec![scene.id(back); 2] }];
    let create = Action::CreateBreakouts { rooms: twice, duration_seconds: None };
    assert_eq!(scene.act(boss, create).err(), Some(ActionRefusal::OutOfRange));
}

#[test]
fn an_invitation_may_be_declined_and_only_own_rooms_are_named() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.join());
    let room = breakouts(&mut scene, boss, Vec::new());
    let participants = vec![scene.id(client)];
    let elsewhere = RoomId::from_bits(77).to_string();
    let foreign = Action::Move { participants: participants.clone(), room: elsewhere };
    assert_eq!(scene.act(boss, foreign).err(), Some(ActionRefusal::UnknownRoom));
    let invite = Action::Invite { participants: participants.clone(), room: room.to_string() };
    scene.act(boss, invite).ok().unwrap();
    let participant = participants[0].parse().unwrap();
    scene.apply(Command::Ticket { participant, room, token: "t".to_owned(), invited: true });
    scene.live(60);
    assert!(scene.is_in(client));
}

#[test]
fn a_room_with_breakouts_is_not_empty_and_takes_them_along_when_it_ends() {
    let mut scene = scene(&RoomSettings { empty_timeout_seconds: Some(10), ..settings() });
    let boss = scene.moderator();
    let room = breakouts(&mut scene, boss, Vec::new());
    scene.say(boss, Body::Leave);
    scene.wait(1000);
    assert!(!scene.ended);
    let boss = scene.moderator();
    scene.act(boss, Action::CloseBreakouts {}).ok().unwrap();
    assert!(scene.recalls == [(vec![room], false)]);
    scene.apply(Command::BreakoutEnded(room));
    assert!(scene.clients[&boss].room.as_ref().unwrap().breakouts.is_empty());
    let room = breakouts(&mut scene, boss, Vec::new());
    scene.apply(Command::Close);
    assert!(scene.ended && scene.recalls[1] == (vec![room], true));
}

fn child(settings: &RoomSettings) -> Scene {
    let mut charter = Charter::new(Kind::AdHoc, settings);
    charter.parent = Some(RoomId::from_bits(50));
    charter.ends_at_ms = Some(BEGIN_MS + 60_000);
    Scene::of(charter, begin())
}

#[test]
fn a_breakout_sends_everybody_back_when_its_time_is_over_or_it_is_called_back() {
    for is_called in [false, true] {
        let mut scene = child(&settings());
        let (a, b) = (scene.join(), scene.join());
        match is_called {
            true => scene.apply(Command::Recall { parent_ended: false }),
            false => scene.live(60),
        }
        let (who, room, invited) = scene.transfers[0].clone();
        assert!(who.len() == 2 && room == RoomId::from_bits(50) && !invited);
        let late = scene.join();
        assert!(!scene.is_in(late), "nobody comes in any more");
        for participant in who {
            let token = "t".to_owned();
            scene.apply(Command::Ticket { participant, room, token, invited: false });
        }
        scene.say(a, Body::Leave);
        assert!(!scene.ended && scene.left() == Some(LeaveReason::Moved));
        scene.live(10);
        assert!(scene.ended && !scene.is_in(b), "the last is removed after a while");
        let reason = if is_called { RoomEnd::Closed } else { RoomEnd::Duration };
        assert!(
            matches!(scene.events().last(), Some(What::RoomEnded { reason: r }) if *r == reason)
        );
    }
}

#[test]
fn a_breakout_whose_parent_is_over_ends_at_once_and_has_no_breakouts_itself() {
    let mut scene = child(&settings());
    let boss = scene.moderator();
    let rooms = vec![BreakoutSpec { reference: None, participants: Vec::new() }];
    let create = Action::CreateBreakouts { rooms, duration_seconds: None };
    assert_eq!(scene.act(boss, create).err(), Some(ActionRefusal::WrongState));
    scene.apply(Command::Recall { parent_ended: true });
    let end = scene.events().last();
    assert!(matches!(end, Some(What::RoomEnded { reason: RoomEnd::ParentEnded })));
}

#[test]
fn closing_answers_when_it_is_stored_and_the_last_traffic_is_still_counted() {
    let mut scene = scene(&settings());
    let client = scene.join();
    scene.camera(client);
    let session = *scene.sessions.iter().next().unwrap();
    scene.stores = false;
    let actor = Actor::Key("key_1".to_owned());
    let ask = Ask::Act { actor, action: Box::new(Action::Close {}), version: Some(1) };
    scene.apply(Command::Standard { request: RequestId(1), ask });
    assert!(scene.ended && scene.replies.is_empty() && scene.commits.last().unwrap().ended);
    let event = Event::Traffic { session, received: 5, sent: 6 };
    scene.apply(Command::Media(event));
    assert_eq!(scene.kinds().last(), Some(&"media.transferred"));
    scene.store();
    assert!(matches!(scene.replies[..], [Ok(Reply::Acted(_))]));
}

#[test]
fn a_version_that_is_not_the_rooms_changes_nothing() {
    let mut scene = scene(&settings());
    let actor = Actor::Key("key_1".to_owned());
    let ask = Ask::Act { actor, action: Box::new(Action::Close {}), version: Some(2) };
    scene.apply(Command::Standard { request: RequestId(1), ask });
    let refused = ActionRefusal::VersionMismatch;
    assert!(matches!(scene.replies[..], [Err(Refusal::Action(r))] if r == refused));
    assert!(!scene.ended && scene.commits.is_empty());
}

impl Scene {
    /// What somebody of a breakout room may come back as.
    fn returning(&mut self, who: Admission) -> Result<Admission, Refusal> {
        let ask = Ask::Return { who };
        self.apply(Command::Standard { request: RequestId(8), ask });
        match self.replies.pop() {
            Some(Ok(Reply::Returns(who))) => Ok(who),
            Some(Err(refusal)) => Err(refusal),
            _ => panic!("an answer"),
        }
    }

    /// Somebody has a token for another room.
    fn send_to(&mut self, client: ConnectionId, room: RoomId, invited: bool) {
        let participant = self.id(client).parse().unwrap();
        self.apply(Command::Ticket { participant, room, token: "t".to_owned(), invited });
    }
}

#[test]
fn who_comes_back_is_what_it_was_here_whatever_it_became_there() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.enter(admission("ann")));
    let room = breakouts(&mut scene, boss, Vec::new());
    scene.send_to(client, room, false);
    scene.live(10);
    assert!(!scene.is_in(client));
    let risen = |handle: &str| {
        let mut risen = who(handle, Role::Moderator);
        (risen.grants.moderate, risen.grants.record) = (true, true);
        risen
    };
    let back = scene.returning(risen("ann")).ok().unwrap();
    assert!(back.role == Role::Participant && back.grants == admission("ann").grants);
    let stranger = scene.returning(risen("new")).ok().unwrap();
    assert!(stranger.role == Role::Participant && stranger.grants == admission("new").grants);
    let mut unseen = admission("unseen");
    unseen.grants.hidden = true;
    assert_eq!(scene.returning(unseen).err(), Some(Refusal::NotPermitted));
    let fallen = scene.returning(who("boss", Role::Viewer)).ok().unwrap();
    assert!(fallen.role == Role::Moderator, "it is here too");
    // Who was invited, lost its role here and went is no moderator any more.
    let deputy = scene.enter(risen("deputy"));
    scene.send_to(deputy, room, true);
    let (participant, role) = (scene.id(deputy), Role::Participant);
    let grants = Some(Grants::default());
    scene.order(Action::SetRole { participant, role, grants }).ok().unwrap();
    scene.say(deputy, Body::Leave);
    let back = scene.returning(risen("deputy")).ok().unwrap();
    assert!(back.role == Role::Participant && !back.grants.moderate);
}

#[test]
fn the_ejected_are_not_expected_back_and_a_ban_follows_into_the_breakouts() {
    let mut scene = scene(&settings());
    let boss = scene.moderator();
    let room = breakouts(&mut scene, boss, Vec::new());
    for ban_seconds in [Some(0), Some(60)] {
        scene.update(RoomSettings { locked: Some(false), ..settings() });
        let client = scene.enter(admission("rude"));
        scene.send_to(client, room, true);
        scene.update(RoomSettings { locked: Some(true), ..settings() });
        let eject = Action::Eject { participant: scene.id(client), ban_seconds };
        scene.act(boss, eject).ok().unwrap();
        let again = scene.enter(admission("rude"));
        assert!(!scene.is_in(again), "past the lock");
    }
    assert!(scene.banned_in == [vec![room]]);
    assert_eq!(scene.returning(admission("rude")).err(), Some(Refusal::Banned));
    scene.live(60);
    let again = scene.enter(admission("rude"));
    assert!(!scene.is_in(again) && scene.refused() == Some(ErrorCode::RoomLocked));
}

#[test]
fn a_ban_has_no_end_or_one_within_the_bound() {
    let mut scene = scene(&settings());
    scene.moderator();
    let client = scene.join();
    let most = sdk_spec::limits::BAN_SECONDS_MAX;
    let participant = scene.id(client);
    let eject = |seconds| {
        let ban_seconds = Some(seconds);
        Action::Eject { participant: participant.clone(), ban_seconds }
    };
    assert_eq!(scene.order(eject(most + 1)).err(), Some(ActionRefusal::OutOfRange));
    assert!(scene.is_in(client) && scene.order(eject(most)).is_ok());
}

#[test]
fn breakouts_are_created_so_often_in_an_hour_and_no_more() {
    let mut scene = scene(&settings());
    let boss = scene.moderator();
    for _ in 0..limits::BREAKOUTS_PER_HOUR_MAX {
        let room = breakouts(&mut scene, boss, Vec::new());
        scene.apply(Command::BreakoutEnded(room));
    }
    let rooms = vec![BreakoutSpec { reference: None, participants: Vec::new() }];
    let create = Action::CreateBreakouts { rooms, duration_seconds: None };
    assert_eq!(scene.act(boss, create.clone()).err(), Some(ActionRefusal::OutOfRange));
    scene.live(3600);
    assert!(scene.act(boss, create).is_ok());
}

#[test]
fn breakouts_that_the_store_refuses_were_never_there() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.join());
    scene.stores = false;
    let rooms = vec![BreakoutSpec { reference: None, participants: vec![scene.id(client)] }];
    let create = Action::CreateBreakouts { rooms, duration_seconds: None };
    scene.say(boss, Body::Act { id: 9, action: Box::new(create) });
    let (room, _) = scene.commits.last().unwrap().breakouts[0];
    let number = scene.commits.len() as u64;
    assert!(scene.clients[&boss].acted.is_empty(), "not answered yet");
    scene.apply(Command::BreakoutsRefused(vec![room]));
    scene.apply(Command::Committed(number));
    let acted = scene.clients.get_mut(&boss).unwrap().acted.pop();
    assert!(acted == Some((9, None, Some(ActionRefusal::QuotaExceeded))));
    assert!(scene.clients[&client].room.as_ref().unwrap().breakouts.is_empty());
    let close = Action::CloseBreakouts {};
    scene.stores = true;
    assert_eq!(scene.act(boss, close).err(), Some(ActionRefusal::WrongState), "there are none");
}
