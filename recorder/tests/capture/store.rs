//! The store: slow, failing, or another recorder's.

use std::{fs, sync::Arc, time::Duration};

use recorder::{
    evidence::SigningKey,
    journal::{Folder, Moment, Writer},
    key::DataKey,
    limits::WAITING_BYTES_MAX,
    service::ledger::{LedgerError, News, Purge, State},
};
use tokio::time::sleep;

use crate::{
    World, metric,
    recording::{Kept, journal, packets, packets_in, track, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_delays_nobody_else_and_loses_nothing() {
    let world = World::new("silent");
    let (known, asked) = (world.row(1), world.row(2));
    world.ledger.set_silent(asked);
    let (recorder, tap, _) = world.start();
    for id in [known, asked] {
        assert!(tap.send(track(id)).is_ok());
    }
    for n in 0..100 {
        assert!(tap.send(packets(known, n, 1, 0)).is_ok());
        assert!(tap.send(packets(asked, n, 1, 0)).is_ok());
        sleep(Duration::from_millis(10)).await;
    }
    until("the other is written", || packets_in(&world.root, known) == 100).await;
    assert!(!world.has_folder(asked));
    // It ends before the store answers: what was captured is recorded none the less.
    world.ledger.memory.stop_now(asked);
    sleep(Duration::from_millis(800)).await;
    assert!(!world.has_folder(asked));
    world.ledger.heal();
    until("it is purged", || world.ledger.memory.state(asked) == State::Purged).await;
    let told = world.ledger.memory.told(asked);
    assert!(matches!(told[0], News::Finalized { seconds: 2, .. }), "{told:?}");
    assert!(matches!(told.last(), Some(News::Purged { reason: Purge::Delivered, .. })));
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_store_is_asked_once_a_second_and_what_does_not_fit_is_counted() {
    let world = World::new("failing");
    let id = world.row(1);
    world.ledger.set_failing(id);
    let (recorder, tap, registry) = world.start();
    assert!(tap.send(track(id)).is_ok());
    // 40 batches of about 256 KiB.
    let (count, size, each) = (40, 1000, 245);
    for n in 0..count {
        let batch = packets(id, n * each, each, size);
        assert!((250_000..300_000).contains(&batch.bytes.len()));
        assert!(tap.send(batch).is_ok());
        sleep(Duration::from_millis(60)).await;
    }
    let asked = world.ledger.asked(id);
    assert!((2..=6).contains(&asked), "asked {asked} times in 2.4 s");
    world.ledger.heal();
    until("its journal begins", || world.has_folder(id)).await;
    until("it is claimed", || world.ledger.is_claimed(id)).await;
    sleep(Duration::from_millis(200)).await; // For the thread to hear of it.
    assert!(tap.send(packets(id, count * each, 1, 0)).is_ok());
    let last = || journal(&world.root, id).unwrap_or_default().last().copied();
    until("the last is written", || last() == Some(Kept::Packet(count * each))).await;
    let kept = journal(&world.root, id).unwrap();
    let whole: Vec<Kept> = kept[1..].to_vec();
    let fitted = whole.iter().position(|one| matches!(one, Kept::Lost(_))).unwrap();
    assert!(whole[..fitted].iter().copied().eq((0..fitted as u64).map(Kept::Packet)));
    assert_eq!(whole[fitted], Kept::Lost((count * each) as u32 - fitted as u32));
    assert_eq!(whole.len(), fitted + 2);
    let bytes = fitted * size;
    assert!((WAITING_BYTES_MAX * 8 / 10..=WAITING_BYTES_MAX).contains(&bytes), "{bytes}");
    let refused = metric(&registry, "batches_refused_total");
    assert_eq!(refused, count - fitted as u64 / each);
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_panics_is_done_again() {
    let world = World::new("defect");
    let id = world.row(1);
    world.ledger.set_defect(id);
    let (recorder, tap, _) = world.start();
    assert!(tap.send(track(id)).is_ok());
    assert!(tap.send(packets(id, 0, 1, 0)).is_ok());
    until("it is written", || packets_in(&world.root, id) == 1).await;
    assert_eq!(world.ledger.asked(id), 2);
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_repeated_until_it_is_stored() {
    let world = World::new("claim");
    let id = world.row(1);
    world.ledger.refuse_claims(id, &[LedgerError::Unavailable]);
    let (recorder, tap, _) = world.start();
    assert!(tap.send(track(id)).is_ok());
    assert!(tap.send(packets(id, 0, 1, 0)).is_ok());
    until("it is written", || packets_in(&world.root, id) == 1).await;
    until("it is claimed", || world.ledger.is_claimed(id)).await;
    assert!(world.has_folder(id));
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_recorder_writes_is_left_to_it() {
    let world = World::new("foreign");
    let (foreign, ours) = (world.row(1), world.row(2));
    world.ledger.refuse_claims(foreign, &[LedgerError::Unavailable, LedgerError::Changed]);
    let (recorder, tap, _) = world.start();
    for id in [foreign, ours] {
        assert!(tap.send(track(id)).is_ok());
    }
    until("both begin", || world.has_folder(foreign) && world.has_folder(ours)).await;
    until("one is given up", || !world.has_folder(foreign)).await;
    for id in [foreign, ours] {
        assert!(tap.send(packets(id, 0, 1, 0)).is_ok());
    }
    until("the other goes on", || packets_in(&world.root, ours) == 1).await;
    assert!(!world.has_folder(foreign) && world.ledger.stopped(foreign).is_empty());
    assert_eq!(world.ledger.asked(foreign), 1, "and is not begun again");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_before_wrote_and_did_not_claim_is_claimed() {
    let world = World::new("adopt");
    let (begun, empty, torn, behind) = (world.row(1), world.row(2), world.row(3), world.row(4));
    let spool = world.root.join("data/spool");
    fs::create_dir_all(&spool).unwrap();
    let folders = [begun, empty, torn, behind].map(|id| Folder::create(&spool, id).unwrap());
    let [folder, _, half, two] = folders;
    let capture = Arc::new(SigningKey::generate().unwrap());
    Writer::create(&folder, Arc::new(DataKey::generate()), capture, Moment::now()).unwrap();
    fs::write(half.path().join("00000001.journal"), [0; 200]).unwrap();
    fs::write(two.path().join("00000001.journal"), [0; 10]).unwrap();
    fs::write(two.path().join("00000002.journal"), [0; 1000]).unwrap();
    let (recorder, _tap, _) = world.start();
    for id in [begun, behind] {
        until("it is claimed", || world.ledger.is_claimed(id)).await;
    }
    sleep(Duration::from_millis(300)).await;
    assert!(!world.ledger.is_claimed(empty), "nothing was written");
    assert!(!world.ledger.is_claimed(torn), "its opening was not");
    recorder.shut_down().await;
}
