//! A recorder with a partner's storage and keys, and what is sent to it.

use std::{
    fs,
    num::NonZeroU64,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bus::tap::{TapSender, tap};
use egress::{Dialer, Guard, Rules};
use prometheus::Registry;
use recorder::{
    composite::Tools,
    evidence::{PurgeReason, Receipt, SignedReceipt},
    journal::Rotation,
    limits::CLOCK_DOUBT,
    service::{
        Metrics, Parts, Recorder,
        ledger::{News, State},
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

use crate::ledger::{Memory, Row};

/// A frame of Opus: 20 ms of silence (RFC 6716 section 3.1).
pub(crate) const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];
/// Stands in every packet, to be searched for on the disk.
pub(crate) const PATTERN: &[u8] = b"planted media pattern";

pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) ledger: Arc<Memory>,
    pub(crate) identity: PathBuf,
    pub(crate) recipient: String,
    /// Bytes per second of all pushes.
    pub(crate) rate: Option<NonZeroU64>,
    /// What composites are made with.
    pub(crate) composites: Option<Tools>,
    /// Of journals that are pushed while they are written.
    pub(crate) rotation: Rotation,
    /// How long a clock that jumped is doubted.
    pub(crate) clock_doubt: Duration,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
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
        Self {
            root,
            ledger: Arc::new(Memory::new()),
            identity,
            recipient,
            rate: None,
            composites: None,
            rotation: Rotation::LIVE,
            clock_doubt: CLOCK_DOUBT,
        }
    }

    pub(crate) fn partner(&self) -> PathBuf {
        self.root.join("partner")
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.root.join("data/spool")
    }

    pub(crate) fn target(&self) -> Target {
        let folder = self.partner();
        Target::parse(&format!(r#"{{"kind":"local","folder":"{}"}}"#, folder.display())).unwrap()
    }

    pub(crate) fn row(&self, id: RecordingId) -> Row {
        self.ledger.set_target("st_local", self.target());
        Row::new(id, &self.recipient, "st_local")
    }

    pub(crate) fn start(&self) -> (Recorder, TapSender) {
        self.start_measured(&Registry::new())
    }

    pub(crate) fn start_measured(&self, registry: &Registry) -> (Recorder, TapSender) {
        let (sender, receiver) = tap(32 << 20);
        let rules = Rules { allow_hosts: vec!["127.0.0.1".to_owned()], ..Rules::default() };
        let dialer = Dialer::new(Arc::new(Guard::new(&rules).unwrap()), None).unwrap();
        let parts = Parts {
            folder: self.root.join("data"),
            tap: receiver,
            ledger: self.ledger.clone(),
            storages: Storages::new(dialer, Cap::new(self.rate), vec![self.partner()]),
            metrics: Arc::new(Metrics::new(registry).unwrap()),
            live_max: 100,
            composites: self.composites,
            clock_doubt: self.clock_doubt,
        };
        let recorder = Recorder::start_rotating(parts, self.rotation).unwrap();
        (recorder, sender)
    }

    pub(crate) fn folder(&self, id: RecordingId) -> PathBuf {
        self.spool().join(id.to_string())
    }

    /// Two seconds of a recording that is live, its journal on disk.
    pub(crate) async fn record(&self, tap: &TapSender, row: Row, batches: Vec<Batch>) {
        let id = row.0.id;
        self.ledger.insert(row);
        let waits = Instant::now() + Duration::from_secs(30);
        for batch in batches {
            // The ring is full for moments: all of it comes faster than any room would bring it.
            while tap.send(batch.clone()).is_err() {
                assert!(Instant::now() < waits, "the recorder takes nothing");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let journal = self.folder(id).join("00000001.journal");
        until("the journal is written", || {
            fs::metadata(&journal).is_ok_and(|file| file.len() > 1000)
        })
        .await;
        self.ledger.change(id, |row| row.has_journal = true);
    }

    pub(crate) async fn until_state(&self, id: RecordingId, state: State) {
        let what = format!("{id} is {state:?}");
        until(&what, || self.ledger.state(id) == state).await;
    }

    /// The last word about a recording, verified.
    pub(crate) fn receipt(&self, recorder: &Recorder, id: RecordingId) -> Receipt {
        let told = self.ledger.told(id);
        let purged = told.iter().filter(|news| matches!(news, News::Purged { .. }));
        assert_eq!(purged.count(), 1, "one receipt");
        let Some(News::Purged { receipt, signature, key, .. }) = told.last() else {
            panic!("not purged: {told:?}")
        };
        let signed = serde_json::json!({ "receipt": receipt, "signature": signature, "key": key });
        let signed = SignedReceipt::parse(signed.to_string().as_bytes()).unwrap();
        signed.verify(&recorder.keys()).unwrap()
    }

    /// It arrived, with a file of this ending, and is purged.
    pub(crate) async fn until_delivered(&self, recorder: &Recorder, id: RecordingId, end: &str) {
        self.until_state(id, State::Purged).await;
        let receipt = self.receipt(recorder, id);
        assert_eq!(receipt.reason, PurgeReason::Delivered);
        let name = |file: &PathBuf| file.to_string_lossy().into_owned();
        let files: Vec<String> = Self::files(&self.partner()).iter().map(name).collect();
        let of_it = |file: &&String| file.contains(&id.to_string()) && file.ends_with(end);
        assert!(files.iter().any(|file| of_it(&file)), "{end} in {files:?}");
        assert!(!self.folder(id).exists());
    }

    /// Files under a folder, by their paths below it.
    pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
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

    pub(crate) fn holds(folder: &Path, pattern: &[u8]) -> bool {
        Self::files(folder).iter().any(|file| {
            let bytes = fs::read(file).unwrap_or_default();
            bytes.windows(pattern.len()).any(|window| window == pattern)
        })
    }

    pub(crate) fn open(&self, sealed: &Path) -> Vec<u8> {
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

pub(crate) fn records(id: RecordingId, seconds: u64) -> Vec<Batch> {
    let sound = Sound { index: 0, seconds, padding: 0 };
    sound.records(id)
}

/// A track of Opus whose packets are as long as wanted.
pub(crate) struct Sound {
    pub(crate) index: u16,
    pub(crate) seconds: u64,
    pub(crate) padding: usize,
}

impl Sound {
    pub(crate) fn records(&self, id: RecordingId) -> Vec<Batch> {
        let mut payload = [&SILENCE, PATTERN].concat();
        payload.resize(payload.len() + self.padding, 0x5a);
        let (source, codec) = (Source::Microphone, Codec::Opus);
        track(id, self.index, source, codec, self.seconds * 50, &|n| Packet {
            index: self.index,
            seq: SeqNo(1000 + n),
            timestamp: RtpTimestamp((n * 960) as u32),
            marker: false,
            level: None,
            descriptor: &[],
            payload: &payload,
        })
    }
}

/// A track, a packet every 20 ms.
pub(crate) fn track<'a>(
    id: RecordingId,
    index: u16,
    source: Source,
    codec: Codec,
    packets: u64,
    packet: &dyn Fn(u64) -> Packet<'a>,
) -> Vec<Batch> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let started_us = now.as_micros() as u64;
    let mut batches = vec![Vec::new()];
    let begin = Body::Track {
        index,
        track: TrackId::from_bits(id.bits() + 1 + u128::from(index)),
        participant: ParticipantId::from_bits(5),
        source,
        codec,
    };
    Record { time_us: started_us, body: begin }.write(&mut batches[0]);
    for n in 0..packets {
        let record = Record { time_us: started_us + n * 20_000, body: Body::Packet(packet(n)) };
        record.write(batches.last_mut().unwrap());
        if n % 50 == 49 {
            batches.push(Vec::new());
        }
    }
    batches.into_iter().map(|bytes| Batch { recording: id, bytes }).collect()
}

pub(crate) async fn until(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
