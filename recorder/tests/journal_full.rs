//! A real disk that becomes full, in a mount namespace of its own; and figures of a real disk.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "journal/place.rs"]
mod place;

use std::{fs, os::unix::fs::MetadataExt as _, process::Command, time::Duration};

use place::{Place, batch};
use recorder::{
    journal::{Ending, Replay, Space, Watermark, WriteError},
    limits::JOURNAL_FLUSH,
};

/// Set in the process that runs on the small disk.
const CHILD: &str = "CONCLAVE_TEST_SMALL_DISK";

/// The mount is seen by the child only and ends with it.
#[test]
fn a_full_disk_loses_nothing_that_was_written_before() {
    let disk = std::env::temp_dir().join(format!("conclave-small-{}", std::process::id()));
    fs::create_dir(&disk).unwrap();
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let alone: &[&str] =
        if root { &["--mount"] } else { &["--user", "--map-root-user", "--mount"] };
    let script = "mount -t tmpfs -o size=2m none \"$1\" && TMPDIR=\"$1\" exec \"$2\" \
                  --exact child_on_a_small_disk --ignored --nocapture";
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
    assert!(told.contains("the disk is full after"), "the child did its work: {told}");
}

#[test]
#[ignore = "runs on the small disk that the other test mounts"]
fn child_on_a_small_disk() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    let place = Place::new("full");
    assert_eq!(Space::of(&place.dir).unwrap().watermark(), Watermark::Plenty);
    let mut writer = place.writer();
    let mut marks = vec![Watermark::Plenty];
    let (mut passed, mut n, mut error) = (Duration::ZERO, 0u64, None);
    // 2 MiB are full after 700 chunks of 3 KB.
    while error.is_none() && n < 10_000 {
        passed += JOURNAL_FLUSH;
        let wrote =
            writer.append(&batch(n).repeat(47)).and_then(|()| writer.tick(place.at(passed)));
        n += 1;
        error = wrote.err();
        let mark = Space::of(&place.dir).unwrap().watermark();
        if marks.last() != Some(&mark) {
            marks.push(mark);
        }
    }
    assert!(matches!(error, Some(WriteError::DiskFull)), "{error:?} after {n}");
    assert_eq!(marks, [Watermark::Plenty, Watermark::Low, Watermark::VeryLow, Watermark::Critical]);
    assert!(matches!(writer.append(&batch(0)), Err(WriteError::Stopped)));
    let acknowledged = writer.stats().chunks;
    println!("the disk is full after {acknowledged} chunks");
    assert!(acknowledged > 500);

    let mut replay = Replay::of(&place.folder, &place.key).unwrap();
    let read: Vec<Vec<u8>> = replay.by_ref().map(|chunk| chunk.bytes.to_vec()).collect();
    assert_eq!(read.len() as u64, acknowledged);
    assert!(read.iter().enumerate().all(|(n, one)| *one == batch(n as u64).repeat(47)));
    let found = replay.reports()[0].found.as_ref().unwrap();
    assert!(matches!(found.ending, Ending::Truncated { .. }), "{:?}", found.ending);
    // Deleting needs no room.
    place.folder.clone().destroy().unwrap();
    assert_eq!(Space::of(&place.dir).unwrap().watermark(), Watermark::Plenty);
}

/// Bytes that this process had written to disks.
fn written_to_disks() -> u64 {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// `cargo test -p recorder --test journal_full -- --ignored --nocapture measure`
#[test]
#[ignore = "figures, for people"]
fn measure_write_amplification_and_sync_times() {
    println!("kbit/s | chunks | plain KB | file/plain | disk/plain | fdatasync mean / max ms");
    for kbit in [32u32, 128, 1500, 4 * 1500] {
        let place = Place::new("measure");
        let mut writer = place.writer();
        let bytes = vec![0x5a; kbit as usize * 1000 / 8 / 4];
        let before = written_to_disks();
        let chunks = 100;
        for n in 1..=chunks {
            writer.append(&bytes).unwrap();
            writer.tick(place.at(JOURNAL_FLUSH * n)).unwrap();
        }
        let stats = writer.close(place.at(JOURNAL_FLUSH * (chunks + 1))).unwrap();
        let disk = written_to_disks() - before;
        let plain = stats.plain_bytes as f64;
        println!(
            "{kbit:6} | {:6} | {:8.0} | {:10.4} | {:10.3} | {:.2} / {:.2}",
            stats.chunks,
            plain / 1000.0,
            stats.file_bytes as f64 / plain,
            disk as f64 / plain,
            stats.sync_total.as_secs_f64() * 1000.0 / stats.syncs as f64,
            stats.sync_max.as_secs_f64() * 1000.0,
        );
    }
}

/// `cargo test -p recorder --test journal_full -- --ignored --nocapture rounds`
#[test]
#[ignore = "figures, for people"]
fn measure_rounds_of_a_hundred_recordings() {
    const ROUNDS: u32 = 12;
    println!("100 recordings at 1.5 Mbit/s: writers | round median / max ms");
    for writers in [1usize, 2, 4, 8, 16, 32] {
        let mut took = vec![Duration::ZERO; ROUNDS as usize];
        let start = std::sync::Barrier::new(writers);
        std::thread::scope(|scope| {
            let threads = (0..writers).map(|n| {
                let start = &start;
                scope.spawn(move || rounds(n, writers, start, ROUNDS))
            });
            for thread in threads.collect::<Vec<_>>() {
                let times = thread.join().unwrap();
                took.iter_mut().zip(times).for_each(|(most, time)| *most = time.max(*most));
            }
        });
        took.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "{writers:3} | {:6.0} / {:.0}",
            ms(took[took.len() / 2]),
            ms(took[took.len() - 1])
        );
    }
}

/// One writer's share of the recordings; how long it took to bring each round of them to disk.
fn rounds(n: usize, of: usize, start: &std::sync::Barrier, count: u32) -> Vec<Duration> {
    let places: Vec<Place> = (n..100).step_by(of).map(|_| Place::new("rounds")).collect();
    let mut writers: Vec<_> = places.iter().map(Place::writer).collect();
    let bytes = vec![0x5a; 47_000];
    let mut times = Vec::new();
    for round in 1..=count {
        start.wait();
        let began = std::time::Instant::now();
        for (place, writer) in places.iter().zip(&mut writers) {
            writer.append(&bytes).unwrap();
            writer.tick(place.at(JOURNAL_FLUSH * round)).unwrap();
        }
        times.push(began.elapsed());
    }
    times
}
