//! A recorder's border without a recorder, and recordings written past our code.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use sdk_spec::{
    problem::FieldError,
    recording::BlockReason,
    rest::{
        Timestamp,
        recordings::{EvidenceKey, Storage, StorageTested},
    },
};
use sfu_proto::id::{ParticipantId, RecordingId};
use signaling::{Answer, RecordedText, RecorderPort};

/// Answers at once: a local folder works, Google's storage has bad keys, nothing else works.
struct Port {
    has_room: Arc<AtomicBool>,
    texts: Texts,
}

/// Texts that were taken, each with how many before it were not.
pub type Texts = Arc<Mutex<Vec<(RecordedText, u32)>>>;

impl RecorderPort for Port {
    fn check_storage(&self, storage: &Storage) -> Result<(), FieldError> {
        match storage {
            Storage::Gcs { .. } => Err(FieldError::new("storage.service_account", "is none")),
            _ => Ok(()),
        }
    }

    fn test_storage<'a>(&'a self, _: &'a str, storage: Storage) -> Answer<'a, StorageTested> {
        Box::pin(async move {
            match storage {
                Storage::Local {} => StorageTested { ok: true, step: None, reason: None },
                _ => StorageTested {
                    ok: false,
                    step: Some(String::from("write")),
                    reason: Some(BlockReason::Credentials),
                },
            }
        })
    }

    fn composites(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.has_room.load(Relaxed)
    }

    fn take_text(&self, text: &RecordedText, lost: u32) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.texts.lock().unwrap().push((text.clone(), lost));
        }
        has_room
    }

    fn texts_lost(&self, recording: RecordingId, lost: u32) -> bool {
        let (from, to, body) = (ParticipantId::from_bits(0), Vec::new(), String::new());
        self.take_text(&RecordedText { recording, from, to, body }, lost)
    }

    fn evidence_keys(&self) -> Answer<'_, Vec<EvidenceKey>> {
        Box::pin(async {
            vec![EvidenceKey {
                id: String::from("ek_1"),
                purpose: String::from("export"),
                public_key: String::from("MCow"),
                since: Timestamp(1),
            }]
        })
    }
}

pub fn port() -> Arc<dyn RecorderPort> {
    limited(Arc::new(AtomicBool::new(true)), Texts::default())
}

/// One that has room for one more, recording or text, while this says so.
pub fn limited(has_room: Arc<AtomicBool>, texts: Texts) -> Arc<dyn RecorderPort> {
    Arc::new(Port { has_room, texts })
}

/// Writes a recording of a room that stands in `state`; its id. One that is purged has a receipt.
pub async fn write(url: &str, project: &str, room: &str, state: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let number = COUNT.fetch_add(1, Relaxed);
    let id = format!("rc_{number:026}");
    let is_live = matches!(state, "recording" | "paused");
    let is_purged = state == "purged";
    let pool = super::past::pool(url).await;
    sqlx::query(
        "INSERT INTO recordings (id, project, room, node, state, rule, terms, max_age, started_at, \
         stopped_at, stop_reason, expires_at, purged_at, purge_reason, receipt, \
         receipt_signature, receipt_key) VALUES ($1, $2, $3, '', $4, '{}', $5, 1000, $6, $7, $8, \
         $9, $10, $11, $12, $13, $14)",
    )
    .bind(&id)
    .bind(project)
    .bind(room)
    .bind(state)
    .bind(r#"{"recipients":[],"target":null,"path":"{recording}/{artifact}","sealed":false}"#)
    .bind(i64::from(number))
    .bind((!is_live).then_some(i64::from(number)))
    .bind((!is_live).then_some("requested"))
    .bind((!is_live).then_some(i64::from(number) + 1000))
    // Long from now: it stays for as long as the test.
    .bind(is_purged.then_some(9_000_000_000_000_i64))
    .bind(is_purged.then_some("delivered"))
    .bind(is_purged.then_some("{}"))
    .bind(is_purged.then_some("c2ln"))
    .bind(is_purged.then_some("ek_1"))
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    id
}

pub async fn purged(url: &str, project: &str, room: &str) -> String {
    write(url, project, room, "purged").await
}
