//! One track: packets in as they came, [`Unit`]s out in order.

use sfu_proto::sdp;

use super::{
    Breaks, Format, Malformed, Unit, opus,
    picture::{ALL_LAYERS, Codec, Piece, Place},
    reorder::{InOrder, Reorder},
    vp8::Vp8,
};
use crate::align::Moment;

/// A packet as it came.
pub(crate) struct Incoming {
    pub(crate) moment: Moment,
    pub(crate) is_marked: bool,
    pub(crate) descriptor: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    breaks: Breaks,
}

impl Incoming {
    pub(crate) fn new(moment: Moment, packet: &sfu_proto::tap::Packet<'_>) -> Self {
        Self {
            moment,
            is_marked: packet.marker,
            descriptor: packet.descriptor.to_vec(),
            payload: packet.payload.to_vec(),
            breaks: Breaks::default(),
        }
    }
}

/// The state of a track between packets.
pub(crate) struct Stream {
    reorder: Reorder<Incoming>,
    /// What happened since the last packet that arrived.
    arriving: Breaks,
    /// What happened since the last unit.
    breaks: Breaks,
    pictures: Option<Pictures>,
    left_out: u64,
}

impl Stream {
    pub(crate) fn new(codec: sdp::Codec) -> Self {
        let codec = match codec {
            sdp::Codec::Opus => None,
            sdp::Codec::Vp8 => Some(Codec::Vp8(Vp8)),
            sdp::Codec::Vp9 { .. } => Some(Codec::Vp9(Box::default())),
            sdp::Codec::H264 { .. } => Some(Codec::H264(Box::default())),
            sdp::Codec::Av1 { .. } => Some(Codec::Av1(Box::default())),
        };
        Self {
            reorder: Reorder::default(),
            arriving: Breaks::default(),
            breaks: Breaks::default(),
            pictures: codec.map(Pictures::new),
            left_out: 0,
        }
    }

    /// Something happened before the next packet that arrives.
    pub(crate) fn note(&mut self, breaks: Breaks) {
        self.arriving.add(breaks);
    }

    /// Pictures or packets that were left out so far.
    pub(crate) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A packet arrived.
    pub(crate) fn push(&mut self, seq: u64, mut packet: Incoming, out: &mut Vec<Unit>) {
        // What came before is given again after a crash, and says nothing of what happened since.
        if self.reorder.takes(seq) {
            packet.breaks = std::mem::take(&mut self.arriving);
        }
        let (len, now_us) = (packet.payload.len(), packet.moment.arrival_us);
        self.reorder.push(seq, packet, len, now_us);
        self.drain(now_us, out);
    }

    /// What is held is let go: no packet comes for some time, or never.
    pub(crate) fn flush(&mut self, out: &mut Vec<Unit>) {
        self.reorder.flush();
        self.drain(i64::MAX, out);
        if let Some(mut pictures) = self.pictures.take() {
            pictures.give_up(self);
            self.pictures = Some(pictures);
        }
    }

    /// The next packet belongs to another epoch; its numbers begin anew.
    pub(crate) fn restart(&mut self, out: &mut Vec<Unit>) {
        self.flush(out);
        self.reorder = Reorder::default();
        if let Some(pictures) = &mut self.pictures {
            pictures.level = None;
        }
    }

    fn drain(&mut self, now_us: i64, out: &mut Vec<Unit>) {
        while let Some(InOrder { packet, after_hole }) = self.reorder.pop(now_us) {
            self.breaks.add(packet.breaks);
            if after_hole {
                self.breaks.add(Breaks::LOST);
            }
            match self.pictures.take() {
                Some(mut pictures) => {
                    pictures.packet(packet, after_hole, self, out);
                    self.pictures = Some(pictures);
                }
                None => self.audio(packet, out),
            }
        }
    }

    fn audio(&mut self, packet: Incoming, out: &mut Vec<Unit>) {
        if packet.payload.is_empty() {
            return; // padding
        }
        if opus::packet_ticks(&packet.payload).is_none() {
            return self.leave_out();
        }
        let is_stereo = opus::is_stereo(&packet.payload);
        let breaks = std::mem::take(&mut self.breaks);
        let format = Some(Format::Audio { is_stereo });
        let (moment, bytes) = (packet.moment, packet.payload);
        out.push(Unit { moment, bytes, is_key: true, format, breaks });
    }

    fn leave_out(&mut self) {
        self.left_out += 1;
        self.breaks.add(Breaks::LOST);
    }
}

/// Puts pictures together.
struct Pictures {
    codec: Codec,
    current: Option<Current>,
    bytes: Vec<u8>,
    /// Up to which temporal layer what comes can be decoded; none: nothing before a key frame.
    level: Option<u8>,
    /// Of the last picture that was let out.
    last: Place,
    /// Packets were lost since then.
    has_hole: bool,
}

struct Current {
    moment: Moment,
    /// Of its first packet, then of its last.
    first: Place,
    last: Place,
    is_broken: bool,
}

impl Pictures {
    fn new(codec: Codec) -> Self {
        let (bytes, last) = (Vec::new(), Place::default());
        Self { codec, current: None, bytes, level: None, last, has_hole: false }
    }

    fn packet(
        &mut self,
        packet: Incoming,
        after_hole: bool,
        stream: &mut Stream,
        out: &mut Vec<Unit>,
    ) {
        if after_hole {
            self.has_hole = true;
            if let Some(current) = &mut self.current {
                current.is_broken = true;
            }
        }
        if packet.payload.is_empty() {
            return; // padding
        }
        if self.current.as_ref().is_some_and(|now| now.moment.ticks != packet.moment.ticks) {
            self.end(stream, out);
        }
        let piece = self.codec.push(&packet.payload, &packet.descriptor, &mut self.bytes);
        self.add(piece, packet.moment);
        if packet.is_marked {
            self.end(stream, out);
        }
    }

    fn add(&mut self, piece: Result<Piece, Malformed>, moment: Moment) {
        match (&mut self.current, piece) {
            (Some(current), Ok(piece)) => current.last = piece.place,
            (Some(current), Err(Malformed)) => current.is_broken = true,
            (None, piece) => {
                let is_broken = !piece.is_ok_and(|piece| piece.is_first);
                let place = piece.map_or_else(|_| Place::default(), |piece| piece.place);
                self.current = Some(Current { moment, first: place, last: place, is_broken });
            }
        }
    }

    /// The current picture, if any, has all its packets that there are.
    fn end(&mut self, stream: &mut Stream, out: &mut Vec<Unit>) {
        let Some(current) = self.current.take() else { return };
        let mut bytes = std::mem::take(&mut self.bytes);
        if current.is_broken {
            return self.lose(stream);
        }
        match self.codec.finish(&mut bytes) {
            Ok(Some(picture)) if self.is_decodable(&current, picture.format.is_some()) => {
                self.last = current.last;
                self.has_hole = false;
                let breaks = std::mem::take(&mut stream.breaks);
                let (moment, format) = (current.moment, picture.format);
                out.push(Unit { moment, bytes, is_key: format.is_some(), format, breaks });
            }
            Ok(None) => {}
            Ok(Some(_)) => stream.leave_out(),
            Err(Malformed) => self.lose(stream),
        }
    }

    /// A picture whose end was not seen.
    fn give_up(&mut self, stream: &mut Stream) {
        if self.current.take().is_some() {
            self.bytes.clear();
            self.lose(stream);
        }
    }

    fn lose(&mut self, stream: &mut Stream) {
        self.codec.reset();
        self.has_hole = true;
        stream.leave_out();
    }

    /// Whether a decoder that got everything we let out can decode this.
    fn is_decodable(&mut self, picture: &Current, is_key: bool) -> bool {
        if is_key {
            self.level = Some(ALL_LAYERS);
            return true;
        }
        let Some(level) = self.level else { return false };
        if self.has_hole {
            self.level = picture.first.resumes(self.last, level);
            return self.level.is_some();
        }
        let Some(layer) = picture.first.layer else { return true };
        if layer.id > level && !layer.is_sync {
            return false;
        }
        let opened = if layer.opens_higher { ALL_LAYERS } else { layer.id };
        self.level = Some(level.max(opened));
        true
    }
}

#[cfg(test)]
mod tests {
    use sfu_proto::{
        tap::Packet,
        unit::{RtpTimestamp, SeqNo},
    };

    use super::*;

    #[test]
    fn a_packet_that_comes_again_does_not_take_the_reason_of_a_hole() {
        let mut stream = Stream::new(sdp::Codec::Opus);
        let mut out = Vec::new();
        let mut push = |stream: &mut Stream, seq: u64, arrival_us| {
            let packet = Packet {
                index: 0,
                seq: SeqNo(seq),
                timestamp: RtpTimestamp(0),
                marker: false,
                level: None,
                descriptor: &[],
                payload: &[0xf8, 0xff, 0xfe], // 20 ms of silence, RFC 6716 section 3.1
            };
            let moment = Moment { epoch: 0, ticks: 0, arrival_us };
            stream.push(seq, Incoming::new(moment, &packet), &mut out);
            stream.flush(&mut out);
        };
        push(&mut stream, 1, 0);
        push(&mut stream, 2, 20_000);
        stream.note(Breaks::MUTED);
        push(&mut stream, 2, 40_000);
        push(&mut stream, 60, 3_000_000);
        assert_eq!(out.len(), 3);
        assert!(out[2].breaks.has(Breaks::MUTED), "{:?}", out[2].breaks);
    }
}
