//! Who sends wrong credentials again and again is not listened to for a while.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode},
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
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("authorization", format!("Bearer {bearer}"))
            .header("content-type", "application/sdp");
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(from.parse().unwrap()));
        self.0.clone().oneshot(request).await.unwrap().status()
    }
}

#[tokio::test]
async fn guesses_from_one_network_are_bounded_and_others_are_not_held_up() {
    let folder = common::folder();
    let store = common::open(&folder).await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let key = admin::create_key(&store, &project, &Scope::ALL).await.unwrap().secret;
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let mut api = None;
    let stash = |router: Router| {
        api = Some(Api(router));
        None
    };
    let registry = prometheus::Registry::new();
    let _server =
        signaling::serve_with(common::config(), store, bus, registry, stash).await.unwrap();
    let api = api.unwrap();

    // Each guess from another address of one subscriber.
    for i in 0..FAILED_BURST / 2 {
        let from = format!("[2001:db8::{i:x}]:9");
        assert_eq!(api.get(&from, "/v1/rooms", "ck_nobody_secret").await, 401);
        assert_eq!(api.send(&from, "POST", "/v1/whip", "a.b.c").await, 401);
    }
    for _ in 0..20 {
        api.get("[2001:db8::1]:9", "/v1/rooms", "ck_nobody_secret").await;
    }
    assert_eq!(api.get("[2001:db8::1]:9", "/v1/rooms", &key).await, 429);
    assert_eq!(api.send("[2001:db8::1]:9", "POST", "/v1/whip", "a.b.c").await, 429);
    assert_eq!(api.get("[2001:db8::1]:9", "/v1/ws", "").await, 429);
    assert_eq!(api.get("[2001:db8:0:1::1]:9", "/v1/rooms", &key).await, 200);
    assert_eq!(api.get("192.0.2.1:9", "/v1/rooms", &key).await, 200);
    assert_eq!(api.get("127.0.0.1:9", "/v1/rooms", &key).await, 200);

    assert_eq!(api.get("192.0.2.1:9", "/metrics", "").await, 404);
    assert_eq!(api.get("127.0.0.1:9", "/metrics", "").await, 200);
    let _ = std::fs::remove_dir_all(folder);
}
