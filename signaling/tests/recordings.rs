//! Recordings, policy and storage targets by REST.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::Ordering::Relaxed;

use common::{
    World,
    databases::{Place, on_both},
    json_of, past, problem, recorder,
};
use reqwest::{Method, Response};
use sdk_spec::scope::Scope;
use serde_json::{Value, json};
use signaling::admin;

on_both!(
    a_policy_names_who_can_read_and_where_it_goes,
    credentials_go_in_and_never_come_out,
    recordings_are_listed_in_pages_and_read_by_version,
    a_hold_stops_a_deletion_and_the_other_way_round,
    nothing_starts_without_recipients_and_a_target,
    credentials_are_replaced_and_a_recording_pushed_elsewhere,
    a_full_recorder_is_a_problem_of_its_own,
    what_is_recorded_by_a_rooms_settings_needs_the_scope,
);

const CANARY: &str = "canary-secret-9d1e77";
const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

impl World {
    async fn put(&self, path: &str, body: &Value) -> Response {
        let request = self.ask(Method::PUT, path).header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).send().await.unwrap()
    }

    async fn recording(&self, room: &str, state: &str) -> String {
        recorder::write(&self.place.url, &self.project, room, state).await
    }

    async fn target(&self) -> String {
        let body = json!({ "name": "archive", "storage": { "kind": "local" } });
        let made = self.post("/v1/storage-targets", &body).await;
        assert_eq!(made.status(), 201);
        json_of(made).await["id"].as_str().unwrap().to_owned()
    }
}

async fn a_policy_names_who_can_read_and_where_it_goes(place: Place) {
    let world = World::start_on(place).await;
    let none = json_of(world.get("/v1/recording-policy").await).await;
    assert_eq!((&none["recipients"], &none["max_age_hours"]), (&json!([]), &json!(72)));
    let target = world.target().await;
    let policy = json!({ "recipients": [RECIPIENT], "target": target, "sealed": true,
        "rule": { "outputs": ["tracks", "composite"], "height": 1080 } });
    let set = world.put("/v1/recording-policy", &policy).await;
    assert_eq!(set.status(), 200);
    let read = json_of(world.get("/v1/recording-policy").await).await;
    assert_eq!(read, json_of(set).await);
    assert_eq!(
        (&read["path"], &read["rule"]["height"]),
        (&json!("{room}/{recording}/{artifact}"), &json!(1080))
    );
    let foreign = json!({ "recipients": [RECIPIENT], "target": "st_00000000000000000000000000" });
    let refused =
        problem(world.put("/v1/recording-policy", &foreign).await, 422, "invalid_field").await;
    assert_eq!(refused["errors"][0]["field"], "target");
    let wrong = json!({ "recipients": ["AGE-SECRET-KEY-1"], "path": "x", "max_age_hours": 0 });
    let wrong =
        problem(world.put("/v1/recording-policy", &wrong).await, 422, "invalid_field").await;
    assert_eq!(wrong["errors"].as_array().unwrap().len(), 3);
    assert_eq!(json_of(world.get("/v1/recording-policy").await).await, read, "as it was");
}

async fn credentials_go_in_and_never_come_out(place: Place) {
    let world = World::start_on(place).await;
    let s3 = json!({ "name": "archive", "storage": { "kind": "s3", "region": "eu-central-1",
        "bucket": "b", "access_key": "AKIA", "secret_key": CANARY } });
    let put = json!({ "name": "put", "storage": { "kind": "http_put",
        "url": format!("https://put.example/{{path}}?sig={CANARY}"), "authorization": CANARY } });
    let mut said = Vec::new();
    let mut ids = Vec::new();
    for body in [&s3, &put] {
        let made = world.post("/v1/storage-targets", body).await;
        assert_eq!(made.status(), 201);
        let text = made.text().await.unwrap();
        let id = serde_json::from_str::<Value>(&text).unwrap()["id"].as_str().unwrap().to_owned();
        said.push(text);
        ids.push(id);
    }
    let one = format!("/v1/storage-targets/{}", ids[0]);
    for path in ["/v1/storage-targets", one.as_str(), "/v1/events", "/v1/audit/entries"] {
        said.push(world.get(path).await.text().await.unwrap());
    }
    let tested = world.post(&format!("{one}/test"), &json!({})).await.text().await.unwrap();
    assert_eq!(tested, r#"{"ok":false,"step":"write","reason":"credentials"}"#);
    let mut bad = s3.clone();
    bad["storage"]["region"] = json!("no region");
    said.push(world.post("/v1/storage-targets", &bad).await.text().await.unwrap());
    bad["storage"]["color"] = json!(CANARY);
    said.push(world.post("/v1/storage-targets", &bad).await.text().await.unwrap());
    // What the recorder cannot use is refused when it is set, not when it is needed.
    let gcs = json!({ "name": "gcs", "storage": { "kind": "gcs", "bucket": "b",
        "service_account": format!("{{\"{CANARY}\":1}}") } });
    for made in [world.post("/v1/storage-targets", &gcs).await, world.put(&one, &gcs).await] {
        let refused = problem(made, 422, "invalid_field").await;
        assert_eq!(refused["errors"][0]["field"], "storage.service_account");
        said.push(refused.to_string());
    }
    assert!(said.iter().all(|text| !text.contains(CANARY)), "{said:?}");
    assert!(said[0].contains("\"secret_key\":null"), "{}", said[0]);
    // Nor does it lie in the clear.
    let pool = past::pool(&world.place.url).await;
    let dump = match &world.place.postgres {
        Some(database) => database.dump(),
        None => ["test.db", "test.db-wal"]
            .map(|name| std::fs::read(world.folder.join(name)).unwrap_or_default())
            .concat(),
    };
    pool.close().await;
    let holds = |mark: &str| dump.windows(mark.len()).any(|window| window == mark.as_bytes());
    assert!(holds(&ids[0]) && !holds(CANARY));
    let gone = world.ask(Method::DELETE, &one).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    problem(world.get(&one).await, 404, "not_found").await;
}

async fn recordings_are_listed_in_pages_and_read_by_version(place: Place) {
    let world = World::start_on(place).await;
    let (room, other) = (world.room().await, world.room().await);
    let mut ids = Vec::new();
    for state in ["purged", "pushing", "recorded"] {
        ids.push(world.recording(&room, state).await);
    }
    world.recording(&other, "recorded").await;
    let mut path = format!("/v1/recordings?room={room}&limit=2");
    let mut found = Vec::new();
    loop {
        let page = json_of(world.get(&path).await).await;
        for recording in page["recordings"].as_array().unwrap() {
            found.push(recording["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/recordings?room={room}&limit=2&cursor={next}");
    }
    ids.reverse();
    assert_eq!(found, ids, "newest first");
    let recorded = json_of(world.get("/v1/recordings?state=recorded").await).await;
    assert_eq!(recorded["recordings"].as_array().unwrap().len(), 2);
    let one = format!("/v1/recordings/{}", ids[0]);
    let read = world.get(&one).await;
    let tag = read.headers()["etag"].to_str().unwrap().to_owned();
    let read = json_of(read).await;
    assert_eq!((&read["state"], &read["stop_reason"]), (&json!("recorded"), &json!("requested")));
    let again = world.ask(Method::GET, &one).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(again.status(), 304);
    // Said twice, it is stopped once.
    assert_eq!(world.post(&format!("{one}/stop"), &json!({})).await.status(), 200);
    problem(world.post(&format!("{one}/pause"), &json!({})).await, 409, "action_refused").await;
    problem(world.get(&format!("{one}/receipt")).await, 409, "action_refused").await;
    let receipt = json_of(world.get(&format!("/v1/recordings/{}/receipt", ids[2])).await).await;
    assert_eq!(receipt, json!({ "receipt": "{}", "signature": "c2ln", "key": "ek_1" }));
    let keys = json_of(world.get("/v1/evidence-keys").await).await;
    assert_eq!(keys["keys"][0]["use"], "export");
    problem(world.get("/v1/recordings/rc_0").await, 404, "not_found").await;
}

async fn a_hold_stops_a_deletion_and_the_other_way_round(place: Place) {
    let world = World::start_on(place).await;
    let room = world.room().await;
    let id = world.recording(&room, "pushing").await;
    let one = format!("/v1/recordings/{id}");
    let delete = async || world.ask(Method::DELETE, &one).send().await.unwrap();
    let hold = async |held: bool| world.put(&format!("{one}/hold"), &json!({ "held": held })).await;
    assert_eq!(json_of(hold(true).await).await["held"], true);
    problem(delete().await, 409, "action_refused").await;
    assert_eq!(hold(false).await.status(), 200);
    let (first, second) = (delete().await, delete().await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (202, 202));
    assert_eq!(first.headers()["etag"], second.headers()["etag"], "said twice, wished once");
    assert_eq!(world.post(&format!("{one}/push"), &json!({})).await.status(), 202);
    let events = json_of(world.get("/v1/events?type=recording.held").await).await;
    let held: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|e| e["data"]["held"].clone()).collect();
    assert_eq!(held, [json!(true), json!(false)]);
    let purged = world.recording(&room, "purged").await;
    let late = world.put(&format!("/v1/recordings/{purged}/hold"), &json!({ "held": true })).await;
    problem(late, 409, "action_refused").await;
    let live = world.recording(&room, "recording").await;
    let live = world.ask(Method::DELETE, &format!("/v1/recordings/{live}")).send().await.unwrap();
    problem(live, 409, "action_refused").await;
}

async fn nothing_starts_without_recipients_and_a_target(place: Place) {
    let world = World::start_on(place).await;
    let room = world.room().await;
    let path = format!("/v1/rooms/{room}/recordings");
    problem(world.post(&path, &json!({})).await, 409, "action_refused").await;
    let act = json!({ "type": "start_recording" });
    problem(world.post(&format!("/v1/rooms/{room}/actions"), &act).await, 409, "action_refused")
        .await;
    let wrong = json!({ "rule": { "outputs": ["hls"] } });
    problem(world.post(&path, &wrong).await, 422, "invalid_field").await;
    let target = world.target().await;
    let policy = json!({ "recipients": [RECIPIENT] });
    assert_eq!(world.put("/v1/recording-policy", &policy).await.status(), 200);
    problem(world.post(&path, &json!({})).await, 409, "action_refused").await;
    let policy = json!({ "recipients": [RECIPIENT], "target": target });
    assert_eq!(world.put("/v1/recording-policy", &policy).await.status(), 200);
    let foreign = json!({ "rule": { "target": "st_00000000000000000000000000" } });
    problem(world.post(&path, &foreign).await, 409, "action_refused").await;
    for _ in 0..20 {
        world.recording(&room, "recording").await;
    }
    problem(world.post(&path, &json!({})).await, 409, "quota_exceeded").await;
    let listed = json_of(world.get("/v1/recordings?limit=200").await).await;
    assert_eq!(listed["recordings"].as_array().unwrap().len(), 20, "nothing was made");
}

async fn credentials_are_replaced_and_a_recording_pushed_elsewhere(place: Place) {
    let world = World::start_on(place).await;
    let room = world.room().await;
    let s3 = |bucket: &str, name: &str| {
        json!({ "name": name, "storage": { "kind": "s3", "region": "eu-central-1",
            "bucket": bucket, "access_key": name, "secret_key": CANARY } })
    };
    let made = json_of(world.post("/v1/storage-targets", &s3("b", "one")).await).await;
    let target = made["id"].as_str().unwrap();
    let path = format!("/v1/storage-targets/{target}");
    let now = world.put(&path, &s3("b", "two")).await;
    assert_eq!(now.status(), 200);
    let now = now.text().await.unwrap();
    assert!(!now.contains(CANARY));
    let now: Value = serde_json::from_str(&now).unwrap();
    assert_eq!((&now["id"], &now["name"]), (&made["id"], &json!("two")));
    assert_eq!(
        (&now["created_at"], &now["storage"]["access_key"]),
        (&made["created_at"], &json!("two"))
    );
    assert_eq!(json_of(world.get(&path).await).await, now);
    let other = problem(world.put(&path, &s3("c", "two")).await, 422, "invalid_field").await;
    assert_eq!(other["errors"][0]["field"], "storage");
    let none = format!("{}{}", &path[..path.len() - 26], "0".repeat(26));
    problem(world.put(&none, &s3("b", "two")).await, 404, "not_found").await;

    let id = world.recording(&room, "push_blocked").await;
    let push = format!("/v1/recordings/{id}/push");
    let bare = world.ask(Method::POST, &push).send().await.unwrap();
    assert_eq!(bare.status(), 202, "without a body");
    let foreign = json!({ "target": "st_00000000000000000000000000" });
    let refused = problem(world.post(&push, &foreign).await, 422, "invalid_field").await;
    assert_eq!(refused["errors"][0]["field"], "target");
    let pushed = json_of(world.post(&push, &json!({ "target": target })).await).await;
    assert_eq!(pushed["target"], target);
    problem(world.post(&push, &json!({ "to": target })).await, 422, "invalid_field").await;
    assert_eq!(json_of(world.get(&format!("/v1/recordings/{id}")).await).await["target"], target);
}

async fn a_full_recorder_is_a_problem_of_its_own(place: Place) {
    let world = World::start_on(place).await;
    let room = world.room().await;
    let path = format!("/v1/rooms/{room}/recordings");
    let policy = json!({ "recipients": [RECIPIENT], "target": world.target().await });
    assert_eq!(world.put("/v1/recording-policy", &policy).await.status(), 200);
    world.has_room.store(false, Relaxed);
    let full = world.post(&path, &json!({})).await;
    assert_eq!(full.headers()["retry-after"], "30");
    problem(full, 503, "recorder_full").await;
    let grants = json!({ "subscribe": true, "record": true });
    let token = world.token_with(&room, &json!({ "handle": "clerk-1", "grants": grants })).await;
    let mut clerk = world.connect().await;
    assert_eq!(clerk.join(&token).await["type"], "joined");
    let start = json!({ "type": "start_recording" });
    clerk.send(json!({ "type": "act", "id": 1, "action": start })).await;
    assert_eq!(clerk.wait("acted").await["refused"], "recorder_full");
    world.has_room.store(true, Relaxed);
    assert_eq!(world.post(&path, &json!({})).await.status(), 201);
}

async fn what_is_recorded_by_a_rooms_settings_needs_the_scope(place: Place) {
    let world = World::start_on(place).await;
    let room = world.room().await;
    let scopes = [Scope::RoomsWrite, Scope::ParticipantsModerate];
    let key = admin::create_key(&world.store, &world.project, &scopes).await.unwrap().secret;
    let ask = async |method: Method, path: &str, body: Value| {
        let request = world.http.request(method, world.url(path)).bearer_auth(&key);
        let request = request.header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    };
    let auto = json!({ "recording": { "auto": true } });
    let one = format!("/v1/rooms/{room}");
    let act = json!({ "type": "update", "settings": auto });
    for (method, path, body) in [
        (Method::POST, "/v1/rooms".to_owned(), json!({ "settings": auto })),
        (Method::PATCH, one.clone(), json!({ "settings": auto })),
        (Method::POST, format!("{one}/actions"), act),
    ] {
        problem(ask(method, &path, body).await, 403, "scope_missing").await;
    }
    let open = json!({ "settings": { "locked": true } });
    assert_eq!(ask(Method::PATCH, &one, open).await.status(), 200, "other settings do not");
}
