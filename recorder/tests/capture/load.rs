//! More than can be written: too many recordings, too many media.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use recorder::service::{
    Admission,
    ledger::{State, Stop},
};
use sfu_proto::id::RecordingId;

use crate::{
    World, metric,
    recording::{self, packets, packets_in, track, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_more_than_may_be_is_ended_and_a_place_is_given_back() {
    let world = World::new("places");
    let (first, second, third) = (world.row(1), world.row(2), world.row(3));
    let (recorder, tap, _) = recording::start(&world.root, world.ledger.clone(), 1);
    assert_eq!(recorder.admission(), Admission::Open);
    assert!(tap.send(track(first)).is_ok());
    until("it is written", || world.has_folder(first)).await;
    assert_eq!(recorder.admission(), Admission::Busy);
    assert!(tap.send(track(second)).is_ok());
    until("it is ended", || world.ledger.stopped(second) == [Stop::NoCapacity]).await;
    assert!(!world.has_folder(second));
    world.ledger.memory.stop_now(first);
    until("there is a place", || recorder.admission() == Admission::Open).await;
    assert!(tap.send(track(third)).is_ok());
    until("it is written", || world.has_folder(third)).await;
    recorder.shut_down().await;
}

/// Media come in faster than the disk takes them, so the ring is never empty.
#[tokio::test(flavor = "multi_thread")]
async fn a_recording_ends_while_another_floods_the_same_writer() {
    let world = World::new("flood");
    let (flood, other) = (world.row(1), world.row(2));
    let (recorder, tap, _) = world.start();
    for id in [flood, other] {
        assert!(tap.send(track(id)).is_ok());
        assert!(tap.send(packets(id, 0, 1, 0)).is_ok());
    }
    until("both are written", || [flood, other].iter().all(|id| packets_in(&world.root, *id) == 1))
        .await;
    let is_over = AtomicBool::new(false);
    let batch = packets(flood, 0, 200, 1000);
    std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            let mut left = 2_000_000_000usize; // What the test may write at most.
            while !is_over.load(Relaxed) && left > 0 {
                match tap.send(batch.clone()) {
                    Ok(()) => left = left.saturating_sub(batch.bytes.len()),
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
            left
        });
        let ended = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                world.ledger.memory.stop_now(other);
                let purged = || world.ledger.memory.state(other) == State::Purged;
                let until = Instant::now() + Duration::from_secs(30);
                while !purged() && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                purged()
            })
        });
        is_over.store(true, Relaxed);
        assert!(ended, "its journal was never closed");
        assert!(flooding.join().unwrap() > 0, "it was closed only when the flood was over");
    });
    recorder.shut_down().await;
}

/// `cargo test -p recorder --test capture -- --ignored --nocapture measure`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "figures, for people"]
async fn measure_a_hundred_recordings() {
    const PACE: Duration = Duration::from_millis(20);
    let world = World::new("hundred");
    let ids: Vec<RecordingId> = (1..=100).map(|n| world.row_of_any_writer(n)).collect();
    let (recorder, tap, registry) = world.start();
    ids.iter().for_each(|id| assert!(tap.send(track(*id)).is_ok()));
    let began = Instant::now();
    until("all are written", || ids.iter().all(|id| world.has_folder(*id))).await;
    println!("100 journals began in {} ms", began.elapsed().as_millis());
    let mut rounds = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    for n in 0..1000 {
        pace.tick().await;
        // 3 packets of 1.2 KB each 20 ms: 1.5 Mbit/s.
        for id in &ids {
            assert!(tap.send(packets(*id, n * 3, 3, 1200)).is_ok());
        }
        if n % 50 == 49 {
            rounds.push(metric(&registry, "round_ms"));
        }
    }
    rounds.sort_unstable();
    let refused = metric(&registry, "batches_refused_total");
    println!("longest of the writers' rounds, ms, once a second: {rounds:?}; refused {refused}");
    println!("admission: {:?}", recorder.admission());
    recorder.shut_down().await;
}
