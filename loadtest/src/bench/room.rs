//! A real shard with one publisher and many subscribers, connected by real ICE, DTLS and SRTP in
//! memory and virtual time. Packets between rounds are exchanged here, unmeasured.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, bail, ensure};
use rand::random;
use sfu_core::{
    config::ShardConfig,
    event::{Command, Event, Permissions, Publish, Source},
    path::Path,
    shard::Shard,
    stats::Stats,
    test_support::{Client, ClientConfig, ClientEvent},
    transport::{dtls::Identity, outbound::TxBatch},
};
use sfu_proto::{
    control::Tap,
    id::{ParticipantId, RecordingId, RoomId, SessionId, TrackId},
    sdp::{
        Codec, Direction, Extension, ExtensionMap, IceCredentials, Kind, Offer, OfferedMedia,
        PayloadFormat, SsrcPair,
    },
    unit::SeqNo,
};

/// The publisher's SSRC.
const SSRC: u32 = 0x00c0_ffee;
/// VP8 in every offer.
const PAYLOAD_TYPE: u8 = 96;
/// Virtual time between two frames: 30 frames a second.
const FRAME_INTERVAL: Duration = Duration::from_nanos(33_333_333);
/// RTP ticks between two frames at 90 kHz.
const FRAME_TICKS: u32 = 3_000;
/// Bytes of the published RTP header: 12, and one-byte extensions for MID, abs-send-time and
/// transport-wide sequence number (RFC 8285), padded.
const HEADER_LEN: usize = 28;
/// Virtual time that connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(20);

/// The room.
pub(super) struct Room {
    pub(super) shard: Shard,
    pub(super) stats: Arc<Stats>,
    pub(super) now: Instant,
    pub(super) publisher: SocketAddr,
    clients: HashMap<SocketAddr, Client>,
    next: u64,
    frame: u32,
}

/// Sealed packets of one frame, as they come from the publisher.
pub(super) type Frame = Vec<Vec<u8>>;

impl Room {
    /// A room whose members are at these addresses and connected.
    pub(super) fn new(publisher: SocketAddr, subscribers: &[SocketAddr]) -> Result<Self> {
        let now = Instant::now();
        let stats = Arc::<Stats>::default();
        let config =
            ShardConfig { taps: true, ..ShardConfig::new(Vec::new(), (now, SystemTime::now())) };
        let identity = Arc::new(Identity::generate()?);
        let shard = Shard::new(config, identity, Arc::clone(&stats), random(), now);
        let clients = HashMap::new();
        let mut room = Self { shard, stats, now, publisher, clients, next: 1, frame: 0 };
        let sessions_max = subscribers.len() as u32 + 1;
        room.command(Command::OpenRoom { room: RoomId::from_bits(1), sessions_max });
        room.join(publisher, 1, true)?;
        for (number, address) in (2..).zip(subscribers) {
            room.join(*address, number, false)?;
        }
        room.connect()?;
        Ok(room)
    }

    /// The next frame of `packets` packets with `payload_len` bytes each; virtual time moves on.
    pub(super) fn next_frame(&mut self, packets: usize, payload_len: usize) -> Result<Frame> {
        self.now += FRAME_INTERVAL;
        self.frame += 1;
        let timestamp = self.frame.wrapping_mul(FRAME_TICKS);
        let client = self.clients.get_mut(&self.publisher).context("the publisher")?;
        let frame = (0..packets).map(|i| {
            let index = self.next;
            self.next += 1;
            let header = header(index, timestamp, i + 1 == packets);
            client.seal_rtp(&header, SeqNo(index), &payload(index, payload_len))
        });
        Ok(frame.collect())
    }

    /// Records the publisher's track, or stops it.
    pub(super) fn set_tap(&mut self, on: bool) {
        let tap = Tap { recording: RecordingId::from_bits(1), tracks: vec![TrackId::from_bits(1)] };
        self.command(Command::SetTap { room: RoomId::from_bits(1), tap: on.then_some(tap) });
        // What the change itself is told by.
        while self.shard.poll_tap().is_some() {}
    }

    /// Everything but media: timers, ICE checks, RTCP. To be called between rounds.
    pub(super) fn maintain(&mut self) -> Result<()> {
        for client in self.clients.values_mut() {
            client.handle_timeout(self.now);
        }
        self.shard.handle_timeout(self.now);
        self.settle();
        ensure!(self.is_connected(), "a member lost its connection between rounds");
        Ok(())
    }

    /// Forwards one frame and lets every subscriber decrypt and compare it.
    pub(super) fn verify(&mut self, packets: usize, payload_len: usize) -> Result<()> {
        let first = self.next;
        let frame = self.next_frame(packets, payload_len)?;
        let (path, now) = (Path::udp(self.publisher), self.now);
        frame.iter().for_each(|packet| self.shard.handle_datagram(path, packet, now));
        self.settle();
        for (address, client) in &mut self.clients {
            let events = std::iter::from_fn(|| client.poll_event());
            let media: Vec<_> = events
                .filter_map(|event| match event {
                    ClientEvent::Rtp(bytes) => Some(bytes),
                    _ => None,
                })
                .collect();
            if *address == self.publisher {
                continue;
            }
            let expected = (first..).map(|index| payload(index, payload_len)).take(packets);
            let same = media.iter().zip(expected).all(|(got, sent)| got.ends_with(&sent));
            ensure!(media.len() == packets && same, "a subscriber did not get what was sent");
        }
        Ok(())
    }

    fn join(&mut self, address: SocketAddr, number: u128, publishes: bool) -> Result<()> {
        let (session, track) = (SessionId::from_bits(number), TrackId::from_bits(1));
        let local = credentials();
        let config = ClientConfig::new(local.clone(), credentials(), address);
        let mut client = Client::new(config, self.now);
        let publish = if publishes { vec![Source::Camera] } else { Vec::new() };
        self.command(Command::OpenSession {
            room: RoomId::from_bits(1),
            session,
            participant: ParticipantId::from_bits(number),
            permissions: Permissions { publish: publish.clone(), subscribe: true },
        });
        let offer = offer(local.clone(), &client, publishes)?;
        let published = |source| Ok(Publish { mid: "0".parse()?, track, source, muted: false });
        self.command(Command::Offer {
            session,
            request: 1,
            offer: Box::new(offer),
            publish: publish.into_iter().map(published).collect::<Result<_>>()?,
        });
        let remote = self.answer()?;
        client.restart(local, remote, self.now);
        self.clients.insert(address, client);
        Ok(())
    }

    fn command(&mut self, command: Command) {
        self.shard.handle_command(command, self.now);
    }

    fn answer(&mut self) -> Result<IceCredentials> {
        while let Some(event) = self.shard.poll_event() {
            match event {
                Event::Answered { answer, .. } => return Ok(answer.ice),
                Event::OfferRefused { reason, .. } => bail!("the offer was refused: {reason}"),
                _ => {}
            }
        }
        bail!("the offer was not answered")
    }

    fn connect(&mut self) -> Result<()> {
        let end = self.now + CONNECT_MAX;
        while !self.is_connected() {
            ensure!(self.now < end, "the members did not connect");
            self.now += Duration::from_millis(5);
            for client in self.clients.values_mut() {
                client.handle_timeout(self.now);
            }
            self.shard.handle_timeout(self.now);
            self.settle();
        }
        while self.shard.poll_event().is_some() {}
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.clients.values().all(Client::is_connected)
    }

    /// Exchanges datagrams in memory until both sides are silent.
    fn settle(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            for client in self.clients.values_mut() {
                while let Some(transmit) = client.poll_transmit() {
                    let path = Path::udp(transmit.from);
                    self.shard.handle_datagram(path, &transmit.bytes, self.now);
                    busy = true;
                }
            }
            while let Some(batch) = self.shard.poll_transmit(self.now) {
                deliver(batch, &mut self.clients, self.now);
                busy = true;
            }
        }
    }
}

fn deliver(batch: &TxBatch, clients: &mut HashMap<SocketAddr, Client>, now: Instant) {
    for run in batch.runs() {
        let Some(client) = clients.get_mut(&run.path.peer) else { continue };
        for datagram in batch.bytes(run).chunks(usize::from(run.segment.max(1))) {
            client.handle_datagram(run.path.peer, datagram, now);
        }
    }
}

fn credentials() -> IceCredentials {
    let part = || format!("{:016x}", random::<u64>());
    IceCredentials { ufrag: part(), pwd: part() + &part() }
}

fn offer(ice: IceCredentials, client: &Client, publishes: bool) -> Result<Offer> {
    let extensions =
        [(1, Extension::Mid), (2, Extension::AbsSendTime), (3, Extension::TransportSequence)];
    let format = PayloadFormat {
        payload_type: PAYLOAD_TYPE,
        codec: Codec::Vp8,
        rtx: Some(PAYLOAD_TYPE + 1),
        fmtp: None,
        nack: true,
        pli: true,
        transport_cc: true,
    };
    let ssrc = SsrcPair { media: SSRC, rtx: None };
    let media = OfferedMedia {
        mid: "0".parse()?,
        kind: Some(Kind::Video),
        refused_line: "video UDP/TLS/RTP/SAVPF 96 97".to_owned(),
        stopped: false,
        direction: if publishes { Direction::SendOnly } else { Direction::RecvOnly },
        formats: vec![format],
        extensions: extensions.map(|(id, extension)| ExtensionMap { id, extension }).to_vec(),
        ssrcs: if publishes { vec![ssrc] } else { Vec::new() },
        simulcast: Vec::new(),
    };
    Ok(Offer {
        ice,
        fingerprint: client.fingerprint(),
        active: true,
        extmap_allow_mixed: false,
        media: vec![media],
    })
}

fn header(index: u64, timestamp: u32, marker: bool) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = 0x90; // Version 2, with extensions.
    header[1] = PAYLOAD_TYPE | u8::from(marker) << 7;
    header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..12].copy_from_slice(&SSRC.to_be_bytes());
    header[12..16].copy_from_slice(&[0xbe, 0xde, 0, 3]);
    header[16..18].copy_from_slice(&[0x10, b'0']); // MID, 1 byte
    header[18..22].copy_from_slice(&[0x22, 0, 0, 0]); // abs-send-time, 3 bytes
    header[22] = 0x31; // Transport-wide sequence number, 2 bytes
    header[23..25].copy_from_slice(&(index as u16).to_be_bytes());
    header
}

/// A payload that tells its number behind a VP8 descriptor and key frame header.
fn payload(index: u64, len: usize) -> Vec<u8> {
    let mut payload = vec![0x5a; len];
    let start = [0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01];
    let prefix = start.len().min(len);
    payload[..prefix].copy_from_slice(&start[..prefix]);
    let tail = len.saturating_sub(8);
    if tail >= prefix {
        payload[tail..].copy_from_slice(&index.to_be_bytes());
    }
    payload
}
