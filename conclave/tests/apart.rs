//! `conclave serve` and `conclave recorder` as on two machines: a data directory each, one PostgreSQL, keys that
//! know each other. Media through it: `loadtest recorder --only apart`.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../signaling/tests/common/postgres.rs"]
mod postgres;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Longest wait; the machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// A machine: a data directory and a configuration.
struct Machine {
    dir: PathBuf,
    /// Of a database that others use too; empty: it has one of its own.
    url: String,
}

impl Machine {
    fn new(name: &str, url: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Self { dir, url: url.to_owned() }
    }

    fn conclave(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
        command.args(words).arg("--data-dir").arg(&self.dir);
        if !self.url.is_empty() {
            command.env("CONCLAVE_DATABASE_URL", &self.url);
        }
        command.stdin(Stdio::null());
        command
    }

    fn fingerprint(&self) -> String {
        let told = self.conclave(&["recorder", "fingerprint"]).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap().trim().to_owned()
    }

    /// Writes the configuration and starts; returns once it is ready, with the port that it tells.
    fn start(&self, words: &[&str], config: &str) -> Process {
        let file = self.dir.join("conclave.toml");
        fs::write(&file, config).unwrap();
        let mut command = self.conclave(words);
        command.arg("--config").arg(file).args(["--log-format", "json"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let ready = lines.find(|line| line.contains("ready\"")).unwrap();
        // What comes later must not fill the pipe.
        let refusals = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&refusals);
        std::thread::spawn(move || {
            lines.filter(|line| line.contains("was not let in")).for_each(|_| {
                count.fetch_add(1, Relaxed);
            });
        });
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
        Process { child, port, refusals }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Process {
    child: Child,
    port: u16,
    /// How often its log told of somebody who was not let in.
    refusals: Arc<AtomicUsize>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A metric of a server or recorder.
fn metric(port: u16, name: &str) -> Option<u64> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).ok()?;
    let mut page = String::new();
    socket.read_to_string(&mut page).ok()?;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_server_uses_a_recorder_elsewhere_and_each_lets_in_whom_it_knows() {
    let database = postgres::database();
    let server = Machine::new("apart-server", &database.url);
    let away = Machine::new("apart-recorder", &database.url);
    let known = server.fingerprint();
    assert_eq!(server.fingerprint(), known, "it stays");
    {
        let (from, to) = (server.dir.join("data.key"), away.dir.join("data.key"));
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().mode(0o700).create(&away.dir).unwrap();
        fs::copy(from, to).unwrap();
    }
    let [link, metrics] = [free_port(), free_port()];
    let recorder = |peer: &str| {
        let listen = format!("[link]\nlisten = \"127.0.0.1:{link}\"\nservers = [\"{peer}\"]\n");
        away.start(&["recorder"], &format!("{listen}metrics = \"127.0.0.1:{metrics}\"\n"))
    };
    let connect = format!(
        "[media]\nbind = \"127.0.0.1\"\n[link]\nconnect = \"localhost:{link}\"\nrecorders = [\"{}\"]\n",
        away.fingerprint()
    );
    let words = ["serve", "--listen", "127.0.0.1:0", "--media-port", "0", "--workers", "1"];
    let serving = server.start(&words, &connect);
    let up = || metric(serving.port, "conclave_link_up");
    // A recorder that does not know this server.
    let wary = recorder(&"ab".repeat(32));
    until("the server is refused", || wary.refusals.load(Relaxed) > 0);
    assert_eq!((up(), metric(metrics, "conclave_link_servers")), (Some(0), Some(0)));
    drop(wary);
    let recording = recorder(&known);
    until("the link is up", || up() == Some(1));
    until("the recorder counts it", || metric(metrics, "conclave_link_servers") == Some(1));
    assert_eq!(recording.port, link);
    until("its keys are kept", || {
        let keys = fs::read_to_string(server.dir.join("recorder-keys.json")).unwrap_or_default();
        keys.contains("public_key")
    });
    assert!(!server.dir.join("recorder").exists(), "the server records nothing itself");
    drop(recording);
    until("the link is down", || up() == Some(0));
}

/// A partner's server on the REST API of a server.
struct Partner {
    port: u16,
    key: String,
}

impl Partner {
    /// Status and body.
    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.key,
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn record(&self, room: &str) -> (u16, Value) {
        self.ask("POST", &format!("/v1/rooms/{room}/recordings"), &json!({}))
    }

    fn recording(&self, id: &str) -> Value {
        self.ask("GET", &format!("/v1/recordings/{id}"), &Value::Null).1
    }
}

/// The first word of an output that begins so.
fn word(output: &Output, begin: &str) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    told.split_whitespace().find(|word| word.starts_with(begin)).unwrap().to_owned()
}

#[test]
fn recordings_end_as_failed_when_the_recorder_is_away_for_too_long() {
    let machine = Machine::new("apart-away", "");
    let link = free_port();
    let project = word(&machine.conclave(&["project", "create", "test"]).output().unwrap(), "pj_");
    let scopes = "rooms:write,recordings:read,recordings:write";
    let words = ["key", "create", "--project", &project, "--scope", scopes];
    let key = word(&machine.conclave(&words).output().unwrap(), "ck_");
    let config = format!(
        "[media]\nbind = \"127.0.0.1\"\n[recorder]\nlocal_folder = \"{}\"\n\
         [link]\nlisten = \"127.0.0.1:{link}\"\nconnect = \"localhost:{link}\"\naway_seconds = 5\n",
        machine.dir.join("delivered").display()
    );
    let recording = machine.start(&["recorder"], &config);
    let words = ["serve", "--listen", "127.0.0.1:0", "--media-port", "0", "--workers", "1"];
    let serving = machine.start(&words, &config);
    let partner = Partner { port: serving.port, key };
    let target = json!({ "name": "here", "storage": { "kind": "local" } });
    let (status, target) = partner.ask("POST", "/v1/storage-targets", &target);
    assert_eq!(status, 201, "{target}");
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let policy = json!({ "recipients": [recipient], "target": target["id"], "rule": {} });
    assert_eq!(partner.ask("PUT", "/v1/recording-policy", &policy).0, 200);
    let room = partner.ask("POST", "/v1/rooms", &json!({})).1["id"].as_str().unwrap().to_owned();
    until("the link is up", || metric(serving.port, "conclave_link_up") == Some(1));
    let (status, begun) = partner.record(&room);
    assert_eq!(status, 201, "{begun}");
    let id = begun["id"].as_str().unwrap();
    drop(recording);
    let gone = Instant::now();
    until("it ends", || partner.recording(id)["stop_reason"] == "recorder_failed");
    assert!(gone.elapsed() >= Duration::from_secs(4), "not at once: a restart costs nothing");
    assert_eq!(partner.recording(id)["state"], "recorded");
    assert_eq!(partner.record(&room).0, 503, "nobody would record it");
    let _recording = machine.start(&["recorder"], &config);
    until("the link is up again", || metric(serving.port, "conclave_link_up") == Some(1));
    assert_eq!(partner.recording(id)["stop_reason"], "recorder_failed", "it does not go on");
    assert_eq!(partner.record(&room).0, 201, "the next one does");
}
