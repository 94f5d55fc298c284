//! What others want while the work is under way.

use std::{
    fs,
    num::NonZeroU64,
    os::unix::fs::OpenOptionsExt as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use recorder::{
    evidence::PurgeReason,
    service::ledger::{News, State},
};
use sfu_proto::{id::RecordingId, tap::Batch};

use crate::world::{Sound, World, records, until};

/// The least rate that a cap takes; the files below take seconds at it.
const SLOW: NonZeroU64 = NonZeroU64::new(256 * 1024).unwrap();

/// About 1 MB for each minute.
fn long(id: RecordingId, index: u16, seconds: u64) -> Vec<Batch> {
    Sound { index, seconds, padding: 1000 }.records(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn age_ends_a_slow_push_and_the_receipt_names_what_arrived() {
    let mut world = World::new("slow");
    world.rate = Some(SLOW);
    let id = RecordingId::from_bits(131);
    let (recorder, tap) = world.start();
    // Some 2 s for the first file and 20 s for the second.
    let batches = [long(id, 0, 10), long(id, 1, 100)].concat();
    world.record(&tap, world.row(id), batches).await;
    world.ledger.stop_now(id);
    let is_one_there = || world.ledger.row(id).artifacts.iter().any(|row| row.verified);
    until("the first file arrives", is_one_there).await;
    world.ledger.change(id, |row| row.expires_at_ms = Some(1));
    let asked = Instant::now();
    world.until_state(id, State::Purged).await;
    assert!(asked.elapsed() < Duration::from_secs(12), "not when the push is over");
    let receipt = world.receipt(&recorder, id);
    assert_eq!(receipt.reason, PurgeReason::MaxAge);
    assert_eq!(receipt.artifacts.len(), 3);
    let [place] = &receipt.delivered[..] else { panic!("{:?}", receipt.delivered) };
    assert_eq!((place.target.as_str(), place.only.len()), ("st_local", 1));
    let arrived = place.only[0].as_str();
    let left: Vec<String> = World::files(&world.partner())
        .iter()
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let wanted = [arrived, "receipt.json"];
    assert_eq!(left, wanted, "what is half there is taken back, and the last word is there");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_others_change_all_the_time_is_delivered_none_the_less() {
    let mut world = World::new("busy");
    world.rate = Some(SLOW);
    let id = RecordingId::from_bits(132);
    let (recorder, tap) = world.start();
    world.record(&tap, world.row(id), long(id, 0, 20)).await;
    world.ledger.stop_now(id);
    let is_there = || matches!(world.ledger.state(id), State::Delivered | State::Purged);
    let until = Instant::now() + Duration::from_secs(40);
    while !is_there() {
        assert!(Instant::now() < until, "never delivered: {:?}", world.ledger.state(id));
        world.ledger.change(id, |row| row.warned_percent = 50);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.until_delivered(&recorder, id, ".ogg.age").await;
    let made = world.ledger.told(id).iter().filter(|n| matches!(n, News::Finalized { .. })).count();
    assert_eq!((made, world.ledger.trouble().makes[&id]), (1, 1), "nothing was done twice");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_certified_while_files_are_still_made() {
    let world = World::new("making");
    let id = RecordingId::from_bits(133);
    let (first, tap) = world.start();
    world.record(&tap, world.row(id), records(id, 2)).await;
    first.shut_down().await;
    // Whoever reads this file waits until somebody writes into it.
    let pipe = world.folder(id).join("00000002.journal");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    until("files are made", || world.ledger.trouble().makes.contains_key(&id)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    world.ledger.change(id, |row| row.is_deleted = true);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.ledger.state(id), State::Finalizing, "a thread has the key and the files");
    let over = Arc::new(AtomicBool::new(false));
    let (writer, is_over) = (pipe.clone(), Arc::clone(&over));
    let writer = thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            // Fails while nobody reads; the reader finds the end of the file at once.
            let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
            let _ = fs::OpenOptions::new().write(true).custom_flags(flags).open(&writer);
            thread::sleep(Duration::from_millis(5));
        }
    });
    world.until_state(id, State::Purged).await;
    over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert_eq!(world.receipt(&second, id).reason, PurgeReason::Deleted);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!world.folder(id).exists(), "nothing comes back");
    assert!(World::files(&world.partner()).is_empty());
    second.shut_down().await;
}
