//! [`Engine`] by `dimpl`: DTLS 1.2 and 1.3. Our certificate is ECDSA, the peer's may be RSA.
//!
//! Which SRTP profile is taken from the client's list is the library's choice: AES-128-GCM, then
//! AES-256-GCM, then SHA1-80, by our patch (docs/decisions/0001-dimpl-patched.md).

use std::{sync::Arc, time::Instant};

use dimpl::{Dtls, Error, SecurityError, SrtpProfile};
use zeroize::Zeroizing;

use super::{
    Identity,
    engine::{Engine, EngineError, Output},
    fingerprint_of,
};
use crate::transport::{limits::DTLS_OUTPUT_MAX, srtp::Profile};

/// Fits a full datagram and common certificates.
const BUFFER_LEN: usize = 2048;

/// A server connection.
pub(super) struct DimplEngine {
    dtls: Dtls,
    timeout: Option<Instant>,
}

impl DimplEngine {
    /// Waits for a ClientHello of either version.
    pub(super) fn new(identity: &Identity, now: Instant) -> Result<Self, EngineError> {
        let config = Arc::clone(&identity.config);
        let mut dtls = Dtls::new_auto(config, identity.certificate.clone(), now);
        dtls.handle_timeout(now).map_err(map_error)?;
        Ok(Self { dtls, timeout: None })
    }
}

impl Engine for DimplEngine {
    fn handle_datagram(&mut self, datagram: &[u8], now: Instant) -> Result<(), EngineError> {
        // The library's clock is only moved by time-outs.
        self.dtls.handle_timeout(now).map_err(map_error)?;
        self.dtls.handle_packet(datagram).map_err(map_error)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), EngineError> {
        self.dtls.handle_timeout(now).map_err(map_error)
    }

    fn poll(&mut self) -> Option<Output> {
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                dimpl::Output::Packet(bytes) => return Some(Output::Datagram(bytes.to_vec())),
                dimpl::Output::BufferTooSmall { needed } if needed <= DTLS_OUTPUT_MAX => {
                    buffer.resize(needed, 0);
                }
                // Not retried: without the output the handshake stalls and times out.
                dimpl::Output::BufferTooSmall { .. } => return None,
                dimpl::Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return None;
                }
                dimpl::Output::Connected => return Some(Output::Connected),
                dimpl::Output::PeerCert(der) => {
                    return Some(Output::PeerCertificate(fingerprint_of(der)));
                }
                dimpl::Output::KeyingMaterial(material, profile) => {
                    if let Some(profile) = map_profile(profile) {
                        return Some(Output::Keys(profile, Zeroizing::new(material.to_vec())));
                    }
                }
                dimpl::Output::CloseNotify => return Some(Output::Closed),
                // Application data: no data channels are offered.
                _ => {}
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    fn close(&mut self) {
        // Only a connection that is gone already refuses.
        let _ = self.dtls.close();
    }
}

fn map_error(error: Error) -> EngineError {
    match error {
        Error::SecurityError(SecurityError::FatalAlert { .. }) => EngineError::Alert,
        Error::ReceiveQueueFull => EngineError::QueueFull,
        _ => EngineError::Failed,
    }
}

fn map_profile(profile: SrtpProfile) -> Option<Profile> {
    match profile {
        SrtpProfile::AEAD_AES_128_GCM => Some(Profile::AeadAes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(Profile::AeadAes256Gcm),
        SrtpProfile::AES128_CM_SHA1_80 => Some(Profile::AesCm128HmacSha1_80),
        _ => None,
    }
}
