//! A published track: the stream that is received for it and the slots that show it.

use std::time::Instant;

use arrayvec::ArrayVec;
use sfu_proto::{
    control::Source,
    id::{ParticipantId, TrackId},
    sdp::{Codec, Kind, PayloadFormat},
    unit::SeqNo,
};

use crate::{
    limits::{FORMATS_MAX, FRESH_MAX},
    media::{layer::Layer, level::Level, simulcast::Simulcast, stream::Stream},
    router::{room::Room, tap::Tapped},
    shard::Peer,
    table::Key,
};

/// A payload format of a track, as negotiated with its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// RTP payload type.
    pub payload_type: u8,
    /// The codec.
    pub codec: Codec,
    /// Payload type of its retransmissions.
    pub rtx: Option<u8>,
    /// Whether NACK may be sent for it.
    pub nack: bool,
    /// Whether PLI may be sent for it.
    pub pli: bool,
}

impl From<&PayloadFormat> for Format {
    fn from(format: &PayloadFormat) -> Self {
        Self {
            payload_type: format.payload_type,
            codec: format.codec,
            rtx: format.rtx,
            nack: format.nack,
            pli: format.pli,
        }
    }
}

/// The bounded list of a section's formats.
pub type Formats = ArrayVec<Format, FORMATS_MAX>;

/// Takes over what fits; negotiation bounds the list before.
pub fn formats(negotiated: &[PayloadFormat]) -> Formats {
    negotiated.iter().take(FORMATS_MAX).map(Format::from).collect()
}

/// RTP clock rate (RFC 7587 section 4.1; RFC 7741, 9628, 6184 and AV1 all use 90 kHz).
pub const fn clock_rate(kind: Kind) -> u32 {
    match kind {
        Kind::Audio => 48_000,
        Kind::Video => 90_000,
    }
}

/// A published track.
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// Its room.
    pub room: Key<Room>,
    /// Who sends it.
    pub publisher: Key<Peer>,
    /// Whose it is.
    pub participant: ParticipantId,
    /// What it shows.
    pub source: Source,
    /// Whether its packets are dropped.
    pub muted: bool,
    /// Whether a packet has arrived.
    pub started: bool,
    /// Negotiated formats, most preferred first.
    pub formats: Formats,
    /// The format that packets use now.
    pub format: u8,
    /// The stream that is forwarded.
    pub layer: Layer,
    /// The other layers, of a track that is sent in several sizes.
    pub simulcast: Option<Box<Simulcast>>,
    /// Loudness.
    pub level: Level,
    /// Packets to forward in this turn.
    pub fresh: ArrayVec<SeqNo, FRESH_MAX>,
    /// Slots that show the track: subscriber and slot number.
    pub subscribers: Vec<(Key<Peer>, u16)>,
    /// Whether it is recorded, and as what.
    pub tap: Option<Tapped>,
}

impl Track {
    /// Audio or video.
    pub fn kind(&self) -> Kind {
        self.source.kind()
    }

    /// The codec in use, or the one that will most likely be.
    pub fn codec(&self) -> Option<Codec> {
        self.formats.get(usize::from(self.format)).map(|format| format.codec)
    }

    /// Whether a layer is the one that is forwarded; the only one of a track always is.
    pub fn is_forwarded(&self, rank: u8) -> bool {
        self.simulcast.as_ref().is_none_or(|simulcast| simulcast.chosen() == rank)
    }

    /// The stream of a layer.
    pub fn stream_mut(&mut self, rank: u8) -> Option<&mut Stream> {
        match &mut self.simulcast {
            Some(simulcast) if simulcast.chosen() != rank => simulcast.stream_mut(rank),
            _ => Some(&mut self.layer.stream),
        }
    }

    /// A layer begins anew, perhaps with another SSRC.
    pub fn begin_stream(&mut self, rank: u8, ssrc: u32, bound_at: Option<Instant>) {
        let Some(stream) = self.stream_mut(rank) else { return };
        stream.restart(ssrc, bound_at);
        if self.is_forwarded(rank) {
            self.layer.restart();
            self.tap.iter_mut().for_each(Tapped::restart);
        }
    }

    /// The streams of all layers, and of a track with several a blank one.
    pub fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        let others = self.simulcast.iter_mut().flat_map(|simulcast| simulcast.streams_mut());
        std::iter::once(&mut self.layer.stream).chain(others)
    }

    /// Ticks per second.
    pub fn clock_rate(&self) -> u32 {
        clock_rate(self.kind())
    }
}
