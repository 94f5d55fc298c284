//! Webhooks of the whole program: killed by SIGKILL while a receiver is down, nothing is lost.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The running program; dropped, it is killed.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill(); // SIGKILL
        let _ = self.0.wait();
    }
}

fn conclave(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    command.arg("--config").arg(folder.join("conclave.toml")).args(arguments);
    command.stdin(Stdio::null());
    command
}

fn told(folder: &Path, arguments: &[&str]) -> String {
    let output = conclave(folder, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn start(folder: &Path, address: SocketAddr) -> Server {
    let mut command = conclave(folder, &["serve"]);
    let server = Server(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "does not listen");
        thread::sleep(Duration::from_millis(50));
    }
    server
}

/// A request over a connection of its own.
fn ask(address: SocketAddr, key: &str, method: &str, path: &str, body: &Value) -> Value {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 20"), "{answer}");
    serde_json::from_str(body).unwrap_or_default()
}

/// What came: `webhook-id` and body, in order.
type Got = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers 503 while down; notes everything else.
fn receiver() -> (u16, Got, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, got, is_up) =
        (listener.local_addr().unwrap().port(), Got::default(), Arc::new(AtomicBool::new(false)));
    let (notes, up) = (Arc::clone(&got), Arc::clone(&is_up));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = receive(stream, &notes, up.load(Relaxed));
        }
    });
    (port, got, is_up)
}

fn receive(mut stream: TcpStream, got: &Got, is_up: bool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut length, mut id) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        match name {
            "content-length" => length = value.parse().unwrap_or(0),
            "webhook-id" => id = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if is_up {
        got.lock().unwrap().push((id, serde_json::from_slice(&body)?));
    }
    let status = if is_up { "204 No Content" } else { "503 Service Unavailable" };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Everything that the log tells must have come.
fn log(address: SocketAddr, key: &str) -> BTreeMap<u64, String> {
    let mut all = BTreeMap::new();
    loop {
        let after = all.keys().next_back().copied().unwrap_or(0);
        let page =
            ask(address, key, "GET", &format!("/v1/events?after={after}&limit=200"), &json!({}));
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            return all;
        }
        let read = |e: &Value| (e["seq"].as_u64().unwrap(), e["id"].as_str().unwrap().to_owned());
        all.extend(events.iter().map(read));
    }
}

/// A folder with the configuration of a server, where that will listen, and a key of a partner.
fn prepared(name: &str, scopes: &str) -> (Folder, SocketAddr, String) {
    let name = format!("conclave-webhooks-{name}-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    fs::create_dir_all(&folder.0).unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let config = format!(
        "[storage]\ndata_dir = \"{}\"\n[http]\nlisten = \"{address}\"\n\
         [media]\nport = 0\nworkers = 1\n[webhooks]\nallow_hosts = [\"127.0.0.1\"]\n\
         [recorder]\nlocal_folder = \"{}\"\n",
        folder.0.join("data").display(),
        folder.0.join("delivered").display(),
    );
    fs::write(folder.0.join("conclave.toml"), config).unwrap();
    let project = told(&folder.0, &["project", "create", "test"]);
    let project = project.split_whitespace().find(|word| word.starts_with("pj_")).unwrap();
    let key = told(&folder.0, &["key", "create", "--project", project, "--scope", scopes]);
    let key = key.split_whitespace().find(|word| word.starts_with("ck_")).unwrap();
    (folder, address, key.to_owned())
}

/// What came of this type, within a minute.
fn awaited(got: &Got, kind: &str) -> Value {
    let began = Instant::now();
    loop {
        let all = got.lock().unwrap();
        if let Some((_, event)) = all.iter().find(|(_, event)| event["type"] == kind) {
            return event.clone();
        }
        drop(all);
        assert!(began.elapsed() < Duration::from_secs(60), "no {kind} came");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A receipt that came by webhook and keys that came by the API are all that a partner needs.
#[test]
fn the_receipt_of_a_purged_event_verifies_with_the_keys_of_the_api() {
    let scopes = "rooms:write,recordings:read,recordings:write,webhooks:write";
    let (folder, address, key) = prepared("receipt", scopes);
    let (hook, got, is_up) = receiver();
    is_up.store(true, Relaxed);
    let _server = start(&folder.0, address);
    let post = |path: &str, body: &Value| ask(address, &key, "POST", path, body);
    post("/v1/webhooks", &json!({ "url": format!("http://127.0.0.1:{hook}/") }));
    let target = json!({ "name": "here", "storage": { "kind": "local" } });
    let target = post("/v1/storage-targets", &target)["id"].clone();
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let policy = json!({ "recipients": [recipient], "target": target });
    ask(address, &key, "PUT", "/v1/recording-policy", &policy);
    let room = post("/v1/rooms", &json!({}))["id"].as_str().unwrap().to_owned();
    // Nobody comes: what is purged is empty, with a receipt like any other.
    let recording = post(&format!("/v1/rooms/{room}/recordings"), &json!({}))["id"].clone();
    post(&format!("/v1/recordings/{}/stop", recording.as_str().unwrap()), &json!({}));
    let purged = awaited(&got, "recording.purged")["data"].clone();
    assert_eq!((&purged["recording"], &purged["reason"]), (&recording, &json!("empty")));

    let [receipt, keys] = ["receipt.json", "keys.json"].map(|name| folder.0.join(name));
    let answer = ask(address, &key, "GET", "/v1/evidence-keys", &json!({}));
    fs::write(&keys, answer.to_string()).unwrap();
    let verify = |data: &Value| {
        fs::write(&receipt, data.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
        command.args(["recording", "receipt"]).arg(&receipt).arg("--key").arg(&keys);
        let done = command.output().unwrap();
        (done.status.success(), [done.stdout, done.stderr].concat())
    };
    let (is_good, said) = verify(&purged);
    let said = String::from_utf8(said).unwrap();
    assert!(is_good && said.contains("signed by the export key"), "{said}");
    assert!(said.contains(recording.as_str().unwrap()), "{said}");
    let mut changed = purged.clone();
    changed["receipt"] = json!(purged["receipt"].as_str().unwrap().replace("empty", "deleted"));
    assert_ne!(changed, purged);
    assert!(!verify(&changed).0, "a changed one");
}

#[test]
fn no_event_is_lost_when_the_program_is_killed_while_the_receiver_is_down() {
    let (folder, address, key) = prepared("killed", "rooms:write,events:read,webhooks:write");
    let (key, (hook, got, is_up)) = (&key[..], receiver());

    let mut server = start(&folder.0, address);
    let wish = json!({ "url": format!("http://127.0.0.1:{hook}/") });
    // What happened before is not its business.
    let after = ask(address, key, "POST", "/v1/webhooks", &wish)["after"].as_u64().unwrap();
    for round in 0..4 {
        for _ in 0..10 {
            ask(address, key, "POST", "/v1/rooms", &json!({}));
        }
        thread::sleep(Duration::from_millis(37 * round));
        drop(server);
        // Up for the third life only as long as it takes to be killed in the middle of it.
        is_up.store(round == 2, Relaxed);
        server = start(&folder.0, address);
    }
    is_up.store(true, Relaxed);
    let wanted: BTreeSet<String> =
        log(address, key).split_off(&(after + 1)).into_values().collect();
    assert!(wanted.len() >= 40);
    let began = Instant::now();
    loop {
        let come: BTreeSet<String> = got.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
        if wanted.is_subset(&come) {
            break;
        }
        // Probes come after 10, 30, 60 seconds at the latest.
        let (have, all) = (come.len(), wanted.len());
        assert!(began.elapsed() < Duration::from_secs(180), "{have} of {all} came");
        thread::sleep(Duration::from_millis(200));
    }
    for (id, body) in got.lock().unwrap().iter() {
        assert_eq!(body["id"], json!(id), "an id stays with its event");
    }
    drop(server);
}
