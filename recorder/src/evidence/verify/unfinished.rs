//! A folder without a signed manifest. A receipt in it says that none follows, and which files it has.

use super::{Report, folder::Folder};
use crate::{
    evidence::{
        KeySet, MANIFEST_SIGNATURE_FILE, RECEIPT_FILE, Receipt, ReceiptArtifact, ReceiptError,
        SignedReceipt,
    },
    limits::ARTIFACTS_MAX,
};

/// Verifies what the receipt says is here, if there is one.
pub(super) fn verify(folder: &Folder, keys: &KeySet, report: &mut Report) {
    let Ok(bytes) = folder.read(RECEIPT_FILE) else { return };
    let said = SignedReceipt::parse(&bytes).and_then(|signed| {
        let receipt = signed.verify(keys)?;
        if receipt.artifacts.len() > ARTIFACTS_MAX {
            return Err(ReceiptError::Content);
        }
        Ok((receipt, signed.key))
    });
    match said {
        Err(error) => report.wrong(RECEIPT_FILE, error.to_string()),
        Ok((receipt, key)) => {
            report.good(RECEIPT_FILE, format!("signed by export key {key}"));
            let (reason, at_ms) = (receipt.reason, receipt.purged_at_ms);
            report.note(
                MANIFEST_SIGNATURE_FILE,
                format!(
                    "will not come: the recording was purged ({reason:?}, {at_ms} ms since 1970)"
                ),
            );
            for file in arrived(&receipt) {
                compare(folder, file, report);
            }
        }
    }
}

/// The files that the receipt says arrived somewhere.
fn arrived(receipt: &Receipt) -> impl Iterator<Item = &ReceiptArtifact> {
    let is_named = |file: &&ReceiptArtifact| {
        receipt.delivered.iter().any(|at| at.only.is_empty() || at.only.contains(&file.name))
    };
    receipt.artifacts.iter().filter(is_named)
}

fn compare(folder: &Folder, file: &ReceiptArtifact, report: &mut Report) {
    let name = file.name.as_str();
    match folder.digest(name) {
        Err(error) => report.wrong(name, error.to_string()),
        Ok(found) if found == (file.bytes, file.sha256) => {
            report.good(name, format!("whole, {} bytes, as the receipt says", file.bytes));
        }
        Ok(_) => report.wrong(name, "is not what the receipt says"),
    }
}
