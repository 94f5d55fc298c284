//! What is logged, at every level: no token, key, handle, ticket, address or SDP.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    io,
    sync::{Arc, Mutex},
};

use common::{World, offer};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn logs_hold_no_personal_data_and_no_secrets() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_env_filter("warn,signaling=trace,sqlx=trace,axum=trace,tower_http=trace")
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let world = World::start().await;
    let room = world.room().await;
    let token = world.token(&room, "handle-of-ann").await;
    let mut ann = world.connect().await;
    let joined = ann.join(&token).await;
    let ticket = joined["ticket"].as_str().unwrap().to_owned();
    let sdp = offer("annUfrag", &[("audio", "0", "sendonly")]);
    ann.offer(1, &sdp, json!([{ "mid": "0", "source": "microphone" }])).await;
    drop(ann);
    let mut thief = world.connect().await;
    thief.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(thief.refused().await.1, "token_refused");
    let whip = world.token(&room, "handle-of-encoder").await;
    let request = world.http.post(world.url("/v1/whip?secret=query")).bearer_auth(&whip);
    let request = request.header("content-type", "application/sdp").body(sdp);
    let response = request.send().await.unwrap();
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    world.http.delete(world.url(&location)).send().await.unwrap();
    let refused = json!({ "handle": "anna@example.com", "grants": {} });
    world.post(&format!("/v1/rooms/{room}/tokens"), &refused).await;

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/v1/rooms/{room}/tokens"), "the log is on: {text}");
    let key = world.key.splitn(3, '_').nth(2).unwrap();
    let resource = location.rsplit('/').next().unwrap();
    for secret in [
        &token,
        &whip,
        &ticket,
        key,
        resource,
        "handle-of",
        "annUfrag",
        "127.0.0.1",
        "anna@",
        "secret=query",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
