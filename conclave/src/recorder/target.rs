//! A storage target of the contract as the recorder reads it.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use recorder::storage::Target;
use sdk_spec::rest::recordings::Storage;
use serde_json::{Value, json};

/// `None`: it cannot be used, for example a folder where the operator has none for recordings.
pub(super) fn of(storage: Storage, project: &str, local: Option<&Path>) -> Option<Target> {
    let mut json = match storage {
        Storage::S3 { endpoint, region, bucket, access_key, secret_key } => json!({
            "type": "s3", "endpoint": endpoint, "region": region, "bucket": bucket,
            "access_key": access_key, "secret": secret_key,
        }),
        Storage::Azure { endpoint, account, container, access_key } => json!({
            "type": "azure", "endpoint": endpoint, "account": account, "container": container,
            "access_key": access_key,
        }),
        Storage::Gcs { bucket, service_account } => json!({
            "type": "gcs", "bucket": bucket, "service_account": service_account,
        }),
        Storage::Sftp { host, port, user, host_key, folder, password, private_key } => json!({
            "type": "sftp", "host": host, "port": port, "user": user, "host_key": host_key,
            "folder": folder, "password": password, "key": private_key,
        }),
        Storage::Webdav { url, user, password } => json!({
            "type": "webdav", "url": url, "user": user, "password": password,
        }),
        Storage::HttpPut { url, read_url, authorization } => json!({
            "type": "put", "url": url.replace("{path}", "{key}"),
            "read_url": read_url.map(|url| url.replace("{path}", "{key}")),
            "authorization": authorization,
        }),
        Storage::Local {} => json!({ "type": "local", "folder": own_folder(local?, project)? }),
    };
    if let Some(fields) = json.as_object_mut() {
        fields.retain(|_, value| *value != Value::Null);
    }
    Target::parse(&json.to_string())
        .inspect_err(|error| tracing::warn!(%error, "a storage target cannot be used"))
        .ok()
}

/// A project's folder in the operator's, made if missing.
fn own_folder(local: &Path, project: &str) -> Option<PathBuf> {
    let folder = local.join(project);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.inspect_err(|error| tracing::error!(%error, "the local folder for recordings fails"))
        .ok()?;
    Some(folder)
}
