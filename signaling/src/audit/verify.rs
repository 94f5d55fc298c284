//! Verification of a whole log, offline: by a partner who trusts nothing but the key and the
//! checkpoints that it kept.

use std::{fmt, io::BufRead};

use sdk_spec::rest::audit::{AuditCheckpoint, AuditEntry, AuditEntryList};
use serde::Deserialize;

use super::{
    entry::{Entry, Opening, unhex},
    note::{self, Checkpoint},
    tree::{self, Hash, Nodes},
};

/// Longest line that is read, in bytes: a page of 200 entries has about 150 kB.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What was verified, and what is wrong.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries read.
    pub entries: u64,
    /// Entries whose opening was erased.
    pub redacted: u64,
    /// Checkpoints whose signature and root hold.
    pub checkpoints: u64,
    /// Entries that the largest of them covers.
    pub covered: u64,
    /// Everything that is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A line is neither an entry, a page of them, nor a checkpoint.
    Unreadable(u64),
    /// An entry does not follow the one before.
    Gap {
        /// Expected.
        expected: u64,
        /// Found.
        found: u64,
    },
    /// An entry's fields do not give its leaf.
    Leaf(u64),
    /// An entry's opening does not give its commitment.
    Opening(u64),
    /// A checkpoint's signature does not hold, or it is of another log.
    Signature(u64),
    /// The entries do not give a checkpoint's root.
    Root(u64),
    /// A checkpoint covers more entries than there are.
    Short {
        /// Covered.
        covered: u64,
        /// Read.
        entries: u64,
    },
    /// No checkpoint was given: nothing is proven.
    NoCheckpoint,
    /// No checkpoint that holds covers the last entries: they are not proven.
    Uncovered {
        /// Covered.
        covered: u64,
        /// Read.
        entries: u64,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(line) => write!(f, "line {line} is no entry, page or checkpoint"),
            Self::Gap { expected, found } => {
                write!(f, "entry {expected} is missing or out of order: {found} stands there")
            }
            Self::Leaf(seq) => write!(f, "entry {seq} was changed: it does not give its leaf"),
            Self::Opening(seq) => {
                write!(f, "entry {seq} was changed: it does not open its commitment")
            }
            Self::Signature(size) => {
                write!(f, "the checkpoint of {size} entries is not signed by this key")
            }
            Self::Root(size) => write!(
                f,
                "the entries are not those that the checkpoint of {size} entries was signed over"
            ),
            Self::Short { covered, entries } => {
                write!(f, "a checkpoint covers {covered} entries, only {entries} are here")
            }
            Self::Uncovered { covered, entries } => write!(
                f,
                "of {entries} entries only {covered} are proven: give a newer checkpoint, or leave \
                 out the last {}",
                entries - covered
            ),
            Self::NoCheckpoint => f.write_str("there is no checkpoint: nothing is proven"),
        }
    }
}

/// One line: what the API answers, or an entry of it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Page(AuditEntryList),
    Entry(Box<AuditEntry>),
    Checkpoint(AuditCheckpoint),
}

/// The nodes of a log in memory, by level.
#[derive(Default)]
struct Grown(Vec<Vec<Hash>>);

impl Nodes for Grown {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.0.get(level as usize)?.get(usize::try_from(index).ok()?).copied()
    }
}

impl Grown {
    fn push(&mut self, index: u64, leaf: Hash) {
        let Ok(all) = tree::finished(self, index, leaf) else { return };
        for (level, _, hash) in all {
            if self.0.len() <= level as usize {
                self.0.push(Vec::new());
            }
            self.0[level as usize].push(hash);
        }
    }
}

/// Verifies the log of `tree` under the verifier key `key`.
///
/// `lines` holds JSON, one object a line: answers of `GET /v1/audit/entries` in order and from the
/// first entry on, and checkpoints of any age, anywhere.
///
/// # Errors
/// When `lines` cannot be read. What is wrong with the log stands in the report.
pub fn verify(tree: &str, key: &str, lines: impl BufRead) -> std::io::Result<Report> {
    let mut report = Report::default();
    let (mut grown, mut checkpoints) = (Grown::default(), Vec::new());
    for (number, line) in (1..).zip(lines.lines()) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let parsed = (line.len() <= LINE_BYTES_MAX).then(|| serde_json::from_str(&line).ok());
        match parsed.flatten() {
            Some(Line::Page(page)) => {
                for entry in &page.entries {
                    check_entry(tree, entry, &mut grown, &mut report);
                }
            }
            Some(Line::Entry(entry)) => check_entry(tree, &entry, &mut grown, &mut report),
            Some(Line::Checkpoint(checkpoint)) => checkpoints.push(checkpoint),
            None => report.findings.push(Finding::Unreadable(number)),
        }
    }
    if checkpoints.is_empty() {
        report.findings.push(Finding::NoCheckpoint);
    }
    let public = note::public_key(tree, key).unwrap_or_default();
    for checkpoint in &checkpoints {
        check_checkpoint(tree, (&public, checkpoint), &grown, &mut report);
    }
    let (covered, entries) = (report.covered, report.entries);
    // Where no checkpoint holds at all, that was said.
    if covered < entries && report.checkpoints > 0 {
        report.findings.push(Finding::Uncovered { covered, entries });
    }
    Ok(report)
}

fn check_entry(tree: &str, shown: &AuditEntry, grown: &mut Grown, report: &mut Report) {
    let expected = report.entries;
    if shown.seq != expected {
        report.findings.push(Finding::Gap { expected, found: shown.seq });
    }
    let entry = unhex(&shown.commitment).map(|commitment| Entry {
        tree: tree.to_owned(),
        seq: expected,
        time_ms: shown.time.0,
        actor: shown.actor.clone(),
        action: shown.action.clone(),
        commitment,
    });
    let leaf = entry.as_ref().map(Entry::leaf);
    if leaf.is_none() || leaf != unhex(&shown.leaf) {
        report.findings.push(Finding::Leaf(expected));
    }
    if shown.salt.is_none() && shown.object.is_none() {
        report.redacted += 1;
    } else if opening(shown).map(|o| o.commitment()) != entry.map(|e| e.commitment) {
        report.findings.push(Finding::Opening(expected));
    }
    grown.push(expected, leaf.unwrap_or_default());
    report.entries += 1;
}

fn opening(shown: &AuditEntry) -> Option<Opening> {
    let side = |text: &Option<String>| match text {
        Some(text) => unhex(text).map(Some),
        None => Some(None),
    };
    Some(Opening {
        salt: unhex(shown.salt.as_deref()?)?,
        object: shown.object.clone()?,
        before: side(&shown.before)?,
        after: side(&shown.after)?,
    })
}

fn check_checkpoint(
    tree: &str,
    (public, shown): (&[u8], &AuditCheckpoint),
    grown: &Grown,
    report: &mut Report,
) {
    let opened = Checkpoint::open(&shown.note, public).ok().filter(|c| c.tree == tree);
    let Some(checkpoint) = opened else {
        report.findings.push(Finding::Signature(shown.size));
        return;
    };
    if checkpoint.size > report.entries {
        let (covered, entries) = (checkpoint.size, report.entries);
        report.findings.push(Finding::Short { covered, entries });
    } else if tree::root(grown, checkpoint.size) == Ok(checkpoint.root) {
        report.checkpoints += 1;
        report.covered = report.covered.max(checkpoint.size);
    } else {
        report.findings.push(Finding::Root(checkpoint.size));
    }
}
