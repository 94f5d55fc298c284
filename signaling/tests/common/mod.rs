//! A real server on a free port, a scripted media node on its bus, real clients.
#![allow(clippy::unwrap_used, dead_code, unused_imports, unreachable_pub, reason = "tests")]

pub mod databases;
mod log;
pub mod node;
pub mod past;
pub mod recorder;
pub mod socket;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use bus::{Bus, InProcessBus};
use prometheus::Registry;
use reqwest::{Client, Method, RequestBuilder, Response};
use sdk_spec::scope::Scope;
use serde_json::{Value, json};
use signaling::{Config, Server, Store, Vault, admin};

use databases::Place;
pub use log::Log;
pub use node::Node;
pub use socket::Socket;

/// The server and everything that a partner has.
pub struct World {
    pub server: Server,
    pub store: Store,
    pub key: String,
    pub project: String,
    pub bus: Arc<dyn Bus>,
    pub node: Option<Node>,
    /// Whether the recorder has room for one more recording.
    pub has_room: Arc<AtomicBool>,
    /// Texts that it was given.
    pub texts: recorder::Texts,
    pub http: Client,
    pub folder: PathBuf,
    /// Where the database is; goes with this value.
    pub place: Place,
}

/// A fresh folder for a database.
pub fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("conclave-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub async fn open(folder: &std::path::Path) -> Store {
    Store::open(&format!("sqlite://{}/test.db", folder.display()), Vault::new(&[7; 32]))
        .await
        .unwrap()
}

pub fn config() -> Config {
    Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() }
}

impl World {
    /// With a media node that answers every offer.
    pub async fn start() -> Self {
        Self::build(config(), true).await
    }

    /// With a media node, on SQLite or PostgreSQL.
    pub async fn start_on(place: Place) -> Self {
        Self::build_on(place, config(), true).await
    }

    pub async fn build(config: Config, with_node: bool) -> Self {
        Self::build_on(Place::sqlite(), config, with_node).await
    }

    pub async fn build_on(place: Place, config: Config, with_node: bool) -> Self {
        let store = place.open().await;
        let project = admin::create_project(&store, "test").await.unwrap().id;
        let key = admin::create_key(&store, &project, Scope::ALL).await.unwrap().secret;
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
        let node = if with_node { Some(Node::start(&bus).await) } else { None };
        let has_room = Arc::new(AtomicBool::new(true));
        let texts = recorder::Texts::default();
        let recorder = Some(recorder::limited(Arc::clone(&has_room), Arc::clone(&texts)));
        let (own, registry) = (store.clone(), Registry::new());
        let server =
            signaling::serve_recording(config, own, Arc::clone(&bus), registry, recorder, |_| None);
        let server = server.await.unwrap();
        let folder = place.folder.clone();
        let http = Client::new();
        Self { server, store, key, project, bus, node, has_room, texts, http, folder, place }
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.local_addr())
    }

    /// A request with the API key.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path)).bearer_auth(&self.key)
    }

    pub async fn post(&self, path: &str, body: &Value) -> Response {
        let request = self.ask(Method::POST, path).header("content-type", "application/json");
        request.body(body.to_string()).send().await.unwrap()
    }

    pub async fn room(&self) -> String {
        self.room_with(&json!({})).await
    }

    pub async fn room_with(&self, body: &Value) -> String {
        let response = self.post("/v1/rooms", body).await;
        assert_eq!(response.status(), 201);
        json_of(response).await["id"].as_str().unwrap().to_owned()
    }

    /// A token that grants everything.
    pub async fn token(&self, room: &str, handle: &str) -> String {
        let all = json!(["camera", "microphone", "screen", "screen_audio"]);
        let body = json!({ "handle": handle, "grants": { "publish": all, "subscribe": true } });
        self.token_with(room, &body).await
    }

    pub async fn token_with(&self, room: &str, body: &Value) -> String {
        let response = self.post(&format!("/v1/rooms/{room}/tokens"), body).await;
        assert_eq!(response.status(), 201);
        json_of(response).await["token"].as_str().unwrap().to_owned()
    }

    pub async fn connect(&self) -> Socket {
        Socket::connect(self.server.local_addr()).await
    }

    /// Joins with a fresh token; returns the socket and `joined`.
    pub async fn join(&self, room: &str, handle: &str) -> (Socket, Value) {
        let token = self.token(room, handle).await;
        let mut socket = self.connect().await;
        let joined = socket.join(&token).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        (socket, joined)
    }

    pub async fn participants(&self, room: &str) -> u64 {
        let response = self.ask(Method::GET, &format!("/v1/rooms/{room}")).send().await.unwrap();
        json_of(response).await["participants"].as_u64().unwrap()
    }

    pub async fn metrics(&self) -> String {
        self.http.get(self.url("/metrics")).send().await.unwrap().text().await.unwrap()
    }
}

pub async fn json_of(response: Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

/// Checks that a response is this problem, in full, and returns it.
pub async fn problem(response: Response, status: u16, code: &str) -> Value {
    let got = response.status();
    let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned());
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    assert_eq!(kind.as_deref(), Some("application/problem+json"), "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)));
    for member in ["type", "title", "remedy"] {
        assert!(problem[member].as_str().is_some_and(|t| !t.is_empty()), "{member}: {problem}");
    }
    problem
}

/// A browser-like offer with these sections: (kind, mid, direction).
pub fn offer(ufrag: &str, sections: &[(&str, &str, &str)]) -> String {
    let mids: Vec<_> = sections.iter().map(|s| s.1).collect();
    let fingerprint = vec!["AB"; 32].join(":");
    let mut sdp = format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
         a=group:BUNDLE {}\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n",
        mids.join(" ")
    );
    for (kind, mid, direction) in sections {
        let (payload, map) = match *kind {
            "audio" => (111, "opus/48000/2"),
            _ => (96, "VP8/90000"),
        };
        sdp += &format!(
            "m={kind} 9 UDP/TLS/RTP/SAVPF {payload}\r\nc=IN IP4 0.0.0.0\r\n\
             a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:{ufrag}\r\n\
             a=ice-pwd:asd88fgpdd777uzjYhagZg12\r\na=fingerprint:sha-256 {fingerprint}\r\n\
             a=setup:actpass\r\na=mid:{mid}\r\n\
             a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\na={direction}\r\n\
             a=rtcp-mux\r\na=rtpmap:{payload} {map}\r\na=rtcp-fb:{payload} nack\r\n"
        );
    }
    sdp
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

impl World {
    /// Another server takes the database over, as after a crash of this one; then this one stops.
    pub async fn take_over(&mut self) {
        let store = self.place.open().await;
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
        let node = Node::start(&bus).await;
        let server =
            signaling::serve(config(), store.clone(), Arc::clone(&bus), Registry::new(), None);
        let old = std::mem::replace(&mut self.server, server.await.unwrap());
        old.shutdown().await;
        (self.store, self.bus, self.node) = (store, bus, Some(node));
    }

    /// Tokens for so many, minted with enough keys to stay below the rate of one.
    pub async fn many_tokens(&self, room: &str, count: usize) -> Vec<String> {
        let mut tokens = Vec::new();
        let mut key = String::new();
        for i in 0..count {
            if i % 150 == 0 {
                key =
                    admin::create_key(&self.store, &self.project, Scope::ALL).await.unwrap().secret;
            }
            let body = json!({ "handle": format!("user-{i}"), "grants": { "subscribe": true } });
            let request = self.http.post(self.url(&format!("/v1/rooms/{room}/tokens")));
            let request = request.bearer_auth(&key).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 201);
            tokens.push(json_of(answer).await["token"].as_str().unwrap().to_owned());
        }
        tokens
    }
}
