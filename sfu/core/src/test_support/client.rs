//! A client of the forwarding unit: ICE, DTLS and SRTP, driven like the unit itself.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use dimpl::DtlsCertificate;
use sfu_proto::{
    demux::{Class, classify},
    rtp::Header,
    sdp::{Fingerprint, IceCredentials},
    unit::SeqNo,
};

use super::{
    handshake::{Handshake, Progress},
    ice_agent::IceAgent,
};
use crate::transport::{
    dtls::fingerprint_of,
    srtp::{Inbound, Outbound, Profile, split_keying_material},
};

/// Which DTLS version the client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsVersion {
    /// 1.2 only.
    V12,
    /// 1.3 only.
    V13,
    /// Both, in one ClientHello.
    Auto,
}

/// What a client begins with.
#[derive(Clone)]
pub struct ClientConfig {
    /// Its own credentials.
    pub local: IceCredentials,
    /// The unit's, from the answer.
    pub remote: IceCredentials,
    /// Its addresses as the unit sees them; the first is nominated.
    pub addresses: Vec<SocketAddr>,
    /// DTLS version.
    pub version: DtlsVersion,
    /// Cut the ClientHello into two datagrams behind this many bytes.
    pub split_hello_at: Option<usize>,
}

impl ClientConfig {
    /// One address, both DTLS versions, an uncut ClientHello.
    pub fn new(local: IceCredentials, remote: IceCredentials, address: SocketAddr) -> Self {
        Self {
            local,
            remote,
            addresses: vec![address],
            version: DtlsVersion::Auto,
            split_hello_at: None,
        }
    }
}

/// A datagram to the unit.
#[derive(Clone)]
pub struct Transmit {
    /// The client's address that sends it.
    pub from: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// What a client noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// Nominated, and keys in place.
    Connected,
    /// A decrypted RTP packet: header, then payload.
    Rtp(Vec<u8>),
    /// A decrypted RTCP compound.
    Rtcp(Vec<u8>),
    /// The unit sent close_notify.
    Closed,
}

struct Media {
    inbound: Inbound,
    outbound: Outbound,
    profile: Profile,
}

/// A client.
pub struct Client {
    ice: IceAgent,
    dtls: Option<Handshake>,
    certificate: DtlsCertificate,
    config: ClientConfig,
    media: Option<Media>,
    server_fingerprint: Option<Fingerprint>,
    is_connected: bool,
    transmits: VecDeque<Transmit>,
    events: VecDeque<ClientEvent>,
}

impl Client {
    /// A client with a fresh certificate that starts checks at once.
    pub fn new(config: ClientConfig, now: Instant) -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate()
            .expect("a certificate can be made");
        let ice =
            IceAgent::new(config.local.clone(), config.remote.clone(), &config.addresses, now);
        Self {
            ice,
            dtls: None,
            certificate,
            config,
            media: None,
            server_fingerprint: None,
            is_connected: false,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// For the offer.
    pub fn fingerprint(&self) -> Fingerprint {
        fingerprint_of(&self.certificate.certificate)
    }

    /// Of the certificate that the unit showed.
    pub fn server_fingerprint(&self) -> Option<Fingerprint> {
        self.server_fingerprint
    }

    /// Whether nominated and keyed.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether its DTLS engine gave up.
    pub fn has_failed(&self) -> bool {
        self.dtls.as_ref().is_some_and(|dtls| dtls.failed)
    }

    /// The negotiated SRTP profile.
    pub fn profile(&self) -> Option<Profile> {
        self.media.as_ref().map(|media| media.profile)
    }

    /// The address that media leaves from.
    pub fn send_address(&self) -> Option<SocketAddr> {
        self.ice.send_address()
    }

    /// ICE restart with new credentials of both sides.
    pub fn restart(&mut self, local: IceCredentials, remote: IceCredentials, now: Instant) {
        self.ice.restart(local, remote, now);
    }

    /// A network change: all old addresses are gone, credentials stay.
    pub fn move_to(&mut self, address: SocketAddr, now: Instant) {
        self.ice.move_to(address, now);
    }

    /// Nominates another of its addresses.
    pub fn prefer(&mut self, place: usize, now: Instant) {
        self.ice.prefer(place, now);
    }

    /// Stops or resumes ICE checks, and thereby consent.
    pub fn set_checking(&mut self, on: bool, now: Instant) {
        self.ice.set_checking(on, now);
    }

    /// A datagram that arrived at the client's address `to`.
    pub fn handle_datagram(&mut self, to: SocketAddr, datagram: &[u8], now: Instant) {
        match classify(datagram) {
            Class::Stun => {
                self.ice.handle(datagram, to);
                self.start_dtls(now);
            }
            Class::Dtls => {
                if let Some(dtls) = &mut self.dtls {
                    let progress = dtls.handle_datagram(datagram, now);
                    self.apply(progress);
                }
            }
            Class::Rtp => self.open_rtp(datagram),
            Class::Rtcp => self.open_rtcp(datagram),
            Class::Unknown => {}
        }
        self.connect_if_ready();
    }

    /// Advances timers.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (from, bytes) in self.ice.handle_timeout(now) {
            self.transmits.push_back(Transmit { from, bytes });
        }
        if let Some(dtls) = &mut self.dtls
            && dtls.timeout.is_some_and(|at| at <= now)
        {
            let progress = dtls.handle_timeout(now);
            self.apply(progress);
        }
    }

    /// When to call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dtls = self.dtls.as_ref().and_then(|dtls| dtls.timeout);
        [self.ice.poll_timeout(), dtls].into_iter().flatten().min()
    }

    /// The next datagram to the unit.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Seals an RTP packet (`header`, then `payload`) into a datagram. Indexes must grow per SSRC.
    ///
    /// # Panics
    /// Without keys, or when an index is used twice.
    pub fn seal_rtp(&mut self, header: &[u8], index: SeqNo, payload: &[u8]) -> Vec<u8> {
        let ssrc = Header::parse(header).expect("a whole header").ssrc.0;
        let mut out = header.to_vec();
        out.resize(header.len() + payload.len() + 16, 0);
        let media = self.media.as_mut().expect("keys");
        let len = media
            .outbound
            .seal_rtp(ssrc, index, header.len(), payload, &mut out)
            .expect("an unused index");
        out.truncate(len);
        out
    }

    /// Seals and sends an RTP packet.
    ///
    /// # Panics
    /// As `seal_rtp`, or before any check succeeded.
    pub fn send_rtp(&mut self, header: &[u8], index: SeqNo, payload: &[u8]) {
        let bytes = self.seal_rtp(header, index, payload);
        self.transmit(bytes);
    }

    /// Seals and sends an RTCP compound.
    ///
    /// # Panics
    /// Without keys or path, or on a compound of less than 8 bytes.
    pub fn send_rtcp(&mut self, compound: &[u8]) {
        let media = self.media.as_mut().expect("keys");
        let bytes = media.outbound.seal_rtcp(compound).expect("a whole compound");
        self.transmit(bytes);
    }

    /// Sends DTLS close_notify.
    pub fn close(&mut self) {
        if let Some(dtls) = &mut self.dtls {
            let progress = dtls.close();
            self.apply(progress);
        }
    }

    fn transmit(&mut self, bytes: Vec<u8>) {
        let from = self.ice.send_address().expect("a checked path");
        self.transmits.push_back(Transmit { from, bytes });
    }

    fn start_dtls(&mut self, now: Instant) {
        if self.dtls.is_some() || self.ice.send_address().is_none() {
            return;
        }
        let mut dtls = Handshake::new(
            self.config.version,
            self.certificate.clone(),
            self.config.split_hello_at,
            now,
        );
        let progress = dtls.handle_timeout(now);
        self.dtls = Some(dtls);
        self.apply(progress);
    }

    fn apply(&mut self, progress: Progress) {
        for bytes in progress.datagrams {
            self.transmit(bytes);
        }
        if let Some(der) = progress.server_certificate {
            self.server_fingerprint = Some(fingerprint_of(&der));
        }
        if let Some((profile, keys)) = progress.keys {
            let (client, server) = split_keying_material(profile, &keys).expect("right length");
            self.media = Some(Media {
                inbound: Inbound::new(&server).expect("valid keys"),
                outbound: Outbound::new(&client).expect("valid keys"),
                profile,
            });
        }
        if progress.closed {
            self.events.push_back(ClientEvent::Closed);
        }
    }

    fn connect_if_ready(&mut self) {
        if !self.is_connected && self.media.is_some() && self.ice.is_nominated() {
            self.is_connected = true;
            self.events.push_back(ClientEvent::Connected);
        }
    }

    fn open_rtp(&mut self, datagram: &[u8]) {
        let (Some(media), Ok(header)) = (&mut self.media, Header::parse(datagram)) else { return };
        let mut packet = datagram.to_vec();
        let (_, payload) = packet.split_at_mut(header.header_len);
        let opened = media.inbound.open_rtp(
            datagram,
            header.header_len,
            header.ssrc.0,
            header.seq.0,
            payload,
        );
        if let Ok((_, len)) = opened {
            packet.truncate(header.header_len + len);
            self.events.push_back(ClientEvent::Rtp(packet));
        }
    }

    fn open_rtcp(&mut self, datagram: &[u8]) {
        let Some(media) = &mut self.media else { return };
        let mut compound = vec![0; datagram.len()];
        if let Ok(len) = media.inbound.open_rtcp(datagram, &mut compound) {
            compound.truncate(len);
            self.events.push_back(ClientEvent::Rtcp(compound));
        }
    }
}
