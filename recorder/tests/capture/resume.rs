//! A process that is killed while media come from another that lives: the next one goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use recorder::service::ledger::{LedgerError, News, Purge, State, Stop};
use sfu_proto::id::RecordingId;

use crate::{
    World, metric,
    recording::{Kept, journal, packets, packets_in, played, sealed, track, until},
};

/// Where a journal file is.
fn file(world: &World, id: RecordingId, number: u32) -> PathBuf {
    let folder = world.root.join("data/spool").join(id.to_string());
    folder.join(format!("{number:08}.journal"))
}

fn cut(file: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
}

/// The folder as a kill leaves it: the journal has no end.
fn cut_the_end(world: &World, id: RecordingId) {
    let file = file(world, id, 1);
    cut(&file, fs::metadata(&file).unwrap().len() - 50); // Within the signature that is the end.
}

/// A process writes ten packets from `first` on and ends.
async fn written(world: &World, id: RecordingId, first: u64) {
    let (recorder, tap, _) = world.start();
    let before = packets_in(&world.root, id);
    assert!(tap.send(track(id)).is_ok() && tap.send(packets(id, first, 10, 0)).is_ok());
    until("it is written", || packets_in(&world.root, id) == before + 10).await;
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_goes_on_in_the_next_file_and_what_comes_twice_is_there_once() {
    let world = World::new("resume");
    let id = world.row(1);
    let (first, tap, _) = world.start();
    let begun = track(id);
    assert!(tap.send(begun.clone()).is_ok());
    let middle = packets(id, 40, 10, 0);
    for batch in [packets(id, 0, 40, 0), middle.clone()] {
        assert!(tap.send(batch).is_ok());
    }
    until("it is written", || packets_in(&world.root, id) == 50).await;
    until("it is claimed", || world.ledger.is_claimed(id)).await;
    first.shut_down().await;
    cut_the_end(&world, id);
    let (second, tap, _) = world.start();
    // Given again, with what followed.
    for batch in [begun, middle, packets(id, 50, 50, 0)] {
        assert!(tap.send(batch).is_ok());
    }
    until("it goes on", || packets_in(&world.root, id) == 110).await;
    assert!(!journal(&world.root, id).unwrap().iter().any(|one| matches!(one, Kept::Lost(_))));
    assert!(file(&world, id, 2).exists());
    world.ledger.memory.stop_now(id);
    until("it is purged", || world.ledger.memory.state(id) == State::Purged).await;
    let told = world.ledger.memory.told(id);
    assert!(matches!(told.last(), Some(News::Purged { reason: Purge::Delivered, .. })));
    let file = sealed(&world.root, id).unwrap();
    let count = played(&world.root.join("identity"), &file);
    assert!((100..=101).contains(&count), "{count} packets");
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_one_cannot_go_on_and_ends() {
    let world = World::new("resume-sealed");
    let id = world.row(1);
    world.ledger.memory.change(id, |row| row.sealed = true);
    let (first, tap, _) = world.start();
    assert!(tap.send(track(id)).is_ok() && tap.send(packets(id, 0, 10, 0)).is_ok());
    until("it is claimed", || world.ledger.is_claimed(id)).await;
    first.shut_down().await;
    let (second, tap, _) = world.start();
    assert!(tap.send(packets(id, 10, 10, 0)).is_ok());
    until("it is ended", || world.ledger.stopped(id) == [Stop::Lost]).await;
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_first_file_costs_nothing_of_those_behind_it() {
    let world = World::new("resume-torn");
    let id = world.row(1);
    // The store stands still for as long as it takes: nobody claims it.
    world.ledger.refuse_claims(id, &[LedgerError::Unavailable; 100]);
    written(&world, id, 0).await;
    written(&world, id, 10).await;
    cut(&file(&world, id, 1), 10);
    let second = fs::read(file(&world, id, 2)).unwrap();
    let (recorder, tap, _) = world.start();
    assert!(tap.send(packets(id, 20, 10, 0)).is_ok());
    until("it goes on", || file(&world, id, 3).exists()).await;
    assert!(fs::read(file(&world, id, 2)).unwrap() == second, "what was recorded stays");
    assert!(world.ledger.stopped(id).is_empty());
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_for_a_moment_ends_nothing() {
    let world = World::new("resume-failing");
    let id = world.row(1);
    written(&world, id, 0).await;
    let keys = file(&world, id, 1).with_file_name("keys.json");
    let aside = keys.with_extension("aside");
    fs::rename(&keys, &aside).unwrap();
    fs::create_dir(&keys).unwrap(); // It opens, and every read fails.
    let (recorder, tap, _) = world.start();
    assert!(tap.send(packets(id, 10, 10, 0)).is_ok());
    let asked = world.ledger.asked(id);
    until("it is asked for again", || world.ledger.asked(id) >= asked + 2).await;
    assert!(world.ledger.stopped(id).is_empty());
    fs::remove_dir(&keys).unwrap();
    fs::rename(&aside, &keys).unwrap();
    until("it goes on", || packets_in(&world.root, id) == 20).await;
    assert!(world.ledger.stopped(id).is_empty());
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turns_out_to_be_anothers_keeps_what_a_process_before_wrote() {
    let world = World::new("resume-foreign");
    let id = world.row(1);
    written(&world, id, 0).await;
    let first = fs::read(file(&world, id, 1)).unwrap();
    world.ledger.refuse_claims(id, &[LedgerError::Changed]);
    let (recorder, tap, registry) = world.start();
    let refused = || {
        assert!(tap.send(packets(id, 10, 1, 0)).is_ok());
        metric(&registry, "batches_refused_total") > 0
    };
    until("it is left to the other one", refused).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // Its end would come a moment later.
    assert!(fs::read(file(&world, id, 1)).unwrap() == first);
    assert!(file(&world, id, 2).exists(), "it was begun");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_pushed_meanwhile_stay_short_after_a_restart() {
    let world = World::new("resume-rotating");
    let id = world.row(1);
    world.ledger.memory.change(id, |row| row.outputs.journal = true);
    written(&world, id, 0).await;
    let last = (1..).find(|number| !file(&world, id, *number).exists()).unwrap();
    let (recorder, tap, _) = world.start();
    let mut number = 10;
    let mut is_longer = || {
        assert!(tap.send(packets(id, number, 1, 0)).is_ok());
        number += 1;
        file(&world, id, last + 1).exists()
    };
    let waits = std::time::Instant::now() + Duration::from_secs(60);
    while !is_longer() {
        assert!(std::time::Instant::now() < waits, "all of it goes into one file");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(world.ledger.stopped(id).is_empty());
    recorder.shut_down().await;
}
