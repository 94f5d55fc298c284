//! A folder of this machine that the operator allows: for the demo, and for storages that are
//! mounted. Written under another name, synced, renamed. Below the folder no symbolic link is followed.

use std::{
    fs::File,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::fs::FileExt as _},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::{Mode, mkdirat},
    unistd::{UnlinkatFlags, fsync, unlinkat},
};

use super::{
    Backend,
    cap::Cap,
    error::{Answer, StoreError},
    template::Key,
    upload::{Upload, Way},
};
use crate::{digest::Hasher, limits::PUSH_SLICE_BYTES};

/// The folder.
pub(super) struct Local {
    folder: PathBuf,
    cap: Cap,
}

impl Local {
    /// `allowed`: folders below which the operator lets recordings go.
    pub(super) fn new(folder: &Path, allowed: &[PathBuf], cap: Cap) -> Result<Self, StoreError> {
        if !allowed.iter().any(|allowed| folder.starts_with(allowed)) {
            return Err(StoreError::ForbiddenAddress("the operator does not allow this folder"));
        }
        Ok(Self { folder: folder.to_owned(), cap })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.folder.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.map_err(|_| StoreError::Disk(io::ErrorKind::Other))?.map_err(|error| failed(&error))
    }
}

fn failed(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Missing,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        io::ErrorKind::PermissionDenied => {
            StoreError::Credentials(Answer { status: 0, code: None })
        }
        kind => StoreError::Disk(kind),
    }
}

/// The folder that `name` lies in, and the rest of the name.
fn parent<'n>(folder: &Path, name: &'n str, make: bool) -> io::Result<(OwnedFd, &'n str)> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = nix::fcntl::open(folder, flags, Mode::empty())?;
    let mut rest = name;
    while let Some((segment, after)) = rest.split_once('/') {
        if make {
            match mkdirat(&at, segment, Mode::S_IRWXU) {
                Ok(()) => fsync(&at)?,
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        at = openat(&at, segment, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
        rest = after;
    }
    Ok((at, rest))
}

fn open(folder: &Path, name: &str, flags: OFlag) -> io::Result<File> {
    let (parent, name) = parent(folder, name, flags.contains(OFlag::O_CREAT))?;
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(File::from(openat(&parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
}

fn remove(folder: &Path, name: &str) -> io::Result<()> {
    let (parent, name) = parent(folder, name, false)?;
    unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir)?;
    Ok(fsync(&parent)?)
}

fn part(key: &Key) -> String {
    format!("{key}.part")
}

#[async_trait]
impl Backend for Local {
    fn larger(&self) -> Way {
        Way::Append
    }

    async fn begin(&self, _key: &Key) -> Result<String, StoreError> {
        Ok(String::new())
    }

    async fn put_part(&self, upload: &Upload, data: Bytes) -> Result<String, StoreError> {
        self.cap.wait(data.len()).await;
        let (name, offset) = (part(upload.key()), upload.offset);
        let write = move |folder: &Path| {
            // Made for the first part only: what was aborted does not come back.
            let made = if offset == 0 { OFlag::O_CREAT } else { OFlag::empty() };
            let file = open(folder, &name, OFlag::O_WRONLY | made)?;
            if file.metadata()?.len() < offset {
                return Ok(false);
            }
            file.set_len(offset)?;
            file.write_all_at(&data, offset)?;
            file.sync_data()?;
            Ok(true)
        };
        if self.run(write).await? { Ok(String::new()) } else { Err(StoreError::Forgotten) }
    }

    async fn complete(&self, upload: &Upload) -> Result<(), StoreError> {
        let (key, bytes) = (upload.key().clone(), upload.offset);
        let rename = move |folder: &Path| {
            let file = open(folder, &part(&key), OFlag::O_RDONLY)?;
            if file.metadata()?.len() != bytes {
                return Ok(false);
            }
            file.sync_all()?;
            let (parent, name) = parent(folder, key.as_str(), false)?;
            renameat(&parent, format!("{name}.part").as_str(), &parent, name)?;
            fsync(&parent)?;
            Ok(true)
        };
        if self.run(rename).await? { Ok(()) } else { Err(StoreError::Forgotten) }
    }

    async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let name = part(upload.key());
        match self.run(move |folder| remove(folder, &name)).await {
            Err(StoreError::Missing) => Ok(()),
            other => other,
        }
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        let name = key.to_string();
        let size = move |folder: &Path| Ok(open(folder, &name, OFlag::O_RDONLY)?.metadata()?.len());
        match self.run(size).await {
            Ok(size) => Ok(Some(size)),
            Err(StoreError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, key: &Key, into: &mut Hasher) -> Result<u64, StoreError> {
        let (name, mut running) = (key.to_string(), into.clone());
        let read = move |folder: &Path| {
            let mut file = open(folder, &name, OFlag::O_RDONLY)?;
            let (mut block, mut length) = (vec![0; PUSH_SLICE_BYTES], 0);
            loop {
                let count = file.read(&mut block)?;
                if count == 0 {
                    return Ok((running, length));
                }
                running.update(&block[..count]);
                length += count as u64;
            }
        };
        let (running, length) = self.run(read).await?;
        *into = running;
        Ok(length)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let name = key.to_string();
        self.run(move |folder| remove(folder, &name)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn no_link_leads_out_of_the_folder() {
        let root = std::env::temp_dir().join(format!("conclave-local-{}", std::process::id()));
        let (inside, outside) = (root.join("in"), root.join("out"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join("file"), inside.join("x.part")).unwrap();
        let allowed = [root.clone()];
        let local = Local::new(&inside, &allowed, Cap::new(None)).unwrap();
        for name in ["link/file", "x"] {
            let upload = Upload::new(&Key::parse(name).unwrap(), Some(1), Way::Append).unwrap();
            assert!(local.put_part(&upload, Bytes::from("x")).await.is_err(), "{name}");
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
        assert!(Local::new(&inside, std::slice::from_ref(&outside), Cap::new(None)).is_err());
        assert!(Local::new(&root.with_extension("x"), &allowed, Cap::new(None)).is_err());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
