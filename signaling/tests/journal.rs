//! A server that is killed at random moments while it is told to change rooms: afterwards the rooms,
//! the event log and the stays agree, and what was acknowledged is there.
//!
//! The server is a process of its own: this test's binary, started again. About a thousand changes
//! here; the long run: `cargo test -p signaling --test journal ten_thousand -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::await_holding_lock,
    clippy::zombie_processes,
    reason = "tests"
)]

mod common;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bus::{Bus, InProcessBus};
use common::{Log, Node, Socket, config, databases::Place};
use prometheus::Registry;
use reqwest::{Client, Method};
use sdk_spec::scope::Scope;
use serde_json::{Value, json};
use signaling::{Store, Vault, admin};
use sqlx::Row as _;

const FOLDER: &str = "CONCLAVE_TEST_CHILD";

/// Not a test: the server that the tests here start and kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the tests here"]
async fn child_server() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let url = format!("sqlite://{folder}/test.db");
    let store = Store::open(&url, Vault::new(&common::databases::KEY)).await.unwrap();
    let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new());
    let _node = Node::start(&bus).await;
    let server = signaling::serve(config(), store, bus, Registry::new(), None).await.unwrap();
    let told = Path::new(&folder).join("address.new");
    std::fs::write(&told, server.local_addr().to_string()).unwrap();
    std::fs::rename(told, Path::new(&folder).join("address")).unwrap();
    // Ends with its parent, at the latest after a while.
    tokio::time::sleep(Duration::from_secs(120)).await;
}

/// The server's process; killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    async fn start(folder: &Path) -> Self {
        let file = folder.join("address");
        let _ = std::fs::remove_file(&file);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_server", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..1200 {
            if let Ok(address) = std::fs::read_to_string(&file) {
                return Self { child, address: address.parse().unwrap() };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server did not start");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill(); // SIGKILL
        let _ = self.child.wait();
    }
}

/// What the server acknowledged.
#[derive(Default)]
struct Acknowledged {
    created: Vec<String>,
    /// Room and version.
    updated: Vec<(String, u64)>,
    acted: usize,
    closed: Vec<String>,
    joined: usize,
}

impl Acknowledged {
    fn changes(&self) -> usize {
        self.created.len() + self.updated.len() + self.acted + self.closed.len() + self.joined
    }
}

/// One who changes rooms with a key of its own until the server is gone.
#[derive(Clone)]
struct Worker {
    address: SocketAddr,
    key: String,
    http: Client,
    done: Arc<Mutex<Acknowledged>>,
    seed: u64,
}

impl Worker {
    fn draw(&mut self, below: u64) -> u64 {
        // splitmix64
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Option<(u16, Value)> {
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        let request = request.bearer_auth(&self.key);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// A room from its creation to its end, or to the end of the server.
    async fn live(mut self) {
        while let Some(()) = self.room().await {}
    }

    async fn room(&mut self) -> Option<()> {
        let kind = json!({ "kind": "permanent" });
        let (status, room) = self.ask(Method::POST, "/v1/rooms", Some(kind)).await?;
        if status == 429 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Some(());
        }
        assert_eq!(status, 201, "{room}");
        let id = room["id"].as_str()?.to_owned();
        self.done.lock().unwrap().created.push(id.clone());
        let mut sockets = Vec::new();
        for step in 0..4 + self.draw(12) {
            match self.draw(4) {
                0 | 1 => self.update(&id, step).await?,
                2 => sockets.push(self.join(&id, step).await?),
                _ => self.act(&id, &mut sockets).await?,
            }
        }
        if self.draw(3) == 0 {
            let path = format!("/v1/rooms/{id}");
            let (status, _) = self.ask(Method::DELETE, &path, None).await?;
            if status == 204 {
                self.done.lock().unwrap().closed.push(id);
            }
        }
        Some(())
    }

    async fn update(&self, room: &str, step: u64) -> Option<()> {
        let body = json!({ "settings": { "data": format!("step {step}"), "locked": false } });
        let (status, changed) =
            self.ask(Method::PATCH, &format!("/v1/rooms/{room}"), Some(body)).await?;
        if status == 200 {
            // Another change may be in the answer: only one's own room is changed here.
            let version = changed["version"].as_u64()?;
            self.done.lock().unwrap().updated.push((room.to_owned(), version));
        }
        Some(())
    }

    async fn join(&self, room: &str, step: u64) -> Option<(Socket, String)> {
        let body = json!({ "handle": format!("user-{step}"), "grants": { "subscribe": true } });
        let path = format!("/v1/rooms/{room}/tokens");
        let (_, minted) = self.ask(Method::POST, &path, Some(body)).await?;
        let token = minted["token"].as_str()?.to_owned();
        let mut socket = Socket::try_connect(self.address).await?;
        let joined = socket.try_join(&token).await?;
        let me = joined["participant"]["id"].as_str()?.to_owned();
        self.done.lock().unwrap().joined += 1;
        Some((socket, me))
    }

    /// Moderates somebody, or has somebody leave.
    async fn act(&mut self, room: &str, sockets: &mut Vec<(Socket, String)>) -> Option<()> {
        let Some((_, participant)) = sockets.first() else { return Some(()) };
        let (action, is_end) = match self.draw(3) {
            0 => (json!({ "type": "mute", "participant": participant, "muted": true }), false),
            1 => {
                (json!({ "type": "set_role", "participant": participant, "role": "viewer" }), false)
            }
            _ => (json!({ "type": "eject", "participant": participant, "ban_seconds": 0 }), true),
        };
        let path = format!("/v1/rooms/{room}/actions");
        let (status, _) = self.ask(Method::POST, &path, Some(action)).await?;
        if status == 200 {
            self.done.lock().unwrap().acted += 1;
        }
        if is_end {
            sockets.remove(0);
        }
        Some(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_and_a_kill_at_any_moment() {
    run(1_000, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes"]
async fn ten_thousand_changes_and_a_kill_at_any_moment() {
    run(10_000, 2).await;
}

async fn run(changes: usize, seed: u64) {
    let place = Place::sqlite();
    let keys = keys(&place).await;
    let done = Arc::new(Mutex::new(Acknowledged::default()));
    let (mut rounds, mut dice) = (0, seed);
    while done.lock().unwrap().changes() < changes {
        rounds += 1;
        assert!(rounds < 1_000, "no progress");
        let server = Server::start(&place.folder).await;
        check(&place, &done.lock().unwrap()).await;
        let workers = keys.iter().enumerate().map(|(i, key)| Worker {
            address: server.address,
            key: key.clone(),
            http: Client::new(),
            done: Arc::clone(&done),
            seed: seed * 1_000_003 + rounds * 101 + i as u64,
        });
        let tasks: Vec<_> = workers.map(|worker| tokio::spawn(worker.live())).collect();
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(200 + (dice >> 33) % 2_500)).await;
        drop(server);
        for task in tasks {
            task.await.unwrap();
        }
    }
    let server = Server::start(&place.folder).await;
    let done = done.lock().unwrap();
    check(&place, &done).await;
    drop(server);
    println!(
        "{rounds} kills; acknowledged: {} rooms, {} updates, {} actions, {} closed, {} joins",
        done.created.len(),
        done.updated.len(),
        done.acted,
        done.closed.len(),
        done.joined,
    );
}

/// Two projects with some keys each.
async fn keys(place: &Place) -> Vec<String> {
    let store = place.open().await;
    let mut keys = Vec::new();
    for _ in 0..2 {
        let project = admin::create_project(&store, "test").await.unwrap().id;
        for _ in 0..4 {
            keys.push(admin::create_key(&store, &project, Scope::ALL).await.unwrap().secret);
        }
    }
    store.close().await;
    keys
}

/// Everything, right after a start, when nobody is in any room.
async fn check(place: &Place, done: &Acknowledged) {
    let log = Log::at(&place.url).await;
    assert_eq!(log.number("SELECT COUNT(*) FROM stays").await, 0, "everybody has left");
    let gaps = "SELECT COUNT(*) FROM projects p WHERE event_seq <> \
        (SELECT COUNT(*) FROM events e WHERE e.project = p.id) OR event_seq <> \
        (SELECT COALESCE(MAX(seq), 0) FROM events e WHERE e.project = p.id)";
    assert_eq!(log.number(gaps).await, 0, "numbers without gaps in projects");
    let gaps = "SELECT COUNT(*) FROM rooms r WHERE event_seq <> \
        (SELECT COUNT(*) FROM events e WHERE e.room = r.id) OR event_seq <> \
        (SELECT COALESCE(MAX(room_seq), 0) FROM events e WHERE e.room = r.id)";
    assert_eq!(log.number(gaps).await, 0, "numbers without gaps in rooms");
    check_rooms(&log, done).await;
    check_stays(&log).await;
}

async fn check_rooms(log: &Log, done: &Acknowledged) {
    let sql = "SELECT room, type, data FROM events WHERE type LIKE 'room.%' ORDER BY seq";
    let mut created: BTreeMap<String, usize> = BTreeMap::new();
    let mut ended: BTreeMap<String, usize> = BTreeMap::new();
    let mut versions: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in log.rows(sql).await {
        let room: String = row.try_get("room").unwrap();
        let data: Value = serde_json::from_str(&row.try_get::<String, _>("data").unwrap()).unwrap();
        match row.try_get::<String, _>("type").unwrap().as_str() {
            "room.created" => *created.entry(room).or_default() += 1,
            "room.ended" => *ended.entry(room).or_default() += 1,
            "room.updated" => {
                versions.entry(room).or_default().push(data["version"].as_u64().unwrap());
            }
            _ => {}
        }
    }
    for row in log
        .rows("SELECT id, version, CASE WHEN closed_at IS NULL THEN 0 ELSE 1 END FROM rooms")
        .await
    {
        let id: String = row.try_get(0).unwrap();
        assert_eq!(created.get(&id), Some(&1), "created once");
        let is_closed = row.try_get::<i64, _>(2).unwrap() == 1;
        assert_eq!(ended.get(&id).copied().unwrap_or(0), usize::from(is_closed), "ended once");
        let told = versions.get(&id).cloned().unwrap_or_default();
        let version = row.try_get::<i64, _>(1).unwrap() as u64;
        // Nothing else changes a charter here.
        assert_eq!(told, (2..=version).collect::<Vec<_>>(), "every version has its event");
    }
    for id in &done.created {
        assert!(created.contains_key(id), "an acknowledged room is there");
    }
    for (id, version) in &done.updated {
        assert!(versions[id].contains(version), "an acknowledged change has its event");
    }
    for id in &done.closed {
        assert_eq!(ended.get(id), Some(&1), "an acknowledged end is there");
    }
}

/// Everybody who came in has left, once and later.
async fn check_stays(log: &Log) {
    let sql = "SELECT type, data, room FROM events WHERE type IN \
        ('participant.joined', 'participant.left') ORDER BY seq";
    let mut present = BTreeMap::new();
    for row in log.rows(sql).await {
        let data: Value = serde_json::from_str(&row.try_get::<String, _>("data").unwrap()).unwrap();
        let who = data["participant"].as_str().unwrap().to_owned();
        let room: String = row.try_get("room").unwrap();
        match row.try_get::<String, _>("type").unwrap().as_str() {
            "participant.joined" => {
                assert!(present.insert(who, room).is_none(), "came once");
            }
            _ => assert_eq!(present.remove(&who), Some(room), "left where it was"),
        }
    }
    assert!(present.is_empty(), "{} are still there", present.len());
}
