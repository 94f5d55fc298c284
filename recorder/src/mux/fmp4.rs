//! Fragmented MP4 (ISO/IEC 14496-12) with one video track, boxes by `shiguredo_mp4`.
//!
//! ```text
//! ftyp │ moov: every sample entry, duration │ moof mdat … moof mdat │ mfra
//! ```
//! A change of resolution is another sample entry; a gap is a long sample.

use std::{io::Write, num::NonZeroU32};

use shiguredo_mp4::{
    Decode, Encode, TrackKind,
    boxes::{Avc1Box, FtypBox, MoovBox, SampleEntry},
    mux::{Fmp4SegmentMuxer, Sample},
};

use super::{Counted, MuxError, Placed};
use crate::{
    depacketize::Format,
    limits::{
        FRAGMENT_BYTES_MAX, FRAGMENT_KEY_TICKS_MIN, FRAGMENT_SAMPLES_MAX, FRAGMENT_TICKS_MAX,
    },
};

const TIMESCALE: NonZeroU32 = NonZeroU32::new(90_000).expect("not zero");

/// An MP4 file being written.
pub(crate) struct Fmp4<W> {
    out: Counted<W>,
    muxer: Fmp4SegmentMuxer,
    samples: Vec<Sample>,
    data: Vec<u8>,
    ticks: u64,
    entry: Option<SampleEntry>,
    /// Parameter sets of H.264 stand at key frames too, as readers know only those of the first entry.
    is_repeated: bool,
    /// The last unit, whose duration the next one tells.
    pending: Option<Pending>,
}

struct Pending {
    at: i64,
    is_key: bool,
    bytes: Vec<u8>,
    /// Another entry begins with it.
    entry: Option<SampleEntry>,
}

impl<W: Write> Fmp4<W> {
    /// Writes the front, with every sample entry that will come.
    pub(crate) fn new(out: W, entries: &[SampleEntry], duration_ms: u64) -> Result<Self, MuxError> {
        let mut out = Counted::new(out);
        out.put(&front(entries, duration_ms)?)?;
        let (samples, data) = (Vec::new(), Vec::new());
        let muxer = Fmp4SegmentMuxer::new()?;
        let is_repeated = entries.len() > 1;
        Ok(Self { out, muxer, samples, data, ticks: 0, entry: None, is_repeated, pending: None })
    }

    pub(crate) fn write(&mut self, placed: Placed) -> Result<(), MuxError> {
        let at = (placed.at_us * 9 + 50) / 100;
        self.settle(at)?;
        let entry = match placed.unit.format {
            Some(Format::Video { entry, .. }) => entry.map(|entry| *entry),
            _ => None,
        };
        let entry = entry.filter(|entry| self.entry.as_ref() != Some(entry));
        if let Some(entry) = &entry {
            self.entry = Some(entry.clone());
        }
        let (is_key, mut bytes) = (placed.unit.is_key, placed.unit.bytes);
        if let (true, true, Some(SampleEntry::Avc1(avc1))) = (self.is_repeated, is_key, &self.entry)
        {
            bytes.splice(0..0, parameter_sets(avc1));
        }
        self.pending = Some(Pending { at, is_key, bytes, entry });
        Ok(())
    }

    /// The pending sample lasts until `end`.
    fn settle(&mut self, end: i64) -> Result<(), MuxError> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let is_full = self.ticks >= FRAGMENT_TICKS_MAX
            || self.data.len() + pending.bytes.len() > FRAGMENT_BYTES_MAX
            || self.samples.len() >= FRAGMENT_SAMPLES_MAX;
        let is_key = pending.is_key && self.ticks >= FRAGMENT_KEY_TICKS_MIN;
        if is_full || is_key || pending.entry.is_some() {
            self.fragment()?;
        }
        let duration = u32::try_from((end - pending.at).max(1)).unwrap_or(u32::MAX);
        self.samples.push(Sample {
            track_kind: TrackKind::Video,
            sample_entry: pending.entry,
            keyframe: pending.is_key,
            timescale: TIMESCALE,
            duration,
            composition_time_offset: None,
            data_offset: self.data.len() as u64,
            data_size: pending.bytes.len(),
        });
        self.data.extend_from_slice(&pending.bytes);
        self.ticks += u64::from(duration);
        Ok(())
    }

    fn fragment(&mut self) -> Result<(), MuxError> {
        if self.samples.is_empty() {
            return Ok(());
        }
        let head = self.muxer.create_media_segment_metadata(&self.samples)?;
        self.out.put(&head)?;
        self.out.put(&self.data)?;
        self.samples.clear();
        self.data.clear();
        self.ticks = 0;
        Ok(())
    }

    pub(crate) fn finish(mut self, duration_us: i64) -> Result<Counted<W>, MuxError> {
        self.settle((duration_us * 9 + 50) / 100)?;
        self.fragment()?;
        self.out.put(&self.muxer.mfra_bytes()?)?;
        Ok(self.out)
    }
}

/// The parameter sets of an entry, each with its length.
fn parameter_sets(entry: &Avc1Box) -> Vec<u8> {
    let sets = entry.avcc_box.sps_list.iter().chain(&entry.avcc_box.pps_list);
    sets.flat_map(|set| [&(set.len() as u32).to_be_bytes()[..], set].concat()).collect()
}

/// `ftyp` and `moov`. The library knows the entries that it has seen, so it is shown them all first.
fn front(entries: &[SampleEntry], duration_ms: u64) -> Result<Vec<u8>, MuxError> {
    let mut scout = Fmp4SegmentMuxer::new()?;
    for entry in entries {
        scout.create_media_segment_metadata(&[Sample {
            track_kind: TrackKind::Video,
            sample_entry: Some(entry.clone()),
            keyframe: true,
            timescale: TIMESCALE,
            duration: 1,
            composition_time_offset: None,
            data_offset: 0,
            data_size: 1,
        }])?;
    }
    let bytes = scout.init_segment_bytes()?;
    let (ftyp, len) = FtypBox::decode(&bytes)?;
    let (mut moov, _) = MoovBox::decode(&bytes[len..])?;
    if let Some(mehd) = moov.mvex_box.as_mut().and_then(|mvex| mvex.mehd_box.as_mut()) {
        mehd.fragment_duration = duration_ms.min(u32::MAX.into()); // in the movie's timescale: ms
    }
    let mut front = ftyp.encode_to_vec()?;
    front.extend(moov.encode_to_vec()?);
    Ok(front)
}
