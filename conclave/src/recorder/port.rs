//! What REST asks the recorder directly.

use std::{path::PathBuf, sync::Arc};

use recorder::{
    evidence::Role,
    service::{Admission, Recorder},
    storage::{Probe, Step},
};
use sdk_spec::{
    problem::FieldError,
    recording::BlockReason,
    rest::{
        Timestamp,
        recordings::{EvidenceKey, Storage, StorageTested},
    },
};
use sfu_proto::id::RecordingId;
use signaling::{Answer, RecordedText, RecorderPort};

use super::{target, texts::Texts};

/// The recorder behind signaling's border.
pub(super) struct Port {
    pub(super) recorder: Arc<Recorder>,
    pub(super) local: Option<PathBuf>,
    pub(super) texts: Texts,
}

impl RecorderPort for Port {
    fn check_storage(&self, storage: &Storage) -> Result<(), FieldError> {
        target::check(storage)
    }

    fn test_storage<'a>(&'a self, project: &'a str, storage: Storage) -> Answer<'a, StorageTested> {
        Box::pin(async move {
            let is_local = matches!(storage, Storage::Local {});
            let failed = |reason| StorageTested {
                ok: false,
                step: Some("connect".to_owned()),
                reason: Some(reason),
            };
            let Some(found) = target::of(&storage, project, self.local.as_deref()) else {
                let none = if is_local { BlockReason::LocalFolder } else { BlockReason::Refused };
                return failed(none);
            };
            match self.recorder.storages().open(&found, project) {
                Ok(store) => tested(&store.test_push().await),
                Err(error) => failed(reason_of(error.word())),
            }
        })
    }

    fn composites(&self) -> bool {
        self.recorder.composites()
    }

    fn has_room(&self) -> bool {
        self.recorder.admission() == Admission::Open
    }

    fn take_text(&self, text: &RecordedText, lost: u32) -> bool {
        self.texts.take(text, lost)
    }

    fn texts_lost(&self, recording: RecordingId, lost: u32) -> bool {
        self.texts.lost(recording, lost)
    }

    fn evidence_keys(&self) -> Answer<'_, Vec<EvidenceKey>> {
        let keys = self.recorder.keys();
        let shown = keys.keys().iter().map(|key| EvidenceKey {
            id: key.id.to_string(),
            purpose: match key.role {
                Some(Role::Capture) => "capture".to_owned(),
                _ => "export".to_owned(),
            },
            public_key: key.to_pem().lines().filter(|line| !line.starts_with('-')).collect(),
            since: Timestamp(key.from_ms),
        });
        let shown = shown.collect();
        Box::pin(async move { shown })
    }
}

/// The first step that failed.
fn tested(probe: &Probe) -> StorageTested {
    let steps = [("write", &probe.write), ("read", &probe.read), ("delete", &probe.delete)];
    let failed = steps.into_iter().find_map(|(name, step)| match step {
        Step::Failed { error, .. } => Some((name.to_owned(), error.as_str())),
        Step::Ok | Step::Skipped => None,
    });
    match failed {
        None => StorageTested { ok: true, step: None, reason: None },
        Some((step, error)) => StorageTested {
            ok: false,
            step: Some(step),
            reason: (!matches!(error, "unreachable" | "silent" | "busy" | "tls"))
                .then(|| reason_of(error)),
        },
    }
}

fn reason_of(word: &str) -> BlockReason {
    match word {
        "credentials" | "host_key" => BlockReason::Credentials,
        "no_place" | "missing" => BlockReason::NotFound,
        "forbidden_address" => BlockReason::AddressForbidden,
        "full" => BlockReason::Full,
        "checksum" => BlockReason::Checksum,
        "disk" => BlockReason::LocalFolder,
        _ => BlockReason::Refused,
    }
}
