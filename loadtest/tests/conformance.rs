//! The black-box cases hold on our server: a real one, with a real media node, on each database.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../signaling/tests/common/databases.rs"]
mod databases;

use std::{path::Path, sync::Arc};

use crate::databases::{Place, on_both};
use bus::{Bus, InProcessBus};
use loadtest::conformance::{self, Options};
use prometheus::Registry;
use sdk_spec::scope::Scope;
use signaling::{Config, Store, Vault, admin};

async fn key(store: &Store, label: &str) -> String {
    let project = admin::create_project(store, label).await.unwrap().id;
    admin::create_key(store, &project, Scope::ALL).await.unwrap().secret
}

/// Runs every case against a server on this database; prints what failed.
async fn every_case_holds(place: Place) {
    let store = place.open().await;
    let (key, other_key) = (key(&store, "one").await, key(&store, "other").await);
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let media = sfu::Config {
        bind: Some("127.0.0.1".parse().unwrap()),
        port: 0,
        workers: 1,
        cache_packets: 1024,
        ..sfu::Config::default()
    };
    let node = sfu::Node::start(media, &*bus, None).await.unwrap();
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    let server = signaling::serve(config, store, bus, Registry::new(), None).await.unwrap();
    let options = Options {
        url: format!("http://{}", server.local_addr()),
        key,
        other_key: Some(other_key),
        cases: Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-spec/conformance"),
        only: std::env::var("CONFORMANCE_ONLY").unwrap_or_default(),
    };
    let passed = conformance::run(&options, |line| eprintln!("{line}")).await.unwrap();
    server.shutdown().await;
    tokio::task::spawn_blocking(move || node.shutdown()).await.unwrap();
    assert!(passed);
}

on_both!(every_case_holds);

/// The runner itself: what does not hold is noticed.
#[tokio::test]
async fn a_server_that_is_not_there_fails_every_case() {
    let options = Options {
        url: String::from("http://127.0.0.1:1"),
        key: String::from("ck_x_y"),
        other_key: None,
        cases: Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-spec/conformance"),
        only: String::from("an empty object"),
    };
    assert!(!conformance::run(&options, |_| {}).await.unwrap());
}
