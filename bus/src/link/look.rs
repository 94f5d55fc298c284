//! A look whether a recorder is there and both sides know each other, for whoever sets them up. It leaves no
//! trace in the recorder's sessions.

use std::{io, sync::Arc};

use rustls::pki_types::ServerName;
use sfu_proto::link::{Frame, LOOK, LinkError};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{Cut, Trust, read_hello};
use crate::limits::LINK_CONNECT;

/// Why there would be no link. Shows no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// Us: our key cannot be used.
    #[error("the key of this side cannot be used")]
    Key,
    /// Environment: the name is not known, or nobody listens there.
    #[error("it cannot be reached: {0}")]
    Unreachable(io::ErrorKind),
    /// Environment, or a peer that hangs.
    #[error("nobody answers")]
    Silent,
    /// Peer: another key than those that are named here.
    #[error("it has another key than the recorder's")]
    Stranger,
    /// Peer: it speaks no TLS 1.3 with a raw key.
    #[error("what listens there is no recorder")]
    NoRecorder,
    /// Peer: it ends the connection once it has seen our key.
    #[error("the recorder does not let this server in")]
    Unknown,
    /// Peer: of another release.
    #[error("the recorder speaks version {0} of the link")]
    Version(u16),
}

/// Looks at the recorder at `to` (`host:port`) as the media process's end would.
///
/// # Errors
/// [`LookError`].
pub async fn look(to: &str, trust: &Trust) -> Result<(), LookError> {
    let tls = trust.client().map_err(|_| LookError::Key)?;
    let name = ServerName::try_from("recorder").map_err(|_| LookError::Key)?;
    let stream = timeout(LINK_CONNECT, TcpStream::connect(to)).await;
    let stream = stream
        .map_err(|_| LookError::Silent)?
        .map_err(|error| LookError::Unreachable(error.kind()))?;
    let shaking = TlsConnector::from(Arc::new(tls)).connect(name, stream);
    let stream = timeout(LINK_CONNECT, shaking).await.map_err(|_| LookError::Silent)?;
    greet(stream.map_err(|error| refused(&error))?).await
}

/// What was wrong with the recorder's part of the handshake.
fn refused(error: &io::Error) -> LookError {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    match error {
        Some(rustls::Error::InvalidCertificate(_)) => LookError::Stranger,
        _ => LookError::NoRecorder,
    }
}

/// The recorder judges our key after its part of the handshake: the first answer tells.
async fn greet(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), LookError> {
    let mut bytes = Vec::new();
    Frame::Hello { session: LOOK, next: 0 }.write(&mut bytes);
    let greeting = async {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        read_hello(&mut stream, &mut answer, LINK_CONNECT).await
    };
    match greeting.await {
        Ok(_) => Ok(()),
        Err(Cut::Silent) => Err(LookError::Silent),
        Err(Cut::Frame(LinkError::Version(version))) => Err(LookError::Version(version)),
        Err(_) => Err(LookError::Unknown),
    }
}
