//! Messages that cross each other or are lost on the way.

use super::*;

/// One who publishes a camera; the connection and the track.
fn with_camera(scene: &mut Scene) -> (ConnectionId, TrackId) {
    let client = scene.join();
    scene.publish(client, &[Source::Camera]);
    scene.answer();
    let track = *scene.room.tracks.keys().next().unwrap();
    (client, track)
}

fn is_muted(scene: &Scene) -> Vec<bool> {
    scene.room.members.values().flat_map(|m| m.tracks.iter().map(|t| t.muted)).collect()
}

fn mutes(scene: &Scene) -> usize {
    scene.commands.iter().filter(|c| matches!(c, control::Command::SetMuted { .. })).count()
}

fn participant(scene: &Scene) -> ParticipantId {
    *scene.room.members.keys().next().unwrap()
}

#[test]
fn a_mute_outlives_the_answer_to_an_offer_in_flight() {
    let mut scene = Scene::new(10);
    let (client, track) = with_camera(&mut scene);
    scene.publish(client, &[Source::Camera, Source::Microphone]);
    scene.say(client, Body::Mute { track: track.to_string(), muted: true });
    scene.answer();
    assert_eq!(is_muted(&scene), [true, false]);
    assert_eq!(mutes(&scene), 1);
}

#[test]
fn a_mute_undoes_what_an_offer_in_flight_says() {
    let mut scene = Scene::new(10);
    let (client, track) = with_camera(&mut scene);
    let tracks = vec![OfferedTrack { mid: "0".to_owned(), source: Source::Camera, muted: true }];
    let sdp = Ok(offer(&[("0", Kind::Video, Direction::SendOnly)]));
    scene.say(client, Body::Offer { id: 2, sdp, tracks });
    scene.say(client, Body::Mute { track: track.to_string(), muted: false });
    assert_eq!(mutes(&scene), 1, "the media node has muted it with the offer");
    scene.answer();
    assert_eq!(is_muted(&scene), [false]);
}

#[test]
fn a_want_before_the_first_offer_follows_it() {
    let mut scene = Scene::new(10);
    let (_, track) = with_camera(&mut scene);
    let viewer = scene.join();
    let before = scene.commands.len();
    scene.say(viewer, Body::Want { tracks: vec![track.to_string()] });
    assert_eq!(scene.commands.len(), before);
    scene.publish(viewer, &[]);
    let told = &scene.commands[before..];
    assert!(matches!(told[0], control::Command::OpenSession { .. }));
    assert!(matches!(told[1], control::Command::Offer { .. }));
    assert!(matches!(&told[2], control::Command::Want { tracks, .. } if tracks[..] == [track]));
}

#[test]
fn a_session_survives_the_loss_of_the_message_that_brings_its_ticket() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    scene.detach(client);
    let mirror = scene.cut.pop().unwrap();
    let (ticket, received) = (mirror.ticket.clone(), mirror.received);
    for _ in 0..3 {
        // `resumed` never arrives: the client comes with what it has.
        let lost = Mirror { ticket: ticket.clone(), received, ..Mirror::default() };
        let back = scene.resume(lost);
        assert!(scene.room.connections.contains_key(&back));
    }
    let lost = Mirror { ticket, received, me: mirror.me, ..Mirror::default() };
    let back = scene.resume(lost);
    let newest = scene.clients[&back].ticket.clone();
    scene.detach(back);
    scene.cut.clear();
    let mine = scene.resume(Mirror { ticket: newest, received, ..Mirror::default() });
    assert!(scene.room.connections.contains_key(&mine), "the newest is as good");
}

#[test]
fn who_has_no_session_on_the_media_node_is_ended_and_told() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    scene.publish(client, &[Source::Camera]);
    let (session, request, _) = scene.offers.pop().unwrap();
    let reason = sdp::Refusal::NoSession;
    scene.apply(Command::Media(Event::OfferRefused { session, request, reason }));
    assert_eq!(scene.clients.get(&client).map(|c| &c.errors), None);
    assert_eq!(scene.room.participants(), 0);
}

#[test]
fn a_full_media_node_is_told_as_such() {
    let mut scene = Scene::new(10);
    let keep = scene.join();
    let client = scene.join();
    scene.publish(client, &[Source::Camera]);
    let (session, ..) = scene.offers.pop().unwrap();
    let reason = control::EndReason::Refused;
    let effects =
        scene.room.handle(Command::Media(Event::SessionEnded { session, reason }), scene.now);
    let told = |e: &Effect| {
        matches!(e, Effect::Send { to, body, .. }
        if *to == client && body.contains("no_media_node"))
    };
    assert!(effects.iter().any(told));
    assert!(scene.room.connections.contains_key(&keep));
    let effects = scene.room.handle(Command::RoomRefused, scene.now);
    let told = |e: &Effect| {
        matches!(e, Effect::Send { to, body, .. }
        if *to == keep && body.contains("no_media_node"))
    };
    assert!(effects.iter().any(told));
    assert_eq!(scene.room.participants(), 0);
}

fn open_whip(scene: &mut Scene) {
    let offer = offer(&[("a", Kind::Audio, Direction::SendOnly)]);
    let ask = Ask::Open { kind: Standard::Whip, admission: admission("encoder"), offer };
    scene.apply(Command::Standard { request: RequestId(1), ask });
}

#[test]
fn a_full_media_node_refuses_a_whip_client_as_such() {
    let mut scene = Scene::new(10);
    open_whip(&mut scene);
    let (session, request, _) = scene.offers.pop().unwrap();
    let reason = sdp::Refusal::NoSession;
    scene.apply(Command::Media(Event::OfferRefused { session, request, reason }));
    assert!(matches!(scene.replies[..], [Err(Refusal::NoMediaNode)]));
    assert_eq!(scene.room.participants(), 0);
}

#[test]
fn after_lost_news_the_media_node_is_asked_who_is_left() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    open_whip(&mut scene);
    scene.answer();
    let session = *scene.sessions.iter().next().unwrap();
    scene.apply(Command::MediaMissed);
    assert!(matches!(scene.commands.last(),
        Some(control::Command::Sync { sessions }) if sessions[..] == [session]));
    let reason = control::EndReason::ConsentLost;
    scene.apply(Command::Media(Event::SessionEnded { session, reason }));
    assert_eq!(scene.room.participants(), 1);
    assert!(scene.clients.contains_key(&client) && scene.sessions.is_empty());
}

#[test]
fn an_ice_restart_that_failed_may_be_asked_for_again() {
    let mut scene = Scene::new(10);
    open_whip(&mut scene);
    scene.answer();
    let Some(Ok(Reply::Opened { resource, .. })) = scene.replies.pop() else { panic!("opened") };
    let secret = Capability::parse(&resource).unwrap().secret;
    let ice = IceCredentials { ufrag: "newU".to_owned(), pwd: "n".repeat(22) };
    let ask = |scene: &mut Scene| {
        let proof = Proof { participant: participant(scene), secret };
        let tag = Some(Tag::Any);
        let ask = Ask::Patch { kind: Standard::Whip, proof, tag, ice: Some(ice.clone()) };
        scene.apply(Command::Standard { request: RequestId(2), ask });
    };
    ask(&mut scene);
    scene.wait(5);
    assert!(matches!(scene.replies.pop(), Some(Err(Refusal::MediaTimeout))));
    scene.offers.clear();
    ask(&mut scene);
    assert_eq!(scene.offers.len(), 1, "it is no trickle of what is known");
    scene.answer();
    assert!(matches!(scene.replies.pop(), Some(Ok(Reply::Restarts { generation: 2, .. }))));
}

#[test]
fn the_end_of_a_room_is_one_command() {
    let mut scene = Scene::new(10);
    for _ in 0..5 {
        let client = scene.join();
        scene.publish(client, &[Source::Camera]);
        scene.answer();
    }
    let before = scene.commands.len();
    scene.apply(Command::Close);
    assert!(matches!(scene.commands[before..], [control::Command::CloseRoom { .. }]));
}
