//! One track of a recording, finalized into a pipe: no byte of it meets a disk.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write},
};

use sfu_proto::{
    id::ParticipantId,
    tap::{self, Body},
};

use crate::finalize::{FileInfo, FinalizeError, Request, Sinks, Source, TrackResult, finalize};

/// Bytes that are written to the pipe at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The records that the files of one participant are made from: clocks are those of the participant,
/// and another's packets would be taken apart for nothing.
struct Of<'a, S> {
    source: &'a S,
    participant: ParticipantId,
    /// Asked before each batch: whether nobody wants more.
    is_over: &'a (dyn Fn() -> bool + Sync),
}

impl<S: Source> Source for Of<'_, S> {
    type Error = S::Error;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, S::Error>> + '_, S::Error> {
        let mut mine = BTreeSet::new();
        let batches = self.source.batches()?.take_while(|_| !(self.is_over)());
        Ok(batches.map(move |batch| Ok(self.pick(batch?.as_ref(), &mut mine))))
    }
}

impl<S> Of<'_, S> {
    fn pick(&self, batch: &[u8], mine: &mut BTreeSet<u16>) -> Vec<u8> {
        let mut picked = Vec::new();
        // A record that is none ends the batch: no one's packets follow it.
        for record in tap::records(batch).map_while(Result::ok) {
            let is_mine = match record.body {
                Body::Track { index, participant, .. } if participant == self.participant => {
                    mine.insert(index);
                    true
                }
                Body::Track { index, .. } => {
                    mine.remove(&index);
                    true
                }
                Body::Packet(packet) => mine.contains(&packet.index),
                Body::Report { index, .. } => mine.contains(&index),
                _ => true,
            };
            if is_mine {
                record.write(&mut picked);
            }
        }
        picked
    }
}

/// Lets one file through.
struct One<'a, W> {
    stem: &'a str,
    pipe: Option<W>,
}

enum Sink<W: Write> {
    Pipe(BufWriter<W>),
    Nothing,
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes),
            Self::Nothing => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.flush(),
            Self::Nothing => Ok(()),
        }
    }
}

impl<W: Write> Sinks for One<'_, W> {
    type Sink = Sink<W>;

    fn open(&mut self, file: &FileInfo) -> io::Result<Sink<W>> {
        let pipe = if stem(file) == self.stem { self.pipe.take() } else { None };
        Ok(pipe
            .map_or(Sink::Nothing, |pipe| Sink::Pipe(BufWriter::with_capacity(PIECE_BYTES, pipe))))
    }

    /// An error ends the walk: nothing that follows is wanted.
    fn close(&mut self, sink: Sink<W>, _: &TrackResult) -> io::Result<()> {
        match sink {
            Sink::Pipe(mut pipe) => {
                pipe.flush()?;
                Err(io::Error::other("all is written"))
            }
            Sink::Nothing => Ok(()),
        }
    }
}

/// Containers differ here from the delivered ones, names do so at their end.
fn stem(file: &FileInfo) -> &str {
    file.name.rsplit_once('.').map_or(file.name.as_str(), |(stem, _)| stem)
}

/// Writes `file` into `pipe`, as WebM or, for H.264, as fragmented MP4.
///
/// # Errors
/// The records cannot be read. That nobody reads the pipe any more is none.
pub(super) fn feed<S: Source>(
    source: &S,
    file: &FileInfo,
    pipe: impl Write,
    is_over: &(dyn Fn() -> bool + Sync),
) -> Result<(), FinalizeError> {
    let source = Of { source, participant: file.participant, is_over };
    let mut sinks = One { stem: stem(file), pipe: Some(pipe) };
    let request = Request { audio_as_webm: true, video_as_webm: true, ..Request::default() };
    match finalize(&source, &mut sinks, &request, &mut |_| {}) {
        Ok(_) | Err(FinalizeError::File(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
