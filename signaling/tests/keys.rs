//! API keys, token keys, bans and the operator's API against a running server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{World, json_of, problem};
use reqwest::{Method, Response};
use sdk_spec::scope::{OperatorScope, Scope};
use serde_json::{Value, json};
use signaling::admin;

/// A request with any bearer.
async fn ask(world: &World, bearer: &str, method: Method, path: &str, body: Value) -> Response {
    let request = world.http.request(method, world.url(path)).bearer_auth(bearer);
    let request = match body {
        Value::Null => request,
        body => request.header("content-type", "application/json").body(body.to_string()),
    };
    request.send().await.unwrap()
}

#[tokio::test]
async fn a_key_gives_only_what_it_has_and_ends_at_once() {
    let world = World::start().await;
    let wish = json!({ "name": "backend-1", "scopes": ["rooms:read", "keys:write"] });
    let response = world.post("/v1/keys", &wish).await;
    assert_eq!(response.status(), 201);
    let made = json_of(response).await;
    let (id, secret) = (made["key"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert!(secret.starts_with(&format!("{id}_")) && made["key"].get("secret").is_none());
    let path = format!("/v1/keys/{id}");

    let rooms = ask(&world, secret, Method::GET, "/v1/rooms", Value::Null).await;
    let limits = rooms.headers()["ratelimit-policy"].to_str().unwrap().to_owned();
    assert!(limits.contains("\"key\"") && limits.contains("\"project\";q=800;w=4"), "{limits}");
    assert_eq!(rooms.status(), 200);
    let more = json!({ "name": "more", "scopes": ["rooms:write"] });
    let more = ask(&world, secret, Method::POST, "/v1/keys", more).await;
    problem(more, 403, "scope_missing").await;
    let own = world.key.rsplit_once('_').map_or("", |_| world.key.split('_').nth(1).unwrap());
    let rotate = format!("/v1/keys/ck_{own}/rotate");
    problem(ask(&world, secret, Method::POST, &rotate, json!({})).await, 403, "scope_missing")
        .await;

    // A new secret, both good, then the new one only.
    let rotated = world.post(&format!("{path}/rotate"), &json!({ "overlap_seconds": 2 })).await;
    let new = json_of(rotated).await["secret"].as_str().unwrap().to_owned();
    for good in [secret, &new] {
        let rooms = ask(&world, good, Method::GET, "/v1/rooms", Value::Null).await;
        assert_eq!(rooms.status(), 200);
    }
    tokio::time::sleep(Duration::from_millis(2200)).await;
    let old = ask(&world, secret, Method::GET, "/v1/rooms", Value::Null).await;
    problem(old, 401, "unauthorized").await;
    let rotated = world.post(&format!("{path}/rotate"), &json!({ "overlap_seconds": 0 })).await;
    let newest = json_of(rotated).await["secret"].as_str().unwrap().to_owned();
    let old = ask(&world, &new, Method::GET, "/v1/rooms", Value::Null).await;
    problem(old, 401, "unauthorized").await;

    // The next request after the revocation is refused.
    let gone = ask(&world, &newest, Method::DELETE, &path, Value::Null).await;
    assert_eq!(gone.status(), 204);
    let after = ask(&world, &newest, Method::GET, "/v1/rooms", Value::Null).await;
    problem(after, 401, "unauthorized").await;
    problem(world.ask(Method::GET, &path).send().await.unwrap(), 404, "not_found").await;

    // A key without any right but its own end.
    let reader = json!({ "name": "r", "scopes": ["rooms:read"] });
    let reader = json_of(world.post("/v1/keys", &reader).await).await;
    let (id, secret) = (reader["key"]["id"].as_str().unwrap(), reader["secret"].as_str().unwrap());
    let own = format!("/v1/keys/{id}");
    problem(ask(&world, secret, Method::GET, &own, Value::Null).await, 403, "scope_missing").await;
    let other = ask(&world, secret, Method::DELETE, &path, Value::Null).await;
    problem(other, 403, "scope_missing").await;
    assert_eq!(ask(&world, secret, Method::DELETE, &own, Value::Null).await.status(), 204);
}

#[tokio::test]
async fn a_key_expires_and_a_secret_is_told_once() {
    let world = World::start().await;
    let end = world.store_time(1500);
    let wish = json!({ "name": "short", "scopes": ["rooms:read"], "expires_at": end });
    let retry = || {
        let request = world.ask(Method::POST, "/v1/keys").header("idempotency-key", "k1");
        request.header("content-type", "application/json").body(wish.to_string()).send()
    };
    let made = json_of(retry().await.unwrap()).await;
    let (id, secret) = (made["key"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let again = problem(retry().await.unwrap(), 409, "secret_not_repeated").await;
    assert!(again["detail"].as_str().unwrap().contains(id) && !again.to_string().contains(secret));
    assert_eq!(ask(&world, secret, Method::GET, "/v1/rooms", Value::Null).await.status(), 200);
    tokio::time::sleep(Duration::from_millis(1700)).await;
    let late = ask(&world, secret, Method::GET, "/v1/rooms", Value::Null).await;
    problem(late, 401, "unauthorized").await;
    let past = json!({ "name": "x", "scopes": ["rooms:read"], "expires_at": end });
    problem(world.post("/v1/keys", &past).await, 422, "invalid_field").await;
    let person = json!({ "name": "Anna Schmidt", "scopes": ["rooms:read"] });
    problem(world.post("/v1/keys", &person).await, 422, "personal_data_refused").await;
}

trait StoreTime {
    fn store_time(&self, ms: u64) -> Value;
}

impl StoreTime for World {
    /// The time in so many milliseconds, as REST writes it.
    fn store_time(&self, ms: u64) -> Value {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
        json!(sdk_spec::rest::Timestamp(now + ms))
    }
}

#[tokio::test]
async fn a_banned_handle_is_kept_out_until_the_ban_is_lifted() {
    let world = World::start().await;
    let room = world.room().await;
    let token = world.token(&room, "ann-1").await;
    let ban = world.post("/v1/bans", &json!({ "handle": "ann-1" })).await;
    assert_eq!(ban.status(), 201);
    let ban = json_of(ban).await;
    let again = json_of(world.post("/v1/bans", &json!({ "handle": "ann-1" })).await).await;
    assert_eq!(again["id"], ban["id"]);
    let refused = world.connect().await.join(&token).await;
    assert_eq!(refused["type"], "error", "{refused}");
    assert!(refused.to_string().contains("banned"), "{refused}");
    let unknown = json!({ "handle": "x", "room": "rm_00000000000000000000000000" });
    problem(world.post("/v1/bans", &unknown).await, 404, "not_found").await;
    let path = format!("/v1/bans/{}", ban["id"].as_str().unwrap());
    assert_eq!(world.ask(Method::DELETE, &path).send().await.unwrap().status(), 204);
    problem(world.ask(Method::DELETE, &path).send().await.unwrap(), 404, "not_found").await;
    let joined = world.connect().await.join(&token).await;
    assert_eq!(joined["type"], "joined", "a ban uses no token up: {joined}");
    let project = world.ask(Method::GET, "/v1/project").send().await.unwrap();
    let project = json_of(project).await;
    assert_eq!((&project["used"]["bans"], &project["used"]["rooms"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn the_operator_makes_partners_projects_and_first_keys() {
    let config = signaling::Config {
        operator_listen: Some("127.0.0.1:0".parse().unwrap()),
        ..common::config()
    };
    let world = World::build(config, true).await;
    let base = format!("http://{}/operator/v1", world.server.operator_addr().unwrap());
    let scopes = vec![OperatorScope::Read, OperatorScope::Write];
    let wish = |scopes| admin::KeyWish { name: Some("ops".into()), scopes, expires_at_ms: None };
    let key = admin::create_operator_key(&world.store, wish(scopes)).await.unwrap();
    let reader = wish(vec![OperatorScope::Read]);
    let reader = admin::create_operator_key(&world.store, reader).await.unwrap();
    let send = async |bearer: &str, method: Method, path: &str, body: Value| {
        let request = world.http.request(method, format!("{base}{path}")).bearer_auth(bearer);
        let request = request.header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    };
    let ops = key.secret.as_str();
    let partner = json!({ "label": "Example School" });
    let refused = send(&reader.secret, Method::POST, "/partners", partner.clone()).await;
    problem(refused, 403, "scope_missing").await;
    let wrong = send(&world.key, Method::POST, "/partners", partner.clone()).await;
    problem(wrong, 401, "unauthorized").await;
    let partner = json_of(send(ops, Method::POST, "/partners", partner).await).await;
    let wish =
        json!({ "partner": partner["id"], "label": "app", "quotas": { "keys": 2, "rooms": 1 } });
    let project = json_of(send(ops, Method::POST, "/projects", wish).await).await;
    assert_eq!(project["quotas"]["keys"], 2);
    let path = format!("/projects/{}", project["id"].as_str().unwrap());
    let all: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let first = json!({ "name": "first", "scopes": all });
    let first = json_of(send(ops, Method::POST, &format!("{path}/keys"), first).await).await;
    let secret = first["secret"].as_str().unwrap();

    // Quotas hold.
    let rooms = async || ask(&world, secret, Method::POST, "/v1/rooms", json!({})).await;
    assert_eq!(rooms().await.status(), 201);
    problem(rooms().await, 409, "too_many_rooms").await;
    let more = |name: &str| json!({ "name": name, "scopes": ["rooms:read"] });
    assert_eq!(ask(&world, secret, Method::POST, "/v1/keys", more("b")).await.status(), 201);
    let full = ask(&world, secret, Method::POST, "/v1/keys", more("c")).await;
    problem(full, 409, "quota_exceeded").await;

    // Suspension holds from the next request on.
    let state =
        async |state: &str| send(ops, Method::PATCH, &path, json!({ "state": state })).await;
    assert_eq!(state("suspended").await.status(), 200);
    let closed = ask(&world, secret, Method::GET, "/v1/rooms", Value::Null).await;
    problem(closed, 403, "project_suspended").await;
    assert_eq!(json_of(state("active").await).await["state"], "active");
    assert_eq!(ask(&world, secret, Method::GET, "/v1/rooms", Value::Null).await.status(), 200);

    let id = partner["id"].as_str().unwrap();
    let delete = send(ops, Method::DELETE, &format!("/partners/{id}"), Value::Null).await;
    problem(delete, 409, "not_empty").await;
    let revoke = format!("/keys/{}", first["key"]["id"].as_str().unwrap());
    assert_eq!(send(ops, Method::DELETE, &revoke, Value::Null).await.status(), 204);
    let gone = ask(&world, secret, Method::GET, "/v1/rooms", Value::Null).await;
    problem(gone, 401, "unauthorized").await;
    // The public listener knows nothing of it, with any key.
    let public = ask(&world, ops, Method::GET, "/operator/v1/partners", Value::Null).await;
    problem(public, 404, "not_found").await;
    admin::revoke_operator_key(&world.store, &key.id).await.unwrap();
    problem(send(ops, Method::GET, "/partners", json!({})).await, 401, "unauthorized").await;
    // Whoever guesses is told to wait.
    let mut last = 401;
    for _ in 0..signaling::limits::FAILED_BURST + 20 {
        last = send("co_nobody_x", Method::GET, "/partners", json!({})).await.status().as_u16();
    }
    assert_eq!(last, 429);
    assert_eq!(send(&reader.secret, Method::GET, "/partners", json!({})).await.status(), 200);
}
