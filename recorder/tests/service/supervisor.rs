//! One recording that is slow, fails or is defective costs the others nothing.

use std::time::{Duration, Instant};

use recorder::{evidence::PurgeReason, service::ledger::State};
use sfu_proto::id::RecordingId;

use crate::world::{World, records, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_never_answers_takes_no_place_of_others_and_delays_no_purge() {
    let world = World::new("places");
    world.ledger.set_target("st_silent", world.target());
    world.ledger.trouble().silent_targets.insert("st_silent".to_owned());
    let (recorder, tap) = world.start();
    let slow: Vec<RecordingId> = (200..217).map(RecordingId::from_bits).collect();
    for id in &slow {
        let mut row = world.row(*id);
        row.0.target = Some("st_silent".to_owned());
        world.record(&tap, row, records(*id, 1)).await;
        world.ledger.stop_now(*id);
    }
    let is_pushed = |id: &RecordingId| world.ledger.state(*id) == State::Pushing;
    until("all are to be pushed", || slow.iter().all(is_pushed)).await;
    let other = RecordingId::from_bits(230);
    let mut row = world.row(other);
    row.0.project = "pr_other".to_owned();
    world.record(&tap, row, records(other, 1)).await;
    world.ledger.stop_now(other);
    world.until_delivered(&recorder, other, ".ogg.age").await;
    // One that waits for a place is purged without one.
    world.ledger.change(slow[16], |row| row.expires_at_ms = Some(1));
    world.until_state(slow[16], State::Purged).await;
    assert_eq!(world.receipt(&recorder, slow[16]).reason, PurgeReason::MaxAge);
    world.ledger.trouble().silent_targets.clear();
    world.until_delivered(&recorder, slow[0], ".ogg.age").await;
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_defect_in_the_work_on_one_recording_is_its_own() {
    let world = World::new("defect");
    let [bad, good] = [241, 242].map(RecordingId::from_bits);
    world.ledger.trouble().panics.insert(bad);
    world.ledger.trouble().silent_timelines.insert(good);
    let (recorder, tap) = world.start();
    for id in [good, bad] {
        world.record(&tap, world.row(id), records(id, 1)).await;
        world.ledger.stop_now(id);
    }
    until("both are worked on", || world.ledger.trouble().makes.len() == 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let makes = world.ledger.trouble().makes.clone();
    assert_eq!(makes[&good], 1, "it is worked on once, whatever became of the other");
    assert!((2..=3).contains(&makes[&bad]), "tried again, after pauses: {}", makes[&bad]);
    world.ledger.trouble().panics.clear();
    world.ledger.trouble().silent_timelines.clear();
    world.until_delivered(&recorder, good, ".ogg.age").await;
    world.until_delivered(&recorder, bad, ".ogg.age").await;
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn news_without_end_are_looked_at_five_times_a_second() {
    let world = World::new("news");
    let id = RecordingId::from_bits(251);
    world.ledger.insert(world.row(id));
    let (recorder, _tap) = world.start();
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(2) {
        world.ledger.change(id, |_| {});
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let looks = world.ledger.trouble().looks;
    // Ten, one at the start, and one of the sweep.
    assert!((3..=14).contains(&looks), "{looks} looks in {:?}", from.elapsed());
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_is_served_in_every_state_and_only_once() {
    let world = World::new("wish");
    let id = RecordingId::from_bits(261);
    let (first, tap) = world.start();
    world.record(&tap, world.row(id), records(id, 1)).await;
    first.shut_down().await;
    // It cannot be read, so no files can be made.
    let stray = world.folder(id).join("00000002.journal");
    std::fs::create_dir(&stray).unwrap();
    world.ledger.stop_now(id);
    world.ledger.change(id, |row| row.push_wanted = true);
    let (second, _tap) = world.start();
    until("it is served", || !world.ledger.row(id).push_wanted).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let makes = world.ledger.trouble().makes[&id];
    assert!((2..=4).contains(&makes), "after 0, 1, 3 s: {makes} attempts");
    std::fs::remove_dir(&stray).unwrap();
    world.ledger.change(id, |row| row.push_wanted = true);
    world.until_delivered(&second, id, ".ogg.age").await;
    second.shut_down().await;
}
