//! The last word at the partner's: some files arrived, and no manifest follows them. The receipt beside
//! them says which they are, and that nothing more comes.

use sfu_proto::id::RecordingId;
use tokio::time::{sleep, timeout};

use super::{Job, WorkError, stopped};
use crate::{
    evidence::{RECEIPT_FILE, SignedReceipt},
    limits::{RECEIPT_AGAIN, RECEIPT_WAIT},
    service::{
        ledger::Purge,
        push::{PushError, key_of},
    },
};

impl Job {
    /// Puts the receipt where files of the recording are, if they are not all. Nothing waits for a storage
    /// that is away: the partner has the receipt of us too.
    ///
    /// # Errors
    /// [`WorkError::Changed`]: the process ends, the next one does it.
    pub(super) async fn leave_receipt(
        &self,
        why: Purge,
        receipt: &SignedReceipt,
    ) -> Result<(), WorkError> {
        let delivered = self.entry.work.delivered.as_ref();
        let Some(to) = delivered.filter(|_| why != Purge::Delivered) else { return Ok(()) };
        let bytes = serde_json::to_vec_pretty(receipt)
            .map_err(|error| WorkError::Internal(error.to_string()))?;
        let leaving = async {
            while let Err(error) = self.put_receipt(&to.target, bytes.clone()).await {
                let recording: RecordingId = self.entry.id;
                tracing::warn!(%recording, %error, "the receipt is not beside the files yet");
                sleep(RECEIPT_AGAIN).await;
            }
        };
        let mut stop = self.shared.stop.clone();
        tokio::select! {
            () = stopped(&mut stop) => Err(WorkError::Changed),
            _ = timeout(RECEIPT_WAIT, leaving) => Ok(()),
        }
    }

    async fn put_receipt(&self, target: &str, receipt: Vec<u8>) -> Result<(), WorkError> {
        let found = self.shared.ledger.target(&self.entry.project, target).await?;
        // Taken away meanwhile: there is nobody to be told.
        let Some(found) = found else { return Ok(()) };
        let store = self.shared.storages.uncapped().open(&found, &self.entry.project);
        let store = store.map_err(PushError::Store)?;
        let key = key_of(&self.entry, RECEIPT_FILE)?;
        store.put(&key, receipt.into()).await.map_err(PushError::Store)?;
        Ok(())
    }
}
