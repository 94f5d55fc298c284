//! A media node that takes no commands for a while.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use common::{Socket, World, offer, problem};
use reqwest::Method;
use serde_json::json;
use sfu_proto::control::Command;

async fn publish(socket: &mut Socket) {
    let sdp = offer("anyU", &[("audio", "0", "sendonly")]);
    let tracks = json!([{ "mid": "0", "source": "microphone" }]);
    assert_eq!(socket.offer(1, &sdp, tracks).await["type"], "answer");
}

/// The node's commands from `from` on, once there are `count`.
async fn commands(world: &World, from: usize, count: usize) -> Vec<Command> {
    for _ in 0..100 {
        let all = world.node().commands();
        if all.len() >= from + count {
            return all[from..].to_vec();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("only {:?}", &world.node().commands()[from..]);
}

#[tokio::test]
async fn who_left_while_the_node_was_busy_is_closed_later() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let (mut bob, _) = world.join(&room, "bob-1").await;
    publish(&mut ann).await;
    publish(&mut bob).await;
    let before = world.node().commands().len();
    world.node().busy.store(true, Relaxed);
    ann.send(json!({ "type": "leave" })).await;
    bob.wait("participant_left").await;
    assert_eq!(world.node().commands().len(), before);
    world.node().busy.store(false, Relaxed);
    let told = commands(&world, before, 1).await;
    assert!(matches!(told[..], [Command::CloseSession { .. }]), "{told:?}");
}

#[tokio::test]
async fn a_room_deleted_while_the_node_was_busy_is_closed_later_and_once() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let (mut bob, _) = world.join(&room, "bob-1").await;
    publish(&mut ann).await;
    publish(&mut bob).await;
    let before = world.node().commands().len();
    world.node().busy.store(true, Relaxed);
    ann.send(json!({ "type": "leave" })).await;
    bob.wait("participant_left").await;
    let path = format!("/v1/rooms/{room}");
    assert_eq!(world.ask(Method::DELETE, &path).send().await.unwrap().status(), 204);
    bob.closed().await;
    world.node().busy.store(false, Relaxed);
    let told = commands(&world, before, 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(matches!(told[..], [Command::CloseRoom { .. }]), "{told:?}");
    assert_eq!(world.node().commands().len(), before + 1);
}

#[tokio::test]
async fn a_room_opens_again_only_after_it_was_closed() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    publish(&mut ann).await;
    let before = world.node().commands().len();
    world.node().busy.store(true, Relaxed);
    ann.send(json!({ "type": "leave" })).await;
    ann.closed().await;
    let mut early = world.connect().await;
    let joined = early.join(&world.token(&room, "bob-1").await).await;
    assert_eq!(joined["type"], "joined");
    assert_eq!(early.refused().await.1, "no_media_node");
    assert_eq!(world.participants(&room).await, 0);
    world.node().busy.store(false, Relaxed);
    let (mut bob, _) = world.join(&room, "bob-1").await;
    publish(&mut bob).await;
    let told = commands(&world, before, 4).await;
    assert!(
        matches!(
            told[..],
            [
                Command::CloseRoom { .. },
                Command::OpenRoom { .. },
                Command::OpenSession { .. },
                Command::Offer { .. }
            ]
        ),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_session_that_a_busy_node_does_not_take_is_refused_and_leaves_nothing() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let (mut bob, _) = world.join(&room, "bob-1").await;
    let before = world.node().commands().len();
    world.node().busy.store(true, Relaxed);
    let sdp = offer("annU", &[("audio", "0", "sendonly")]);
    ann.send(json!({ "type": "offer", "id": 1, "sdp": sdp, "tracks": [] })).await;
    assert_eq!(ann.refused().await.1, "no_media_node");
    bob.wait("participant_left").await;
    let token = world.token(&room, "encoder-1").await;
    let whip = world.http.post(world.url("/v1/whip")).bearer_auth(&token);
    let whip = whip.header("content-type", "application/sdp").body(sdp).send().await.unwrap();
    problem(whip, 503, "no_media_node").await;
    world.node().busy.store(false, Relaxed);
    publish(&mut bob).await;
    let told = commands(&world, before, 2).await;
    assert!(matches!(told[..], [Command::OpenSession { .. }, Command::Offer { .. }]), "{told:?}");
    assert_eq!(world.participants(&room).await, 1);
}

#[tokio::test]
async fn mutes_that_a_busy_node_did_not_take_reach_it_later_and_only_the_newest() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let (mut bob, _) = world.join(&room, "bob-1").await;
    publish(&mut ann).await;
    let track = bob.wait("track_published").await["track"]["id"].as_str().unwrap().to_owned();
    let before = world.node().commands().len();
    world.node().busy.store(true, Relaxed);
    for muted in [true, false, true] {
        ann.send(json!({ "type": "mute", "track": track, "muted": muted })).await;
        assert_eq!(bob.wait("track_muted").await["muted"], muted);
    }
    world.node().busy.store(false, Relaxed);
    commands(&world, before, 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let told = world.node().commands()[before..].to_vec();
    assert!(matches!(told[..], [Command::SetMuted { muted: true, .. }]), "{told:?}");
}
