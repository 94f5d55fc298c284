//! Decoders: a program for each track, fed by a thread.

use std::{
    io::{self, Read},
    process::{ChildStdin, ChildStdout},
    thread::{self, Scope},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::{
    CompositeError,
    burden::go_last,
    layout::FRAMES_PER_SECOND,
    picture::{PLAIN, Picture, bytes, whole},
    place::Canvas,
    sandbox::{Limits, Tools},
    shows::frame,
    watch::{Running, Watch},
    work::{Entry, Work},
};
use crate::{
    finalize::{CodecName, Events, TrackResult},
    limits::{
        COMPOSITE_STALL, DECODER_CPU_PER_SECOND, DECODER_CPU_SECONDS_MIN, DECODER_MEMORY_BYTES_MAX,
    },
};

/// What an Opus decoder hears before it sounds right (RFC 7845 section 4.6).
const OPUS_LEAD_MS: u64 = 80;

/// Samples per second of sound.
pub(super) const RATE: u64 = 48_000;

/// What decoders need.
#[derive(Clone, Copy)]
pub(super) struct Kitchen<'a> {
    pub(super) tools: Tools,
    pub(super) work: &'a Work,
    pub(super) events: &'a Events,
    pub(super) watch: &'a Watch<'a>,
    /// How long a decoder may keep whoever waits for it.
    pub(super) patience: Duration,
}

/// A program that decodes a track.
pub(super) struct Decoder {
    /// Of the track's file.
    name: String,
    output: ChildStdout,
    running: Option<Running>,
    was_asked: bool,
    has_given: bool,
    has_failed: bool,
    patience: Duration,
    /// When it gave the last whole piece, or was started, or was asked for the first.
    heard_at: Instant,
}

impl Decoder {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        kitchen: Kitchen<'scope>,
        (track, entry): (&'scope TrackResult, Entry),
        filter: String,
        output: &[&str],
    ) -> Result<Self, CompositeError> {
        let format = match track.file.codec {
            CodecName::H264 => "mov",
            CodecName::Opus | CodecName::Vp8 | CodecName::Vp9 | CodecName::Av1 => "matroska",
        };
        // Times stay those of the file, wherever in it the input begins.
        let input =
            ["-copyts", "-threads", "1", "-reinit_filter", "0", "-f", format, "-i", "pipe:0"];
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
        let feed = move || feed(kitchen, track, entry, stdin);
        thread::Builder::new().spawn_scoped(scope, feed).map_err(CompositeError::Start)?;
        Ok(Self::new(&track.file.name, output, running, kitchen.patience))
    }

    fn new(name: &str, output: ChildStdout, running: Running, patience: Duration) -> Self {
        let (name, heard_at) = (name.to_owned(), Instant::now());
        let (running, was_asked, has_given, has_failed) = (Some(running), false, false, false);
        Self { name, output, running, was_asked, has_given, has_failed, patience, heard_at }
    }

    /// Fills `piece`; less only at the end. One that gives no whole piece in time is ended: the others do
    /// not wait for it. `asked_at`: when the first of all that are asked together was: they share their time.
    fn read(&mut self, piece: &mut [u8], watch: &Watch<'_>, asked_at: Instant) -> usize {
        let mut filled = 0;
        if !self.was_asked {
            // However long ago it was started: a slow machine may have come here late.
            (self.was_asked, self.heard_at) = (true, self.heard_at.max(asked_at));
        }
        if self.has_output(Duration::ZERO) {
            self.heard_at = Instant::now(); // It worked while nobody asked.
        }
        while filled < piece.len() && self.running.is_some() {
            if !self.has_output(self.patience.saturating_sub(self.heard_at.elapsed())) {
                (self.running, self.has_failed) = (None, true);
                watch.flaw_late(&self.name);
                break;
            }
            match self.output.read(&mut piece[filled..]) {
                Ok(0) => self.end(watch),
                Ok(n) => (filled, self.has_given) = (filled + n, true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.end(watch),
            }
        }
        if filled == piece.len() {
            self.heard_at = Instant::now();
        }
        filled
    }

    /// Waits for output or its end; no: neither came in time.
    fn has_output(&self, within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(timeout) = Timespec::try_from(left) else { return false };
            let mut output = [PollFd::new(&self.output, PollFlags::IN)];
            match poll(&mut output, Some(&timeout)) {
                Err(Errno::INTR) => {}
                ready => return ready.is_ok_and(|ready| ready > 0),
            }
        }
    }

    fn end(&mut self, watch: &Watch<'_>) {
        let status = self.running.take().map(Running::finish);
        if !self.has_given || !status.is_some_and(|it| it.is_ok_and(|status| status.success())) {
            self.fail(watch);
        }
    }

    fn fail(&mut self, watch: &Watch<'_>) {
        self.has_failed = true;
        watch.flaw(&self.name);
    }
}

fn feed(kitchen: Kitchen<'_>, track: &TrackResult, entry: Entry, mut pipe: ChildStdin) {
    go_last();
    if let Err(error) = kitchen.work.feed(&track.file, entry, &mut pipe) {
        kitchen.watch.fail(CompositeError::Work(error));
    }
    drop(pipe); // Not before it failed: the decoder would end well, and be the shorter.
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

    /// The frame to begin with to have a frame of the composite: the last picture stays.
    pub(super) fn starts(track: &TrackResult, wanted: u64) -> u64 {
        let last = frame(track.offset_ms + track.duration_ms).saturating_sub(1);
        wanted.min(last.max(Self::first(track)))
    }

    /// Where to begin to have such a frame.
    fn entry(work: &Work, track: &TrackResult, starts: u64) -> Entry {
        let at_ms = starts * 1000 / FRAMES_PER_SECOND;
        work.entry(&track.file, at_ms.saturating_sub(track.offset_ms))
    }

    /// What is decoded before what is wanted.
    pub(super) fn lead(work: &Work, track: &TrackResult, wanted: u64) -> Duration {
        let starts = Self::starts(track, wanted);
        let entry = Self::entry(work, track, starts);
        let at_ms = starts * 1000 / FRAMES_PER_SECOND;
        Duration::from_millis(at_ms.saturating_sub(track.offset_ms + entry.at_ms))
    }

    /// Begins with the frame `wanted` of the composite.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        kitchen: Kitchen<'scope>,
        track: &'scope TrackResult,
        size: Canvas,
        wanted: u64,
    ) -> Result<Self, CompositeError> {
        let first = Self::starts(track, wanted);
        // Its frame 0 is `first` of the composite. What is before is decoded and left out.
        let first_ms = first as f64 * 1000.0 / FRAMES_PER_SECOND as f64;
        let late = (track.offset_ms as f64 - first_ms) / 1000.0;
        let Canvas { width, height } = size;
        // The size first: what follows never sees a change of resolution.
        let filter = format!(
            "scale={width}:{height}:flags=bilinear:out_color_matrix=bt601:out_range=tv,\
             setsar=1,format=yuv420p,\
             setpts=PTS+({late:.6})/TB,fps={FRAMES_PER_SECOND}:start_time=0"
        );
        let output = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p"];
        let entry = Self::entry(kitchen.work, track, first);
        let mut decoder = Decoder::start(scope, kitchen, (track, entry), filter, &output)?;
        decoder.heard_at += Self::lead(kitchen.work, track, wanted).min(COMPOSITE_STALL / 2);
        let next = vec![0; bytes(size)];
        Ok(Self { decoder, picture: Picture::new(size), next, has_ended: false })
    }

    /// The next frame; gives whether there is one. The last one stays, but what is not decoded any more is
    /// plain.
    pub(super) fn advance(&mut self, watch: &Watch<'_>, asked_at: Instant) -> bool {
        if self.has_ended {
            return false;
        }
        self.has_ended = self.decoder.read(&mut self.next, watch, asked_at) < self.next.len();
        match (self.has_ended, self.decoder.has_failed) {
            (false, _) => self.picture.data_mut().copy_from_slice(&self.next),
            (true, false) => return false,
            (true, true) => self.picture.fill(whole(self.picture.size()), PLAIN),
        }
        true
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
    /// Begins with what is at `from_ms` of the recording.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        kitchen: Kitchen<'scope>,
        track: &'scope TrackResult,
        from_ms: u64,
    ) -> Result<Self, CompositeError> {
        let skipped_ms = from_ms.saturating_sub(track.offset_ms);
        let skipped = skipped_ms as f64 / 1000.0;
        let entry = kitchen.work.entry(&track.file, skipped_ms.saturating_sub(OPUS_LEAD_MS));
        // Silence where nothing was sent, so that what follows stays in place: to half a packet.
        let filter = format!(
            "atrim=start={skipped:.3},asetpts=PTS-({skipped:.3})/TB,\
             aresample={RATE}:async=1:min_hard_comp=0.01:first_pts=0"
        );
        let output = ["-ac", "2", "-ar", "48000", "-f", "f32le"];
        let decoder = Decoder::start(scope, kitchen, (track, entry), filter, &output)?;
        Ok(Self { decoder, piece: Vec::new() })
    }

    /// Adds the next samples to `mix`; gives whether more may follow.
    pub(super) fn add(&mut self, mix: &mut [f32], watch: &Watch<'_>, asked_at: Instant) -> bool {
        self.piece.resize(mix.len() * 4, 0);
        let read = self.decoder.read(&mut self.piece, watch, asked_at);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{os::unix::process::CommandExt as _, process::Stdio};

    use super::*;
    use crate::composite::Sandbox;

    /// A program in the place of a decoder.
    fn decoder(script: &str, watch: &Watch<'_>, patience: Duration) -> Decoder {
        let tools = Tools::look(Sandbox::Bwrap).expect("run .ci/setup (ffmpeg, bubblewrap)");
        let limits = Limits { cpu_seconds: 20, memory_bytes: DECODER_MEMORY_BYTES_MAX };
        let mut command = tools.command("/usr/bin/python3", limits);
        command.args(["-c", script]).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().unwrap();
        Decoder::new("0000-0-camera.webm", output, watch.adopt(child).unwrap(), patience)
    }

    const DRIPS: &str = "import sys, time\nwhile True:\n  sys.stdout.buffer.write(b'x')\n  \
                         sys.stdout.flush()\n  time.sleep(.1)";
    const ONE_AFTER_ANOTHER: &str = "import sys\nsys.stdout.buffer.write(b'x' * 300000)";

    #[test]
    fn one_that_gives_no_whole_piece_in_time_is_ended_as_flawed() {
        for script in ["import time; time.sleep(600)", DRIPS] {
            let watch = Watch::new(&|| false, Duration::from_secs(600));
            let mut decoder = decoder(script, &watch, Duration::from_secs(2));
            let begun = Instant::now();
            assert!(decoder.read(&mut [0; 100_000], &watch, begun) < 100_000, "{script}");
            assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
            assert_eq!(decoder.read(&mut [0; 100_000], &watch, begun), 0, "it is over");
            let done = watch.into_result().unwrap();
            assert_eq!((done.flawed, done.late), (1, 1), "told once");
        }
    }

    #[test]
    fn the_last_picture_of_one_that_fails_does_not_stand_for_ever() {
        let script = "import sys; sys.stdout.buffer.write(b'\\xc8' * 24); sys.exit(1)";
        let watch = Watch::new(&|| false, Duration::from_secs(600));
        let size = Canvas { width: 4, height: 4 };
        let (picture, next) = (Picture::new(size), vec![0; bytes(size)]);
        let decoder = decoder(script, &watch, Duration::from_secs(60));
        let mut film = Film { decoder, picture, next, has_ended: false };
        assert!(film.advance(&watch, Instant::now()) && film.picture().data() == [0xc8; 24]);
        assert!(
            film.advance(&watch, Instant::now()) && film.picture().data()[..16] == [PLAIN[0]; 16]
        );
        assert!(!film.advance(&watch, Instant::now()), "nothing more");
        let done = watch.into_result().unwrap();
        assert_eq!((done.flawed, done.late), (1, 0), "more time would not help");
    }

    #[test]
    fn one_that_nobody_asked_for_long_is_given_its_time() {
        let watch = Watch::new(&|| false, Duration::from_secs(600));
        let mut decoder = decoder(ONE_AFTER_ANOTHER, &watch, Duration::from_secs(20));
        assert_eq!(decoder.read(&mut [0; 1], &watch, Instant::now()), 1);
        decoder.heard_at = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        assert!(decoder.has_output(Duration::from_secs(20)), "the pipe is full");
        assert_eq!(decoder.read(&mut [0; 299_999], &watch, Instant::now()), 299_999);
        assert_eq!(watch.into_result().unwrap().flawed, 0);
    }

    #[test]
    fn one_that_has_given_nothing_has_its_time_from_when_it_is_asked() {
        let watch = Watch::new(&|| false, Duration::from_secs(600));
        let script = "import sys, time; time.sleep(2); sys.stdout.buffer.write(b'x' * 9)";
        let mut decoder = decoder(script, &watch, Duration::from_secs(30));
        decoder.heard_at = Instant::now().checked_sub(Duration::from_secs(90)).unwrap();
        assert_eq!(decoder.read(&mut [0; 9], &watch, Instant::now()), 9);
        assert_eq!(watch.into_result().unwrap().flawed, 0);
    }
}
