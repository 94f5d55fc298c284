//! A recorder on a real disk with a folder as the partner's storage, and records for it.

#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bus::tap::{TapSender, tap};
use egress::{Dialer, Guard, Rules};
use prometheus::Registry;
use recorder::{
    journal::{Folder, Replay, Rotation},
    key::EpochKeys,
    service::{Metrics, Parts, Recorder, ledger::Ledger},
    storage::{Cap, Storages, Target},
};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId, TrackId},
    sdp::Codec,
    tap::{Batch, Body, Packet, Record, records},
    unit::{RtpTimestamp, SeqNo},
};

/// A frame of Opus: 20 ms of silence (RFC 6716 section 3.1).
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// Stands in every packet, to be searched for on the disk.
pub(crate) const PATTERN: &[u8] = b"planted media pattern";
/// Journal files of recordings that are pushed while they go on.
const SHORT: Rotation = Rotation { after: Duration::from_millis(400), bytes: 1 << 20 };
/// Bytes of the ring.
const RING: usize = 64 << 20;

/// A new `age` identity, and what it is known by.
pub(crate) fn identity(path: &Path) -> String {
    let made = Command::new("age-keygen").arg("-o").arg(path).output();
    assert!(made.expect("age-keygen: apt-get install age").status.success());
    recipient(path)
}

/// What an identity is known by.
pub(crate) fn recipient(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find(|line| line.starts_with("# public key: ")).unwrap();
    line.trim_start_matches("# public key: ").to_owned()
}

pub(crate) fn partner(root: &Path) -> PathBuf {
    root.join("partner")
}

pub(crate) fn target(root: &Path) -> Target {
    let folder = partner(root);
    Target::parse(&format!(r#"{{"kind":"local","folder":"{}"}}"#, folder.display())).unwrap()
}

pub(crate) fn start(
    root: &Path,
    ledger: Arc<dyn Ledger>,
    live_max: usize,
) -> (Recorder, TapSender, Registry) {
    let (sender, receiver) = tap(RING);
    let dialer = Dialer::new(Arc::new(Guard::new(&Rules::default()).unwrap()), None).unwrap();
    let registry = Registry::new();
    let parts = Parts {
        folder: root.join("data"),
        tap: receiver,
        ledger,
        storages: Storages::new(dialer, Cap::new(None), vec![partner(root)]),
        metrics: Arc::new(Metrics::new(&registry).unwrap()),
        live_max,
        composites: None,
        clock_doubt: recorder::limits::CLOCK_DOUBT,
    };
    let recorder = Recorder::start_rotating(parts, SHORT).unwrap();
    (recorder, sender, registry)
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// The first batch of a recording.
pub(crate) fn track(recording: RecordingId) -> Batch {
    let mut bytes = Vec::new();
    let body = Body::Track {
        index: 0,
        track: TrackId::from_bits(recording.bits() ^ 1),
        participant: ParticipantId::from_bits(5),
        source: Source::Microphone,
        codec: Codec::Opus,
    };
    Record { time_us: now_us(), body }.write(&mut bytes);
    Batch { recording, bytes }
}

/// Packets from number `first` on, with so many bytes more than they need.
pub(crate) fn packets(recording: RecordingId, first: u64, count: u64, more: usize) -> Batch {
    let payload = [&SILENCE[..], PATTERN, &vec![7; more]].concat();
    let mut bytes = Vec::new();
    for n in first..first + count {
        let packet = Packet {
            index: 0,
            seq: SeqNo(1000 + n),
            timestamp: RtpTimestamp((n * 960) as u32),
            marker: false,
            level: None,
            descriptor: &[],
            payload: &payload,
        };
        Record { time_us: now_us(), body: Body::Packet(packet) }.write(&mut bytes);
    }
    Batch { recording, bytes }
}

/// What a record of a journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Packet(u64),
    Lost(u32),
    Other,
}

/// What is on the disk of a journal now; none without a folder.
pub(crate) fn journal(root: &Path, recording: RecordingId) -> Option<Vec<Kept>> {
    let data = root.join("data");
    let folder = Folder::open(&data.join("spool").join(recording.to_string())).ok()?;
    let wrap = folder.keys().ok()?.operator.unwrap();
    let key = EpochKeys::existing(&data.join("epochs")).unwrap(recording, &wrap).unwrap();
    let mut kept = Vec::new();
    for batch in Replay::of(&folder, &key).unwrap() {
        kept.extend(records(&batch.bytes).map(|record| match record.unwrap().body {
            Body::Packet(packet) => Kept::Packet(packet.seq.0 - 1000),
            Body::Lost { records } => Kept::Lost(records),
            _ => Kept::Other,
        }));
    }
    Some(kept)
}

/// How many packets are on the disk of a journal now.
pub(crate) fn packets_in(root: &Path, recording: RecordingId) -> usize {
    let kept = journal(root, recording).unwrap_or_default();
    kept.iter().filter(|one| matches!(one, Kept::Packet(_))).count()
}

pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Files under a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Whether the bytes stand in a file under a folder.
pub(crate) fn holds(folder: &Path, pattern: &[u8]) -> bool {
    files(folder).iter().any(|file| {
        let bytes = fs::read(file).unwrap_or_default(); // It may be gone meanwhile.
        bytes.windows(pattern.len()).any(|window| window == pattern)
    })
}

/// The sealed file of a recording's only track.
pub(crate) fn sealed(root: &Path, recording: RecordingId) -> Option<PathBuf> {
    let all = files(&partner(root)).into_iter();
    let name = recording.to_string();
    let mut ours = all.filter(|file| file.components().any(|part| part.as_os_str() == &*name));
    ours.find(|file| file.to_string_lossy().ends_with(".ogg.age"))
}

/// Packets of a sealed file, opened by `age` and decoded by `ffmpeg` without a complaint.
pub(crate) fn played(identity: &Path, sealed: &Path) -> usize {
    let opened = sealed.with_extension("opened-by-the-test");
    let mut age = Command::new("age");
    run(age.arg("-d").arg("-i").arg(identity).arg("-o").arg(&opened).arg(sealed));
    let mut decode = Command::new("ffmpeg");
    decode.args(["-v", "error", "-i"]).arg(&opened).args(["-f", "null", "-"]);
    assert_eq!(run(&mut decode), "");
    let count = ["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets"];
    let count = run(Command::new("ffprobe").args(count).args(["-of", "csv=p=0"]).arg(&opened));
    fs::remove_file(opened).unwrap();
    count.trim().parse().unwrap()
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("age and ffmpeg: run .ci/setup");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    format!("{}{errors}", String::from_utf8_lossy(&output.stdout))
}
