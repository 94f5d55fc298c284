//! From the journal's records to files that partners can play, and a list of what happened.
//!
//! ```text
//!              pass 1: index                     pass 2: write
//! Source ─▶ Walk ─▶ clocks, formats, sizes ─▶ Walk ─▶ one file per track ─▶ Sinks (sealed there)
//!                   └──────── events ────────────────────┴──▶ Events
//! ```
//! Both passes walk the same records through the same code, so the second finds what the first
//! measured. Nothing is decoded or encoded, memory does not grow with the recording (but for lists with
//! limits), and no byte of media is kept in the clear outside memory: a file goes front to back into the
//! caller's [`Sinks`]. Texts are a file of their own ([`texts`]). What does not live here: journals, keys, storage.

mod events;
mod gaps;
mod plan;
mod repeats;
mod result;
mod speakers;
mod texts;
mod walk;
mod write;

use std::{error::Error, io};

pub use events::{Event, Events, Handle, Participant, Pause, Stay, What};
use plan::Index;
pub use result::{
    CodecName, Container, FileInfo, Gap, GapKind, Resolution, SenderFit, TrackResult,
};
use sfu_proto::id::RecordingId;
pub use texts::{Texts, texts};
use walk::{TooLong, Visitor, Walk};
use write::Writer;

pub use crate::mux::MuxError;

/// Where the records come from: read twice, from the beginning.
pub trait Source {
    /// Why they cannot be read.
    type Error: Error + Send + Sync + 'static;

    /// Begins to read: whole tap records ([`sfu_proto::tap`]), one behind the other, in batches of any
    /// size.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, Self::Error>> + '_, Self::Error>;

    /// How many bytes of records there are, if that is known: for progress.
    fn bytes(&self) -> Option<u64> {
        None
    }
}

/// Where the files go.
pub trait Sinks {
    /// Takes one file, front to back.
    type Sink: io::Write;

    /// A file begins.
    ///
    /// # Errors
    ///
    /// It cannot be written; the recording is not finalized then.
    fn open(&mut self, file: &FileInfo) -> io::Result<Self::Sink>;

    /// A file is complete.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    fn close(&mut self, sink: Self::Sink, result: &TrackResult) -> io::Result<()>;
}

/// What the caller knows and wants.
#[derive(Clone, Default)]
pub struct Request {
    /// Names the recording in its events.
    pub recording: Option<RecordingId>,
    /// Who was there.
    pub people: Vec<Stay>,
    /// When recording was paused.
    pub pauses: Vec<Pause>,
    /// Files for Opus: Ogg, or WebM, which keeps exact times.
    pub audio_as_webm: bool,
    /// Files for VP9 and AV1: MP4, or WebM.
    pub video_as_webm: bool,
}

/// Why a recording could not be finalized.
#[derive(Debug, thiserror::Error)]
pub enum FinalizeError {
    /// The environment: the records cannot be read.
    #[error("the records cannot be read")]
    Source(#[source] Box<dyn Error + Send + Sync>),
    /// The environment, or us: a file cannot be written.
    #[error(transparent)]
    File(#[from] MuxError),
    /// Us: longer than any recording may be, by the times of its records.
    #[error("the recording is longer than any may be")]
    TooLong,
}

impl From<TooLong> for FinalizeError {
    fn from(TooLong: TooLong) -> Self {
        Self::TooLong
    }
}

/// Writes the files of a recording into `sinks` and gives its events, for `events.json`. `progress` is
/// told percents, ascending.
///
/// # Errors
///
/// The records cannot be read, a file not written. It may be tried again from the beginning.
pub fn finalize<S: Source, K: Sinks>(
    source: &S,
    sinks: &mut K,
    request: &Request,
    progress: &mut dyn FnMut(u8),
) -> Result<Events, FinalizeError> {
    progress(0);
    let mut index = Index::new(request.audio_as_webm, request.video_as_webm);
    let read = walk(source, &mut index, &mut |done| {
        if let Some(all) = source.bytes().filter(|all| *all > 0) {
            progress((done.saturating_mul(40) / all).min(40) as u8);
        }
    })?;
    progress(40);
    let mut writer = Writer::new(index, sinks);
    walk(source, &mut writer, &mut |done| {
        progress(40 + (done.saturating_mul(59) / read.max(1)).min(59) as u8);
    })?;
    let events = writer.finish(request)?;
    progress(100);
    Ok(events)
}

/// One pass; gives the bytes read.
fn walk<S: Source>(
    source: &S,
    visitor: &mut impl Visitor,
    done: &mut dyn FnMut(u64),
) -> Result<u64, FinalizeError> {
    let refused = |error: S::Error| FinalizeError::Source(Box::new(error));
    let (mut walk, mut bytes) = (Walk::default(), 0u64);
    for batch in source.batches().map_err(refused)? {
        let batch = batch.map_err(refused)?;
        let batch = batch.as_ref();
        walk.feed(batch, visitor)?;
        bytes += batch.len() as u64;
        done(bytes);
    }
    walk.finish(visitor)?;
    Ok(bytes)
}
