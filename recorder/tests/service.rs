//! The whole recorder on a real disk, with a real folder as the partner's storage: from tap records to
//! a purged recording with a receipt. Only the row is kept in memory.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "service/ledger.rs"]
mod ledger;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bus::tap::{TapSender, tap};
use egress::{Dialer, Guard, Rules};
use ledger::{Memory, Row};
use prometheus::Registry;
use recorder::{
    evidence::SignedReceipt,
    service::{
        Metrics, Parts, Recorder,
        ledger::{Block, News, Purge, State},
    },
    storage::{Cap, Storages, Target},
};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId, TrackId},
    sdp::Codec,
    tap::{Batch, Body, Packet, Record},
    unit::{RtpTimestamp, SeqNo},
};

/// A frame of Opus: 20 ms of silence (RFC 6716 section 3.1).
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// Stands in every packet, to be searched for on the disk.
const PATTERN: &[u8] = b"planted media pattern";

struct World {
    root: PathBuf,
    ledger: Arc<Memory>,
    identity: PathBuf,
    recipient: String,
}

impl World {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("conclave-service-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("partner")).unwrap();
        let identity = root.join("identity");
        let made = Command::new("age-keygen").arg("-o").arg(&identity).output();
        assert!(made.expect("age-keygen: apt-get install age").status.success());
        let text = fs::read_to_string(&identity).unwrap();
        let line = text.lines().find(|line| line.starts_with("# public key: ")).unwrap();
        let recipient = line.trim_start_matches("# public key: ").to_owned();
        Self { root, ledger: Arc::new(Memory::new()), identity, recipient }
    }

    fn partner(&self) -> PathBuf {
        self.root.join("partner")
    }

    fn spool(&self) -> PathBuf {
        self.root.join("data/spool")
    }

    fn target(&self) -> Target {
        let folder = self.partner();
        Target::parse(&format!(r#"{{"type":"local","folder":"{}"}}"#, folder.display())).unwrap()
    }

    fn row(&self, id: RecordingId) -> Row {
        self.ledger.set_target("st_local", self.target());
        Row::new(id, &self.recipient, "st_local")
    }

    fn start(&self) -> (Recorder, TapSender) {
        let (sender, receiver) = tap(8 << 20);
        let dialer = Dialer::new(Arc::new(Guard::new(&Rules::default()).unwrap()), None).unwrap();
        let recorder = Recorder::start(Parts {
            folder: self.root.join("data"),
            tap: receiver,
            ledger: self.ledger.clone(),
            storages: Storages::new(dialer, Cap::new(None), vec![self.partner()]),
            metrics: Arc::new(Metrics::new(&Registry::new()).unwrap()),
            live_max: 100,
        })
        .unwrap();
        (recorder, sender)
    }

    /// Files under a folder, by their paths below it.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(dir) = open.pop() {
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() { open.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }

    fn holds(folder: &Path, pattern: &[u8]) -> bool {
        Self::files(folder).iter().any(|file| {
            let bytes = fs::read(file).unwrap_or_default();
            bytes.windows(pattern.len()).any(|window| window == pattern)
        })
    }

    fn open(&self, sealed: &Path) -> Vec<u8> {
        let opened =
            Command::new("age").arg("-d").arg("-i").arg(&self.identity).arg(sealed).output();
        let opened = opened.unwrap();
        assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
        opened.stdout
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn records(id: RecordingId, seconds: u64) -> Vec<Batch> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let started_us = now.as_micros() as u64;
    let mut batches = vec![Vec::new()];
    let begin = Body::Track {
        index: 0,
        track: TrackId::from_bits(id.bits() + 1),
        participant: ParticipantId::from_bits(5),
        source: Source::Microphone,
        codec: Codec::Opus,
    };
    Record { time_us: started_us, body: begin }.write(&mut batches[0]);
    let mut payload = SILENCE.to_vec();
    payload.extend_from_slice(PATTERN);
    for n in 0..seconds * 50 {
        let packet = Packet {
            index: 0,
            seq: SeqNo(1000 + n),
            timestamp: RtpTimestamp((n * 960) as u32),
            marker: false,
            level: None,
            descriptor: &[],
            payload: &payload,
        };
        let record = Record { time_us: started_us + n * 20_000, body: Body::Packet(packet) };
        record.write(batches.last_mut().unwrap());
        if n % 50 == 49 {
            batches.push(Vec::new());
        }
    }
    batches.into_iter().map(|bytes| Batch { recording: id, bytes }).collect()
}

async fn until(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_arrives_sealed_and_is_purged_with_a_receipt() {
    let world = World::new("whole");
    let id = RecordingId::from_bits(71);
    world.ledger.insert(world.row(id));
    let (recorder, tap) = world.start();
    for batch in records(id, 10) {
        assert!(tap.send(batch).is_ok());
    }
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    assert!(!World::holds(&world.root.join("data"), PATTERN), "plaintext on the disk");
    world.ledger.stop_now(id);
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    assert!(World::files(&world.spool()).is_empty(), "{:?}", World::files(&world.spool()));

    let files = World::files(&world.partner());
    let named = |end: &str| files.iter().find(|file| file.to_string_lossy().ends_with(end));
    let events = world.open(named("events.json.age").unwrap());
    let events: serde_json::Value = serde_json::from_slice(&events).unwrap();
    assert_eq!(events["participants"][0]["handle"], "user-1");
    let track = world.open(named(".ogg.age").unwrap());
    assert!(track.starts_with(b"OggS") && track.windows(PATTERN.len()).any(|w| w == PATTERN));
    assert!(named("manifest.json.sig").is_some() && named("SHA256SUMS").is_some());
    assert!(!World::holds(&world.partner(), PATTERN), "plaintext at the partner's");

    let told = world.ledger.told(id);
    let [
        News::Finalized { seconds: 10, .. },
        News::Delivered,
        News::Purged { reason, receipt, signature, key, .. },
    ] = &told[..]
    else {
        panic!("told otherwise: {told:?}");
    };
    assert_eq!(*reason, Purge::Delivered);
    let signed = serde_json::json!({ "receipt": receipt, "signature": signature, "key": key });
    let signed = SignedReceipt::parse(signed.to_string().as_bytes()).unwrap();
    assert_eq!(signed.verify(&recorder.keys()).unwrap().recording, id);
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_crash_is_delivered_by_the_next_process() {
    let world = World::new("crash");
    let id = RecordingId::from_bits(72);
    world.ledger.insert(world.row(id));
    let (first, tap) = world.start();
    for batch in records(id, 5) {
        assert!(tap.send(batch).is_ok());
    }
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await; // At least one flush.
    drop((first, tap));
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    assert!(matches!(
        world.ledger.told(id).last(),
        Some(News::Purged { reason: Purge::Delivered, .. })
    ));
    assert!(
        World::files(&world.partner()).iter().any(|f| f.to_string_lossy().ends_with(".ogg.age"))
    );
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_push_says_so_and_goes_on_when_it_may() {
    let world = World::new("blocked");
    let id = RecordingId::from_bits(73);
    let mut row = world.row(id);
    row.0.target = Some("st_missing".to_owned());
    world.ledger.insert(row);
    let (recorder, tap) = world.start();
    records(id, 2).into_iter().for_each(|batch| drop(tap.send(batch)));
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    world.ledger.stop_now(id);
    until("it is blocked", || world.ledger.state(id) == State::PushBlocked).await;
    let is_told = |news: &News| matches!(news, News::Blocked { block: Block::NoTarget, .. });
    assert!(world.ledger.told(id).iter().any(is_told));
    assert!(!World::files(&world.spool()).is_empty(), "nothing is lost");
    world.ledger.set_target("st_missing", world.target());
    world.ledger.change(id, |row| row.push_wanted = true);
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn age_wins_over_a_storage_that_stays_away_and_a_hold_over_age() {
    let world = World::new("age");
    let ids = [74, 75].map(RecordingId::from_bits);
    for (id, held) in [(ids[0], false), (ids[1], true)] {
        let mut row = world.row(id);
        (row.0.target, row.0.held) = (None, held);
        world.ledger.insert(row);
    }
    let (recorder, tap) = world.start();
    for id in ids {
        records(id, 2).into_iter().for_each(|batch| drop(tap.send(batch)));
    }
    until("journals are written", || World::files(&world.spool()).len() > 3).await;
    for id in ids {
        world.ledger.stop_now(id);
        until("it is blocked", || world.ledger.state(id) == State::PushBlocked).await;
        world.ledger.change(id, |row| row.expires_at_ms = Some(1));
    }
    until("one is purged", || world.ledger.state(ids[0]) == State::Purged).await;
    let last = world.ledger.told(ids[0]).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Expired, .. })));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.ledger.state(ids[1]), State::PushBlocked, "held");
    world.ledger.change(ids[1], |row| (row.held, row.is_deleted) = (false, true));
    until("the other is purged", || world.ledger.state(ids[1]) == State::Purged).await;
    assert!(World::files(&world.spool()).is_empty());
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_recording_comes_as_its_journal_when_the_process_that_wrote_it_is_gone() {
    let world = World::new("sealed");
    let id = RecordingId::from_bits(76);
    let mut row = world.row(id);
    row.0.sealed = true;
    world.ledger.insert(row);
    let (first, tap) = world.start();
    records(id, 2).into_iter().for_each(|batch| drop(tap.send(batch)));
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    drop((first, tap));
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    let files = World::files(&world.partner());
    assert!(files.iter().any(|file| file.to_string_lossy().ends_with(".journal.age")));
    assert!(files.iter().any(|file| file.to_string_lossy().ends_with("data-key.age")));
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_recorded_is_purged_and_a_folder_without_a_row_is_left_alone() {
    let world = World::new("empty");
    let (id, stranger) = (RecordingId::from_bits(77), RecordingId::from_bits(78));
    world.ledger.insert(world.row(id));
    fs::create_dir_all(world.spool().join(stranger.to_string())).unwrap();
    let (recorder, tap) = world.start();
    world.ledger.stop_now(id);
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    let last = world.ledger.told(id).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Empty, .. })));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.spool().join(stranger.to_string()).exists(), "nobody decided about it");
    // A batch for a recording that nobody knows opens nothing.
    records(RecordingId::from_bits(79), 1).into_iter().for_each(|batch| drop(tap.send(batch)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(World::files(&world.spool()).is_empty());
    recorder.shut_down().await;
}
