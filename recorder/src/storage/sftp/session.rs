//! One SSH connection with its SFTP channel: the few requests of the protocol that pushes need
//! (draft-ietf-secsh-filexfer-02, and OpenSSH's extensions where the server has them).

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use russh::{
    client::{self, AuthResult, Handle},
    keys::{PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate},
};
use russh_sftp::{
    client::{RawSftpSession, error::Error as SftpError},
    protocol::{FileAttributes, OpenFlags, Packet, Status, StatusCode},
};
use tokio::time::timeout;

use super::private_key;
use crate::{
    digest::Hasher,
    limits::{SFTP_BLOCK_BYTES, SFTP_BLOCKS_MAX, STALL},
    storage::{
        cap::Cap,
        error::{Answer, StoreError},
        http::Http,
        target::Sftp as Target,
    },
};

/// Knows the server by its key.
struct Pinned(PublicKey);

impl client::Handler for Pinned {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.key_data() == self.0.key_data(),
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}

/// `ssh-ed25519 AAAA… comment`
pub(super) fn host_key(text: &str) -> Option<PublicKey> {
    let key = PublicKey::from_openssh(text).ok()?;
    (!key.algorithm().is_rsa()).then_some(key)
}

/// A connection. Dropped, it ends.
pub(super) struct Session {
    raw: RawSftpSession,
    _ssh: Handle<Pinned>,
}

impl Session {
    pub(super) async fn open(target: &Target, http: &Http) -> Result<Self, StoreError> {
        let place = http.host(&target.host, target.port)?;
        let tcp = http.tcp(&place).await?;
        let opened = timeout(STALL, Box::pin(Self::log_in(target, tcp)));
        opened.await.map_err(|_| StoreError::Silent)?
    }

    async fn log_in(target: &Target, tcp: tokio::net::TcpStream) -> Result<Self, StoreError> {
        let key = host_key(&target.host_key).ok_or(BAD_HOST_KEY)?;
        let mut config = client::Config { inactivity_timeout: Some(STALL), ..Default::default() };
        config.preferred.key = Cow::Owned(vec![key.algorithm()]);
        let connected = client::connect_stream(Arc::new(config), tcp, Pinned(key)).await;
        let mut ssh = connected.map_err(|error| ssh_error(&error))?;
        let user = target.user.clone();
        let answer = match (&target.private_key, &target.password) {
            (Some(key), _) => {
                let key = private_key(key.expose()).ok_or(BAD_KEY)?;
                let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
                ssh.authenticate_publickey(user, key).await
            }
            (None, Some(password)) => ssh.authenticate_password(user, password.expose()).await,
            (None, None) => return Err(BAD_KEY),
        };
        match answer.map_err(|error| ssh_error(&error))? {
            AuthResult::Success => {}
            AuthResult::Failure { .. } => return Err(StoreError::Credentials(code(0))),
        }
        let channel = ssh.channel_open_session().await.map_err(|error| ssh_error(&error))?;
        channel.request_subsystem(true, "sftp").await.map_err(|error| ssh_error(&error))?;
        let raw = RawSftpSession::new(channel.into_stream());
        raw.set_timeout(STALL.as_secs());
        raw.init().await.map_err(failed)?;
        Ok(Self { raw, _ssh: ssh })
    }

    /// Makes the folders that `path` lies in, where they are missing.
    pub(super) async fn make_folders(&self, path: &str) -> Result<(), StoreError> {
        for (at, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            let folder = &path[..at];
            if self.raw.stat(folder).await.is_ok() {
                continue;
            }
            if let Err(error) = self.raw.mkdir(folder, FileAttributes::empty()).await {
                // Another upload may have been faster.
                self.raw.stat(folder).await.map_err(|_| no_place(failed(error)))?;
            }
        }
        Ok(())
    }

    /// Bytes of a file; `None` without it.
    pub(super) async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        match self.raw.stat(path).await.map_err(failed) {
            Ok(found) => found.attrs.size.map(Some).ok_or(StoreError::Protocol),
            Err(StoreError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes at an offset, which makes it the same to do it twice, and syncs.
    pub(super) async fn write(
        &self,
        path: &str,
        offset: u64,
        data: Bytes,
        cap: &Cap,
    ) -> Result<(), StoreError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        let flags = if offset == 0 { flags | OpenFlags::TRUNCATE } else { flags };
        let opened = self.raw.open(path, flags, FileAttributes::empty()).await;
        let handle = opened.map_err(|error| no_place(failed(error)))?.handle;
        let blocks = (0..data.len()).step_by(SFTP_BLOCK_BYTES).map(|at| {
            let block = data.slice(at..data.len().min(at + SFTP_BLOCK_BYTES));
            let handle = handle.clone();
            async move {
                cap.wait(block.len()).await;
                self.raw.write(handle, offset + at as u64, block.to_vec()).await
            }
        });
        let written: Result<Vec<_>, _> =
            stream::iter(blocks).buffer_unordered(SFTP_BLOCKS_MAX).try_collect().await;
        written.map_err(failed)?;
        match self.raw.fsync(handle.clone()).await.map_err(failed) {
            // An extension of OpenSSH; others must be believed.
            Ok(_) | Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
        self.raw.close(handle).await.map_err(failed)?;
        Ok(())
    }

    /// Reads a whole file; its length.
    pub(super) async fn read(
        &self,
        path: &str,
        into: &mut Hasher,
        cap: &Cap,
    ) -> Result<u64, StoreError> {
        let size = self.size(path).await?.ok_or(StoreError::Missing)?;
        let opened = self.raw.open(path, OpenFlags::READ, FileAttributes::empty()).await;
        let handle = opened.map_err(failed)?.handle;
        let blocks = (0..size).step_by(SFTP_BLOCK_BYTES).map(|at| {
            let length = (SFTP_BLOCK_BYTES as u64).min(size - at) as u32;
            self.block(handle.clone(), at, length, cap)
        });
        let mut blocks = stream::iter(blocks).buffered(SFTP_BLOCKS_MAX);
        while let Some(block) = blocks.next().await {
            into.update(&block?);
        }
        drop(blocks);
        self.raw.close(handle).await.map_err(failed)?;
        Ok(size)
    }

    /// All of a block: a server may give less than it was asked for.
    async fn block(
        &self,
        handle: String,
        at: u64,
        length: u32,
        cap: &Cap,
    ) -> Result<Vec<u8>, StoreError> {
        cap.wait(length as usize).await;
        let mut block = Vec::with_capacity(length as usize);
        while block.len() < length as usize {
            let (from, left) = (at + block.len() as u64, length - block.len() as u32);
            let read = self.raw.read(handle.clone(), from, left).await.map_err(failed)?.data;
            if read.is_empty() || read.len() > left as usize {
                return Err(StoreError::Protocol);
            }
            block.extend_from_slice(&read);
        }
        Ok(block)
    }

    /// Gives a file its name, over an older one.
    pub(super) async fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let mut data = Vec::with_capacity(from.len() + to.len() + 8);
        for name in [from, to] {
            data.extend_from_slice(&u32::try_from(name.len()).unwrap_or_default().to_be_bytes());
            data.extend_from_slice(name.as_bytes());
        }
        let renamed = self.raw.extended("posix-rename@openssh.com", data).await;
        match renamed.map_err(failed)? {
            Packet::Status(Status { status_code: StatusCode::Ok, .. }) => Ok(()),
            Packet::Status(Status { status_code: StatusCode::OpUnsupported, .. }) => {
                // The protocol's own rename never replaces.
                match self.raw.remove(to).await.map_err(failed) {
                    Ok(_) | Err(StoreError::Missing) => {}
                    Err(error) => return Err(error),
                }
                self.raw.rename(from, to).await.map_err(failed).map(drop)
            }
            Packet::Status(status) => Err(refusal(status.status_code)),
            _ => Err(StoreError::Protocol),
        }
    }

    pub(super) async fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.raw.remove(path).await.map_err(failed).map(drop)
    }
}

const BAD_HOST_KEY: StoreError = StoreError::Config("the host key cannot be read");
const BAD_KEY: StoreError = StoreError::Config("the key cannot be read");

fn code(status: u16) -> Answer {
    Answer { status, code: None }
}

/// Of a folder or file that should have been made: where it belongs is nothing.
fn no_place(error: StoreError) -> StoreError {
    match error {
        StoreError::Missing => StoreError::NoPlace(code(StatusCode::NoSuchFile as u16)),
        other => other,
    }
}

fn refusal(status: StatusCode) -> StoreError {
    match status {
        StatusCode::NoSuchFile => StoreError::Missing,
        StatusCode::PermissionDenied => StoreError::Credentials(code(status as u16)),
        // OpenSSH says so of a full disk and of much else; time may mend it.
        StatusCode::Failure => StoreError::Busy(code(status as u16)),
        StatusCode::OpUnsupported => StoreError::Refused(code(status as u16)),
        StatusCode::NoConnection | StatusCode::ConnectionLost => StoreError::Unreachable,
        StatusCode::Ok | StatusCode::Eof | StatusCode::BadMessage => StoreError::Protocol,
    }
}

fn failed(error: SftpError) -> StoreError {
    match error {
        SftpError::Status(status) => refusal(status.status_code),
        SftpError::Timeout => StoreError::Silent,
        SftpError::IO(_) | SftpError::UnexpectedBehavior(_) => StoreError::Unreachable,
        SftpError::Limited(_) | SftpError::UnexpectedPacket => StoreError::Protocol,
    }
}

fn ssh_error(error: &russh::Error) -> StoreError {
    use russh::Error as E;
    match error {
        // Which is also what a server without a key of the pinned kind ends in.
        E::UnknownKey | E::WrongServerSig | E::NoCommonAlgo { .. } => StoreError::HostKey,
        E::NotAuthenticated => StoreError::Credentials(code(0)),
        E::ConnectionTimeout | E::InactivityTimeout | E::KeepaliveTimeout => StoreError::Silent,
        _ => StoreError::Unreachable,
    }
}
