//! SSH: a file grows at its offset under another name, is synced, and gets its name in one step.

mod session;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use russh::keys::PrivateKey;

use self::session::Session;
use super::{
    Backend,
    error::StoreError,
    http::Http,
    target::{Sftp as Target, TargetError},
    template::Key,
    upload::{Upload, Way},
};

use crate::digest::Hasher;

/// A server with SSH.
pub(super) struct Sftp {
    target: Target,
    http: Http,
}

/// Whether keys of a configuration can be read.
pub(super) fn check_keys(target: &Target) -> Result<(), TargetError> {
    session::host_key(&target.host_key).ok_or(TargetError::SshKey("host_key"))?;
    match &target.private_key {
        Some(key) => private_key(key.expose()).map(drop).ok_or(TargetError::SshKey("private_key")),
        None => Ok(()),
    }
}

fn private_key(text: &str) -> Option<PrivateKey> {
    let key = PrivateKey::from_openssh(text).ok()?;
    (!key.is_encrypted() && !key.algorithm().is_rsa()).then_some(key)
}

impl Sftp {
    pub(super) fn new(target: &Target, http: Http) -> Result<Self, StoreError> {
        http.host(&target.host, target.port)?;
        Ok(Self { target: target.clone(), http })
    }

    async fn open(&self) -> Result<Session, StoreError> {
        Session::open(&self.target, &self.http).await
    }

    fn path(&self, key: &Key) -> String {
        match self.target.folder.as_str() {
            "" => key.as_str().to_owned(),
            folder => format!("{}/{key}", folder.trim_end_matches('/')),
        }
    }

    /// Until all of it is there.
    fn part_path(&self, key: &Key) -> String {
        format!("{}.part", self.path(key))
    }
}

#[async_trait]
impl Backend for Sftp {
    fn larger(&self) -> Way {
        Way::Append
    }

    async fn begin(&self, _key: &Key) -> Result<String, StoreError> {
        Ok(String::new())
    }

    async fn put_part(&self, upload: &Upload, data: Bytes) -> Result<String, StoreError> {
        let (session, path) = (self.open().await?, self.part_path(upload.key()));
        if upload.offset == 0 {
            session.make_folders(&path).await?;
        } else if session.size(&path).await?.is_none_or(|size| size < upload.offset) {
            // What was acknowledged is gone: a file with a hole would look whole.
            return Err(StoreError::Forgotten);
        }
        session.write(&path, upload.offset, data, &self.http.cap).await?;
        Ok(String::new())
    }

    async fn complete(&self, upload: &Upload) -> Result<(), StoreError> {
        let (session, part) = (self.open().await?, self.part_path(upload.key()));
        match session.size(&part).await? {
            Some(size) if size == upload.offset => {}
            Some(_) => return Err(StoreError::Forgotten),
            None => return Err(StoreError::Missing),
        }
        session.rename(&part, &self.path(upload.key())).await
    }

    async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        let session = self.open().await?;
        match session.remove(&self.part_path(upload.key())).await {
            Err(StoreError::Missing) => Ok(()),
            other => other,
        }
    }

    async fn size(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        self.open().await?.size(&self.path(key)).await
    }

    /// In one session: a server lets few be opened at once.
    async fn sizes(&self, keys: &[Key]) -> Vec<Result<Option<u64>, StoreError>> {
        let session = match self.open().await {
            Ok(session) => session,
            Err(error) => return vec![Err(error); keys.len()],
        };
        let paths: Vec<String> = keys.iter().map(|key| self.path(key)).collect();
        join_all(paths.iter().map(|path| session.size(path))).await
    }

    async fn read(&self, key: &Key, into: &mut Hasher) -> Result<u64, StoreError> {
        let session = self.open().await?;
        session.read(&self.path(key), into, &self.http.cap).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.open().await?.remove(&self.path(key)).await
    }
}
