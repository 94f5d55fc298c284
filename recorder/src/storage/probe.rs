//! The test push, when a storage is configured: what works, and which permission is missing.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Blame, Expected, Store, error::StoreError, template::Key};

use crate::Digest;

/// What the file of a test is called in the storage.
pub const NAME: &str = "conclave-test";
/// What is in it.
pub(super) const TEXT: &[u8] = b"conclave: a test, to be deleted\n";

/// How one of the steps went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Step {
    /// As it should.
    Ok,
    /// Not tried, because an earlier one failed.
    Skipped,
    /// It failed.
    Failed {
        /// [`StoreError::word`]
        error: String,
        /// For the partner's developer.
        text: String,
        /// Who must act.
        blame: Blame,
    },
}

/// What a storage lets us do. Writing and reading are needed; what cannot be deleted is left behind,
/// under a name that says what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Permission to write.
    pub write: Step,
    /// Permission to read back; without it nothing is proven, and nothing purged.
    pub read: Step,
    /// Permission to delete; only the test wants it.
    pub delete: Step,
}

impl Probe {
    /// Whether recordings can be pushed.
    pub fn is_good(&self) -> bool {
        self.write == Step::Ok && self.read == Step::Ok
    }
}

impl<T> From<Result<T, StoreError>> for Step {
    fn from(result: Result<T, StoreError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(error) => Self::Failed {
                error: error.word().to_owned(),
                text: error.to_string(),
                blame: error.blame(),
            },
        }
    }
}

pub(super) async fn test_push(store: &Store) -> Probe {
    let (text, skipped) = (Bytes::from_static(TEXT), Step::Skipped);
    let is = Expected { bytes: text.len() as u64, sha256: Digest::of(&text) };
    let key = match Key::parse(NAME) {
        Ok(key) => key,
        Err(_) => return Probe { write: skipped.clone(), read: skipped.clone(), delete: skipped },
    };
    let upload = match store.put(&key, text).await {
        Ok(upload) => upload,
        Err(error) => {
            let write = Step::from(Err::<(), _>(error));
            return Probe { write, read: skipped.clone(), delete: skipped };
        }
    };
    // Read, whatever the storage says of its own: that may need fewer permissions.
    let read = store.read_back(&upload, is).await.into();
    Probe { write: Step::Ok, read, delete: store.backend.delete(&key).await.into() }
}
