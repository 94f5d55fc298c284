//! The process that is killed: a recorder, and rooms that record all the time.

use std::{ops::Range, path::Path, sync::Arc, time::Duration};

use bus::tap::TapSender;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sfu_proto::id::RecordingId;
use tokio::time::{interval, sleep};

use crate::{
    ledger::Kept,
    recording::{packets, recipient, start, target, track},
};

/// Folder, seed, and whether it is the last one: that one records nothing and ends when all is purged.
pub(crate) const CHILD: &str = "CONCLAVE_TEST_KILL_CHILD";
/// Recordings at once.
const ROOMS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the other test kills"]
async fn child_that_is_killed() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let [root, seed, is_last] = child.lines().collect::<Vec<_>>().try_into().unwrap();
    let root = Path::new(root);
    let partner = recipient(&root.join("identity"));
    let ledger = Arc::new(Kept::open(&root.join("rows"), &partner, target(root)).await);
    let (recorder, tap, _) = start(root, ledger.clone(), 100);
    if is_last == "true" {
        while !ledger.is_all_purged().await {
            sleep(Duration::from_millis(50)).await;
        }
        recorder.shut_down().await;
        return;
    }
    let mut random = StdRng::seed_from_u64(seed.parse().unwrap());
    let rooms = (0..ROOMS).map(|n| {
        let random = StdRng::seed_from_u64(random.random());
        let packets = if n == 0 { 300..400 } else { 5..75 };
        tokio::spawn(room(Arc::clone(&ledger), tap.clone(), packets, random))
    });
    for room in rooms.collect::<Vec<_>>() {
        room.await.unwrap(); // Ends by itself when nobody kills it.
    }
}

/// Recordings one after the other, of so many packets: short ones, or longer than most lives.
async fn room(ledger: Arc<Kept>, tap: TapSender, packets_of: Range<u64>, mut random: StdRng) {
    for _ in 0..20 {
        let id = RecordingId::from_bits(random.random());
        ledger.add(id).await;
        assert!(tap.send(track(id)).is_ok());
        let mut pace = interval(Duration::from_millis(20));
        for n in 0..random.random_range(packets_of.clone()) {
            pace.tick().await;
            assert!(tap.send(packets(id, n, 1, 0)).is_ok());
            println!("sent {id} {}", n + 1);
        }
        ledger.end(id).await;
    }
}
