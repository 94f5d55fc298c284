//! Who guesses credentials again and again is told to wait; right ones are taken all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
    response::Response,
};
use bus::{Bus, InProcessBus};
use sdk_spec::scope::Scope;
use signaling::{admin, limits::FAILED_BURST};
use tower::ServiceExt as _;

/// The API as the server serves it to one address.
struct Api(Router);

impl Api {
    async fn get(&self, from: &str, path: &str, bearer: &str) -> StatusCode {
        self.send(from, "GET", path, bearer).await
    }

    async fn send(&self, from: &str, method: &str, path: &str, bearer: &str) -> StatusCode {
        let answer = self.post(from, method, path, bearer, String::new()).await;
        answer.status()
    }

    async fn post(
        &self,
        from: &str,
        method: &str,
        path: &str,
        bearer: &str,
        body: String,
    ) -> Response {
        let kind = if path == "/v1/whip" { "application/sdp" } else { "application/json" };
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("authorization", format!("Bearer {bearer}"))
            .header("content-type", kind);
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(from.parse().unwrap()));
        self.0.clone().oneshot(request).await.unwrap()
    }
}

/// A token for a new room, which may have ended.
async fn token(api: &Api, from: &str, key: &str, ended: bool) -> String {
    let of = async |path: &str, body: &str, field: &str| {
        let answer = api.post(from, "POST", path, key, body.to_owned()).await;
        assert_eq!(answer.status(), 201);
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        json[field].as_str().unwrap().to_owned()
    };
    let room = format!("/v1/rooms/{}", of("/v1/rooms", "{}", "id").await);
    let token = of(&format!("{room}/tokens"), r#"{"handle":"user-1","grants":{}}"#, "token").await;
    if ended {
        assert_eq!(api.send(from, "DELETE", &room, key).await, 204);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await; // Its task ends.
    }
    token
}

/// The API in process.
async fn start(folder: &std::path::Path) -> (Api, signaling::Server, String) {
    let store = common::open(folder).await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let key = admin::create_key(&store, &project, Scope::ALL).await.unwrap().secret;
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let mut api = None;
    let stash = |router: Router| {
        api = Some(Api(router));
        None
    };
    let registry = prometheus::Registry::new();
    let server =
        signaling::serve_with(common::config(), store, bus, registry, stash).await.unwrap();
    (api.unwrap(), server, key)
}

#[tokio::test]
async fn tokens_that_were_good_once_are_no_guesses() {
    let folder = common::folder();
    let (api, _server, key) = start(&folder).await;
    let here = "192.0.2.1:9";
    let token = token(&api, here, &key, true).await;
    let sdp = common::offer("encU", &[("audio", "0", "sendonly")]);
    for _ in 0..FAILED_BURST + 10 {
        let answer = api.post(here, "POST", "/v1/whip", &token, sdp.clone()).await;
        assert_eq!(answer.status(), 401);
    }
    for _ in 0..FAILED_BURST + 10 {
        let answer = api.0.clone().oneshot(missing(here)).await.unwrap();
        assert_eq!(answer.status(), 401);
    }
    assert_eq!(api.get(here, "/v1/rooms", "ck_nobody_secret").await, 401);
    let _ = std::fs::remove_dir_all(folder);
}

/// A request without credentials.
fn missing(from: &str) -> Request<Body> {
    let mut request = Request::builder().uri("/v1/rooms").body(Body::empty()).unwrap();
    request.extensions_mut().insert(ConnectInfo::<SocketAddr>(from.parse().unwrap()));
    request
}

#[tokio::test]
async fn guesses_from_one_network_are_told_to_wait_and_right_credentials_pass() {
    let folder = common::folder();
    let (api, _server, key) = start(&folder).await;

    // Each guess from another address of one subscriber.
    for i in 0..FAILED_BURST / 2 {
        let from = format!("[2001:db8::{i:x}]:9");
        assert_eq!(api.get(&from, "/v1/rooms", "ck_nobody_secret").await, 401);
        assert_eq!(api.send(&from, "POST", "/v1/whip", "a.b.c").await, 401);
    }
    for _ in 0..20 {
        api.get("[2001:db8::1]:9", "/v1/rooms", "ck_nobody_secret").await;
    }
    let here = "[2001:db8::1]:9";
    assert_eq!(api.get(here, "/v1/rooms", "ck_nobody_secret").await, 429);
    assert_eq!(api.send(here, "POST", "/v1/whip", "a.b.c").await, 429);
    assert_eq!(api.get(here, "/v1/rooms", &key).await, 200);
    let token = token(&api, here, &key, false).await;
    assert_eq!(api.send(here, "POST", "/v1/whip", &token).await, 400, "the body is looked at");
    assert_eq!(api.get(here, "/v1/ws", "").await, 400, "only the upgrade is missing");
    assert_eq!(api.get("[2001:db8:0:1::1]:9", "/v1/rooms", &key).await, 200);
    assert_eq!(api.get("192.0.2.1:9", "/v1/rooms", &key).await, 200);
    assert_eq!(api.get("127.0.0.1:9", "/v1/rooms", &key).await, 200);

    assert_eq!(api.get("192.0.2.1:9", "/metrics", "").await, 404);
    assert_eq!(api.get("127.0.0.1:9", "/metrics", "").await, 200);
    let _ = std::fs::remove_dir_all(folder);
}
