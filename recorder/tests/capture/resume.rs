//! A process that is killed while media come from another that lives: the next one goes on.

use std::fs;

use recorder::service::ledger::{News, Purge, State, Stop};

use crate::{
    World,
    recording::{Kept, journal, packets, packets_in, played, sealed, track, until},
};

/// The folder as a kill leaves it: the journal has no end.
fn cut_the_end(world: &World, id: sfu_proto::id::RecordingId) {
    let file = world.root.join("data/spool").join(id.to_string()).join("00000001.journal");
    let length = fs::metadata(&file).unwrap().len();
    let end = fs::OpenOptions::new().write(true).open(file).unwrap();
    end.set_len(length - 50).unwrap(); // Within the signature that is the end.
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
    assert!(world.root.join("data/spool").join(id.to_string()).join("00000002.journal").exists());
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
