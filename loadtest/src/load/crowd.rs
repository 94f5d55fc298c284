//! Many joins into one room: each is told to everybody once, and nobody gets whole lists again.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use super::{
    member::Member,
    report::{Bound, Report, quantile_ms},
    server::Target,
};

/// Joins at the same time.
const AT_ONCE: usize = 8;
/// Longest wait until everybody was told everything.
const QUIET: Duration = Duration::from_secs(60);
/// Messages for each change that a participant sees. One is what it must be; a little more is left
/// for what is told beside joins.
const PER_CHANGE_MAX: f64 = 1.05;

pub(super) async fn measure(target: &Target, joins: u64, report: &mut Report) -> Result<()> {
    let settings = json!({ "participants_max": joins });
    let room = target.post("/v1/rooms", &json!({ "settings": settings }), 0).await?;
    let id = room["id"].as_str().context("id")?.to_owned();
    let mut tokens = Vec::new();
    for number in 0..joins {
        let body = json!({ "handle": format!("crowd-{number}"), "grants": { "subscribe": true } });
        let minted = target.post(&format!("/v1/rooms/{id}/tokens"), &body, 0).await?;
        tokens.push(minted["token"].as_str().context("token")?.to_owned());
    }
    let (stop, stopped) = watch::channel(false);
    let began = Instant::now();
    let joining = tokens.iter().map(|token| Member::join(target, token, stopped.clone()));
    let members: Vec<_> = stream::iter(joining).buffer_unordered(AT_ONCE).try_collect().await?;
    let seconds = began.elapsed().as_secs_f64();
    // Who found `before` others there is told of all who came after.
    let due = |member: &Member| joins - 1 - member.before as u64;
    await_quiet(&members, due).await?;
    tell(&members, due, seconds, report);
    stop.send_replace(true);
    stream::iter(members).for_each_concurrent(AT_ONCE, Member::leave).await;
    Ok(())
}

async fn await_quiet(members: &[Member], due: impl Fn(&Member) -> u64) -> Result<()> {
    let end = Instant::now() + QUIET;
    while members.iter().any(|member| member.told.changes.load(Relaxed) < due(member)) {
        if Instant::now() > end {
            bail!("not everybody was told of every join in {} s", QUIET.as_secs());
        }
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(2)).await; // What is too much would come now.
    Ok(())
}

fn tell(members: &[Member], due: impl Fn(&Member) -> u64, seconds: f64, report: &mut Report) {
    let mut took: Vec<_> = members.iter().map(|member| member.took).collect();
    let joins = members.len();
    report.add(format!("{joins} joins into one room: joins/s"), joins as f64 / seconds, "1/s");
    report.add("join to joined: p50", quantile_ms(&mut took, 0.5), "ms");
    report.add("join to joined: p99", quantile_ms(&mut took, 0.99), "ms");
    let told: u64 = members.iter().map(|member| member.told.changes.load(Relaxed)).sum();
    let changes: u64 = members.iter().map(due).sum();
    let ratio = told as f64 / changes as f64;
    report.add("messages after joined, all participants", told as f64, "messages");
    report.judge("messages for each change seen", ratio, "ratio", Bound::AtMost(PER_CHANGE_MAX));
    let wholes: u64 = members.iter().map(|member| member.told.wholes.load(Relaxed)).sum();
    report.judge("whole lists after joined", wholes as f64, "messages", Bound::AtMost(0.0));
    let out = members.iter().filter(|member| !member.is_in()).count();
    report.judge("participants lost meanwhile", out as f64, "sockets", Bound::AtMost(0.0));
}
