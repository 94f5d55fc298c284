//! A recorder that is killed (SIGKILL) at random moments and in every state: each recording ends
//! delivered and playable, with at most 2 s lost, one receipt, and nothing left or readable on the disk.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod child;
mod ledger;
#[path = "../service/ledger.rs"]
#[allow(dead_code, reason = "of another test program")]
mod memory;
#[path = "../capture/recording.rs"]
mod recording;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use ledger::{STATES, Saved, is_pushed_live, saved};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use recorder::{
    evidence::{Finding, KeySet, SignedReceipt, Signers, Verdict, verify},
    service::ledger::Purge,
};
use recording::{PATTERN, files, holds, identity, partner, played, sealed};

/// How often it is killed.
const KILLS: &str = "CONCLAVE_TEST_KILLS";
/// Without that variable.
const KILLS_USUAL: u32 = 20;
/// Packets of two seconds: what may be lost of a recording.
const LOST_MAX: u64 = 100;
/// Longest life of a recorder.
const LIFE: Duration = Duration::from_millis(3500);
/// Until it has keys, a spool and its first journals.
const START_MS: u64 = 150;
/// Until everything is purged after the last kill.
const END: Duration = Duration::from_secs(60);

struct World {
    root: PathBuf,
    /// Packets that the tap took, by recording.
    sent: HashMap<String, u64>,
    /// How often a recorder died with a recording in a state.
    states: BTreeMap<String, u32>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn killed_at_any_moment_every_recording_is_delivered_once_and_nothing_stays() {
    let kills = std::env::var(KILLS).map_or(KILLS_USUAL, |count| count.parse().unwrap());
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let root = std::env::temp_dir().join(format!("conclave-kill-{}", std::process::id()));
    let mut world = World { root, sent: HashMap::new(), states: BTreeMap::new() };
    fs::create_dir_all(partner(&world.root)).unwrap();
    fs::create_dir_all(world.root.join("rows")).unwrap();
    identity(&world.root.join("identity"));
    for round in 0..kills {
        world.live_and_die(round, &mut random);
    }
    world.finish();
    world.check();
    println!(
        "{kills} kills, {} recordings, killed with one in {:?}",
        world.sent.len(),
        world.states
    );
}

impl World {
    fn spawn(&self, seed: u64, is_last: bool) -> (Child, mpsc::Receiver<String>) {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::child_that_is_killed", "--ignored", "--nocapture"])
            .env(child::CHILD, format!("{}\n{seed}\n{is_last}", self.root.display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        (process, receiver)
    }

    /// Half of the recorders die when a recording comes into a state, the others at any moment.
    fn live_and_die(&mut self, round: u32, random: &mut StdRng) {
        let waits = [None, Some(1), None, Some(2), Some(3), None, Some(5), Some(6), None, Some(7)];
        let state = waits[round as usize % waits.len()].map(|at: usize| STATES[at].1);
        let after = match state {
            Some(_) => LIFE,
            // One that surely has more to lose than may be lost.
            None if round % 10 == 2 => LIFE,
            None if round.is_multiple_of(10) => {
                Duration::from_millis(random.random_range(5..START_MS))
            }
            None => Duration::from_millis(random.random_range(5..LIFE.as_millis() as u64)),
        };
        let (mut process, lines) = self.spawn(random.random(), false);
        let until = Instant::now() + after;
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.heard(&line);
            if state.is_some_and(|state| line.starts_with("state ") && line.ends_with(state)) {
                std::thread::sleep(Duration::from_millis(random.random_range(0..25)));
                break;
            }
        }
        process.kill().unwrap();
        process.wait().unwrap();
        lines.iter().for_each(|line| self.heard(&line));
        for row in saved(&self.root.join("rows")).into_iter().filter(|row| row.state != "purged") {
            *self.states.entry(row.state).or_default() += 1;
        }
        assert!(!holds(&self.root, PATTERN), "plaintext on the disk after round {round}");
    }

    fn heard(&mut self, line: &str) {
        let [word, id, count] = line.split(' ').collect::<Vec<_>>()[..] else { return };
        if let ("sent", Ok(count)) = (word, count.parse()) {
            self.sent.insert(id.to_owned(), count);
        }
    }

    /// A last one that is left alone.
    fn finish(&mut self) {
        let (mut process, lines) = self.spawn(0, true);
        let until = Instant::now() + END;
        while process.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("not all is purged: {:?}", self.open());
            }
            let _ = lines.recv_timeout(Duration::from_millis(100));
        }
        assert!(process.wait().unwrap().success());
    }

    fn open(&self) -> Vec<(String, String)> {
        let rows = saved(&self.root.join("rows")).into_iter();
        rows.map(|row| (row.id().to_string(), row.state)).filter(|(_, s)| s != "purged").collect()
    }

    fn check(&self) {
        let keys = Signers::open(&self.root.join("data/evidence"), 1).unwrap().published();
        let rows = saved(&self.root.join("rows"));
        assert!(rows.len() >= self.sent.len());
        let lost = rows.iter().map(|row| self.check_row(row, &keys)).max().unwrap();
        println!("at most {} ms lost", lost * 20);
        let long = self.sent.values().filter(|sent| **sent > LOST_MAX).count();
        assert!(long > 0, "none was long enough to lose too much");
        assert_eq!(files(&self.root.join("data/spool")), Vec::<PathBuf>::new());
        assert_eq!(fs::read_dir(self.root.join("data/spool")).unwrap().count(), 0, "empty folders");
        let strays: Vec<PathBuf> =
            files(&partner(&self.root)).into_iter().filter(|file| is_stray(file)).collect();
        assert_eq!(strays, Vec::<PathBuf>::new());
        assert!(!holds(&self.root, PATTERN));
    }

    /// Gives how many packets were lost.
    fn check_row(&self, row: &Saved, keys: &KeySet) -> u64 {
        let id = row.id();
        let sent = self.sent.get(&id.to_string()).copied().unwrap_or_default();
        let [receipt] = &row.receipts[..] else {
            panic!("{id} ({}) has {} receipts", row.state, row.receipts.len());
        };
        let signed = serde_json::json!({
            "receipt": receipt.receipt, "signature": receipt.signature, "key": receipt.key,
        });
        let signed = SignedReceipt::parse(signed.to_string().as_bytes()).unwrap();
        assert_eq!(signed.verify(keys).unwrap().recording, id);
        let found = sealed(&self.root, id);
        let count = match receipt.reason {
            Purge::Delivered => {
                let folder = found.as_ref().and_then(|file| file.parent()).unwrap();
                let report = verify(folder, keys, None);
                assert!(report.is_good(), "{id}: {report:?}");
                // What a kill left half sealed or sent twice would be no part of it.
                let is_stranger = |finding: &Finding| finding.subject.contains(".age");
                let noted =
                    report.findings.iter().filter(|one| matches!(one.verdict, Verdict::Note(_)));
                assert_eq!(noted.filter(|one| is_stranger(one)).count(), 0, "{id}: {report:?}");
                let key = folder.join("data-key.age").exists();
                assert_eq!(key, is_pushed_live(id), "{id}: the journal comes with its key");
                played(&self.root.join("identity"), &found.unwrap_or_else(|| panic!("{id}"))) as u64
            }
            Purge::Empty => 0,
            other => panic!("{id} was purged as {other:?}"),
        };
        assert!(count + LOST_MAX >= sent, "{id}: {sent} sent, {count} delivered");
        // The last may have been sent and not told.
        assert!(count <= sent + 1, "{id}: {sent} sent, {count} delivered");
        sent.saturating_sub(count)
    }
}

/// What a push that was broken off leaves.
fn is_stray(file: &Path) -> bool {
    file.extension().is_some_and(|end| end == "part" || end == "new")
}
