//! REST `/v1` against a running server: every answer and every refusal.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{collections::BTreeSet, time::Duration};

use common::{World, json_of, problem};
use reqwest::Method;
use sdk_spec::scope::Scope;
use serde_json::{Value, json};
use signaling::admin;

#[tokio::test]
async fn a_room_is_created_read_listed_and_deleted() {
    let world = World::start().await;
    let settings = json!({ "participants_max": 7, "empty_timeout_seconds": 60 });
    let wish = json!({ "settings": settings, "reference": "lesson-7" });
    let response = world.post("/v1/rooms", &wish).await;
    assert_eq!(response.status(), 201);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    assert!(response.headers().contains_key("ratelimit"));
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let room = json_of(response).await;
    assert_eq!(location, format!("/v1/rooms/{}", room["id"].as_str().unwrap()));
    assert_eq!(room["reference"], "lesson-7");
    for (field, value) in settings.as_object().unwrap() {
        assert_eq!(&room["settings"][field], value);
    }
    assert_eq!((&room["participants"], &room["version"]), (&json!(0), &json!(1)));
    let read = world.ask(Method::GET, &location).send().await.unwrap();
    assert_eq!(json_of(read).await, room);
    let list = world.ask(Method::GET, "/v1/rooms").send().await.unwrap();
    assert_eq!(json_of(list).await, json!({ "rooms": [room], "next_cursor": null }));
    let gone = world.ask(Method::DELETE, &location).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    for method in [Method::GET, Method::DELETE] {
        problem(world.ask(method, &location).send().await.unwrap(), 404, "not_found").await;
    }
    let wish = json!({ "handle": "a", "grants": {} });
    let tokens = world.post(&format!("{location}/tokens"), &wish).await;
    problem(tokens, 404, "not_found").await;
}

#[tokio::test]
async fn pages_hold_every_room_once_newest_first() {
    let world = World::start().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(world.room().await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/rooms?limit=3{cursor}");
        let page = json_of(world.ask(Method::GET, &path).send().await.unwrap()).await;
        let rooms = page["rooms"].as_array().unwrap();
        assert!(rooms.len() <= 3);
        seen.extend(rooms.iter().map(|r| r["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn a_retry_with_the_same_key_gets_the_first_answer() {
    let world = World::start().await;
    let send = |path: String, key: &'static str, body: Value| {
        let request = world.ask(Method::POST, &path).header("idempotency-key", key);
        request.header("content-type", "application/json").body(body.to_string()).send()
    };
    let rooms = || String::from("/v1/rooms");
    let first = json_of(send(rooms(), "k1", json!({})).await.unwrap()).await;
    let again = send(rooms(), "k1", json!({})).await.unwrap();
    assert_eq!(again.status(), 201);
    assert_eq!(json_of(again).await, first);
    let other =
        send(rooms(), "k1", json!({ "settings": { "participants_max": 5 } })).await.unwrap();
    problem(other, 422, "idempotency_key_reused").await;
    let fresh = json_of(send(rooms(), "k2", json!({})).await.unwrap()).await;
    assert_ne!(fresh["id"], first["id"]);
    problem(send(rooms(), "two words", json!({})).await.unwrap(), 422, "invalid_field").await;

    let path = format!("/v1/rooms/{}/tokens", first["id"].as_str().unwrap());
    let wish = json!({ "handle": "ann-1", "grants": { "subscribe": true } });
    let token = json_of(send(path.clone(), "k1", wish.clone()).await.unwrap()).await;
    let again = json_of(send(path.clone(), "k1", wish.clone()).await.unwrap()).await;
    assert_eq!(again, token, "the same token, not another one");
    let other = json_of(send(path, "k2", wish).await.unwrap()).await;
    assert_ne!(other["token"], token["token"]);

    // Many at once make one room.
    let race = (0..8).map(|_| send(rooms(), "race", json!({})));
    let mut ids = BTreeSet::new();
    for answer in futures_join(race).await {
        ids.insert(json_of(answer).await["id"].to_string());
    }
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_retry_after_the_token_expired_gets_another() {
    let world = World::start().await;
    let path = format!("/v1/rooms/{}/tokens", world.room().await);
    let wish = json!({ "handle": "ann-1", "grants": {}, "ttl_seconds": 2 }).to_string();
    let send = || {
        let request = world.ask(Method::POST, &path).header("idempotency-key", "k1");
        request.header("content-type", "application/json").body(wish.clone()).send()
    };
    let first = json_of(send().await.unwrap()).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let later = json_of(send().await.unwrap()).await;
    assert_ne!(later["token"], first["token"]);
}

#[tokio::test]
async fn a_missing_or_repeated_member_is_named_and_nothing_else() {
    let world = World::start().await;
    let path = format!("/v1/rooms/{}/tokens", world.room().await);
    let cases = [
        (r#"{"handle":"a"}"#, "`grants` is missing at line 1 column 14"),
        (r#"{"handle":"a","handle":"b","grants":{}}"#, "`handle` stands twice at line 1 column 22"),
        (r#"{"handle":"a","grants":{},"secret":1}"#, "a member is not known here at line 1 column"),
        (r#"{"handle":"a","grants":"secret"}"#, "a value has the wrong type at line 1 column"),
        (r#"{"handle":"a b","grants":{}}"#, "handle refused: it looks like a name or other"),
    ];
    for (body, told) in cases {
        let request = world.ask(Method::POST, &path).header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        let problem: Value = json_of(response).await;
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(told) && !detail.contains("secret"), "{detail}");
    }
}

#[tokio::test]
async fn metrics_are_for_this_machine() {
    let world = World::start().await;
    let forwarded = world.http.get(world.url("/metrics")).header("x-forwarded-for", "192.0.2.7");
    problem(forwarded.send().await.unwrap(), 404, "not_found").await;
    assert!(world.metrics().await.contains("conclave_rooms"));
}

async fn futures_join<F>(all: impl Iterator<Item = F>) -> Vec<reqwest::Response>
where
    F: Future<Output = reqwest::Result<reqwest::Response>>,
{
    let mut done = Vec::new();
    for response in futures_util::future::join_all(all).await {
        done.push(response.unwrap());
    }
    done
}

#[tokio::test]
async fn every_malformed_request_is_a_problem() {
    let world = World::start().await;
    let room = world.room().await;
    let tokens = format!("/v1/rooms/{room}/tokens");
    let unknown = "/v1/rooms/rm_00000000000000000000000000";
    let huge = format!("{{\"reference\":\"{}\"}}", "a".repeat(70_000));
    let deep = "[".repeat(10_000);
    let (post, get) = (Method::POST, Method::GET);
    let json = "application/json";
    #[rustfmt::skip]
    let cases: Vec<(Method, &str, &str, &str, u16, &str)> = vec![
        (post.clone(), "/v1/rooms", json, "", 400, "malformed_request"),
        (post.clone(), "/v1/rooms", json, "{", 400, "malformed_request"),
        (post.clone(), "/v1/rooms", json, "{} {}", 400, "malformed_request"),
        (post.clone(), "/v1/rooms", json, "\u{0}", 400, "malformed_request"),
        (post.clone(), "/v1/rooms", json, &deep, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, "[]", 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, "[1,2]", 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, "null", 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"x":1}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"settings":{"participants_max":0}}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"settings":{"participants_max":1001}}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"settings":{"participants_max":-1}}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"settings":{"participants_max":"9"}}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"settings":{"participants_max":1e99}}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"settings":{"participants_max":1,"participants_max":2}}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"settings":{"empty_timeout_seconds":9}}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"reference":"Anna Schmidt"}"#, 422, "personal_data_refused"),
        (post.clone(), "/v1/rooms", json, r#"{"reference":"a/b"}"#, 422, "invalid_field"),
        (post.clone(), "/v1/rooms", json, r#"{"name":"x"}"#, 422, "personal_data_refused"),
        (post.clone(), "/v1/webhooks/wh_a/replay", json, r#"{"event":"ev_\u0000"}"#, 422, "invalid_field"),
        (post.clone(), "/v1/webhooks/wh_%00/replay", json, r#"{"event":"ev_a"}"#, 404, "not_found"),
        (get.clone(), "/v1/webhooks/wh_%00", json, "", 404, "not_found"),
        (post.clone(), "/v1/rooms", json, &huge, 413, "payload_too_large"),
        (post.clone(), "/v1/rooms", "text/plain", "{}", 415, "unsupported_media_type"),
        (post.clone(), "/v1/rooms", "", "{}", 415, "unsupported_media_type"),
        (post.clone(), &tokens, json, "{}", 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"a"}"#, 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"","grants":{}}"#, 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"a@b.cd","grants":{}}"#, 422, "personal_data_refused"),
        (post.clone(), &tokens, json, r#"{"handle":"+491701234567","grants":{}}"#, 422, "personal_data_refused"),
        (post.clone(), &tokens, json, r#"{"handle":"192.0.2.1","grants":{}}"#, 422, "personal_data_refused"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{},"email":"x"}"#, 422, "personal_data_refused"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{"phoneNumber":"x"}}"#, 422, "personal_data_refused"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{"publish":["microwave"]}}"#, 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{"publish":["camera","camera"]}}"#, 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{"recorder":true}}"#, 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{},"role":"admin"}"#, 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{},"ttl_seconds":901}"#, 422, "invalid_field"),
        (post.clone(), &tokens, json, r#"{"handle":"a","grants":{},"ttl_seconds":0}"#, 422, "invalid_field"),
        (get.clone(), "/v1/rooms?limit=0", "", "", 422, "invalid_field"),
        (get.clone(), "/v1/rooms?limit=201", "", "", 422, "invalid_field"),
        (get.clone(), "/v1/rooms?limit=x", "", "", 400, "malformed_request"),
        (get.clone(), "/v1/rooms?page=2", "", "", 400, "malformed_request"),
        (get.clone(), "/v1/rooms?cursor=junk", "", "", 422, "invalid_field"),
        (get.clone(), unknown, "", "", 404, "not_found"),
        (get.clone(), "/v1/rooms/junk", "", "", 404, "not_found"),
        (get.clone(), "/v1/rooms/%ff", "", "", 404, "not_found"),
        (get.clone(), "/v1/rooms/..%2f..%2fetc", "", "", 404, "not_found"),
        (get.clone(), "/v1/nothing", "", "", 404, "not_found"),
        (get.clone(), "/", "", "", 404, "not_found"),
        (Method::PUT, "/v1/rooms", json, "{}", 405, "method_not_allowed"),
        (Method::DELETE, "/v1/rooms", "", "", 405, "method_not_allowed"),
        (get.clone(), &tokens, "", "", 405, "method_not_allowed"),
        (post.clone(), "/livez", "", "", 405, "method_not_allowed"),
        (get.clone(), "/v1/whip", "", "", 405, "method_not_allowed"),
        (get, "/v1/ws", "", "", 400, "malformed_request"),
    ];
    for (method, path, kind, body, status, code) in cases {
        let mut request = world.ask(method.clone(), path);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let response = request.body(body.to_owned()).send().await.unwrap();
        let shown = &body[..body.len().min(60)];
        assert_eq!(response.status(), status, "{method} {path} {shown}");
        if status == 405 {
            assert!(response.headers().contains_key("allow"), "{method} {path}");
        }
        if status >= 400 {
            let told = problem(response, status, code).await.to_string();
            for echo in ["Anna", "a@b.cd", "microwave", "admin", "recorder", "page", "\"9\""] {
                assert!(!told.contains(echo), "{echo} in {told}");
            }
        }
    }
}

#[tokio::test]
async fn keys_are_needed_and_projects_do_not_see_each_other() {
    let world = World::start().await;
    let room = world.room().await;
    let path = format!("/v1/rooms/{room}");
    let id = world.key.split('_').nth(1).unwrap().to_owned();
    let secret = world.key.splitn(3, '_').nth(2).unwrap().to_owned();
    let wrong = format!("ck_{id}_{}", "A".repeat(43));
    let get = |authorization: Option<String>| {
        let request = world.http.get(world.url(&path));
        match authorization {
            Some(value) => request.header("authorization", value).send(),
            None => request.send(),
        }
    };
    let bad = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(format!("Bearer {wrong}")),
        Some(format!("Bearer {}", &world.key[..world.key.len() - 1])),
        Some(format!("Bearer ck_{id}_")),
        Some("Bearer ck_nobody_secret".to_owned()),
        Some("Bearer ck_' OR 1=1 --_x".to_owned()),
        Some("Basic !!!".to_owned()),
        Some("Digest x".to_owned()),
    ];
    for authorization in bad {
        let response = get(authorization).await.unwrap();
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        problem(response, 401, "unauthorized").await;
    }
    let basic = world.http.get(world.url(&path)).basic_auth(format!("ck_{id}"), Some(&secret));
    assert_eq!(basic.send().await.unwrap().status(), 200);

    // Another project's room is as unknown as one that never was.
    let other = admin::create_project(&world.store, "other").await.unwrap().id;
    let foreign = admin::create_key(&world.store, &other, Scope::ALL).await.unwrap();
    let bearer = Some(format!("Bearer {}", foreign.secret));
    let here = problem(get(bearer.clone()).await.unwrap(), 404, "not_found").await;
    let nowhere = world.http.get(world.url("/v1/rooms/rm_00000000000000000000000000"));
    let nowhere = nowhere.bearer_auth(&foreign.secret).send().await.unwrap();
    assert_eq!(problem(nowhere, 404, "not_found").await, here);
    admin::revoke_key(&world.store, &foreign.id).await.unwrap();
    problem(get(bearer).await.unwrap(), 401, "unauthorized").await;

    let reader = admin::create_key(&world.store, &world.project, &[Scope::RoomsRead]).await;
    let reader = reader.unwrap().secret;
    let read = world.http.get(world.url(&path)).bearer_auth(&reader).send().await.unwrap();
    assert_eq!(read.status(), 200);
    let delete = world.http.delete(world.url(&path)).bearer_auth(&reader).send().await.unwrap();
    problem(delete, 403, "scope_missing").await;
}

#[tokio::test]
async fn a_key_above_its_rate_is_told_when_to_come_again() {
    let world = World::start().await;
    let mut refused = None;
    for _ in 0..1000 {
        let response = world.ask(Method::GET, "/v1/rooms?limit=1").send().await.unwrap();
        if response.status() == 429 {
            refused = Some(response);
            break;
        }
    }
    let response = refused.expect("a limit");
    assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    problem(response, 429, "rate_limited").await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("conclave_rate_limited_total 1"), "{metrics}");
}

#[tokio::test]
async fn an_empty_room_closes_by_itself_and_an_occupied_one_does_not() {
    let world = World::start().await;
    let wish = json!({ "settings": { "empty_timeout_seconds": 10 } });
    let (empty, busy) = (world.room_with(&wish).await, world.room_with(&wish).await);
    let (mut ann, _) = world.join(&busy, "ann-1").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(4)).await;
        ann.send(json!({ "type": "ping" })).await;
    }
    let path = format!("/v1/rooms/{empty}");
    problem(world.ask(Method::GET, &path).send().await.unwrap(), 404, "not_found").await;
    assert_eq!(world.participants(&busy).await, 1);
}

#[tokio::test]
async fn health_metrics_and_documents_agree_with_the_server() {
    let world = World::start().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(world.http.get(world.url(path)).send().await.unwrap().status(), 204, "{path}");
    }
    let room = world.room().await;
    let (_ann, _) = world.join(&room, "secret-handle").await;
    let metrics = world.metrics().await;
    for line in [
        "conclave_rooms 1",
        "conclave_participants 1",
        "conclave_websockets 1",
        "conclave_joins_total{transport=\"websocket\"} 1",
        "route=\"/v1/rooms/{room}/tokens\"",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    for secret in [room.as_str(), "secret-handle", "127.0.0.1"] {
        assert!(!metrics.contains(secret), "{secret}");
    }
    // Every documented operation exists.
    let document = serde_json::to_value(sdk_spec::openapi::document()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace("{room}", &room).replace("{session}", "x");
            let status = world.ask(method.clone(), &path).send().await.unwrap().status();
            assert!(status != 405 && status.as_u16() < 500, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn a_key_makes_none_that_lasts_longer() {
    let world = World::start().await;
    let make = async |key: &str, body: Value| {
        let request = world.http.post(world.url("/v1/keys")).bearer_auth(key);
        let request = request.header("content-type", "application/json");
        json_of(request.body(body.to_string()).send().await.unwrap()).await
    };
    let scopes = json!(["keys:write"]);
    let end = "2099-01-01T00:00:00.000Z";
    let wish = json!({ "name": "short", "scopes": scopes, "expires_at": end });
    let short = make(&world.key, wish).await;
    let secret = short["secret"].as_str().unwrap();
    for (wish, given) in [
        (Value::Null, end),
        (json!("2100-01-01T00:00:00.000Z"), end),
        (json!("2098-01-01T00:00:00.000Z"), "2098-01-01T00:00:00.000Z"),
    ] {
        let mut body = json!({ "name": "child", "scopes": scopes });
        if !wish.is_null() {
            body["expires_at"] = wish;
        }
        assert_eq!(make(secret, body).await["key"]["expires_at"], given);
    }
    let long = make(&world.key, json!({ "name": "long", "scopes": scopes })).await;
    let path = format!("/v1/keys/{}/rotate", long["key"]["id"].as_str().unwrap());
    let rotate = world.http.post(world.url(&path)).bearer_auth(secret);
    let rotate = rotate.header("content-type", "application/json").body("{}");
    problem(rotate.send().await.unwrap(), 403, "not_permitted").await;
}
