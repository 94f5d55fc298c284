//! What makes the recorder's folder its own: a lock against other processes, and its name.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use sfu_proto::id::NodeId;
use tokio::time::{Instant, sleep};

/// Locked by the process whose recorder uses the folder.
const LOCK: &str = "recorder.lock";
/// The recorder's name.
const NAME: &str = "name";
/// How long a process before this one may take to end: it closes journals and jobs within that.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(20);
/// Time between two looks at the lock.
const LOCK_LOOK: Duration = Duration::from_millis(100);

/// The lock of the folder, waited for up to `wait`. The system takes it back however the process ends;
/// servers that share a database have a folder each.
///
/// # Errors
/// Another process has it.
pub(super) async fn lock(folder: &Path, wait: Duration) -> anyhow::Result<File> {
    let path = folder.join(LOCK);
    let shown = path.display();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.open(&path).with_context(|| format!("{shown}"))?;
    let until = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOCK_LOOK).await,
            Err(TryLockError::WouldBlock) => bail!(
                "another conclave uses the recorder's folder {}: stop it, or give each server a \
                 data directory of its own (storage.data_dir)",
                folder.display()
            ),
            Err(TryLockError::Error(error)) => return Err(error).context(format!("{shown}")),
        }
    }
}

/// A name that stays over restarts: what is on this disk only this recorder can finish.
///
/// # Errors
/// It cannot be read or written, or is damaged.
pub(super) fn name(folder: &Path) -> anyhow::Result<String> {
    let file = folder.join(NAME);
    let shown = file.display();
    match fs::read_to_string(&file) {
        Ok(name) if name.trim().parse::<NodeId>().is_ok() => Ok(name.trim().to_owned()),
        Ok(_) => bail!(
            "{shown} names no recorder. Write the name there that this server's recordings have in \
             the database (column `recorder` of table `recordings`); when it never recorded \
             anything, remove the file"
        ),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = NodeId::from_bits(rand::random()).to_string();
            keep(folder, &name).with_context(|| format!("{shown}"))?;
            Ok(name)
        }
        Err(error) => Err(error).with_context(|| format!("{shown}")),
    }
}

/// A crash leaves the whole name or none.
fn keep(folder: &Path, name: &str) -> io::Result<()> {
    let new = folder.join(format!("{NAME}.new"));
    let mut options = OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(name.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::PathBuf;

    use super::*;

    fn made(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("conclave-own-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[tokio::test]
    async fn a_second_recorder_waits_for_the_first_and_is_refused_then() {
        let dir = made("lock");
        let first = lock(&dir, Duration::ZERO).await.unwrap();
        let told = format!("{:#}", lock(&dir, Duration::from_millis(200)).await.unwrap_err());
        assert!(told.contains("another conclave uses the recorder's folder"), "{told}");
        let ends = async {
            sleep(Duration::from_millis(300)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(lock(&dir, LOCK_WAIT), ends);
        second.unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_name_stays_and_a_damaged_one_is_refused() {
        let dir = made("name");
        let first = name(&dir).unwrap();
        assert_eq!(name(&dir).unwrap(), first);
        assert!(!dir.join("name.new").exists());
        for damaged in ["", "\0\0\0\0", "somebody"] {
            fs::write(dir.join(NAME), damaged).unwrap();
            let told = format!("{:#}", name(&dir).unwrap_err());
            assert!(told.contains("names no recorder"), "{told}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
