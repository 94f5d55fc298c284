//! A wall clock that is wrong destroys nothing at once.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use recorder::{evidence::PurgeReason, service::ledger::State};
use sfu_proto::id::RecordingId;

use crate::world::{World, records, until};

const DAY_MS: u64 = 24 * 3_600_000;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_by_a_clock_that_jumped_is_kept_until_it_is_believed() {
    let mut world = World::new("clock");
    let id = RecordingId::from_bits(401);
    let (recorder, tap) = world.start();
    let mut row = world.row(id);
    row.0.target = Some("st_none".to_owned());
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    recorder.shut_down().await;

    // While it was off, the clock jumped by days, as far as it can tell.
    let seen = (now_ms() - 5 * DAY_MS).to_string();
    fs::write(world.root.join("data/clock"), seen).unwrap();
    world.ledger.change(id, |row| {
        row.stopped_at_ms = Some(now_ms() - 4 * DAY_MS);
        row.expires_at_ms = Some(now_ms() - DAY_MS);
    });
    let (recorder, _tap) = world.start();
    let looks = world.ledger.trouble().looks;
    until("it was looked at", || world.ledger.trouble().looks > looks + 5).await;
    assert_eq!(world.ledger.state(id), State::PushBlocked);
    assert!(world.folder(id).exists());
    recorder.shut_down().await;

    world.clock_doubt = Duration::ZERO;
    let (recorder, _tap) = world.start();
    world.until_state(id, State::Purged).await;
    assert_eq!(world.receipt(&recorder, id).reason, PurgeReason::MaxAge);
    recorder.shut_down().await;
}
