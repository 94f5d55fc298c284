//! The data directory: private to its owner, and where the database is in it.

use std::{
    fs, io,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use signaling::{Store, Vault};

use crate::config::file::{DatabaseUrl, Storage};

/// Name of the database in the data directory.
const DATABASE: &str = "conclave.db";
/// Name of the key in the data directory that seals secrets in the database.
const DATA_KEY: &str = "data.key";
/// The key itself, in base64, in place of the file.
const DATA_KEY_VARIABLE: &str = "CONCLAVE_DATA_KEY";
/// Locked by the server that uses the directory.
const LOCK: &str = "conclave.lock";
/// Only the owner may look inside.
const PRIVATE: u32 = 0o700;
/// Mode bits of group and world.
const OTHERS: u32 = 0o077;
/// Mode bit of directories that are shared by all, like /tmp.
const STICKY: u32 = 0o1000;

/// Sees to it that the directory is there for its owner only, and opens the database.
///
/// # Errors
/// When the directory, the key or the database cannot be used.
pub(crate) async fn open(storage: &Storage) -> anyhow::Result<Store> {
    let place = prepare(storage)?;
    Store::open(&place.url, place.vault).await.with_context(|| place.shown)
}

/// What is needed to open the database.
pub(crate) struct Place {
    /// With the password, if any: not to be shown.
    pub(crate) url: String,
    pub(crate) vault: Vault,
    /// Where the data key comes from.
    pub(crate) key: String,
    /// The database as it may be shown.
    pub(crate) shown: String,
}

/// Makes the directory and the key if needed.
///
/// # Errors
/// When they cannot be used.
pub(crate) fn prepare(storage: &Storage) -> anyhow::Result<Place> {
    let dir = &storage.data_dir;
    let shown = dir.display();
    close_to_others(dir).with_context(|| format!("data directory {shown}"))?;
    let (vault, key) = match std::env::var(DATA_KEY_VARIABLE) {
        Ok(key) if !key.is_empty() => {
            let vault = Vault::from_base64(&key).context(DATA_KEY_VARIABLE)?;
            (vault, DATA_KEY_VARIABLE.to_owned())
        }
        _ => {
            let file = storage.data_key_file.clone().unwrap_or_else(|| dir.join(DATA_KEY));
            let shown = file.display().to_string();
            (Vault::from_file(&file).with_context(|| shown.clone())?, shown)
        }
    };
    match &storage.database_url {
        Some(DatabaseUrl(url)) => {
            Ok(Place { url: url.clone(), vault, key, shown: "PostgreSQL".to_owned() })
        }
        None => {
            let url = url(&dir.canonicalize()?.join(DATABASE));
            Ok(Place { url, vault, key, shown: format!("database in {shown}") })
        }
    }
}

/// The SQLite file is this process's alone, apart from commands of the command line, for as long as
/// the value lives. The system takes it back however the process ends.
pub(crate) struct Alone {
    _lock: Option<fs::File>,
}

/// Keeps a second server off the SQLite file: each would think that all rooms are its own. Servers
/// share a PostgreSQL.
///
/// # Errors
/// When another server has it.
pub(crate) fn alone(storage: &Storage) -> anyhow::Result<Alone> {
    if storage.database_url.is_some() {
        return Ok(Alone { _lock: None });
    }
    let dir = &storage.data_dir;
    close_to_others(dir).with_context(|| format!("data directory {}", dir.display()))?;
    let path = dir.join(LOCK);
    let shown = path.display();
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(&path).with_context(|| format!("{shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(Alone { _lock: Some(file) }),
        Err(fs::TryLockError::WouldBlock) => bail!(
            "another conclave uses the data directory {}: stop it, or let servers share a \
             PostgreSQL (storage.database_url)",
            dir.display()
        ),
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("{shown}")),
    }
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

    fn storage(dir: &Path) -> Storage {
        Storage { data_dir: dir.to_owned(), ..Storage::default() }
    }

    #[test]
    fn a_second_server_is_kept_off_the_file() {
        let dir = made("alone", 0o700);
        let first = alone(&storage(&dir)).unwrap();
        let told = format!("{:#}", alone(&storage(&dir)).err().unwrap());
        assert!(told.contains("another conclave uses the data directory"), "{told}");
        drop(first);
        alone(&storage(&dir)).unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_wrong_data_key_is_told() {
        let dir = made("wrong-key", 0o700);
        open(&storage(&dir)).await.unwrap().close().await;
        let mut other = storage(&dir);
        other.data_key_file = Some(dir.join("other.key"));
        let told = format!("{:#}", open(&other).await.err().unwrap());
        assert!(told.contains("the data key is not the one of this database"), "{told}");
        open(&storage(&dir)).await.unwrap().close().await;
        fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_strange_directory_name_is_used_as_it_is_and_made_private() {
        let dir = std::env::temp_dir().join(format!("conclave ?#%ü {}", std::process::id()));
        let store = open(&storage(&dir)).await.unwrap();
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
