//! A storage that stays down for 72 hours: the server's wall clock runs fast, by libfaketime. Timers
//! go on as ever, so pushes are tried as often as in the seconds that really pass.
//!
//! ```text
//! record three ─▶ stop ─▶ start with the fast clock ─▶ expiring 50, 75 %: one storage comes up ─▶ 90 % ─▶ 72 h
//! storage down: purged as expired │ the same, held: kept │ storage up at 75 %: delivered
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use sdk_spec::rest::Timestamp;
use serde_json::{Value, json};

use super::{
    Options, Table,
    events::Events,
    film::Film,
    outage::{self, WebDav, record},
    server::{Place, Server, free_port},
};

/// Seconds of the fast clock in one.
const SPEED: u64 = 4000;
/// How long an undelivered recording is kept, by default.
const AGE_SECONDS: u64 = 72 * 3600;
/// Beyond that, on the fast clock.
const AGE_SLACK_SECONDS: u64 = 12 * 3600;
/// Until something happened that depends on the fast clock.
const SETTLE: Duration = Duration::from_secs(240);
/// The clock of a recording that is held is looked at for so long after its age is over.
const HELD: Duration = Duration::from_secs(2);

/// Runs the 72 hours.
///
/// # Errors
/// The harness itself. What is not as promised is a failure in the table.
pub(super) async fn run(options: &Options, film: &Arc<Film>, table: &mut Table) -> Result<()> {
    let place = Place::make(&options.spawn, options.folder("age"), 0)?;
    let [down, later] = [free_port()?, free_port()?];
    let server = place.serve().await?;
    let to = |port| outage::storage(port, outage::PASSWORD);
    place.record_to(&server, to(down)).await?;
    let expired = record(&server, film).await?;
    let held = record(&server, film).await?;
    place.record_to(&server, to(later)).await?;
    let delivered = record(&server, film).await?;
    let hold = Some(json!({ "held": true }));
    let path = format!("/v1/recordings/{held}/hold");
    server.target.call(Method::PUT, &path, hold.as_ref(), 0).await?;
    server.stop().await?;
    let fast = [
        ("LD_PRELOAD", library()?),
        ("FAKETIME", format!("+0 x{SPEED}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    let server = place.serve_with(&fast).await?;
    let scene = Scene { place: &place, server: &server, expired, held, delivered };
    let result = scene.check(&options.webdav, later).await;
    server.stop().await?;
    let failure = result.err().map(|error| format!("{error:#}"));
    table.report.add("storage down for", AGE_SECONDS as f64 / 3600.0, "h (fast clock)");
    table.fail("72 hours", failure.into_iter().collect());
    Ok(())
}

/// The recordings, by what becomes of them.
struct Scene<'a> {
    place: &'a Place,
    server: &'a Server,
    expired: String,
    held: String,
    delivered: String,
}

impl Scene<'_> {
    async fn check(&self, webdav: &Path, port: u16) -> Result<()> {
        self.warned(&self.delivered, 75).await?;
        let storage = WebDav::start(webdav, &self.place.folder, port)?;
        let push = format!("/v1/recordings/{}/push", self.delivered);
        self.server.target.call(Method::POST, &push, None, 0).await?;
        let purged = self.purged(&self.delivered).await?;
        ensure!(purged["purge_reason"] == "delivered", "it is {}", purged["purge_reason"]);
        drop(storage);
        self.warned(&self.expired, 90).await?;
        let purged = self.purged(&self.expired).await?;
        ensure!(purged["purge_reason"] == "expired", "it is {}", purged["purge_reason"]);
        self.age(&purged)?;
        let receipt = self.server.get(&format!("/v1/recordings/{}/receipt", self.expired)).await?;
        ensure!(receipt["signature"].is_string(), "no receipt: {receipt}");
        ensure!(!self.place.spool(&self.expired).exists(), "its folder is still there");
        tokio::time::sleep(HELD).await;
        let held = self.server.get(&format!("/v1/recordings/{}", self.held)).await?;
        let is_kept = held["state"] == "pushing" || held["state"] == "push_blocked";
        ensure!(is_kept && self.place.spool(&self.held).exists(), "held, it is {}", held["state"]);
        self.told().await
    }

    async fn purged(&self, id: &str) -> Result<Value> {
        self.server.until(id, SETTLE, |now| now["state"] == "purged").await
    }

    /// Waits for the warning that a recording has reached this share of its age.
    async fn warned(&self, id: &str, percent: u64) -> Result<()> {
        let end = Instant::now() + SETTLE;
        loop {
            let events = Events::read(self.server).await?;
            if warnings(&events, id).contains(&percent) {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{id}: no warning of {percent} %");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// It was kept for its whole age and not for long after.
    fn age(&self, purged: &Value) -> Result<()> {
        let at = |name: &str| -> Result<u64> {
            Ok(serde_json::from_value::<Timestamp>(purged[name].clone())?.0 / 1000)
        };
        let age = at("purged_at")?.saturating_sub(at("stopped_at")?);
        let most = AGE_SECONDS + AGE_SLACK_SECONDS;
        ensure!((AGE_SECONDS..most).contains(&age), "it was purged after {age} s");
        Ok(())
    }

    /// Each warning came once, in order, and each receipt once.
    async fn told(&self) -> Result<()> {
        let events = Events::read(self.server).await?;
        // What is held does not grow too old.
        for (id, wanted) in [(&self.expired, [50, 75, 90].as_slice()), (&self.held, &[])] {
            let told = warnings(&events, id);
            ensure!(told == wanted, "{id}: warned at {told:?}");
        }
        let told = warnings(&events, &self.delivered);
        ensure!(told.starts_with(&[50, 75]), "{}: warned at {told:?}", self.delivered);
        for (id, wanted) in [(&self.expired, 1), (&self.delivered, 1), (&self.held, 0)] {
            let count = events.count("recording.purged", id);
            ensure!(count == wanted, "{id}: {count} receipts");
        }
        Ok(())
    }
}

/// Percents that a recording was warned of, in order.
fn warnings(events: &Events, id: &str) -> Vec<u64> {
    let expiring = events.of("recording.expiring", id);
    expiring.filter_map(|event| event["data"]["age_percent"].as_u64()).collect()
}

/// The library of the package faketime: for programs with threads.
pub(super) fn library() -> Result<String> {
    let folders = fs::read_dir("/usr/lib")?.filter_map(Result::ok).map(|entry| entry.path());
    let paths = folders.map(|folder: PathBuf| folder.join("faketime/libfaketimeMT.so.1"));
    let found = paths.into_iter().find(|path| path.exists());
    Ok(found.context("faketime is missing: run .ci/setup")?.display().to_string())
}
