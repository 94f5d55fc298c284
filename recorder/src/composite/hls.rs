//! HLS of a composite (RFC 8216): the same stream, cut into files at its fragments.
//!
//! The playlist names files as they are called after decryption, without `.age`.

use std::{fmt::Write as _, io};

use super::{Made, Outputs, layout::FRAMES_PER_SECOND};
use crate::{
    evidence::ArtifactKind,
    limits::{HLS_SEGMENTS_MAX, KEY_FRAMES_EVERY},
};

const FOLDER: &str = "hls";
const INIT: &str = "init.mp4";
/// Fragments of a segment, which begin with a key frame each: six seconds, as Apple recommends.
const FRAGMENTS: u64 = 3;

/// An HLS stream that is being written.
pub(super) struct Hls {
    /// Frames of a whole segment.
    segment_frames: u64,
    segment: Vec<u8>,
    frames: u64,
    /// Frames of the segments that are written.
    written: Vec<u64>,
}

impl Hls {
    /// For so many frames: a very long one has longer segments.
    pub(super) const fn new(frames: u64) -> Self {
        let fragments = frames.div_ceil(KEY_FRAMES_EVERY).div_ceil(HLS_SEGMENTS_MAX);
        let fragments = if fragments > FRAGMENTS { fragments } else { FRAGMENTS };
        let segment_frames = fragments * KEY_FRAMES_EVERY;
        Self { segment_frames, segment: Vec::new(), frames: 0, written: Vec::new() }
    }

    pub(super) fn front<O: Outputs>(&self, bytes: &[u8], outputs: &mut O) -> io::Result<()> {
        file(outputs, INIT, "video/mp4", bytes, None)
    }

    pub(super) fn fragment<O: Outputs>(
        &mut self,
        bytes: &[u8],
        frames: u64,
        outputs: &mut O,
    ) -> io::Result<()> {
        self.segment.extend_from_slice(bytes);
        self.frames += frames;
        if self.frames >= self.segment_frames { self.flush(outputs) } else { Ok(()) }
    }

    fn flush<O: Outputs>(&mut self, outputs: &mut O) -> io::Result<()> {
        if self.segment.is_empty() {
            return Ok(());
        }
        let frames = std::mem::take(&mut self.frames);
        self.written.push(frames);
        let bytes = std::mem::take(&mut self.segment);
        let duration_ms = frames * 1000 / FRAMES_PER_SECOND;
        file(outputs, &name(self.written.len()), "video/mp4", &bytes, Some(duration_ms))
    }

    /// The last segment and the playlist.
    pub(super) fn finish<O: Outputs>(mut self, outputs: &mut O) -> io::Result<()> {
        self.flush(outputs)?;
        let playlist = playlist(&self.written);
        let media_type = "application/vnd.apple.mpegurl";
        file(outputs, "index.m3u8", media_type, playlist.as_bytes(), None)
    }
}

fn name(number: usize) -> String {
    format!("{number:05}.m4s")
}

fn playlist(written: &[u64]) -> String {
    let longest = written.iter().max().copied().unwrap_or(0).div_ceil(FRAMES_PER_SECOND);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{longest}\n#EXT-X-PLAYLIST-TYPE:VOD\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"{INIT}\"\n"
    );
    for (number, frames) in (1..).zip(written) {
        let seconds = *frames as f64 / FRAMES_PER_SECOND as f64;
        let _ = writeln!(text, "#EXTINF:{seconds:.5},\n{}", name(number)); // Memory takes it.
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

fn file<O: Outputs>(
    outputs: &mut O,
    name: &str,
    media_type: &'static str,
    bytes: &[u8],
    duration_ms: Option<u64>,
) -> io::Result<()> {
    let name = format!("{FOLDER}/{name}");
    let mut file = outputs.open(&name)?;
    io::Write::write_all(&mut file, bytes)?;
    outputs.close(file, Made { name, kind: ArtifactKind::Hls, media_type, duration_ms })
}
