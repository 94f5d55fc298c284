//! Webhooks from REST to a real receiver, whose signatures public libraries verify.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use common::{World, config, json_of, problem};
use reqwest::Method;
use sdk_spec::{event::Event, scope::Scope};
use serde_json::{Value, json};
use signaling::{WebhooksConfig, admin};

/// One request that came.
#[derive(Debug, Clone)]
struct Got {
    path: String,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    fn event(&self) -> Event {
        serde_json::from_str(&self.body).unwrap()
    }
}

#[derive(Default)]
struct Rules {
    /// What is answered; 200 without.
    answer: Option<(StatusCode, Vec<(&'static str, String)>)>,
    got: Vec<Got>,
}

/// A partner's server.
#[derive(Clone)]
struct Receiver {
    rules: Arc<Mutex<Rules>>,
    port: u16,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let rules = Arc::<Mutex<Rules>>::default();
        let app = Router::new().fallback(receive).with_state(Arc::clone(&rules));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { rules, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks?tenant=7", self.port)
    }

    fn answer(&self, status: u16, headers: Vec<(&'static str, String)>) {
        let status = StatusCode::from_u16(status).unwrap();
        self.rules.lock().unwrap().answer = Some((status, headers));
    }

    fn got(&self) -> Vec<Got> {
        self.rules.lock().unwrap().got.clone()
    }

    /// Waits until so many requests came.
    async fn wait(&self, count: usize) -> Vec<Got> {
        for _ in 0..600 {
            let got = self.got();
            if got.len() >= count {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} of {count} requests came", self.got().len());
    }
}

async fn receive(
    State(rules): State<Arc<Mutex<Rules>>>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut rules = rules.lock().unwrap();
    let path = uri.path_and_query().unwrap().to_string();
    let body = String::from_utf8(body.to_vec()).unwrap();
    rules.got.push(Got { path, headers, body });
    let Some((status, more)) = rules.answer.clone() else { return ().into_response() };
    let mut response = status.into_response();
    for (name, value) in more {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A server that may send to this machine.
async fn world() -> World {
    let webhooks =
        WebhooksConfig { allow_hosts: vec![String::from("127.0.0.1")], ..Default::default() };
    World::build(signaling::Config { webhooks, ..config() }, true).await
}

async fn create(world: &World, body: Value) -> Value {
    let response = world.post("/v1/webhooks", &body).await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let created = json_of(response).await;
    assert_eq!(location, path(&created, ""));
    created
}

fn path(webhook: &Value, rest: &str) -> String {
    format!("/v1/webhooks/{}{rest}", webhook["id"].as_str().unwrap())
}

async fn get(world: &World, path: &str) -> Value {
    let response = world.ask(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    json_of(response).await
}

async fn patch(world: &World, path: &str, body: Value) -> reqwest::Response {
    let request = world.ask(Method::PATCH, path).header("content-type", "application/json");
    request.body(body.to_string()).send().await.unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a verifier is told; the same for both libraries.
fn case(got: &Got, secret: &str, key: &str) -> String {
    json!({
        "secret": secret, "key": key, "body": got.body,
        "headers": {
            "webhook-id": got.header("webhook-id"),
            "webhook-timestamp": got.header("webhook-timestamp"),
            "webhook-signature": got.header("webhook-signature"),
        },
    })
    .to_string()
}

/// Runs a verifier, which must accept the case, and refuse it with another body.
fn verify(program: &mut Command, case: &str) {
    let output = program.env("CASE", case).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`make setup` installs what this needs: {told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "accepted refused");
}

const NODE: &str = r#"
const { Webhook } = require('standardwebhooks');
const { secret, body, headers } = JSON.parse(process.env.CASE);
const told = [body, body + ' '].map((b) => {
  try { new Webhook(secret).verify(b, headers); return 'accepted'; } catch { return 'refused'; }
});
console.log(told.join(' '));
"#;

const PYTHON: &str = r#"
import json, os
from standardwebhooks.webhooks import Webhook
case = json.loads(os.environ['CASE'])
def told(body):
    try:
        Webhook(case['secret']).verify(body, case['headers'])
        return 'accepted'
    except Exception:
        return 'refused'
print(told(case['body']), told(case['body'] + ' '))
"#;

/// `v1a` has no public library; this is what the specification says, with `cryptography`.
const ED25519: &str = r#"
import base64, json, os
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
case = json.loads(os.environ['CASE'])
h = case['headers']
key = Ed25519PublicKey.from_public_bytes(base64.b64decode(case['key'].removeprefix('whpk_')))
signatures = [s[4:] for s in h['webhook-signature'].split(' ') if s.startswith('v1a,')]
def told(body):
    content = f"{h['webhook-id']}.{h['webhook-timestamp']}.{body}".encode()
    for signature in signatures:
        try:
            key.verify(base64.b64decode(signature), content)
            return 'accepted'
        except Exception:
            pass
    return 'refused'
print(told(case['body']), told(case['body'] + ' '))
"#;

#[tokio::test]
async fn events_arrive_signed_and_public_libraries_verify_them() {
    let (world, receiver) = (world().await, Receiver::start().await);
    let wish = json!({ "url": receiver.url(), "types": ["room.created", "room.ended"] });
    let webhook = create(&world, wish).await;
    let (secret, key) = (webhook["secret"].as_str().unwrap(), &webhook["public_key"]);
    let room = world.room().await;
    let got = receiver.wait(1).await.remove(0);
    let event = got.event();
    assert_eq!((event.what.kind(), event.room.as_deref()), ("room.created", Some(room.as_str())));
    assert_eq!((got.path.as_str(), got.header("webhook-id")), ("/hooks?tenant=7", &*event.id));
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("user-agent"), "conclave");
    assert_eq!(got.header("host"), format!("127.0.0.1:{}", receiver.port));
    let kinds: Vec<_> =
        got.header("webhook-signature").split(' ').map(|s| s.split(',').next().unwrap()).collect();
    assert_eq!(kinds, ["v1a", "v1"]);

    let case = case(&got, secret, key.as_str().unwrap());
    verify(Command::new("node").args(["-e", NODE]).current_dir(root()), &case);
    let python = || Command::new(root().join(".venv/bin/python"));
    verify(python().args(["-c", PYTHON]), &case);
    verify(python().args(["-c", ED25519]), &case);
}

#[tokio::test]
async fn after_a_rotation_both_secrets_verify_until_the_overlap_ends() {
    let (world, receiver) = (world().await, Receiver::start().await);
    let webhook = create(&world, json!({ "url": receiver.url() })).await;
    let rotate = async |seconds: u32| {
        let body = json!({ "overlap_seconds": seconds });
        json_of(world.post(&path(&webhook, "/rotate-secret"), &body).await).await
    };
    let rotated = rotate(3600).await;
    assert_ne!(rotated["secret"], webhook["secret"]);
    assert_eq!(rotated["previous_public_key"], webhook["public_key"]);
    world.room().await;
    let got = receiver.wait(1).await.remove(0);
    for one in [&webhook, &rotated] {
        let of = |name: &str| one[name].as_str().unwrap();
        let case = case(&got, of("secret"), of("public_key"));
        verify(Command::new("node").args(["-e", NODE]).current_dir(root()), &case);
    }
    let again = rotate(0).await;
    assert!(again.get("previous_public_key").is_none() && again.get("previous_until").is_none());
    world.room().await;
    let got = receiver.wait(2).await.remove(1);
    assert_eq!(got.header("webhook-signature").split(' ').count(), 2);
    // A secret is shown when it is made, and never again.
    let read = get(&world, &path(&webhook, "")).await;
    let list = get(&world, "/v1/webhooks").await;
    for text in [read.to_string(), list.to_string()] {
        assert!(!text.contains("whsec_") && !text.contains("whsk_"), "{text}");
    }
    let body = json!({ "overlap_seconds": 604_801 });
    let wrong = world.post(&path(&webhook, "/rotate-secret"), &body).await;
    problem(wrong, 422, "invalid_field").await;
}

#[tokio::test]
async fn an_endpoint_is_created_read_changed_and_deleted() {
    let (world, receiver) = (world().await, Receiver::start().await);
    let webhook = create(&world, json!({ "url": receiver.url() })).await;
    assert_eq!((&webhook["state"], &webhook["enabled"]), (&json!("healthy"), &json!(true)));
    let mut shown = webhook.clone();
    shown.as_object_mut().unwrap().remove("secret");
    let place = path(&webhook, "");
    assert_eq!(get(&world, &place).await, shown);
    assert_eq!(get(&world, "/v1/webhooks").await, json!({ "webhooks": [shown] }));

    // While it is disabled nothing is sent; then everything is.
    let room = world.room().await;
    receiver.wait(1).await;
    let wish = json!({ "enabled": false, "types": ["room.created"], "signatures": ["v1"] });
    let changed = json_of(patch(&world, &place, wish).await).await;
    assert_eq!(
        (&changed["state"], &changed["types"]),
        (&json!("disabled"), &json!(["room.created"]))
    );
    world.room().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(receiver.got().len(), 1);
    let wish = json!({ "enabled": true, "room": room });
    assert_eq!(json_of(patch(&world, &place, wish).await).await["room"], json!(room));
    world.room().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(receiver.got().len(), 1, "of another room");
    let changed = json_of(patch(&world, &place, json!({ "room": null })).await).await;
    assert!(changed.get("room").is_none());
    world.room().await;
    let got = receiver.wait(2).await;
    assert!(got.last().unwrap().header("webhook-signature").starts_with("v1,"));

    let gone = world.ask(Method::DELETE, &place).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    for method in [Method::GET, Method::DELETE] {
        problem(world.ask(method, &place).send().await.unwrap(), 404, "not_found").await;
    }
}

#[tokio::test]
async fn bad_wishes_are_refused_with_the_field() {
    let world = world().await;
    let good = "https://hooks.example.com/";
    for (wish, field) in [
        (json!({ "url": "http://hooks.example.com/" }), "url"),
        (json!({ "url": "https://localhost/" }), "url"),
        (json!({ "url": "https://10.0.0.1/" }), "url"),
        (json!({ "url": "https://0x7f.2/" }), "url"),
        (json!({ "url": "https://hooks.example.com:22/" }), "url"),
        (json!({ "url": "https://u:p@hooks.example.com/" }), "url"),
        (json!({ "url": format!("{good}{}", "a".repeat(2048)) }), "url"),
        (json!({ "url": good, "types": ["room.exploded"] }), "types"),
        (json!({ "url": good, "types": ["room.ended", "room.ended"] }), "types"),
        (json!({ "url": good, "room": "lobby" }), "room"),
        (json!({ "url": good, "signatures": [] }), "signatures"),
    ] {
        let told = problem(world.post("/v1/webhooks", &wish).await, 422, "invalid_field").await;
        assert_eq!(told["errors"][0]["field"], field, "{wish}");
        assert!(!told.to_string().contains("hooks.example.com"), "repeats what was sent");
    }
    for wish in [json!({}), json!({ "url": good, "secret": "x" }), json!({ "url": 7 })] {
        problem(world.post("/v1/webhooks", &wish).await, 422, "invalid_field").await;
    }
    let webhook = create(&world, json!({ "url": good, "enabled": false })).await;
    for wish in [json!({ "url": "https://127.2/" }), json!({ "enabled": null }), json!([])] {
        let answer = patch(&world, &path(&webhook, ""), wish).await;
        problem(answer, 422, "invalid_field").await;
    }
    for wish in [json!({}), json!({ "failed": false }), json!({ "after": 3, "until": 2 })] {
        let answer = world.post(&path(&webhook, "/replay"), &wish).await;
        problem(answer, 422, "invalid_field").await;
    }
    for query in ["?limit=0", "?limit=201", "?before=0"] {
        let place = path(&webhook, &format!("/deliveries{query}"));
        let answer = world.ask(Method::GET, &place).send().await.unwrap();
        problem(answer, 422, "invalid_field").await;
    }
    for _ in 1..16 {
        create(&world, json!({ "url": good, "enabled": false })).await;
    }
    let answer = world.post("/v1/webhooks", &json!({ "url": good })).await;
    problem(answer, 409, "quota_exceeded").await;
}

#[tokio::test]
async fn scopes_hold_and_a_foreign_endpoint_is_as_unknown_as_none() {
    let world = world().await;
    let wish = json!({ "url": "https://hooks.example.com/", "enabled": false });
    let webhook = create(&world, wish.clone()).await;
    let other = admin::create_project(&world.store, "other").await.unwrap().id;
    let foreign = admin::create_key(&world.store, &other, Scope::ALL).await.unwrap().secret;
    let scopes: Vec<_> =
        Scope::ALL.iter().copied().filter(|scope| *scope != Scope::WebhooksWrite).collect();
    let weak = admin::create_key(&world.store, &world.project, &scopes).await.unwrap().secret;
    let nowhere = json!({ "id": "wh_00000000000000000000000000" });
    for (method, rest, body) in [
        (Method::GET, "", None),
        (Method::PATCH, "", Some(json!({ "enabled": true }))),
        (Method::POST, "/rotate-secret", Some(json!({}))),
        (Method::POST, "/test", None),
        (Method::GET, "/deliveries", None),
        (Method::POST, "/replay", Some(json!({ "failed": true }))),
        (Method::DELETE, "", None),
    ] {
        let ask = async |key: &str, webhook: &Value| {
            let url = world.url(&path(webhook, rest));
            let request = world.http.request(method.clone(), url).bearer_auth(key);
            let body = body.as_ref().map(ToString::to_string).unwrap_or_default();
            request.header("content-type", "application/json").body(body).send().await.unwrap()
        };
        let here = problem(ask(&foreign, &webhook).await, 404, "not_found").await;
        assert_eq!(problem(ask(&foreign, &nowhere).await, 404, "not_found").await, here);
        problem(ask(&weak, &webhook).await, 403, "scope_missing").await;
    }
    let list = world.http.get(world.url("/v1/webhooks")).bearer_auth(&foreign);
    assert_eq!(json_of(list.send().await.unwrap()).await, json!({ "webhooks": [] }));
    assert_eq!(get(&world, &path(&webhook, "")).await["enabled"], false, "untouched");
}

#[tokio::test]
async fn a_test_tells_what_became_of_it() {
    let (world, receiver) = (world().await, Receiver::start().await);
    let webhook = create(&world, json!({ "url": receiver.url(), "enabled": false })).await;
    let test = async |webhook: &Value| {
        json_of(world.post(&path(webhook, "/test"), &json!({})).await).await
    };
    let told = test(&webhook).await;
    assert_eq!(told["result"], "delivered");
    let got = receiver.wait(1).await.remove(0);
    assert_eq!(got.event().what.kind(), "webhook.test");
    assert_eq!(told["event"], got.header("webhook-id"));
    let elsewhere = format!("http://127.0.0.1:{}/elsewhere", receiver.port);
    for (status, headers, result) in [
        (302, vec![("location", elsewhere)], "redirected"),
        (404, vec![], "rejected"),
        (429, vec![("retry-after", String::from("1"))], "throttled"),
        (503, vec![], "server_error"),
        (410, vec![], "gone"),
    ] {
        receiver.answer(status, headers);
        assert_eq!(test(&webhook).await["result"], result);
    }
    assert!(receiver.got().iter().all(|got| !got.path.contains("elsewhere")), "followed");
    let nobody = json!({ "url": "http://127.0.0.1:9/", "enabled": false });
    assert_eq!(test(&create(&world, nobody).await).await["result"], "unreachable");
    let metrics = world.metrics().await;
    assert!(metrics.contains("conclave_webhook_attempts_total{result=\"redirected\"} 1"));
}

#[tokio::test]
async fn failures_are_retried_listed_and_replayed() {
    let (world, receiver) = (world().await, Receiver::start().await);
    let webhook = create(&world, json!({ "url": receiver.url() })).await;
    receiver.answer(500, vec![]);
    world.room().await;
    receiver.wait(1).await;
    let deliveries = path(&webhook, "/deliveries");
    let listed = async || get(&world, &deliveries).await["deliveries"].clone();
    let mut one = listed().await;
    for _ in 0..100 {
        if one[0]["attempts"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        one = listed().await;
    }
    let fields = (&one[0]["state"], &one[0]["last_result"], &one[0]["attempts"]);
    assert_eq!(fields, (&json!("pending"), &json!("server_error"), &json!(1)));
    assert!(one[0]["next_attempt_at"].is_string());

    receiver.rules.lock().unwrap().answer = None;
    let got = receiver.wait(2).await;
    assert_eq!(got[0].header("webhook-id"), got[1].header("webhook-id"));
    assert_eq!(got[0].body, got[1].body);
    assert_ne!(got[0].header("webhook-timestamp"), got[1].header("webhook-timestamp"));

    // Once more, by its id; and what is there to see.
    let id = got[0].header("webhook-id");
    for _ in 0..100 {
        if listed().await[0]["state"] == "delivered" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let replayed = world.post(&path(&webhook, "/replay"), &json!({ "event": id })).await;
    assert_eq!(replayed.status(), 202);
    assert_eq!(json_of(replayed).await, json!({ "queued": 1 }));
    assert_eq!(receiver.wait(3).await[2].header("webhook-id"), id);
    let missing = json!({ "event": "ev_00000000000000000000000000" });
    problem(world.post(&path(&webhook, "/replay"), &missing).await, 404, "not_found").await;
    for i in 0..5 {
        world.room().await;
        receiver.wait(4 + i).await;
    }
    let page = get(&world, &format!("{deliveries}?limit=4")).await;
    let (first, next) = (page["deliveries"].as_array().unwrap(), &page["next_before"]);
    assert_eq!((first.len(), &first[3]["seq"]), (4, next));
    let rest = get(&world, &format!("{deliveries}?limit=4&before={next}")).await;
    assert_eq!(rest["deliveries"].as_array().unwrap().len(), 2);
    assert!(rest["next_before"].is_null());
    assert_eq!(get(&world, &format!("{deliveries}?state=dead")).await["deliveries"], json!([]));
}

#[tokio::test]
async fn who_answers_gone_is_disabled_and_who_asks_for_a_pause_gets_it() {
    let (world, receiver) = (world().await, Receiver::start().await);
    let webhook = create(&world, json!({ "url": receiver.url() })).await;
    receiver.answer(503, vec![("retry-after", String::from("2"))]);
    let began = std::time::Instant::now();
    world.room().await;
    receiver.wait(1).await;
    receiver.answer(410, vec![]);
    receiver.wait(2).await;
    assert!(began.elapsed() >= Duration::from_millis(1900), "{:?}", began.elapsed());
    let mut state = Value::Null;
    for _ in 0..100 {
        state = get(&world, &path(&webhook, "")).await["state"].clone();
        if state == "gone" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(state, "gone");
}
