//! Moderation by REST and in the client, and renewal of tokens, against a running server.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{Log, Socket, World, json_of, problem};
use reqwest::Method;
use sdk_spec::scope::Scope;
use serde_json::{Value, json};
use sfu_proto::control::Command;
use signaling::admin;

async fn act(world: &World, room: &str, action: &Value) -> reqwest::Response {
    world.post(&format!("/v1/rooms/{room}/actions"), action).await
}

async fn join_as(world: &World, room: &str, body: Value) -> (Socket, Value) {
    let token = world.token_with(room, &body).await;
    let mut socket = world.connect().await;
    let joined = socket.join(&token).await;
    assert_eq!(joined["type"], "joined", "{joined}");
    (socket, joined)
}

fn id(joined: &Value) -> String {
    joined["participant"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_ejected_is_gone_at_once_with_token_and_ticket() {
    let world = World::start().await;
    let room = world.room().await;
    let token = world.token(&room, "ann-1").await;
    let mut ann = world.connect().await;
    let joined = ann.join(&token).await;
    let sdp = common::offer("annU", &[("audio", "0", "sendonly")]);
    let tracks = json!([{ "mid": "0", "source": "microphone" }]);
    assert_eq!(ann.offer(1, &sdp, tracks).await["type"], "answer");
    let (mut bob, _) = world.join(&room, "bob-1").await;
    let ticket = joined["ticket"].as_str().unwrap().to_owned();
    let session = world.node().last_session();
    let began = Instant::now();
    let eject = json!({ "type": "eject", "participant": id(&joined), "ban_seconds": 600 });
    let (acted, closed) = tokio::join!(act(&world, &room, &eject), ann.closed());
    assert_eq!(acted.status(), 200);
    assert_eq!(json_of(acted).await["participants"], 1);
    assert_eq!(closed.1.last().unwrap()["reason"], "removed");
    println!("ejected and stored after {:?}", began.elapsed());
    assert_eq!(bob.wait("participant_left").await["reason"], "removed");
    let ends = |c: &Command| matches!(c, Command::CloseSession { session: s } if *s == session);
    common::until("media is gone", async || world.node().commands().iter().any(ends)).await;

    let mut back = world.connect().await;
    back.text(json!({ "type": "resume", "ticket": ticket, "received": 1 }).to_string()).await;
    assert_eq!(back.refused().await.1, "resume_refused");
    let mut back = world.connect().await;
    back.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(back.refused().await.1, "banned");
    let fresh = world.token(&room, "ann-1").await;
    let mut back = world.connect().await;
    back.text(json!({ "type": "join", "token": fresh }).to_string()).await;
    assert_eq!(back.refused().await.1, "banned");
    // Without a ban the token that let somebody in is void all the same; a new one is not.
    let used = world.token(&room, "eve-1").await;
    let mut eve = world.connect().await;
    let joined = eve.join(&used).await;
    let eject = json!({ "type": "eject", "participant": id(&joined), "ban_seconds": 0 });
    assert_eq!(act(&world, &room, &eject).await.status(), 200);
    eve.closed().await;
    let mut back = world.connect().await;
    back.text(json!({ "type": "join", "token": used }).to_string()).await;
    assert_eq!(back.refused().await.1, "token_refused");
    world.join(&room, "eve-1").await;
    let log = Log::open(&world).await;
    let told = log.of_room(&room).await;
    assert!(told.iter().any(|e| e.0 == "handle.banned"));
    let left: Vec<_> = told.iter().filter(|e| e.0 == "participant.left").collect();
    assert!(left.len() == 2 && left.iter().all(|e| e.1["reason"] == "removed"));
}

#[tokio::test]
async fn a_retried_action_is_carried_out_once() {
    let world = World::start().await;
    let room = world.room().await;
    let create = json!({ "type": "create_breakouts", "rooms": [{}] }).to_string();
    let send = |key: &'static str, body: String| {
        let request = world.ask(Method::POST, &format!("/v1/rooms/{room}/actions"));
        let request = request.header("idempotency-key", key);
        request.header("content-type", "application/json").body(body).send()
    };
    let (one, two) = tokio::join!(send("k1", create.clone()), send("k1", create.clone()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200));
    let (one, two) = (json_of(one).await, json_of(two).await);
    assert_eq!(one, two, "the first answer");
    assert_eq!(one["breakouts"].as_array().unwrap().len(), 1);
    let other = send("k1", json!({ "type": "close_breakouts" }).to_string()).await.unwrap();
    problem(other, 422, "idempotency_key_reused").await;
    let path = format!("/v1/rooms/{room}/breakouts");
    let list = json_of(world.ask(Method::GET, &path).send().await.unwrap()).await;
    assert_eq!(list["breakouts"].as_array().unwrap().len(), 1);
    let two = json_of(send("k2", create).await.unwrap()).await;
    assert_ne!(two["breakouts"][0]["room"], one["breakouts"][0]["room"]);
}

#[tokio::test]
async fn what_an_action_cannot_do_is_told() {
    let world = World::start().await;
    let room = world.room().await;
    let nobody = "pa_00000000000000000000000000";
    #[rustfmt::skip]
    let cases = [
        (json!({ "type": "eject", "participant": nobody }), 409, "action_refused"),
        (json!({ "type": "extend", "seconds": 60 }), 409, "action_refused"),
        (json!({ "type": "update", "settings": { "floor_max": 0 } }), 422, "invalid_field"),
        (json!({ "type": "dance" }), 422, "invalid_field"),
        (json!({ "type": "close", "now": true }), 422, "invalid_field"),
        (json!({}), 422, "invalid_field"),
    ];
    for (action, status, code) in cases {
        problem(act(&world, &room, &action).await, status, code).await;
    }
    let stale = world.ask(Method::POST, &format!("/v1/rooms/{room}/actions"));
    let stale = stale.header("if-match", "\"9\"").header("content-type", "application/json");
    let stale = stale.body(json!({ "type": "update", "settings": {} }).to_string());
    problem(stale.send().await.unwrap(), 412, "version_mismatch").await;
    let unknown = "rm_00000000000000000000000000";
    problem(act(&world, unknown, &json!({ "type": "close" })).await, 404, "not_found").await;

    let writer = admin::create_key(&world.store, &world.project, &[Scope::RoomsWrite]).await;
    let request = world.http.post(world.url(&format!("/v1/rooms/{room}/actions")));
    let request = request.bearer_auth(writer.unwrap().secret);
    let request = request.header("content-type", "application/json");
    let refused = request.body(json!({ "type": "close" }).to_string()).send().await.unwrap();
    problem(refused, 403, "scope_missing").await;
}

#[tokio::test]
async fn a_moderator_does_in_the_client_what_the_partner_does_by_rest() {
    let world = World::start().await;
    let room = world.room().await;
    let wish = json!({ "handle": "mod-1", "role": "moderator", "grants": { "subscribe": true } });
    let (mut moderator, _) = join_as(&world, &room, wish).await;
    let (mut ann, joined) = world.join(&room, "ann-1").await;
    let mute = json!({ "type": "mute", "participant": id(&joined), "muted": true });
    moderator.send(json!({ "type": "act", "id": 1, "action": mute })).await;
    let acted = moderator.wait("acted").await;
    assert_eq!((&acted["id"], &acted["result"]["participants"]), (&json!(1), &json!(1)));
    let update = json!({ "type": "update", "settings": { "locked": true } });
    ann.send(json!({ "type": "act", "id": 7, "action": update })).await;
    let refused = ann.wait("acted").await;
    assert_eq!((&refused["id"], &refused["refused"]), (&json!(7), &json!("not_permitted")));
    moderator.send(json!({ "type": "act", "id": 2, "action": update })).await;
    let acted = moderator.wait("acted").await;
    assert_eq!(acted["result"]["version"], 2);
    // What was acknowledged is stored.
    let read = world.ask(Method::GET, &format!("/v1/rooms/{room}")).send().await.unwrap();
    assert_eq!(json_of(read).await["settings"]["locked"], true);
    let told = Log::open(&world).await.of_room(&room).await;
    let kinds: Vec<_> = told.iter().map(|e| e.0.as_str()).collect();
    assert!(kinds.contains(&"participant.muted") && kinds.contains(&"room.updated"), "{kinds:?}");
}

#[tokio::test]
async fn a_token_is_renewed_in_the_session_once_and_only_for_its_room() {
    let world = World::start().await;
    let (room, other) = (world.room().await, world.room().await);
    let wish = json!({ "handle": "ann-1", "grants": {} });
    let (mut ann, joined) = join_as(&world, &room, wish).await;
    assert_eq!(joined["grants"]["subscribe"], false);
    let renew = |token: &str| json!({ "type": "renew", "token": token });

    let better = json!({ "handle": "ann-1", "grants": { "subscribe": true, "data": true } });
    let token = world.token_with(&room, &better).await;
    ann.send(renew(&token)).await;
    ann.wait("renewed").await;
    let changed = ann.wait("grants_changed").await;
    assert_eq!(changed["grants"]["subscribe"], true);

    let foreign = world.token(&other, "ann-1").await;
    let somebody = world.token(&room, "bob-1").await;
    for bad in [token.as_str(), &foreign, &somebody, "junk"] {
        ann.send(renew(bad)).await;
        let refused = ann.wait("error").await;
        assert_eq!(
            (&refused["fatal"], &refused["error"]["code"]),
            (&json!(false), &json!("token_refused"))
        );
    }
    ann.send(json!({ "type": "ping" })).await;
    ann.wait("pong").await;
    // A token that was refused for its room is good there still.
    let mut there = world.connect().await;
    assert_eq!(there.join(&foreign).await["type"], "joined");
    // One that was accepted is used up.
    let mut again = world.connect().await;
    again.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(again.refused().await.1, "token_refused");
}

#[tokio::test]
async fn a_store_that_stands_still_stops_no_running_room_and_loses_nothing() {
    let world = World::start().await;
    let room = world.room().await;
    let wish = json!({ "handle": "mod-1", "role": "moderator",
        "grants": { "subscribe": true, "data": true } });
    let (mut moderator, _) = join_as(&world, &room, wish).await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let late = world.token(&room, "late-1").await;
    let log = Log::open(&world).await;
    let lock = log.lock().await;
    let update = json!({ "type": "update", "settings": { "locked": true } });
    moderator.send(json!({ "type": "act", "id": 1, "action": update })).await;
    ann.send(json!({ "type": "leave" })).await;
    ann.closed().await;
    // The room goes on: its people hear each other, and nothing is acknowledged.
    let until = Instant::now() + Duration::from_secs(3);
    let mut heard = Vec::new();
    while Instant::now() < until {
        moderator.send(json!({ "type": "ping" })).await;
        loop {
            let message = moderator.next().await;
            heard.push(message["type"].as_str().unwrap().to_owned());
            if message["type"] == "pong" {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(heard.iter().any(|kind| kind == "participant_left"));
    assert!(!heard.iter().any(|kind| kind == "acted"), "not stored, not acknowledged");
    let mut socket = world.connect().await;
    let joining = tokio::spawn(async move {
        let answer = socket.join(&late).await;
        (answer, socket)
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(lock);
    let acted = moderator.wait("acted").await;
    assert_eq!(acted["result"]["version"], 2);
    let (answer, _socket) = joining.await.unwrap();
    let kinds = async || {
        let told = log.of_room(&room).await;
        told.into_iter().map(|e| e.0).collect::<Vec<_>>()
    };
    let told = kinds().await;
    for kind in ["room.updated", "participant.left"] {
        assert_eq!(told.iter().filter(|k| *k == kind).count(), 1, "{told:?}");
    }
    // Locked in the meantime, by the change that had to wait.
    assert_eq!(answer["type"], "error", "{answer}");
    assert_eq!(answer["error"]["code"], "room_locked");
}
