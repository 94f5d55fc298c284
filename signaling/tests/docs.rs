//! The contract and its pages are served by the server itself, and need nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{World, json_of};

#[tokio::test]
async fn the_contract_is_served_as_it_is_committed() {
    let world = World::start().await;
    for name in ["openapi.json", "asyncapi.json"] {
        let answer = world.http.get(world.url(&format!("/{name}"))).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json");
        let file = format!("{}/../sdk-spec/{name}", env!("CARGO_MANIFEST_DIR"));
        let committed: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        assert!(json_of(answer).await == committed, "{name}");
    }
}

#[tokio::test]
async fn pages_are_served_without_a_key_under_a_strict_policy() {
    let world = World::start().await;
    for path in ["/docs", "/docs/websocket", "/docs/errors", "/docs/policy", "/docs/style.css"] {
        let answer = world.http.get(world.url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let headers = answer.headers();
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert!(answer.text().await.unwrap().len() > 500, "{path}");
    }
}
