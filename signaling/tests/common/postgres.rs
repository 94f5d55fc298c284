//! A PostgreSQL of this test process: private, on a socket in a temporary folder, gone with it.
//!
//! ```text
//! test process ──stdin──▶ sh (own process group) ──▶ initdb, pg_ctl start, "ready"
//!       dies: end of file ──▶ pg_ctl stop, rm -r folder
//! ```
//!
//! The shell waits for the end of its standard input, which comes however this process ends, also
//! by SIGKILL. Also used by path from other packages' tests: it uses nothing of ours.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock},
};

/// Longest folder of a Unix socket: 107 bytes less `/.s.PGSQL.5432`.
const FOLDER_BYTES_MAX: usize = 90;

/// $1: programs, $2: folder, the rest: how to run a program as the server's user.
const SCRIPT: &str = r#"
bin=$1 dir=$2; shift 2
trap '' INT TERM HUP
{
  "$@" "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync &&
  "$@" "$bin/pg_ctl" -D "$dir/data" -w -t 120 -l "$dir/log" start -o "-k '$dir' -p 5432 \
    -c listen_addresses= -c max_connections=400 \
    -c shared_buffers=32MB -c fsync=off -c full_page_writes=off -c autovacuum=off"
} >"$dir/start" 2>&1 && echo ready || { cat "$dir/start" "$dir/log" 2>/dev/null; echo failed; }
cat >/dev/null
"$@" "$bin/pg_ctl" -D "$dir/data" -w -t 30 -m immediate stop >/dev/null 2>&1
rm -rf "$dir"
"#;

/// A fresh, empty database. It is dropped some time after this value.
pub struct Database {
    pub url: String,
    name: String,
}

struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    /// Closed by the system at the end of this process.
    _alive: ChildStdin,
    _shell: Child,
    next: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    count: u32,
    /// Of values that are gone.
    unused: Vec<String>,
}

/// A fresh database. Starts the server with the first one.
///
/// # Panics
/// When PostgreSQL is not installed or does not start.
pub fn database() -> Database {
    let cluster = cluster();
    let (name, unused) = {
        let mut names = lock(&cluster.next);
        names.count += 1;
        (format!("test_{}", names.count), std::mem::take(&mut names.unused))
    };
    let mut lines: Vec<_> =
        unused.iter().map(|old| format!("DROP DATABASE {old} WITH (FORCE)")).collect();
    lines.push(format!("CREATE DATABASE {name} TEMPLATE template0"));
    sql("postgres", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    let host = escaped(&cluster.folder);
    Database { url: format!("postgres://postgres@{host}:5432/{name}"), name }
}

impl Database {
    /// Runs statements by `psql`, past our code, and returns what they print.
    pub fn sql(&self, statements: &[&str]) -> String {
        sql(&self.name, statements)
    }

    /// Of the server: its data and its socket.
    pub fn folder(&self) -> &'static Path {
        &cluster().folder
    }

    /// Everything in it as text, by `pg_dump`.
    pub fn dump(&self) -> Vec<u8> {
        let cluster = cluster();
        let done = client("pg_dump", cluster).arg(&self.name).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        lock(&cluster().next).unused.push(std::mem::take(&mut self.name));
    }
}

fn sql(database: &str, statements: &[&str]) -> String {
    let mut psql = client("psql", cluster());
    psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]);
    for statement in statements {
        psql.args(["-c", statement]);
    }
    let done = psql.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn client(program: &str, cluster: &Cluster) -> Command {
    let mut command = Command::new(cluster.bin.join(program));
    command.arg("-h").arg(&cluster.folder).args(["-p", "5432", "-U", "postgres"]);
    command.stdin(Stdio::null());
    command
}

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

fn start() -> Cluster {
    let bin = programs();
    let folder = folder();
    let user = server_user();
    if let Some((uid, gid)) = user {
        chown(&folder, Some(uid), Some(gid)).unwrap();
    }
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(SCRIPT).arg("sh").arg(&bin).arg(&folder);
    if let Some((uid, gid)) = user {
        shell.arg("setpriv").args([format!("--reuid={uid}"), format!("--regid={gid}")]);
        shell.arg("--clear-groups");
    } else {
        shell.arg("env");
    }
    std::os::unix::process::CommandExt::process_group(&mut shell, 0);
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let alive = shell.stdin.take().unwrap();
    let mut told = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    if line != "ready\n" {
        drop(alive);
        told.read_to_string(&mut line).unwrap();
        panic!("PostgreSQL does not start in {}:\n{line}", folder.display());
    }
    Cluster { folder, bin, _alive: alive, _shell: shell, next: Mutex::default() }
}

/// The newest PostgreSQL of Debian, or the one in the path.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|v| v.path()).max_by_key(|path| number(path));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = newest.map(|v| v.join("bin")).into_iter().chain(std::env::split_paths(&path));
    found.into_iter().find(|bin| bin.join("initdb").is_file()).unwrap_or_else(|| {
        panic!("PostgreSQL is needed: apt-get install postgresql, or run: make setup")
    })
}

/// Root may not run a server: who does it then.
fn server_user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|n| n.parse().unwrap());
        Some((numbers.next()?, numbers.next()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).unwrap())
}

/// A folder with a name short enough for a socket, in which others may look.
fn folder() -> PathBuf {
    let temporary = std::env::temp_dir().canonicalize().unwrap();
    let name = format!("conclave-pg-{}", std::process::id());
    let reachable =
        |dir: &Path| dir.ancestors().all(|a| fs::metadata(a).is_ok_and(|m| m.mode() & 1 == 1));
    let fits = |dir: &PathBuf| dir.as_os_str().len() <= FOLDER_BYTES_MAX - 24 && reachable(dir);
    let folder = Some(temporary).filter(fits).unwrap_or_else(|| "/tmp".into()).join(name);
    fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    folder
}

/// As the host of a URL.
fn escaped(path: &Path) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    path.to_str().unwrap().bytes().fold(String::new(), |url, byte| match safe(byte) {
        true => url + &char::from(byte).to_string(),
        false => url + &format!("%{byte:02X}"),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
