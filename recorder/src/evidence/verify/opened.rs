//! Verifies what is inside an artifact, for whoever holds an identity.

use std::io;

use super::{Report, folder::Folder};
use crate::{
    evidence::Artifact,
    seal::{Identities, OpenError, open},
};

/// Opens an artifact whose digest is the manifest's, and compares its plaintext.
pub(super) fn verify(
    folder: &Folder,
    artifact: &Artifact,
    identities: &Identities,
    report: &mut Report,
) {
    let name = artifact.name.as_str();
    let file = match folder.open(name) {
        Ok(file) => file,
        Err(error) => return report.wrong(name, error.to_string()),
    };
    let ours = identities.fingerprints();
    let is_ours = artifact.recipients.iter().any(|one| ours.contains(one));
    match open(file, io::sink(), identities) {
        Err(OpenError::OtherRecipient) if !is_ours => {
            report.note(name, "is sealed to another key, so its content was not verified");
        }
        Err(error) => report.wrong(name, format!("the content does not open: {error}")),
        Ok(opened) => {
            let same = opened.plain_bytes == artifact.plain_bytes
                && opened.plain_sha256 == artifact.plain_sha256
                && opened.merkle_root == artifact.merkle_root;
            if same {
                report.good(name, format!("opens to {} bytes as sealed", opened.plain_bytes));
            } else {
                report.wrong(name, "opens to something else than the manifest says");
            }
        }
    }
}
