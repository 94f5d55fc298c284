//! `conclave recording verify` and `receipt`, on what a recorder exported.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../recorder/tests/common/recorded.rs"]
mod recorded;

use std::{fs, path::Path, process::Command};

use recorded::Recorded;
use recorder::{
    Digest,
    evidence::{
        Delivery, KeyFate, PurgeReason, Receipt, SignedReceipt, VERIFY_SCRIPT, VERIFY_SCRIPT_FILE,
        Verified,
    },
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
