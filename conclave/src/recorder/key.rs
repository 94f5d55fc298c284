//! The key of this data directory for the link between media and recorder, and whose keys it believes.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bus::link::{Fingerprint, Identity, Trust};
use zeroize::Zeroizing;

use crate::config::Config;

/// The key in the data directory: Ed25519, PKCS#8.
const KEY: &str = "link.key";
/// Longer than any such key.
const KEY_BYTES_MAX: u64 = 1024;

/// What the other side of a link is. Whom we believe as the one we do not believe as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Recorder,
    Server,
}

impl Peer {
    /// Their keys as configured, and what that setting is called.
    fn named(self, config: &Config) -> (&[String], &'static str) {
        match self {
            Self::Recorder => (&config.link.recorders, "link.recorders"),
            Self::Server => (&config.link.servers, "link.servers"),
        }
    }
}

/// Our key, made if missing, and those of the other side: as configured, or else our own, for processes that
/// share a data directory.
///
/// # Errors
/// The key cannot be read or made, or a fingerprint is none.
pub(crate) fn trust(config: &Config, peer: Peer) -> anyhow::Result<Trust> {
    let identity = identity(&config.storage.data_dir)?;
    let (named, setting) = peer.named(config);
    let peers: Result<Vec<Fingerprint>, _> = named.iter().map(|key| key.parse()).collect();
    let mut peers = peers.context(setting)?;
    if peers.is_empty() {
        peers.push(identity.fingerprint());
    }
    Ok(Trust { identity, peers })
}

/// The key of a data directory, made if missing.
///
/// # Errors
/// It cannot be read or made.
pub(crate) fn identity(data_dir: &Path) -> anyhow::Result<Identity> {
    let path = data_dir.join(KEY);
    let shown = || path.display().to_string();
    let kept = match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(&path).with_context(shown)?;
            read(&path)
        }
        other => other,
    };
    Identity::from_pkcs8(&kept.with_context(shown)?).with_context(shown)
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX as usize));
    fs::File::open(path)?.take(KEY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whole or not at all; of two processes that start at once one wins.
fn make(path: &Path) -> io::Result<()> {
    let key = Identity::generate().map_err(io::Error::other)?;
    let new: PathBuf = path.with_extension(format!("{:x}.new", rand::random::<u64>()));
    let mut options = OpenOptions::new();
    let made = (|| {
        let mut file = options.write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&key)?;
        file.sync_all()?;
        match fs::hard_link(&new, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    })();
    fs::remove_file(&new).and(made)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_key_of_a_directory_stays_and_is_for_its_owner_only() {
        let dir = std::env::temp_dir().join(format!("conclave-link-key-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let dir = dir.clone();
                std::thread::spawn(move || identity(&dir).unwrap().fingerprint())
            })
            .collect();
        let first = identity(&dir).unwrap().fingerprint();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), first));
        assert_eq!(fs::metadata(dir.join(KEY)).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "nothing half made is left");
        let mut config = Config::default();
        config.storage.data_dir.clone_from(&dir);
        let peers = |config: &Config| {
            [Peer::Recorder, Peer::Server].map(|peer| trust(config, peer).unwrap().peers)
        };
        assert_eq!(peers(&config), [[first], [first]]);
        let other = "ab".repeat(32);
        config.link.servers = vec![other.clone()];
        let other = other.parse().unwrap();
        assert_eq!(peers(&config), [[first], [other]], "nobody is both by being one");
        fs::write(dir.join(KEY), b"no key").unwrap();
        assert!(identity(&dir).is_err(), "never replaced");
        fs::remove_dir_all(&dir).unwrap();
    }
}
