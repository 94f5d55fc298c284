//! Verifies a recording in a folder, as the partner got it.
//!
//! ```text
//! keys ─▶ manifest.json.sig ─▶ manifest.json ─▶ SHA256SUMS ─▶ every file ─(identity)─▶ plaintexts
//! keys ─▶ capture.json.sig ─▶ capture.json ─▶ same journals as in the manifest
//! ```
//! What is not vouched for from the left is not used. Only the keys are trusted, never the folder.

mod folder;
mod opened;
mod unfinished;

use std::{fmt, path::Path};

use self::folder::{Folder, ReadError};
use super::{
    Artifact, CAPTURE_FILE, CAPTURE_SIGNATURE_FILE, Ended, KeySet, MANIFEST_FILE,
    MANIFEST_SIGNATURE_FILE, Manifest, Role, SUMS_FILE, SignedCapture, VERIFY_SCRIPT_FILE, sums,
};
use crate::{digest::Digest, limits::UNLISTED_NAMED_MAX, seal::Identities};

/// Files of evidence that `SHA256SUMS` has besides the artifacts.
const LISTED: [&str; 3] = [CAPTURE_FILE, CAPTURE_SIGNATURE_FILE, VERIFY_SCRIPT_FILE];

/// What was found about something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it should be.
    Good(String),
    /// It is not.
    Wrong(String),
    /// Worth knowing, neither good nor wrong.
    Note(String),
}

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub subject: String,
    /// What was found.
    pub verdict: Verdict,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names in a folder of unknown origin may hold control characters of terminals.
        let subject = self.subject.escape_debug();
        match &self.verdict {
            Verdict::Good(text) => write!(f, "ok: {subject}: {text}"),
            Verdict::Wrong(text) => write!(f, "WRONG: {subject}: {text}"),
            Verdict::Note(text) => write!(f, "note: {subject}: {text}"),
        }
    }
}

/// All that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Nothing was wrong.
    pub fn is_good(&self) -> bool {
        !self.findings.iter().any(|finding| matches!(finding.verdict, Verdict::Wrong(_)))
    }

    fn good(&mut self, subject: &str, text: impl Into<String>) {
        self.add(subject, Verdict::Good(text.into()));
    }

    fn wrong(&mut self, subject: &str, text: impl Into<String>) {
        self.add(subject, Verdict::Wrong(text.into()));
    }

    fn note(&mut self, subject: &str, text: impl Into<String>) {
        self.add(subject, Verdict::Note(text.into()));
    }

    fn add(&mut self, subject: &str, verdict: Verdict) {
        self.findings.push(Finding { subject: subject.to_owned(), verdict });
    }
}

/// Verifies the recording in `folder` with `keys`, and with `identities` also its plaintexts, of
/// which nothing is kept.
pub fn verify(folder: &Path, keys: &KeySet, identities: Option<&Identities>) -> Report {
    let (mut report, folder) = (Report::default(), Folder::new(folder));
    let Some(manifest) = verify_manifest(&folder, keys, &mut report) else {
        unfinished::verify(&folder, keys, &mut report);
        return report;
    };
    verify_capture(&folder, &manifest, keys, &mut report);
    verify_sums(&folder, &manifest, &mut report);
    for artifact in &manifest.artifacts {
        let whole = verify_artifact(&folder, artifact, &mut report);
        if let Some(identities) = identities.filter(|_| whole) {
            opened::verify(&folder, artifact, identities, &mut report);
        }
    }
    note_unlisted(&folder, &manifest, &mut report);
    report
}

fn verify_manifest(folder: &Folder, keys: &KeySet, report: &mut Report) -> Option<Manifest> {
    let bytes = read(folder, MANIFEST_FILE, report)?;
    let signature = match folder.read(MANIFEST_SIGNATURE_FILE) {
        Err(ReadError::Missing) => {
            report.wrong(
                MANIFEST_SIGNATURE_FILE,
                "is missing: it comes last, so the recording is not here completely",
            );
            return None;
        }
        _ => read(folder, MANIFEST_SIGNATURE_FILE, report)?,
    };
    let Some(key) = keys.signer(Role::Export, &bytes, &signature) else {
        report.wrong(
            MANIFEST_FILE,
            "the signature is not valid by any export key given; nothing else can be verified",
        );
        return None;
    };
    let Some(manifest) = Manifest::parse(&bytes) else {
        report.wrong(MANIFEST_FILE, "it is no manifest of a known version");
        return None;
    };
    if manifest.key != key.id {
        report.wrong(MANIFEST_FILE, format!("names another key than its signer, {}", key.id));
    } else if !key.is_in_use(manifest.created_at_ms) {
        report.wrong(MANIFEST_FILE, format!("key {} was not in use when it was signed", key.id));
    } else {
        report.good(MANIFEST_FILE, format!("signed by export key {}", key.id));
    }
    Some(manifest)
}

fn verify_capture(folder: &Folder, manifest: &Manifest, keys: &KeySet, report: &mut Report) {
    let Some(statement) = read(folder, CAPTURE_FILE, report) else { return };
    let Some(signature) = read(folder, CAPTURE_SIGNATURE_FILE, report) else { return };
    match (SignedCapture { statement, signature }).verify(keys) {
        Err(error) => report.wrong(CAPTURE_FILE, error.to_string()),
        Ok((capture, key)) => {
            let same = capture.recording == manifest.recording
                && capture.journals == manifest.journals
                && capture.started_at_ms == manifest.started_at_ms
                && capture.ended_at_ms == manifest.ended_at_ms
                && key.id == manifest.capture_key;
            if !key.is_in_use(capture.signed_at_ms) {
                report.wrong(CAPTURE_FILE, format!("key {} was not in use then", key.id));
            } else if same {
                report.good(CAPTURE_FILE, format!("signed by capture key {}", key.id));
                note_end(capture.ended, report);
            } else {
                report.wrong(CAPTURE_FILE, "is not the capture that the manifest is about");
            }
        }
    }
}

/// How the capture ended, unless as it should.
fn note_end(ended: Ended, report: &mut Report) {
    match ended {
        Ended::Closed => {}
        Ended::Recovered => report.note(
            CAPTURE_FILE,
            "the recorder or its machine stopped; the last moment before that may be missing",
        ),
        Ended::Damaged { file, offset, flaw } => report.note(
            CAPTURE_FILE,
            format!(
                "DAMAGED before it was exported: journal file {file} at byte {offset}: {flaw}; \
                 media behind it may be missing, the journal as it was found is among the files"
            ),
        ),
    }
}

/// `SHA256SUMS` is the manifest's, names its files and no others, and its other files are whole.
fn verify_sums(folder: &Folder, manifest: &Manifest, report: &mut Report) {
    let Some(bytes) = read(folder, SUMS_FILE, report) else { return };
    if Digest::of(&bytes) != manifest.sums_sha256 {
        return report.wrong(SUMS_FILE, "was changed: the manifest has another digest of it");
    }
    let Some(sums) = str::from_utf8(&bytes).ok().and_then(sums::parse) else {
        return report.wrong(SUMS_FILE, "is no list of digests");
    };
    let named = |artifact: &Artifact| sums.get(artifact.name.as_str()) == Some(&artifact.sha256);
    if sums.len() != manifest.artifacts.len() + LISTED.len()
        || !manifest.artifacts.iter().all(named)
    {
        return report.wrong(SUMS_FILE, "lists other files than the manifest");
    }
    report.good(SUMS_FILE, format!("lists the {} files of the recording", sums.len()));
    for name in LISTED {
        let Some(bytes) = read(folder, name, report) else { continue };
        match sums.get(name) {
            Some(digest) if *digest == Digest::of(&bytes) => report.good(name, "whole"),
            _ => report.wrong(name, "was changed"),
        }
    }
}

/// The file is there and is the one of the manifest.
fn verify_artifact(folder: &Folder, artifact: &Artifact, report: &mut Report) -> bool {
    let name = artifact.name.as_str();
    match folder.digest(name) {
        Err(error) => report.wrong(name, error.to_string()),
        Ok((bytes, _)) if bytes != artifact.bytes => {
            report.wrong(name, format!("has {bytes} bytes in place of {}", artifact.bytes));
        }
        Ok((_, digest)) if digest != artifact.sha256 => report.wrong(name, "was changed"),
        Ok((bytes, _)) => {
            report.good(name, format!("whole, {bytes} bytes"));
            return true;
        }
    }
    false
}

fn note_unlisted(folder: &Folder, manifest: &Manifest, report: &mut Report) {
    let evidence = [MANIFEST_FILE, MANIFEST_SIGNATURE_FILE, SUMS_FILE];
    let artifacts = manifest.artifacts.iter().map(|artifact| artifact.name.as_str());
    let known = artifacts.chain(LISTED).chain(evidence).collect();
    let others = folder.others(&known);
    for name in others.iter().take(UNLISTED_NAMED_MAX) {
        report.note(name, "is no part of the recording; nothing vouches for it");
    }
    if others.len() > UNLISTED_NAMED_MAX {
        report.note("…", "more files are no part of the recording");
    }
}

fn read(folder: &Folder, name: &str, report: &mut Report) -> Option<Vec<u8>> {
    folder.read(name).map_err(|error| report.wrong(name, error.to_string())).ok()
}
