//! A writer that is killed at any moment (SIGKILL) loses nothing that it was told is safe.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

#[path = "journal/place.rs"]
mod place;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use place::{Place, batch};
use recorder::{
    evidence::SigningKey,
    journal::{Ending, Folder, Moment, Replay, Writer},
    key::DataKey,
    limits::JOURNAL_FLUSH,
};

const ROUNDS: u32 = 40;
/// Batches in each chunk.
const PER_CHUNK: u64 = 3;
/// Folder, key file and first number of the process that is killed.
const CHILD: &str = "CONCLAVE_TEST_JOURNAL_CHILD";

#[test]
fn killed_at_random_moments_it_loses_no_acknowledged_batch() {
    let place = Place::new("kill");
    let key_file = place.dir.join("data.key");
    fs::write(&key_file, place.secret).unwrap();
    let mut safe = 0;
    let mut written = 0;
    for round in 0..ROUNDS {
        let child = format!("{}\n{}\n{safe}", place.folder.path().display(), key_file.display());
        let (acknowledged, appended) = run_and_kill(&child, round);
        let numbers = numbers(&place);
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "in order, each once");
        let read = numbers.len() as u64;
        assert!(
            read >= acknowledged.max(safe),
            "{acknowledged} were acknowledged, {read} are read"
        );
        assert!(appended.saturating_sub(read) <= PER_CHUNK, "more than a chunk is lost");
        written += u64::from(read > safe);
        safe = read;
    }
    println!("{ROUNDS} kills, {safe} batches, {written} rounds with new ones");
    assert!(written > u64::from(ROUNDS) / 4, "killed too early to show anything");
}

/// Starts the child and kills it after a while that differs each round. Returns the numbers of batches
/// that it had acknowledged, and appended, when it died.
fn run_and_kill(child: &str, round: u32) -> (u64, u64) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_is_killed", "--ignored", "--nocapture"])
        .env(CHILD, child)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let (mut acknowledged, mut appended) = (0, 0);
        for line in lines.map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("safe", n)) => acknowledged = n.parse().unwrap_or(acknowledged),
                Some(("appended", n)) => appended = n.parse().unwrap_or(appended),
                _ => {}
            }
        }
        (acknowledged, appended)
    });
    // 10 to 200 ms in an order that jumps: before, in and after the first chunks.
    std::thread::sleep(Duration::from_millis(10 + u64::from(round * 67 % 190)));
    process.kill().unwrap();
    process.wait().unwrap();
    reader.join().unwrap()
}

fn numbers(place: &Place) -> Vec<u64> {
    let mut replay = Replay::of(&place.folder, &place.key).unwrap();
    let bytes: Vec<u8> = replay.by_ref().flat_map(|chunk| chunk.bytes.to_vec()).collect();
    for report in replay.reports() {
        // A file may be cut in its header; never is it damaged.
        if let Ok(found) = &report.found {
            assert!(matches!(found.ending, Ending::Truncated { .. }), "{:?}", found.ending);
        }
    }
    let number = |one: &[u8]| u64::from_le_bytes(one[..8].try_into().unwrap());
    bytes.chunks(batch(0).len()).map(number).collect()
}

#[test]
#[ignore = "the process that the other test kills"]
fn child_that_is_killed() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let [folder, key, first] = child.lines().collect::<Vec<_>>().try_into().unwrap();
    let folder = Folder::open(Path::new(folder)).unwrap();
    let key = Arc::new(DataKey::from_file(Path::new(key)).unwrap());
    let capture = Arc::new(SigningKey::generate().unwrap());
    let mut now = Moment::now();
    let mut writer = Writer::create(&folder, key, capture, now).unwrap();
    let mut out = std::io::stdout().lock();
    // Ends by itself when nobody kills it.
    for n in first.parse::<u64>().unwrap().. {
        writer.append(&batch(n)).unwrap();
        writeln!(out, "appended {}", n + 1).unwrap();
        if n % PER_CHUNK == 0 {
            now.at += JOURNAL_FLUSH;
            writer.tick(now).unwrap();
            writeln!(out, "safe {}", n + 1).unwrap();
        }
    }
}
