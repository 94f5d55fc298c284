//! Who may do what: every operation of `openapi.json` with every scope, on own and on foreign things.
//!
//! The declared table stands here. It is compared with the document, and the server with it.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests, and what they report")]

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request};
use bus::{Bus, InProcessBus};
use sdk_spec::scope::Scope;
use serde_json::{Value, json};
use signaling::{Server, Store, admin};
use tower::ServiceExt as _;

/// What an API key needs for what. Revoking itself is the one exception, tested apart.
#[rustfmt::skip]
const DECLARED: &[(&str, &str)] = &[
    ("GET /v1/rooms", "rooms:read"),
    ("POST /v1/rooms", "rooms:write"),
    ("GET /v1/rooms/{room}", "rooms:read"),
    ("PATCH /v1/rooms/{room}", "rooms:write"),
    ("DELETE /v1/rooms/{room}", "rooms:write"),
    ("GET /v1/rooms/{room}/breakouts", "rooms:read"),
    ("GET /v1/rooms/{room}/participants", "rooms:read"),
    ("GET /v1/rooms/{room}/sessions", "rooms:read"),
    ("POST /v1/rooms/{room}/actions", "participants:moderate"),
    ("POST /v1/rooms/{room}/tokens", "tokens:mint"),
    ("GET /v1/keys", "keys:write"),
    ("POST /v1/keys", "keys:write"),
    ("GET /v1/keys/{key}", "keys:write"),
    ("DELETE /v1/keys/{key}", "keys:write"),
    ("POST /v1/keys/{key}/rotate", "keys:write"),
    ("GET /v1/token-keys", "keys:write"),
    ("POST /v1/token-keys", "keys:write"),
    ("GET /v1/token-keys/{key}", "keys:write"),
    ("DELETE /v1/token-keys/{key}", "keys:write"),
    ("POST /v1/token-revocations", "participants:moderate"),
    ("GET /v1/bans", "participants:moderate"),
    ("POST /v1/bans", "participants:moderate"),
    ("GET /v1/bans/{ban}", "participants:moderate"),
    ("DELETE /v1/bans/{ban}", "participants:moderate"),
    ("GET /v1/project", "usage:read"),
    ("POST /v1/rooms/{room}/recordings", "recordings:write"),
    ("GET /v1/recordings", "recordings:read"),
    ("GET /v1/recordings/{recording}", "recordings:read"),
    ("DELETE /v1/recordings/{recording}", "recordings:write"),
    ("POST /v1/recordings/{recording}/stop", "recordings:write"),
    ("POST /v1/recordings/{recording}/pause", "recordings:write"),
    ("POST /v1/recordings/{recording}/resume", "recordings:write"),
    ("POST /v1/recordings/{recording}/push", "recordings:write"),
    ("PUT /v1/recordings/{recording}/hold", "recordings:write"),
    ("GET /v1/recordings/{recording}/receipt", "recordings:read"),
    ("GET /v1/evidence-keys", "recordings:read"),
    ("GET /v1/recording-policy", "recordings:write"),
    ("PUT /v1/recording-policy", "recordings:write"),
    ("GET /v1/storage-targets", "recordings:write"),
    ("POST /v1/storage-targets", "recordings:write"),
    ("GET /v1/storage-targets/{target}", "recordings:write"),
    ("PUT /v1/storage-targets/{target}", "recordings:write"),
    ("DELETE /v1/storage-targets/{target}", "recordings:write"),
    ("POST /v1/storage-targets/{target}/test", "recordings:write"),
    ("GET /v1/events", "events:read"),
    ("GET /v1/usage", "usage:read"),
    ("GET /v1/sessions", "privacy:read"),
    ("POST /v1/erasures", "privacy:erase"),
    ("GET /v1/audit/entries", "privacy:read"),
    ("GET /v1/audit/entries/{seq}/proof", "privacy:read"),
    ("GET /v1/audit/checkpoint", "privacy:read"),
    ("GET /v1/audit/consistency", "privacy:read"),
    ("GET /v1/webhooks", "webhooks:write"),
    ("POST /v1/webhooks", "webhooks:write"),
    ("GET /v1/webhooks/{webhook}", "webhooks:write"),
    ("PATCH /v1/webhooks/{webhook}", "webhooks:write"),
    ("DELETE /v1/webhooks/{webhook}", "webhooks:write"),
    ("GET /v1/webhooks/{webhook}/deliveries", "webhooks:write"),
    ("POST /v1/webhooks/{webhook}/replay", "webhooks:write"),
    ("POST /v1/webhooks/{webhook}/rotate-secret", "webhooks:write"),
    ("POST /v1/webhooks/{webhook}/test", "webhooks:write"),
];

/// Requests of the long run with `CONCLAVE_CROSSINGS=100000`.
const CROSSINGS: usize = 3000;

struct World {
    api: Router,
    store: Store,
    _server: Server,
    folder: std::path::PathBuf,
    document: Value,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A project with one of everything.
struct Tenant {
    project: String,
    key: String,
    ids: BTreeMap<&'static str, String>,
    tokens: Vec<String>,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
    took: Duration,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

async fn world() -> World {
    let folder = common::folder();
    let store = common::open(&folder).await;
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let mut api = None;
    let stash = |router: Router| {
        api = Some(router);
        None
    };
    let registry = prometheus::Registry::new();
    let (config, own) = (common::config(), store.clone());
    let recorder = Some(common::recorder::port());
    let server = signaling::serve_recording(config, own, bus, registry, recorder, stash);
    let server = server.await.unwrap();
    let document = serde_json::to_value(sdk_spec::openapi::document()).unwrap();
    World { api: api.unwrap(), store, _server: server, folder, document }
}

impl World {
    async fn ask(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {key}"));
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let began = Instant::now();
        let answer = self.api.clone().oneshot(request.unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec();
        Answer { status, body, took: began.elapsed() }
    }

    async fn tenant(&self) -> Tenant {
        let project = admin::create_project(&self.store, "tenant").await.unwrap().id;
        let key = admin::create_key(&self.store, &project, Scope::ALL).await.unwrap().secret;
        let make = async |path: &str, body: Value, id: &str| {
            let answer = self.ask(&key, "POST", path, Some(&body)).await;
            let json = answer.json();
            assert_eq!(answer.status, 201, "{path}: {json}");
            json.pointer(id).unwrap().as_str().unwrap().to_owned()
        };
        let scopes = json!({ "name": "spare", "scopes": ["rooms:read"] });
        let token_key = json!({ "algorithm": "HS256" });
        let hook = json!({ "url": "https://partner.example/hook" });
        let room = make("/v1/rooms", json!({}), "/id").await;
        let local = json!({ "name": "archive", "storage": { "kind": "local" } });
        let url = format!("sqlite://{}/test.db", self.folder.display());
        let recording = common::recorder::purged(&url, &project, &room).await;
        let ids = BTreeMap::from([
            ("recording", recording),
            ("target", make("/v1/storage-targets", local, "/id").await),
            ("room", room),
            ("key", make("/v1/keys", scopes, "/key/id").await),
            ("token-key", make("/v1/token-keys", token_key, "/key/id").await),
            ("ban", make("/v1/bans", json!({ "handle": "user-9" }), "/id").await),
            ("webhook", make("/v1/webhooks", hook, "/id").await),
            ("seq", String::from("0")),
        ]);
        Tenant { project, key, ids, tokens: Vec::new() }
    }

    /// The body of an operation, by the example of its schema.
    fn body(&self, operation: &str) -> Option<Value> {
        let (method, path) = operation.split_once(' ').unwrap();
        let item = &self.document["paths"][path][method.to_lowercase()];
        let content = &item["requestBody"]["content"]["application/json"];
        let name = content["schema"]["$ref"].as_str()?.rsplit('/').next()?.to_owned();
        let schema = &self.document["components"]["schemas"][name.as_str()];
        let example =
            if schema["example"].is_null() { &content["example"] } else { &schema["example"] };
        Some(if example.is_null() { json!({}) } else { example.clone() })
    }
}

/// The path of an operation with the ids of somebody.
fn path_of(operation: &str, ids: &BTreeMap<&'static str, String>) -> String {
    let mut path = operation.split_once(' ').unwrap().1.to_owned();
    if path.starts_with("/v1/token-keys") {
        path = path.replace("{key}", &ids["token-key"]);
    }
    for (name, id) in ids {
        path = path.replace(&format!("{{{name}}}"), id);
    }
    match operation {
        "GET /v1/sessions" => path + "?handle=user-9",
        "GET /v1/audit/consistency" => path + "?from=1",
        _ => path,
    }
}

/// Well-formed ids that nobody has.
fn nobody(ids: &BTreeMap<&'static str, String>) -> BTreeMap<&'static str, String> {
    let zero = "0".repeat(26);
    let unknown = |id: &String| match id.split_once('_') {
        Some((prefix, _)) => format!("{prefix}_{zero}"),
        None => id.clone(),
    };
    ids.iter().map(|(name, id)| (*name, unknown(id))).collect()
}

#[tokio::test]
async fn the_document_declares_what_the_table_says() {
    let document = serde_json::to_value(sdk_spec::openapi::document()).unwrap();
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let secured = operation["security"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one.get("key").is_some()));
            if secured {
                let scope = operation["x-scope"].as_str().unwrap_or("none").to_owned();
                found.insert((format!("{} {path}", method.to_uppercase()), scope));
            }
        }
    }
    let declared = DECLARED.iter().map(|(o, s)| ((*o).to_owned(), (*s).to_owned())).collect();
    let difference: Vec<_> = found.symmetric_difference(&declared).collect();
    assert!(difference.is_empty(), "{difference:#?}");
}

#[tokio::test]
async fn every_operation_needs_its_scope_and_no_other() {
    let world = world().await;
    let mut cells = 0;
    for scope in Scope::ALL {
        // A tenant for each, since the calls that are allowed change things.
        let tenant = world.tenant().await;
        let key = admin::create_key(&world.store, &tenant.project, &[*scope]).await.unwrap().secret;
        // What ends things comes last.
        let (ends, rest): (Vec<(&str, &str)>, Vec<_>) =
            DECLARED.iter().copied().partition(|(operation, _)| operation.starts_with("DELETE"));
        for (operation, needed) in rest.into_iter().chain(ends) {
            let (method, path) =
                (operation.split(' ').next().unwrap(), path_of(operation, &tenant.ids));
            let answer = world.ask(&key, method, &path, world.body(operation).as_ref()).await;
            let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
            let missing = answer.status == 403 && code == "scope_missing";
            // Making keys that mint, and giving scopes away, wants those too.
            let more = ["POST /v1/token-keys", "POST /v1/keys", "POST /v1/keys/{key}/rotate"];
            let wanted = needed != scope.as_str() || more.contains(&operation);
            assert_eq!(missing, wanted, "{operation} with {scope}: {} {code}", answer.status);
            assert_ne!(answer.status, 401, "{operation} with {scope}");
            assert!(answer.status < 500, "{operation} with {scope}: {}", answer.status);
            cells += 1;
        }
    }
    assert_eq!(cells, DECLARED.len() * Scope::ALL.len());
}

#[tokio::test]
async fn foreign_ids_are_answered_as_unknown_ones() {
    let world = world().await;
    let (owner, mut thief) = (world.tenant().await, world.tenant().await);
    let crossings = std::env::var("CONCLAVE_CROSSINGS").ok().and_then(|n| n.parse().ok());
    let crossings: usize = crossings.unwrap_or(CROSSINGS);
    let seed = std::env::var("CONCLAVE_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    println!("seed {seed}, {crossings} requests");
    let with_id: Vec<&str> = DECLARED
        .iter()
        .map(|(operation, _)| *operation)
        .filter(|operation| operation.contains('{') && !operation.contains("{seq}"))
        .collect();
    let unknown = nobody(&owner.ids);
    let mut random = Random(seed);
    let (mut foreign_times, mut unknown_times) = (Vec::new(), Vec::new());
    let mut done = 0;
    while done < crossings {
        // A key has so many requests at once.
        let key = world.spare_key(&mut thief, done / 180).await;
        let operation = with_id[random.below(with_id.len())];
        let method = operation.split(' ').next().unwrap();
        let body = world.body(operation);
        let (foreign_path, unknown_path) =
            (path_of(operation, &owner.ids), path_of(operation, &unknown));
        // Neither is always the first.
        let (foreign, nothing) = if random.below(2) == 0 {
            let foreign = world.ask(&key, method, &foreign_path, body.as_ref()).await;
            (foreign, world.ask(&key, method, &unknown_path, body.as_ref()).await)
        } else {
            let nothing = world.ask(&key, method, &unknown_path, body.as_ref()).await;
            (world.ask(&key, method, &foreign_path, body.as_ref()).await, nothing)
        };
        assert_eq!(foreign.status, 404, "{operation}: {}", foreign.json());
        assert_eq!((foreign.status, &foreign.body), (nothing.status, &nothing.body), "{operation}");
        foreign_times.push(foreign.took);
        unknown_times.push(nothing.took);
        done += 2;
    }
    // Nothing of the owner's was touched.
    for (operation, _) in DECLARED.iter().filter(|(o, _)| o.starts_with("GET") && o.contains('{')) {
        if !operation.contains("{seq}") {
            let answer = world.ask(&owner.key, "GET", &path_of(operation, &owner.ids), None).await;
            assert_eq!(answer.status, 200, "{operation}");
        }
    }
    report("foreign", &mut foreign_times);
    report("unknown", &mut unknown_times);
}

impl World {
    /// A key of the thief with every scope, whose rate is not used up: the `turn`th. Projects have a
    /// rate too, so each few keys are another project's.
    async fn spare_key(&self, thief: &mut Tenant, turn: usize) -> String {
        while thief.tokens.len() <= turn {
            if thief.tokens.len().is_multiple_of(4) {
                let project = admin::create_project(&self.store, "thief").await.unwrap();
                thief.project = project.id;
            }
            let key = admin::create_key(&self.store, &thief.project, Scope::ALL).await.unwrap();
            thief.tokens.push(key.secret);
        }
        thief.tokens[turn].clone()
    }
}

/// Medians and tails, to be looked at: this machine is too noisy for a test of them.
fn report(name: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{name}: p10 {:?} p50 {:?} p90 {:?} p99 {:?}", at(0.1), at(0.5), at(0.9), at(0.99));
}

/// SplitMix64: the run is the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
