//! `conclave.v1` end to end against a running server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use common::{World, offer, problem};
use serde_json::json;
use sfu_proto::control::{Command, EndReason, Event};

#[tokio::test]
async fn two_clients_join_publish_mute_and_leave() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, joined) = world.join(&room, "ann-1").await;
    assert_eq!(joined["seq"], 1);
    assert_eq!(joined["room"]["id"], room.as_str());
    assert_eq!(joined["participants"], json!([]));
    let ann_id = joined["participant"]["id"].as_str().unwrap().to_owned();
    let (mut bob, joined) = world.join(&room, "bob-1").await;
    assert_eq!(joined["participants"][0]["id"], ann_id.as_str());
    assert_eq!(ann.wait("participant_joined").await["participant"]["handle"], "bob-1");
    assert_eq!(world.participants(&room).await, 2);

    let sdp = offer("annU", &[("audio", "0", "sendonly"), ("video", "1", "sendonly")]);
    let tracks = json!([
        { "mid": "0", "source": "microphone" },
        { "mid": "1", "source": "camera", "muted": true },
    ]);
    let answer = ann.offer(5, &sdp, tracks).await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("answer"), &json!(5)));
    assert!(answer["sdp"].as_str().unwrap().contains("a=ice-ufrag:srvannU"));
    let camera = answer["tracks"][1]["id"].as_str().unwrap().to_owned();
    assert_eq!(ann.wait("media").await["state"], "connected");
    let published = bob.wait("track_published").await;
    assert_eq!(published["track"]["source"], "microphone");
    let published = bob.wait("track_published").await;
    assert_eq!(published["track"]["id"], camera.as_str());
    assert_eq!(published["track"]["participant"], ann_id.as_str());
    assert_eq!(published["track"]["muted"], true);

    ann.send(json!({ "type": "mute", "track": camera, "muted": false })).await;
    let muted = bob.wait("track_muted").await;
    assert_eq!((&muted["track"], &muted["muted"]), (&json!(camera), &json!(false)));

    let (_eve, joined) = world.join(&room, "eve-1").await;
    assert_eq!(joined["tracks"].as_array().unwrap().len(), 2, "late joiners see tracks");

    ann.send(json!({ "type": "leave" })).await;
    let (code, before) = ann.closed().await;
    assert_eq!(code, 1000);
    assert_eq!(before.last().unwrap()["type"], "left");
    bob.wait("track_unpublished").await;
    let left = bob.wait("participant_left").await;
    assert_eq!((&left["participant"], &left["reason"]), (&json!(ann_id), &json!("left")));
    assert_eq!(world.participants(&room).await, 2);
}

#[tokio::test]
async fn slots_speakers_and_the_end_of_media_reach_the_client() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, joined) = world.join(&room, "ann-1").await;
    let me = joined["participant"]["id"].clone();
    let sections = [("audio", "0", "sendonly"), ("video", "1", "recvonly")];
    let tracks = json!([{ "mid": "0", "source": "microphone" }]);
    let answer = ann.offer(1, &offer("annU", &sections), tracks).await;
    let slots = ann.wait("slots").await;
    assert_eq!(slots["slots"], json!([{ "mid": "1", "track": null }]));
    let track = answer["tracks"][0]["id"].as_str().unwrap().parse().unwrap();
    let node = world.node();
    let id = room.parse().unwrap();
    node.publish(Event::SpeakersChanged { room: id, tracks: vec![track] });
    assert_eq!(ann.wait("speakers").await["participants"], json!([me]));
    let session = node.last_session();
    node.publish(Event::Interrupted { session });
    assert_eq!(ann.wait("media").await["state"], "interrupted");
    node.publish(Event::SessionEnded { session, reason: EndReason::ConsentLost });
    let (code, before) = ann.closed().await;
    assert_eq!(code, 1000);
    assert_eq!(before.last().unwrap()["reason"], "timeout");
}

#[tokio::test]
async fn a_later_offer_keeps_ids_adds_and_ends_tracks() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let (mut bob, _) = world.join(&room, "bob-1").await;
    let one = [("audio", "0", "sendonly")];
    let two = [("audio", "0", "sendonly"), ("video", "1", "sendonly")];
    let microphone = json!({ "mid": "0", "source": "microphone" });
    let screen = json!({ "mid": "1", "source": "screen" });
    let first = ann.offer(1, &offer("u111", &one), json!([microphone])).await;
    let second = ann.offer(2, &offer("u111", &two), json!([microphone, screen])).await;
    assert_eq!(first["tracks"][0]["id"], second["tracks"][0]["id"]);
    bob.wait("track_published").await;
    assert_eq!(bob.wait("track_published").await["track"]["source"], "screen");
    let third = ann.offer(3, &offer("u111", &two), json!([screen])).await;
    assert_eq!(third["tracks"][0]["id"], second["tracks"][1]["id"]);
    assert_eq!(bob.wait("track_unpublished").await["track"], first["tracks"][0]["id"]);
    // Permissions reach the media node, too.
    let granted = world.node().commands().into_iter().find_map(|c| match c {
        Command::OpenSession { permissions, .. } => Some(permissions),
        _ => None,
    });
    assert_eq!(granted.unwrap().publish.len(), 4);
}

#[tokio::test]
async fn a_cut_session_resumes_and_gets_what_it_missed() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, joined) = world.join(&room, "ann-1").await;
    let ticket = joined["ticket"].as_str().unwrap().to_owned();
    ann.send(json!({ "type": "ping" })).await;
    ann.wait("pong").await;
    let (sent, received) = (ann.sent, ann.received);
    drop(ann);
    let (mut bob, _) = world.join(&room, "bob-1").await;
    let sdp = offer("bobU", &[("video", "0", "sendonly")]);
    bob.offer(1, &sdp, json!([{ "mid": "0", "source": "camera" }])).await;

    let mut ann = world.connect().await;
    (ann.sent, ann.received) = (sent, received);
    let resumed = ann.resume(&ticket, received).await;
    assert_eq!((&resumed["type"], &resumed["received"]), (&json!("resumed"), &json!(sent)));
    assert_eq!(ann.next().await["type"], "participant_joined");
    assert_eq!(ann.next().await["type"], "track_published");
    ann.send(json!({ "type": "ping" })).await;
    assert_eq!(ann.next().await["type"], "pong", "the sequence goes on");

    // The old ticket is used up; the new one supersedes the open connection.
    let mut thief = world.connect().await;
    thief.resume_refused(&ticket).await;
    let fresh = resumed["ticket"].as_str().unwrap();
    let mut again = world.connect().await;
    again.received = ann.received;
    assert_eq!(again.resume(fresh, ann.received).await["type"], "resumed");
    assert_eq!(ann.closed().await.0, 4001);
    assert_eq!(world.participants(&room).await, 2, "nobody left meanwhile");
}

impl common::Socket {
    async fn resume_refused(&mut self, ticket: &str) {
        let hello = json!({ "type": "resume", "ticket": ticket, "received": 0 });
        self.text(hello.to_string()).await;
        assert_eq!(self.refused().await, (1008, "resume_refused".to_owned()));
    }
}

#[tokio::test]
async fn a_deleted_room_removes_everybody_and_refuses_its_tokens() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let token = world.token(&room, "bob-1").await;
    let path = format!("/v1/rooms/{room}");
    let delete = || world.ask(reqwest::Method::DELETE, &path).send();
    assert_eq!(delete().await.unwrap().status(), 204);
    let (code, before) = ann.closed().await;
    assert_eq!((code, &before.last().unwrap()["reason"]), (1000, &json!("room_closed")));
    let mut bob = world.connect().await;
    bob.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(bob.refused().await, (1008, "token_refused".to_owned()));
    problem(delete().await.unwrap(), 404, "not_found").await;
}

#[tokio::test]
async fn a_full_room_and_a_missing_media_node_are_told() {
    let world = World::start().await;
    let room = world.room_with(&json!({ "settings": { "participants_max": 1 } })).await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let token = world.token(&room, "bob-1").await;
    let mut bob = world.connect().await;
    bob.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(bob.refused().await, (1008, "room_full".to_owned()));
    // The token was not used up.
    ann.send(json!({ "type": "leave" })).await;
    ann.closed().await;
    let mut bob = world.connect().await;
    assert_eq!(bob.join(&token).await["type"], "joined");

    let lonely = World::build(common::config(), false).await;
    let room = lonely.room().await;
    let token = lonely.token(&room, "ann-1").await;
    let mut ann = lonely.connect().await;
    ann.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(ann.refused().await, (1008, "no_media_node".to_owned()));
    let ready = lonely.http.get(lonely.url("/readyz")).send().await.unwrap();
    problem(ready, 503, "no_media_node").await;
}

#[tokio::test]
async fn losing_the_media_node_ends_sessions_and_the_room_is_placed_anew() {
    let mut world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    world.node = None; // Drops the membership: the node leaves the bus.
    let (_, before) = ann.closed().await;
    assert_eq!(before.last().unwrap()["reason"], "server_error");
    assert_eq!(world.participants(&room).await, 0);
    world.node = Some(common::Node::start(&world.bus).await);
    let (_ann, _) = world.join(&room, "ann-1").await;
    let opened = |c: &Command| matches!(c, Command::OpenRoom { .. });
    assert!(world.node().commands().iter().any(opened));
}

#[tokio::test]
async fn offers_are_refused_with_a_reason_and_the_session_goes_on() {
    let world = World::start().await;
    let room = world.room().await;
    let grants = json!({ "publish": ["microphone"], "subscribe": true });
    let token = world.token_with(&room, &json!({ "handle": "ann-1", "grants": grants })).await;
    let mut ann = world.connect().await;
    assert_eq!(ann.join(&token).await["type"], "joined");
    let sections = [("audio", "0", "sendonly"), ("video", "1", "recvonly")];
    let sdp = offer("annU", &sections);
    let cases = [
        ("junk".to_owned(), json!([]), "malformed_sdp"),
        (format!("{sdp}{}", "a=x\r\n".repeat(10_000)), json!([]), "malformed_sdp"),
        (sdp.clone(), json!([{ "mid": "1", "source": "camera" }]), "offer_refused"),
        (sdp.clone(), json!([{ "mid": "0", "source": "camera" }]), "offer_refused"),
        (sdp.clone(), json!([{ "mid": "9", "source": "microphone" }]), "offer_refused"),
        (sdp.clone(), json!([{ "mid": "0", "source": "screen_audio" }]), "not_permitted"),
        (
            sdp.clone(),
            json!([{ "mid": "0", "source": "microphone" }, { "mid": "0", "source": "screen_audio" }]),
            "offer_refused",
        ),
    ];
    for (i, (sdp, tracks, code)) in cases.into_iter().enumerate() {
        let error = ann.offer(i as u64, &sdp, tracks).await;
        assert_eq!(error["error"]["code"], code, "{error}");
        assert_eq!((&error["offer"], &error["fatal"]), (&json!(i), &json!(false)));
    }
    let tracks = json!([{ "mid": "0", "source": "microphone" }]);
    assert_eq!(ann.offer(99, &sdp, tracks).await["type"], "answer");
}

#[tokio::test]
async fn an_unanswered_offer_times_out_and_a_second_one_waits() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    world.node().answers.store(false, Relaxed);
    let sdp = offer("annU", &[("audio", "0", "sendonly")]);
    ann.send(json!({ "type": "offer", "id": 1, "sdp": sdp, "tracks": [] })).await;
    let busy = ann.offer(2, &sdp, json!([])).await;
    assert_eq!((&busy["error"]["code"], &busy["offer"]), (&json!("unexpected_message"), &json!(2)));
    let late = ann.wait("error").await;
    assert_eq!((&late["error"]["code"], &late["offer"]), (&json!("internal"), &json!(1)));
    world.node().answers.store(true, Relaxed);
    assert_eq!(ann.offer(3, &sdp, json!([])).await["type"], "answer");
}

#[tokio::test]
async fn the_server_says_goodbye_when_it_stops_and_rooms_survive() {
    let mut world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let folder = world.folder.clone();
    let server = std::mem::replace(&mut world.server, spare().await);
    let stopped = tokio::spawn(server.shutdown());
    assert_eq!(ann.closed().await.0, 1001);
    tokio::time::timeout(Duration::from_secs(15), stopped).await.unwrap().unwrap();
    let store = common::open(&folder).await;
    let bus = std::sync::Arc::new(bus::InProcessBus::new());
    let registry = prometheus::Registry::new();
    let again = signaling::serve(common::config(), store, bus, registry, None).await.unwrap();
    world.server = again;
    assert_eq!(world.participants(&room).await, 0);
}

async fn spare() -> signaling::Server {
    let store = common::open(&common::folder()).await;
    let bus = std::sync::Arc::new(bus::InProcessBus::new());
    signaling::serve(common::config(), store, bus, prometheus::Registry::new(), None).await.unwrap()
}
