//! Many participants that only keep alive: how many sockets stand, and the memory of each.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::sync::watch;

use super::{
    member::Member,
    report::{Bound, Report},
    server::Target,
};

/// Participants of one room.
const ROOM: u64 = 10;
/// Joins at the same time.
const AT_ONCE: usize = 16;
/// Sockets that are opened before memory is read for the first time: what the server needs once.
const WARM: u64 = 200;
/// Time in which everything that was opened must stay open.
const SETTLE: Duration = Duration::from_secs(12);
/// DESIGN: memory of an idle socket, KiB.
const SOCKET_KIB_MAX: f64 = 24.0;

pub(super) async fn measure(target: &Target, sockets: u64, report: &mut Report) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let mut members = fill(target, WARM, &stopped).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = target.resident();
    let began = std::time::Instant::now();
    members.extend(fill(target, sockets.saturating_sub(WARM), &stopped).await?);
    let seconds = began.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let after = target.resident();
    let open = members.iter().filter(|member| member.is_in()).count();
    report.judge(
        "sockets open and in a room",
        open as f64,
        "sockets",
        Bound::AtLeast(sockets as f64),
    );
    report.add("joined, rooms and tokens included", sockets as f64 / seconds, "1/s");
    match before.zip(after) {
        Some((before, after)) if sockets > WARM => {
            let each = (after - before) / (sockets - WARM) as f64 / 1024.0;
            report.judge("memory of an idle socket", each, "KiB", Bound::AtMost(SOCKET_KIB_MAX));
            report.add("resident memory of the server then", after / 1024.0 / 1024.0, "MiB");
        }
        _ => report.add("memory of an idle socket (no --pid)", f64::NAN, "KiB"),
    }
    stop.send_replace(true);
    stream::iter(members).for_each_concurrent(AT_ONCE, Member::leave).await;
    Ok(())
}

/// Joins `count` participants, [`ROOM`] to a room.
async fn fill(target: &Target, count: u64, stop: &watch::Receiver<bool>) -> Result<Vec<Member>> {
    let rooms = (0..count.div_ceil(ROOM)).map(|room| async move {
        let key = room as usize;
        let created = target.post("/v1/rooms", &json!({}), key).await?;
        let id = created["id"].as_str().context("id")?.to_owned();
        let mut members = Vec::new();
        for member in 0..ROOM.min(count - room * ROOM) {
            let body =
                json!({ "handle": format!("load-{member}"), "grants": { "subscribe": true } });
            let minted = target.post(&format!("/v1/rooms/{id}/tokens"), &body, key).await?;
            let token = minted["token"].as_str().context("token")?;
            members.push(Member::join(target, token, stop.clone()).await?);
        }
        anyhow::Ok(members)
    });
    let members: Vec<_> = stream::iter(rooms).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(members.into_iter().flatten().collect())
}
