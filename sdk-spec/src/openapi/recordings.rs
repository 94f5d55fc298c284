//! Recordings, the policy for them, and storage targets.

use utoipa::OpenApi;

use crate::rest::recordings::{
    CreateStorageTarget, EvidenceKeys, HoldRecording, ListRecordings, PushRecording, Receipt,
    Recording, RecordingPage, RecordingPolicy, StartRecording, StorageTarget, StorageTargetList,
    StorageTested,
};

#[derive(OpenApi)]
#[openapi(
    paths(
        start_recording, list_recordings, read_recording, stop_recording, pause_recording,
        resume_recording, push_recording, hold_recording, delete_recording, read_receipt,
        list_evidence_keys, read_recording_policy, set_recording_policy, create_storage_target,
        list_storage_targets, read_storage_target, replace_storage_target, delete_storage_target,
        test_storage_target,
    ),
    tags((name = "recordings", description = "Sealed to the partner's keys, pushed to the partner's \
        storage, verified there, purged here, with a receipt.")),
)]
pub(super) struct Api;

/// Start a recording of a room. Scope `recordings:write`.
///
/// The participants are told before the first packet is recorded. The project's policy must have
/// recipients and a storage target. A room has one recording at a time.
#[utoipa::path(post, path = "/v1/rooms/{room}/recordings", tag = "recordings",
    operation_id = "startRecording", extensions(("x-scope" = json!("recordings:write"))),
    params(("room" = String, Path, description = "`rm_…`"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h gets the first answer.")),
    request_body = StartRecording,
    responses((status = 201, body = Recording, headers(("Location" = String), ("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn start_recording() {}

/// List recordings, newest first. Scope `recordings:read`.
#[utoipa::path(get, path = "/v1/recordings", tag = "recordings",
    operation_id = "listRecordings", extensions(("x-scope" = json!("recordings:read"))),
    params(ListRecordings), responses((status = 200, body = RecordingPage)),
    security(("key" = []), ("key_basic" = [])))]
fn list_recordings() {}

/// Read a recording. Scope `recordings:read`.
///
/// A purged one is kept for as long as histories are.
#[utoipa::path(get, path = "/v1/recordings/{recording}", tag = "recordings",
    operation_id = "readRecording", extensions(("x-scope" = json!("recordings:read"))),
    params(("recording" = String, Path, description = "`rc_…`"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag`: 304 while it holds.")),
    responses((status = 200, body = Recording, headers(("ETag" = String, description = "The version."))),
        (status = 304, description = "It has this version still")),
    security(("key" = []), ("key_basic" = [])))]
fn read_recording() {}

/// Stop a recording. One that stopped before stays as it is. Scope `recordings:write`.
#[utoipa::path(post, path = "/v1/recordings/{recording}/stop", tag = "recordings",
    operation_id = "stopRecording", extensions(("x-scope" = json!("recordings:write"))),
    params(("recording" = String, Path, description = "`rc_…`")),
    responses((status = 200, body = Recording, headers(("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn stop_recording() {}

/// Record nothing for a while. Scope `recordings:write`.
#[utoipa::path(post, path = "/v1/recordings/{recording}/pause", tag = "recordings",
    operation_id = "pauseRecording", extensions(("x-scope" = json!("recordings:write"))),
    params(("recording" = String, Path, description = "`rc_…`")),
    responses((status = 200, body = Recording, headers(("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn pause_recording() {}

/// Go on after a pause. Scope `recordings:write`.
#[utoipa::path(post, path = "/v1/recordings/{recording}/resume", tag = "recordings",
    operation_id = "resumeRecording", extensions(("x-scope" = json!("recordings:write"))),
    params(("recording" = String, Path, description = "`rc_…`")),
    responses((status = 200, body = Recording, headers(("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn resume_recording() {}

/// Push now, instead of at the next try. Scope `recordings:write`.
///
/// A `target` replaces the one that the recording has. What arrived at the other stays there.
#[utoipa::path(post, path = "/v1/recordings/{recording}/push", tag = "recordings",
    operation_id = "pushRecording", extensions(("x-scope" = json!("recordings:write"))),
    params(("recording" = String, Path, description = "`rc_…`")),
    request_body = PushRecording,
    responses((status = 202, body = Recording, headers(("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn push_recording() {}

/// Hold a recording, so that nothing purges it, or end that. Scope `recordings:write`.
///
/// A hold takes back a deletion that is not done yet. What is older than it may get is purged when
/// its hold ends.
#[utoipa::path(put, path = "/v1/recordings/{recording}/hold", tag = "recordings",
    operation_id = "holdRecording", extensions(("x-scope" = json!("recordings:write"))),
    params(("recording" = String, Path, description = "`rc_…`")),
    request_body = HoldRecording,
    responses((status = 200, body = Recording, headers(("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn hold_recording() {}

/// Purge a recording now, delivered or not. Scope `recordings:write`.
///
/// It is done when its state is `purged`; the event `recording.purged` says so, with the receipt. What
/// is in the partner's storage stays there.
#[utoipa::path(delete, path = "/v1/recordings/{recording}", tag = "recordings",
    operation_id = "deleteRecording", extensions(("x-scope" = json!("recordings:write"))),
    params(("recording" = String, Path, description = "`rc_…`")),
    responses((status = 202, body = Recording, headers(("ETag" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn delete_recording() {}

/// Read what proves that a recording is gone. Scope `recordings:read`.
#[utoipa::path(get, path = "/v1/recordings/{recording}/receipt", tag = "recordings",
    operation_id = "readReceipt", extensions(("x-scope" = json!("recordings:read"))),
    params(("recording" = String, Path, description = "`rc_…`")),
    responses((status = 200, body = Receipt)),
    security(("key" = []), ("key_basic" = [])))]
fn read_receipt() {}

/// List the public keys of this server for evidence, oldest first. Scope `recordings:read`.
#[utoipa::path(get, path = "/v1/evidence-keys", tag = "recordings",
    operation_id = "listEvidenceKeys", extensions(("x-scope" = json!("recordings:read"))),
    responses((status = 200, body = EvidenceKeys)),
    security(("key" = []), ("key_basic" = [])))]
fn list_evidence_keys() {}

/// Read how the project records. Scope `recordings:write`.
#[utoipa::path(get, path = "/v1/recording-policy", tag = "recordings",
    operation_id = "readRecordingPolicy", extensions(("x-scope" = json!("recordings:write"))),
    responses((status = 200, body = RecordingPolicy)),
    security(("key" = []), ("key_basic" = [])))]
fn read_recording_policy() {}

/// Set how the project records, from the next recording on. Scope `recordings:write`.
#[utoipa::path(put, path = "/v1/recording-policy", tag = "recordings",
    operation_id = "setRecordingPolicy", extensions(("x-scope" = json!("recordings:write"))),
    request_body = RecordingPolicy, responses((status = 200, body = RecordingPolicy)),
    security(("key" = []), ("key_basic" = [])))]
fn set_recording_policy() {}

/// Create a storage target. Scope `recordings:write`.
///
/// Its credentials are kept sealed and never shown again. Test it before it is needed.
#[utoipa::path(post, path = "/v1/storage-targets", tag = "recordings",
    operation_id = "createStorageTarget", extensions(("x-scope" = json!("recordings:write"))),
    request_body = CreateStorageTarget,
    responses((status = 201, body = StorageTarget, headers(("Location" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn create_storage_target() {}

/// List storage targets, oldest first. Scope `recordings:write`.
#[utoipa::path(get, path = "/v1/storage-targets", tag = "recordings",
    operation_id = "listStorageTargets", extensions(("x-scope" = json!("recordings:write"))),
    responses((status = 200, body = StorageTargetList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_storage_targets() {}

/// Read a storage target. Scope `recordings:write`.
#[utoipa::path(get, path = "/v1/storage-targets/{target}", tag = "recordings",
    operation_id = "readStorageTarget", extensions(("x-scope" = json!("recordings:write"))),
    params(("target" = String, Path, description = "`st_…`")),
    responses((status = 200, body = StorageTarget)),
    security(("key" = []), ("key_basic" = [])))]
fn read_storage_target() {}

/// Replace name and credentials of a storage target. Scope `recordings:write`.
///
/// For credentials that expire or leaked: what waits for the target goes on with the new ones, at its
/// next try or with `push`. The place stays (kind, endpoint, bucket, host, folder): another one is another
/// target.
#[utoipa::path(put, path = "/v1/storage-targets/{target}", tag = "recordings",
    operation_id = "replaceStorageTarget", extensions(("x-scope" = json!("recordings:write"))),
    params(("target" = String, Path, description = "`st_…`")),
    request_body = CreateStorageTarget, responses((status = 200, body = StorageTarget)),
    security(("key" = []), ("key_basic" = [])))]
fn replace_storage_target() {}

/// Delete a storage target, used or not. Scope `recordings:write`.
///
/// Its credentials are gone at once. A recording that should go there is blocked (`no_target`): push it
/// to another target, or it is purged when it is old enough.
#[utoipa::path(delete, path = "/v1/storage-targets/{target}", tag = "recordings",
    operation_id = "deleteStorageTarget", extensions(("x-scope" = json!("recordings:write"))),
    params(("target" = String, Path, description = "`st_…`")),
    responses((status = 204, description = "Gone")),
    security(("key" = []), ("key_basic" = [])))]
fn delete_storage_target() {}

/// Write a small file to the storage, read it back and delete it. Scope `recordings:write`.
#[utoipa::path(post, path = "/v1/storage-targets/{target}/test", tag = "recordings",
    operation_id = "testStorageTarget", extensions(("x-scope" = json!("recordings:write"))),
    params(("target" = String, Path, description = "`st_…`")),
    responses((status = 200, body = StorageTested)),
    security(("key" = []), ("key_basic" = [])))]
fn test_storage_target() {}
