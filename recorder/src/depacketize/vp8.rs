//! VP8 in RTP (RFC 7741).

use shiguredo_mp4::bitstream::vp8;

use super::{
    Format, Malformed,
    picture::{Count, Layer, Picture, Piece, Place},
};

/// No state: a payload says all.
pub(crate) struct Vp8;

impl Vp8 {
    pub(crate) fn push(&mut self, payload: &[u8], bytes: &mut Vec<u8>) -> Result<Piece, Malformed> {
        let (piece, data) = descriptor(payload).ok_or(Malformed)?;
        bytes.extend_from_slice(data);
        Ok(piece)
    }

    pub(crate) fn finish(&mut self, bytes: &[u8]) -> Result<Option<Picture>, Malformed> {
        let header = vp8::parse_frame_header(bytes).map_err(|_| Malformed)?;
        let format = header.keyframe.map(|key| Format::Video {
            width: key.width,
            height: key.height,
            entry: None,
        });
        Ok(Some(Picture { format }))
    }
}

/// The payload descriptor (section 4.2) and what follows it.
fn descriptor(payload: &[u8]) -> Option<(Piece, &[u8])> {
    let (&first, mut rest) = payload.split_first()?;
    // S set and partition 0: a picture begins.
    let is_first = first & 0x17 == 0x10;
    let mut place = Place::default();
    if first & 0x80 != 0 {
        let extension = take(&mut rest)?;
        if extension & 0x80 != 0 {
            let high = take(&mut rest)?;
            place.count = Some(if high & 0x80 == 0 {
                Count { value: u16::from(high), bits: 7 }
            } else {
                let value = u16::from_be_bytes([high & 0x7f, take(&mut rest)?]);
                Count { value, bits: 15 }
            });
        }
        let base = if extension & 0x40 != 0 { Some(take(&mut rest)?) } else { None };
        let layer = if extension & 0x30 != 0 { Some(take(&mut rest)?) } else { None };
        if let (Some(base), Some(layer), true) = (base, layer, extension & 0x20 != 0) {
            let is_sync = layer & 0x20 != 0;
            place.layer = Some(Layer { id: layer >> 6, base, is_sync, opens_higher: false });
        }
    }
    (!rest.is_empty()).then_some((Piece { is_first, place }, rest))
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, after) = rest.split_first()?;
    *rest = after;
    Some(byte)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_full_descriptor_is_read() {
        // X, S; I L T K; 15-bit picture id; TL0PICIDX; TID 2 with Y, KEYIDX.
        let payload = [0x90, 0xf0, 0x81, 0x23, 9, 0b1010_0001, 0xaa];
        let (piece, data) = descriptor(&payload).unwrap();
        assert!(piece.is_first);
        assert_eq!(piece.place.count, Some(Count { value: 0x123, bits: 15 }));
        let layer = Layer { id: 2, base: 9, is_sync: true, opens_higher: false };
        assert_eq!(piece.place.layer, Some(layer));
        assert_eq!(data, [0xaa]);
        for len in 0..payload.len() {
            assert_eq!(descriptor(&payload[..len]), None, "{len}");
        }
    }
}
