//! A scripted peer: publishes numbered packets, answers NACKs, collects what its slots receive.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use sfu_core::{
    event::{Publish, Source},
    test_support::{Client, ClientConfig, ClientEvent},
};
use sfu_proto::{
    id::SessionId,
    rtcp::{CompoundWriter, Packet, packets},
    rtp::{Header, HeaderWriter, SeqUnwrapper, rtx_payload},
    sdp::{
        Answer, Codec, Direction, Extension, ExtensionMap, Fingerprint, IceCredentials, Kind,
        Offer, OfferedMedia, PayloadFormat,
    },
    unit::{RtpSeq, RtpTimestamp, SeqNo, Ssrc},
};

/// How often a receiver asks for missing packets.
const NACK_INTERVAL: Duration = Duration::from_millis(30);
const MEDIA_PT: u8 = 96;
const RTX_PT: u8 = 97;
const AUDIO_PT: u8 = 111;
const MID_ID: u8 = 4;
const TWCC_ID: u8 = 3;
const LEVEL_ID: u8 = 1;
const DD_ID: u8 = 8;
const RID_ID: u8 = 10;
const REPAIRED_RID_ID: u8 = 11;

/// A packet that a publisher sent: what must come out elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub payload: Vec<u8>,
    pub marker: bool,
}

pub struct Stream {
    pub source: Source,
    pub mid: String,
    pub ssrc: u32,
    pub next: u64,
    pub timestamp: u32,
    pub sent: Vec<(u64, Sent, Vec<u8>)>,
    pub plis: Vec<Instant>,
    pub nacked: usize,
    pub rtx_next: u64,
    pub level: Option<u8>,
    pub descriptor: Option<Vec<u8>>,
    pub stopped: bool,
    /// Its name among the layers of its track.
    pub rid: Option<String>,
    /// Whether the unit has reported on it: then it is named no more, as libwebrtc does.
    pub acknowledged: bool,
}

/// One slot as its receiver sees it.
#[derive(Default)]
pub struct Received {
    pub unwrapper: SeqUnwrapper,
    pub packets: BTreeMap<u64, (RtpTimestamp, Sent)>,
    pub first_at: Option<Instant>,
    /// Packets that came more than once, whichever way.
    pub twice: usize,
    /// Media packets without, and packets with RTX.
    pub plain: usize,
    pub rtx: usize,
    pub mid: Option<Vec<u8>>,
    pub levels: Vec<u8>,
    pub descriptors: Vec<Vec<u8>>,
    /// Descriptors by sequence number.
    pub numbered: BTreeMap<u64, Vec<u8>>,
    /// The sources' own packet numbers, in order of arrival.
    pub arrived: Vec<(u64, Instant)>,
    pub sender_reports: Vec<(Instant, u64, RtpTimestamp)>,
}

pub struct Slot {
    pub mid: String,
    pub kind: Kind,
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
    pub stopped: bool,
    pub received: Received,
}

enum Section {
    Stream(usize),
    Slot(usize),
}

pub struct Peer {
    pub number: usize,
    pub session: SessionId,
    pub address: SocketAddr,
    pub streams: Vec<Stream>,
    pub slots: Vec<Slot>,
    pub credentials: IceCredentials,
    /// Whether it asks for missing packets.
    pub nacks: bool,
    pub reports: Vec<(Ssrc, u8, i32)>,
    pub feedback: usize,
    sections: Vec<Section>,
    client: Option<Client>,
    pending: Option<Client>,
    nack_at: Instant,
    transport_seq: u16,
    rtx_unwrap: HashMap<u32, SeqUnwrapper>,
}

impl Peer {
    pub fn new(number: usize, session: SessionId, now: Instant) -> Self {
        let credentials = IceCredentials {
            ufrag: format!("client{number}"),
            pwd: format!("clientPassword{number:020}"),
        };
        let address = SocketAddr::from(([192, 0, 2, number as u8], 40_000));
        Self {
            number,
            session,
            address,
            streams: Vec::new(),
            slots: Vec::new(),
            credentials,
            nacks: true,
            reports: Vec::new(),
            feedback: 0,
            sections: Vec::new(),
            client: None,
            pending: None,
            nack_at: now,
            transport_seq: 0,
            rtx_unwrap: HashMap::new(),
        }
    }

    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("an answer")
    }

    pub fn client_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("an answer")
    }

    pub fn add_source(&mut self, source: Source) {
        let mid = self.sections.len().to_string();
        self.sections.push(Section::Stream(self.streams.len()));
        self.add_stream(source, mid, None);
    }

    /// A source that is sent as these layers; each is a stream of its own here.
    pub fn add_layers(&mut self, source: Source, rids: &[&str]) {
        let mid = self.sections.len().to_string();
        self.sections.push(Section::Stream(self.streams.len()));
        for rid in rids {
            self.add_stream(source, mid.clone(), Some((*rid).to_owned()));
        }
    }

    fn add_stream(&mut self, source: Source, mid: String, rid: Option<String>) {
        self.streams.push(Stream {
            source,
            mid,
            ssrc: 1000 * (self.number as u32 + 1) + 10 * self.streams.len() as u32,
            // Near a rollover of the sequence number.
            next: 65_500,
            timestamp: 7_000 * self.number as u32,
            sent: Vec::new(),
            plis: Vec::new(),
            nacked: 0,
            rtx_next: 1,
            level: None,
            descriptor: None,
            stopped: false,
            rid,
            acknowledged: false,
        });
    }

    pub fn add_slot(&mut self, kind: Kind) {
        let mid = self.sections.len().to_string();
        self.sections.push(Section::Slot(self.slots.len()));
        self.slots.push(Slot {
            mid,
            kind,
            ssrc: 0,
            rtx_ssrc: None,
            stopped: false,
            received: Received::default(),
        });
    }

    pub fn offer(&mut self) -> Offer {
        let fingerprint = self.fingerprint();
        let media = self.sections.iter().map(|section| match section {
            Section::Stream(n) => {
                let stream = &self.streams[*n];
                let direction =
                    if stream.stopped { Direction::Inactive } else { Direction::SendOnly };
                let rids = self.streams.iter().filter(|other| other.mid == stream.mid);
                let media = media(&stream.mid, stream.source.kind(), direction, false);
                with_layers(media, rids.filter_map(|stream| stream.rid.as_deref()))
            }
            Section::Slot(n) => {
                let slot = &self.slots[*n];
                media(&slot.mid, slot.kind, Direction::RecvOnly, slot.stopped)
            }
        });
        Offer {
            ice: self.credentials.clone(),
            fingerprint,
            active: true,
            extmap_allow_mixed: true,
            media: media.collect(),
        }
    }

    /// The certificate is the client's, which is made with the first offer.
    fn fingerprint(&mut self) -> Fingerprint {
        if let Some(client) = &self.client {
            return client.fingerprint();
        }
        let now = self.nack_at;
        let config = self.client_config(self.credentials.clone());
        let client = self.pending.get_or_insert_with(|| Client::new(config, now));
        client.fingerprint()
    }

    fn client_config(&self, remote: IceCredentials) -> ClientConfig {
        ClientConfig::new(self.credentials.clone(), remote, self.address)
    }

    pub fn publish(&self) -> Vec<Publish> {
        let firsts = self.sections.iter().filter_map(|section| match section {
            Section::Stream(n) => Some(&self.streams[*n]),
            Section::Slot(_) => None,
        });
        let live = firsts.filter(|stream| !stream.stopped);
        live.map(|stream| Publish {
            mid: stream.mid.parse().unwrap(),
            track: super::track(self.number, stream.source),
            source: stream.source,
            muted: false,
        })
        .collect()
    }

    pub fn on_answer(&mut self, answer: &Answer, now: Instant) {
        if let Some(mut client) = self.pending.take() {
            // The checks of the unanswered client had no password to succeed with.
            client.restart(self.credentials.clone(), answer.ice.clone(), now);
            self.client = Some(client);
        }
        for slot in &mut self.slots {
            let section = answer.media.iter().find(|media| media.mid.as_str() == slot.mid);
            if let Some(ssrcs) = section.and_then(|section| section.ssrcs) {
                (slot.ssrc, slot.rtx_ssrc) = (ssrcs.media, ssrcs.rtx);
            }
        }
    }

    /// Sends one packet with this payload; its number identifies it.
    pub fn send(&mut self, stream: usize, payload: &[u8], marker: bool) {
        let datagram = self.seal(stream, payload, marker);
        let Some((bytes, index)) = datagram else { return };
        self.client_mut().send_rtp(&bytes, index, payload);
    }

    /// The header of the next packet, taken into the books.
    pub fn seal(&mut self, n: usize, payload: &[u8], marker: bool) -> Option<(Vec<u8>, SeqNo)> {
        self.transport_seq = self.transport_seq.wrapping_add(1);
        let stream = &mut self.streams[n];
        let index = SeqNo(stream.next);
        stream.next += 1;
        let header = stream.header(stream.ssrc, index, marker, false, self.transport_seq);
        let sent = Sent { payload: payload.to_vec(), marker };
        stream.sent.push((index.0, sent, header.clone()));
        Some((header, index))
    }

    /// Sends a frame of packets, the last with the marker, and moves the media clock.
    pub fn send_frame(&mut self, n: usize, packets: usize, size: usize) {
        for packet in 0..packets {
            let count = self.streams[n].next;
            let mut payload = vec![0u8; size.max(12)];
            // Opaque to the unit: no codec's header looks like this.
            let word = (count << 16 | (self.number as u64) << 8 | n as u64)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15);
            payload
                .iter_mut()
                .enumerate()
                .for_each(|(i, b)| *b = (word >> (i % 8 * 8)) as u8 ^ i as u8);
            payload[..8].copy_from_slice(&count.to_be_bytes());
            payload[8] = self.number as u8;
            payload[9] = n as u8;
            self.send(n, &payload, packet + 1 == packets);
        }
        let step = if self.streams[n].source.kind() == Kind::Audio { 960 } else { 3000 };
        self.streams[n].timestamp = self.streams[n].timestamp.wrapping_add(step);
    }

    /// Sends a retransmission of nothing, as a probe of bandwidth.
    pub fn send_padding(&mut self, n: usize) {
        self.transport_seq = self.transport_seq.wrapping_add(1);
        let stream = &mut self.streams[n];
        let index = SeqNo(stream.rtx_next);
        stream.rtx_next += 1;
        let header = stream.header(stream.ssrc + 1, index, false, true, self.transport_seq);
        self.client_mut().send_rtp(&header, index, &[0, 0]);
    }

    pub fn send_rtcp(&mut self, write: impl FnOnce(&mut CompoundWriter<'_>)) {
        let mut out = [0; 1200];
        let mut writer = CompoundWriter::new(&mut out);
        write(&mut writer);
        if !writer.is_empty() {
            let bytes = writer.finish().to_vec();
            self.client_mut().send_rtcp(&bytes);
        }
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(client) = &mut self.client {
            client.handle_timeout(now);
        }
        if self.nacks
            && self.nack_at <= now
            && self.client.as_ref().is_some_and(Client::is_connected)
        {
            self.nack_at = now + NACK_INTERVAL;
            self.ask_for_missing();
        }
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let client = self.client.as_ref()?;
        let nack = (self.nacks && client.is_connected() && self.has_gaps()).then_some(self.nack_at);
        [client.poll_timeout(), nack].into_iter().flatten().min()
    }

    fn has_gaps(&self) -> bool {
        self.slots.iter().any(|slot| !slot.received.missing().is_empty())
    }

    fn ask_for_missing(&mut self) {
        for n in 0..self.slots.len() {
            let slot = &self.slots[n];
            let missing = slot.received.missing();
            if slot.kind == Kind::Video && !missing.is_empty() {
                let ssrc = Ssrc(slot.ssrc);
                self.send_rtcp(|writer| writer.nack(Ssrc(1), ssrc, missing).unwrap());
            }
        }
    }

    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let transmit = self.client.as_mut()?.poll_transmit()?;
        Some((transmit.from, transmit.bytes))
    }

    pub fn handle_datagram(&mut self, bytes: &[u8], now: Instant) {
        let Some(client) = &mut self.client else { return };
        client.handle_datagram(self.address, bytes, now);
        while let Some(event) = self.client_mut().poll_event() {
            match event {
                ClientEvent::Rtp(packet) => self.on_rtp(&packet, now),
                ClientEvent::Rtcp(compound) => self.on_rtcp(&compound, now),
                ClientEvent::Connected | ClientEvent::Closed => {}
            }
        }
    }

    fn on_rtp(&mut self, packet: &[u8], now: Instant) {
        let header = Header::parse(packet).unwrap();
        let (ssrc, payload) = (header.ssrc.0, &packet[header.header_len..]);
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.ssrc == ssrc || slot.rtx_ssrc == Some(ssrc))
            .expect("a negotiated SSRC");
        let (received, is_rtx) = (&mut slot.received, slot.ssrc != ssrc);
        received.first_at.get_or_insert(now);
        let (seq, payload) = if is_rtx {
            assert_eq!(header.payload_type, RTX_PT);
            let (seq, payload) = rtx_payload(payload).unwrap();
            received.rtx += 1;
            (seq, payload)
        } else {
            received.plain += 1;
            (header.seq, payload)
        };
        let mut descriptor = None;
        for (id, data) in header.extensions(packet) {
            match id {
                MID_ID => received.mid = Some(data.to_vec()),
                LEVEL_ID => received.levels.push(data[0]),
                DD_ID => {
                    received.descriptors.push(data.to_vec());
                    descriptor = Some(data.to_vec());
                }
                _ => {}
            }
        }
        let seq = received.unwrapper.unwrap(seq).unwrap();
        received.numbered.extend(descriptor.map(|descriptor| (seq.0, descriptor)));
        if let Some(number) = payload.first_chunk() {
            received.arrived.push((u64::from_be_bytes(*number), now));
        }
        let sent = Sent { payload: payload.to_vec(), marker: header.marker };
        if received.packets.insert(seq.0, (header.timestamp, sent)).is_some() {
            received.twice += 1;
        }
    }

    fn on_rtcp(&mut self, compound: &[u8], now: Instant) {
        let mut repeats = Vec::new();
        for packet in packets(compound) {
            match packet.expect("well-formed RTCP") {
                Packet::Pli { media, .. } => {
                    if let Some(stream) = self.streams.iter_mut().find(|s| s.ssrc == media.0) {
                        stream.plis.push(now);
                    }
                }
                Packet::Nack { media, lost, .. } => {
                    repeats.extend(lost.map(|seq| (media, seq)));
                }
                Packet::TransportFeedback(_) => self.feedback += 1,
                Packet::SenderReport { info, reports } => {
                    let slot = self.slots.iter_mut().find(|slot| slot.ssrc == info.ssrc.0);
                    let report = (now, info.ntp, info.timestamp);
                    slot.expect("a slot's SSRC").received.sender_reports.push(report);
                    self.reports
                        .extend(reports.map(|r| (r.ssrc, r.fraction_lost, r.cumulative_lost)));
                }
                Packet::ReceiverReport { reports, .. } => {
                    self.reports
                        .extend(reports.map(|r| (r.ssrc, r.fraction_lost, r.cumulative_lost)));
                }
                _ => {}
            }
        }
        repeats.into_iter().for_each(|(media, seq)| self.repeat(media, seq));
        for stream in &mut self.streams {
            stream.acknowledged |= self.reports.iter().any(|(ssrc, ..)| ssrc.0 == stream.ssrc);
        }
    }

    /// Answers a NACK with a retransmission (RFC 4588).
    fn repeat(&mut self, media: Ssrc, seq: RtpSeq) {
        self.transport_seq = self.transport_seq.wrapping_add(1);
        let transport_seq = self.transport_seq;
        let Some(stream) = self.streams.iter_mut().find(|s| s.ssrc == media.0) else { return };
        stream.nacked += 1;
        let found = stream.sent.iter().find(|(index, ..)| *index as u16 == seq.0);
        let Some((_, sent, original)) = found.cloned() else { return };
        let index = SeqNo(stream.rtx_next);
        stream.rtx_next += 1;
        let timestamp = Header::parse(&original).unwrap().timestamp;
        let before = std::mem::replace(&mut stream.timestamp, timestamp.0);
        let header = stream.header(stream.ssrc + 1, index, sent.marker, true, transport_seq);
        stream.timestamp = before;
        let payload = [&seq.0.to_be_bytes()[..], &sent.payload].concat();
        self.client_mut().send_rtp(&header, index, &payload);
    }
}

impl Stream {
    fn header(&self, ssrc: u32, index: SeqNo, marker: bool, rtx: bool, twcc: u16) -> Vec<u8> {
        let payload_type = match (self.source.kind(), rtx) {
            (Kind::Audio, _) => AUDIO_PT,
            (Kind::Video, true) => RTX_PT,
            (Kind::Video, false) => MEDIA_PT,
        };
        let (twcc, level) = (twcc.to_be_bytes(), [self.level.unwrap_or_default()]);
        let mut extensions: Vec<(u8, &[u8])> = vec![(TWCC_ID, &twcc)];
        match &self.rid {
            None => extensions.push((MID_ID, self.mid.as_bytes())),
            // Of repetitions no report ever tells.
            Some(rid) if rtx => {
                extensions.push((MID_ID, self.mid.as_bytes()));
                extensions.push((REPAIRED_RID_ID, rid.as_bytes()));
            }
            Some(rid) if !self.acknowledged => {
                extensions.push((MID_ID, self.mid.as_bytes()));
                extensions.push((RID_ID, rid.as_bytes()));
            }
            Some(_) => {}
        }
        if self.level.is_some() {
            extensions.push((LEVEL_ID, &level));
        }
        if let Some(descriptor) = &self.descriptor {
            extensions.push((DD_ID, descriptor));
        }
        let writer = HeaderWriter {
            payload_type,
            marker,
            padding: false,
            seq: index.wire(),
            timestamp: RtpTimestamp(self.timestamp),
            ssrc: Ssrc(ssrc),
            csrcs: &[],
            extensions: &extensions,
        };
        let mut out = vec![0; writer.header_len()];
        writer.write(&mut out).unwrap();
        out
    }
}

impl Received {
    /// What a receiver would ask for: holes between the first and the last packet.
    fn missing(&self) -> Vec<RtpSeq> {
        let (Some(first), Some(last)) =
            (self.packets.keys().next(), self.packets.keys().next_back())
        else {
            return Vec::new();
        };
        let holes = (*first..*last).filter(|seq| !self.packets.contains_key(seq));
        holes.take(100).map(|seq| SeqNo(seq).wire()).collect()
    }

    /// The payloads in order of outgoing sequence number.
    pub fn in_order(&self) -> Vec<Sent> {
        self.packets.values().map(|(_, sent)| sent.clone()).collect()
    }
}

/// The same, sent as these layers.
pub fn with_layers<'a>(media: OfferedMedia, rids: impl Iterator<Item = &'a str>) -> OfferedMedia {
    let simulcast: Vec<_> = rids.map(|rid| rid.try_into().unwrap()).collect();
    let mut extensions = media.extensions.clone();
    if !simulcast.is_empty() {
        let names =
            [(RID_ID, Extension::RtpStreamId), (REPAIRED_RID_ID, Extension::RepairedRtpStreamId)];
        extensions.extend(names.map(|(id, extension)| ExtensionMap { id, extension }));
    }
    OfferedMedia { extensions, simulcast, ..media }
}

pub fn media(mid: &str, kind: Kind, direction: Direction, stopped: bool) -> OfferedMedia {
    let video = kind == Kind::Video;
    let format = PayloadFormat {
        payload_type: if video { MEDIA_PT } else { AUDIO_PT },
        codec: if video { Codec::Vp8 } else { Codec::Opus },
        rtx: video.then_some(RTX_PT),
        fmtp: None,
        nack: video,
        pli: video,
        transport_cc: true,
    };
    let extension = |id, extension| ExtensionMap { id, extension };
    let own = if video {
        extension(DD_ID, Extension::DependencyDescriptor)
    } else {
        extension(LEVEL_ID, Extension::AudioLevel)
    };
    OfferedMedia {
        mid: mid.parse().unwrap(),
        kind: Some(kind),
        refused_line: "video UDP/TLS/RTP/SAVPF 96".to_owned(),
        stopped,
        direction,
        formats: vec![format],
        extensions: vec![
            extension(MID_ID, Extension::Mid),
            extension(TWCC_ID, Extension::TransportSequence),
            own,
        ],
        ssrcs: Vec::new(),
        simulcast: Vec::new(),
    }
}
