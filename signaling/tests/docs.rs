//! The contract and its pages are served by the server itself, and need nothing else.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{World, json_of};
use reqwest::Method;
use serde_json::Value;

#[tokio::test]
async fn the_contract_is_served_as_it_is_committed() {
    let world = World::start().await;
    for name in ["openapi.json", "asyncapi.json"] {
        let answer = world.http.get(world.url(&format!("/{name}"))).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "application/json");
        let file = format!("{}/../sdk-spec/{name}", env!("CARGO_MANIFEST_DIR"));
        let committed: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
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

/// Paths that are no part of the contract: probes, the contract itself, the WebSocket.
const BESIDE: [&str; 6] =
    ["/livez", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/v1/ws"];

fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => sources(&path, out),
            path => *out += &fs::read_to_string(path).unwrap(),
        }
    }
}

fn documented() -> serde_json::Map<String, Value> {
    let api = serde_json::to_value(sdk_spec::openapi::document()).unwrap();
    api["paths"].as_object().unwrap().clone()
}

#[test]
fn every_route_is_in_the_contract_and_the_other_way_round() {
    let mut code = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut code);
    let paths = documented();
    let routes = code.split(".route(").skip(1).filter_map(|rest| {
        let path = rest.trim_start().strip_prefix('"')?;
        path.split('"').next()
    });
    let mut count = 0;
    for route in routes.filter(|route| !BESIDE.contains(route)) {
        assert!(paths.contains_key(route), "{route} is in no document");
        count += 1;
    }
    assert!(count > 20, "{count} routes");
    for path in paths.keys() {
        assert!(code.contains(&format!("\"{path}\"")), "{path} is no route");
    }
}

/// With a key that may do everything, a documented method is never 405, any other always.
#[tokio::test]
async fn every_method_is_in_the_contract_and_the_other_way_round() {
    let world = World::start().await;
    for (path, item) in documented().iter().filter(|(path, _)| path.starts_with("/v1/")) {
        let filled = path.replace('{', "x").replace('}', "");
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            let known = item.get(method.to_lowercase()).is_some();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let status = loop {
                let answer = world.ask(method.clone(), &filled).send().await.unwrap();
                if answer.status() != 429 {
                    break answer.status();
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            };
            assert_eq!(status != 405, known, "{method} {path}: {status}");
        }
    }
}
