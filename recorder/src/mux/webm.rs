//! WebM (RFC 9559) with one track. In front stand SeekHead, duration and Cues, so a player seeks
//! without reading the end.
//!
//! ```text
//! EBML │ Segment │ SeekHead │ Info │ Tracks │ Cues │ Cluster … Cluster
//! ```
//! The first pass feeds a [`Layout`] with the same units that the second writes; both cut clusters by
//! the same rule, on media time alone, because true time is known only after the first pass.

use std::io::Write;

use super::{Counted, MuxError, Placed, ebml};
use crate::{
    align::{Moment, micros},
    limits::{CLUSTER_BYTES_MAX, CLUSTER_KEY_US_MIN, CLUSTER_US_MAX, CUE_US_MIN, CUES_MAX},
};

/// Id, size and timestamp of a cluster.
const CLUSTER_HEAD_BYTES: u64 = 4 + 8 + 1 + 8 + 8;
/// Id, size, and a SimpleBlock's own head.
const BLOCK_HEAD_BYTES: u64 = 1 + 4 + 4;

/// Where a cluster begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Time of its first unit.
    pub(crate) moment: Moment,
    /// Bytes of the clusters before it.
    pub(crate) position: u64,
}

/// When a cluster ends and the next begins.
#[derive(Debug)]
struct Cutter {
    hz: u32,
    start: Option<Moment>,
    bytes: u64,
}

impl Cutter {
    /// Whether a unit of `len` bytes begins a cluster.
    fn cuts(&mut self, moment: Moment, len: usize, is_key_picture: bool) -> bool {
        let len = len as u64 + BLOCK_HEAD_BYTES;
        let cuts = self.start.is_none_or(|start| {
            let run_us = micros(moment.ticks.saturating_sub(start.ticks), self.hz);
            moment.epoch != start.epoch
                || !(0..CLUSTER_US_MAX).contains(&run_us)
                || (is_key_picture && run_us >= CLUSTER_KEY_US_MIN)
                || self.bytes + len > CLUSTER_BYTES_MAX
        });
        if cuts {
            (self.start, self.bytes) = (Some(moment), 0);
        }
        self.bytes += len;
        cuts
    }
}

/// The sizes of a file, before it is written.
#[derive(Debug)]
pub(crate) struct Layout {
    cutter: Cutter,
    bytes: u64,
    cues: Vec<Cluster>,
}

impl Layout {
    pub(crate) const fn new(hz: u32) -> Self {
        let cutter = Cutter { hz, start: None, bytes: 0 };
        Self { cutter, bytes: 0, cues: Vec::new() }
    }

    /// Takes a unit into account.
    pub(crate) fn add(&mut self, moment: Moment, len: usize, is_key: bool, is_video: bool) {
        if self.cutter.cuts(moment, len, is_key && is_video) {
            self.cue(Cluster { moment, position: self.bytes }, is_key);
            self.bytes += CLUSTER_HEAD_BYTES;
        }
        self.bytes += len as u64 + BLOCK_HEAD_BYTES;
    }

    fn cue(&mut self, cluster: Cluster, is_key: bool) {
        let is_near = self.cues.last().is_some_and(|last| {
            let run = cluster.moment.ticks.saturating_sub(last.moment.ticks);
            cluster.moment.epoch == last.moment.epoch && micros(run, self.cutter.hz) < CUE_US_MIN
        });
        if is_key && !is_near && self.cues.len() < CUES_MAX {
            self.cues.push(cluster);
        }
    }

    /// Where players can begin.
    pub(crate) fn cues(&self) -> &[Cluster] {
        &self.cues
    }
}

/// What stands in front of the clusters.
pub(crate) struct Head<'a> {
    /// `V_VP8`, `A_OPUS`, …
    pub(crate) codec: &'a str,
    /// CodecPrivate.
    pub(crate) private: Option<Vec<u8>>,
    /// Width and height, pixels; none for audio.
    pub(crate) size: Option<(u16, u16)>,
    /// Channels, for audio.
    pub(crate) channels: u8,
    /// Milliseconds.
    pub(crate) duration_ms: u64,
    /// Time in the file, ms, and position of each cue.
    pub(crate) cues: Vec<(u64, u64)>,
}

impl Head<'_> {
    /// The bytes before the clusters, of which there are `clusters`.
    fn bytes(&self, clusters: u64) -> Vec<u8> {
        let mut out = Vec::new();
        ebml::master(&mut out, 0x1a45_dfa3, |out| {
            ebml::uint(out, 0x4286, 1); // EBMLVersion
            ebml::uint(out, 0x42f7, 1); // EBMLReadVersion
            ebml::uint(out, 0x42f2, 4); // EBMLMaxIDLength
            ebml::uint(out, 0x42f3, 8); // EBMLMaxSizeLength
            ebml::text(out, 0x4282, "webm"); // DocType
            ebml::uint(out, 0x4287, 4); // DocTypeVersion
            ebml::uint(out, 0x4285, 2); // DocTypeReadVersion
        });
        let (mut info, mut tracks) = (Vec::new(), Vec::new());
        self.info(&mut info);
        self.tracks(&mut tracks);
        let seek_len = seek_head([0; 3]).len() as u64;
        let cues_at = seek_len + info.len() as u64 + tracks.len() as u64;
        let front = cues_at + self.cues(0).len() as u64;
        ebml::id(&mut out, 0x1853_8067); // Segment
        ebml::size(&mut out, front + clusters);
        out.extend(seek_head([seek_len, seek_len + info.len() as u64, cues_at]));
        out.extend(info);
        out.extend(tracks);
        out.extend(self.cues(front));
        out
    }

    fn info(&self, out: &mut Vec<u8>) {
        ebml::master(out, 0x1549_a966, |out| {
            ebml::uint(out, 0x002a_d7b1, 1_000_000); // TimestampScale: ms
            ebml::float(out, 0x4489, self.duration_ms as f64); // Duration
            ebml::text(out, 0x4d80, "conclave"); // MuxingApp
            ebml::text(out, 0x5741, "conclave"); // WritingApp
        });
    }

    fn tracks(&self, out: &mut Vec<u8>) {
        ebml::master(out, 0x1654_ae6b, |out| {
            ebml::master(out, 0xae, |out| {
                ebml::uint(out, 0xd7, 1); // TrackNumber
                ebml::uint(out, 0x73c5, 1); // TrackUID
                ebml::uint(out, 0x83, if self.size.is_some() { 1 } else { 2 }); // TrackType
                ebml::uint(out, 0x9c, 0); // FlagLacing
                ebml::text(out, 0x86, self.codec); // CodecID
                if let Some(private) = &self.private {
                    ebml::bytes(out, 0x63a2, private); // CodecPrivate
                }
                match self.size {
                    Some((width, height)) => ebml::master(out, 0xe0, |out| {
                        ebml::uint(out, 0xb0, width.into()); // PixelWidth
                        ebml::uint(out, 0xba, height.into()); // PixelHeight
                    }),
                    None => {
                        ebml::uint(out, 0x56aa, 0); // CodecDelay
                        ebml::uint(out, 0x56bb, 80_000_000); // SeekPreRoll, ns (RFC 7845 section 4.6)
                        ebml::master(out, 0xe1, |out| {
                            ebml::float(out, 0xb5, 48_000.0); // SamplingFrequency
                            ebml::uint(out, 0x9f, self.channels.into()); // Channels
                        });
                    }
                }
            });
        });
    }

    /// `front` is the position of the first cluster in the segment.
    fn cues(&self, front: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if self.cues.is_empty() {
            return out;
        }
        ebml::master(&mut out, 0x1c53_bb6b, |out| {
            for &(at_ms, position) in &self.cues {
                ebml::master(out, 0xbb, |out| {
                    ebml::uint(out, 0xb3, at_ms); // CueTime
                    ebml::master(out, 0xb7, |out| {
                        ebml::uint(out, 0xf7, 1); // CueTrack
                        ebml::uint(out, 0xf1, front + position); // CueClusterPosition
                    });
                });
            }
        });
        out
    }
}

/// Positions of Info, Tracks and Cues in the segment.
fn seek_head(positions: [u64; 3]) -> Vec<u8> {
    let mut out = Vec::new();
    ebml::master(&mut out, 0x114d_9b74, |out| {
        for (element, position) in [0x1549_a966u32, 0x1654_ae6b, 0x1c53_bb6b].iter().zip(positions)
        {
            ebml::master(out, 0x4dbb, |out| {
                ebml::bytes(out, 0x53ab, &element.to_be_bytes()); // SeekID
                ebml::uint(out, 0x53ac, position); // SeekPosition
            });
        }
    });
    out
}

/// A WebM file being written.
pub(crate) struct WebM<W> {
    out: Counted<W>,
    cutter: Cutter,
    is_video: bool,
    start_ms: i64,
    blocks: Vec<u8>,
    end: u64,
}

impl<W: Write> WebM<W> {
    /// Writes the front.
    pub(crate) fn new(out: W, head: &Head<'_>, layout: &Layout) -> Result<Self, MuxError> {
        let mut out = Counted::new(out);
        out.put(&head.bytes(layout.bytes))?;
        let end = out.bytes + layout.bytes;
        let cutter = Cutter { hz: layout.cutter.hz, start: None, bytes: 0 };
        let is_video = head.size.is_some();
        Ok(Self { out, cutter, is_video, start_ms: 0, blocks: Vec::new(), end })
    }

    pub(crate) fn write(&mut self, placed: &Placed) -> Result<(), MuxError> {
        let (unit, at_ms) = (&placed.unit, (placed.at_us + 500) / 1_000);
        if self.cutter.cuts(unit.moment, unit.bytes.len(), unit.is_key && self.is_video) {
            self.cluster()?;
            self.start_ms = at_ms;
        }
        let after_ms = i16::try_from(at_ms - self.start_ms).unwrap_or(i16::MAX);
        self.blocks.push(0xa3); // SimpleBlock
        let len = unit.bytes.len() as u32 + 4; // at most PICTURE_BYTES_MAX
        self.blocks.extend_from_slice(&(len | 0x1000_0000).to_be_bytes());
        self.blocks.push(0x81);
        self.blocks.extend_from_slice(&after_ms.to_be_bytes());
        self.blocks.push(if unit.is_key { 0x80 } else { 0 });
        self.blocks.extend_from_slice(&unit.bytes);
        Ok(())
    }

    fn cluster(&mut self) -> Result<(), MuxError> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let mut head = Vec::new();
        ebml::id(&mut head, 0x1f43_b675);
        ebml::size(&mut head, self.blocks.len() as u64 + 17);
        ebml::uint(&mut head, 0xe7, self.start_ms.max(0) as u64); // Timestamp
        self.out.put(&head)?;
        self.out.put(&self.blocks)?;
        self.blocks.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Counted<W>, MuxError> {
        self.cluster()?;
        if self.out.bytes == self.end { Ok(self.out) } else { Err(MuxError::Changed) }
    }
}
