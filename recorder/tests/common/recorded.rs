//! A recording with its evidence in a folder, as a partner gets it, and stock tools to check it.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    str::FromStr as _,
    sync::atomic::{AtomicU32, Ordering},
};

use recorder::{
    Digest,
    evidence::{
        Artifact, Capture, Draft, Ended, ExportError, JournalHead, KeySet, PublishedKey, Role,
        SignedCapture, Signers, Software, export,
    },
    finalize::{CodecName, Container, FileInfo, Gap, GapKind, Handle, SenderFit, TrackResult},
    seal::{Recipients, Sealed, seal},
};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId, RoomId, TrackId},
};

pub(crate) const STARTED_MS: u64 = 1_760_000_000_000;

/// A new pair of the `age` tool, by Debian's `age-keygen`.
pub(crate) struct Identity {
    pub(crate) text: String,
    pub(crate) public: String,
}

impl Identity {
    pub(crate) fn generate() -> Self {
        let made = tool(&mut Command::new("age-keygen"));
        let text = String::from_utf8(made.stdout).unwrap();
        let public = text.split_once("public key: ").unwrap().1.lines().next().unwrap().to_owned();
        Self { text, public }
    }
}

/// Runs a program that `.ci/setup` installs.
pub(crate) fn tool(command: &mut Command) -> Output {
    let name = command.get_program().to_owned();
    command.output().unwrap_or_else(|error| {
        panic!("{} cannot be run ({error}): run .ci/setup", name.display());
    })
}

/// The folder of a recording, the keys that it was signed with and those that open it.
pub(crate) struct Recorded {
    /// `<folder>/data`: keys; `<folder>/out`: the recording.
    pub(crate) folder: PathBuf,
    pub(crate) signers: Signers,
    pub(crate) partner: Identity,
    /// Opens `masked.webm.age`, which the partner's identity does not.
    pub(crate) second: Identity,
    pub(crate) plain: Vec<(&'static str, Vec<u8>)>,
    pub(crate) draft: Draft,
    pub(crate) capture: Capture,
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Recorded {
    /// Some small artifacts, sealed, signed and written.
    pub(crate) fn new() -> Self {
        let recorded = Self::unsigned();
        recorded.write(&recorded.export().unwrap());
        recorded
    }

    pub(crate) fn unsigned() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (id, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(format!("conclave-recorded-{id}-{count}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("out/hls")).unwrap();
        let signers = Signers::open(&folder.join("data"), STARTED_MS - 1).unwrap();
        let (partner, second) = (Identity::generate(), Identity::generate());
        let plain = plaintexts();
        let software = Software::running().unwrap();
        let journals = vec![
            JournalHead { file: 0, chunks: 40, head: Digest::of(b"first file") },
            JournalHead { file: 1, chunks: 2, head: Digest::of(b"second file") },
        ];
        let capture = Capture {
            recording: RecordingId::from_bits(7),
            started_at_ms: STARTED_MS,
            ended_at_ms: STARTED_MS + 60_000,
            ended: Ended::Closed,
            signed_at_ms: STARTED_MS + 61_000,
            journals: journals.clone(),
            software: software.clone(),
        };
        let mut recorded = Self {
            draft: Draft {
                recording: capture.recording,
                project: "pj_test".to_owned(),
                room: RoomId::from_bits(9),
                created_at_ms: STARTED_MS + 90_000,
                software,
                journals,
                artifacts: Vec::new(),
                missing: Vec::new(),
            },
            folder,
            signers,
            partner,
            second,
            plain,
            capture,
        };
        recorded.seal_all();
        recorded
    }

    fn seal_all(&mut self) {
        for (name, plain) in &self.plain {
            let to = if name.starts_with("masked") { &self.second } else { &self.partner };
            let to = Recipients::parse(&[&to.public]).unwrap();
            let file = fs::File::create(self.out().join(name)).unwrap();
            let sealed = seal(&plain[..], file, &to).unwrap();
            let handle = Some(Handle("u-17".to_owned()));
            let result = result(name, &sealed);
            let artifact = Artifact::of_track(&result, handle, &sealed, to.fingerprints());
            self.draft.artifacts.push(artifact.unwrap());
        }
    }

    /// Our artifacts with the journals of another.
    pub(crate) fn draft_with(&self, other: &Self) -> Draft {
        Draft { journals: other.draft.journals.clone(), ..self.draft.clone() }
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    pub(crate) fn signed_capture(&self) -> SignedCapture {
        SignedCapture::sign(self.capture.clone(), self.signers.capture()).unwrap()
    }

    pub(crate) fn export(&self) -> Result<Vec<(&'static str, Vec<u8>)>, ExportError> {
        let keys = self.signers.published();
        let capture = self.signed_capture();
        let bundle = export(self.draft.clone(), &capture, &keys, self.signers.export())?;
        Ok(bundle.files.into_iter().map(|file| (file.name, file.bytes)).collect())
    }

    pub(crate) fn write(&self, files: &[(&'static str, Vec<u8>)]) {
        for (name, bytes) in files {
            fs::write(self.out().join(name), bytes).unwrap();
        }
    }

    /// The published keys, through their JSON.
    pub(crate) fn keys(&self) -> KeySet {
        KeySet::parse(&fs::read_to_string(self.folder.join("data/keys.json")).unwrap()).unwrap()
    }

    pub(crate) fn key(&self, role: Role) -> PublishedKey {
        self.keys().keys().iter().find(|key| key.role == Some(role)).unwrap().clone()
    }

    /// Writes the two public keys in PEM and the identity, and returns their paths.
    pub(crate) fn trusted(&self) -> [PathBuf; 3] {
        let texts = [
            ("capture.pem", self.key(Role::Capture).to_pem()),
            ("export.pem", self.key(Role::Export).to_pem()),
            ("identity.txt", self.partner.text.clone()),
        ];
        texts.map(|(name, text)| {
            let path = self.folder.join(name);
            fs::write(&path, text).unwrap();
            path
        })
    }

    /// All files of the recording, relative.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.out()).unwrap().map(|entry| entry.unwrap().file_name());
        let files = names.map(PathBuf::from).filter(|name| name != Path::new("hls"));
        let mut files: Vec<PathBuf> = files.collect();
        files.push(PathBuf::from_str("hls/0001.m4s.age").unwrap());
        files.sort();
        files
    }
}

fn result(name: &str, sealed: &Sealed) -> TrackResult {
    TrackResult {
        file: FileInfo {
            name: name.strip_suffix(".age").unwrap().to_owned(),
            track: TrackId::from_bits(1),
            participant: ParticipantId::from_bits(2),
            source: Source::Camera,
            part: 0,
            codec: CodecName::Vp8,
            container: Container::Webm,
        },
        offset_ms: 12,
        duration_ms: 5000,
        bytes: sealed.plain_bytes,
        frames: 150,
        frames_left_out: 0,
        key_frames: 1,
        resolutions: Vec::new(),
        gaps: vec![Gap { from_ms: 5, to_ms: 9, kind: GapKind::Muted }],
        gaps_left_out: 0,
        sr_fit: Some(SenderFit { ppm: Some(-3.25), reports: 7 }),
    }
}

fn plaintexts() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("tr_a.webm.age", (0..150_000u32).map(|i| (i * 7 + i / 251) as u8).collect()),
        ("tr_b.webm.age", b"a short one".to_vec()),
        ("empty.webm.age", Vec::new()),
        ("masked.webm.age", b"only for the second key".to_vec()),
        ("hls/0001.m4s.age", vec![5; 70_000]),
    ]
}
