//! AV1 in RTP (AV1 RTP payload format 1.0). Out comes a temporal unit as files hold it: every OBU with
//! its size, no temporal delimiters (AV1 in ISOBMFF 1.3, section 2.4).

use shiguredo_mp4::{
    bitstream::av1::{self, Av1Obu, Av1ObuParseContext, Av1ObuType, Av1SampleEntryConfig},
    boxes::SampleEntry,
};

use super::{
    Format, Malformed,
    picture::{Picture, Piece, Place},
};
use crate::limits::PICTURE_BYTES_MAX;

const HAS_EXTENSION: u8 = 0b100;
const HAS_SIZE: u8 = 0b010;

/// Between packets.
#[derive(Default)]
pub(crate) struct Av1 {
    /// The beginning of an OBU whose rest comes with the next packet.
    fragment: Option<Vec<u8>>,
}

impl Av1 {
    pub(crate) fn reset(&mut self) {
        self.fragment = None;
    }

    /// Aggregation header and OBU elements (section 4.4).
    pub(crate) fn push(&mut self, payload: &[u8], bytes: &mut Vec<u8>) -> Result<Piece, Malformed> {
        let (&head, mut rest) = payload.split_first().ok_or(Malformed)?;
        let (continues, is_continued) = (head & 0x80 != 0, head & 0x40 != 0);
        let count = head >> 4 & 3;
        if continues != self.fragment.is_some() {
            return Err(Malformed);
        }
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let element = element(&mut rest, count != 0 && number == count)?;
            let mut obu = self.fragment.take().unwrap_or_default();
            obu.extend_from_slice(element);
            if obu.len() > PICTURE_BYTES_MAX {
                return Err(Malformed);
            }
            if rest.is_empty() && is_continued {
                self.fragment = Some(obu);
            } else {
                append(&obu, bytes)?;
            }
        }
        Ok(Piece { is_first: !continues, place: Place::default() })
    }

    pub(crate) fn finish(&mut self, bytes: &[u8]) -> Result<Option<Picture>, Malformed> {
        if self.fragment.take().is_some() {
            return Err(Malformed);
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let obus = av1::parse_obus(bytes, Av1ObuParseContext::Sample).map_err(|_| Malformed)?;
        let is_frame =
            |obu: &&Av1Obu<'_>| matches!(obu.obu_type, Av1ObuType::Frame | Av1ObuType::FrameHeader);
        let Some(frame) = obus.iter().find(is_frame) else { return Ok(None) };
        let header = obus.iter().find(|obu| obu.obu_type == Av1ObuType::SequenceHeader);
        let Some(header) = header else { return Ok(Some(Picture { format: None })) };
        let sequence = av1::parse_sequence_header(header.payload).map_err(|_| Malformed)?;
        let prefix = av1::parse_frame_header_prefix(frame.payload, &sequence);
        if !prefix.map_err(|_| Malformed)?.is_rap() {
            return Ok(Some(Picture { format: None }));
        }
        Ok(Some(Picture { format: Some(format(header.obu)?) }))
    }
}

fn format(sequence_header: &[u8]) -> Result<Format, Malformed> {
    let config = Av1SampleEntryConfig { initial_presentation_delay_minus_one: None };
    let entry = av1::build_av01_box_from_config_obus(sequence_header, &config);
    let entry = entry.map_err(|_| Malformed)?;
    let (width, height) = (entry.visual.width, entry.visual.height);
    Ok(Format::Video { width, height, entry: Some(Box::new(SampleEntry::Av01(entry))) })
}

/// Cuts an OBU element off; the last of a counted row has no length.
fn element<'a>(rest: &mut &'a [u8], is_last: bool) -> Result<&'a [u8], Malformed> {
    if is_last {
        return Ok(std::mem::take(rest));
    }
    let (len, size) = av1::decode_leb128(rest).map_err(|_| Malformed)?;
    let (element, after) = rest[size..].split_at_checked(len as usize).ok_or(Malformed)?;
    *rest = after;
    Ok(element)
}

/// Appends an OBU with its size. Temporal delimiters, tile lists and padding have no place in a file.
fn append(obu: &[u8], bytes: &mut Vec<u8>) -> Result<(), Malformed> {
    let (&head, _) = obu.split_first().ok_or(Malformed)?;
    if matches!(head >> 3 & 15, 2 | 8 | 15) {
        return Ok(());
    }
    if head & HAS_SIZE != 0 {
        bytes.extend_from_slice(obu);
        return Ok(());
    }
    let headers = if head & HAS_EXTENSION != 0 { 2 } else { 1 };
    let (header, payload) = obu.split_at_checked(headers).ok_or(Malformed)?;
    bytes.push(head | HAS_SIZE);
    bytes.extend_from_slice(&header[1..]);
    let mut len = payload.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend_from_slice(payload);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn elements_become_obus_with_sizes_and_delimiters_go() {
        let (mut av1, mut bytes) = (Av1::default(), Vec::new());
        // Three elements: temporal delimiter, padding, the beginning of a frame; then its end.
        av1.push(&[0x70, 1, 2 << 3, 2, 15 << 3, 9, 6 << 3, 1], &mut bytes).unwrap();
        av1.push(&[0x90, 2, 3], &mut bytes).unwrap();
        assert_eq!(bytes, [6 << 3 | HAS_SIZE, 3, 1, 2, 3]);
    }

    #[test]
    fn a_rest_without_a_beginning_is_refused() {
        assert_eq!(Av1::default().push(&[0x90, 2, 3], &mut Vec::new()), Err(Malformed));
        assert_eq!(Av1::default().push(&[0x00, 0xff], &mut Vec::new()), Err(Malformed));
        assert_eq!(Av1::default().push(&[], &mut Vec::new()), Err(Malformed));
    }
}
