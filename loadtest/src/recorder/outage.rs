//! Storages that fail for a while: one that is down, one that refuses the credentials. wsgidav, a real
//! WebDAV server, is the storage.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    Options, Table,
    film::Film,
    server::{Place, Server, free_port},
    take::Take,
};

/// How long a storage stays down after the recording is over: the push has failed by then.
const DOWN: Duration = Duration::from_secs(4);
/// Until it is delivered once the storage is well. Includes a pause between two tries.
const SETTLE: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(60);
const USER: &str = "partner";
pub(super) const PASSWORD: &str = "storage-password-1";

/// Both outages in turn.
///
/// # Errors
/// The harness itself. What is not as promised is a failure in the table.
pub(super) async fn run(options: &Options, film: &Arc<Film>, table: &mut Table) -> Result<()> {
    let place = Place::make(&options.spawn, options.folder("outage"), 0)?;
    let port = free_port()?;
    let server = place.serve().await?;
    let target = place.record_to(&server, storage(port, PASSWORD)).await?;
    let scene = Scene { place, server, film, port, webdav: options.webdav.clone(), target };
    let mut failures = Vec::new();
    match scene.down().await {
        Ok(took) => table.report.add("storage down, up again to purged", took.as_secs_f64(), "s"),
        Err(error) => failures.push(format!("storage down: {error:#}")),
    }
    match scene.refused().await {
        Ok(took) => table.report.add("credentials mended to purged", took.as_secs_f64(), "s"),
        Err(error) => failures.push(format!("wrong credentials: {error:#}")),
    }
    scene.server.stop().await?;
    table.fail("outages", failures);
    Ok(())
}

struct Scene<'a> {
    place: Place,
    server: Server,
    film: &'a Arc<Film>,
    port: u16,
    webdav: PathBuf,
    target: String,
}

impl Scene<'_> {
    /// Nobody listens when the recording is over; then somebody does.
    async fn down(&self) -> Result<Duration> {
        let id = record(&self.server, self.film).await?;
        sleep(DOWN).await;
        let now = self.server.get(&format!("/v1/recordings/{id}")).await?;
        let is_waiting = now["state"] == "pushing" || now["state"] == "push_blocked";
        ensure!(is_waiting, "is {} though the storage is down", now["state"]);
        let _webdav = WebDav::start(&self.webdav, &self.place.folder, self.port)?;
        self.delivered(&id).await
    }

    /// The password is wrong; then it is mended under the same id.
    async fn refused(&self) -> Result<Duration> {
        let _webdav = WebDav::start(&self.webdav, &self.place.folder, self.port)?;
        self.set_password("not-the-password").await?;
        let id = record(&self.server, self.film).await?;
        let is_blocked = |now: &Value| now["state"] == "push_blocked";
        let blocked = self.server.until(&id, SETTLE, is_blocked).await?;
        let (reason, blame) = (&blocked["blocked"]["reason"], &blocked["blocked"]["blame"]);
        ensure!(reason == "credentials" && blame == "partner", "blocked by {reason}, {blame}");
        self.set_password(PASSWORD).await?;
        let push = format!("/v1/recordings/{id}/push");
        self.server.target.call(Method::POST, &push, None, 0).await?;
        self.delivered(&id).await
    }

    async fn set_password(&self, password: &str) -> Result<()> {
        let path = format!("/v1/storage-targets/{}", self.target);
        let body = json!({ "name": "storage-1", "storage": storage(self.port, password) });
        let shown = self.server.target.call(Method::PUT, &path, Some(&body), 0).await?;
        ensure!(!shown.to_string().contains(password), "the answer shows the password");
        Ok(())
    }

    async fn delivered(&self, id: &str) -> Result<Duration> {
        let began = Instant::now();
        let purged = self.server.until(id, SETTLE, |now| now["state"] == "purged").await?;
        ensure!(purged["purge_reason"] == "delivered", "purged: {}", purged["purge_reason"]);
        let files = self.place.folder.join("files");
        ensure!(find(&files, id, "manifest.json.sig")?, "no signed manifest in the storage");
        Ok(began.elapsed())
    }
}

/// Some seconds of a room; the recording is over then.
pub(super) async fn record(server: &Server, film: &Arc<Film>) -> Result<String> {
    let (publisher, mut take) = Take::begin(server, film).await?;
    sleep(Duration::from_secs(3)).await;
    take.end(server).await?;
    publisher.leave().await?;
    Ok(take.id)
}

pub(super) fn storage(port: u16, password: &str) -> Value {
    let url = format!("http://127.0.0.1:{port}/");
    json!({ "kind": "webdav", "url": url, "user": USER, "password": password })
}

/// Whether a file lies anywhere under a folder named `within`.
fn find(folder: &Path, within: &str, name: &str) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_it = path.ends_with(Path::new(within).join(name));
        if is_it || path.is_dir() && find(&path, within, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// wsgidav with the files in a folder; ends with this value.
pub(super) struct WebDav(Child);

impl WebDav {
    pub(super) fn start(program: &Path, folder: &Path, port: u16) -> Result<Self> {
        let (files, config) = (folder.join("files"), folder.join("wsgidav.json"));
        fs::create_dir_all(&files)?;
        let users = json!({ USER: { "password": PASSWORD } });
        let text = json!({
            "host": "127.0.0.1", "port": port, "server": "cheroot", "verbose": 0,
            "provider_mapping": { "/": files },
            "http_authenticator":
                { "accept_basic": true, "accept_digest": false, "default_to_digest": false },
            "simple_dc": { "user_mapping": { "*": users } },
        });
        fs::write(&config, text.to_string())?;
        let mut command = Command::new(program);
        command.arg("--config").arg(config).stdin(Stdio::null());
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Self(child.context("wsgidav is missing: run .ci/setup")?);
        let end = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.0.try_wait()? {
                bail!("wsgidav ended: {status}");
            }
            ensure!(Instant::now() < end, "wsgidav did not start in {} s", START.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for WebDav {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
