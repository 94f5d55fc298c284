//! A `conclave serve` of our own that can be killed and started again, and the partner's side of it.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::load::server::Target;

/// Longest start of a server; an unoptimised one on a busy machine.
const START: Duration = Duration::from_secs(60);
/// Longest orderly end.
const STOP: Duration = Duration::from_secs(60);
const SCOPES: &str =
    "rooms:read,rooms:write,tokens:mint,recordings:read,recordings:write,events:read";
/// Ticks of processor time in /proc, a second.
const TICKS: f64 = 100.0;

/// Folders, keys and settings that outlive the server's process.
pub(super) struct Place {
    binary: PathBuf,
    /// Everything, removed at the end.
    pub(super) folder: PathBuf,
    pub(super) data: PathBuf,
    /// The partner's storage of the kind `local`.
    pub(super) delivered: PathBuf,
    /// The partner's identity, of `age`.
    pub(super) identity: PathBuf,
    pub(super) recipient: String,
    pub(super) project: String,
    key: String,
}

impl Place {
    /// Makes a project with a key, and an identity. `push_bytes_per_second`: 0 is no limit.
    pub(super) fn make(binary: &Path, folder: PathBuf, push_bytes_per_second: u64) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let (data, delivered) = (folder.join("data"), folder.join("delivered"));
        let local = delivered.display();
        let config = format!(
            "[media]\nbind = \"127.0.0.1\"\nport = 0\nworkers = 1\n\
             [webhooks]\nallow_hosts = [\"127.0.0.1\"]\n\
             [log]\nlevel = \"info\"\n\
             [recorder]\nlocal_folder = \"{local}\"\n\
             push_bytes_per_second = {push_bytes_per_second}\n"
        );
        fs::write(folder.join("conclave.toml"), config)?;
        let identity = folder.join("identity.txt");
        let made = Command::new("age-keygen").arg("-o").arg(&identity).output();
        ensure!(made.context("age is missing: run .ci/setup")?.status.success(), "age-keygen");
        let text = fs::read_to_string(&identity)?;
        let recipient = text.lines().find_map(|line| line.strip_prefix("# public key: "));
        let recipient = recipient.context("age-keygen told no public key")?.to_owned();
        let mut place = Self {
            binary: binary.to_owned(),
            folder,
            data,
            delivered,
            identity,
            recipient,
            project: String::new(),
            key: String::new(),
        };
        place.project = place.conclave(&["project", "create", "recorder"])?;
        let create = ["key", "create", "--project", &place.project, "--scope", SCOPES];
        place.key = place.conclave(&create)?;
        Ok(place)
    }

    /// What a `conclave` command prints.
    pub(super) fn conclave(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--config").arg(self.folder.join("conclave.toml"));
        let output = command.arg("--data-dir").arg(&self.data).output();
        let output = output.with_context(|| self.binary.display().to_string())?;
        let [out, told] = [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        // What is wrong with a file is told as the result, not as an error.
        ensure!(output.status.success(), "conclave {}: {out} {told}", words.join(" "));
        Ok(out)
    }

    /// What is tested.
    pub(super) fn binary(&self) -> &Path {
        &self.binary
    }

    /// The folder of a recording while it is not purged.
    pub(super) fn spool(&self, recording: &str) -> PathBuf {
        self.data.join("recorder/spool").join(recording)
    }

    /// Starts the server and waits until it is ready. Its log is appended to `log.txt`.
    pub(super) async fn serve(&self) -> Result<Server> {
        self.serve_with(&[]).await
    }

    /// The same with more in its environment.
    pub(super) async fn serve_with(&self, environment: &[(&str, String)]) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(self.folder.join("log.txt"))?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--config").arg(self.folder.join("conclave.toml"));
        command.arg("--data-dir").arg(&self.data);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let url = format!("http://127.0.0.1:{port}");
        let target = Target::new(&url, vec![self.key.clone()], Some(child.id()))?;
        let mut server = Server { child, target };
        server.await_ready().await?;
        Ok(server)
    }

    /// Makes a storage target and a policy that records to it; the target's id.
    pub(super) async fn record_to(&self, server: &Server, storage: Value) -> Result<String> {
        let body = json!({ "name": "storage-1", "storage": storage });
        let made = server.target.post("/v1/storage-targets", &body, 0).await?;
        let id = made["id"].as_str().context("id")?.to_owned();
        let rule = json!({ "untold": true }); // WHIP publishers cannot be told.
        let policy = json!({ "recipients": [self.recipient], "target": id, "rule": rule });
        let put = server.target.call(Method::PUT, "/v1/recording-policy", Some(&policy), 0);
        put.await?;
        Ok(id)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::env::var_os("CONCLAVE_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// A server that runs; ends with this value.
pub(super) struct Server {
    child: Child,
    pub(super) target: Target,
}

impl Server {
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
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server was not ready in {} s", START.as_secs())
    }

    /// kill -9. Media node and recorder live in this process: both are killed.
    pub(super) fn kill(&mut self) -> Result<Instant> {
        self.child.kill()?;
        let at = Instant::now();
        self.child.wait()?;
        Ok(at)
    }

    /// SIGTERM, and waits for the end.
    pub(super) async fn stop(mut self) -> Result<()> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let end = Instant::now() + STOP;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended: {status}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the server did not end in {} s", STOP.as_secs())
    }

    /// A new room.
    pub(super) async fn room(&self) -> Result<String> {
        let room = self.target.post("/v1/rooms", &json!({}), 0).await?;
        Ok(room["id"].as_str().context("id")?.to_owned())
    }

    /// Starts a recording of a room; its id.
    pub(super) async fn record(&self, room: &str) -> Result<String> {
        let made = self.target.post(&format!("/v1/rooms/{room}/recordings"), &json!({}), 0).await?;
        Ok(made["id"].as_str().context("id")?.to_owned())
    }

    pub(super) async fn end_recording(&self, id: &str) -> Result<()> {
        let path = format!("/v1/recordings/{id}/stop");
        self.target.call(Method::POST, &path, None, 0).await.map(drop)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.target.call(Method::GET, path, None, 0).await
    }

    /// Waits until `is` holds of a recording; the recording then.
    pub(super) async fn until(
        &self,
        id: &str,
        within: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let end = Instant::now() + within;
        loop {
            let now = self.get(&format!("/v1/recordings/{id}")).await?;
            if is(&now) {
                return Ok(now);
            }
            let (state, blocked) = (&now["state"], &now["blocked"]);
            ensure!(Instant::now() < end, "{id} is {state}, blocked {blocked}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Seconds of processor time so far, of all threads.
    pub(super) fn processor_seconds(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, rest) = text.rsplit_once(')').context("stat")?;
        let mut fields = rest.split_whitespace().skip(11);
        let mut next = || -> Result<f64> { Ok(fields.next().context("stat")?.parse()?) };
        Ok((next()? + next()?) / TICKS)
    }

    /// Bytes written so far: by calls, and to the disk.
    pub(super) fn written(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.child.id()))?;
        let of = |name: &str| -> Result<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(value.context("io")?.trim().parse()?)
        };
        Ok((of("wchar:")?, of("write_bytes:")?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
