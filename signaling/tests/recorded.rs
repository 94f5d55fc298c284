//! Recordings as the people of a room and its media node see them, against a running server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Log, Socket, World, databases::Place, json_of, past};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sfu_proto::control::{Command, Tap};

const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

impl World {
    /// A policy of the project, with this rule.
    async fn policy(&self, rule: Value) {
        let body = json!({ "name": "archive", "storage": { "kind": "local" } });
        let target = json_of(self.post("/v1/storage-targets", &body).await).await;
        let policy = json!({ "recipients": [RECIPIENT], "target": target["id"], "rule": rule });
        let request = self.ask(Method::PUT, "/v1/recording-policy");
        let request = request.header("content-type", "application/json").body(policy.to_string());
        assert_eq!(request.send().await.unwrap().status(), 200);
    }

    async fn clerk(&self, room: &str) -> Socket {
        let grants = json!({ "subscribe": true, "record": true });
        let token = self.token_with(room, &json!({ "handle": "clerk-1", "grants": grants })).await;
        let mut clerk = self.connect().await;
        assert_eq!(clerk.join(&token).await["type"], "joined");
        clerk
    }

    fn taps(&self) -> Vec<Option<Tap>> {
        let taps = self.node().commands().into_iter().filter_map(|command| match command {
            Command::SetTap { tap, .. } => Some(tap),
            _ => None,
        });
        taps.collect()
    }

    /// Waits until the newest tap has so many tracks; none: until it is over.
    async fn tapped(&self, tracks: Option<usize>) {
        let is_so = |tap: &Option<Tap>| tap.as_ref().map(|tap| tap.tracks.len()) == tracks;
        common::until("the tap", async || self.taps().last().is_some_and(is_so)).await;
    }

    async fn recording(&self, id: &str) -> Value {
        json_of(self.ask(Method::GET, &format!("/v1/recordings/{id}")).send().await.unwrap()).await
    }
}

async fn act(socket: &mut Socket, id: u64, what: &str) -> Value {
    let action = json!({ "type": what });
    socket.send(json!({ "type": "act", "id": id, "action": action })).await;
    socket.wait("acted").await
}

#[tokio::test]
async fn consent_decides_what_the_recorder_is_given() {
    let world = World::start().await;
    world.policy(json!({ "consent": true })).await;
    let room = world.room().await;
    let mut clerk = world.clerk(&room).await;
    let (mut bob, _) = world.join(&room, "bob-1").await;
    let sdp = common::offer("bobU", &[("audio", "0", "sendonly")]);
    let tracks = json!([{ "mid": "0", "source": "microphone" }]);
    assert_eq!(bob.offer(1, &sdp, tracks).await["type"], "answer");
    clerk.send(json!({ "type": "act", "id": 1, "action": { "type": "start_recording" } })).await;
    let told = clerk.wait("recording").await["recording"].clone();
    assert_eq!((&told["consent"], &told["paused"]), (&json!(true), &json!(false)));
    let id = clerk.wait("acted").await["result"]["recording"].as_str().unwrap().to_owned();
    assert_eq!(told["id"], id);
    assert_eq!(bob.wait("recording").await["recording"], told);
    world.tapped(Some(0)).await;
    assert_eq!(world.recording(&id).await["state"], "recording");
    bob.send(json!({ "type": "consent", "granted": true })).await;
    world.tapped(Some(1)).await;
    bob.send(json!({ "type": "consent", "granted": false })).await;
    world.tapped(Some(0)).await;
    assert!(act(&mut clerk, 2, "pause_recording").await["result"].is_object());
    assert_eq!(bob.wait("recording").await["recording"]["paused"], true);
    assert_eq!(world.recording(&id).await["state"], "paused");
    bob.send(json!({ "type": "consent", "granted": true })).await;
    assert!(act(&mut clerk, 3, "resume_recording").await["result"].is_object());
    assert_eq!(bob.wait("recording").await["recording"]["paused"], false);
    world.tapped(Some(0)).await;
    bob.send(json!({ "type": "ping" })).await;
    world.tapped(Some(1)).await;
    assert!(act(&mut clerk, 4, "stop_recording").await["result"].is_object());
    world.tapped(None).await;
    let over = world.recording(&id).await;
    assert_eq!((&over["state"], &over["stop_reason"]), (&json!("recorded"), &json!("requested")));
    let log = Log::open(&world).await;
    let kinds: Vec<_> = log.of_room(&room).await.into_iter().map(|event| event.0).collect();
    let recorded = kinds.iter().filter(|k| k.starts_with("recording.") || k.starts_with("consent"));
    let wanted = [
        "recording.started",
        "consent.changed",
        "consent.changed",
        "recording.paused",
        "consent.changed",
        "recording.resumed",
        "recording.stopped",
    ];
    assert_eq!(recorded.collect::<Vec<_>>(), wanted);
}

#[tokio::test]
async fn texts_go_to_the_recorder_where_the_rule_says_so_and_what_it_refuses_is_told() {
    let world = World::start().await;
    world.policy(json!({ "data": true })).await;
    let room = world.room().await;
    let grants = json!({ "data": true, "record": true });
    let token = world.token_with(&room, &json!({ "handle": "ann-1", "grants": grants })).await;
    let mut ann = world.connect().await;
    assert_eq!(ann.join(&token).await["type"], "joined");
    let (mut bob, _) = world.join(&room, "bob-1").await;
    assert!(act(&mut ann, 1, "start_recording").await["result"].is_object());
    assert_eq!(bob.wait("recording").await["recording"]["data"], true);
    for (text, has_room) in [("one", true), ("two", false), ("three", false), ("four", true)] {
        world.has_room.store(has_room, std::sync::atomic::Ordering::Relaxed);
        ann.send(json!({ "type": "data", "body": text })).await;
        assert_eq!(bob.wait("data").await["body"], text);
    }
    let has_room = |has| world.has_room.store(has, std::sync::atomic::Ordering::Relaxed);
    has_room(false);
    ann.send(json!({ "type": "data", "body": "last" })).await;
    assert_eq!(bob.wait("data").await["body"], "last");
    has_room(true);
    assert!(act(&mut ann, 2, "stop_recording").await["result"].is_object());
    let taken: Vec<_> =
        world.texts.lock().unwrap().iter().map(|(text, lost)| (text.body.clone(), *lost)).collect();
    let wanted = [("one", 0), ("", 2), ("four", 0), ("", 1)];
    assert_eq!(taken, wanted.map(|(text, lost)| (text.to_owned(), lost)));
    let metrics = world.metrics().await;
    assert!(metrics.contains("conclave_recorded_texts_lost_total 3"));
}

#[tokio::test]
async fn by_rule_it_begins_with_the_first_who_comes_and_ends_with_the_room() {
    let world = World::start().await;
    world.policy(json!({})).await;
    let settings = json!({ "settings": { "recording": { "auto": true } } });
    let room = world.room_with(&settings).await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let id = ann.wait("recording").await["recording"]["id"].as_str().unwrap().to_owned();
    world.tapped(Some(0)).await;
    let (_, joined) = world.join(&room, "bob-1").await;
    assert_eq!(joined["room"]["recording"]["id"], id, "who joins later finds it in `joined`");
    let gone = world.ask(Method::DELETE, &format!("/v1/rooms/{room}")).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    common::until("it is over", async || world.recording(&id).await["stop_reason"] == "room_ended")
        .await;
}

#[tokio::test]
async fn a_start_that_is_repeated_starts_once() {
    let world = World::start().await;
    world.policy(json!({})).await;
    let room = world.room().await;
    let start = json!({ "type": "start_recording" }).to_string();
    let send = |key: &'static str| {
        let request = world.ask(Method::POST, &format!("/v1/rooms/{room}/actions"));
        let request = request.header("idempotency-key", key);
        request.header("content-type", "application/json").body(start.clone()).send()
    };
    let (one, two) = tokio::join!(send("k1"), send("k1"));
    let (one, two) = (json_of(one.unwrap()).await, json_of(two.unwrap()).await);
    assert!(one["recording"].is_string() && one == two, "{one} {two}");
    assert_eq!(send("k2").await.unwrap().status(), 409, "one at a time");
}

#[tokio::test]
async fn a_recorder_that_fails_ends_it_with_its_reason() {
    let world = World::start().await;
    world.policy(json!({})).await;
    let room = world.room().await;
    let mut clerk = world.clerk(&room).await;
    let started = act(&mut clerk, 1, "start_recording").await;
    let id = started["result"]["recording"].as_str().unwrap().to_owned();
    let reason = sdk_spec::recording::StopReason::DiskFull;
    world.server.recording_failed(room.parse().unwrap(), id.parse().unwrap(), reason).await;
    assert!(clerk.wait("recording").await["recording"].is_null());
    common::until("it is stored", async || {
        world.recording(&id).await["stop_reason"] == "disk_full"
    })
    .await;
}

#[tokio::test]
async fn a_database_that_hangs_keeps_nobody_from_stopping_a_recording() {
    let world = World::start_on(Place::postgres()).await;
    world.policy(json!({})).await;
    let (mut rooms, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let room = world.room().await;
        rooms.push(world.clerk(&room).await);
        let started = act(rooms.last_mut().unwrap(), 1, "start_recording").await;
        ids.push(started["result"]["recording"].as_str().unwrap().to_owned());
        common::until("it is tapped", async || world.taps().iter().flatten().count() == ids.len())
            .await;
    }
    let over = || world.taps().iter().filter(|tap| tap.is_none()).count();
    let stop = |id: &str, key: &str| {
        let url = world.url(&format!("/v1/recordings/{id}/stop"));
        let request = world.http.post(url).bearer_auth(key.to_owned());
        tokio::spawn(async move { request.send().await.unwrap() })
    };

    let lock = past::pool(&world.place.url).await;
    let mut hanging = lock.begin().await.unwrap();
    let tables = "LOCK TABLE api_keys, projects, rooms, recordings IN ACCESS EXCLUSIVE MODE";
    sqlx::query(tables).execute(&mut *hanging).await.unwrap();
    let began = std::time::Instant::now();
    let by_rest = stop(&ids[0], &world.key);
    common::until("the first left the tap", async || over() == 1).await;
    rooms[1].send(json!({ "type": "act", "id": 2, "action": { "type": "stop_recording" } })).await;
    common::until("so did the second", async || over() == 2).await;
    // The store gives up after 5 s: nobody waited for it.
    assert!(began.elapsed() < std::time::Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(rooms[0].wait("recording").await["recording"].is_null());
    let unstored: Response = by_rest.await.unwrap();
    let told = common::problem(unstored, 503, "unavailable").await;
    assert!(told["detail"].as_str().unwrap().contains("not stored yet"), "{told}");
    let forged = format!("{}x", &world.key[..world.key.len() - 1]);
    common::problem(stop(&ids[0], &forged).await.unwrap(), 401, "unauthorized").await;
    hanging.rollback().await.unwrap();
    lock.close().await;
    for id in &ids {
        common::until("it is stored", async || stop(id, &world.key).await.unwrap().status() == 200)
            .await;
        assert_eq!(world.recording(id).await["stop_reason"], "requested");
    }
}

#[tokio::test]
async fn a_server_without_a_recorder_records_nothing_whatever_the_rules_say() {
    let mut world = World::start().await;
    world.policy(json!({ "auto": true })).await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    assert!(ann.wait("recording").await["recording"].is_object(), "with one it does");
    // The one that takes over has none.
    world.take_over().await;
    let mut clerk = world.clerk(&room).await;
    let started = act(&mut clerk, 1, "start_recording").await;
    assert_eq!(started["refused"], "not_configured", "neither by rule nor by wish: {started}");
}
