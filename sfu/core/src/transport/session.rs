//! One peer's transport session. CONTRACT between `transport` (implements) and `shard` (calls).
//! Signatures are agreed; bodies to be written.
#![allow(missing_docs, unused_variables, clippy::unimplemented)]

use std::{sync::Arc, time::Instant};

use sfu_proto::{
    sdp::{Fingerprint, IceCredentials},
    unit::SeqNo,
};

use crate::{path::Path, transport::dtls::Identity};

/// What the shard must know about. Drained by [`Session::poll_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEvent {
    /// ICE selected a path and DTLS keys are in place (first time), or consent came back.
    Connected,
    /// No consent for 15 s (RFC 7675 says 30 s at most): stop sending, wait for a restart.
    Interrupted,
    /// Over: handshake time-out, fingerprint mismatch, DTLS close_notify, consent lost for good.
    Ended(sfu_proto::control::EndReason),
}

/// Why a packet was dropped; each is one counter. No addresses, no logging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Drop {
    #[error("malformed STUN")]
    MalformedStun,
    #[error("STUN without valid integrity or fingerprint")]
    StunIntegrity,
    #[error("STUN for an unknown user name")]
    UnknownUfrag,
    #[error("from a path without a validated binding")]
    UnvalidatedPath,
    #[error("DTLS record refused")]
    Dtls,
    #[error("no SRTP keys yet")]
    NoKeys,
    #[error("malformed RTP or RTCP")]
    Malformed,
    #[error("SRTP authentication failed")]
    Authentication,
    #[error("replayed packet")]
    Replay,
    #[error("too many sources")]
    TooManySources,
    #[error("above a limit")]
    Limit,
}

/// A datagram to send, made by the transport (STUN, DTLS, RTCP): rare, so owned.
pub struct Outgoing {
    pub path: Path,
    pub bytes: Vec<u8>,
}

pub struct Session {}

impl Session {
    /// A session that waits for its first binding request. `local` credentials are random, drawn by the shard.
    pub fn new(local: IceCredentials, identity: Arc<Identity>, now: Instant) -> Self {
        unimplemented!()
    }
    /// The client's parameters from an offer; again with new credentials for an ICE restart
    /// (then `local` are new ones of ours, and old ones stay valid until the new pair is selected).
    pub fn set_remote(&mut self, local: IceCredentials, remote: IceCredentials, fingerprint: Fingerprint, now: Instant) {
        unimplemented!()
    }
    /// Our ufrags that must route to this session (current, and previous during a restart).
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
    /// A STUN message whose USERNAME names one of our ufrags. On success the path is validated
    /// (the shard then adds it to its 5-tuple table: see `paths`).
    pub fn handle_stun(&mut self, datagram: &[u8], path: Path, now: Instant) -> Result<(), Drop> {
        unimplemented!()
    }
    /// Paths with a successful binding, at most `limits::PATHS_PER_SESSION_MAX`. The shard keeps
    /// its demux table equal to this after each `handle_stun`/`handle_timeout` that returned true in `paths_changed`.
    pub fn paths(&self) -> &[Path] {
        &[]
    }
    /// Whether `paths` changed since the last call.
    pub fn take_paths_changed(&mut self) -> bool {
        false
    }
    /// A TCP connection closed: its path is gone.
    pub fn path_closed(&mut self, path: Path, now: Instant) {
        unimplemented!()
    }
    /// The path that media is sent on, while consent lasts.
    pub fn selected_path(&self) -> Option<Path> {
        None
    }
    /// A DTLS datagram from a validated path.
    pub fn handle_dtls(&mut self, datagram: &[u8], path: Path, now: Instant) -> Result<(), Drop> {
        unimplemented!()
    }
    /// Authenticates and decrypts one SRTP packet out of place. `header_len` covers fixed header,
    /// CSRCs and extensions, `ssrc` and `seq` come from the same parse. Replay window and rollover
    /// state change only after authentication. Returns the index and the payload length in `out`.
    pub fn open_rtp(&mut self, datagram: &[u8], header_len: usize, ssrc: u32, seq: u16, out: &mut [u8]) -> Result<(SeqNo, usize), Drop> {
        unimplemented!()
    }
    /// Authenticates and decrypts one SRTCP compound into `out`; returns its length.
    pub fn open_rtcp(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        unimplemented!()
    }
    /// Seals one RTP packet: `out[..header_len]` holds the finished header, `payload` is copied
    /// encrypted behind it, the tag follows. Returns the datagram's length. The caller guarantees
    /// that `index` was never used for this SSRC (nonce reuse!): indexes only grow.
    pub fn seal_rtp(&mut self, ssrc: u32, index: SeqNo, header_len: usize, payload: &[u8], out: &mut [u8]) -> Option<usize> {
        unimplemented!()
    }
    /// Seals an RTCP compound and queues it on the selected path.
    pub fn send_rtcp(&mut self, compound: &[u8]) -> Result<(), Drop> {
        unimplemented!()
    }
    /// Bytes that sealing adds to an RTP packet: 16 for AEAD, 10 for HMAC-SHA1-80.
    pub fn rtp_overhead(&self) -> usize {
        16
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    pub fn poll_outgoing(&mut self) -> Option<Outgoing> {
        None
    }
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        None
    }
    /// Sends DTLS close_notify.
    pub fn close(&mut self, now: Instant) {
        unimplemented!()
    }
}
