//! What the demo remembers between starts: its API key and the join code, in a file that only the
//! owner can read.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};

/// Name of the file in the data directory.
const FILE: &str = "demo.json";
/// Characters of a join code: 20 of 32 kinds are 100 random bits.
const CODE_CHARS: usize = 20;
/// Crockford base32 in lower case: survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Secrets of the demo; no `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// Key of the demo's project.
    pub(crate) api_key: String,
    /// What the page must show to be let in.
    pub(crate) join_code: String,
    /// Public key that the demo's recordings are sealed to; the secret one is in [`IDENTITY`].
    #[serde(default)]
    pub(crate) recipient: String,
}

/// Name of the file in the data directory with the identity that opens the demo's recordings.
const IDENTITY: &str = "demo-identity.txt";

/// The public key of the demo's identity, which is made on the first start.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn recipient(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join(IDENTITY);
    let shown = path.display().to_string();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (identity, public) = recorder::seal::new_identity();
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(identity.as_bytes())?;
            file.sync_all()?;
            return Ok(public);
        }
        Err(error) => return Err(error).context(shown),
    };
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: "));
    public.map(str::to_owned).with_context(|| format!("{shown} names no public key"))
}

/// A new join code.
///
/// # Errors
/// When the system has no randomness.
pub(crate) fn join_code() -> anyhow::Result<String> {
    let mut bytes = [0u8; CODE_CHARS];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("randomness: {error}"))?;
    Ok(bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect())
}

/// The credentials of an earlier start, if there was one.
///
/// # Errors
/// When the file is there but cannot be read.
pub(crate) fn load(data_dir: &Path) -> anyhow::Result<Option<Credentials>> {
    let path = data_dir.join(FILE);
    match fs::read(&path) {
        Ok(text) => {
            let remedy = format!("{} is damaged; remove it to begin anew", path.display());
            serde_json::from_slice(&text).context(remedy).map(Some)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Writes the credentials; a crash leaves the old file or the new one, never half of it.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn save(data_dir: &Path, credentials: &Credentials) -> anyhow::Result<()> {
    let (new, path) = (data_dir.join(format!("{FILE}.new")), data_dir.join(FILE));
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(credentials)?)?;
    file.sync_all()?;
    fs::rename(&new, &path).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn credentials_are_kept_private_and_damage_is_told() {
        let dir = std::env::temp_dir().join(format!("conclave-demo-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        assert!(load(&dir).unwrap().is_none());
        let (api_key, recipient) = ("key".to_owned(), String::new());
        let made = Credentials { api_key, join_code: join_code().unwrap(), recipient };
        save(&dir, &made).unwrap();
        let loaded = load(&dir).unwrap().unwrap();
        assert_eq!((loaded.api_key, &loaded.join_code), ("key".to_owned(), &made.join_code));
        assert_eq!(made.join_code.len(), CODE_CHARS);
        assert_eq!(fs::metadata(dir.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(dir.join(FILE), b"{").unwrap();
        assert!(load(&dir).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
