//! A disk that becomes full, in a mount namespace of its own.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command, time::Duration};

use recorder::service::{
    Admission,
    ledger::{News, Purge, State, Stop},
};
use sfu_proto::id::RecordingId;
use tokio::time::sleep;

use crate::{
    World,
    memory::Row,
    metric,
    recording::{files, packets, packets_in, played, sealed, track, until},
};

/// Set in the process that runs on the small disk.
const CHILD: &str = "CONCLAVE_TEST_CAPTURE_SMALL_DISK";

/// The mount is seen by the child only and ends with it.
#[test]
fn a_full_disk_ends_a_recording_which_is_delivered_and_others_begin_when_there_is_room() {
    let disk = std::env::temp_dir().join(format!("conclave-capture-disk-{}", std::process::id()));
    fs::create_dir(&disk).unwrap();
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let alone: &[&str] =
        if root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let script = "mount -t tmpfs -o size=24m,nr_inodes=500 none \"$1\" && TMPDIR=\"$1\" exec \"$2\" \
                  --exact full::child_on_a_small_disk --ignored --nocapture";
    let output = Command::new("unshare")
        .args(alone)
        .args(["sh", "-c", script, "sh"])
        .arg(&disk)
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, "1")
        .output()
        .expect("unshare of util-linux is installed");
    fs::remove_dir(&disk).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{failed}");
    assert!(told.contains("delivered after the disk was full"), "the child did its work: {told}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on the small disk that the other test mounts"]
async fn child_on_a_small_disk() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    let world = World::new("full");
    let [ended, refused, later, without] = [1, 2, 3, 4].map(|n| world.row(n));
    let mut row = Row::new(ended, &world.recipient, "st_local");
    row.0.sealed = true; // Nobody but this process knows the key.
    world.ledger.memory.insert(row);
    let (recorder, tap, registry) = world.start();
    assert_eq!(recorder.admission(), Admission::Open);

    assert!(tap.send(track(ended)).is_ok());
    assert!(tap.send(packets(ended, 0, 100, 0)).is_ok());
    let journal = world.root.join("data/spool").join(ended.to_string()).join("00000001.journal");
    until("it is written", || fs::metadata(&journal).is_ok_and(|file| file.len() > 1000)).await;
    sleep(Duration::from_millis(600)).await; // What was sent is safe.
    let ballast = world.root.join("ballast");
    let grown = fill(&ballast);
    let mut n = 100;
    while world.ledger.stopped(ended).is_empty() {
        assert!(n < 10_000, "the disk never becomes full: {grown}");
        assert!(tap.send(packets(ended, n, 1, 1000)).is_ok());
        n += 1;
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.ledger.stopped(ended), [Stop::DiskFull]);
    until("nobody may begin", || recorder.admission() == Admission::DiskLow).await;
    assert_eq!(metric(&registry, "disk_mark"), 3);
    assert!(tap.send(track(refused)).is_ok());
    until("it is ended", || world.ledger.stopped(refused) == [Stop::DiskFull]).await;
    assert!(!world.has_folder(refused));

    sleep(Duration::from_secs(2)).await; // Files cannot be made now; that is tried again.
    assert_ne!(world.ledger.memory.state(ended), State::Purged);
    fs::remove_file(ballast).unwrap();
    until("others may begin", || recorder.admission() == Admission::Open).await;
    assert!(tap.send(track(later)).is_ok());
    assert!(tap.send(packets(later, 0, 50, 0)).is_ok());
    until("it is written", || packets_in(&world.root, later) == 50).await;
    world.ledger.memory.stop_now(later);
    for (id, least) in [(ended, 100), (later, 50)] {
        delivered(&world, id, least).await;
    }
    println!("delivered after the disk was full");
    no_inodes(&world, &tap, without).await;
    recorder.shut_down().await;
}

async fn delivered(world: &World, id: RecordingId, least: usize) {
    until("it is purged", || world.ledger.memory.state(id) == State::Purged).await;
    let told = world.ledger.memory.told(id);
    assert!(matches!(told.last(), Some(News::Purged { reason: Purge::Delivered, .. })), "{told:?}");
    let found = sealed(&world.root, id).expect("its track, not the raw journal");
    let count = played(&world.root.join("identity"), &found);
    assert!(count >= least, "{count} of {least}");
}

/// The folder can be made, and nothing in it: it does not stay behind.
async fn no_inodes(world: &World, tap: &bus::tap::TapSender, id: RecordingId) {
    let ballast = world.root.join("names");
    fs::create_dir(&ballast).unwrap();
    let mut made = 0;
    while fs::write(ballast.join(made.to_string()), b"").is_ok() {
        made += 1;
        assert!(made < 500);
    }
    fs::remove_file(ballast.join("0")).unwrap();
    assert!(tap.send(track(id)).is_ok());
    until("it is ended", || world.ledger.stopped(id) == [Stop::DiskFull]).await;
    assert!(!world.has_folder(id));
    assert!(files(&world.root.join("data/spool")).is_empty());
    fs::remove_dir_all(ballast).unwrap();
}

/// Fills the disk but for some kilobytes.
fn fill(ballast: &Path) -> usize {
    let mut bytes = 0;
    let mut all = Vec::new();
    for block in [1 << 20, 64 << 10, 4 << 10] {
        loop {
            all.resize(bytes + block, 1);
            if fs::write(ballast, &all).is_err() {
                break;
            }
            bytes += block;
        }
    }
    all.truncate(bytes.saturating_sub(64 << 10));
    fs::write(ballast, &all).unwrap();
    all.len()
}
