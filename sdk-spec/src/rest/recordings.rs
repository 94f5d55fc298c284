//! Recordings, the policy for them, and the storage that they are pushed to.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Page, Timestamp, collect, path, range};
use crate::{
    handle::Handle,
    limits,
    problem::FieldError,
    recording::{
        Blame, BlockReason, PurgeReason, RecordingRule, RecordingState, StopReason, is_recipient,
    },
    room::both,
    ws::Source,
};

/// Request to start a recording.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "rule": { "outputs": ["tracks", "composite"] } }))]
pub struct StartRecording {
    /// What is not named is as the room's `settings.recording` says, then the project's policy.
    #[serde(default, deserialize_with = "crate::object::read")]
    pub rule: RecordingRule,
}

/// Which recordings to list.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListRecordings {
    /// Only of this room.
    #[param(pattern = "^rm_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub room: Option<String>,
    /// Only in this state.
    pub state: Option<RecordingState>,
    /// Most to answer.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// `next` of the answer before.
    #[param(max_length = 200)]
    pub cursor: Option<String>,
}

impl ListRecordings {
    /// The page without the filters.
    pub fn page(&self) -> Page {
        Page { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// Recordings, newest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordingPage {
    /// Recordings.
    pub recordings: Vec<Recording>,
    /// For the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A recording.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "rc_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "room": "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "state": "finalizing",
    "progress": 43,
    "rule": { "outputs": ["tracks"] },
    "started_at": "2026-11-21T20:00:00.000Z",
    "stopped_at": "2026-11-21T20:10:00.000Z",
    "stop_reason": "requested",
    "expires_at": "2026-11-24T20:10:00.000Z",
    "held": false,
    "artifacts": []
}))]
pub struct Recording {
    /// `rc_…`.
    pub id: String,
    /// `rm_…`.
    pub room: String,
    /// Where it stands.
    pub state: RecordingState,
    /// Percent of the state's work that is done, while finalizing and pushing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<u32>,
    /// What is recorded, and what it is made into.
    pub rule: RecordingRule,
    /// Storage target (`st_…`) that its files are pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// Why it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// When it is purged, delivered or not, unless it is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it is held: then it is not purged.
    pub held: bool,
    /// Why it is not pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// Its files, once they are made; with the output `journal` also while it goes on, some of the newest
    /// left out.
    pub artifacts: Vec<Artifact>,
    /// When it was purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged_at: Option<Timestamp>,
    /// Why it was purged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_reason: Option<PurgeReason>,
}

/// Why a recording is not pushed.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Blocked {
    /// Why.
    pub reason: BlockReason,
    /// Who must act.
    pub blame: Blame,
    /// When it is tried again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// A file of a recording, sealed to the partner's recipients.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "name": "track-01hzx3m8q7v5k2c9d4e6f8g0hj.webm.age",
    "media_type": "video/webm",
    "track": "tr_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "participant": "pa_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "source": "camera",
    "bytes": 104857600,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "pushed_bytes": 52428800,
    "verified": false
}))]
pub struct Artifact {
    /// Name of the file.
    pub name: String,
    /// What is inside the seal.
    pub media_type: String,
    /// Of which track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<String>,
    /// Of which participant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// What it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Bytes as sealed.
    pub bytes: u64,
    /// SHA-256 of the sealed file, in hexadecimal.
    pub sha256: String,
    /// Bytes that arrived so far.
    pub pushed_bytes: u64,
    /// Whether it was verified in the partner's storage.
    pub verified: bool,
}

/// Request to hold a recording or to end that.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "held": true }))]
pub struct HoldRecording {
    /// Whether it is kept until this is lifted, beyond its age. What is purged cannot be held.
    pub held: bool,
}

/// Request to push a recording now.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "target": "st_01hzx3m8q7v5k2c9d4e6f8g0hj" }))]
pub struct PushRecording {
    /// Another storage target (`st_…`) of the project, from now on: every file is pushed there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^st_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub target: Option<String>,
}

/// What proves that a recording is gone.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "receipt": "{\n  \"type\": \"conclave.recording.receipt\",\n  \"version\": 1\n}\n",
    "signature": "c2lnbmF0dXJl",
    "key": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
}))]
pub struct Receipt {
    /// The signed text, JSON: what was where, how it was verified, when its key was destroyed.
    pub receipt: String,
    /// Ed25519 signature of exactly that text, base64.
    pub signature: String,
    /// Id of the key that signed it.
    pub key: String,
}

/// A public key of this server for evidence.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "use": "export",
    "public_key": "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "since": "2026-11-21T20:00:00.000Z"
}))]
pub struct EvidenceKey {
    /// Its JWK thumbprint (RFC 7638).
    pub id: String,
    /// `capture` or `export`.
    #[serde(rename = "use")]
    pub purpose: String,
    /// Ed25519 public key: SubjectPublicKeyInfo (RFC 8410) in base64, as `openssl` reads it.
    pub public_key: String,
    /// When it was made.
    pub since: Timestamp,
}

/// Every key that ever signed here.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EvidenceKeys {
    /// Oldest first.
    pub keys: Vec<EvidenceKey>,
}

/// How a project records.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "recipients": ["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
    "target": "st_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "path": "{project}/{room}/{recording}/{artifact}",
    "max_age_hours": 72,
    "sealed": false,
    "rule": { "outputs": ["tracks"] }
}))]
pub struct RecordingPolicy {
    /// Public keys (`age1…`) that files are sealed to; nobody else can read them. Without one nothing
    /// is recorded.
    #[serde(default)]
    #[schema(max_items = 10)]
    pub recipients: Vec<String>,
    /// Storage target (`st_…`) that files are pushed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^st_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub target: Option<String>,
    /// Where files are put: `{project}`, `{room}`, `{recording}`, `{date}` (`2026-11-22`, the day of its start in
    /// UTC), `{year}`, `{month}`, `{day}`, letters, digits, `-`, `_`, `.`, `=` and `/`. Must have `{recording}`
    /// and end with `{artifact}`; filled in, at most 512 characters, 200 between two `/`.
    #[serde(default = "path_default")]
    #[schema(max_length = 256, default = "{room}/{recording}/{artifact}")]
    pub path: String,
    /// Hours after its end at which a recording is purged, delivered or not.
    #[serde(default = "max_age_default")]
    #[schema(minimum = 1, maximum = 720, default = 72)]
    pub max_age_hours: u32,
    /// Whether only the recipients can ever read what is written down. Then the server cannot finish a
    /// recording after a crash: the partner gets what was written down as it is.
    #[serde(default)]
    pub sealed: bool,
    /// What is recorded unless a room or a request says otherwise.
    #[serde(default, deserialize_with = "crate::object::read")]
    pub rule: RecordingRule,
}

fn path_default() -> String {
    "{room}/{recording}/{artifact}".to_owned()
}

fn max_age_default() -> u32 {
    limits::RECORDING_AGE_HOURS_DEFAULT
}

impl RecordingPolicy {
    /// Of a project that set none: nothing is recorded, there is nobody to seal it to.
    #[must_use]
    pub fn none() -> Self {
        Self { path: path_default(), max_age_hours: max_age_default(), ..Self::default() }
    }

    /// Checks ranges and the path.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let recipients = u32::try_from(self.recipients.len()).unwrap_or(u32::MAX);
        let keys = !self.recipients.iter().all(|key| is_recipient(key));
        let keys = keys.then(|| {
            FieldError::new("recipients", "must be public keys of age (age1…)".to_owned())
        });
        let path = path::error(&self.path).map(|why| FieldError::new("path", why.to_owned()));
        let age = range("max_age_hours", self.max_age_hours, 1, limits::RECORDING_AGE_HOURS_MAX);
        let own =
            collect([range("recipients", recipients, 0, limits::RECIPIENTS_MAX), keys, path, age]);
        both(own, self.rule.check("rule"))
    }
}

/// Where files are pushed to. Secrets are write-only: answers show `null` for them.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Storage {
    /// Amazon S3 and what speaks its protocol.
    S3 {
        /// `https://…`; none is Amazon's of the region.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 512)]
        endpoint: Option<String>,
        /// Region.
        #[schema(max_length = 64)]
        region: String,
        /// Bucket.
        #[schema(max_length = 64)]
        bucket: String,
        /// Access key id.
        #[schema(max_length = 256)]
        access_key: String,
        /// Secret access key.
        #[schema(max_length = 1024)]
        secret_key: Option<String>,
        /// Session token of temporary credentials; replace them by `PUT` before they end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 4096)]
        session_token: Option<String>,
        /// Whether the bucket is a part of the host's name and not of the path.
        #[serde(default)]
        virtual_host: bool,
        /// Whether SHA-256 goes with each part; `false` for servers that know nothing of
        /// `x-amz-checksum-sha256`: then everything is read back.
        #[serde(default = "yes")]
        #[schema(default = true)]
        checksums: bool,
    },
    /// Azure Blob Storage.
    Azure {
        /// `https://…`; none is Azure's of the account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 512)]
        endpoint: Option<String>,
        /// Storage account.
        #[schema(max_length = 64)]
        account: String,
        /// Container.
        #[schema(max_length = 64)]
        container: String,
        /// Access key of the account, base64, unless `sas` is given.
        #[schema(max_length = 1024)]
        access_key: Option<String>,
        /// Shared access signature of the container that may read, create, write and delete: `sv=…&sig=…`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 1024)]
        sas: Option<String>,
    },
    /// Google Cloud Storage.
    Gcs {
        /// Bucket.
        #[schema(max_length = 64)]
        bucket: String,
        /// Key of a service account, JSON.
        #[schema(max_length = 8192)]
        service_account: Option<String>,
    },
    /// SFTP.
    Sftp {
        /// Host name.
        #[schema(max_length = 253)]
        host: String,
        /// Port.
        #[schema(minimum = 1, maximum = 65535)]
        port: u32,
        /// User.
        #[schema(max_length = 64)]
        user: String,
        /// The server's public key as in `known_hosts`: `ssh-ed25519 AAAA…`.
        #[schema(max_length = 2048)]
        host_key: String,
        /// Folder under which files are put.
        #[serde(default)]
        #[schema(max_length = 256)]
        folder: String,
        /// Password, unless `private_key` is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 1024)]
        password: Option<String>,
        /// Private key in OpenSSH's form.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 8192)]
        private_key: Option<String>,
    },
    /// WebDAV.
    Webdav {
        /// `https://…`, the folder under which files are put.
        #[schema(max_length = 512)]
        url: String,
        /// User.
        #[schema(max_length = 64)]
        user: String,
        /// Password.
        #[schema(max_length = 1024)]
        password: Option<String>,
    },
    /// An HTTPS URL that takes `PUT` of each file and gives it back by `GET`: a server or gateway of the
    /// partner's, or a container of Azure with its shared access signature. What authorizes must hold for every
    /// path: a presigned URL of S3 or Google Cloud Storage is for one file.
    HttpPut {
        /// `https://…` with `{path}` where the file's path goes.
        #[schema(max_length = 2048)]
        url: String,
        /// Where a file is read back to verify it, with `{path}`; none is `url`. What cannot be read
        /// back is not delivered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 2048)]
        read_url: Option<String>,
        /// Value of the `Authorization` header, for both.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 2048)]
        authorization: Option<String>,
    },
    /// A folder of the server, if its operator has set one up.
    Local {},
}

fn yes() -> bool {
    true
}

/// Request to create a storage target.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "archive-eu",
    "storage": {
        "kind": "s3", "region": "eu-central-1", "bucket": "example-archive",
        "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    }
}))]
pub struct CreateStorageTarget {
    /// The partner's own opaque name for it.
    pub name: Handle,
    /// Where it is.
    pub storage: Storage,
}

/// A storage target.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "st_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "name": "archive-eu",
    "created_at": "2026-11-21T19:00:00.000Z",
    "storage": {
        "kind": "s3", "region": "eu-central-1", "bucket": "example-archive",
        "access_key": "AKIAIOSFODNN7EXAMPLE", "secret_key": null
    }
}))]
pub struct StorageTarget {
    /// `st_…`.
    pub id: String,
    /// The partner's own opaque name for it.
    pub name: Handle,
    /// When it was created.
    pub created_at: Timestamp,
    /// Where it is, without secrets.
    pub storage: Storage,
}

/// Storage targets.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StorageTargetList {
    /// Oldest first.
    pub targets: Vec<StorageTarget>,
}

/// What became of a test push: a small file was written, read back and deleted.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({ "ok": false, "step": "write", "reason": "credentials" }))]
pub struct StorageTested {
    /// Whether everything worked.
    pub ok: bool,
    /// What did not: `connect`, `write`, `read`, `verify` or `delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why; none when the storage could not be reached at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<BlockReason>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_says_everything_that_is_wrong() {
        let policy = RecordingPolicy {
            recipients: vec!["AGE-SECRET-KEY-1".to_owned()],
            path: "x".to_owned(),
            max_age_hours: 0,
            rule: RecordingRule { height: Some(1), ..RecordingRule::default() },
            ..RecordingPolicy::none()
        };
        let errors = policy.check().expect_err("wrong in four ways");
        assert_eq!(errors.len(), 4);
        assert!(RecordingPolicy::none().check().is_ok());
    }
}
