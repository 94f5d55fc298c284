//! The tap across processes: batches of the ring here come out of the ring there, in order and once, over
//! TLS 1.3 between two keys that know each other. Frames: [`sfu_proto::link`].
//!
//! ```text
//!  media process                                                    recorder's process
//!  workers ─▶ ring ─▶ thread ─▶ kept ─▶ Batch, Mark ═══ TLS ═══▶ sessions ─▶ ring ─▶ journals
//!            full: drops,       full: the ring fills   ◀═══ Ack, Status     full: nothing is read
//!            counts, key frame
//! ```
//! Each batch is kept until it is acknowledged, and sent again to whoever answers after a cut or a crash.
//! The recorder's process acknowledges a batch when its [`crate::tap::Hold`] was dropped: after the disk has it,
//! or when it is given up for good, as for a recording that is over. So a cut or a crash costs nothing until
//! both the kept batches and the ring are full. What was on disk and not acknowledged comes twice; readers of
//! the journal know it by its place. A writer of journals that hangs costs its own recordings what they have no
//! room for, which is counted and noted, and no others that were worked on when it began anything.

mod handed;
mod kept;
mod look;
mod media;
mod recorder;
#[cfg(test)]
mod tests;
mod tls;

use std::{io, time::Duration};

use sfu_proto::link::{Frame, LinkError, frame_len};
use tokio::io::{AsyncRead, AsyncReadExt as _};

pub use self::{
    handed::Sessions,
    look::{LookError, look},
    media::{Counts, MediaEnd},
    recorder::{Answer, Answers, RecorderEnd},
    tls::{Fingerprint, FingerprintError, Identity, IdentityError},
};
/// Who this is, and whom it believes.
pub struct Trust {
    /// Our key.
    pub identity: Identity,
    /// Keys of the other side.
    pub peers: Vec<Fingerprint>,
}

/// Why a connection ended. Shows no address.
#[derive(Debug, thiserror::Error)]
enum Cut {
    /// Environment: the network, or TLS refused.
    #[error("{0}")]
    Io(io::Error),
    /// The other side ended.
    #[error("the other side ended")]
    Gone,
    /// Peer.
    #[error(transparent)]
    Frame(#[from] LinkError),
    /// Peer: something that is not its turn, or a number that was never given.
    #[error("the other side does not keep to the order of the link")]
    Order,
    /// Environment, or a peer that hangs.
    #[error("the other side is silent")]
    Silent,
    /// A later connection of the same session took over.
    #[error("another connection took over")]
    Superseded,
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Also without TLS's farewell: what counts is acknowledged.
            io::ErrorKind::UnexpectedEof => Self::Gone,
            _ => Self::Io(error),
        }
    }
}

/// Reads the next frame into `bytes`, without its length.
async fn read(
    from: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    within: Duration,
) -> Result<(), Cut> {
    let reading = async {
        let mut head = [0; 4];
        from.read_exact(&mut head).await?;
        bytes.resize(frame_len(head)?, 0);
        from.read_exact(bytes).await?;
        Ok(())
    };
    tokio::time::timeout(within, reading).await.map_err(|_| Cut::Silent)?
}

/// The other side's hello: its session and `next`.
async fn read_hello(
    from: &mut (impl AsyncRead + Unpin),
    bytes: &mut Vec<u8>,
    within: Duration,
) -> Result<(u128, u64), Cut> {
    read(from, bytes, within).await?;
    match Frame::parse(bytes)? {
        Some(Frame::Hello { session, next }) => Ok((session, next)),
        _ => Err(LinkError::Stranger.into()),
    }
}
