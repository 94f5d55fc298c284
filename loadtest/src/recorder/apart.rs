//! The recorder in a process of its own: killed, stopped for seconds, away when a recording ends, and for so long
//! that the server ends one. The server and its rooms go on, and nothing of their recordings may be missing.
//!
//! ```text
//!         0       2 s           2.7    3.4        6.4      7 s stopped        2 s
//! record all four ─▶ kill -9 ─▶ end C ─▶ start ─▶ end A ─▶ SIGSTOP, SIGCONT ─▶ end B ─▶ kill -9 ┐
//!                all purged, checked ◀─ start ◀─ D is ended as failed ◀─ 10 s ─┘
//! ```

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use super::{
    Options, Table,
    film::Film,
    process::Process,
    server::{Place, Server, free_port},
    take::{LOSS, Outcome, Take},
};
use crate::load::report::Bound;

/// Until all are delivered and purged.
const SETTLE: Duration = Duration::from_secs(120);
/// How long the recorder is stopped: the link is dead by then, and connects again.
const STOPPED: Duration = Duration::from_secs(7);
/// How long the recorder may be away, seconds: more than while it is stopped.
const AWAY_SECONDS: u64 = 10;
/// Until the server has ended what nobody records.
const ENDED: Duration = Duration::from_secs(60);

/// Four recordings through two kills and one stop of the recorder.
///
/// # Errors
/// The harness itself. What is not as promised is a failure in the table.
pub(super) async fn run(options: &Options, film: &Arc<Film>, table: &mut Table) -> Result<()> {
    let place = Place::make(&options.spawn, options.folder("apart"), 0)?;
    let port = free_port()?;
    place.link(&format!(
        "listen = \"127.0.0.1:{port}\"\nconnect = \"localhost:{port}\"\n\
         away_seconds = {AWAY_SECONDS}"
    ))?;
    let mut recorder = place.record()?;
    let server = place.serve().await?;
    let target = place.record_to(&server, json!({ "kind": "local" })).await?;
    let (mut publishers, mut takes) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (publisher, take) = Take::begin(&server, film).await?;
        publishers.push(publisher);
        takes.push(take);
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
    failures.extend(recorder.ended()?.map(|status| format!("the recorder ended: {status}")));
    server.stop().await?;
    tell(&outcomes, table);
    table.fail("recorder apart", failures);
    Ok(())
}

/// As drawn above; gives the third recorder.
async fn trouble(
    place: &Place,
    mut first: Process,
    server: &Server,
    takes: &mut [Take],
) -> Result<Process> {
    let [a, b, c, d] = takes else { bail!("four recordings are needed") };
    sleep(Duration::from_secs(2)).await;
    first.kill()?;
    sleep(Duration::from_millis(700)).await;
    c.end(server).await?;
    sleep(Duration::from_millis(700)).await;
    let mut second = place.record()?;
    sleep(Duration::from_secs(3)).await;
    a.end(server).await?;
    second.signal(Signal::SIGSTOP)?;
    sleep(STOPPED).await;
    second.signal(Signal::SIGCONT)?;
    sleep(Duration::from_secs(2)).await;
    b.end(server).await?;
    second.kill()?;
    server.until(&d.id, ENDED, |now| now["stop_reason"] == "recorder_failed").await?;
    d.ended = Instant::now();
    place.record()
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

async fn settled(server: &Server, place: &Place, film: &Film, take: &Take) -> Result<Outcome> {
    server.until(&take.id, SETTLE, |now| now["state"] == "purged").await?;
    take.check(server, place, film).await
}
