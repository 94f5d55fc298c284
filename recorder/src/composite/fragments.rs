//! Fragmented MP4 as ffmpeg writes it into a pipe, cut at its boxes (ISO/IEC 14496-12).

use std::io::Read;

use super::CompositeError;
use crate::limits::COMPOSITE_BOX_BYTES_MAX;

/// The video track of what is written here.
const VIDEO: u32 = 1;

/// A part of the stream, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// `ftyp` and `moov`.
    Front(Vec<u8>),
    /// `moof` and `mdat`, and how many pictures are in it.
    Fragment(Vec<u8>, u64),
    /// Something else, such as the index at the end.
    Other(Vec<u8>),
}

/// Reads pieces.
pub(super) struct Fragments<R> {
    input: R,
}

impl<R: Read> Fragments<R> {
    pub(super) const fn new(input: R) -> Self {
        Self { input }
    }

    /// The next piece; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, CompositeError> {
        let mut bytes = Vec::new();
        let Some(kind) = self.read_box(&mut bytes)? else { return Ok(None) };
        let last: &[u8; 4] = match &kind {
            b"ftyp" => b"moov",
            b"moof" => b"mdat",
            _ => return Ok(Some(Piece::Other(bytes))),
        };
        let frames = if &kind == b"moof" { pictures(&bytes)? } else { 0 };
        match self.read_box(&mut bytes)? {
            Some(next) if &next == last => {}
            _ => return Err(CompositeError::Malformed),
        }
        Ok(Some(match &kind {
            b"moof" => Piece::Fragment(bytes, frames),
            _ => Piece::Front(bytes),
        }))
    }

    /// Appends a whole box; gives its kind.
    fn read_box(&mut self, bytes: &mut Vec<u8>) -> Result<Option<[u8; 4]>, CompositeError> {
        let start = bytes.len();
        let read = (&mut self.input).take(8).read_to_end(bytes);
        match read.map_err(|_| CompositeError::Encoder)? {
            0 => return Ok(None),
            8 => {}
            _ => return Err(CompositeError::Malformed),
        }
        let (size, kind) = head(&bytes[start..]).ok_or(CompositeError::Malformed)?;
        if !(8..=COMPOSITE_BOX_BYTES_MAX).contains(&size) {
            return Err(CompositeError::Malformed);
        }
        let rest = (&mut self.input).take(size - 8).read_to_end(bytes);
        let rest = rest.map_err(|_| CompositeError::Encoder)? as u64;
        if rest == size - 8 { Ok(Some(kind)) } else { Err(CompositeError::Malformed) }
    }
}

fn head(bytes: &[u8]) -> Option<(u64, [u8; 4])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*size).into(), *rest.first_chunk::<4>()?))
}

/// The boxes within `bytes`.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (size, kind) = head(bytes)?;
        let (this, rest) = bytes.split_at_checked(usize::try_from(size).ok()?)?;
        bytes = rest;
        Some((kind, this.get(8..)?))
    })
}

/// Pictures that a `moof` tells of: `sample_count` of each `trun` of the video track.
fn pictures(moof: &[u8]) -> Result<u64, CompositeError> {
    let number = |body: &[u8]| Some(u32::from_be_bytes(*body.get(4..)?.first_chunk::<4>()?));
    let mut sum = 0;
    for (_, traf) in boxes(&moof[8..]).filter(|(kind, _)| kind == b"traf") {
        let track = boxes(traf).find(|(kind, _)| kind == b"tfhd").and_then(|(_, it)| number(it));
        if track.ok_or(CompositeError::Malformed)? != VIDEO {
            continue;
        }
        for (_, trun) in boxes(traf).filter(|(kind, _)| kind == b"trun") {
            sum += u64::from(number(trun).ok_or(CompositeError::Malformed)?);
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = (body.len() as u32 + 8).to_be_bytes();
        [&size[..], kind, body].concat()
    }

    fn traf(track: u32, samples: &[u32]) -> Vec<u8> {
        let full = |n: u32| [[0; 4], n.to_be_bytes()].concat();
        let truns = samples.iter().flat_map(|n| boxed(b"trun", &full(*n)));
        boxed(b"traf", &boxed(b"tfhd", &full(track)).into_iter().chain(truns).collect::<Vec<_>>())
    }

    #[test]
    fn pieces_are_whole_and_pictures_are_counted() {
        let front = [boxed(b"ftyp", b"isom"), boxed(b"moov", b"....")].concat();
        let moof = boxed(b"moof", &[traf(2, &[100]), traf(1, &[20, 40])].concat());
        let fragment = [moof, boxed(b"mdat", b"media")].concat();
        let end = boxed(b"mfra", b"");
        let all = [front.clone(), fragment.clone(), end.clone()].concat();
        let mut fragments = Fragments::new(&all[..]);
        assert_eq!(fragments.next().unwrap(), Some(Piece::Front(front)));
        assert_eq!(fragments.next().unwrap(), Some(Piece::Fragment(fragment, 60)));
        assert_eq!(fragments.next().unwrap(), Some(Piece::Other(end)));
        assert_eq!(fragments.next().unwrap(), None);
    }

    #[test]
    fn what_is_cut_or_no_mp4_is_an_error() {
        let moof = boxed(b"moof", &traf(1, &[1]));
        let huge = [&[0xff; 4][..], b"moof"].concat();
        for bad in [&moof[..], &moof[..20], b"abc", &huge, &boxed(b"moof", &boxed(b"traf", b""))] {
            let mut fragments = Fragments::new(bad);
            assert!(matches!(fragments.next(), Err(CompositeError::Malformed)), "{bad:?}");
        }
    }
}
