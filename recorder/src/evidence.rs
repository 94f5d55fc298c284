//! Evidence: what a recording is, who says so, and that it is gone.
//!
//! ```text
//! journal heads ─▶ capture.json ─ signed by the capture key ─┐ refused when it does not verify
//! artifacts ─▶ SHA256SUMS ─ its digest in ─▶ manifest.json ◀─┘ ─ signed by the export key
//! purged ─▶ deletion receipt ─ signed by the export key
//! ```
//! Signatures are Ed25519 over the exact bytes of a file, 64 bytes in a file beside it; each signed
//! text names its own type, so one cannot stand for another. `openssl`, `sha256sum` and `age` check
//! everything (docs/RECORDING.md, "Evidence"). A signature proves that nothing changed since it was
//! made, and by whom; not that what was recorded is true.

mod capture;
mod export;
mod keys;
mod manifest;
mod name;
mod receipt;
mod signer;
mod software;
mod sums;
mod verify;

pub use capture::{
    CAPTURE_FILE, CAPTURE_SIGNATURE_FILE, Capture, Damage, Ended, JournalHead, SignedCapture,
};
pub use export::{Bundle, Draft, EvidenceFile, ExportError, export};
pub use keys::{Jwk, Jwks, KeyId, KeySet, KeySetError, PublishedKey, Role};
pub use manifest::{Artifact, ArtifactKind, MANIFEST_FILE, MANIFEST_SIGNATURE_FILE, Manifest};
pub use name::{ArtifactName, ArtifactNameError};
pub use receipt::{
    Delivery, KeyFate, PurgeReason, RECEIPT_FILE, Receipt, ReceiptArtifact, ReceiptError,
    SignedReceipt, Verified,
};
pub use signer::{SignerError, Signers, SigningKey};
pub use software::Software;
pub use sums::SUMS_FILE;
pub use verify::{Finding, Report, Verdict, verify};

/// Text of the script that checks a recording with stock tools only; exported beside it.
pub const VERIFY_SCRIPT: &str = include_str!("evidence/verify.sh");
/// Name of [`VERIFY_SCRIPT`] in a recording.
pub const VERIFY_SCRIPT_FILE: &str = "verify.sh";

/// Pretty JSON with a line end, as all signed texts are written.
fn to_json<T: serde::Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}
