//! The recorder in a process of its own: killed, stopped for seconds, away when a recording ends. The server
//! and its rooms go on, and nothing of their recordings may be missing.
//!
//! ```text
//!          0        2 s           2.7    3.4        6.4      7 s stopped        2 s
//! record all three ─▶ kill -9 ─▶ end C ─▶ start ─▶ end A ─▶ SIGSTOP, SIGCONT ─▶ end B ─▶ all purged, checked
//! ```

use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Options, Table,
    film::Film,
    publisher::Publisher,
    server::{Place, Server},
    take::{LOSS, Outcome, Take},
};
use crate::load::report::Bound;

/// Until the link is up, so that recordings are let in.
const UP: Duration = Duration::from_secs(60);
/// Until all are delivered and purged.
const SETTLE: Duration = Duration::from_secs(120);
/// How long the recorder is stopped: the link is dead by then, and connects again.
const STOPPED: Duration = Duration::from_secs(7);

/// Three recordings through one kill and one stop of the recorder.
///
/// # Errors
/// The harness itself. What is not as promised is a failure in the table.
pub(super) async fn run(options: &Options, film: &Arc<Film>, table: &mut Table) -> Result<()> {
    let place = Place::make(&options.spawn, options.folder("apart"), 0)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let file = place.folder.join("conclave.toml");
    let link = format!("[link]\nlisten = \"127.0.0.1:{port}\"\nconnect = \"localhost:{port}\"\n");
    fs::write(&file, fs::read_to_string(&file)? + &link)?;
    let mut recorder = Recorder::start(&place)?;
    let server = place.serve().await?;
    let target = place.record_to(&server, json!({ "kind": "local" })).await?;
    let (mut publishers, mut takes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let room = server.room().await?;
        publishers.push(Publisher::start(&server.target, &room, film).await?);
        let sent = Arc::clone(&publishers.last().context("just pushed")?.sent);
        takes.push(begin(&server, room, sent).await?);
    }
    let (mut outcomes, mut failures) = (Vec::new(), asked(&server, &target).await?);
    recorder = trouble(&place, recorder, &server, &mut takes).await?;
    for publisher in publishers {
        publisher.leave().await?;
    }
    for take in &takes {
        match settled(&server, &place, film, take).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => failures.push(format!("{}: {error:#}", take.id)),
        }
    }
    failures.extend(recorder.ended().map(|status| format!("the recorder ended: {status}")));
    server.stop().await?;
    tell(&outcomes, table);
    table.fail("recorder apart", failures);
    Ok(())
}

/// As drawn above; gives the second recorder.
async fn trouble(
    place: &Place,
    mut first: Recorder,
    server: &Server,
    takes: &mut [Take],
) -> Result<Recorder> {
    let [a, b, c] = takes else { bail!("three recordings are needed") };
    sleep(Duration::from_secs(2)).await;
    first.child.kill()?;
    first.child.wait()?;
    sleep(Duration::from_millis(700)).await;
    end(server, c).await?;
    sleep(Duration::from_millis(700)).await;
    let recorder = Recorder::start(place)?;
    sleep(Duration::from_secs(3)).await;
    end(server, a).await?;
    recorder.signal(Signal::SIGSTOP)?;
    sleep(STOPPED).await;
    recorder.signal(Signal::SIGCONT)?;
    sleep(Duration::from_secs(2)).await;
    end(server, b).await?;
    Ok(recorder)
}

/// What REST asks the recorder goes over the link.
async fn asked(server: &Server, target: &str) -> Result<Vec<String>> {
    let path = format!("/v1/storage-targets/{target}/test");
    let tested = server.target.call(Method::POST, &path, None, 0).await?;
    let keys = server.get("/v1/evidence-keys").await?;
    let mut failures = Vec::new();
    if tested["ok"] != true {
        failures.push(format!("the storage was tested: {tested}"));
    }
    if keys["keys"].as_array().is_none_or(|keys| keys.len() < 2) {
        failures.push("the recorder's keys are not told".to_owned());
    }
    Ok(failures)
}

fn tell(outcomes: &[Outcome], table: &mut Table) {
    let report = &mut table.report;
    let most = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).fold(0.0, f64::max);
    let pictures = most(|one| one.missing as f64);
    report.judge(
        "recorder apart: pictures missing, most",
        pictures,
        "pictures",
        Bound::AtMost(60.0),
    );
    let limit = Bound::AtMost(LOSS.as_secs_f64());
    let lost = most(|one| one.lost.as_secs_f64());
    report.judge("recorder apart: lost before a stop, most", lost, "s", limit);
    report.add("recorder apart: recordings", outcomes.len() as f64, "recordings");
}

/// Begins a recording, once the link is up.
async fn begin(server: &Server, room: String, sent: Arc<super::publisher::Sent>) -> Result<Take> {
    let until = Instant::now() + UP;
    let id = loop {
        match server.record(&room).await {
            Ok(id) => break id,
            Err(error) if Instant::now() > until => return Err(error.context("no link")),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    };
    let now = Instant::now();
    Ok(Take {
        id,
        room,
        started: now,
        ended: now,
        was_killed: false,
        killed_in_purge_ms: None,
        sent,
        wraps: None,
    })
}

async fn end(server: &Server, take: &mut Take) -> Result<()> {
    take.ended = Instant::now();
    server.end_recording(&take.id).await
}

async fn settled(server: &Server, place: &Place, film: &Film, take: &Take) -> Result<Outcome> {
    server.until(&take.id, SETTLE, |now| now["state"] == "purged").await?;
    take.check(server, place, film).await
}

/// A `conclave recorder`; ends with this value.
struct Recorder {
    child: Child,
}

impl Recorder {
    /// Of the same data directory and configuration as the server. Its log is appended to `recorder.txt`.
    fn start(place: &Place) -> Result<Self> {
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(place.folder.join("recorder.txt"))?;
        let mut command = Command::new(place.binary());
        command.arg("recorder").arg("--config").arg(place.folder.join("conclave.toml"));
        command.arg("--data-dir").arg(&place.data).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(log).spawn()?;
        if let Some(status) = child.try_wait()? {
            bail!("the recorder ended: {status}");
        }
        Ok(Self { child })
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal).context("signal")
    }

    /// How it ended by itself, if it did.
    fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
