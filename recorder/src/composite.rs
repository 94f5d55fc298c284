//! One picture and one sound of a whole recording, made from its journal by the `ffmpeg` program.
//!
//! ```text
//! journal ─▶ finalize ─▶ work file ─pipe─▶ ffmpeg (decode, scale) ─pipe─▶ draw ─pipe─▶ ffmpeg ─pipe─▶ sealed:
//!    │        (encrypted)   a thread and a program for each track     mix ─pipe─▶ (encode)    MP4, HLS,
//!    └─▶ events ─▶ layout: who is where, when ────────────────────────┘                       Ogg
//! ```
//! Frames and samples are counted here, so a picture is in its place to the frame whatever its track
//! did, and a decoder never sees another's media. Nothing is on a disk in the clear. What does not live
//! here: sealing, and when a composite is made.

mod burden;
mod decode;
mod draw;
mod encode;
mod fragments;
mod hls;
pub mod layout;
mod mix;
mod picture;
mod place;
mod reels;
mod sandbox;
mod shows;
mod told;
mod watch;
mod work;

use std::{
    fmt, io,
    thread::{self, Scope},
};

use sfu_proto::control::Source;

use self::{decode::Kitchen, watch::Watch};
pub use self::{
    layout::Layout,
    picture::Region,
    place::{Canvas, Rect},
    sandbox::{Lack, Sandbox, Tools},
    work::Work,
};
use crate::{
    evidence::ArtifactKind,
    finalize::{Events, FinalizeError, Handle, TrackResult},
    limits::{AUDIO_MIX_BITS_PER_SECOND, COMPOSITE_BITS_PER_SECOND, COMPOSITE_STALL},
};

/// What a composite does not show: a region of every picture of a source, of one or of everybody. The sound of
/// a masked source is left out whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    /// Of which source.
    pub source: Source,
    /// Of whom the partner calls so; none: of everybody.
    pub handle: Option<Handle>,
    /// Of its picture.
    pub region: Region,
}

impl Mask {
    /// Whether it hides this source of somebody. Who has no handle may be the one who is meant.
    #[must_use]
    pub fn hides(&self, source: Source, handle: Option<&Handle>) -> bool {
        let is_meant = match (&self.handle, handle) {
            (Some(meant), Some(handle)) => meant == handle,
            _ => true,
        };
        self.source == source && is_meant
    }

    /// Whether it hides a track of a recording.
    pub(crate) fn hides_track(&self, track: &TrackResult, events: &Events) -> bool {
        self.hides(track.file.source, events.handle(track.file.participant))
    }
}

/// Without the handle, which stays out of logs.
impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, handle: _, region } = self;
        f.debug_struct("Mask")
            .field("source", source)
            .field("region", region)
            .finish_non_exhaustive()
    }
}

/// What is wanted.
pub struct Order<'a> {
    /// What [`crate::finalize::finalize`] told of the recording.
    pub events: &'a Events,
    /// How it is laid out.
    pub layout: Layout,
    /// How large.
    pub canvas: Canvas,
    /// Whether it is written as HLS too.
    pub hls: bool,
    /// What is not shown.
    pub masks: &'a [Mask],
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name, as it is called unsealed.
    pub name: String,
    /// What it is.
    pub kind: ArtifactKind,
    /// Its media type.
    pub media_type: &'static str,
    /// How long it is.
    pub duration_ms: Option<u64>,
}

/// Where files go.
pub trait Outputs {
    /// Takes one file, front to back.
    type File: io::Write;

    /// A file begins.
    ///
    /// # Errors
    /// It cannot be written.
    fn open(&mut self, name: &str) -> io::Result<Self::File>;

    /// A file is complete.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn close(&mut self, file: Self::File, made: Made) -> io::Result<()>;
}

/// How the one who wants a composite steers it.
pub struct Control<'a> {
    /// Asked ten times a second; when it says so, everything ends.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Told percents, ascending.
    pub progress: &'a mut dyn FnMut(u8),
}

/// What is to be said of a composite that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Tracks that could not be decoded to their end: their tiles are plain or their voices silent.
    pub flawed: u32,
    /// Of them, those whose decoders gave nothing in time: on a machine that has more of it they may.
    pub late: u32,
}

/// Why there is no composite. Tried again from the beginning, another one may come of it.
#[derive(Debug, thiserror::Error)]
pub enum CompositeError {
    /// Environment: the journal.
    #[error(transparent)]
    Source(FinalizeError),
    /// Environment: the work file; it is not what was written, or the disk fails. Another one may be whole.
    #[error("the work file cannot be read: {0}")]
    Work(io::Error),
    /// Environment: a program or a thread cannot be started.
    #[error("ffmpeg cannot be started: {0}")]
    Start(io::Error),
    /// Environment: the encoder ended early, as when it needed more memory or time than it may.
    #[error("the encoder ended early")]
    Encoder,
    /// Us: what the encoder wrote is no MP4.
    #[error("the encoder's output is malformed")]
    Malformed,
    /// Us: pictures are missing in what the encoder wrote.
    #[error("{found} pictures of {wanted} came out")]
    Pictures {
        /// Handed to the encoder.
        wanted: u64,
        /// In its output.
        found: u64,
    },
    /// Environment: where the file goes.
    #[error("the file cannot be written: {0}")]
    Output(io::Error),
    /// Environment, or media made to do so: so many tracks were not decoded in time, and the rest is worth
    /// another try. Said by whoever wanted it.
    #[error("{0} tracks were not decoded in time")]
    Late(u32),
    /// Environment, or media made to do so: nothing happened for too long.
    #[error("ffmpeg stands still")]
    Stalled,
    /// Operator: see [`Lack`].
    #[error("composites cannot be made here")]
    NoTools,
    /// Caller.
    #[error("cancelled")]
    Cancelled,
    /// Caller: a recording without length.
    #[error("nothing to show")]
    Empty,
}

impl CompositeError {
    /// Another try ends the same way.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::NoTools | Self::Empty)
    }
}

/// Most bytes of composite, HLS and audio mix, sealed: by their length and the encoders' largest bit rates,
/// whatever the height.
#[must_use]
pub fn bytes_max(seconds: u64, pictures: bool, hls: bool, audio_mix: bool) -> u64 {
    let copies = u64::from(pictures) + u64::from(pictures && hls);
    let sound = u64::from(audio_mix) * AUDIO_MIX_BITS_PER_SECOND;
    let bits = copies * COMPOSITE_BITS_PER_SECOND + sound;
    seconds.saturating_mul(bits) / 8
}

/// Makes the composite, and HLS of it: `composite.mp4`, `hls/index.m3u8` and what it names. `work` is made
/// for the same order, with pictures.
///
/// # Errors
/// [`CompositeError`]; files that were opened are of no use.
pub fn composite<O: Outputs>(
    tools: Tools,
    work: &Work,
    order: &Order<'_>,
    outputs: &mut O,
    control: &mut Control<'_>,
) -> Result<Done, CompositeError> {
    let Control { cancelled, progress } = control;
    watched(tools, work, (order, true), *cancelled, |scope, kitchen| {
        encode::composite(scope, kitchen, order, outputs, *progress)
    })
}

/// Makes the sound alone: `audio-mix.ogg`, Opus. Of `order` layout and canvas do not matter.
///
/// # Errors
/// [`CompositeError`]; files that were opened are of no use.
pub fn audio_mix<O: Outputs>(
    tools: Tools,
    work: &Work,
    order: &Order<'_>,
    outputs: &mut O,
    control: &mut Control<'_>,
) -> Result<Done, CompositeError> {
    let Control { cancelled, progress } = control;
    watched(tools, work, (order, false), *cancelled, |scope, kitchen| {
        encode::audio_mix(scope, kitchen, order, outputs, *progress)
    })
}

/// Does `work` and ends whatever it started.
fn watched(
    tools: Tools,
    work: &Work,
    (order, films): (&Order<'_>, bool),
    cancelled: &(dyn Fn() -> bool + Sync),
    make: impl for<'scope> FnOnce(
        &'scope Scope<'scope, '_>,
        Kitchen<'scope>,
    ) -> Result<(), CompositeError>,
) -> Result<Done, CompositeError> {
    let events = order.events;
    if layout::frames(events) == 0 {
        return Err(CompositeError::Empty);
    }
    let films = if films { draw::decoded(order, work) } else { Vec::new() };
    let patience = burden::patience(burden::decoders(order, films));
    let watch = Watch::new(cancelled, patience + COMPOSITE_STALL);
    thread::scope(|scope| {
        let kitchen = Kitchen { tools, work, events, watch: &watch, patience };
        let guard = thread::Builder::new().spawn_scoped(scope, || watch.guard());
        match guard.map_err(CompositeError::Start).and_then(|_| make(scope, kitchen)) {
            Ok(()) => watch.end(),
            Err(error) => watch.fail(error),
        }
    });
    watch.into_result()
}
