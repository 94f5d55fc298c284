//! What we need of a DTLS library: five methods.

use std::time::Instant;

use sfu_proto::sdp::Fingerprint;
use zeroize::Zeroizing;

use crate::transport::srtp::Profile;

/// One DTLS connection, we are the server. After an error it is only dropped, except after
/// [`EngineError::QueueFull`].
pub(super) trait Engine: Send {
    /// A datagram from the peer.
    fn handle_datagram(&mut self, datagram: &[u8], now: Instant) -> Result<(), EngineError>;
    /// Time has come for [`Self::poll_timeout`].
    fn handle_timeout(&mut self, now: Instant) -> Result<(), EngineError>;
    /// Next output; to be drained after every other call.
    fn poll(&mut self) -> Option<Output>;
    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;
    /// Queues close_notify, if connected.
    fn close(&mut self);
}

/// What an engine produces. No `Debug`: keys.
pub(super) enum Output {
    /// To be sent to the peer.
    Datagram(Vec<u8>),
    /// The peer showed this certificate; that it owns the key is proven by `Connected`.
    PeerCertificate(Fingerprint),
    /// Exported keys (RFC 5764 section 4.2) for the negotiated profile.
    Keys(Profile, Zeroizing<Vec<u8>>),
    /// The handshake is complete and verified.
    Connected,
    /// Authenticated close_notify.
    Closed,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum EngineError {
    /// The peer sent a fatal alert: authenticated if the handshake was complete.
    #[error("fatal alert from the peer")]
    Alert,
    /// No room for a record that has to wait for others: as if it had been lost on the way.
    #[error("receive queue full")]
    QueueFull,
    /// Anything else: protocol violation of whoever sent the datagram, or time-out.
    #[error("handshake or record failure")]
    Failed,
}
