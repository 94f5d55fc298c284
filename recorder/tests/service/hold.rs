//! Whoever holds a recording in time has it.

use std::{fs, time::Duration};

use recorder::{
    evidence::{KeyFate, PurgeReason},
    service::ledger::{Purge, State},
};
use sfu_proto::id::RecordingId;

use crate::world::{World, records};

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_in_the_moment_of_destruction_keeps_everything() {
    let world = World::new("hold");
    let id = RecordingId::from_bits(101);
    let (recorder, tap) = world.start();
    let mut row = world.row(id);
    row.0.target = None;
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    world.ledger.trouble().hold_at_purging.insert(id);
    world.ledger.change(id, |row| row.expires_at_ms = Some(1));
    crate::world::until("it is held", || world.ledger.row(id).held).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.ledger.state(id), State::PushBlocked);
    assert!(world.folder(id).join("keys.json").exists(), "the key is there");
    world.ledger.change(id, |row| {
        (row.held, row.push_wanted, row.expires_at_ms) = (false, true, Some(u64::MAX));
        row.target = Some("st_local".to_owned());
    });
    world.until_delivered(&recorder, id, ".ogg.age").await;
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_being_purged_when_the_process_died_is_purged_for_the_same_reason() {
    let world = World::new("purging");
    let id = RecordingId::from_bits(102);
    let (first, tap) = world.start();
    let mut row = world.row(id);
    row.0.target = None;
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    world.ledger.trouble().refuse_purged = true;
    world.ledger.change(id, |row| row.is_deleted = true);
    crate::world::until("the folder is gone", || !world.folder(id).exists()).await;
    assert_eq!(world.ledger.state(id), State::Purging);
    first.shut_down().await;
    // What was wished for is forgotten by now, as a hold makes it.
    world.ledger.change(id, |row| row.is_deleted = false);
    world.ledger.trouble().refuse_purged = false;
    let (second, _tap) = world.start();
    world.until_state(id, State::Purged).await;
    assert_eq!(world.ledger.row(id).work.purge, Some(Purge::Deleted));
    let receipt = world.receipt(&second, id);
    assert_eq!(receipt.reason, PurgeReason::Deleted);
    assert!(matches!(receipt.keys, KeyFate::Pending { .. }), "{:?}", receipt.keys);
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_disk_in_the_place_of_the_one_that_is_purged_says_nothing() {
    let world = World::new("otherdisk");
    let id = RecordingId::from_bits(103);
    let (first, tap) = world.start();
    let mut row = world.row(id);
    row.0.target = None;
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    first.shut_down().await;
    // Purging began, and then the machine came up without the disk.
    world.ledger.change(id, |row| {
        row.state = State::Purging;
        row.work.purge = Some(Purge::Deleted);
        row.work.disk = Some("the disk that is away".to_owned());
    });
    let away = world.root.join("away");
    fs::rename(world.folder(id), &away).unwrap();
    let (second, _tap) = world.start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.ledger.state(id), State::Purging, "nothing is certified");
    fs::rename(&away, world.folder(id)).unwrap();
    world.until_state(id, State::Purged).await;
    assert!(!world.folder(id).exists());
    assert_eq!(world.receipt(&second, id).reason, PurgeReason::Deleted);
    second.shut_down().await;
}
