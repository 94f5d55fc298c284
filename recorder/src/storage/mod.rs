//! Partners' storages: the only place that speaks to them.
//!
//! ```text
//!  Target ─▶ Storages::open ─▶ Store: begin ─▶ put_part … ─▶ finish ─▶ verify
//!  (JSON)    egress, cap          └──── Upload: kept by the caller after each part
//! ```
//!
//! A caller keeps the [`Upload`] after each call; a new process goes on with it. Nothing is tried
//! again in here: [`delay`] says when, and [`StoreError::is_blocking`] whether somebody must act first.

mod cap;
mod connector;
mod error;
mod http;
mod local;
mod objects;
mod probe;
mod put;
mod schedule;
mod sftp;
mod target;
mod template;
mod upload;
mod webdav;

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use self::http::Http;
pub use self::{
    cap::Cap,
    error::{Answer, Blame, Code, StoreError},
    probe::{NAME as TEST_NAME, Probe, Step},
    schedule::delay,
    target::{Azure, Gcs, HttpPut, Local, S3, Secret, Sftp, Target, TargetError, Webdav},
    template::{Key, Template, TemplateError, Values},
    upload::{Part, Upload, Way},
};

pub use crate::evidence::Verified;
use crate::{Digest, digest::Hasher, limits::ARRIVED_LOOKS};

/// One kind of storage. Each call may be repeated.
#[async_trait]
trait Backend: Send + Sync {
    /// How it takes what is larger than a part.
    fn larger(&self) -> Way;
    /// Begins an upload of more than one part; what the storage calls it.
    async fn begin(&self, key: &Key) -> Result<String, StoreError>;
    /// Stores the part that comes next; what the storage calls it.
    async fn put_part(&self, upload: &Upload, data: Bytes) -> Result<String, StoreError>;
    /// Makes the object of its parts.
    async fn complete(&self, upload: &Upload) -> Result<(), StoreError>;
    /// Takes back what is there of an upload that is not complete.
    async fn abort(&self, upload: &Upload) -> Result<(), StoreError>;
    /// Bytes of an object; `None` without it.
    async fn size(&self, key: &Key) -> Result<Option<u64>, StoreError>;
    /// Bytes of objects, as [`Self::size`]; each look may fail by itself.
    async fn sizes(&self, keys: &[Key]) -> Vec<Result<Option<u64>, StoreError>> {
        let looks: Vec<_> = keys.iter().map(|key| self.size(key)).collect();
        stream::iter(looks).buffered(ARRIVED_LOOKS).collect().await
    }
    /// Whether the storage tells a checksum of its own, and it is that of what was sent.
    async fn is_proven(&self, _upload: &Upload) -> Result<bool, StoreError> {
        Ok(false)
    }
    /// Reads an object; its length.
    async fn read(&self, key: &Key, into: &mut Hasher) -> Result<u64, StoreError>;
    /// Deletes an object.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;
}

/// What a process needs to reach storages.
#[derive(Clone)]
pub struct Storages {
    dialer: egress::Dialer,
    cap: Cap,
    local_folders: Vec<PathBuf>,
}

/// What an artifact is, known before it is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Its length.
    pub bytes: u64,
    /// Of all its bytes.
    pub sha256: Digest,
}

/// A storage, opened.
pub struct Store {
    backend: Box<dyn Backend>,
}

impl Storages {
    /// `dialer` holds the operator's rules for addresses, `local_folders` are those that
    /// [`Target::Local`] may name.
    pub fn new(dialer: egress::Dialer, cap: Cap, local_folders: Vec<PathBuf>) -> Self {
        Self { dialer, cap, local_folders }
    }

    /// The same without a cap: for what is small and must not wait behind files.
    #[must_use]
    pub fn uncapped(&self) -> Self {
        Self { cap: Cap::new(None), ..self.clone() }
    }

    /// Makes a target usable; connects to nothing yet. Lookups of names count for `project`.
    ///
    /// # Errors
    /// Settings that cannot be used, and addresses that are not allowed as they are written.
    pub fn open(&self, target: &Target, project: &str) -> Result<Store, StoreError> {
        let http = Http::new(self.dialer.clone(), project, self.cap.clone());
        let backend: Box<dyn Backend> = match target {
            Target::S3(s3) => Box::new(objects::Objects::s3(s3, http)?),
            Target::Azure(azure) => Box::new(objects::Objects::azure(azure, http)?),
            Target::Gcs(gcs) => Box::new(objects::Objects::gcs(gcs, http)?),
            Target::Sftp(sftp) => Box::new(sftp::Sftp::new(sftp, http)?),
            Target::Webdav(dav) => Box::new(webdav::Webdav::new(dav, http)?),
            Target::HttpPut(put) => Box::new(put::Put::new(put, http)?),
            Target::Local(local) => {
                let cap = self.cap.clone();
                Box::new(local::Local::new(&local.folder, &self.local_folders, cap)?)
            }
        };
        Ok(Store { backend })
    }
}

impl Store {
    /// Begins an upload. `bytes`: its length, if it is known. What does not become whole is to be
    /// given to [`Self::abort`].
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin(&self, key: &Key, bytes: Option<u64>) -> Result<Upload, StoreError> {
        let mut upload = Upload::new(key, bytes, self.backend.larger())?;
        if upload.way == Way::Multipart {
            upload.id = self.backend.begin(key).await?;
        }
        Ok(upload)
    }

    /// Stores the next part: [`Upload::part_bytes`] from [`Upload::offset`] on, the last one fewer.
    /// The upload is unchanged when it fails; then the same part is due again.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn put_part(&self, upload: &mut Upload, data: Bytes) -> Result<(), StoreError> {
        upload.check(&data)?;
        let id = self.backend.put_part(upload, data.clone()).await?;
        upload.on_part(id, &data);
        Ok(())
    }

    /// Makes it one object. May be repeated after a crash: what an earlier call completed is found.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn finish(&self, upload: &mut Upload) -> Result<(), StoreError> {
        upload.check_whole()?;
        if upload.is_done {
            return Ok(());
        }
        if let Err(error) = self.backend.complete(upload).await {
            // A completed upload is unknown to most, forbidden to some. Only the object tells.
            if self.backend.size(upload.key()).await != Ok(Some(upload.offset())) {
                return Err(error);
            }
        }
        upload.is_done = true;
        Ok(())
    }

    /// All of it at once, for what is small: at most 16 MiB.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn put(&self, key: &Key, data: Bytes) -> Result<Upload, StoreError> {
        let mut upload = self.begin(key, Some(data.len() as u64)).await?;
        self.put_part(&mut upload, data).await?;
        self.finish(&mut upload).await?;
        Ok(upload)
    }

    /// Proves that the storage has what was sent: size, then its own checksum, else by reading all of
    /// it back.
    ///
    /// # Errors
    /// [`StoreError::Checksum`] when it has something else, [`StoreError::Missing`] when nothing.
    pub async fn verify(&self, upload: &Upload, is: Expected) -> Result<Verified, StoreError> {
        if !upload.is_done || upload.offset() != is.bytes {
            return Err(StoreError::Parts("not the announced size"));
        }
        let digest = upload.digest();
        if digest.is_some_and(|digest| digest != is.sha256) {
            return Err(StoreError::Parts("not the announced bytes"));
        }
        // The storage's checksum proves what was sent; that it was the artifact is known only to
        // the process that has seen all of it go by. One that does not fit proves nothing: servers
        // differ in what they call the checksum of parts.
        if digest.is_some()
            && self.backend.is_proven(upload).await?
            && self.backend.size(upload.key()).await? == Some(is.bytes)
        {
            return Ok(Verified::ProviderChecksum);
        }
        self.read_back(upload, is).await
    }

    async fn read_back(&self, upload: &Upload, is: Expected) -> Result<Verified, StoreError> {
        let mut running = Hasher::new();
        let mut length = 0;
        for name in upload.names() {
            length += self.backend.read(&name, &mut running).await?;
        }
        if length != is.bytes || running.finish() != is.sha256 {
            return Err(StoreError::Checksum);
        }
        Ok(Verified::ReadBack)
    }

    /// Whether files that were verified before are there still, by their sizes; what the storage tells no
    /// size of is read back. Each look may fail by itself.
    pub async fn are_there(&self, files: &[(&Upload, Expected)]) -> Vec<Result<bool, StoreError>> {
        let names: Vec<Vec<Key>> = files.iter().map(|(upload, _)| upload.names()).collect();
        let mut sizes = self.backend.sizes(&names.concat()).await.into_iter();
        let mut found = Vec::with_capacity(files.len());
        for ((upload, is), names) in files.iter().zip(names) {
            let sizes: Vec<_> = sizes.by_ref().take(names.len()).collect();
            let sizes: Result<Option<Vec<u64>>, _> = sizes.into_iter().collect();
            found.push(match sizes {
                Ok(sizes) => Ok(sizes.is_some_and(|sizes| sizes.iter().sum::<u64>() == is.bytes)),
                Err(StoreError::Protocol) => self.is_read_back(upload, *is).await,
                Err(error) => Err(error),
            });
        }
        found
    }

    /// Whether we may look at what is there: some storages say of what is missing that we may not, to those
    /// that may not list. Puts a small file at `key`, looks at it and deletes it.
    ///
    /// # Errors
    /// [`StoreError`], also when not even that can be put there.
    pub async fn may_look(&self, key: &Key) -> Result<bool, StoreError> {
        self.put(key, Bytes::from_static(probe::TEXT)).await?;
        let seen = self.backend.size(key).await;
        let _ = self.backend.delete(key).await; // Few may; its name says what it is.
        match seen {
            Ok(Some(_)) => Ok(true),
            Ok(None) => Err(StoreError::Missing),
            Err(StoreError::Protocol) => Ok(true),
            Err(error) if error.is_blocking() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn is_read_back(&self, upload: &Upload, is: Expected) -> Result<bool, StoreError> {
        match self.read_back(upload, is).await {
            Ok(_) => Ok(true),
            Err(StoreError::Checksum | StoreError::Missing) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Bytes of an object; `None` without it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn head(&self, key: &Key) -> Result<Option<u64>, StoreError> {
        self.backend.size(key).await
    }

    /// Takes back what is there of an upload that will not be finished. Azure forgets its blocks by
    /// itself after a week; a presigned URL takes nothing back.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn abort(&self, upload: &Upload) -> Result<(), StoreError> {
        if upload.is_done {
            return Ok(());
        }
        match self.backend.abort(upload).await {
            Err(StoreError::Forgotten | StoreError::Missing) => Ok(()),
            other => other,
        }
    }

    /// Writes a small object, reads it back and deletes it: which permission is missing.
    pub async fn test_push(&self) -> Probe {
        probe::test_push(self).await
    }
}
