//! Deletion receipts: each kind verifies, by us and by `openssl`, and nothing else does.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/recorded.rs"]
mod recorded;

use std::{fs, process::Command};

use recorded::{Recorded, tool};
use recorder::{
    Digest,
    evidence::{
        Delivery, KeyFate, KeySet, Manifest, PurgeReason, Receipt, ReceiptError, Role,
        SignedReceipt, SigningKey, Verified,
    },
};

fn receipt(recorded: &Recorded) -> Receipt {
    let manifest = fs::read(recorded.out().join("manifest.json")).unwrap();
    Receipt {
        recording: recorded.draft.recording,
        project: recorded.draft.project.clone(),
        room: recorded.draft.room,
        reason: PurgeReason::Delivered,
        purged_at_ms: recorded.draft.created_at_ms + 20_000,
        signed_at_ms: recorded.draft.created_at_ms + 30_000,
        keys: KeyFate::Destroyed { epochs: vec!["2026-11-22T02".to_owned()] },
        manifest_sha256: Some(Digest::of(&manifest)),
        artifacts: recorded.draft.artifacts.iter().map(Into::into).collect(),
        delivered: vec![Delivery {
            target: "st_1".to_owned(),
            verified: Verified::ReadBack,
            verified_at_ms: recorded.draft.created_at_ms + 10_000,
            only: Vec::new(),
        }],
        software: recorded.draft.software.clone(),
    }
}

#[test]
fn every_way_to_go_has_a_receipt_that_verifies() {
    let recorded = Recorded::new();
    let epochs = || vec!["2026-11-22T02".to_owned(), "2026-11-22T03".to_owned()];
    let fates = [
        KeyFate::Destroyed { epochs: epochs() },
        KeyFate::Pending { epochs: epochs() },
        KeyFate::NeverKept,
    ];
    let reasons = [
        PurgeReason::Delivered,
        PurgeReason::MaxAge,
        PurgeReason::Erasure,
        PurgeReason::Deleted,
        PurgeReason::Empty,
    ];
    let checks = [Verified::Size, Verified::ProviderChecksum, Verified::ReadBack];
    for reason in reasons {
        for keys in &fates {
            for verified in checks {
                let mut said = receipt(&recorded);
                (said.reason, said.keys) = (reason, keys.clone());
                said.delivered[0].verified = verified;
                if reason != PurgeReason::Delivered {
                    said.delivered.clear();
                    said.manifest_sha256 = None;
                }
                let signed = SignedReceipt::sign(said.clone(), recorded.signers.export()).unwrap();
                let json = serde_json::to_vec(&signed).unwrap();
                let read = SignedReceipt::parse(&json).unwrap();
                assert_eq!(read.verify(&recorded.keys()), Ok(said));
            }
        }
    }
}

#[test]
fn openssl_verifies_it_as_documented() {
    let recorded = Recorded::new();
    let signed = SignedReceipt::sign(receipt(&recorded), recorded.signers.export()).unwrap();
    fs::write(recorded.folder.join("r.json"), serde_json::to_vec(&signed).unwrap()).unwrap();
    recorded.trusted();
    let python = "import json,base64;r=json.load(open('r.json'));\
        open('r.txt','wb').write(r['receipt'].encode());\
        open('r.sig','wb').write(base64.b64decode(r['signature']))";
    let at = |program: &str, arguments: &[&str]| {
        tool(Command::new(program).current_dir(&recorded.folder).args(arguments)).status.success()
    };
    assert!(at("python3", &["-c", python]));
    let check = "pkeyutl -verify -rawin -pubin -inkey export.pem -in r.txt -sigfile r.sig";
    let check: Vec<&str> = check.split(' ').collect();
    assert!(at("openssl", &check));
    fs::write(recorded.folder.join("r.txt"), signed.receipt.replace("delivered", "erasure"))
        .unwrap();
    assert!(!at("openssl", &check));
}

#[test]
fn a_changed_or_foreign_receipt_is_refused() {
    let recorded = Recorded::new();
    let keys = recorded.keys();
    let good = SignedReceipt::sign(receipt(&recorded), recorded.signers.export()).unwrap();
    let json = serde_json::to_vec(&good).unwrap();
    for at in 0..json.len() {
        let mut bad = json.clone();
        bad[at] ^= 1 << (at % 8);
        // A changed name of an unknown member or of white space would still say the same.
        let found = SignedReceipt::parse(&bad).and_then(|signed| signed.verify(&keys));
        assert!(found.is_err(), "byte {at}");
    }
    for cut in 0..json.len() {
        assert_eq!(SignedReceipt::parse(&json[..cut]), Err(ReceiptError::Malformed));
    }
    let by_capture = SignedReceipt::sign(receipt(&recorded), recorded.signers.capture()).unwrap();
    assert_eq!(by_capture.verify(&keys), Err(ReceiptError::Signature));
    let unknown = SigningKey::generate().unwrap();
    let by_unknown = SignedReceipt::sign(receipt(&recorded), &unknown).unwrap();
    assert_eq!(by_unknown.verify(&keys), Err(ReceiptError::Signature));
    let other_name = SignedReceipt { key: unknown.id().clone(), ..good.clone() };
    assert!(matches!(other_name.verify(&keys), Err(ReceiptError::OtherKey(_))));
    let mut retired = keys.to_jwks();
    let export = retired.keys.iter_mut().find(|key| key.role == Some(Role::Export)).unwrap();
    export.until_ms = Some(recorded.draft.created_at_ms);
    let retired = KeySet::try_from(&retired).unwrap();
    assert!(matches!(good.verify(&retired), Err(ReceiptError::Retired(_))));
    let huge = vec![b' '; 17 * 1024 * 1024];
    assert_eq!(SignedReceipt::parse(&huge), Err(ReceiptError::Malformed));
}

#[test]
fn another_signed_text_is_no_receipt() {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let recorded = Recorded::new();
    let read = |name: &str| fs::read(recorded.out().join(name)).unwrap();
    let forged = SignedReceipt {
        receipt: String::from_utf8(read("manifest.json")).unwrap(),
        key: recorded.signers.export().id().clone(),
        signature: BASE64_STANDARD.encode(read("manifest.json.sig")),
    };
    assert_eq!(forged.verify(&recorded.keys()), Err(ReceiptError::Content));
}

#[test]
fn a_receipt_is_of_one_manifest_only() {
    let recorded = Recorded::new();
    let bytes = fs::read(recorded.out().join("manifest.json")).unwrap();
    let manifest = Manifest::parse(&bytes).unwrap();
    let good = receipt(&recorded);
    assert!(good.is_of(&manifest, &bytes));
    let mut sorted = good.clone();
    sorted.artifacts.reverse();
    assert!(sorted.is_of(&manifest, &bytes), "order means nothing");
    let mut fewer = good.clone();
    fewer.artifacts.pop();
    assert!(!fewer.is_of(&manifest, &bytes));
    let mut changed = good.clone();
    changed.artifacts[0].sha256 = Digest::of(b"x");
    assert!(!changed.is_of(&manifest, &bytes));
    assert!(!good.is_of(&manifest, &[&bytes[..], b"\n"].concat()));
}
