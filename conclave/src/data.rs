//! The data directory: private to its owner, and where the database is in it.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use signaling::{Store, Vault};

/// Name of the database in the data directory.
const DATABASE: &str = "conclave.db";
/// Name of the key in the data directory that seals secrets in the database.
const DATA_KEY: &str = "data.key";
/// Only the owner may look inside.
const PRIVATE: u32 = 0o700;
/// Mode bits of group and world.
const OTHERS: u32 = 0o077;
/// Mode bit of directories that are shared by all, like /tmp.
const STICKY: u32 = 0o1000;

/// Makes the directory if needed, sees to it that others cannot look inside and opens the database
/// in it.
///
/// # Errors
/// When the directory or the database cannot be used.
pub(crate) async fn open(dir: &Path) -> anyhow::Result<Store> {
    let shown = dir.display();
    close_to_others(dir).with_context(|| format!("data directory {shown}"))?;
    let dir = dir.canonicalize()?;
    let vault = Vault::from_file(&dir.join(DATA_KEY))?;
    let database = dir.join(DATABASE);
    Store::open(&url(&database), vault).await.with_context(|| format!("database in {shown}"))
}

/// Makes a missing directory private. One that exists is closed only when it is ours: a directory
/// like /tmp belongs to others too.
fn close_to_others(dir: &Path) -> anyhow::Result<()> {
    let found = match fs::metadata(dir) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut private = fs::DirBuilder::new();
            private.mode(PRIVATE);
            if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
                private.recursive(true).create(above)?;
            }
            // Fails when somebody else has made it meanwhile.
            return Ok(private.recursive(false).create(dir)?);
        }
        Err(error) => return Err(error.into()),
    };
    ensure!(found.is_dir(), "is no directory");
    match judge(dir, &found) {
        Openness::Private => Ok(()),
        Openness::Refused => bail!("{}. {}", open_to_others(&found), remedy(dir)),
        Openness::Ours => fs::set_permissions(dir, fs::Permissions::from_mode(PRIVATE))
            .with_context(|| format!("{}. {}", open_to_others(&found), remedy(dir))),
    }
}

/// Who may look into an existing directory, and whether we may change that.
pub(crate) enum Openness {
    /// Nobody else.
    Private,
    /// Others, but it was a data directory before: the server closes it at its start.
    Ours,
    /// Others; the server refuses it.
    Refused,
}

/// What the server makes of an existing directory.
pub(crate) fn judge(dir: &Path, found: &fs::Metadata) -> Openness {
    match found.mode() & OTHERS {
        0 => Openness::Private,
        _ if holds_our_database(dir, found) => Openness::Ours,
        _ => Openness::Refused,
    }
}

/// What is wrong with a directory that is not private.
pub(crate) fn open_to_others(found: &fs::Metadata) -> String {
    format!("is open to other users (mode {:o})", found.mode() & 0o7777)
}

/// What the operator can do about it. A volume's own root often belongs to root.
pub(crate) fn remedy(dir: &Path) -> String {
    let shown = dir.display();
    format!(
        "If it is for conclave alone, run as its owner: chmod 700 '{shown}'; else name another \
         one, such as a subdirectory of it: conclave makes it"
    )
}

/// Whether the directory was a data directory before: the database is in it, of the same owner (in
/// a directory shared by all, anybody can put a file of that name).
fn holds_our_database(dir: &Path, found: &fs::Metadata) -> bool {
    let database = fs::symlink_metadata(dir.join(DATABASE));
    found.mode() & STICKY == 0
        && database.is_ok_and(|file| file.is_file() && file.uid() == found.uid())
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

    fn made(name: &str, mode: u32) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        dir
    }

    fn mode(dir: &Path) -> u32 {
        fs::metadata(dir).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_directory_of_others_is_refused_and_left_as_it_is() {
        for open in [0o1777, 0o755, 0o750] {
            let dir = made("shared", open);
            let told = format!("{:#}", close_to_others(&dir).unwrap_err());
            assert!(told.contains("chmod 700 '") && told.contains("conclave-shared"), "{told}");
            assert_eq!(mode(&dir), open);
            fs::remove_dir_all(&dir).unwrap();
        }
        // Anybody may have put the file there.
        let dir = made("sticky", 0o1777);
        fs::write(dir.join(DATABASE), b"").unwrap();
        assert!(close_to_others(&dir).is_err());
        assert_eq!(mode(&dir), 0o1777);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_directory_with_our_database_is_closed_again() {
        let dir = made("opened", 0o755);
        fs::write(dir.join(DATABASE), b"").unwrap();
        close_to_others(&dir).unwrap();
        assert_eq!(mode(&dir), PRIVATE);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_private_directory_is_used_as_it_is() {
        let dir = made("private", 0o500);
        close_to_others(&dir).unwrap();
        assert_eq!(mode(&dir), 0o500);
        fs::remove_dir_all(&dir).unwrap();
    }
}
