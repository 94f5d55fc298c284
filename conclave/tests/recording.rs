//! `conclave recording verify` and `receipt`, on what a recorder exported.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../recorder/tests/common/recorded.rs"]
mod recorded;

use std::{fs, path::Path, process::Command, sync::Arc, time::SystemTime};

use recorded::Recorded;
use recorder::{
    Digest,
    evidence::{
        Delivery, KeyFate, PurgeReason, Receipt, SignedReceipt, SigningKey, VERIFY_SCRIPT,
        VERIFY_SCRIPT_FILE, Verified,
    },
    journal::{Folder, Moment, Writer},
    key::{DataKey, WrappedKeys},
    seal::{Recipients, seal},
};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, TrackId},
    sdp::Codec,
    tap::{Body, Packet, Record, write_data},
    unit::{RtpTimestamp, SeqNo},
};

/// Exit code and all that was printed.
fn conclave(arguments: &[&Path]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
    let done = command.arg("recording").args(arguments).output().unwrap();
    let told = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (done.status.code().unwrap(), told)
}

fn verify(recorded: &Recorded, more: &[&Path]) -> (i32, String) {
    let (folder, keys) = (recorded.out(), recorded.folder.join("data/keys.json"));
    let verify: [&Path; 4] = ["verify".as_ref(), &folder, "--key".as_ref(), &keys];
    conclave(&[&verify[..], more].concat())
}

#[test]
fn a_whole_recording_verifies_and_a_changed_one_does_not() {
    let recorded = Recorded::new();
    let [capture, export, identity] = recorded.trusted();
    let (code, told) = verify(&recorded, &[]);
    assert!(code == 0 && told.contains("the recording is whole; give --identity"), "{told}");
    let (code, told) = verify(&recorded, &["--identity".as_ref(), &identity]);
    assert!(code == 0 && told.ends_with("the recording is whole\n"), "{told}");
    assert!(told.contains("ok: tr_b.webm.age: opens to 11 bytes as sealed"), "{told}");
    let key = Path::new("--key");
    let pem = conclave(&["verify".as_ref(), &recorded.out(), key, &capture, key, &export]);
    assert_eq!(pem.0, 0, "{}", pem.1);
    let only = conclave(&["verify".as_ref(), &recorded.out(), key, &export]);
    assert!(only.0 == 1 && only.1.contains("WRONG: capture.json: the signature"), "{}", only.1);

    let path = recorded.out().join("tr_a.webm.age");
    let mut bytes = fs::read(&path).unwrap();
    bytes[99_999] ^= 8;
    fs::write(&path, bytes).unwrap();
    let (code, told) = verify(&recorded, &["--identity".as_ref(), &identity]);
    assert!(code == 1 && told.contains("WRONG: tr_a.webm.age: was changed\n"), "{told}");
    assert!(told.ends_with("the recording is not as it was exported\n"), "{told}");
}

#[test]
fn what_cannot_be_used_is_told_without_secrets() {
    let recorded = Recorded::new();
    let [_, _, identity] = recorded.trusted();
    let key = |path: &Path| conclave(&["verify".as_ref(), &recorded.out(), "--key".as_ref(), path]);
    let (code, told) = key(&identity);
    assert!(code == 1 && told.contains("neither a JSON Web Key Set"), "{told}");
    let wrong = recorded.folder.join("wrong.txt");
    let secret = recorded.partner.text.lines().last().unwrap();
    fs::write(&wrong, &secret[..secret.len() - 1]).unwrap();
    let (code, told) = verify(&recorded, &["--identity".as_ref(), &wrong]);
    assert!(code == 1 && told.contains("line 1 is no X25519 identity"), "{told}");
    assert!(!told.contains(&secret[20..40]));
    let (code, told) = key(Path::new("/nonexistent"));
    assert!(code == 1 && told.contains("/nonexistent"), "{told}");
    let keys = recorded.folder.join("data/keys.json");
    let (code, told) = conclave(&["verify".as_ref(), &keys, "--key".as_ref(), &keys]);
    assert!(code == 1 && told.contains("is no folder"), "{told}");
}

#[test]
fn a_receipt_verifies_and_is_of_its_recording_only() {
    let (recorded, other) = (Recorded::new(), Recorded::new());
    let manifest = fs::read(recorded.out().join("manifest.json")).unwrap();
    let receipt = Receipt {
        recording: recorded.draft.recording,
        project: recorded.draft.project.clone(),
        room: recorded.draft.room,
        reason: PurgeReason::Delivered,
        purged_at_ms: recorded.draft.created_at_ms,
        signed_at_ms: recorded.draft.created_at_ms + 30_000,
        keys: KeyFate::NeverKept,
        manifest_sha256: Some(Digest::of(&manifest)),
        artifacts: recorded.draft.artifacts.iter().map(Into::into).collect(),
        delivered: vec![Delivery {
            target: "st_\u{1b}[2J".to_owned(),
            verified: Verified::ProviderChecksum,
            verified_at_ms: recorded.draft.created_at_ms,
            only: Vec::new(),
        }],
        software: recorded.draft.software.clone(),
    };
    let signed = SignedReceipt::sign(receipt, recorded.signers.export()).unwrap();
    let file = recorded.folder.join("receipt.json");
    fs::write(&file, serde_json::to_vec(&signed).unwrap()).unwrap();
    let keys = recorded.folder.join("data/keys.json");
    let check: [&Path; 4] = ["receipt".as_ref(), &file, "--key".as_ref(), &keys];
    let of =
        |recorded: &Recorded| conclave(&[&check[..], &["--of".as_ref(), &recorded.out()]].concat());
    let (code, told) = of(&recorded);
    assert!(code == 0 && told.contains("verified by the provider's checksum"), "{told}");
    assert!(!told.contains('\u{1b}'));
    let (code, told) = of(&other);
    assert!(code == 1 && told.contains("the receipt is of another recording"), "{told}");
    let changed = SignedReceipt { receipt: signed.receipt.replace("provider", "x"), ..signed };
    fs::write(&file, serde_json::to_vec(&changed).unwrap()).unwrap();
    let (code, told) = conclave(&check);
    assert!(code == 1 && told.contains("WRONG: the receipt: the signature"), "{told}");
}

#[test]
fn the_script_of_this_program_goes_with_each_recording() {
    let recorded = Recorded::new();
    assert_eq!(fs::read_to_string(recorded.out().join(VERIFY_SCRIPT_FILE)).unwrap(), VERIFY_SCRIPT);
}

/// Two seconds of Opus (20 ms of silence each, RFC 6716 section 3.1).
fn two_seconds() -> Vec<u8> {
    let mut bytes = Vec::new();
    let begin = Body::Track {
        index: 0,
        track: TrackId::from_bits(3),
        participant: ParticipantId::from_bits(5),
        source: Source::Microphone,
        codec: Codec::Opus,
    };
    let started_us = recorded::STARTED_MS * 1000;
    Record { time_us: started_us, body: begin }.write(&mut bytes);
    for n in 0..100 {
        let packet = Packet {
            index: 0,
            seq: SeqNo(1000 + n),
            timestamp: RtpTimestamp((n * 960) as u32),
            marker: false,
            level: None,
            descriptor: &[],
            payload: &[0xf8, 0xff, 0xfe],
        };
        Record { time_us: started_us + n * 20_000, body: Body::Packet(packet) }.write(&mut bytes);
    }
    let from = ParticipantId::from_bits(5);
    write_data(&mut bytes, started_us + 500_000, (0, from), &[], "said in the chat").unwrap();
    bytes
}

/// Puts a journal into the folder of a delivered recording, as the recorder hands it over.
fn hand_over(recorded: &Recorded) {
    let to = Recipients::parse(&[&recorded.partner.public]).unwrap();
    let sealed = |name: &str, plain: &[u8]| {
        let file = fs::File::create(recorded.out().join(name)).unwrap();
        seal(plain, file, &to).unwrap();
    };
    let recording = recorded.draft.recording;
    let folder = Folder::create(&recorded.folder, recording).unwrap();
    let key = Arc::new(DataKey::generate());
    let wraps = WrappedKeys::wrap(recording, &key, to.as_slice(), None, SystemTime::now());
    sealed("data-key.age", wraps.unwrap().partner.unwrap().as_bytes());
    let capture = Arc::new(SigningKey::generate().unwrap());
    let mut writer = Writer::create(&folder, key, capture, Moment::now()).unwrap();
    writer.append(&two_seconds()).unwrap();
    writer.close(Moment::now()).unwrap();
    for (_, path) in folder.files().unwrap() {
        let name = path.file_name().unwrap().to_str().unwrap();
        sealed(&format!("{name}.age"), &fs::read(&path).unwrap());
    }
}

#[test]
fn a_journal_that_was_handed_over_becomes_files() {
    let recorded = Recorded::new();
    let [_, _, identity] = recorded.trusted();
    let (folder, made) = (recorded.out(), recorded.folder.join("made"));
    let extract = |to: &Path, identity: &Path| {
        let [given, out] = ["--identity", "--out"].map(Path::new);
        conclave(&["extract".as_ref(), &folder, given, identity, out, to])
    };
    let (code, told) = extract(&made, &identity);
    assert!(code == 1 && told.contains("data-key.age"), "nothing was handed over: {told}");
    hand_over(&recorded);
    let other = recorded.folder.join("other.txt");
    fs::write(&other, &recorded.second.text).unwrap();
    assert_eq!(extract(&made, &other).0, 1, "another's identity");
    let (code, told) = extract(&made, &identity);
    assert!(code == 0 && told.contains(": 2.0 s, "), "{told}");
    let mut names: Vec<_> = fs::read_dir(&made).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    let texts = fs::read_to_string(made.join("data.json")).unwrap();
    assert!(texts.contains(r#"{"at_ms":500,"#) && texts.contains("said in the chat"), "{texts}");
    let track = made.join(&names[0]);
    let probe = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"];
    let probed = Command::new("ffprobe").args(probe).arg(track).output().expect("run .ci/setup");
    assert_eq!(String::from_utf8_lossy(&probed.stdout).trim(), "opus");
    assert!(names[1] == "data.json" && names[2] == "events.json");
    assert_eq!(extract(&made, &identity).0, 1, "it is there already");

    // As far as it arrived while it went on, when nothing came after it.
    let (partly, manifest) = (recorded.folder.join("partly"), folder.join("manifest.json"));
    let (kept, foreign) = (fs::read(&manifest).unwrap(), folder.join("00000002.journal.age"));
    fs::remove_file(&manifest).unwrap();
    let (code, told) = extract(&partly, &identity);
    assert!(code == 0 && told.contains("no manifest") && told.contains(": 2.0 s, "), "{told}");
    fs::write(&manifest, "{}").unwrap();
    let (code, told) = extract(&recorded.folder.join("none"), &identity);
    assert!(code == 1 && told.contains("no manifest"), "one that cannot be read: {told}");
    fs::write(&manifest, kept).unwrap();
    fs::copy(folder.join("00000001.journal.age"), &foreign).unwrap();
    let (code, told) = extract(&recorded.folder.join("twice"), &identity);
    assert!(code == 1 && told.contains("journal file 2"), "in another's place: {told}");
    fs::remove_file(foreign).unwrap();

    let journal = folder.join("00000001.journal.age");
    let mut bytes = fs::read(&journal).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let (code, told) = extract(&recorded.folder.join("changed"), &identity);
    assert!(code == 1 && told.contains("was changed"), "{told}");
}
