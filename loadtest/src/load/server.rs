//! The server under load: one that runs, or the binary on one core with an empty data directory.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// Projects of a spawned server, each with a key: together they may ask more than one core can
/// answer.
const PROJECTS: usize = 256;
/// Files of a process besides the sockets of the test.
const FILES_BESIDE: u64 = 300;
/// Longest start of a server.
const START: Duration = Duration::from_secs(30);
/// Wait after an answer above the rate.
const RATE_PAUSE: Duration = Duration::from_millis(500);
/// How often a request above the rate is sent again.
const RATE_TRIES: u32 = 100;

/// Where to send what.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) keys: Vec<String>,
    pub(crate) pid: Option<u32>,
    pub(crate) client: Client,
}

impl Target {
    pub(crate) fn new(url: &str, keys: Vec<String>, pid: Option<u32>) -> Result<Self> {
        ensure!(!keys.is_empty(), "--key is needed");
        let client = Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), keys, pid, client })
    }

    /// A request with the key of this number.
    pub(crate) fn ask(&self, method: Method, path: &str, key: usize) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        request.bearer_auth(&self.keys[key % self.keys.len()])
    }

    /// Posts JSON until the rate lets it through.
    pub(crate) async fn post(&self, path: &str, body: &Value, key: usize) -> Result<Value> {
        self.call(Method::POST, path, Some(body), key).await
    }

    /// Asks until the rate lets it through; `null` for an answer without a body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: usize,
    ) -> Result<Value> {
        for _ in 0..RATE_TRIES {
            let mut request = self.ask(method.clone(), path, key);
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            let response = request.send().await?;
            let (status, text) = (response.status(), response.text().await?);
            if status.is_success() {
                return if text.is_empty() {
                    Ok(Value::Null)
                } else {
                    Ok(serde_json::from_str(&text)?)
                };
            }
            ensure!(status == 429, "{method} {path}: {status}: {text}");
            tokio::time::sleep(RATE_PAUSE).await;
        }
        bail!("{method} {path}: above the rate for too long; give more keys")
    }

    /// Resident memory of the server in bytes.
    pub(super) fn resident(&self) -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024.0)
    }
}

/// A server of our own; ends with this value.
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    pub(super) target: Target,
}

impl Server {
    /// Starts `binary` on the first core; this process takes the others.
    pub(super) async fn spawn(binary: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("conclave-load-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let data = folder.join("data");
        let keys = projects(binary, &data)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        keep_off_first_core();
        let child = Command::new("taskset")
            .args(["-c", "0"])
            .arg(binary)
            .args(["serve", "--workers", "1", "--media-port", "0", "--log-level", "warn"])
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .spawn()
            .context("taskset and the server")?;
        let target = Target::new(&format!("http://127.0.0.1:{port}"), keys, Some(child.id()))?;
        let mut server = Self { child, folder, target };
        server.await_ready().await?;
        Ok(server)
    }

    async fn await_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended: {status}");
            }
            let asked = self.target.client.get(format!("{}/readyz", self.target.url)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the server was not ready in {} s", START.as_secs())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes the projects and a key for each.
fn projects(binary: &Path, data: &Path) -> Result<Vec<String>> {
    let run = |words: &[&str]| -> Result<String> {
        let output = Command::new(binary).args(words).arg("--data-dir").arg(data).output()?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "conclave {}: {told}", words.join(" "));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let one = |number: usize| {
        let project = run(&["project", "create", &format!("load-{number}")])?;
        run(&[
            "key",
            "create",
            "--project",
            &project,
            "--scope",
            "rooms:read,rooms:write,tokens:mint",
        ])
    };
    (0..PROJECTS).map(one).collect()
}

/// The load must not take the server's core.
fn keep_off_first_core() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 {
        let cores = format!("1-{}", cores - 1);
        let own = std::process::id().to_string();
        let _ = Command::new("taskset").args(["-acp", &cores, &own]).stdout(Stdio::null()).status();
    }
}

/// Raises the file limit of this process (and of a server that it starts) as far as needed.
pub(super) fn allow_files(sockets: u64) -> Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let needed = sockets + FILES_BESIDE;
    ensure!(
        hard >= needed,
        "{sockets} sockets need {needed} open files, the hard limit is {hard}: raise it \
         (`ulimit -Hn`, LimitNOFILE) or ask for fewer by --sockets"
    );
    if soft < needed {
        setrlimit(Resource::RLIMIT_NOFILE, needed, hard)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_file_limit_that_is_too_low_is_told_before_anything_starts() {
        let told = allow_files(u64::MAX - FILES_BESIDE - 1).unwrap_err().to_string();
        assert!(told.contains("hard limit") && told.contains("--sockets"), "{told}");
        allow_files(10).unwrap();
    }
}
