//! What a project may have at once, kept where people come in and rooms are made.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Socket, World, json_of, offer, problem};
use reqwest::Method;
use sdk_spec::scope::OperatorScope;
use serde_json::{Value, json};
use signaling::admin;

/// A server whose project has these quotas.
async fn world(quotas: Value) -> World {
    let listen = Some("127.0.0.1:0".parse().unwrap());
    let config = signaling::Config { operator_listen: listen, ..common::config() };
    let world = World::build(config, true).await;
    set_quotas(&world, quotas).await;
    world
}

async fn set_quotas(world: &World, quotas: Value) {
    let scopes = vec![OperatorScope::Read, OperatorScope::Write];
    let wish = admin::KeyWish { name: Some("ops".into()), scopes, expires_at_ms: None };
    let key = admin::create_operator_key(&world.store, wish).await.unwrap().secret;
    let address = world.server.operator_addr().unwrap();
    let url = format!("http://{address}/operator/v1/projects/{}", world.project);
    let request = world.http.request(Method::PATCH, url).bearer_auth(key);
    let request = request.header("content-type", "application/json");
    let body = json!({ "quotas": quotas }).to_string();
    assert_eq!(request.body(body).send().await.unwrap().status(), 200);
}

/// The answer to a join, and the socket that keeps the place.
async fn join(world: &World, token: &str) -> (Value, Socket) {
    let mut socket = world.connect().await;
    socket.text(json!({ "type": "join", "token": token }).to_string()).await;
    (socket.next().await, socket)
}

async fn act(world: &World, room: &str, action: &Value, key: &str) -> reqwest::Response {
    let request = world.ask(Method::POST, &format!("/v1/rooms/{room}/actions"));
    let request = request.header("idempotency-key", key).header("content-type", "application/json");
    request.body(action.to_string()).send().await.unwrap()
}

#[tokio::test]
async fn a_burst_of_joins_into_several_rooms_stays_within_the_quota() {
    let world = world(json!({ "participants": 5 })).await;
    let mut tokens = Vec::new();
    let mut rooms = Vec::new();
    for number in 0..3 {
        let wish = json!({ "settings": { "duplicate_handles": "replace" } });
        rooms.push(world.room_with(&wish).await);
        for user in 0..10 {
            tokens.push(world.token(&rooms[number], &format!("user-{number}-{user}")).await);
        }
    }
    let encoder = world.token(&rooms[0], "encoder-1").await;
    let answers =
        futures_util::future::join_all(tokens.iter().map(|token| join(&world, token))).await;
    let (inside, outside): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(answer, _)| answer["type"] == "joined");
    assert_eq!(inside.len(), 5);
    assert!(outside.iter().all(|(answer, _)| answer["error"]["code"] == "room_full"));
    let whip = world.http.post(world.url("/v1/whip")).bearer_auth(&encoder);
    let whip = whip.header("content-type", "application/sdp");
    let body = offer("encU", &[("audio", "0", "sendonly")]);
    problem(whip.body(body).send().await.unwrap(), 409, "quota_exceeded").await;

    // Who comes again needs no second place, and who goes leaves one.
    let (first, mut socket) = inside.into_iter().next().unwrap();
    let room = first["room"]["id"].as_str().unwrap();
    let handle = first["participant"]["handle"].as_str().unwrap();
    let (again, kept) = join(&world, &world.token(room, handle).await).await;
    assert_eq!(again["type"], "joined", "{again}");
    socket.closed().await;

    // A full project takes more as soon as its quota is raised.
    let late = world.token(&rooms[0], "late-1").await;
    let (answer, _) = join(&world, &late).await;
    assert_eq!(answer["error"]["code"], "room_full", "{answer}");
    set_quotas(&world, json!({ "participants": 6 })).await;
    let (answer, _late) = join(&world, &late).await;
    assert_eq!(answer["type"], "joined", "{answer}");
    drop(kept);
}

#[tokio::test]
async fn breakouts_count_among_the_open_rooms() {
    let world = world(json!({ "rooms": 3 })).await;
    let room = world.room().await;
    let create =
        |count: usize| json!({ "type": "create_breakouts", "rooms": vec![json!({}); count] });
    for _ in 0..2 {
        // A retry of what was refused is judged anew.
        problem(act(&world, &room, &create(3), "k1").await, 409, "quota_exceeded").await;
    }
    let shown = async || {
        let path = format!("/v1/rooms/{room}/breakouts");
        let list = json_of(world.ask(Method::GET, &path).send().await.unwrap()).await;
        list["breakouts"].as_array().unwrap().len()
    };
    assert_eq!(shown().await, 0);
    let made = json_of(act(&world, &room, &create(2), "k2").await).await;
    assert_eq!(made["breakouts"].as_array().unwrap().len(), 2, "{made}");
    assert_eq!(shown().await, 2);
    problem(act(&world, &room, &create(1), "k3").await, 409, "quota_exceeded").await;
    problem(world.post("/v1/rooms", &json!({})).await, 409, "too_many_rooms").await;
    let list = json_of(world.ask(Method::GET, "/v1/rooms").send().await.unwrap()).await;
    assert_eq!(list["rooms"].as_array().unwrap().len(), 3, "{list}");
    // Their ends give the places back.
    assert_eq!(act(&world, &room, &json!({ "type": "close_breakouts" }), "k4").await.status(), 200);
    common::until("places are free again", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        act(&world, &room, &create(2), "k5").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_ban_of_a_room_holds_in_its_breakouts() {
    let world = World::start().await;
    let room = world.room().await;
    let create = json!({ "type": "create_breakouts", "rooms": [{}] });
    let made = json_of(act(&world, &room, &create, "k1").await).await;
    let child = made["breakouts"][0]["room"].as_str().unwrap().to_owned();
    let (rude, good) = (world.token(&child, "rude-1").await, world.token(&child, "good-1").await);
    let ban = json!({ "handle": "rude-1", "room": room });
    assert_eq!(world.post("/v1/bans", &ban).await.status(), 201);
    let (answer, _) = join(&world, &rude).await;
    assert_eq!(answer["error"]["code"], "banned", "{answer}");
    assert_eq!(join(&world, &good).await.0["type"], "joined");
}
