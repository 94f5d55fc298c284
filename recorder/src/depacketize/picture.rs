//! What the payload formats have in common: the packets of a picture come in order, and each says
//! whether it begins one and where the picture stands among the others.

use super::{Format, Malformed, av1::Av1, h264::H264, vp8::Vp8, vp9::Vp9};
use crate::limits::PICTURE_BYTES_MAX;

/// What a packet says about its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Piece {
    /// Whether the picture can begin with this packet.
    pub(crate) is_first: bool,
    /// Where the picture stands, if told.
    pub(crate) place: Place,
}

/// Where a picture stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    /// Counts pictures (VP8, VP9) or frames (dependency descriptor).
    pub(crate) count: Option<Count>,
    /// Temporal layer.
    pub(crate) layer: Option<Layer>,
}

/// A wrapping number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) value: u16,
    pub(crate) bits: u8,
}

/// Temporal layer of a picture (RFC 7741 section 4.2, RFC 9628 section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layer {
    /// 0 is the base.
    pub(crate) id: u8,
    /// Counts the base layer's pictures.
    pub(crate) base: u8,
    /// The picture depends on the base layer alone (Y of VP8).
    pub(crate) is_sync: bool,
    /// Later pictures of higher layers depend on none of those before (U of VP9).
    pub(crate) opens_higher: bool,
}

impl Count {
    fn follows(self, before: Self) -> bool {
        let mask = ((1u32 << self.bits.min(16)) - 1) as u16;
        before.bits == self.bits && self.value == before.value.wrapping_add(1) & mask
    }
}

/// Temporal layer above all: everything can be decoded.
pub(crate) const ALL_LAYERS: u8 = u8::MAX;

impl Place {
    /// After packets were lost: up to which temporal layer decoding goes on with the picture at `self`,
    /// when `before` was the last one decodable. None: only from a key frame on.
    pub(crate) fn resumes(self, before: Self, level: u8) -> Option<u8> {
        if let (Some(now), Some(last)) = (self.count, before.count)
            && now.follows(last)
        {
            return Some(level); // what was lost was no picture
        }
        let (now, last) = (self.layer?, before.layer?);
        let base = last.base.wrapping_add(u8::from(now.id == 0));
        (now.base == base && (now.id == 0 || now.is_sync)).then_some(now.id)
    }
}

/// A picture, complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Picture {
    /// At key frames only.
    pub(crate) format: Option<Format>,
}

/// The payload format of a track.
pub(crate) enum Codec {
    Vp8(Vp8),
    Vp9(Box<Vp9>),
    H264(Box<H264>),
    Av1(Box<Av1>),
}

impl Codec {
    /// Adds a packet to the picture in `bytes`.
    pub(crate) fn push(
        &mut self,
        payload: &[u8],
        descriptor: &[u8],
        bytes: &mut Vec<u8>,
    ) -> Result<Piece, Malformed> {
        let mut piece = match self {
            Self::Vp8(vp8) => vp8.push(payload, bytes),
            Self::Vp9(vp9) => vp9.push(payload, bytes),
            Self::H264(h264) => h264.push(payload, bytes),
            Self::Av1(av1) => av1.push(payload, bytes),
        }?;
        if let (None, Some(count)) = (piece.place.count, frame_number(descriptor)) {
            piece.place.count = Some(count);
        }
        if bytes.len() > PICTURE_BYTES_MAX { Err(Malformed) } else { Ok(piece) }
    }

    /// The picture in `bytes` has all its packets. None: nothing that is shown.
    pub(crate) fn finish(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Picture>, Malformed> {
        match self {
            Self::Vp8(vp8) => vp8.finish(bytes),
            Self::Vp9(vp9) => vp9.finish(bytes),
            Self::H264(h264) => h264.finish(bytes),
            Self::Av1(av1) => av1.finish(bytes),
        }
    }

    /// The picture is given up.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::Vp8(_) => {}
            Self::Vp9(vp9) => vp9.reset(),
            Self::H264(h264) => h264.reset(),
            Self::Av1(av1) => av1.reset(),
        }
    }
}

/// `frame_number` of a dependency descriptor (AV1 RTP payload format 1.0, section A.8.1).
fn frame_number(descriptor: &[u8]) -> Option<Count> {
    let &[_, high, low, ..] = descriptor else { return None };
    Some(Count { value: u16::from_be_bytes([high, low]), bits: 16 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(count: u16, id: u8, base: u8, is_sync: bool) -> Place {
        let layer = Some(Layer { id, base, is_sync, opens_higher: false });
        Place { count: Some(Count { value: count, bits: 15 }), layer }
    }

    #[test]
    fn decoding_resumes_where_nothing_needed_is_missing() {
        let before = place(0x7fff, 0, 255, false);
        let resumes = |place: Place| place.resumes(before, ALL_LAYERS);
        assert_eq!(resumes(place(0, 2, 255, false)), Some(ALL_LAYERS), "padding was lost");
        assert_eq!(resumes(place(3, 0, 0, false)), Some(0), "pictures above the base were lost");
        assert_eq!(resumes(place(2, 1, 255, true)), Some(1));
        assert_eq!(resumes(place(2, 1, 255, false)), None);
        assert_eq!(resumes(place(5, 0, 1, false)), None, "a base picture was lost");
        assert_eq!(Place::default().resumes(Place::default(), ALL_LAYERS), None);
    }
}
