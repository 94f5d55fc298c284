//! One peer's transport session: ICE, DTLS and SRTP joined, with their timers.
//!
//! ```text
//! Waiting ──first path──▶ Handshaking ──keys and nomination──▶ Connected ⇄ Interrupted
//!    └──────── time-out ───────┴── time-out, wrong certificate ──┐   │ close_notify, no consent
//!                                                               ▼   ▼
//!                                                               Ended
//! ```
//!
//! The caller drains `poll_outgoing` and `poll_event` after every other call. Nothing here changes
//! by a datagram that is not authenticated, except that DTLS engines are used up (bounded).

use std::{collections::VecDeque, sync::Arc, time::Instant};

use sfu_proto::{
    control::EndReason,
    sdp::{Fingerprint, IceCredentials},
    unit::SeqNo,
};
use zeroize::Zeroizing;

use super::{
    consent::Consent,
    dtls::{Identity, Server, ServerEvent},
    ice::Ice,
    limits::{EVENTS_MAX, FIRST_BINDING_MAX, HANDSHAKE_MAX, OUTGOING_MAX, RTCP_COMPOUND_MAX},
    srtp::{Inbound, Outbound, Profile, split_keying_material},
};
use crate::path::Path;

/// What the shard must know about. Drained by [`Session::poll_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEvent {
    /// ICE selected a path and DTLS keys are in place (first time), or consent came back.
    Connected,
    /// No consent for 15 s (RFC 7675 says 30 s at most): stop sending, wait for a restart.
    Interrupted,
    /// Over: handshake time-out, fingerprint mismatch, DTLS close_notify, consent lost for good.
    Ended(EndReason),
}

/// Why a packet was dropped; each is one counter. No addresses, no logging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Drop {
    /// Not a Binding request, or not STUN at all.
    #[error("malformed STUN")]
    MalformedStun,
    /// Forged, or damaged on the way.
    #[error("STUN without valid integrity or fingerprint")]
    StunIntegrity,
    /// Stale, or guessed.
    #[error("STUN for an unknown user name")]
    UnknownUfrag,
    /// DTLS or media from an address that ICE has not proven.
    #[error("from a path without a validated binding")]
    UnvalidatedPath,
    /// The engine refused it, or there is none any more.
    #[error("DTLS record refused")]
    Dtls,
    /// Media before the handshake is complete, or after the end.
    #[error("no SRTP keys yet")]
    NoKeys,
    /// Too short, or lengths that do not fit.
    #[error("malformed RTP or RTCP")]
    Malformed,
    /// Wrong tag.
    #[error("SRTP authentication failed")]
    Authentication,
    /// Seen before, or too old to tell.
    #[error("replayed packet")]
    Replay,
    /// An authentic packet of an SSRC beyond the limit.
    #[error("too many sources")]
    TooManySources,
    /// A buffer, queue or count is full.
    #[error("above a limit")]
    Limit,
}

/// A datagram to send, made by the transport (STUN, DTLS, RTCP): rare, so owned.
pub struct Outgoing {
    /// Where to.
    pub path: Path,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// SRTP in both directions.
struct Media {
    inbound: Inbound,
    outbound: Outbound,
    profile: Profile,
}

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No path was validated yet.
    Waiting { until: Instant },
    /// Keys or nomination are missing.
    Handshaking { until: Instant },
    /// Was connected once; consent says whether it is now.
    Connected,
    /// Nothing is accepted or sent, apart from what is queued.
    Ended,
}

/// One peer connection's transport. No `Debug`: addresses and keys.
pub struct Session {
    ice: Ice,
    consent: Consent,
    dtls: Server,
    /// The client's certificate, from its offer.
    peer: Option<Fingerprint>,
    media: Option<Box<Media>>,
    stage: Stage,
    outgoing: VecDeque<Outgoing>,
    events: VecDeque<SessionEvent>,
}

impl Session {
    /// A session that waits for its first binding request. `local` credentials are random, drawn
    /// by the shard.
    pub fn new(local: IceCredentials, identity: Arc<Identity>, now: Instant) -> Self {
        Self {
            ice: Ice::new(local),
            consent: Consent::Absent,
            dtls: Server::new(identity),
            peer: None,
            media: None,
            stage: Stage::Waiting { until: now + FIRST_BINDING_MAX },
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The client's parameters from an offer; again with new credentials for an ICE restart
    /// (then `local` are new ones of ours, and old ones stay valid until the new pair is
    /// selected). The same credentials again change nothing. The fingerprint of the first call
    /// counts: a session keeps its certificate.
    pub fn set_remote(
        &mut self,
        local: IceCredentials,
        remote: IceCredentials,
        fingerprint: Fingerprint,
        _now: Instant,
    ) {
        self.ice.set_remote(local, remote);
        self.peer.get_or_insert(fingerprint);
    }

    /// Our ufrags that must route to this session (current, and previous during a restart). They
    /// change in `set_remote` and, at the end of a restart, in `handle_stun`: `take_paths_changed`
    /// tells.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.local_ufrags()
    }

    /// A STUN message whose USERNAME names one of our ufrags (see [`super::ice::local_ufrag`]). On
    /// success the path is validated; the shard then compares its tables, see `paths`.
    ///
    /// # Errors
    /// Nothing has changed and nothing is answered.
    pub fn handle_stun(&mut self, datagram: &[u8], path: Path, now: Instant) -> Result<(), Drop> {
        if self.stage == Stage::Ended {
            return Err(Drop::UnknownUfrag);
        }
        let answer = self.ice.handle(datagram, path, now)?;
        self.send(path, answer.response);
        if let Stage::Waiting { .. } = self.stage
            && !self.ice.paths().is_empty()
        {
            self.stage = Stage::Handshaking { until: now + HANDSHAKE_MAX };
        }
        if answer.consent && self.consent.refresh(now) && self.stage == Stage::Connected {
            self.push_event(SessionEvent::Connected);
        }
        self.connect_if_ready();
        Ok(())
    }

    /// Paths with a successful binding, at most `limits::PATHS_PER_SESSION_MAX`. The shard keeps
    /// its demux table equal to this whenever `take_paths_changed` says so after `set_remote`,
    /// `handle_stun`, `path_closed` or `handle_timeout`.
    pub fn paths(&self) -> &[Path] {
        self.ice.paths()
    }

    /// Whether `paths` or `local_ufrags` changed since the last call.
    pub fn take_paths_changed(&mut self) -> bool {
        self.ice.take_changed()
    }

    /// A TCP connection closed: its path is gone. If media was sent on it, the session is
    /// interrupted until another path is nominated.
    pub fn path_closed(&mut self, path: Path, now: Instant) {
        if self.ice.close_path(path) && self.consent.lose(now) && self.stage == Stage::Connected {
            self.push_event(SessionEvent::Interrupted);
        }
    }

    /// The path that media is sent on, while consent lasts.
    pub fn selected_path(&self) -> Option<Path> {
        let may_send = self.consent.is_fresh() && self.stage != Stage::Ended;
        if may_send { self.ice.selected() } else { None }
    }

    /// A DTLS datagram. Only one from a validated path is looked at (SECURITY.md T1).
    ///
    /// # Errors
    /// The datagram was of no use; the session goes on.
    pub fn handle_dtls(&mut self, datagram: &[u8], path: Path, now: Instant) -> Result<(), Drop> {
        if !self.ice.paths().contains(&path) {
            return Err(Drop::UnvalidatedPath);
        }
        let expected = self.peer.ok_or(Drop::Dtls)?;
        if self.stage == Stage::Ended {
            return Err(Drop::Dtls);
        }
        let result = self.dtls.handle_datagram(datagram, &expected, now);
        self.drain_dtls();
        result
    }

    /// Authenticates and decrypts one SRTP packet out of place. `header_len` covers fixed header,
    /// CSRCs and extensions, `ssrc` and `seq` come from the same parse. Replay window and rollover
    /// state change only after authentication. Returns the index and the payload length in `out`.
    ///
    /// The caller has checked that the datagram came from one of `paths`.
    ///
    /// # Errors
    /// Why the packet must be dropped; nothing has changed then, `out` is undefined.
    pub fn open_rtp(
        &mut self,
        datagram: &[u8],
        header_len: usize,
        ssrc: u32,
        seq: u16,
        out: &mut [u8],
    ) -> Result<(SeqNo, usize), Drop> {
        let media = self.media.as_mut().ok_or(Drop::NoKeys)?;
        media.inbound.open_rtp(datagram, header_len, ssrc, seq, out)
    }

    /// Authenticates and decrypts one SRTCP compound into `out`; returns its length. As with
    /// `open_rtp`, the path was checked.
    ///
    /// # Errors
    /// Why the packet must be dropped; nothing has changed then, `out` is undefined.
    pub fn open_rtcp(&mut self, datagram: &[u8], out: &mut [u8]) -> Result<usize, Drop> {
        let media = self.media.as_mut().ok_or(Drop::NoKeys)?;
        media.inbound.open_rtcp(datagram, out)
    }

    /// Seals one RTP packet: `out[..header_len]` holds the finished header, `payload` is copied
    /// encrypted behind it, the tag follows. Returns the datagram's length.
    ///
    /// `None`: no keys, `out` too short, or the index was used for this SSRC before, or lies
    /// too far behind its highest one to tell (a nonce is never used twice).
    pub fn seal_rtp(
        &mut self,
        ssrc: u32,
        index: SeqNo,
        header_len: usize,
        payload: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        self.media.as_mut()?.outbound.seal_rtp(ssrc, index, header_len, payload, out)
    }

    /// Seals an RTCP compound (at most [`RTCP_COMPOUND_MAX`] bytes) and queues it on the selected
    /// path.
    ///
    /// # Errors
    /// No keys, no consent, or a compound of impossible length.
    pub fn send_rtcp(&mut self, compound: &[u8]) -> Result<(), Drop> {
        if compound.len() > RTCP_COMPOUND_MAX {
            return Err(Drop::Limit);
        }
        let path = self.selected_path().ok_or(Drop::UnvalidatedPath)?;
        let media = self.media.as_mut().ok_or(Drop::NoKeys)?;
        let datagram = media.outbound.seal_rtcp(compound).ok_or(Drop::Malformed)?;
        self.send(path, datagram);
        Ok(())
    }

    /// Bytes that sealing adds to an RTP packet: 16 for AEAD, 10 for HMAC-SHA1-80.
    pub fn rtp_overhead(&self) -> usize {
        self.media.as_ref().map_or(16, |media| media.outbound.rtp_overhead())
    }

    /// The negotiated SRTP profile, once keys are in place. For statistics.
    pub fn profile(&self) -> Option<Profile> {
        self.media.as_ref().map(|media| media.profile)
    }

    /// Advances timers to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.stage {
            Stage::Ended => return,
            Stage::Waiting { until } | Stage::Handshaking { until } if until <= now => {
                self.end(EndReason::HandshakeFailed);
                return;
            }
            Stage::Waiting { .. } | Stage::Handshaking { .. } | Stage::Connected => {}
        }
        if let Some(expected) = self.peer {
            self.dtls.handle_timeout(&expected, now);
            self.drain_dtls();
        }
        self.ice.handle_timeout(now);
        while self.stage == Stage::Connected && self.consent.handle_timeout(now) {
            match self.consent {
                Consent::Over => self.end(EndReason::ConsentLost),
                Consent::Lost { .. } => self.push_event(SessionEvent::Interrupted),
                Consent::Absent | Consent::Fresh { .. } => {}
            }
        }
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let stage = match self.stage {
            Stage::Ended => return None,
            Stage::Waiting { until } | Stage::Handshaking { until } => Some(until),
            Stage::Connected => self.consent.poll_timeout(),
        };
        [stage, self.dtls.poll_timeout(), self.ice.poll_timeout()].into_iter().flatten().min()
    }

    /// The next datagram to send.
    pub fn poll_outgoing(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// Sends DTLS close_notify, if there is a handshake to close. Nothing is accepted after it.
    pub fn close(&mut self, _now: Instant) {
        if self.stage == Stage::Ended {
            return;
        }
        self.dtls.close();
        self.drain_dtls();
        self.stage = Stage::Ended;
        self.media = None;
    }

    fn drain_dtls(&mut self) {
        while let Some(event) = self.dtls.poll_event() {
            match event {
                ServerEvent::Datagram(bytes) => {
                    if let Some(path) = self.ice.handshake_path() {
                        self.send(path, bytes);
                    }
                }
                ServerEvent::Established(profile, keys) => self.install_keys(profile, &keys),
                ServerEvent::Refused => self.end(EndReason::HandshakeFailed),
                ServerEvent::Closed => self.end(EndReason::PeerClosed),
            }
        }
    }

    /// We are the DTLS server: the client's half is what we open (RFC 5764 section 4.2).
    fn install_keys(&mut self, profile: Profile, keys: &Zeroizing<Vec<u8>>) {
        let media = split_keying_material(profile, keys).and_then(|(client, server)| {
            let inbound = Inbound::new(&client).ok()?;
            let outbound = Outbound::new(&server).ok()?;
            Some(Box::new(Media { inbound, outbound, profile }))
        });
        match media {
            Some(media) => {
                self.media = Some(media);
                self.connect_if_ready();
            }
            None => self.end(EndReason::Internal),
        }
    }

    /// Connected needs both: keys, and a nominated path.
    fn connect_if_ready(&mut self) {
        if let Stage::Handshaking { .. } = self.stage
            && self.media.is_some()
            && self.consent.is_fresh()
        {
            self.stage = Stage::Connected;
            self.push_event(SessionEvent::Connected);
        }
    }

    fn end(&mut self, reason: EndReason) {
        self.stage = Stage::Ended;
        self.media = None;
        self.push_event(SessionEvent::Ended(reason));
    }

    /// A full queue loses its oldest datagram: STUN, DTLS and RTCP all repeat themselves.
    fn send(&mut self, path: Path, bytes: Vec<u8>) {
        if self.outgoing.len() >= OUTGOING_MAX {
            self.outgoing.pop_front();
        }
        self.outgoing.push_back(Outgoing { path, bytes });
    }

    /// A full queue loses its oldest event; the latest tells the state.
    fn push_event(&mut self, event: SessionEvent) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
