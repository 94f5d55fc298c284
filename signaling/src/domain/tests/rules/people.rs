//! Who comes in, waits, and what they may do.

use super::*;

fn knock() -> RoomSettings {
    RoomSettings { knock: Some(true), ..settings() }
}

#[test]
fn who_knocks_is_unknown_until_admitted_and_stays_who_it_is() {
    let mut scene = scene(&knock());
    let (boss, guest) = (scene.moderator(), scene.join());
    let id = scene.id(guest);
    assert!(scene.clients[&guest].waits && scene.room.participants() == 1);
    assert_eq!(scene.clients[&boss].lobby, [id.as_str()]);
    scene.publish(guest, &[Source::Camera]);
    assert!(scene.offers.is_empty() && scene.error(guest) == Some(ErrorCode::UnexpectedMessage));
    scene.act(boss, Action::Admit { participants: vec![id.clone()] }).ok().unwrap();
    assert!(scene.is_in(guest) && scene.clients[&boss].participants.contains(&id));
    assert!(scene.clients[&boss].lobby.is_empty());
    let denied = scene.join();
    scene.act(boss, Action::Deny { participants: Vec::new() }).ok().unwrap();
    assert!(!scene.clients.contains_key(&denied) && scene.left() == Some(LeaveReason::Denied));
    let nobody = Action::Admit { participants: vec![id] };
    assert_eq!(scene.act(boss, nobody).err(), Some(ActionRefusal::UnknownParticipant));
    let kinds = scene.kinds();
    assert_eq!(
        kinds[2..],
        [
            "participant.waiting",
            "participant.joined",
            "participant.waiting",
            "participant.turned_away"
        ]
    );
}

#[test]
fn who_was_admitted_while_away_resumes_with_the_ticket_that_it_then_has() {
    let mut scene = scene(&knock());
    let boss = scene.moderator();
    let guest = scene.join();
    scene.detach(guest);
    scene.act(boss, Action::Admit { participants: Vec::new() }).ok().unwrap();
    let mirror = scene.cut.pop().unwrap();
    let back = scene.resume(mirror);
    assert!(scene.is_in(back));
    scene.say(back, Body::Ping);
    scene.detach(back);
    let mirror = scene.cut.pop().unwrap();
    let again = scene.resume(mirror);
    assert!(scene.is_in(again), "`joined`, sent again, brought no older ticket");
}

#[test]
fn a_guest_may_leave_and_times_out() {
    let mut scene = scene(&knock());
    let (leaves, silent) = (scene.join(), scene.join());
    scene.say(leaves, Body::Leave);
    assert_eq!(scene.left(), Some(LeaveReason::Left));
    scene.wait(15);
    assert!(!scene.clients.contains_key(&silent) && scene.room.waiting() == 1);
    scene.wait(30);
    assert_eq!(scene.room.waiting(), 0);
    assert_eq!(scene.kinds().iter().filter(|k| **k == "participant.turned_away").count(), 2);
}

#[test]
fn the_lobby_opens_with_a_moderator_and_is_bounded() {
    let set =
        RoomSettings { wait_for_moderator: Some(true), participants_max: Some(10), ..settings() };
    let mut scene = scene(&set);
    let guests: Vec<_> = (0..100).map(|_| scene.join()).collect();
    assert!(guests.iter().all(|guest| scene.clients[guest].waits));
    let more = scene.join();
    assert!(!scene.is_in(more) && scene.refused() == Some(ErrorCode::RoomFull));
    let boss = scene.moderator();
    assert!(
        guests[..9].iter().all(|guest| scene.is_in(*guest)),
        "in order, as far as there is place"
    );
    assert!(scene.clients[&guests[9]].waits);
    scene.say(guests[0], Body::Leave);
    assert!(scene.is_in(guests[9]));
    scene.say(boss, Body::Leave);
    assert!(scene.is_in(guests[1]), "who is in stays");
    assert!(scene.clients[&guests[10]].waits);
}

#[test]
fn a_whip_client_cannot_wait_unless_it_need_not() {
    let mut scene = scene(&knock());
    let mut open = |role| {
        let offer = offer(&[("a", sdp::Kind::Audio, Direction::SendOnly)]);
        let admission = who("encoder", role);
        let ask = Ask::Open { kind: Standard::Whip, admission, offer };
        scene.apply(Command::Standard { request: RequestId(1), ask });
        scene.answer();
        scene.replies.pop().unwrap()
    };
    assert!(matches!(open(Role::Participant), Err(Refusal::NotPermitted)));
    assert!(matches!(open(Role::Moderator), Ok(Reply::Opened { .. })));
}

#[test]
fn caps_hold_for_participants_viewers_and_publishers() {
    let set = RoomSettings {
        participants_max: Some(4),
        viewers_max: Some(1),
        publishers_max: Some(1),
        ..settings()
    };
    let mut scene = scene(&set);
    let boss = scene.moderator();
    let viewer = scene.enter(who("v1", Role::Viewer));
    scene.publish(viewer, &[Source::Camera]);
    assert_eq!(scene.error(viewer), Some(ErrorCode::NotPermitted));
    let second = scene.enter(who("v2", Role::Viewer));
    assert!(!scene.is_in(second));
    let a = scene.join();
    scene.camera(a);
    scene.publish(boss, &[Source::Camera]);
    assert_eq!(scene.error(boss), Some(ErrorCode::OfferRefused));
    scene.publish(a, &[Source::Camera, Source::Microphone]);
    scene.answer();
    assert_eq!(scene.room.tracks.len(), 2, "who publishes may publish more");
    let role = Action::SetRole { participant: scene.id(a), role: Role::Viewer, grants: None };
    assert_eq!(scene.act(boss, role).err(), Some(ActionRefusal::WrongState));
    let b = scene.join();
    assert!(scene.is_in(b));
    let full = scene.join();
    assert!(!scene.is_in(full) && scene.refused() == Some(ErrorCode::RoomFull));
    scene.update(RoomSettings { participants_max: Some(5), ..settings() });
    let more = scene.join();
    assert!(scene.is_in(more));
}

#[test]
fn a_locked_room_lets_moderators_in_only() {
    let mut scene = scene(&RoomSettings { locked: Some(true), ..settings() });
    let client = scene.join();
    assert!(!scene.is_in(client) && scene.refused() == Some(ErrorCode::RoomLocked));
    let mut deputy = admission("deputy");
    deputy.grants.moderate = true;
    let deputy = scene.enter(deputy);
    assert!(scene.is_in(deputy));
}

#[test]
fn a_handle_is_in_once_and_who_lost_its_connection_gives_way() {
    let mut scene = scene(&settings());
    let first = scene.enter(admission("same"));
    let second = scene.enter(admission("same"));
    assert!(!scene.is_in(second) && scene.refused() == Some(ErrorCode::DuplicateHandle));
    scene.detach(first);
    let third = scene.enter(admission("same"));
    assert!(scene.is_in(third) && scene.room.participants() == 1);
    let replace = Some(DuplicateHandles::Replace);
    scene.update(RoomSettings { duplicate_handles: replace, ..settings() });
    let fourth = scene.enter(admission("same"));
    assert!(scene.is_in(fourth) && !scene.clients.contains_key(&third));
    assert_eq!(scene.left(), Some(LeaveReason::Replaced));
}

#[test]
fn who_is_hidden_is_announced_to_nobody_and_publishes_nothing() {
    let mut scene = scene(&settings());
    let (boss, mut ghost) = (scene.moderator(), admission("ghost"));
    ghost.grants.hidden = true;
    ghost.grants.data = true;
    let ghost = scene.enter(ghost);
    assert!(scene.is_in(ghost) && scene.clients[&boss].participants.is_empty());
    assert!(scene.clients[&ghost].grants.publish.is_empty());
    scene.say(ghost, Body::Data { to: Vec::new(), body: "boo".to_owned() });
    assert_eq!(scene.error(ghost), Some(ErrorCode::NotPermitted));
    let late = scene.join();
    assert_eq!(scene.clients[&late].participants.len(), 1, "the moderator only");
    let eject = Action::Eject { participant: scene.id(ghost), ban_seconds: None };
    assert_eq!(scene.act(boss, eject.clone()).err(), Some(ActionRefusal::UnknownParticipant));
    assert!(scene.order(eject).is_ok(), "the partner knows");
    let hidden = scene.events().filter(|what| {
        matches!(
            what,
            What::ParticipantJoined { hidden: true, .. }
                | What::ParticipantLeft { hidden: true, .. }
        )
    });
    assert_eq!(hidden.count(), 2);
}

#[test]
fn roles_change_what_holds_and_nobody_gains_by_its_own_act() {
    let mut scene = scene(&settings());
    let (boss, client) = (scene.moderator(), scene.join());
    let (me, id) = (scene.id(boss), scene.id(client));
    let track = scene.camera(client);
    let role = |id: &str, role| Action::SetRole { participant: id.to_owned(), role, grants: None };
    scene.act(boss, role(&id, Role::Viewer)).ok().unwrap();
    assert!(!scene.clients[&boss].tracks.contains_key(&track));
    assert!(scene.clients[&client].grants.publish.is_empty());
    assert!(scene.clients[&boss].updated.last().unwrap().role == Role::Viewer);
    scene.act(boss, role(&id, Role::Moderator)).ok().unwrap();
    assert!(scene.clients[&client].grants.moderate && scene.clients[&client].grants.publish == ALL);
    let own = scene.act(client, role(&id, Role::Moderator));
    assert_eq!(own.err(), Some(ActionRefusal::NotPermitted));
    let give = |grants| Action::SetRole {
        participant: me.clone(),
        role: Role::Moderator,
        grants: Some(grants),
    };
    let refused = Err(ActionRefusal::NotPermitted);
    for grants in
        [Grants { record: true, ..Grants::default() }, Grants { hidden: true, ..Grants::default() }]
    {
        assert_eq!(scene.act(client, give(grants)).map(|_| ()), refused);
    }
    assert!(scene.order(give(Grants { record: true, ..Grants::default() })).is_ok());
    scene.act(client, role(&me, Role::Participant)).ok().unwrap();
    let nobody = scene.act(boss, Action::Close {});
    assert_eq!(nobody.map(|_| ()), refused, "who does not moderate any more");
}

#[test]
fn a_new_token_of_the_same_handle_replaces_role_and_grants() {
    let mut scene = scene(&settings());
    let (client, other) = (scene.enter(admission("mine")), scene.join());
    let track = scene.camera(client);
    let mut token = who("mine", Role::Participant);
    token.grants.publish = vec![Source::Microphone];
    scene.apply(Command::Renew { connection: client, admission: token });
    assert_eq!(scene.clients[&client].grants.publish, [Source::Microphone]);
    assert!(!scene.clients[&other].tracks.contains_key(&track));
    let stranger = who("theirs", Role::Moderator);
    scene.apply(Command::Renew { connection: client, admission: stranger });
    assert_eq!(scene.error(client), Some(ErrorCode::TokenRefused));
    assert!(!scene.clients[&client].grants.moderate);
}

#[test]
fn texts_and_states_need_a_grant_and_fit() {
    let mut scene = scene(&settings());
    let mut chatty = admission("chatty");
    (chatty.grants.data, chatty.grants.update_own) = (true, true);
    let (a, b, c) = (scene.enter(chatty), scene.join(), scene.join());
    let to = vec![scene.id(b), "pa_nobody".to_owned()];
    scene.say(a, Body::Data { to, body: "hi".to_owned() });
    scene.say(a, Body::Data { to: Vec::new(), body: "all".to_owned() });
    let texts = |client| scene.clients[&client].texts.len();
    assert_eq!([texts(a), texts(b), texts(c)], [0, 2, 1]);
    scene.say(a, Body::SetState { state: Some("s".repeat(1024)) });
    assert!(scene.clients[&b].updated.last().unwrap().state.is_some());
    scene.say(a, Body::SetState { state: Some("s".repeat(1025)) });
    assert_eq!(scene.error(a), Some(ErrorCode::MessageTooLarge));
    scene.say(b, Body::Data { to: Vec::new(), body: "no".to_owned() });
    assert_eq!(scene.error(b), Some(ErrorCode::NotPermitted));
    let data = |data: &str| RoomSettings { data: Some(data.to_owned()), ..settings() };
    let bad = scene.order(Action::Update { settings: data("mail anna@example.org") });
    assert_eq!(bad.err(), Some(ActionRefusal::OutOfRange), "no personal data in what is kept");
    scene.update(data("slide 3"));
    assert_eq!(scene.clients[&b].room.as_ref().unwrap().data.as_deref(), Some("slide 3"));
}

#[test]
fn what_the_partner_took_is_not_given_back_by_a_moderators_reset() {
    let mut scene = scene(&settings());
    let boss = scene.moderator();
    let mut token = admission("rec");
    token.grants.record = true;
    let client = scene.enter(token);
    let participant = scene.id(client);
    let role = |grants| Action::SetRole {
        participant: participant.clone(),
        role: Role::Participant,
        grants,
    };
    scene.act(boss, role(None)).ok().unwrap();
    assert!(scene.clients[&client].grants.record, "it had it");
    scene.order(role(Some(Grants::default()))).ok().unwrap();
    scene.act(boss, role(None)).ok().unwrap();
    assert!(!scene.clients[&client].grants.record && scene.clients[&client].grants.publish == ALL);
    scene.order(role(None)).ok().unwrap();
    assert!(scene.clients[&client].grants.record, "the partner may");
}

#[test]
fn a_new_token_makes_no_viewer_above_the_cap() {
    let mut scene = scene(&RoomSettings { viewers_max: Some(1), ..settings() });
    let viewer = scene.enter(who("v1", Role::Viewer));
    let client = scene.enter(admission("v2"));
    let renew = |handle| who(handle, Role::Viewer);
    scene.apply(Command::Renew { connection: client, admission: renew("v2") });
    assert_eq!(scene.error(client), Some(ErrorCode::TokenRefused));
    assert_eq!(scene.clients[&client].grants.publish, ALL);
    scene.apply(Command::Renew { connection: viewer, admission: renew("v1") });
    assert_eq!(scene.error(viewer), None, "who is one stays one");
}

#[test]
fn rooms_of_a_project_share_its_places() {
    let seats = Seats::new(2);
    let room = |settings: &RoomSettings| {
        let mut scene = scene(settings);
        let room = Room::new(
            RoomId::from_bits(1),
            scene.room.charter.clone(),
            Vec::new(),
            draw(),
            (scene.now, BEGIN_MS),
        );
        scene.room = room.with_seats(seats.clone());
        scene
    };
    let replace = Some(DuplicateHandles::Replace);
    let mut one = room(&RoomSettings { duplicate_handles: replace, ..settings() });
    let mut two = room(&RoomSettings { knock: Some(true), ..settings() });
    let boss = two.moderator();
    let ann = one.enter(who("ann-1", Role::Participant));
    assert!(two.is_in(boss) && one.is_in(ann));
    let late = one.enter(who("late-1", Role::Participant));
    assert!(!one.is_in(late) && one.refused() == Some(ErrorCode::RoomFull));
    let again = one.enter(who("ann-1", Role::Participant));
    assert!(one.is_in(again) && !one.is_in(ann), "it brings its place along");
    let open = Ask::Vacancy { who: who("new-1", Role::Participant) };
    one.apply(Command::Standard { request: RequestId(1), ask: open });
    assert!(matches!(one.replies.pop(), Some(Err(Refusal::QuotaExceeded))));

    // Who waits needs no place, and gets in as soon as one is free in any room.
    let guest = two.enter(who("guest-1", Role::Participant));
    assert!(two.clients[&guest].waits);
    let admit = Action::Admit { participants: Vec::new() };
    assert_eq!(two.act(boss, admit).err(), Some(ActionRefusal::WrongState));
    two.act(boss, Action::Update { settings: RoomSettings { knock: Some(false), ..settings() } })
        .ok()
        .unwrap();
    assert!(two.clients[&guest].waits, "no place yet");
    one.say(again, Body::Leave);
    two.say(guest, Body::Ping);
    assert!(two.is_in(guest));
    assert!(seats.is_full());
    two.apply(Command::Close);
    assert!(!seats.is_full());
}
