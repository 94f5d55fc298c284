//! `conclave recording verify` and `receipt`: what a partner got is what was recorded, and ours is gone.
//!
//! Both work offline, on files alone: no server, no configuration, no database.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use recorder::{
    evidence::{
        KeyFate, KeySet, KeySetError, MANIFEST_FILE, Manifest, Receipt, Role, SignedReceipt,
        Verified, verify as check,
    },
    limits::{EVIDENCE_BYTES_MAX, KEYS_BYTES_MAX, RECEIPT_BYTES_MAX},
    seal::Identities,
};
use sdk_spec::rest::recordings::EvidenceKeys;

/// Verifies the recording in `folder` and says what was found.
///
/// # Errors
/// When the keys or the identity cannot be used.
pub(super) fn recording(
    folder: &Path,
    keys: &[PathBuf],
    identity: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    ensure!(folder.is_dir(), "{}: is no folder", folder.display());
    let keys = read_keys(keys)?;
    let identity = identity.map(read_identity).transpose()?;
    let report = check(folder, &keys, identity.as_ref());
    let mut out = io::stdout().lock();
    for finding in &report.findings {
        writeln!(out, "{finding}")?;
    }
    if !report.is_good() {
        writeln!(out, "the recording is not as it was exported")?;
        return Ok(ExitCode::FAILURE);
    }
    let opened = if identity.is_some() { "" } else { "; give --identity to check what is inside" };
    writeln!(out, "the recording is whole{opened}")?;
    Ok(ExitCode::SUCCESS)
}

/// Verifies a deletion receipt, and that it is of the recording in `of`, and says what it says.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn receipt(
    file: &Path,
    keys: &[PathBuf],
    of: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let keys = read_keys(keys)?;
    let signed = SignedReceipt::parse(&read(file, RECEIPT_BYTES_MAX)?);
    let mut out = io::stdout().lock();
    let receipt = match signed.and_then(|signed| signed.verify(&keys)) {
        Ok(receipt) => receipt,
        Err(error) => {
            writeln!(out, "WRONG: the receipt: {error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    writeln!(out, "ok: the receipt: signed by the export key")?;
    writeln!(out, "{}", Said(&receipt))?;
    let Some(folder) = of else { return Ok(ExitCode::SUCCESS) };
    let bytes = read(&folder.join(MANIFEST_FILE), EVIDENCE_BYTES_MAX)?;
    if Manifest::parse(&bytes).is_some_and(|manifest| receipt.is_of(&manifest, &bytes)) {
        writeln!(out, "ok: {}: the receipt is of this recording", folder.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "WRONG: {}: the receipt is of another recording", folder.display())?;
    Ok(ExitCode::FAILURE)
}

/// A receipt in words.
struct Said<'a>(&'a Receipt);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Receipt { recording, purged_at_ms, reason, keys, artifacts, delivered, .. } = self.0;
        let keys = match keys {
            KeyFate::Destroyed { .. } => "its keys are destroyed",
            KeyFate::Pending { .. } => "its keys are destroyed with those of their hour",
            KeyFate::NeverKept => "its key was never kept",
            KeyFate::Unknown => "which hours' keys wrapped its key is not known",
        };
        write!(f, "{recording}: {} files purged at {purged_at_ms} ms since 1970", artifacts.len())?;
        write!(f, " ({reason:?}); {keys}")?;
        for place in delivered {
            let how = match place.verified {
                Verified::Size => "by size",
                Verified::ProviderChecksum => "by the provider's checksum",
                Verified::ReadBack => "by reading back",
            };
            write!(f, "; at {}, verified {how}", place.target.escape_debug())?;
            if !place.only.is_empty() {
                write!(f, ", only {} of the files", place.only.len())?;
            }
        }
        Ok(())
    }
}

/// All keys of all files.
fn read_keys(paths: &[PathBuf]) -> anyhow::Result<KeySet> {
    paths.iter().try_fold(KeySet::default(), |all, path| {
        let shown = || format!("key {}", path.display());
        let text = String::from_utf8(read(path, KEYS_BYTES_MAX)?).with_context(shown)?;
        Ok(all.and(key_set(&text).with_context(shown)?))
    })
}

/// Keys as an operator's `keys.json` or a PEM has them, or as `GET /v1/evidence-keys` answers.
fn key_set(text: &str) -> Result<KeySet, KeySetError> {
    let Ok(EvidenceKeys { keys }) = serde_json::from_str(text) else { return KeySet::parse(text) };
    KeySet::of_spki(keys.iter().map(|key| {
        let role = match key.purpose.as_str() {
            "capture" => Some(Role::Capture),
            "export" => Some(Role::Export),
            _ => None,
        };
        (key.public_key.as_str(), role, key.since.0)
    }))
}

/// The text of the file is a secret: it is in no error.
pub(super) fn read_identity(path: &Path) -> anyhow::Result<Identities> {
    let bytes = zeroize::Zeroizing::new(read(path, KEYS_BYTES_MAX)?);
    let text = str::from_utf8(&bytes).ok();
    let text = text.with_context(|| format!("identity {}: is no text", path.display()))?;
    Identities::parse(text).with_context(|| format!("identity {}", path.display()))
}

pub(super) fn read(path: &Path, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().with_context(|| path.display().to_string())?;
    ensure!(bytes.len() as u64 <= bytes_max, "{}: more than {bytes_max} bytes", path.display());
    Ok(bytes)
}
