//! A storage target of the contract as the recorder reads it: both have the same names for everything.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use recorder::storage::{Target, TargetError};
use sdk_spec::{problem::FieldError, rest::recordings::Storage};
use serde_json::Value;

/// `None`: it cannot be used, for example a folder where the operator has none for recordings.
pub(super) fn of(storage: &Storage, project: &str, local: Option<&Path>) -> Option<Target> {
    let folder = match storage {
        Storage::Local {} => Some(own_folder(local?, project)?),
        _ => None,
    };
    parse(storage, folder)
        .inspect_err(|error| {
            tracing::warn!(field = error.field(), %error, "a storage target cannot be used");
        })
        .ok()
}

/// Whether the recorder can use these settings, as far as that can be told without asking the storage.
///
/// # Errors
/// The field that it cannot use.
pub(super) fn check(storage: &Storage) -> Result<(), FieldError> {
    // Whether there is a local folder is the operator's affair.
    let any = matches!(storage, Storage::Local {}).then(|| PathBuf::from("/"));
    parse(storage, any).map(drop).map_err(|error| {
        let field = error.field().map_or("storage".to_owned(), |field| format!("storage.{field}"));
        FieldError::new(&field, error.to_string())
    })
}

fn parse(storage: &Storage, folder: Option<PathBuf>) -> Result<Target, TargetError> {
    let mut json = serde_json::to_value(storage).unwrap_or_default();
    if let (Some(folder), Some(fields)) = (folder, json.as_object_mut()) {
        fields.insert("folder".to_owned(), Value::String(folder.to_string_lossy().into_owned()));
    }
    Target::parse(&json.to_string())
}

/// A project's folder in the operator's, made if missing.
fn own_folder(local: &Path, project: &str) -> Option<PathBuf> {
    let folder = local.join(project);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.inspect_err(|error| tracing::error!(%error, "the local folder for recordings fails"))
        .ok()?;
    Some(folder)
}
