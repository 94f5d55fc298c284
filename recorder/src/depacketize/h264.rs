//! H.264 in RTP (RFC 6184), modes 0 and 1: single NAL units, STAP-A, FU-A. Out come NAL units with
//! four-byte lengths; parameter sets of key frames go into the sample entry (`avc1`).

use shiguredo_mp4::{
    bitstream::h264::{self, H264SampleEntryConfig, LengthSize},
    boxes::SampleEntry,
};

use super::{
    Format, Malformed,
    picture::{Picture, Piece, Place},
};
use crate::limits::PARAMETER_SETS_BYTES_MAX;

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// Between packets.
#[derive(Default)]
pub(crate) struct H264 {
    /// Where the length of the fragmented NAL unit stands in the picture.
    fragment: Option<usize>,
    /// Parameter sets seen last.
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

impl H264 {
    pub(crate) fn reset(&mut self) {
        self.fragment = None;
    }

    pub(crate) fn push(&mut self, payload: &[u8], bytes: &mut Vec<u8>) -> Result<Piece, Malformed> {
        let (&head, rest) = payload.split_first().ok_or(Malformed)?;
        let is_fragment = head & 0x1f == FU_A;
        if self.fragment.is_some() && !is_fragment {
            return Err(Malformed); // its end is missing
        }
        let is_first = match head & 0x1f {
            STAP_A => aggregate(rest, bytes)?,
            FU_A => self.fragment(head, rest, bytes)?,
            1..=23 => {
                append(payload, bytes);
                begins_picture(head, rest)
            }
            _ => return Err(Malformed),
        };
        Ok(Piece { is_first, place: Place::default() })
    }

    /// FU-A (section 5.8).
    fn fragment(&mut self, head: u8, rest: &[u8], bytes: &mut Vec<u8>) -> Result<bool, Malformed> {
        let (&header, data) = rest.split_first().ok_or(Malformed)?;
        let nal = head & 0xe0 | header & 0x1f;
        let mut is_first = false;
        if header & 0x80 != 0 {
            if self.fragment.replace(bytes.len()).is_some() {
                return Err(Malformed);
            }
            bytes.extend_from_slice(&[0; 4]);
            bytes.push(nal);
            is_first = begins_picture(nal, data);
        }
        let at = self.fragment.ok_or(Malformed)?;
        bytes.extend_from_slice(data);
        if header & 0x40 != 0 {
            let len = (bytes.len() - at - 4) as u32; // a picture has a limit
            bytes[at..at + 4].copy_from_slice(&len.to_be_bytes());
            self.fragment = None;
        }
        Ok(is_first)
    }

    pub(crate) fn finish(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Picture>, Malformed> {
        if self.fragment.is_some() {
            return Err(Malformed);
        }
        let nals = nals(bytes).ok_or(Malformed)?;
        let is_key = nals.iter().any(|nal| nal[0] & 0x1f == IDR);
        self.collect(&nals)?;
        // Parameter sets that come without a key frame stay where they are: decoders take them.
        let kept = nals.iter().filter(|nal| match nal[0] & 0x1f {
            DELIMITER | FILLER => false,
            SPS | PPS => !is_key,
            _ => true,
        });
        let mut sample = Vec::with_capacity(bytes.len());
        kept.for_each(|nal| append(nal, &mut sample));
        let has_slice = nals.iter().any(|nal| (1..=IDR).contains(&(nal[0] & 0x1f)));
        let format = if is_key { Some(self.format()?) } else { None };
        *bytes = sample;
        Ok(has_slice.then_some(Picture { format }))
    }

    /// Keeps parameter sets: those of a picture with an SPS replace all, a lone PPS is added.
    fn collect(&mut self, nals: &[&[u8]]) -> Result<(), Malformed> {
        let of = |kind: u8| {
            let sets = nals.iter().filter(move |nal| nal[0] & 0x1f == kind);
            sets.map(|nal| nal.to_vec()).collect::<Vec<_>>()
        };
        let (sps, pps) = (of(SPS), of(PPS));
        let has_sps = !sps.is_empty();
        if has_sps {
            self.sps = sps;
            self.sps.dedup();
        }
        if has_sps && !pps.is_empty() {
            self.pps = pps;
            self.pps.dedup();
        } else {
            for set in pps {
                if !self.pps.contains(&set) {
                    self.pps.push(set);
                }
            }
        }
        let bytes: usize = self.sps.iter().chain(&self.pps).map(Vec::len).sum();
        if bytes > PARAMETER_SETS_BYTES_MAX {
            (self.sps, self.pps) = Default::default();
            return Err(Malformed);
        }
        Ok(())
    }

    fn format(&self) -> Result<Format, Malformed> {
        let config = H264SampleEntryConfig { length_size: LengthSize::FourBytes };
        let entry = h264::build_avc1_box(&self.sps, &self.pps, &config).map_err(|_| Malformed)?;
        let (width, height) = (entry.visual.width, entry.visual.height);
        Ok(Format::Video { width, height, entry: Some(Box::new(SampleEntry::Avc1(entry))) })
    }
}

/// Appends a NAL unit with its length.
fn append(nal: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(nal.len() as u32).to_be_bytes());
    bytes.extend_from_slice(nal);
}

/// STAP-A (section 5.7.1). Gives whether its first NAL unit begins a picture.
fn aggregate(mut rest: &[u8], bytes: &mut Vec<u8>) -> Result<bool, Malformed> {
    let mut is_first = None;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        let (nal, after) = after.split_at_checked(len).ok_or(Malformed)?;
        let (&head, data) = nal.split_first().ok_or(Malformed)?;
        append(nal, bytes);
        is_first.get_or_insert_with(|| begins_picture(head, data));
        rest = after;
    }
    if rest.is_empty() { is_first.ok_or(Malformed) } else { Err(Malformed) }
}

/// Whether a picture can begin with this NAL unit. A slice does when its `first_mb_in_slice` is 0, one
/// bit set (ITU-T H.264, 7.3.3).
fn begins_picture(head: u8, data: &[u8]) -> bool {
    match head & 0x1f {
        1 | IDR => data.first().is_some_and(|byte| byte & 0x80 != 0),
        kind => (6..=9).contains(&kind),
    }
}

/// NAL units with four-byte lengths. None: not such; none of them is empty.
fn nals(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut nals = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (nal, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        if nal.is_empty() {
            return None;
        }
        nals.push(nal);
        bytes = rest;
    }
    Some(nals)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn aggregates_of_odd_length_and_lone_fragments_are_refused() {
        let push = |payload: &[u8]| H264::default().push(payload, &mut Vec::new());
        assert_eq!(push(&[24, 0]), Err(Malformed));
        assert_eq!(push(&[24, 0, 2, 0x67]), Err(Malformed));
        assert_eq!(push(&[24, 0, 1, 0x67, 0]), Err(Malformed));
        assert_eq!(push(&[28, 0x05, 1]), Err(Malformed), "no start");
        assert_eq!(push(&[]), Err(Malformed));
        assert!(push(&[24, 0, 1, 0x67]).unwrap().is_first);
    }

    #[test]
    fn fragments_become_one_unit() {
        let (mut h264, mut bytes) = (H264::default(), Vec::new());
        assert!(h264.push(&[0x7c, 0x81, 0x80, 1], &mut bytes).unwrap().is_first);
        h264.push(&[0x7c, 0x41, 2], &mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 0, 4, 0x61, 0x80, 1, 2]);
        assert_eq!(h264.finish(&mut bytes), Ok(Some(Picture { format: None })));
        assert_eq!(bytes, [0, 0, 0, 4, 0x61, 0x80, 1, 2]);
    }
}
