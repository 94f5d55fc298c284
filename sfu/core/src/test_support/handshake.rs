//! The DTLS client: `dimpl` in the active role, and a rewriting of its records that cuts the
//! ClientHello in two, as browsers with post-quantum key shares send it.

use std::{sync::Arc, time::Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output};
use zeroize::Zeroizing;

use super::client::DtlsVersion;
use crate::transport::srtp::Profile;

/// Record header, then handshake header.
const RECORD_LEN: usize = 13;
const HANDSHAKE_LEN: usize = 12;

/// What happened in the handshake.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) datagrams: Vec<Vec<u8>>,
    pub(super) server_certificate: Option<Vec<u8>>,
    pub(super) keys: Option<(Profile, Zeroizing<Vec<u8>>)>,
    pub(super) connected: bool,
    pub(super) closed: bool,
}

/// A DTLS client.
pub(super) struct Handshake {
    dtls: Dtls,
    pub(super) timeout: Option<Instant>,
    split_hello_at: Option<usize>,
    /// The engine gave up.
    pub(super) failed: bool,
}

impl Handshake {
    /// `split_hello_at`: cut the ClientHello behind that many bytes of its body.
    pub(super) fn new(
        version: DtlsVersion,
        certificate: DtlsCertificate,
        split_hello_at: Option<usize>,
        now: Instant,
    ) -> Self {
        let config = Config::builder()
            .mtu(if split_hello_at.is_some() { 1450 } else { 1200 })
            .flight_start_rto(std::time::Duration::from_millis(300))
            .flight_retries(6)
            .build()
            .expect("valid configuration");
        let config = Arc::new(config);
        let mut dtls = match version {
            DtlsVersion::V12 => Dtls::new_12(config, certificate, now),
            DtlsVersion::V13 => Dtls::new_13(config, certificate, now),
            DtlsVersion::Auto => Dtls::new_auto(config, certificate, now),
        };
        dtls.set_active(true);
        Self { dtls, timeout: Some(now), split_hello_at, failed: false }
    }

    pub(super) fn handle_datagram(&mut self, datagram: &[u8], now: Instant) -> Progress {
        if self.dtls.handle_timeout(now).is_err() || self.dtls.handle_packet(datagram).is_err() {
            self.failed = true;
        }
        self.drain()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Progress {
        if self.dtls.handle_timeout(now).is_err() {
            self.failed = true;
        }
        self.drain()
    }

    pub(super) fn close(&mut self) -> Progress {
        let _ = self.dtls.close();
        self.drain()
    }

    fn drain(&mut self) -> Progress {
        let mut progress = Progress::default();
        let mut buffer = vec![0; 4096];
        if self.failed {
            self.timeout = None;
            return progress;
        }
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => match self.split_hello_at {
                    Some(at) => progress.datagrams.extend(split_hello(bytes, at)),
                    None => progress.datagrams.push(bytes.to_vec()),
                },
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return progress;
                }
                Output::PeerCert(der) => progress.server_certificate = Some(der.to_vec()),
                Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
                        _ => Profile::AesCm128HmacSha1_80,
                    };
                    progress.keys = Some((profile, Zeroizing::new(material.to_vec())));
                }
                Output::Connected => progress.connected = true,
                Output::CloseNotify => progress.closed = true,
                _ => {}
            }
        }
    }
}

/// Renumbers unencrypted records to leave gaps, and cuts a ClientHello into two records of one
/// fragment each, in two datagrams. Handshake hashes ignore fragmentation (RFC 6347 section
/// 4.2.6, RFC 9147 section 5.2), so the handshake still completes.
fn split_hello(datagram: &[u8], at: usize) -> Vec<Vec<u8>> {
    let mut first = Vec::new();
    let mut second = Vec::new();
    let mut rest = datagram;
    while rest.len() >= RECORD_LEN && (20..=31).contains(&rest[0]) && rest[3..5] == [0, 0] {
        let len = usize::from(u16::from_be_bytes([rest[11], rest[12]]));
        let (record, next) = rest.split_at(RECORD_LEN + len);
        let body = &record[RECORD_LEN..];
        let sequence = 2 * u64::from_be_bytes([
            0, 0, record[5], record[6], record[7], record[8], record[9], record[10],
        ]);
        let is_hello = record[0] == 22 && body[0] == 1 && body.len() > HANDSHAKE_LEN + at;
        if is_hello {
            let hello = &body[HANDSHAKE_LEN..];
            first.extend(fragment(record, sequence, 0, &hello[..at]));
            second.extend(fragment(record, sequence + 1, at, &hello[at..]));
        } else {
            first.extend(renumbered(record, sequence));
        }
        rest = next;
    }
    first.extend_from_slice(rest);
    [first, second].into_iter().filter(|datagram| !datagram.is_empty()).collect()
}

fn renumbered(record: &[u8], sequence: u64) -> Vec<u8> {
    let mut out = record.to_vec();
    out[5..11].copy_from_slice(&sequence.to_be_bytes()[2..]);
    out
}

fn fragment(record: &[u8], sequence: u64, offset: usize, body: &[u8]) -> Vec<u8> {
    let mut out = renumbered(&record[..RECORD_LEN + HANDSHAKE_LEN], sequence);
    out[11..13].copy_from_slice(&((HANDSHAKE_LEN + body.len()) as u16).to_be_bytes());
    out[RECORD_LEN + 6..][..3].copy_from_slice(&(offset as u32).to_be_bytes()[1..]);
    out[RECORD_LEN + 9..][..3].copy_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(body);
    out
}
