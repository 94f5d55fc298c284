//! The data directory: private to its owner, and where the database is in it.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use signaling::Store;

/// Name of the database in the data directory.
const DATABASE: &str = "conclave.db";
/// Only the owner may look inside.
const PRIVATE: u32 = 0o700;

/// Makes the directory if needed, closes it to others and opens the database in it.
///
/// # Errors
/// When the directory or the database cannot be used.
pub(crate) async fn open(dir: &Path) -> anyhow::Result<Store> {
    let shown = dir.display();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE)
        .create(dir)
        .with_context(|| format!("data directory {shown}"))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(PRIVATE))
        .with_context(|| format!("data directory {shown} cannot be closed to others"))?;
    let database = dir.canonicalize()?.join(DATABASE);
    Store::open(&url(&database)).await.with_context(|| format!("database in {shown}"))
}

/// The path as a URL, with everything escaped that a URL gives a meaning.
fn url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                url.push(char::from(*byte));
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_strange_directory_name_is_used_as_it_is_and_made_private() {
        let dir = std::env::temp_dir().join(format!("conclave ?#%ü {}", std::process::id()));
        let store = open(&dir).await.unwrap();
        store.ping().await.unwrap();
        store.close().await;
        assert!(dir.join(DATABASE).exists());
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, PRIVATE);
        fs::remove_dir_all(&dir).unwrap();
    }
}
