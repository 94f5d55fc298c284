//! Marked values planted through a whole run are found nowhere but where they belong.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
};

use common::{World, databases::Place, offer, past};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AnyPool, AssertSqlSafe, Row as _};
use tracing_subscriber::fmt::MakeWriter;

const HANDLE: &str = "canary-handle-7f3a9c";
const AGENT: &str = "CanaryAgent-5b21";
const ADDRESS: &str = "198.51.100.77";
const DATA: &str = "canary-room-data-e1d4";
const PATH: &str = "canary-path-c0ffee";
/// The only columns in which a handle may stand.
const HANDLES: [&str; 5] =
    ["bans.handle", "events.data", "events.handle", "histories.handle", "stays.handle"];
/// What a run must have left in them, or the search is blind.
const LEFT: [&str; 3] = ["events.data", "events.handle", "histories.handle"];

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

/// Columns of any table whose text holds `mark`.
async fn columns_with(pool: &AnyPool, is_sqlite: bool, mark: &str) -> BTreeSet<String> {
    let all = if is_sqlite {
        "SELECT m.name AS t, c.name AS c FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table'"
    } else {
        "SELECT CAST(table_name AS TEXT) AS t, CAST(column_name AS TEXT) AS c \
         FROM information_schema.columns WHERE table_schema = 'public'"
    };
    // PostgreSQL shows bytes in hexadecimal.
    let hex: String = mark.bytes().map(|byte| format!("{byte:02x}")).collect();
    let in_bytes = format!("%{hex}%");
    let mut found = BTreeSet::new();
    let all = sqlx::query(all).fetch_all(pool).await.unwrap();
    assert!(all.len() > 50, "columns were listed");
    for row in all {
        let (table, column): (String, String) = (row.get("t"), row.get("c"));
        let sql = format!(
            "SELECT COUNT(*) AS n FROM \"{table}\" WHERE CAST(\"{column}\" AS TEXT) LIKE $1 \
             OR CAST(\"{column}\" AS TEXT) LIKE $2"
        );
        // Bound: the text of the statement goes to the log, which is searched too.
        let query = sqlx::query(AssertSqlSafe(sql)).bind(format!("%{mark}%")).bind(&in_bytes);
        let n: i64 = query.fetch_one(pool).await.unwrap().get("n");
        if n > 0 {
            found.insert(format!("{table}.{column}"));
        }
    }
    found
}

fn holds(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
}

/// Joins, publishes, fails, asks and leaves, with marks in everything that a client or partner sends.
/// Returns secrets that came back.
async fn run(world: &World) -> Vec<String> {
    let marked = |method: Method, path: &str| {
        let request = world.ask(method, path).header("user-agent", AGENT);
        request.header("x-forwarded-for", ADDRESS).header("content-type", "application/json")
    };
    // The sender tries it at once, and fails: nobody has that name.
    let hook = json!({ "url": format!("https://hooks.invalid/{PATH}") });
    let hook = common::json_of(world.post("/v1/webhooks", &hook).await).await;
    let hook = hook["secret"].as_str().unwrap().trim_start_matches("whsec_").to_owned();
    let room = world.room_with(&json!({ "settings": { "data": DATA } })).await;
    let token = world.token(&room, HANDLE).await;
    let mut socket = world.connect().await;
    let joined = socket.join(&token).await;
    let ticket = joined["ticket"].as_str().unwrap().to_owned();
    let sdp = offer("canaryUfrag", &[("audio", "0", "sendonly")]);
    socket.offer(1, &sdp, json!([{ "mid": "0", "source": "microphone" }])).await;
    socket.send(json!({ "type": "leave" })).await;
    drop(socket);
    let mut replay = world.connect().await;
    replay.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(replay.refused().await.1, "token_refused");
    // What the room's task writes once it commits; here by hand, so that every column is filled.
    let who = |more: Value| {
        let mut all = json!({ "participant": "pa_canary", "handle": HANDLE });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let pool = past::pool(&world.place.url).await;
    let events = [
        (1, room.as_str(), "participant.joined", who(json!({ "role": "viewer", "hidden": false }))),
        (2, room.as_str(), "participant.left", who(json!({ "reason": "left", "hidden": false }))),
    ];
    past::write(&pool, &world.project, &events).await;
    pool.close().await;
    for path in ["/v1/events", "/v1/usage?running=true", "/v1/rooms", "/v1/nothing"] {
        marked(Method::GET, path).send().await.unwrap();
    }
    let sessions = format!("/v1/sessions?handle={HANDLE}");
    let sessions = marked(Method::GET, &sessions).send().await.unwrap();
    assert!(sessions.text().await.unwrap().contains(HANDLE));
    let secret = world.key.splitn(3, '_').nth(2).unwrap().to_owned();
    let signature = token.rsplit('.').next().unwrap().to_owned();
    vec![token, signature, ticket, secret, hook, PATH.to_owned(), "canaryUfrag".to_owned()]
}

async fn search(place: Place, text: &Log) {
    let is_sqlite = place.postgres.is_none();
    let world = World::build_on(place, past::config(), true).await;
    let secrets = run(&world).await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("/v1/sessions"));
    let pool = past::pool(&world.place.url).await;
    let handles = columns_with(&pool, is_sqlite, HANDLE).await;
    assert!(LEFT.iter().all(|column| handles.contains(*column)), "the search sees: {handles:?}");
    assert!(handles.iter().all(|column| HANDLES.contains(&column.as_str())), "{handles:?}");
    assert_eq!(columns_with(&pool, is_sqlite, DATA).await, ["rooms.settings".to_owned()].into());
    let mut nowhere: Vec<&str> = secrets.iter().map(String::as_str).collect();
    nowhere.extend([AGENT, ADDRESS, "127.0.0.1"]);
    for mark in &nowhere {
        assert_eq!(columns_with(&pool, is_sqlite, mark).await, BTreeSet::new(), "{mark}");
    }
    pool.close().await;
    let files = match &world.place.postgres {
        Some(database) => vec![database.dump()],
        None => ["test.db", "test.db-wal"]
            .map(|name| std::fs::read(world.folder.join(name)).unwrap_or_default())
            .into(),
    };
    assert!(files.iter().any(|file| holds(file, HANDLE)));
    let text = text.0.lock().unwrap().clone();
    assert!(holds(&text, "/v1/sessions"), "the log is on");
    for mark in &nowhere {
        assert!(files.iter().all(|file| !holds(file, mark)), "{mark} in a file");
    }
    nowhere.extend([HANDLE, DATA]);
    for mark in nowhere {
        let shown = String::from_utf8_lossy(&text);
        let line = shown.lines().find(|line| line.contains(mark));
        assert_eq!(line, None, "{mark} in the log");
        assert!(!metrics.contains(mark) || mark == "127.0.0.1", "{mark} in the metrics");
    }
    // Erased, it is in no row and, in SQLite, in no byte of the files.
    erase(&world).await;
    let pool = past::pool(&world.place.url).await;
    assert_eq!(columns_with(&pool, is_sqlite, HANDLE).await, BTreeSet::new());
    pool.close().await;
    world.server.shutdown().await;
    if is_sqlite {
        for name in ["test.db", "test.db-wal"] {
            let file = std::fs::read(world.folder.join(name)).unwrap_or_default();
            assert!(!holds(&file, HANDLE), "{name}");
        }
    }
}

/// That it left may not be stored yet; until then it is refused.
async fn erase(world: &World) {
    for _ in 0..100 {
        let erased = world.post("/v1/erasures", &json!({ "handle": HANDLE })).await;
        match erased.status().as_u16() {
            200 => return,
            409 => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            other => panic!("{other}: {}", erased.text().await.unwrap()),
        }
    }
    panic!("it is still in a room");
}

#[tokio::test]
async fn marked_values_are_only_where_they_belong() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        // Details of other libraries are shown at no level (see the binary's `log`).
        .with_env_filter("warn,signaling=trace,sqlx=debug,axum=trace,tower_http=trace")
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    search(Place::sqlite(), &log).await;
    search(Place::postgres(), &log).await;
}
