//! Two servers on one recorder, as on three machines: a data folder each, one PostgreSQL, keys that know each
//! other. A database has one server at a time, so the second takes over from one that hangs; that one then goes on
//! all the same, and media come from both at once.
//!
//! ```text
//! server A ═link═▶ recorder ◀═link═ server B          store ◀── all three
//!
//!          0      3 s        18 s: A is taken for dead   20 s         24 s
//! A records ─▶ SIGSTOP ─▶ B takes over, records ─▶ SIGCONT of A ─▶ end B ─▶ both delivered
//! ```

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Options, Table,
    film::Film,
    needles::Needles,
    server::{Place, free_port},
    take::{LOSS, MEDIA, Outcome, Take},
};
use crate::load::report::Bound;

#[path = "../../../signaling/tests/common/postgres.rs"]
mod postgres;

/// How long A is recorded before it hangs, and then both.
const SECONDS: Duration = Duration::from_secs(3);
/// Until both are delivered and purged.
const SETTLE: Duration = Duration::from_secs(120);

/// A recording of each server.
///
/// # Errors
/// The harness itself. What is not as promised is a failure in the table.
///
/// # Panics
/// PostgreSQL is not installed or does not start.
pub(super) async fn run(options: &Options, film: &Arc<Film>, table: &mut Table) -> Result<()> {
    let database = postgres::database();
    let folder = options.folder("two");
    let a = Place::make_in(&options.spawn, folder, 0, Some(database.url.clone()))?;
    let (b, away) = (a.another("server-b")?, a.another("recorder")?);
    let scene = Scene { servers: [a, b], away, film };
    scene.link()?;
    let recorder = scene.away.record()?;
    let mut failures = Vec::new();
    match scene.record().await {
        Ok(outcome) => tell(&outcome, table),
        Err(error) => failures.push(format!("{error:#}")),
    }
    recorder.stop().await?;
    failures.extend(scene.search().err().map(|error| format!("{error:#}")));
    table.fail("two servers", failures);
    Ok(())
}

struct Scene<'a> {
    servers: [Place; 2],
    /// The recorder's machine.
    away: Place,
    film: &'a Arc<Film>,
}

impl Scene<'_> {
    /// Makes them know each other, as OPERATING.md says.
    fn link(&self) -> Result<()> {
        let port = free_port()?;
        let key = |place: &Place| place.conclave(&["recorder", "fingerprint"]);
        let [a, b] = &self.servers;
        let (a, b, recorder) = (key(a)?, key(b)?, key(&self.away)?);
        self.away.link(&format!("listen = \"127.0.0.1:{port}\"\nservers = [\"{a}\", \"{b}\"]"))?;
        let connect = format!("connect = \"localhost:{port}\"\nrecorders = [\"{recorder}\"]");
        self.servers.iter().try_for_each(|server| server.link(&connect))
    }

    /// As drawn above; what came of B's recording. A's media of the time when it hung come all at once.
    async fn record(&self) -> Result<Outcome> {
        let [a, b] = &self.servers;
        let server_a = a.serve().await?;
        a.record_to(&server_a, json!({ "kind": "local" })).await?;
        let (publisher_a, take_a) = Take::begin(&server_a, self.film).await?;
        sleep(SECONDS).await;
        server_a.process.signal(Signal::SIGSTOP)?;
        let server_b = b.serve().await?;
        let (publisher_b, mut take_b) = Take::begin(&server_b, self.film).await?;
        sleep(SECONDS / 2).await;
        server_a.process.signal(Signal::SIGCONT)?;
        sleep(SECONDS).await;
        take_b.end(&server_b).await?;
        publisher_b.leave().await?;
        for take in [&take_a, &take_b] {
            server_b.until(&take.id, SETTLE, |now| now["state"] == "purged").await?;
        }
        let files = take_a.check_playable(&server_b, &self.away).await.context("A")?;
        ensure!(files == 2, "{files} files of A");
        let outcome = take_b.check(&server_b, &self.away, self.film).await.context("B")?;
        publisher_a.abandon().await;
        drop(server_a); // It would not end in order: its rooms are another's.
        server_b.stop().await?;
        Ok(outcome)
    }

    /// Media are in no folder in the clear, and a server keeps none at all.
    fn search(&self) -> Result<()> {
        let mut clear = Needles::new();
        self.film.samples().for_each(|sample| clear.add(MEDIA, sample));
        for place in self.servers.iter().chain([&self.away]) {
            let hits = clear.on_disk(&place.data)?.hits;
            ensure!(hits.is_empty(), "{hits:?}");
        }
        for place in &self.servers {
            ensure!(!place.data.join("recorder").exists(), "a server recorded by itself");
        }
        Ok(())
    }
}

fn tell(outcome: &Outcome, table: &mut Table) {
    let (report, lost) = (&mut table.report, outcome.lost.as_secs_f64());
    report.add("two servers: pictures decoded", outcome.pictures as f64, "pictures");
    let missing = outcome.missing as f64;
    report.judge("two servers: pictures missing", missing, "pictures", Bound::AtMost(0.0));
    report.judge("two servers: lost", lost, "s", Bound::AtMost(LOSS.as_secs_f64()));
}
