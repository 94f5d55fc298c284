//! DTLS server behind a small trait.
#![allow(missing_docs, clippy::unimplemented)]

/// Our certificate and key, made once at start and shared by all sessions (RFC 8122 fingerprint inside).
pub struct Identity {}

impl Identity {
    /// A fresh self-signed ECDSA P-256 certificate.
    pub fn generate() -> Result<Self, IdentityError> {
        unimplemented!()
    }
    pub fn fingerprint(&self) -> sfu_proto::sdp::Fingerprint {
        unimplemented!()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub struct IdentityError(pub String);
