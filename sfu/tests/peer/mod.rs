//! A client of a whole node over real sockets: the core's test client on UDP or TCP.
#![allow(unreachable_pub, reason = "shared by test files")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use bus::{Bus, InProcessBus, Notice, Registration, Subscription};
use sfu_core::test_support::{Client, ClientConfig, ClientEvent};
use sfu_proto::{
    control::{Command, Event, Permissions, Publish, Source},
    demux::{FrameReader, frame_header},
    id::{ParticipantId, RoomId, SessionId, TrackId},
    sdp::{Codec, Direction, IceCredentials, Kind, Offer, OfferedMedia, PayloadFormat, SsrcPair},
    unit::SeqNo,
};

pub const ROOM: RoomId = RoomId::from_bits(1);
const SSRC: u32 = 77;

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream, Box<FrameReader>),
}

pub struct Peer {
    client: Client,
    link: Option<Link>,
    address: SocketAddr,
    pub session: SessionId,
    /// Payloads that arrived.
    pub received: Vec<Vec<u8>>,
}

/// The node as signaling sees it.
pub struct Control {
    pub bus: InProcessBus,
    pub node: Registration,
    notices: Subscription,
}

impl Control {
    pub fn new(bus: InProcessBus, node: Registration) -> Self {
        let notices = bus.subscribe();
        Self { bus, node, notices }
    }

    pub fn send(&self, command: Command) {
        self.bus.send(self.node, command).unwrap();
    }

    /// Waits for an event that `pick` takes, dropping others.
    pub fn wait<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Notice::Event { event, .. } = self.notices.blocking_next().unwrap()
                && let Some(found) = pick(event)
            {
                return found;
            }
        }
    }
}

impl Peer {
    /// Joins over the carrier; `publishes`: sends video, else receives it.
    pub fn join(
        control: &mut Control,
        number: u128,
        to: SocketAddr,
        tcp: bool,
        publishes: bool,
    ) -> Self {
        let local_ip = match to.ip() {
            IpAddr::V4(_) => "127.0.0.1:0",
            IpAddr::V6(_) => "[::1]:0",
        };
        let (link, address) = if tcp {
            let stream = TcpStream::connect(to).unwrap();
            stream.set_nonblocking(true).unwrap();
            let address = stream.local_addr().unwrap();
            (Link::Tcp(stream, Box::default()), address)
        } else {
            let socket = UdpSocket::bind(local_ip).unwrap();
            socket.connect(to).unwrap();
            socket.set_nonblocking(true).unwrap();
            let address = socket.local_addr().unwrap();
            (Link::Udp(socket), address)
        };
        let (session, now) = (SessionId::from_bits(number), Instant::now());
        let local = credentials(&format!("peer{number}"));
        let config = ClientConfig::new(local.clone(), credentials("unknown"), address);
        let mut client = Client::new(config, now);
        let publish = if publishes { vec![Source::Camera] } else { Vec::new() };
        control.send(Command::OpenSession {
            room: ROOM,
            session,
            participant: ParticipantId::from_bits(number),
            permissions: Permissions { publish, subscribe: true },
        });
        control.send(offer(session, local.clone(), &client, publishes));
        let remote = control.wait(|event| match event {
            Event::Answered { session: s, answer, .. } if s == session => Some(answer.ice),
            _ => None,
        });
        client.restart(local, remote, now);
        Self { client, link: Some(link), address, session, received: Vec::new() }
    }

    pub fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// Publishes packet `number`, whose payload tells it.
    pub fn publish(&mut self, number: u16) {
        let mut header = [0x80, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header[2..4].copy_from_slice(&number.to_be_bytes());
        header[4..8].copy_from_slice(&(u32::from(number) * 3000).to_be_bytes());
        header[8..].copy_from_slice(&SSRC.to_be_bytes());
        self.client.send_rtp(&header, SeqNo(u64::from(number)), &payload(number));
    }

    /// Breaks the connection off.
    pub fn hang_up(&mut self) {
        self.link = None;
    }

    /// Exchanges what there is.
    pub fn turn(&mut self) {
        let now = Instant::now();
        self.client.handle_timeout(now);
        let mut frames = Vec::new();
        while let Some(transmit) = self.client.poll_transmit() {
            match &mut self.link {
                Some(Link::Udp(socket)) => drop(socket.send(&transmit.bytes)),
                Some(Link::Tcp(..)) => {
                    frames.extend(frame_header(transmit.bytes.len()).unwrap());
                    frames.extend_from_slice(&transmit.bytes);
                }
                None => {}
            }
        }
        if let Some(Link::Tcp(stream, _)) = &mut self.link {
            // At once, so that the other side may read them at once.
            stream.write_all(&frames).unwrap();
        }
        for datagram in self.read() {
            self.client.handle_datagram(self.address, &datagram, now);
        }
        while let Some(event) = self.client.poll_event() {
            if let ClientEvent::Rtp(packet) = event {
                let padding = if packet[0] & 0x20 == 0 { 0 } else { packet[packet.len() - 1] };
                let end = packet.len() - usize::from(padding);
                self.received.push(packet[end.saturating_sub(payload(0).len())..end].to_vec());
            }
        }
    }

    fn read(&mut self) -> Vec<Vec<u8>> {
        let (mut got, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            let result = match &mut self.link {
                Some(Link::Udp(socket)) => socket.recv(&mut buffer),
                Some(Link::Tcp(stream, _)) => stream.read(&mut buffer),
                None => return got,
            };
            match (result, &mut self.link) {
                (Ok(len), Some(Link::Tcp(_, frames))) if len > 0 => {
                    frames.read(&buffer[..len], |frame| got.push(frame.to_vec())).unwrap();
                }
                (Ok(len), Some(Link::Udp(_))) => got.push(buffer[..len].to_vec()),
                (Ok(_), _) => return got,
                (Err(error), _) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return got;
                }
            }
        }
    }
}

/// Turns everybody until `done` or ten seconds have passed.
pub fn run_until(
    peers: &mut [&mut Peer],
    what: &str,
    mut done: impl FnMut(&mut [&mut Peer]) -> bool,
) {
    let start = Instant::now();
    while !done(peers) {
        assert!(start.elapsed() < Duration::from_secs(10), "not in time: {what}");
        peers.iter_mut().for_each(|peer| peer.turn());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Turns everybody until both ends know that all are connected: a client may know it before the
/// node, and would then send what the node cannot forward to others yet.
pub fn connect_all(control: &mut Control, peers: &mut [&mut Peer]) {
    run_until(peers, "all connect", |peers| peers.iter().all(|peer| peer.is_connected()));
    // What completed the handshakes.
    peers.iter_mut().for_each(|peer| peer.turn());
    let mut sessions = peers.len();
    control.wait(|event| {
        sessions -= usize::from(matches!(event, Event::Connected { .. }));
        (sessions == 0).then_some(())
    });
}

pub fn payload(number: u16) -> [u8; 32] {
    let mut payload = [0x90; 32];
    payload[30..].copy_from_slice(&number.to_be_bytes());
    payload
}

fn credentials(name: &str) -> IceCredentials {
    IceCredentials { ufrag: format!("{name}Ufrag"), pwd: format!("{name}Password0123456789abcdef") }
}

fn offer(session: SessionId, ice: IceCredentials, client: &Client, publishes: bool) -> Command {
    let format = PayloadFormat {
        payload_type: 96,
        codec: Codec::Vp8,
        rtx: None,
        fmtp: None,
        nack: false,
        pli: true,
        transport_cc: false,
    };
    let media = OfferedMedia {
        mid: "0".parse().unwrap(),
        kind: Some(Kind::Video),
        refused_line: "video UDP/TLS/RTP/SAVPF 96".to_owned(),
        stopped: false,
        direction: if publishes { Direction::SendOnly } else { Direction::RecvOnly },
        formats: vec![format],
        extensions: Vec::new(),
        ssrcs: if publishes { vec![SsrcPair { media: SSRC, rtx: None }] } else { Vec::new() },
        simulcast: Vec::new(),
    };
    let track = TrackId::from_bits(9);
    let (mid, source) = ("0".parse().unwrap(), Source::Camera);
    let publish = Publish { mid, track, source, muted: false };
    Command::Offer {
        session,
        request: 1,
        offer: Box::new(Offer {
            ice,
            fingerprint: client.fingerprint(),
            active: true,
            extmap_allow_mixed: false,
            media: vec![media],
        }),
        publish: if publishes { vec![publish] } else { Vec::new() },
    }
}
