//! One session and one client over a network of virtual time.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use sfu_core::{
    path::Path,
    test_support::{Client, ClientConfig, ClientEvent, DtlsVersion, Link, Network},
    transport::{
        demux::{self, Class},
        dtls::Identity,
        session::{Drop, Session, SessionEvent},
    },
};
use sfu_proto::{rtp::Header, sdp::IceCredentials, unit::SeqNo};

pub static IDENTITY: LazyLock<Arc<Identity>> =
    LazyLock::new(|| Arc::new(Identity::generate().expect("a certificate")));

pub fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: format!("{name}Ufrag"), pwd: format!("{name}Password0123456789abcdef") }
}

pub fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 40_000))
}

#[derive(Clone, Copy)]
pub enum End {
    Client(SocketAddr),
    Session(SocketAddr),
}

pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub client: Client,
    pub session: Session,
    pub network: Network<End>,
    pub link: Link,
    pub session_events: Vec<SessionEvent>,
    pub client_events: Vec<ClientEvent>,
    /// Decrypted RTP at the session: index and payload.
    pub received: Vec<(SeqNo, Vec<u8>)>,
    pub received_rtcp: Vec<Vec<u8>>,
    pub drops: Vec<Drop>,
    /// Datagrams of the session to addresses that the client does not have.
    pub strays: usize,
    pub addresses: Vec<SocketAddr>,
    /// Bytes of requests and of answers, STUN only.
    pub stun_bytes: (usize, usize),
    /// Makes a second datagram of each that the client sent.
    pub tamper: Option<Tamper>,
}

type Tamper = Box<dyn Fn(&[u8]) -> Vec<u8>>;

impl World {
    pub fn new(seed: u64, link: Link, configure: impl FnOnce(&mut ClientConfig)) -> Self {
        eprintln!("seed {seed}");
        let start = Instant::now();
        let (server, local) = (credentials("server"), credentials("client"));
        let mut config = ClientConfig::new(local.clone(), server.clone(), address(1));
        configure(&mut config);
        let addresses = config.addresses.clone();
        let client = Client::new(config, start);
        let mut session = Session::new(server.clone(), Arc::clone(&IDENTITY), start);
        session.set_remote(server, local, client.fingerprint(), start);
        Self {
            start,
            now: start,
            client,
            session,
            network: Network::new(seed),
            link,
            session_events: Vec::new(),
            client_events: Vec::new(),
            received: Vec::new(),
            received_rtcp: Vec::new(),
            drops: Vec::new(),
            strays: 0,
            addresses,
            stun_bytes: (0, 0),
            tamper: None,
        }
    }

    pub fn with_version(seed: u64, link: Link, version: DtlsVersion) -> Self {
        Self::new(seed, link, |config| config.version = version)
    }

    /// Runs until the condition holds; whether it did within `limit`.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            let wakes = [
                self.network.next_arrival(),
                self.client.poll_timeout(),
                self.session.poll_timeout(),
            ];
            match wakes.into_iter().flatten().min() {
                // A deadline in the past would spin: time must move.
                Some(at) if at <= end => self.now = at.max(self.now + Duration::from_micros(1)),
                _ => {
                    self.now = end;
                    self.settle();
                    return done(self);
                }
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    pub fn connect(&mut self) {
        let connected = self.run_until(Duration::from_secs(20), |world| {
            world.client.is_connected() && world.session_events.contains(&SessionEvent::Connected)
        });
        assert!(connected, "not connected: {:?} {:?}", self.session_events, self.drops);
    }

    /// Everything that is due now.
    pub fn settle(&mut self) {
        self.session.handle_timeout(self.now);
        self.client.handle_timeout(self.now);
        loop {
            self.flush();
            let Some((end, bytes)) = self.network.poll(self.now) else { break };
            match end {
                End::Session(from) => {
                    self.deliver(from, &bytes);
                    let copy = self.tamper.as_ref().map(|tamper| tamper(&bytes));
                    copy.iter().for_each(|copy| self.deliver(from, copy));
                }
                End::Client(to) if self.addresses.contains(&to) => {
                    self.client.handle_datagram(to, &bytes, self.now);
                }
                End::Client(_) => self.strays += 1,
            }
        }
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            let to = End::Session(transmit.from);
            self.network.send(self.link, &to, &transmit.bytes, self.now);
        }
        while let Some(outgoing) = self.session.poll_outgoing() {
            if demux::classify(&outgoing.bytes) == Class::Stun {
                self.stun_bytes.1 += outgoing.bytes.len();
            }
            let to = End::Client(outgoing.path.peer);
            self.network.send(self.link, &to, &outgoing.bytes, self.now);
        }
        while let Some(event) = self.session.poll_event() {
            self.session_events.push(event);
        }
        while let Some(event) = self.client.poll_event() {
            self.client_events.push(event);
        }
        assert!(self.session.paths().len() <= 8);
    }

    /// What the shard does with a datagram.
    pub fn deliver(&mut self, from: SocketAddr, bytes: &[u8]) {
        let path = Path::udp(from);
        let now = self.now;
        let result = match demux::classify(bytes) {
            Class::Stun => {
                self.stun_bytes.0 += bytes.len();
                let known = demux::local_ufrag(bytes)
                    .is_some_and(|ufrag| self.session.local_ufrags().any(|ours| ours == ufrag));
                if known {
                    self.session.handle_stun(bytes, path, now)
                } else {
                    Err(Drop::UnknownUfrag)
                }
            }
            _ if !self.session.paths().contains(&path) => Err(Drop::UnvalidatedPath),
            Class::Dtls => self.session.handle_dtls(bytes, path, now),
            Class::Rtp => self.deliver_rtp(bytes),
            Class::Rtcp => self.deliver_rtcp(bytes),
            Class::Unknown => Err(Drop::Malformed),
        };
        self.drops.extend(result.err());
    }

    fn deliver_rtp(&mut self, bytes: &[u8]) -> Result<(), Drop> {
        let header = Header::parse(bytes).map_err(|_| Drop::Malformed)?;
        let mut out = [0; 1500];
        let (ssrc, seq) = (header.ssrc.0, header.seq.0);
        let (index, len) = self.session.open_rtp(bytes, header.header_len, ssrc, seq, &mut out)?;
        self.received.push((index, out[..len].to_vec()));
        Ok(())
    }

    fn deliver_rtcp(&mut self, bytes: &[u8]) -> Result<(), Drop> {
        let mut out = [0; 1500];
        let len = self.session.open_rtcp(bytes, &mut out)?;
        self.received_rtcp.push(out[..len].to_vec());
        Ok(())
    }

    /// Ten packets each way arrive; links must be good by then.
    pub fn assert_media_flows(&mut self, base: u64) {
        let link = std::mem::replace(&mut self.link, Link::GOOD);
        let (before, before_client) = (self.received.len(), self.rtp_at_client());
        for index in base..base + 10 {
            let header = rtp_header(0x1111, index as u16);
            self.client.send_rtp(&header, SeqNo(index), b"from client");
            let mut out = [0; 100];
            out[..12].copy_from_slice(&rtp_header(0x2222, index as u16));
            let len = self.session.seal_rtp(0x2222, SeqNo(index), 12, b"from unit", &mut out);
            let path = self.session.selected_path().expect("a selected path");
            self.network.send(
                self.link,
                &End::Client(path.peer),
                &out[..len.expect("sealed")],
                self.now,
            );
        }
        self.session.send_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 9]).expect("RTCP sent");
        self.client.send_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 8]);
        self.run_for(Duration::from_millis(300));
        assert_eq!(self.received.len() - before, 10, "{:?}", self.drops);
        assert_eq!(self.rtp_at_client() - before_client, 10);
        assert_eq!(self.received_rtcp.last().map(|rtcp| rtcp[7]), Some(8));
        assert!(self.client_events.contains(&ClientEvent::Rtcp(vec![0x80, 201, 0, 1, 0, 0, 0, 9])));
        self.link = link;
    }

    fn rtp_at_client(&self) -> usize {
        self.client_events.iter().filter(|event| matches!(event, ClientEvent::Rtp(_))).count()
    }
}

pub fn rtp_header(ssrc: u32, seq: u16) -> [u8; 12] {
    let mut header = [0x80, 96, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&seq.to_be_bytes());
    header[8..].copy_from_slice(&ssrc.to_be_bytes());
    header
}
