//! Makes composites, and looks at their pictures.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    sync::atomic::{AtomicU32, Ordering},
};

use recorder::composite::{
    Canvas, CompositeError, Control, Done, Lack, Layout, Made, Mask, Order, Outputs, Sandbox,
    Tools, Work, audio_mix, composite,
};
use recorder::finalize::{Events, Source};

use crate::{checks::OnDisk, media::run, tape};

/// Small, for tests that are not optimized.
pub(crate) const CANVAS: Canvas = Canvas { width: 320, height: 180 };

/// Files in memory.
#[derive(Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, (Vec<u8>, Made)>);

impl Outputs for Files {
    type File = Vec<u8>;

    fn open(&mut self, _: &str) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn close(&mut self, file: Vec<u8>, made: Made) -> io::Result<()> {
        assert!(self.0.insert(made.name.clone(), (file, made)).is_none());
        Ok(())
    }
}

pub(crate) fn tools() -> Tools {
    let found: Result<Tools, Lack> = Tools::look(Sandbox::Bwrap);
    found.expect("run .ci/setup (ffmpeg, bubblewrap)")
}

/// What is wanted of a recording.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) layout: Layout,
    pub(crate) canvas: Canvas,
    pub(crate) hls: bool,
    pub(crate) masks: &'a [Mask],
    pub(crate) only_sound: bool,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        let (layout, canvas) = (Layout::Grid, CANVAS);
        Self { layout, canvas, hls: false, masks: &[], only_sound: false }
    }
}

pub(crate) fn try_compose<S: Source>(
    source: &S,
    events: &Events,
    wanted: Wanted<'_>,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<(Files, Done), CompositeError> {
    let Wanted { layout, canvas, hls, masks, only_sound } = wanted;
    let order = Order { events, layout, canvas, hls, masks };
    let (mut files, mut percents) = (Files::default(), Vec::new());
    let mut progress = |percent| percents.push(percent);
    let mut control = Control { cancelled, progress: &mut progress };
    let mut begun = Control { cancelled, progress: &mut |_| {} };
    let work = Work::make(source, &order, !only_sound, nameless(), &mut begun)?;
    let done = match only_sound {
        true => audio_mix(tools(), &work, &order, &mut files, &mut control),
        false => composite(tools(), &work, &order, &mut files, &mut control),
    }?;
    assert!(percents.is_sorted() && percents.last() == Some(&100), "{percents:?}");
    Ok((files, done))
}

/// A file that can be written and read, without a name.
pub(crate) fn nameless() -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (process, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(format!("conclave-work-{process}-{n}"));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

/// The composite, or the mix, of a tape; every track decodes.
pub(crate) fn compose(tape: &tape::Tape, wanted: Wanted<'_>) -> (Events, Files) {
    let events = tape::make(tape).events;
    let (files, done) = try_compose(tape, &events, wanted, &|| false).unwrap();
    assert_eq!(done.flawed, 0);
    (events, files)
}

impl Files {
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        &self.0[name].0
    }

    pub(crate) fn composite(&self) -> Looked {
        Looked::new(self.bytes("composite.mp4"))
    }
}

/// A composite's pictures, decoded.
pub(crate) struct Looked {
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) streams: Vec<String>,
    width: usize,
}

impl Looked {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let file = OnDisk::new(bytes);
        let entries = "stream=codec_name,width,height,r_frame_rate,sample_rate";
        let args = ["-v", "error", "-show_entries", entries, "-of", "csv=p=0", file.path()];
        let (streams, complaints) = run("ffprobe", &args);
        assert_eq!(complaints, "");
        let streams: Vec<String> =
            String::from_utf8(streams).unwrap().lines().map(str::to_owned).collect();
        let number = |at| streams[0].split(',').nth(at).unwrap().parse::<usize>().unwrap();
        let (width, height) = (number(1), number(2));
        let args = ["-v", "error", "-i", file.path(), "-map", "0:v", "-fps_mode", "passthrough"];
        let raw = ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"];
        let (pixels, complaints) = run("ffmpeg", &[&args[..], &raw].concat());
        assert_eq!(complaints, "");
        let frames = pixels.chunks_exact(width * height * 3).map(<[u8]>::to_vec).collect();
        Self { frames, streams, width }
    }

    /// Mean colour around a place at a time.
    pub(crate) fn colour(&self, second: f64, x: usize, y: usize) -> [u8; 3] {
        let frame = &self.frames[(second * 30.0).round() as usize];
        let around = (y - 2..y + 2).flat_map(|y| (x - 2..x + 2).map(move |x| (x, y)));
        let mut sums = [0u32; 3];
        for (x, y) in around {
            let at = (y * self.width + x) * 3;
            sums.iter_mut().zip(&frame[at..at + 3]).for_each(|(sum, v)| *sum += u32::from(*v));
        }
        sums.map(|sum| (sum / 16) as u8)
    }

    /// Seconds at which a place turns white.
    pub(crate) fn flashes(&self, x: usize, y: usize) -> Vec<f64> {
        let white = |n: usize| self.colour(n as f64 / 30.0, x, y).iter().all(|v| *v > 200);
        let all = (0..self.frames.len()).filter(|n| white(*n) && (*n == 0 || !white(*n - 1)));
        all.map(|n| n as f64 / 30.0).collect()
    }
}

/// Whether a colour is about another.
pub(crate) fn is(colour: [u8; 3], wanted: [u8; 3]) -> bool {
    colour.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 45)
}

pub(crate) const RED: [u8; 3] = [255, 0, 0];
pub(crate) const GREEN: [u8; 3] = [0, 128, 0];
pub(crate) const BLUE: [u8; 3] = [0, 0, 255];
pub(crate) const YELLOW: [u8; 3] = [255, 255, 0];
pub(crate) const PLAIN: [u8; 3] = [40, 42, 46];
pub(crate) const BLACK: [u8; 3] = [0, 0, 0];

/// For encoders: the left half in one colour, over everything else.
pub(crate) fn coloured(colour: &str) -> String {
    format!("drawbox=x=0:y=0:w=iw/2:h=ih:color={colour}:t=fill")
}
