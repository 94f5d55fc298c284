//! A `conclave serve` of our own that can be killed and started again, and the partner's side of it.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::process::Process;
use crate::load::server::Target;

/// Longest start of a server; an unoptimised one on a busy machine.
const START: Duration = Duration::from_secs(60);
/// For how long a recording may be refused: a recorder that was just started has no link yet, and a disk that is slow
/// for a moment lets none begin.
const PATIENCE: Duration = Duration::from_secs(60);
/// The configuration in a place's folder.
const CONFIG: &str = "conclave.toml";
const SCOPES: &str =
    "rooms:read,rooms:write,tokens:mint,recordings:read,recordings:write,events:read";

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
    /// URL of the PostgreSQL that is used; none: SQLite in the data folder.
    database: Option<String>,
}

impl Place {
    /// Makes a project with a key, and an identity. `push_bytes_per_second`: 0 is no limit.
    pub(super) fn make(binary: &Path, folder: PathBuf, push_bytes_per_second: u64) -> Result<Self> {
        Self::make_in(binary, folder, push_bytes_per_second, None)
    }

    /// The same with the database of this URL.
    pub(super) fn make_in(
        binary: &Path,
        folder: PathBuf,
        push_bytes_per_second: u64,
        database: Option<String>,
    ) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let (data, delivered) = (folder.join("data"), folder.join("delivered"));
        let local = delivered.display();
        let config = format!(
            "[media]\nbind = \"127.0.0.1\"\nport = 0\nworkers = 1\n\
             [webhooks]\nallow_hosts = [\"127.0.0.1\"]\n\
             [log]\nlevel = \"info\"\n\
             [recorder]\nlocal_folder = \"{local}\"\n\
             push_bytes_per_second = {push_bytes_per_second}\n\
             clock_doubt_minutes = 0\n"
        );
        fs::write(folder.join(CONFIG), config)?;
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
            database,
        };
        place.project = place.conclave(&["project", "create", "recorder"])?;
        let create = ["key", "create", "--project", &place.project, "--scope", SCOPES];
        place.key = place.conclave(&create)?;
        Ok(place)
    }

    /// Another machine of the same operator, named `name`: a data folder of its own with the same data key, the same
    /// settings, project and partner.
    pub(super) fn another(&self, name: &str) -> Result<Self> {
        let folder = self.folder.join(name);
        let data = folder.join("data");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&data)?;
        fs::copy(self.data.join("data.key"), data.join("data.key"))?;
        fs::copy(self.folder.join(CONFIG), folder.join(CONFIG))?;
        Ok(Self {
            binary: self.binary.clone(),
            folder,
            data,
            delivered: self.delivered.clone(),
            identity: self.identity.clone(),
            recipient: self.recipient.clone(),
            project: self.project.clone(),
            key: self.key.clone(),
            database: self.database.clone(),
        })
    }

    /// Adds the section `[link]` with these lines to the configuration.
    pub(super) fn link(&self, lines: &str) -> Result<()> {
        let file = self.folder.join(CONFIG);
        let text = fs::read_to_string(&file)?;
        Ok(fs::write(&file, format!("{text}[link]\n{lines}\n"))?)
    }

    /// From now on the server of this folder uses a recorder of the same folder.
    pub(super) fn link_within(&self) -> Result<()> {
        let port = free_port()?;
        self.link(&format!("listen = \"127.0.0.1:{port}\"\nconnect = \"localhost:{port}\""))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--config").arg(self.folder.join(CONFIG));
        command.arg("--data-dir").arg(&self.data);
        command.envs(self.database.iter().map(|url| ("CONCLAVE_DATABASE_URL", url)));
        command
    }

    /// What a `conclave` command prints.
    pub(super) fn conclave(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words).output();
        let output = output.with_context(|| self.binary.display().to_string())?;
        let [out, told] = [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        // What is wrong with a file is told as the result, not as an error.
        ensure!(output.status.success(), "conclave {}: {out} {told}", words.join(" "));
        Ok(out)
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
        let port = free_port()?;
        let mut command = self.command(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let process = Process::start(&mut command, &self.folder.join("log.txt"))?;
        let url = format!("http://127.0.0.1:{port}");
        let target = Target::new(&url, vec![self.key.clone()], Some(process.id()))?;
        let mut server = Server { process, target };
        server.await_ready().await?;
        Ok(server)
    }

    /// Starts a `conclave recorder`. Its log is appended to `recorder.txt`.
    pub(super) fn record(&self) -> Result<Process> {
        Process::start(&mut self.command(&["recorder"]), &self.folder.join("recorder.txt"))
    }

    /// Makes a storage target and a policy that records to it, each track; the target's id.
    pub(super) async fn record_to(&self, server: &Server, storage: Value) -> Result<String> {
        self.record_as(server, storage, json!({})).await
    }

    /// The same with more in the policy's rule.
    pub(super) async fn record_as(
        &self,
        server: &Server,
        storage: Value,
        mut rule: Value,
    ) -> Result<String> {
        let body = json!({ "name": "storage-1", "storage": storage });
        let made = server.target.post("/v1/storage-targets", &body, 0).await?;
        let id = made["id"].as_str().context("id")?.to_owned();
        rule["untold"] = true.into(); // WHIP publishers cannot be told.
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

/// A port that nobody has at the moment.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A server that runs; ends with this value.
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) target: Target,
}

impl Server {
    async fn await_ready(&mut self) -> Result<()> {
        let end = Instant::now() + START;
        while Instant::now() < end {
            if let Some(status) = self.process.ended()? {
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

    /// SIGTERM, and waits for the end.
    pub(super) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }

    /// A new room.
    pub(super) async fn room(&self) -> Result<String> {
        let room = self.target.post("/v1/rooms", &json!({}), 0).await?;
        Ok(room["id"].as_str().context("id")?.to_owned())
    }

    /// Starts a recording of a room, as soon as one may begin; its id.
    pub(super) async fn record(&self, room: &str) -> Result<String> {
        let (path, until) = (format!("/v1/rooms/{room}/recordings"), Instant::now() + PATIENCE);
        let made = loop {
            match self.target.post(&path, &json!({}), 0).await {
                Err(_) if Instant::now() < until => {}
                done => break done?,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
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
}
