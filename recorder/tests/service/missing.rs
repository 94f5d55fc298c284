//! A disk that is not there says nothing about what is on it.

use std::{fs, time::Duration};

use recorder::{
    evidence::{KeyFate, PurgeReason},
    service::ledger::{Block, News, Purge, State},
};
use sfu_proto::id::RecordingId;

use crate::world::{World, records, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_not_where_it_was_written_is_waited_for() {
    let world = World::new("away");
    let id = RecordingId::from_bits(111);
    let (first, tap) = world.start();
    world.record(&tap, world.row(id), records(id, 2)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    first.shut_down().await;
    let away = world.root.join("away");
    fs::rename(world.folder(id), &away).unwrap();
    let (second, tap) = world.start();
    // The call goes on, and ends before the disk is back.
    records(id, 1).into_iter().for_each(|batch| assert!(tap.send(batch).is_ok()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    assert!(!world.folder(id).exists(), "nothing is begun in its place");
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::SpoolMissing, .. });
    assert!(world.ledger.told(id).iter().any(is_told));
    // Not even when somebody wants it gone.
    world.ledger.change(id, |row| row.is_deleted = true);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.ledger.state(id), State::PushBlocked, "nothing is certified");
    world.ledger.change(id, |row| row.is_deleted = false);
    fs::rename(&away, world.folder(id)).unwrap();
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_delivered(&second, id, ".ogg.age").await;
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_found_again_is_said_to_be_lost_when_its_age_is_over() {
    let world = World::new("lost");
    let id = RecordingId::from_bits(112);
    let (first, tap) = world.start();
    world.record(&tap, world.row(id), records(id, 2)).await;
    first.shut_down().await;
    fs::remove_dir_all(world.folder(id)).unwrap();
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    world.until_state(id, State::PushBlocked).await;
    world.ledger.change(id, |row| row.expires_at_ms = Some(1));
    world.until_state(id, State::Purged).await;
    let last = world.ledger.told(id).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Lost, .. })));
    let receipt = world.receipt(&second, id);
    assert_eq!((receipt.reason, receipt.keys), (PurgeReason::Lost, KeyFate::Unknown));
    assert!(receipt.delivered.is_empty());
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipt_and_event_agree_on_what_is_lost_while_it_is_destroyed() {
    let world = World::new("lost-while-purging");
    let id = RecordingId::from_bits(114);
    let mut row = world.row(id);
    (row.0.state, row.0.has_journal, row.0.expires_at_ms) = (State::Purging, true, Some(1));
    row.0.stopped_at_ms = Some(1);
    (row.0.work.purge, row.0.work.disk) = (Some(Purge::Deleted), Some("another disk".to_owned()));
    world.ledger.insert(row);
    let (recorder, _tap) = world.start();
    world.until_state(id, State::Purged).await;
    let last = world.ledger.told(id).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Lost, .. })), "{last:?}");
    assert_eq!(world.receipt(&recorder, id).reason, PurgeReason::Lost);
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_gone_are_made_again_from_the_journal() {
    let world = World::new("unmade");
    let id = RecordingId::from_bits(113);
    let (recorder, tap) = world.start();
    let mut row = world.row(id);
    row.0.target = None;
    world.record(&tap, row, records(id, 2)).await;
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    fs::remove_file(world.folder(id).join("export.json")).unwrap();
    world.ledger.change(id, |row| {
        (row.target, row.push_wanted) = (Some("st_local".to_owned()), true);
    });
    world.until_delivered(&recorder, id, ".ogg.age").await;
    let made = |news: &&News| matches!(news, News::Finalized { .. });
    until("twice made", || world.ledger.told(id).iter().filter(made).count() == 2).await;
    recorder.shut_down().await;
}
