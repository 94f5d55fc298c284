//! The whole recorder on a real disk, with a real folder as the partner's storage: from tap records to
//! a purged recording with a receipt. Only the row is kept in memory.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "service/again.rs"]
mod again;
#[path = "service/clock.rs"]
mod clock;
#[path = "service/composite.rs"]
mod composite;
#[path = "service/damage.rs"]
mod damage;
#[path = "service/defect.rs"]
mod defect;
#[path = "service/figures.rs"]
mod figures;
#[path = "service/gone.rs"]
mod gone;
#[path = "service/hold.rs"]
mod hold;
#[path = "service/ledger.rs"]
mod ledger;
#[path = "service/live.rs"]
mod live;
#[path = "service/missing.rs"]
mod missing;
#[path = "service/others.rs"]
mod others;
#[path = "service/room.rs"]
mod room;
#[path = "common/servers.rs"]
#[allow(dead_code, reason = "each test program uses its part")]
mod servers;
#[path = "service/storages.rs"]
mod storages;
#[path = "service/supervisor.rs"]
mod supervisor;
#[path = "service/texts.rs"]
mod texts;
#[path = "service/world.rs"]
mod world;

use std::{fs, time::Duration};

use recorder::{
    evidence::SignedReceipt,
    service::ledger::{Block, News, Purge, State},
};
use sfu_proto::id::RecordingId;
use world::{PATTERN, World, records, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_arrives_sealed_and_is_purged_with_a_receipt() {
    let world = World::new("whole");
    let id = RecordingId::from_bits(71);
    world.ledger.insert(world.row(id));
    let (recorder, tap) = world.start();
    for batch in records(id, 10) {
        assert!(tap.send(batch).is_ok());
    }
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    assert!(!World::holds(&world.root.join("data"), PATTERN), "plaintext on the disk");
    world.ledger.stop_now(id);
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    assert!(World::files(&world.spool()).is_empty(), "{:?}", World::files(&world.spool()));

    let files = World::files(&world.partner());
    let named = |end: &str| files.iter().find(|file| file.to_string_lossy().ends_with(end));
    let events = world.open(named("events.json.age").unwrap());
    let events: serde_json::Value = serde_json::from_slice(&events).unwrap();
    assert_eq!(events["participants"][0]["handle"], "user-1");
    let track = world.open(named(".ogg.age").unwrap());
    assert!(track.starts_with(b"OggS") && track.windows(PATTERN.len()).any(|w| w == PATTERN));
    assert!(named("manifest.json.sig").is_some() && named("SHA256SUMS").is_some());
    assert!(!World::holds(&world.partner(), PATTERN), "plaintext at the partner's");

    let told = world.ledger.told(id);
    let [
        News::Finalized { seconds: 10, .. },
        News::Delivered,
        News::Purged { reason, receipt, signature, key, .. },
    ] = &told[..]
    else {
        panic!("told otherwise: {told:?}");
    };
    assert_eq!(*reason, Purge::Delivered);
    let signed = serde_json::json!({ "receipt": receipt, "signature": signature, "key": key });
    let signed = SignedReceipt::parse(signed.to_string().as_bytes()).unwrap();
    assert_eq!(signed.verify(&recorder.keys()).unwrap().recording, id);
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_crash_is_delivered_by_the_next_process() {
    let world = World::new("crash");
    let id = RecordingId::from_bits(72);
    world.ledger.insert(world.row(id));
    let (first, tap) = world.start();
    for batch in records(id, 5) {
        assert!(tap.send(batch).is_ok());
    }
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await; // At least one flush.
    drop((first, tap));
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    assert!(matches!(
        world.ledger.told(id).last(),
        Some(News::Purged { reason: Purge::Delivered, .. })
    ));
    assert!(
        World::files(&world.partner()).iter().any(|f| f.to_string_lossy().ends_with(".ogg.age"))
    );
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_push_says_so_and_goes_on_when_it_may() {
    let world = World::new("blocked");
    let id = RecordingId::from_bits(73);
    let mut row = world.row(id);
    row.0.target = Some("st_missing".to_owned());
    world.ledger.insert(row);
    let (recorder, tap) = world.start();
    records(id, 2).into_iter().for_each(|batch| drop(tap.send(batch)));
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    world.ledger.stop_now(id);
    until("it is blocked", || world.ledger.state(id) == State::PushBlocked).await;
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::NoTarget, .. });
    assert!(world.ledger.told(id).iter().any(is_told));
    assert!(!World::files(&world.spool()).is_empty(), "nothing is lost");
    world.ledger.set_target("st_missing", world.target());
    world.ledger.change(id, |row| row.push_wanted = true);
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn age_wins_over_a_storage_that_stays_away_and_a_hold_over_age() {
    let world = World::new("age");
    let ids = [74, 75].map(RecordingId::from_bits);
    for (id, held) in [(ids[0], false), (ids[1], true)] {
        let mut row = world.row(id);
        (row.0.target, row.0.held) = (None, held);
        world.ledger.insert(row);
    }
    let (recorder, tap) = world.start();
    for id in ids {
        records(id, 2).into_iter().for_each(|batch| drop(tap.send(batch)));
    }
    until("journals are written", || World::files(&world.spool()).len() > 3).await;
    for id in ids {
        world.ledger.stop_now(id);
        until("it is blocked", || world.ledger.state(id) == State::PushBlocked).await;
        world.ledger.change(id, |row| row.expires_at_ms = Some(1));
    }
    until("one is purged", || world.ledger.state(ids[0]) == State::Purged).await;
    let last = world.ledger.told(ids[0]).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Expired, .. })));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.ledger.state(ids[1]), State::PushBlocked, "held");
    world.ledger.change(ids[1], |row| (row.held, row.is_deleted) = (false, true));
    until("the other is purged", || world.ledger.state(ids[1]) == State::Purged).await;
    assert!(World::files(&world.spool()).is_empty());
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_recording_comes_as_its_journal_when_the_process_that_wrote_it_is_gone() {
    let world = World::new("sealed");
    let id = RecordingId::from_bits(76);
    let mut row = world.row(id);
    row.0.sealed = true;
    world.ledger.insert(row);
    let (first, tap) = world.start();
    records(id, 2).into_iter().for_each(|batch| drop(tap.send(batch)));
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    drop((first, tap));
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    let files = World::files(&world.partner());
    assert!(files.iter().any(|file| file.to_string_lossy().ends_with(".journal.age")));
    assert!(files.iter().any(|file| file.to_string_lossy().ends_with("data-key.age")));
    let capture = files.iter().find(|file| file.ends_with("capture.json")).unwrap();
    let capture: serde_json::Value = serde_json::from_slice(&fs::read(capture).unwrap()).unwrap();
    assert_eq!(capture["ended"], "recovered");
    assert!(
        capture["journals"][0]["chunks"].as_u64().unwrap() > 1,
        "what is handed over is signed"
    );
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_recorded_is_purged_and_a_folder_without_a_row_is_left_alone() {
    let world = World::new("empty");
    let (id, stranger) = (RecordingId::from_bits(77), RecordingId::from_bits(78));
    world.ledger.insert(world.row(id));
    fs::create_dir_all(world.spool().join(stranger.to_string())).unwrap();
    let (recorder, tap) = world.start();
    world.ledger.stop_now(id);
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    let last = world.ledger.told(id).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Empty, .. })));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.spool().join(stranger.to_string()).exists(), "nobody decided about it");
    // A batch for a recording that nobody knows opens nothing.
    records(RecordingId::from_bits(79), 1).into_iter().for_each(|batch| drop(tap.send(batch)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(World::files(&world.spool()).is_empty());
    recorder.shut_down().await;
}
