//! Files, written front to back into any [`std::io::Write`], never seeking: what stands in front is
//! known from the first pass. Memory is bounded by a cluster, a fragment or a page.
//!
//! | codec | file |
//! |---|---|
//! | Opus | Ogg (RFC 7845) or WebM |
//! | VP8 | WebM |
//! | VP9, AV1 | fragmented MP4 (or WebM) |
//! | H.264 | fragmented MP4 |
//!
//! What does not live here: clocks and packets.

mod ebml;
mod fmp4;
mod ogg;
mod webm;

use std::io::{self, Write};

pub(crate) use fmp4::Fmp4;
pub(crate) use ogg::Ogg;
use shiguredo_mp4::{boxes::SampleEntry, mux::MuxError as Mp4Error};
pub(crate) use webm::{Head, Layout, WebM};

use crate::depacketize::Unit;

/// A unit, placed in its file.
pub(crate) struct Placed {
    /// The unit.
    pub(crate) unit: Unit,
    /// µs since the file's first unit; never less than the one before.
    pub(crate) at_us: i64,
    /// Whether time before it is empty: lost, muted, silent.
    pub(crate) after_gap: bool,
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum MuxError {
    /// The environment: what the file is written into.
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
    /// Us: the MP4 library refused.
    #[error("the MP4 writer refused: {0}")]
    Mp4(String),
    /// The second pass saw other media than the first.
    #[error("the recording changed between the passes")]
    Changed,
}

impl From<Mp4Error> for MuxError {
    fn from(error: Mp4Error) -> Self {
        Self::Mp4(error.to_string())
    }
}

impl From<shiguredo_mp4::Error> for MuxError {
    fn from(error: shiguredo_mp4::Error) -> Self {
        Self::Mp4(error.to_string())
    }
}

/// A file being written.
pub(crate) enum Muxer<W> {
    Ogg(Ogg<W>),
    WebM(WebM<W>),
    Fmp4(Box<Fmp4<W>>),
}

impl<W: Write> Muxer<W> {
    pub(crate) fn write(&mut self, placed: Placed) -> Result<(), MuxError> {
        match self {
            Self::Ogg(ogg) => ogg.write(&placed),
            Self::WebM(webm) => webm.write(&placed),
            Self::Fmp4(fmp4) => fmp4.write(placed),
        }
    }

    /// Writes the end; gives what was written into, and how many bytes it got.
    pub(crate) fn finish(self, duration_us: i64) -> Result<(W, u64), MuxError> {
        let counted = match self {
            Self::Ogg(ogg) => ogg.finish(),
            Self::WebM(webm) => webm.finish(),
            Self::Fmp4(fmp4) => fmp4.finish(duration_us),
        }?;
        Ok((counted.inner, counted.bytes))
    }
}

/// Counts what is written.
pub(crate) struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Counted<W> {
    const fn new(inner: W) -> Self {
        Self { inner, bytes: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// What an `av01` entry says, as Matroska's CodecPrivate wants it: the `av1C` box without its header.
pub(crate) fn av1_private(entry: &SampleEntry) -> Option<Vec<u8>> {
    let SampleEntry::Av01(entry) = entry else { return None };
    let bytes = shiguredo_mp4::Encode::encode_to_vec(&entry.av1c_box).ok()?;
    bytes.get(8..).map(<[u8]>::to_vec)
}

/// `OpusHead` (RFC 7845 section 5.1). Nothing is skipped: a recording begins in the middle.
pub(crate) fn opus_head(is_stereo: bool) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(if is_stereo { 2 } else { 1 });
    head.extend_from_slice(&0u16.to_le_bytes());
    head.extend_from_slice(&48_000u32.to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    head
}
