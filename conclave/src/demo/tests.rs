#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    body::{self, Body},
    extract::{Path, Query, State},
    http::{Request, StatusCode, Version, header},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::data;

const CODE: &str = "right-code";
const KEY: &str = "ck_id_secret";
const RECIPIENT: &str = "age1demo";
/// Rooms in a page of the REST API that the tests play.
const PAGE: usize = 200;

/// The REST API as far as the demo uses it: rooms by id and reference, newest first.
#[derive(Clone, Default)]
struct Played {
    rooms: Arc<Mutex<Vec<(String, String)>>>,
    refuses_key: bool,
    lists: Arc<Mutex<usize>>,
    /// What tokens were asked for.
    tokens: Arc<Mutex<Vec<Value>>>,
}

impl Played {
    fn open(&self, reference: &str) -> String {
        let mut rooms = self.rooms.lock().unwrap();
        let id = format!("rm_{}", rooms.len());
        rooms.insert(0, (id.clone(), reference.to_owned()));
        id
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/v1/rooms", get(list).post(create))
            .route("/v1/rooms/{id}", get(read))
            .route("/v1/rooms/{id}/tokens", post(token))
            .route("/v1/recordings", get(recordings))
            .route("/v1/recordings/{id}/receipt", get(receipt))
            .route("/v1/recording-policy", get(policy))
            .with_state(self.clone())
    }
}

fn room(id: &str, reference: &str) -> Value {
    json!({
        "id": id, "reference": reference, "created_at": "2026-11-21T20:00:00.000Z",
        "kind": "ad_hoc", "state": "open", "version": 1, "settings": {},
        "participants": 0, "waiting": 0,
    })
}

async fn list(
    State(played): State<Played>,
    Query(page): Query<sdk_spec::rest::Page>,
) -> Result<Json<Value>, StatusCode> {
    *played.lists.lock().unwrap() += 1;
    if played.refuses_key {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let from: usize = page.cursor.map_or(0, |cursor| cursor.parse().unwrap());
    let rooms = played.rooms.lock().unwrap();
    let to = rooms.len().min(from + PAGE);
    let page: Vec<Value> = rooms[from..to].iter().map(|(id, name)| room(id, name)).collect();
    let next = (to < rooms.len()).then(|| to.to_string());
    Ok(Json(json!({ "rooms": page, "next_cursor": next })))
}

/// One recording of the room that is asked for, with what the page must not see.
async fn recordings(
    Query(query): Query<sdk_spec::rest::recordings::ListRecordings>,
) -> Json<Value> {
    Json(json!({ "recordings": [{
        "id": "rc_1", "room": query.room, "state": "push_blocked", "rule": {},
        "started_at": "2026-11-21T20:00:00.000Z", "held": false,
        "blocked": { "reason": "full", "blame": "partner" },
        "artifacts": [{
            "name": "secret-name", "media_type": "video/webm", "bytes": 1, "sha256": "00",
            "pushed_bytes": 0, "verified": false,
        }],
    }] }))
}

/// The receipt of one recording only.
async fn receipt(Path(id): Path<String>) -> Result<Json<Value>, StatusCode> {
    let known = id == sfu_proto::id::RecordingId::from_bits(7).to_string();
    let receipt = json!({ "receipt": "{}", "signature": "c2ln", "key": "k" });
    if known { Ok(Json(receipt)) } else { Err(StatusCode::NOT_FOUND) }
}

/// Somebody sealed recordings to the demo's identity.
async fn policy() -> Json<Value> {
    Json(json!({ "recipients": [RECIPIENT] }))
}

async fn create(State(played): State<Played>, Json(request): Json<Value>) -> Json<Value> {
    let reference = request["reference"].as_str().unwrap();
    Json(room(&played.open(reference), reference))
}

async fn read(
    State(played): State<Played>,
    Path(id): Path<String>,
) -> Result<Json<Value>, StatusCode> {
    let rooms = played.rooms.lock().unwrap();
    let found = rooms.iter().find(|(known, _)| *known == id);
    found.map(|(id, name)| Json(room(id, name))).ok_or(StatusCode::NOT_FOUND)
}

async fn token(
    State(played): State<Played>,
    Path(id): Path<String>,
    Json(request): Json<Value>,
) -> Result<Json<Value>, StatusCode> {
    played.tokens.lock().unwrap().push(request);
    let known = played.rooms.lock().unwrap().iter().any(|(room, _)| *room == id);
    let expires = "2026-11-21T20:00:00.000Z";
    let answer = json!({ "token": id, "expires_at": expires, "ws_url": "ws://localhost/v1/ws" });
    if known { Ok(Json(answer)) } else { Err(StatusCode::NOT_FOUND) }
}

/// The demo in front of a played REST API.
fn demo(played: &Played) -> Router {
    let credentials = Credentials {
        api_key: KEY.to_owned(),
        join_code: CODE.to_owned(),
        recipient: RECIPIENT.to_owned(),
    };
    router(played.router(), credentials, std::path::Path::new("/nonexistent"), Reach::default())
}

/// The same, reached as `reach` says.
fn demo_reached(reach: Reach) -> Router {
    let credentials = Credentials {
        api_key: KEY.to_owned(),
        join_code: CODE.to_owned(),
        recipient: RECIPIENT.to_owned(),
    };
    let dir = std::path::Path::new("/nonexistent");
    router(Played::default().router(), credentials, dir, reach)
}

/// Like hyper makes it of HTTP/2: the authority in the target, no Host header.
fn h2_request(method: &str, path: &str, body: String) -> Request<Body> {
    Request::builder()
        .method(method)
        .version(Version::HTTP_2)
        .uri(format!("https://conclave.example:7880{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .unwrap()
}

/// The WebSocket URL of a join by HTTP/2 and the policy of the page.
async fn h2_answers(demo: &Router) -> (String, String) {
    let join = h2_request("POST", "/demo/join", join_request(CODE, "lobby"));
    let response = demo.clone().oneshot(join).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let page = demo.clone().oneshot(h2_request("GET", "/demo/", String::new())).await.unwrap();
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    (answer["url"].as_str().unwrap().to_owned(), policy)
}

#[tokio::test]
async fn http_2_without_a_host_header_is_served() {
    let (url, policy) = h2_answers(&demo_reached(Reach { tls: true, public_url: None })).await;
    assert_eq!(url, "wss://conclave.example:7880/v1/ws");
    assert!(
        policy.contains(" ws://conclave.example:7880 wss://conclave.example:7880;"),
        "{policy}"
    );
}

#[tokio::test]
async fn behind_a_proxy_the_public_url_is_told() {
    let public_url = Some("https://public.example".to_owned());
    let (url, policy) = h2_answers(&demo_reached(Reach { tls: false, public_url })).await;
    // What the played REST minted; the real one makes it of the public URL.
    assert_eq!(url, "ws://localhost/v1/ws");
    assert!(policy.contains("connect-src 'self' wss://public.example;"), "{policy}");
}

/// Status, media type and body of the answer to a join.
async fn ask(demo: &Router, host: &str, body: impl Into<Body>) -> (u16, String, Value) {
    let request = Request::post("/demo/join")
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap();
    let response = demo.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let media = response.headers().get(header::CONTENT_TYPE).unwrap().to_str().unwrap().to_owned();
    let body = body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, media, serde_json::from_slice(&body).unwrap_or_default())
}

fn join_request(code: &str, room: &str) -> String {
    json!({ "code": code, "room": room, "handle": "guest-1" }).to_string()
}

/// The room that a join leads into.
async fn joined(demo: &Router, room: &str) -> String {
    let (status, _, answer) = ask(demo, "localhost:7880", join_request(CODE, room)).await;
    assert_eq!(status, 200, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_comes_first_moderates_unless_another_role_is_asked_for() {
    let played = Played::default();
    let demo = demo(&played);
    for (handle, role) in [("a", None), ("b", None), ("a", None), ("c", Some("viewer"))] {
        let mut request = json!({ "code": CODE, "room": "lobby", "handle": handle });
        if let Some(role) = role {
            request["role"] = role.into();
        }
        assert_eq!(ask(&demo, "localhost", request.to_string()).await.0, 200);
    }
    let tokens = played.tokens.lock().unwrap();
    let roles: Vec<_> = tokens.iter().map(|token| token["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["moderator", "participant", "moderator", "viewer"]);
    let records: Vec<_> = tokens.iter().map(|t| t["grants"]["record"] == true).collect();
    assert_eq!(records, [true, false, true, false], "who moderates may record");
    assert_eq!(tokens[3]["grants"]["publish"], json!([]));
    assert_eq!(tokens[1]["grants"]["publish"].as_array().unwrap().len(), 4);
}

/// Status and body of the answer to a request for recordings.
async fn shelf(demo: &Router, code: &str, room: &str) -> (u16, String) {
    look(demo, code, &format!("/demo/recordings?room={room}")).await
}

async fn look(demo: &Router, code: &str, path: &str) -> (u16, String) {
    let request = Request::get(path)
        .header(header::AUTHORIZATION, format!("Bearer {code}"))
        .body(Body::empty())
        .unwrap();
    let response = demo.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn recordings_are_listed_for_who_has_the_code_and_without_their_files() {
    let demo = demo(&Played::default());
    let room = sfu_proto::id::RoomId::from_bits(7).to_string();
    let (status, body) = shelf(&demo, CODE, &room).await;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let line = &answer["recordings"][0];
    assert_eq!((&line["state"], &line["files"]), (&json!("push_blocked"), &json!(1)));
    assert_eq!(line["blocked"]["blame"], "partner");
    assert!(!body.contains("secret-name"));
    for (code, room, status) in [
        ("wrong-code", room.as_str(), 403),
        ("", room.as_str(), 403),
        (CODE, "rm_1&state=purged", 400),
        (CODE, "rm_x", 422),
    ] {
        assert_eq!(shelf(&demo, code, room).await.0, status, "{room}");
    }
}

#[tokio::test]
async fn a_receipt_is_for_who_has_the_code_and_the_page_knows_what_opens() {
    let demo = demo(&Played::default());
    let room = sfu_proto::id::RoomId::from_bits(7).to_string();
    let receipt = |bits| {
        let id = sfu_proto::id::RecordingId::from_bits(bits);
        format!("/demo/recordings/{id}/receipt")
    };
    let (status, body) = look(&demo, CODE, &receipt(7)).await;
    assert!(status == 200 && body.contains("c2ln"), "{body}");
    assert_eq!(look(&demo, "wrong-code", &receipt(7)).await.0, 403);
    assert_eq!(look(&demo, CODE, &receipt(8)).await.0, 404);
    assert_eq!(look(&demo, CODE, "/demo/recordings/rc_x/receipt").await.0, 404);
    // Looked up in the background, at the start.
    for _ in 0..500 {
        if shelf(&demo, CODE, &room).await.1.contains("\"opens\":true") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the page never learns that the demo's identity opens recordings");
}

#[tokio::test]
async fn every_failure_is_a_problem() {
    let demo = demo(&Played::default());
    let wrong = join_request("wrong-code", "lobby");
    let right = join_request(CODE, "lobby");
    for (host, body, status, code) in [
        ("localhost", wrong.as_str(), 403, "not_permitted"),
        ("a;b", right.as_str(), 400, "malformed_request"),
        ("localhost", "{", 400, "malformed_request"),
        ("localhost", "{\"code\":1}", 422, "invalid_field"),
    ] {
        let (got, media, problem) = ask(&demo, host, body.to_owned()).await;
        assert_eq!((got, media.as_str()), (status, "application/problem+json"), "{body}");
        assert_eq!(problem["code"], code);
        assert!(!problem.to_string().contains("wrong-code"), "{problem}");
    }
}

#[tokio::test]
async fn strangers_cannot_make_it_read_more_than_a_small_body() {
    let demo = demo(&Played::default());
    let (status, media, problem) = ask(&demo, "localhost", vec![b' '; JOIN_BYTES_MAX + 1]).await;
    assert_eq!((status, media.as_str()), (413, "application/problem+json"));
    assert_eq!(problem["code"], "payload_too_large");
    let padded = format!("{}{}", " ".repeat(3000), join_request(CODE, "lobby"));
    assert_eq!(ask(&demo, "localhost", padded).await.0, 200);
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_not_the_fault_of_the_page() {
    let demo = demo(&Played { refuses_key: true, ..Played::default() });
    let (status, media, _) = ask(&demo, "localhost", join_request(CODE, "lobby")).await;
    assert_eq!((status, media.as_str()), (500, "application/problem+json"));
}

#[tokio::test]
async fn a_room_is_found_again_behind_many_newer_ones() {
    let played = Played::default();
    let lobby = played.open("lobby");
    for n in 0..3 * PAGE {
        played.open(&format!("other-{n}"));
    }
    let demo = demo(&played);
    assert_eq!(joined(&demo, "lobby").await, lobby);
    let lists = *played.lists.lock().unwrap();
    assert_eq!((joined(&demo, "lobby").await, *played.lists.lock().unwrap()), (lobby, lists));
}

#[tokio::test]
async fn a_room_that_ended_is_made_anew() {
    let played = Played::default();
    let demo = demo(&played);
    let first = joined(&demo, "lobby").await;
    *played.rooms.lock().unwrap() = vec![("rm_x".to_owned(), "other".to_owned())];
    let second = joined(&demo, "lobby").await;
    assert_ne!(first, second);
    assert_eq!(joined(&demo, "lobby").await, second);
}

/// A configuration with its data in a fresh folder, and the folder of a built page.
fn set_up(name: &str) -> (Config, PathBuf) {
    let dir = std::env::temp_dir().join(format!("conclave-demo-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("index.html"), "").unwrap();
    let mut config = Config::default();
    config.storage.data_dir = dir.join("data");
    (config, dir)
}

#[tokio::test]
async fn credentials_outlive_a_restart_and_a_removed_database() {
    let (config, dir) = set_up("removed");
    let store = data::open(&config.storage).await.unwrap();
    let first = credentials(&config, &store, &dir).await.unwrap();
    let again = credentials(&config, &store, &dir).await.unwrap();
    assert!(first.api_key == again.api_key && first.join_code == again.join_code);
    store.close().await;

    for file in fs::read_dir(&config.storage.data_dir).unwrap().map(Result::unwrap) {
        if file.file_name() != "demo.json" {
            fs::remove_file(file.path()).unwrap();
        }
    }
    let store = data::open(&config.storage).await.unwrap();
    let renewed = credentials(&config, &store, &dir).await.unwrap();
    assert!(is_valid(&store, &renewed.api_key).await.unwrap());
    assert!(renewed.api_key != first.api_key && renewed.join_code == first.join_code);
    let kept = credentials(&config, &store, &dir).await.unwrap();
    assert!(kept.api_key == renewed.api_key, "the new key is remembered");
    store.close().await;
    fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn a_revoked_key_is_replaced() {
    let (config, dir) = set_up("revoked");
    let store = data::open(&config.storage).await.unwrap();
    let first = credentials(&config, &store, &dir).await.unwrap();
    let id = first.api_key.split('_').nth(1).unwrap();
    admin::revoke_key(&store, id).await.unwrap();
    let second = credentials(&config, &store, &dir).await.unwrap();
    assert!(second.api_key != first.api_key);
    store.close().await;
    fs::remove_dir_all(&dir).unwrap();
}
