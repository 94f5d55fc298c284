//! VP9 in RTP (RFC 9628). The spatial layers of a picture come as frames of their own with one
//! timestamp; a file wants them as a superframe (VP9 bitstream specification, annex B).

use shiguredo_mp4::{
    bitstream::vp9::{self, Vp9FrameHeader, Vp9FrameSize, Vp9FrameType, Vp9SampleEntryConfig},
    boxes::SampleEntry,
};

use super::{
    Format, Malformed,
    picture::{Count, Layer, Picture, Piece, Place},
};
use crate::limits::VP9_FRAMES_PER_PICTURE_MAX;

/// Between the packets of a picture.
#[derive(Default)]
pub(crate) struct Vp9 {
    /// Where each layer's frame begins.
    starts: Vec<usize>,
}

impl Vp9 {
    pub(crate) fn reset(&mut self) {
        self.starts.clear();
    }

    pub(crate) fn push(&mut self, payload: &[u8], bytes: &mut Vec<u8>) -> Result<Piece, Malformed> {
        let (head, data) = descriptor(payload).ok_or(Malformed)?;
        if head.begins_frame {
            if self.starts.len() == VP9_FRAMES_PER_PICTURE_MAX {
                return Err(Malformed);
            }
            self.starts.push(bytes.len());
        }
        bytes.extend_from_slice(data);
        let is_first = head.begins_frame && head.spatial.unwrap_or(0) == 0;
        Ok(Piece { is_first, place: head.place })
    }

    pub(crate) fn finish(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Picture>, Malformed> {
        let starts = std::mem::take(&mut self.starts);
        let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
        let frames: Vec<_> = starts.iter().copied().zip(ends).collect();
        let headers = frames.iter().map(|&(from, to)| vp9::parse_frame_header(&bytes[from..to]));
        let headers: Vec<_> = headers.collect::<Result<_, _>>().map_err(|_| Malformed)?;
        let base = headers.first().ok_or(Malformed)?;
        let is_key = base.show_existing_frame.is_none() && base.frame_type == Vp9FrameType::Key;
        let format = if is_key { Some(format(base, &headers)?) } else { None };
        if frames.len() > 1 {
            let sizes: Vec<_> = frames.iter().map(|(from, to)| to - from).collect();
            write_index(&sizes, bytes);
        }
        Ok(Some(Picture { format }))
    }
}

fn format(base: &Vp9FrameHeader, layers: &[Vp9FrameHeader]) -> Result<Format, Malformed> {
    let sizes = layers.iter().rev().filter_map(|layer| match layer.frame_size {
        Vp9FrameSize::Resolved { width, height } => Some((width, height)),
        _ => None,
    });
    let (width, height) = sizes
        .max_by_key(|&(width, height)| u64::from(width) * u64::from(height))
        .ok_or(Malformed)?;
    let (width, height) = (u16::try_from(width), u16::try_from(height));
    let (width, height) = (width.map_err(|_| Malformed)?, height.map_err(|_| Malformed)?);
    // VP9 color_space (bitstream specification, 7.2.2) in terms of ISO/IEC 23001-8.
    let colour = match base.color_space {
        1 => Vp9SampleEntryConfig::COLOUR_PRIMARIES_BT601,
        2 => Vp9SampleEntryConfig::COLOUR_PRIMARIES_BT709,
        _ => Vp9SampleEntryConfig::COLOUR_PRIMARIES_UNSPECIFIED,
    };
    let config = Vp9SampleEntryConfig {
        level: Vp9SampleEntryConfig::LEVEL_UNDEFINED,
        colour_primaries: colour,
        transfer_characteristics: colour,
        matrix_coefficients: colour,
        width,
        height,
    };
    let entry = vp9::build_vp09_box(base, &config).map_err(|_| Malformed)?;
    Ok(Format::Video { width, height, entry: Some(Box::new(SampleEntry::Vp09(entry))) })
}

/// Appends the superframe index (annex B.2).
fn write_index(sizes: &[usize], bytes: &mut Vec<u8>) {
    let largest = sizes.iter().max().copied().unwrap_or(0) as u32; // at most PICTURE_BYTES_MAX
    let width = (u32::BITS - largest.leading_zeros()).div_ceil(8).max(1) as usize;
    let marker = 0b1100_0000 | ((width - 1) << 3) as u8 | (sizes.len() - 1) as u8;
    bytes.push(marker);
    for &size in sizes {
        bytes.extend_from_slice(&(size as u32).to_le_bytes()[..width]);
    }
    bytes.push(marker);
}

#[derive(Debug, PartialEq)]
struct Head {
    begins_frame: bool,
    spatial: Option<u8>,
    place: Place,
}

/// The payload descriptor (section 4.2) and what follows it.
fn descriptor(payload: &[u8]) -> Option<(Head, &[u8])> {
    let (&flags, mut rest) = payload.split_first()?;
    let [has_id, is_inter, has_layer, is_flexible, begins_frame, _, has_structure] =
        [0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02].map(|bit| flags & bit != 0);
    let mut place = Place::default();
    let mut spatial = None;
    if has_id {
        let high = take(&mut rest)?;
        place.count = Some(if high & 0x80 == 0 {
            Count { value: u16::from(high), bits: 7 }
        } else {
            Count { value: u16::from_be_bytes([high & 0x7f, take(&mut rest)?]), bits: 15 }
        });
    }
    if has_layer {
        let layer = take(&mut rest)?;
        spatial = Some(layer >> 1 & 7);
        if !is_flexible {
            let base = take(&mut rest)?;
            let opens_higher = layer & 0x10 != 0;
            place.layer = Some(Layer { id: layer >> 5, base, is_sync: false, opens_higher });
        }
    }
    if is_flexible && is_inter {
        // One to three reference differences, each telling whether another follows.
        for _ in 0..3 {
            if take(&mut rest)? & 1 == 0 {
                break;
            }
        }
    }
    if has_structure {
        skip_structure(&mut rest)?;
    }
    (!rest.is_empty()).then_some((Head { begins_frame, spatial, place }, rest))
}

/// The scalability structure (section 4.2.1).
fn skip_structure(rest: &mut &[u8]) -> Option<()> {
    let head = take(rest)?;
    if head & 0x10 != 0 {
        for _ in 0..4 * (usize::from(head >> 5) + 1) {
            take(rest)?;
        }
    }
    if head & 0x08 != 0 {
        for _ in 0..take(rest)? {
            let picture = take(rest)?;
            for _ in 0..picture >> 2 & 3 {
                take(rest)?;
            }
        }
    }
    Some(())
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
    fn a_descriptor_with_layers_and_structure_is_read() {
        // I, L, B, V; picture id 5; TID 1, SID 2; TL0PICIDX; one layer with size, a group of two.
        let payload = [0xaa, 5, 0x24, 7, 0x18, 1, 64, 0, 180, 2, 0x04, 1, 0x00, 0xee];
        let (head, data) = descriptor(&payload).unwrap();
        assert!(head.begins_frame);
        assert_eq!(head.spatial, Some(2));
        let layer = Layer { id: 1, base: 7, is_sync: false, opens_higher: false };
        assert_eq!(head.place.layer, Some(layer));
        assert_eq!(data, [0xee]);
        for len in 0..payload.len() {
            assert_eq!(descriptor(&payload[..len]), None, "{len}");
        }
    }

    #[test]
    fn a_superframe_index_is_as_annex_b_says() {
        let mut bytes = Vec::new();
        write_index(&[300, 2], &mut bytes);
        assert_eq!(bytes, [0b1100_1001, 0x2c, 1, 2, 0, 0b1100_1001]);
    }
}
