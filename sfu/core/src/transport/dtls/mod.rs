//! DTLS server: certificate, and the handshake that yields SRTP keys (RFC 5763, RFC 5764).
//!
//! The engine is a library's, behind [`engine::Engine`]. Ours is what a library cannot know: which
//! certificate to expect, and that one 5-tuple may carry forged handshakes beside the real one.

mod dimpl_engine;
mod engine;
mod record;
mod server;

use std::sync::Arc;

use aws_lc_rs::digest;
use dimpl::DtlsCertificate;
pub(super) use server::{Server, ServerEvent};
use sfu_proto::sdp::Fingerprint;

use super::limits::{
    DTLS_MTU, DTLS_RECEIVE_QUEUE_MAX, DTLS_RETRANSMISSIONS_MAX, DTLS_RETRANSMIT_FIRST,
    HANDSHAKE_MAX,
};

/// Our certificate and key, made once at start and shared by all sessions. No `Debug`.
pub struct Identity {
    certificate: DtlsCertificate,
    config: Arc<dimpl::Config>,
    fingerprint: Fingerprint,
}

impl Identity {
    /// A fresh self-signed ECDSA P-256 certificate, kept in memory only.
    ///
    /// # Errors
    /// The crypto library refused to make one.
    pub fn generate() -> Result<Self, IdentityError> {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|error| IdentityError(error.to_string()))?;
        let config = dimpl::Config::builder()
            .mtu(DTLS_MTU)
            // ICE has proven the address already; a cookie would cost a round trip.
            .use_server_cookie(false)
            .require_client_certificate(true)
            .flight_start_rto(DTLS_RETRANSMIT_FIRST)
            .flight_retries(DTLS_RETRANSMISSIONS_MAX)
            .handshake_timeout(HANDSHAKE_MAX)
            .max_queue_rx(DTLS_RECEIVE_QUEUE_MAX)
            .build()
            .map_err(|error| IdentityError(error.to_string()))?;
        let fingerprint = fingerprint_of(&certificate.certificate);
        Ok(Self { certificate, config: Arc::new(config), fingerprint })
    }

    /// SHA-256 of the certificate, for the answer's `a=fingerprint` (RFC 8122).
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Our certificate could not be made: the environment or we are to blame.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub struct IdentityError(pub String);

/// SHA-256 of a certificate in DER (RFC 8122 section 5).
pub(crate) fn fingerprint_of(certificate: &[u8]) -> Fingerprint {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    Fingerprint(bytes)
}
