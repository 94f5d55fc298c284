//! Decoders: a program for each track, fed by a thread.

use std::{
    io::{self, Read},
    process::{ChildStdin, ChildStdout},
    thread::{self, Scope},
};

use super::{
    CompositeError,
    burden::go_last,
    layout::FRAMES_PER_SECOND,
    picture::{Picture, bytes},
    place::Canvas,
    sandbox::{Limits, Tools},
    shows::frame,
    watch::{Running, Watch},
};
use crate::{
    finalize::{CodecName, Events, Source, TrackResult},
    limits::{DECODER_CPU_PER_SECOND, DECODER_CPU_SECONDS_MIN, DECODER_MEMORY_BYTES_MAX},
};

/// Samples per second of sound.
pub(super) const RATE: u64 = 48_000;

/// What decoders need.
pub(super) struct Kitchen<'a, S> {
    pub(super) tools: Tools,
    pub(super) source: &'a S,
    pub(super) events: &'a Events,
    pub(super) watch: &'a Watch<'a>,
}

impl<S> Clone for Kitchen<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Kitchen<'_, S> {}

/// A program that decodes a track.
pub(super) struct Decoder {
    output: ChildStdout,
    running: Option<Running>,
    has_given: bool,
}

impl Decoder {
    fn start<'scope, S: Source + Sync>(
        scope: &'scope Scope<'scope, '_>,
        kitchen: Kitchen<'scope, S>,
        track: &'scope TrackResult,
        filter: String,
        output: &[&str],
    ) -> Result<Self, CompositeError> {
        let format = match track.file.codec {
            CodecName::H264 => "mov",
            CodecName::Opus | CodecName::Vp8 | CodecName::Vp9 | CodecName::Av1 => "matroska",
        };
        let input = ["-threads", "1", "-reinit_filter", "0", "-f", format, "-i", "pipe:0"];
        let filtered = ["-filter_threads", "1", "-map", "0:0", "-filter:0", &filter];
        let args = [&input[..], &filtered[..], output, &["pipe:1"]].concat();
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let seconds = track.duration_ms.div_ceil(1000) * DECODER_CPU_PER_SECOND;
        let cpu_seconds = DECODER_CPU_SECONDS_MIN + seconds;
        let limits = Limits { cpu_seconds, memory_bytes: DECODER_MEMORY_BYTES_MAX };
        let mut child = kitchen.tools.ffmpeg(limits, &args, None).map_err(CompositeError::Start)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let running = kitchen.watch.adopt(child)?;
        let (Some(stdin), Some(output)) = (stdin, stdout) else {
            return Err(CompositeError::Encoder); // Both are asked for.
        };
        let feed = move || feed(kitchen, track, stdin);
        thread::Builder::new().spawn_scoped(scope, feed).map_err(CompositeError::Start)?;
        Ok(Self { output, running: Some(running), has_given: false })
    }

    /// Fills `piece`; less only at the end.
    fn read(&mut self, piece: &mut [u8], watch: &Watch<'_>) -> usize {
        let mut filled = 0;
        while filled < piece.len() && self.running.is_some() {
            match self.output.read(&mut piece[filled..]) {
                Ok(0) => self.end(watch),
                Ok(n) => (filled, self.has_given) = (filled + n, true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.end(watch),
            }
        }
        filled
    }

    fn end(&mut self, watch: &Watch<'_>) {
        let status = self.running.take().map(Running::finish);
        if !self.has_given || !status.is_some_and(|it| it.is_ok_and(|status| status.success())) {
            watch.flaw();
        }
    }
}

fn feed<S: Source>(kitchen: Kitchen<'_, S>, track: &TrackResult, pipe: ChildStdin) {
    go_last();
    let is_over = || kitchen.watch.is_over();
    if let Err(error) = super::feed::feed(kitchen.source, &track.file, pipe, &is_over) {
        kitchen.watch.fail(CompositeError::Source(error));
    }
}

/// The picture of a file, frame by frame.
pub(super) struct Film {
    decoder: Decoder,
    picture: Picture,
    next: Vec<u8>,
    has_ended: bool,
}

impl Film {
    /// Its first frame in the composite.
    pub(super) const fn first(track: &TrackResult) -> u64 {
        frame(track.offset_ms)
    }

    pub(super) fn start<'scope, S: Source + Sync>(
        scope: &'scope Scope<'scope, '_>,
        kitchen: Kitchen<'scope, S>,
        track: &'scope TrackResult,
        size: Canvas,
    ) -> Result<Self, CompositeError> {
        // The file's time 0 lies up to half a frame beside one.
        let first_ms = Self::first(track) as f64 * 1000.0 / FRAMES_PER_SECOND as f64;
        let late = (track.offset_ms as f64 - first_ms) / 1000.0;
        let Canvas { width, height } = size;
        // The size first: what follows never sees a change of resolution.
        let filter = format!(
            "scale={width}:{height}:flags=bilinear:out_color_matrix=bt601:out_range=tv,\
             setsar=1,format=yuv420p,\
             setpts=PTS+({late:.6})/TB,fps={FRAMES_PER_SECOND}:start_time=0"
        );
        let output = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p"];
        let decoder = Decoder::start(scope, kitchen, track, filter, &output)?;
        let next = vec![0; bytes(size)];
        Ok(Self { decoder, picture: Picture::new(size), next, has_ended: false })
    }

    /// The next frame; gives whether there is one. The last one stays.
    pub(super) fn advance(&mut self, watch: &Watch<'_>) -> bool {
        if self.has_ended {
            return false;
        }
        self.has_ended = self.decoder.read(&mut self.next, watch) < self.next.len();
        if !self.has_ended {
            self.picture.data_mut().copy_from_slice(&self.next);
        }
        !self.has_ended
    }

    pub(super) const fn picture(&mut self) -> &mut Picture {
        &mut self.picture
    }
}

/// The sound of a file: 32-bit floats, two channels.
pub(super) struct Voice {
    decoder: Decoder,
    piece: Vec<u8>,
}

impl Voice {
    /// Its first sample in the composite.
    pub(super) const fn first(track: &TrackResult) -> u64 {
        track.offset_ms * (RATE / 1000)
    }

    pub(super) fn start<'scope, S: Source + Sync>(
        scope: &'scope Scope<'scope, '_>,
        kitchen: Kitchen<'scope, S>,
        track: &'scope TrackResult,
    ) -> Result<Self, CompositeError> {
        // Silence where nothing was sent, so that what follows stays in place: to half a packet.
        let filter = format!("aresample={RATE}:async=1:min_hard_comp=0.01:first_pts=0");
        let output = ["-ac", "2", "-ar", "48000", "-f", "f32le"];
        let decoder = Decoder::start(scope, kitchen, track, filter, &output)?;
        Ok(Self { decoder, piece: Vec::new() })
    }

    /// Adds the next samples to `mix`; gives whether more may follow.
    pub(super) fn add(&mut self, mix: &mut [f32], watch: &Watch<'_>) -> bool {
        self.piece.resize(mix.len() * 4, 0);
        let read = self.decoder.read(&mut self.piece, watch);
        for (sum, sample) in mix.iter_mut().zip(self.piece[..read].chunks_exact(4)) {
            if let Ok(sample) = sample.try_into().map(f32::from_le_bytes)
                && sample.is_finite()
            {
                *sum += sample;
            }
        }
        read == self.piece.len()
    }
}
