//! The binary on PostgreSQL, and its backup and restore between the databases.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../signaling/tests/common/postgres.rs"]
mod postgres;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// A data directory, with a database elsewhere or in it.
struct Place {
    dir: PathBuf,
    url: Option<String>,
}

impl Place {
    fn new(name: &str, url: Option<&str>) -> Self {
        let dir = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
        Self { dir, url: url.map(str::to_owned) }
    }

    fn conclave(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
        command.args(arguments).arg("--data-dir").arg(&self.dir);
        match &self.url {
            Some(url) => command.env("CONCLAVE_DATABASE_URL", url),
            None => command.env_remove("CONCLAVE_DATABASE_URL"),
        };
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.conclave(arguments).output().unwrap()
    }

    /// What a command that must succeed prints.
    fn ask(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    /// What a command that must fail says.
    fn refused(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert!(!done.status.success());
        String::from_utf8(done.stderr).unwrap()
    }

    /// The same key as in another place.
    fn with_key_of(self, other: &Place) -> Self {
        fs::DirBuilder::new().create(&self.dir).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&self.dir, fs::Permissions::from_mode(0o700)).unwrap();
        fs::copy(other.dir.join("data.key"), self.dir.join("data.key")).unwrap();
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(place: &Place) -> Server {
    let mut child = place
        .conclave(&["serve", "--listen", "127.0.0.1:0", "--media-port", "0", "--workers", "1"])
        .args(["--log-format", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let ready = lines.find(|line| line.contains("\"ready\"")).unwrap();
    // What comes later must not fill the pipe.
    std::thread::spawn(move || lines.for_each(drop));
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    Server { child, port: u16::try_from(ready["port"].as_u64().unwrap()).unwrap() }
}

impl Server {
    /// Within some time: the media node is heard of a moment after the start.
    fn becomes_ready(&self) -> bool {
        let limit = Instant::now() + Duration::from_secs(30);
        while !self.is_ready() {
            if Instant::now() > limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        true
    }

    fn is_ready(&self) -> bool {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.starts_with("HTTP/1.1 204")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_running_server_moves_from_sqlite_to_postgres_by_backup() {
    let database = postgres::database();
    let old = Place::new("old", None);
    let project = old.ask(&["project", "create", "school"]).trim().to_owned();
    let file = old.dir.join("backup");
    {
        let server = serve(&old);
        assert!(server.becomes_ready());
        let second = old.refused(&["serve", "--listen", "127.0.0.1:0", "--media-port", "0"]);
        assert!(second.contains("another conclave uses the data directory"), "{second}");
        let told = old.run(&["backup", text(&file)]).stderr;
        assert!(String::from_utf8(told).unwrap().contains("NOT in it"));
        let running = old.refused(&["restore", text(&file)]);
        assert!(running.contains("another conclave uses the data directory"), "{running}");
    }
    assert!(old.refused(&["restore", text(&file)]).contains("is not empty"));

    let keyless = Place::new("keyless", Some(&database.url));
    assert!(keyless.refused(&["restore", text(&file)]).contains("another data key"));
    let new = Place::new("new", Some(&database.url)).with_key_of(&old);
    new.ask(&["restore", text(&file)]);
    assert!(new.ask(&["project", "list"]).contains(&project));
    assert!(!new.dir.join("conclave.db").exists());
    assert!(keyless.refused(&["project", "list"]).contains("not the one of this database"));

    // One server at a time uses it, and outlives a restart of the database.
    let other = Place::new("other", Some(&database.url)).with_key_of(&old);
    let server = serve(&new);
    database.sql(&["SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()"]);
    assert!(server.becomes_ready());
    let second = other.refused(&["serve", "--listen", "127.0.0.1:0", "--media-port", "0"]);
    assert!(second.contains("one process per database"), "{second}");
}

#[test]
fn a_server_leaves_no_core_file() {
    let place = Place::new("core", None);
    let server = serve(&place);
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let numbers: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "{core}");
    // Not dumpable: its files in /proc belong to root, whoever runs it; seen only by another user.
}
