//! A recording and its evidence, verified by us and by stock tools, whole and changed.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/recorded.rs"]
mod recorded;

use std::{fs, io::Write as _, path::Path, process::Command};

use recorded::{Recorded, STARTED_MS, tool};
use recorder::{
    Digest,
    evidence::{
        ArtifactName, ExportError, KeySet, Manifest, Report, Role, SignedCapture, Signers,
        SigningKey, Verdict, export, verify,
    },
    seal::Identities,
};
use sfu_proto::id::RecordingId;

fn identities(recorded: &Recorded) -> Identities {
    Identities::parse(&recorded.partner.text).unwrap()
}

/// What is wrong, as `name: text`.
fn wrong(report: &Report) -> Vec<String> {
    let wrong = report.findings.iter().filter_map(|finding| match &finding.verdict {
        Verdict::Wrong(text) => Some(format!("{}: {text}", finding.subject)),
        _ => None,
    });
    wrong.collect()
}

fn check(recorded: &Recorded) -> Vec<String> {
    wrong(&verify(&recorded.out(), &recorded.keys(), None))
}

fn with_script(recorded: &Recorded, identity: bool) -> Result<String, String> {
    let [capture, export, secret] = recorded.trusted();
    let mut sh = Command::new("sh");
    sh.current_dir(recorded.out()).arg("verify.sh").args([capture, export]);
    let done = tool(if identity { sh.arg(secret) } else { &mut sh });
    let told = [done.stdout, done.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    if done.status.success() { Ok(told) } else { Err(told) }
}

#[test]
fn a_whole_recording_verifies_and_each_file_is_named() {
    let recorded = Recorded::new();
    let report = verify(&recorded.out(), &recorded.keys(), Some(&identities(&recorded)));
    assert!(report.is_good(), "{:?}", wrong(&report));
    let told: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    assert!(told.contains("ok: tr_a.webm.age: opens to 150000 bytes as sealed"), "{told}");
    assert!(told.contains("ok: empty.webm.age: opens to 0 bytes as sealed"), "{told}");
    assert!(told.contains("note: masked.webm.age: is sealed to another key"), "{told}");
    for file in recorded.files() {
        let named = told.contains(&format!("ok: {}: ", file.display()));
        assert!(named || file == Path::new("manifest.json.sig"), "{} in\n{told}", file.display());
    }
    let pem = recorded.keys().keys().iter().map(|key| key.to_pem()).collect::<String>();
    assert!(verify(&recorded.out(), &KeySet::parse(&pem).unwrap(), None).is_good());
}

#[test]
fn stock_tools_verify_it_as_documented() {
    let recorded = Recorded::new();
    let [capture, export, secret] = recorded.trusted();
    let at = |program: &str, arguments: &[&str]| {
        let done = tool(Command::new(program).current_dir(recorded.out()).args(arguments));
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    for (name, key) in [("capture.json", capture), ("manifest.json", export)] {
        let (key, signature) = (key.display().to_string(), format!("{name}.sig"));
        let of = ["-in", name, "-sigfile", &signature];
        let by = ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", &key];
        at("openssl", &[&by[..], &of[..]].concat());
    }
    at("sha256sum", &["--strict", "-c", "SHA256SUMS"]);
    for (name, plain) in recorded.plain.iter().filter(|(name, _)| !name.starts_with("masked")) {
        let opened = at("age", &["-d", "-i", &secret.display().to_string(), name]);
        assert!(opened == *plain, "{name}");
    }
    let told = with_script(&recorded, true).unwrap();
    assert!(told.contains("ok: tr_a.webm.age opens to what was sealed"), "{told}");
    assert!(told.contains("passed over: masked.webm.age"), "{told}");
    assert!(told.ends_with("the recording is whole\n"), "{told}");
}

/// Changes one file in turn by `change`, which says how often it can; gives back what was not found.
fn unnoticed(recorded: &Recorded, file: &Path, changes: impl Iterator<Item = Vec<u8>>) -> usize {
    let (path, keys) = (recorded.out().join(file), recorded.keys());
    let good = fs::read(&path).unwrap();
    let mut unnoticed = 0;
    for bad in changes {
        fs::write(&path, bad).unwrap();
        unnoticed += usize::from(verify(&recorded.out(), &keys, None).is_good());
    }
    fs::write(&path, good).unwrap();
    unnoticed
}

#[test]
fn a_changed_bit_is_noticed_anywhere() {
    let recorded = Recorded::new();
    // Large artifacts make each check slow; a flip at a few hundred places of them does.
    for file in recorded.files() {
        let good = fs::read(recorded.out().join(&file)).unwrap();
        let step = (good.len() / 400).max(1);
        let flips = (0..good.len()).step_by(step).map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            bad
        });
        assert_eq!(unnoticed(&recorded, &file, flips), 0, "{}", file.display());
    }
    assert!(check(&recorded).is_empty());
}

#[test]
fn a_cut_or_longer_or_missing_file_is_noticed() {
    let recorded = Recorded::new();
    for file in recorded.files() {
        let good = fs::read(recorded.out().join(&file)).unwrap();
        let cuts = [good[..good.len() - 1].to_vec(), Vec::new(), [&good[..], b"\n"].concat()];
        assert_eq!(unnoticed(&recorded, &file, cuts.into_iter()), 0, "{}", file.display());
        fs::remove_file(recorded.out().join(&file)).unwrap();
        let told = check(&recorded);
        let missing = format!("{}: is missing", file.display());
        assert!(told.iter().any(|line| line.starts_with(&missing)), "{told:?}");
        fs::write(recorded.out().join(&file), good).unwrap();
    }
    assert!(check(&recorded).is_empty());
}

#[test]
fn the_script_notices_changes_too() {
    let recorded = Recorded::new();
    for file in recorded.files().iter().filter(|file| *file != Path::new("verify.sh")) {
        let path = recorded.out().join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 4;
        fs::write(&path, bad).unwrap();
        assert!(with_script(&recorded, false).is_err(), "{}", file.display());
        fs::write(&path, good).unwrap();
    }
    with_script(&recorded, false).unwrap();
}

#[test]
fn files_that_change_places_are_noticed_though_the_list_says_so() {
    let recorded = Recorded::new();
    let [a, b] = ["tr_a.webm.age", "tr_b.webm.age"].map(|name| recorded.out().join(name));
    let (first, second) = (fs::read(&a).unwrap(), fs::read(&b).unwrap());
    fs::write(&a, &second).unwrap();
    fs::write(&b, &first).unwrap();
    let sums = recorded.out().join("SHA256SUMS");
    let text = fs::read_to_string(&sums).unwrap();
    let [one, two] = [&first, &second].map(|bytes| Digest::of(bytes).to_string());
    let swapped = text.replace(&one, "x").replace(&two, &one).replace('x', &two);
    fs::write(&sums, swapped).unwrap();
    let listed =
        tool(Command::new("sha256sum").current_dir(recorded.out()).args(["-c", "SHA256SUMS"]));
    assert!(listed.status.success(), "alone, the list does not notice");
    assert!(
        with_script(&recorded, false).unwrap_err().contains("SHA256SUMS is not the manifest's")
    );
    let told = check(&recorded);
    assert!(told.iter().any(|line| line.starts_with("tr_a.webm.age: has ")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("SHA256SUMS: was changed")), "{told:?}");
}

#[test]
fn a_recording_signed_by_others_or_in_another_role_is_refused() {
    let recorded = Recorded::new();
    let other = Recorded::new();
    let told = wrong(&verify(&recorded.out(), &other.keys(), None));
    assert!(told[0].contains("not valid by any export key given"), "{told:?}");
    // The capture key is no export key, and the other way round.
    let only = |role| KeySet::parse(&recorded.key(role).to_pem()).unwrap();
    let swapped = |role| {
        let mut keys = only(role).to_jwks();
        let to = if role == Role::Export { Role::Capture } else { Role::Export };
        keys.keys[0].role = Some(to);
        KeySet::try_from(&keys).unwrap()
    };
    let told = wrong(&verify(&recorded.out(), &swapped(Role::Export), None));
    assert!(told[0].contains("not valid by any export key given"), "{told:?}");
    let keys = only(Role::Export).and(swapped(Role::Capture));
    let told = wrong(&verify(&recorded.out(), &keys, None));
    assert_eq!(told, ["capture.json: the signature is not valid by any capture key given"]);
}

#[test]
fn a_key_out_of_use_is_noticed() {
    let recorded = Recorded::new();
    let keys = |role, from, until| {
        let mut keys = recorded.keys().to_jwks();
        let key = keys.keys.iter_mut().find(|key| key.role == Some(role)).unwrap();
        (key.from_ms, key.until_ms) = (from, until);
        KeySet::try_from(&keys).unwrap()
    };
    let created = recorded.draft.created_at_ms;
    let signed = recorded.capture.signed_at_ms;
    for (role, from, until, good) in [
        (Role::Export, 0, Some(created), true),
        (Role::Export, 0, Some(created - 1), false),
        (Role::Export, created + 1, None, false),
        (Role::Capture, 0, Some(signed), true),
        (Role::Capture, 0, Some(signed - 1), false),
        (Role::Capture, signed + 1, None, false),
    ] {
        let report = verify(&recorded.out(), &keys(role, from, until), None);
        assert_eq!(report.is_good(), good, "{role:?} {from} {until:?}");
    }
}

#[test]
fn the_capture_of_another_recording_is_noticed() {
    let (recorded, mut other) = (Recorded::new(), Recorded::unsigned());
    other.capture.recording = RecordingId::from_bits(8);
    let capture = SignedCapture::sign(other.capture.clone(), recorded.signers.capture()).unwrap();
    recorded.write(&[("capture.json", capture.statement), ("capture.json.sig", capture.signature)]);
    let told = check(&recorded);
    let wanted = "capture.json: is not the capture that the manifest is about";
    assert!(told.iter().any(|line| line == wanted), "{told:?}");
}

#[test]
fn nothing_is_exported_when_the_capture_is_in_doubt() {
    let mut recorded = Recorded::unsigned();
    let keys = recorded.keys();
    let good = recorded.signed_capture();
    let try_export = |recorded: &Recorded, capture: &SignedCapture, key: &SigningKey| {
        export(recorded.draft.clone(), capture, &keys, key).err()
    };
    let export_key = |recorded: &Recorded, capture: &SignedCapture| {
        try_export(recorded, capture, recorded.signers.export())
    };
    assert!(export_key(&recorded, &good).is_none());

    let mut changed = good.clone();
    changed.statement[40] ^= 1;
    assert!(matches!(export_key(&recorded, &changed), Some(ExportError::Capture(_))));
    let mut changed = good.clone();
    changed.signature[40] ^= 1;
    assert!(matches!(export_key(&recorded, &changed), Some(ExportError::Capture(_))));
    let by_export = SignedCapture::sign(recorded.capture.clone(), recorded.signers.export());
    assert!(matches!(export_key(&recorded, &by_export.unwrap()), Some(ExportError::Capture(_))));
    let unknown = SigningKey::generate().unwrap();
    let by_unknown = SignedCapture::sign(recorded.capture.clone(), &unknown).unwrap();
    assert!(matches!(export_key(&recorded, &by_unknown), Some(ExportError::Capture(_))));
    assert!(matches!(try_export(&recorded, &good, &unknown), Some(ExportError::Unpublished)));

    recorded.draft.journals[1].head = Digest::of(b"rewritten");
    assert!(matches!(export_key(&recorded, &good), Some(ExportError::OtherJournals)));
    recorded.draft.journals.pop();
    assert!(matches!(export_key(&recorded, &good), Some(ExportError::OtherJournals)));
    recorded.draft.journals.clone_from(&recorded.capture.journals);
    recorded.draft.recording = RecordingId::from_bits(8);
    assert!(matches!(export_key(&recorded, &good), Some(ExportError::OtherRecording)));
    recorded.draft.recording = recorded.capture.recording;
    let again = recorded.draft.artifacts[0].clone();
    recorded.draft.artifacts.push(again);
    assert!(matches!(export_key(&recorded, &good), Some(ExportError::SameName(_))));
}

/// Whoever has the export key alone, and not the capture key, cannot make up a recording.
#[test]
fn a_manifest_with_other_journals_is_refused_though_it_is_signed() {
    let recorded = Recorded::new();
    let other_capture = {
        let mut capture = recorded.capture.clone();
        capture.journals[0].head = Digest::of(b"made up");
        capture
    };
    let mut forged = Recorded::unsigned();
    forged.draft.journals.clone_from(&other_capture.journals);
    // The forger's set of keys has a capture key of its own; the verifier's has not.
    let folder = forged.folder.join("forger");
    let forger = Signers::open(&folder, STARTED_MS - 1).unwrap();
    let capture = SignedCapture::sign(other_capture, forger.capture()).unwrap();
    let keys = recorded.keys().and(forger.published());
    let bundle = export(recorded.draft_with(&forged), &capture, &keys, recorded.signers.export());
    for file in bundle.unwrap().files {
        fs::write(recorded.out().join(file.name), file.bytes).unwrap();
    }
    let told = check(&recorded);
    assert_eq!(told, ["capture.json: the signature is not valid by any capture key given"]);
}

#[test]
fn what_is_inside_is_held_against_the_manifest() {
    // A manifest that is signed, but says something else of a plaintext than was sealed.
    let mut recorded = Recorded::unsigned();
    recorded.draft.artifacts[1].plain_sha256 = Digest::of(b"another");
    recorded.draft.artifacts[2].merkle_root = Digest::of(b"another");
    recorded.write(&recorded.export().unwrap());
    let report = verify(&recorded.out(), &recorded.keys(), Some(&identities(&recorded)));
    let text = "opens to something else than the manifest says";
    assert_eq!(
        wrong(&report),
        [format!("tr_b.webm.age: {text}"), format!("empty.webm.age: {text}")]
    );
    assert!(with_script(&recorded, true).unwrap_err().contains("tr_b.webm.age opens to something"));
    assert!(check(&recorded).is_empty(), "without an identity it cannot be known");
}

#[test]
fn what_does_not_open_for_its_recipient_is_noticed() {
    // The manifest says that the partner can open what is in truth sealed to the second key.
    let mut recorded = Recorded::unsigned();
    recorded.draft.artifacts[3].recipients = recorded.draft.artifacts[0].recipients.clone();
    recorded.write(&recorded.export().unwrap());
    let report = verify(&recorded.out(), &recorded.keys(), Some(&identities(&recorded)));
    let text = "the content does not open: it is not sealed to this identity";
    assert_eq!(wrong(&report), [format!("masked.webm.age: {text}")]);
}

#[test]
fn the_manifest_reads_back_and_hostile_ones_are_refused() {
    let recorded = Recorded::new();
    let bytes = fs::read(recorded.out().join("manifest.json")).unwrap();
    let manifest = Manifest::parse(&bytes).unwrap();
    assert!(manifest.artifacts == recorded.draft.artifacts);
    let text = String::from_utf8(bytes).unwrap();
    for (from, to) in [
        ("\"version\": 1", "\"version\": 2"),
        ("recording.manifest", "recording.capture"),
        ("tr_a.webm.age", "../tr_a.webm.age"),
        ("tr_a.webm.age", "/etc/passwd.age"),
        ("\"bytes\": 1", "\"bytes\": -1"),
    ] {
        let bad = text.replacen(from, to, 1);
        assert!(bad != text && Manifest::parse(bad.as_bytes()).is_none(), "{to}");
    }
}

#[test]
fn files_that_belong_to_nothing_are_named_without_harm() {
    let recorded = Recorded::new();
    fs::write(recorded.out().join("hls/\u{1b}[2Jx"), b"").unwrap();
    for i in 0..40 {
        fs::write(recorded.out().join(format!("extra{i:02}")), b"").unwrap();
    }
    let report = verify(&recorded.out(), &recorded.keys(), None);
    assert!(report.is_good());
    let notes: Vec<String> =
        report.findings.iter().map(ToString::to_string).filter(|l| l.starts_with("note")).collect();
    assert!(notes.len() <= 21, "{}", notes.len());
    assert!(notes.iter().all(|line| !line.contains('\u{1b}')));
    // A folder, a pipe and a link to nothing in the place of files end at once.
    let path = recorded.out().join("tr_b.webm.age");
    for make in ["mkdir", "mkfifo", "ln -s nothing"] {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        let mut words = make.split(' ');
        tool(Command::new(words.next().unwrap()).args(words).arg(&path));
        assert!(!check(&recorded).is_empty(), "{make}");
    }
}

#[test]
fn nothing_secret_is_in_the_clear() {
    let recorded = Recorded::new();
    let mut all = Vec::new();
    for file in recorded.files() {
        all.write_all(&fs::read(recorded.out().join(file)).unwrap()).unwrap();
    }
    for secret in [&b"a short one"[..], b"only for the second key", &recorded.plain[0].1[..32]] {
        assert!(!all.windows(secret.len()).any(|window| window == secret));
    }
    let name: ArtifactName = "tr_a.webm.age".parse().unwrap();
    assert!(all.windows(name.as_str().len()).any(|window| window == name.as_str().as_bytes()));
}
