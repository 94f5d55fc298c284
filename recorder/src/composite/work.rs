//! The work file: tracks as decoders read them, encrypted, out of one walk over the journal.
//!
//! ```text
//! journal ─▶ finalize ─▶ a buffer for each track ─▶ AES-GCM ─▶ one file: piece │ piece │ piece │ …
//!                                    in memory: key, and where each track's pieces are ─▶ feeds
//! ```
//! Many decoders run at once, and none waits for another: each feed reads the pieces of its own track.
//! They lie in the order of time, so that all feeds together go through the file once, front to back.
//! Key and index die with this process: what a crash leaves of the file can be read by nobody. What
//! does not live here: where the file lies, and that its name is gone before anything is in it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
    rc::Rc,
};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::{CompositeError, Control, Order, draw, mix};
use crate::{
    finalize::{
        Events, FileInfo, FinalizeError, MuxError, Request, Sinks, Source, TrackResult, finalize,
    },
    key::{DataKey, Purpose},
    limits::WORK_PIECE_BYTES,
};

/// The tracks that a composite, its sound or both are made of.
pub struct Work {
    file: File,
    key: LessSafeKey,
    /// By the name of the track's file, without what stands behind the dot: containers differ here from
    /// those that are delivered.
    tracks: BTreeMap<String, Vec<Piece>>,
}

/// A sealed stretch of a track.
#[derive(Clone, Copy)]
struct Piece {
    /// First byte in the work file. No two pieces have the same, so it is the nonce.
    at: u64,
    /// Bytes, with the tag.
    bytes: usize,
}

impl Work {
    /// Reads the journal and writes what `order` shows and sounds into `file`, which is empty, can be
    /// read and written, and has no name any more. Without `pictures` only what sounds.
    ///
    /// # Errors
    /// [`CompositeError::Source`], [`CompositeError::Output`], [`CompositeError::Cancelled`].
    pub fn make<S: Source>(
        source: &S,
        order: &Order<'_>,
        pictures: bool,
        file: File,
        control: &mut Control<'_>,
    ) -> Result<Self, CompositeError> {
        let key = new_key();
        let out = Rc::new(RefCell::new(Out { file, key, end: 0 }));
        let wanted = wanted(order, pictures);
        let mut sorting = Sorting { wanted, tracks: BTreeMap::new(), out };
        let source = Until { source, is_over: control.cancelled };
        let request = Request { audio_as_webm: true, video_as_webm: true, ..Request::default() };
        let walked = finalize(&source, &mut sorting, &request, &mut *control.progress);
        if (control.cancelled)() {
            return Err(CompositeError::Cancelled);
        }
        walked.map_err(|error| match error {
            FinalizeError::File(MuxError::Write(error)) => CompositeError::Output(error),
            error => CompositeError::Source(error),
        })?;
        let Sorting { tracks, out, .. } = sorting;
        let Some(Out { file, key, .. }) = Rc::into_inner(out).map(RefCell::into_inner) else {
            return Err(CompositeError::Output(io::Error::other("a track is still open")));
        };
        Ok(Self { file, key, tracks })
    }

    /// Writes a track into `pipe`: WebM or, of H.264, fragmented MP4.
    ///
    /// # Errors
    /// The work file cannot be read, or is not what was written. That nobody reads the pipe any more
    /// is none.
    pub(super) fn feed(&self, file: &FileInfo, mut pipe: impl Write) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(WORK_PIECE_BYTES + self.key.algorithm().tag_len());
        for piece in self.tracks.get(stem(file)).into_iter().flatten() {
            buffer.resize(piece.bytes, 0);
            self.file.read_exact_at(&mut buffer, piece.at)?;
            let opened = self.key.open_in_place(nonce(piece.at), Aad::empty(), &mut buffer);
            let plain = opened.map_err(|_| io::ErrorKind::InvalidData)?;
            if pipe.write_all(plain).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// A key that is never kept anywhere.
fn new_key() -> LessSafeKey {
    DataKey::generate().subkey(Purpose::Work { file: 0 }, &[0; 16]).cipher()
}

fn nonce(at: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&at.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn stem(file: &FileInfo) -> &str {
    file.name.rsplit_once('.').map_or(file.name.as_str(), |(stem, _)| stem)
}

/// The tracks that are decoded: voices that are heard, and pictures that are ever seen.
fn wanted(order: &Order<'_>, pictures: bool) -> BTreeSet<String> {
    let Order { events: Events { tracks, .. }, masks, .. } = order;
    let voices = tracks.iter().filter(|track| mix::is_heard(track, masks));
    let films = pictures.then(|| draw::seen(order)).into_iter().flatten();
    let films = films.filter_map(|file| tracks.get(file));
    voices.chain(films).map(|track| stem(&track.file).to_owned()).collect()
}

/// The records until nobody wants more.
struct Until<'a, S> {
    source: &'a S,
    is_over: &'a (dyn Fn() -> bool + Sync),
}

impl<S: Source> Source for Until<'_, S> {
    type Error = S::Error;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, S::Error>> + '_, S::Error> {
        Ok(self.source.batches()?.take_while(|_| !(self.is_over)()))
    }

    fn bytes(&self) -> Option<u64> {
        self.source.bytes()
    }
}

/// The file as it is written.
struct Out {
    file: File,
    key: LessSafeKey,
    end: u64,
}

impl Out {
    /// Seals `plain` where it is, writes it and leaves it empty.
    fn put(&mut self, plain: &mut Vec<u8>) -> io::Result<Piece> {
        let sealed = self.key.seal_in_place_append_tag(nonce(self.end), Aad::empty(), plain);
        sealed.map_err(|_| io::Error::other("a piece is too long"))?;
        self.file.write_all_at(plain, self.end)?;
        let piece = Piece { at: self.end, bytes: plain.len() };
        self.end += plain.len() as u64;
        plain.clear();
        Ok(piece)
    }
}

struct Sorting {
    wanted: BTreeSet<String>,
    tracks: BTreeMap<String, Vec<Piece>>,
    out: Rc<RefCell<Out>>,
}

impl Sinks for Sorting {
    type Sink = Track;

    fn open(&mut self, file: &FileInfo) -> io::Result<Track> {
        let out = self.wanted.contains(stem(file)).then(|| Rc::clone(&self.out));
        Ok(Track { plain: Vec::new(), pieces: Vec::new(), out })
    }

    fn close(&mut self, mut track: Track, result: &TrackResult) -> io::Result<()> {
        track.flush()?;
        self.tracks.insert(stem(&result.file).to_owned(), track.pieces);
        Ok(())
    }
}

/// One track as it is written.
struct Track {
    plain: Vec<u8>,
    pieces: Vec<Piece>,
    /// None: nobody wants it.
    out: Option<Rc<RefCell<Out>>>,
}

impl Write for Track {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.is_none() {
            return Ok(bytes.len());
        }
        let taken = bytes.len().min(WORK_PIECE_BYTES - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        if self.plain.len() == WORK_PIECE_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(out) = self.out.as_ref().filter(|_| !self.plain.is_empty()) {
            self.pieces.push(out.borrow_mut().put(&mut self.plain)?);
        }
        Ok(())
    }
}
