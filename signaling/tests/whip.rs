//! WHIP (RFC 9725) and WHEP against a running server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use common::{World, offer, problem};
use reqwest::{Method, Response};
use serde_json::json;
use sfu_proto::control::{Command, EndReason, Event};

const BOTH: [(&str, &str, &str); 2] = [("audio", "0", "sendonly"), ("video", "1", "sendonly")];

async fn post(world: &World, path: &str, token: &str, sdp: String) -> Response {
    let request = world.http.post(world.url(path)).bearer_auth(token);
    request.header("content-type", "application/sdp").body(sdp).send().await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_whip_publisher_is_seen_by_sdk_clients_and_ends_with_delete() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let token = world.token(&room, "encoder-1").await;
    let response = post(&world, "/v1/whip", &token, offer("encU", &BOTH)).await;
    assert_eq!(response.status(), 201);
    assert_eq!(header(&response, "content-type"), "application/sdp");
    let location = header(&response, "location");
    assert!(location.starts_with("/v1/whip/sessions/") && header(&response, "etag") == "\"1\"");
    let answer = response.text().await.unwrap();
    assert!(answer.contains("a=recvonly") && answer.contains("a=candidate:"), "{answer}");
    assert_eq!(ann.wait("participant_joined").await["participant"]["handle"], "encoder-1");
    let sources: Vec<_> = [ann.wait("track_published").await, ann.wait("track_published").await]
        .iter()
        .map(|m| m["track"]["source"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sources, ["microphone", "camera"]);

    let delete = || world.http.delete(world.url(&location)).send();
    assert_eq!(delete().await.unwrap().status(), 200);
    assert_eq!(ann.wait("participant_left").await["reason"], "left");
    problem(delete().await.unwrap(), 404, "not_found").await;
    let closed = |c: &Command| matches!(c, Command::CloseSession { .. });
    assert!(world.node().commands().iter().any(closed));
}

#[tokio::test]
async fn a_session_whose_client_went_away_before_the_answer_ends() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    world.node().answers.store(false, Relaxed);
    let token = world.token(&room, "encoder-1").await;
    let http = reqwest::Client::new(); // Dropping its only request closes the connection.
    let request = http.post(world.url("/v1/whip")).bearer_auth(&token);
    let request = request.header("content-type", "application/sdp").body(offer("encU", &BOTH));
    assert!(tokio::time::timeout(Duration::from_secs(1), request.send()).await.is_err());
    drop(http);
    ann.wait("participant_joined").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let offered = world.node().commands().into_iter().rev().find_map(|c| match c {
        Command::Offer { session, request, offer, .. } => Some((session, request, offer)),
        _ => None,
    });
    let (session, request, offer) = offered.unwrap();
    let answer = Box::new(common::node::answer(&offer));
    world.node().publish(Event::Answered { session, request, answer });
    assert_eq!(ann.wait("participant_left").await["reason"], "left");
    assert_eq!(world.participants(&room).await, 1);
}

#[tokio::test]
async fn a_whip_session_ends_with_its_media() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let token = world.token(&room, "encoder-1").await;
    let response = post(&world, "/v1/whip", &token, offer("encU", &BOTH)).await;
    let location = header(&response, "location");
    let session = world.node().last_session();
    world.node().publish(Event::SessionEnded { session, reason: EndReason::ConsentLost });
    assert_eq!(ann.wait("participant_left").await["reason"], "timeout");
    let gone = world.http.delete(world.url(&location)).send().await.unwrap();
    problem(gone, 404, "not_found").await;
}

#[tokio::test]
async fn patch_follows_the_entity_tag_rules() {
    let world = World::start().await;
    let room = world.room().await;
    let token = world.token(&room, "encoder-1").await;
    let response = post(&world, "/v1/whip", &token, offer("encU", &BOTH)).await;
    let url = world.url(&header(&response, "location"));
    let kind = "application/trickle-ice-sdpfrag";
    let patch = |tag: Option<&str>, kind: &str, body: &str| {
        let request = world.http.patch(&url).header("content-type", kind);
        let request = match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        };
        request.body(body.to_owned()).send()
    };
    let candidate = "a=ice-ufrag:encU\r\na=ice-pwd:asd88fgpdd777uzjYhagZg12\r\nm=audio 9 RTP/AVP 0\r\n\
        a=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n";
    let restart = "a=ice-ufrag:newU\r\na=ice-pwd:csd88fgpdd777uzjYhagZg12\r\n";
    assert_eq!(patch(Some("\"1\""), kind, candidate).await.unwrap().status(), 204);
    problem(patch(None, kind, candidate).await.unwrap(), 428, "precondition_required").await;
    for tag in ["\"2\"", "\"x\"", "W/\"1\""] {
        let response = patch(Some(tag), kind, candidate).await.unwrap();
        problem(response, 412, "precondition_failed").await;
    }
    let wrong = patch(Some("\"1\""), "application/sdp", candidate).await.unwrap();
    problem(wrong, 415, "unsupported_media_type").await;
    let junk = patch(Some("*"), kind, "a=ice-ufrag:x\r\n").await.unwrap();
    problem(junk, 400, "malformed_sdp").await;

    problem(patch(Some("\"1\""), kind, restart).await.unwrap(), 412, "precondition_failed").await;
    let response = patch(Some("*"), kind, restart).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        (header(&response, "etag").as_str(), header(&response, "content-type").as_str()),
        ("\"2\"", kind)
    );
    let fragment = response.text().await.unwrap();
    for line in ["a=ice-ufrag:srvnewU\r\n", "a=candidate:", "a=ice-lite\r\n", "m=audio", "a=mid:0"]
    {
        assert!(fragment.contains(line), "{line} in {fragment}");
    }
    assert!(!fragment.contains("v=0") && !fragment.contains("fingerprint"), "{fragment}");
    assert_eq!(patch(Some("\"2\""), kind, restart).await.unwrap().status(), 204, "known by now");
}

#[tokio::test]
async fn whep_receives_and_needs_the_grant() {
    let world = World::start().await;
    let room = world.room().await;
    let recv = [("audio", "0", "recvonly"), ("video", "1", "recvonly")];
    let token = world.token(&room, "player-1").await;
    let response = post(&world, "/v1/whep", &token, offer("plyU", &recv)).await;
    assert_eq!(response.status(), 201);
    let location = header(&response, "location");
    assert!(location.starts_with("/v1/whep/sessions/"));
    let as_whip = world.url(&location.replace("whep", "whip"));
    problem(world.http.delete(as_whip).send().await.unwrap(), 404, "not_found").await;
    assert_eq!(world.http.delete(world.url(&location)).send().await.unwrap().status(), 200);
    let none = json!({ "handle": "player-2", "grants": {} });
    let token = world.token_with(&room, &none).await;
    let response = post(&world, "/v1/whep", &token, offer("plyU", &recv)).await;
    problem(response, 403, "not_permitted").await;
}

#[tokio::test]
async fn bad_offers_are_problems_and_do_not_use_the_token_up() {
    let world = World::start().await;
    let room = world.room().await;
    let token = world.token(&room, "encoder-1").await;
    let good = offer("encU", &BOTH);
    let lines = format!("{good}{}", "a=x\r\n".repeat(10_000));
    for sdp in ["", "junk", "v=0\r\n", &lines] {
        let response = post(&world, "/v1/whip", &token, sdp.to_owned()).await;
        problem(response, 400, "malformed_sdp").await;
    }
    let huge = format!("{good}{}", "a=x\r\n".repeat(200_000));
    problem(post(&world, "/v1/whip", &token, huge).await, 413, "payload_too_large").await;
    let request = || world.http.post(world.url("/v1/whip")).body(good.clone());
    let no_type = request().bearer_auth(&token).send().await.unwrap();
    problem(no_type, 415, "unsupported_media_type").await;
    let sdp = || request().header("content-type", "application/sdp");
    let accept = sdp().header("accept", "text/html").bearer_auth(&token).send().await.unwrap();
    problem(accept, 406, "not_acceptable").await;
    problem(sdp().send().await.unwrap(), 401, "token_refused").await;
    let junk = sdp().bearer_auth("junk").send().await.unwrap();
    problem(junk, 401, "token_refused").await;
    assert_eq!(sdp().bearer_auth(&token).send().await.unwrap().status(), 201);
    problem(sdp().bearer_auth(&token).send().await.unwrap(), 401, "token_refused").await;
}

#[tokio::test]
async fn refusals_of_the_room_and_the_node_are_problems() {
    let world = World::start().await;
    let room = world.room_with(&json!({ "settings": { "participants_max": 1 } })).await;
    let token = world.token(&room, "encoder-1").await;
    world.node().answers.store(false, Relaxed);
    let response = post(&world, "/v1/whip", &token, offer("encU", &BOTH)).await;
    problem(response, 504, "media_timeout").await;
    assert_eq!(world.participants(&room).await, 0, "what failed leaves nothing behind");
    world.node().answers.store(true, Relaxed);
    let (mut ann, _) = world.join(&room, "ann-1").await;
    let token = world.token(&room, "encoder-1").await;
    let response = post(&world, "/v1/whip", &token, offer("encU", &BOTH)).await;
    problem(response, 409, "room_full").await;
    ann.send(json!({ "type": "leave" })).await;
    ann.closed().await;
    let response = post(&world, "/v1/whip", &token, offer("encU", &BOTH)).await;
    assert_eq!(response.status(), 201, "the token was not used up");
    let listener = json!({ "handle": "b", "grants": { "subscribe": true } });
    let other = world.room().await;
    let token = world.token_with(&other, &listener).await;
    let response = post(&world, "/v1/whip", &token, offer("encU", &BOTH)).await;
    problem(response, 403, "not_permitted").await;
}

#[tokio::test]
async fn pages_of_other_origins_may_use_it() {
    let world = World::start().await;
    let preflight = world
        .http
        .request(Method::OPTIONS, world.url("/v1/whip"))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(header(&preflight, "access-control-allow-origin"), "*");
    assert!(header(&preflight, "access-control-allow-headers").contains("authorization"));
    assert_eq!(header(&preflight, "accept-post"), "application/sdp");
    let refused = world
        .http
        .post(world.url("/v1/whip"))
        .header("origin", "https://app.example")
        .header("content-type", "application/sdp")
        .send()
        .await
        .unwrap();
    let exposed = header(&refused, "access-control-expose-headers");
    for name in ["location", "link", "etag", "retry-after"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let rest = world.ask(Method::GET, "/v1/rooms").header("origin", "https://app.example");
    let rest = rest.send().await.unwrap();
    assert!(!rest.headers().contains_key("access-control-allow-origin"), "keys are for servers");
}
