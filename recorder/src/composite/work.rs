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
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
    rc::Rc,
};

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use shiguredo_mp4::{Decode as _, boxes::MoofBox};

use super::{CompositeError, Control, Order, draw, mix};
use crate::{
    finalize::{
        Container, FileInfo, FinalizeError, MuxError, Request, Sinks, Source, TrackResult, finalize,
    },
    key::{DataKey, Purpose},
    limits::{FRAGMENT_TICKS_PER_MS, WORK_PIECE_BYTES},
};

/// The tracks that a composite, its sound or both are made of.
pub struct Work {
    file: File,
    key: LessSafeKey,
    /// By the name of the track's file, without what stands behind the dot: containers differ here from
    /// those that are delivered.
    tracks: BTreeMap<String, Stored>,
}

/// A track in the work file.
#[derive(Default)]
struct Stored {
    pieces: Vec<Piece>,
    /// Of them, how many are what stands in front of a file.
    front: usize,
    /// Where decoding can begin, ascending.
    entries: Vec<Entry>,
}

/// A cluster (WebM) or fragment (MP4) that begins with a key frame; a piece begins with it.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Of its first picture or sound, milliseconds in the file.
    pub(super) at_ms: u64,
    piece: usize,
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
        let source = Until { source, is_over: control.cancelled, has_ended: Cell::new(false) };
        let request = Request { audio_as_webm: true, video_as_webm: true, ..Request::default() };
        let walked = finalize(&source, &mut sorting, &request, &mut *control.progress);
        if source.has_ended.get() || (control.cancelled)() {
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

    /// Where to begin to have what is at `at_ms` of a file.
    pub(super) fn entry(&self, file: &FileInfo, at_ms: u64) -> Entry {
        let first = Entry { at_ms: 0, piece: 0 };
        let Some(Stored { entries, .. }) = self.tracks.get(stem(file)) else { return first };
        let after = entries.partition_point(|entry| entry.at_ms <= at_ms);
        after.checked_sub(1).and_then(|last| entries.get(last)).map_or(first, |entry| *entry)
    }

    /// Writes a track into `pipe`, from `entry` on: WebM or, of H.264, fragmented MP4.
    ///
    /// # Errors
    /// The work file cannot be read, or is not what was written. That nobody reads the pipe any more
    /// is none.
    pub(super) fn feed(
        &self,
        file: &FileInfo,
        entry: Entry,
        mut pipe: impl Write,
    ) -> io::Result<()> {
        let Some(Stored { pieces, front, .. }) = self.tracks.get(stem(file)) else { return Ok(()) };
        let (front, media) = pieces.split_at(*front);
        let media = media.iter().skip(entry.piece.saturating_sub(front.len()));
        let mut buffer = Vec::with_capacity(WORK_PIECE_BYTES + self.key.algorithm().tag_len());
        for piece in front.iter().chain(media) {
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
    let Order { events, masks, .. } = order;
    let tracks = &events.tracks;
    let voices = tracks.iter().filter(|track| mix::is_heard(track, events, masks));
    let films = pictures.then(|| draw::seen(order)).into_iter().flatten();
    let films = films.filter_map(|file| tracks.get(file));
    voices.chain(films).map(|track| stem(&track.file).to_owned()).collect()
}

/// The records until nobody wants more.
struct Until<'a, S> {
    source: &'a S,
    is_over: &'a (dyn Fn() -> bool + Sync),
    /// Whether records were left out.
    has_ended: Cell<bool>,
}

impl<S: Source> Source for Until<'_, S> {
    type Error = S::Error;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, S::Error>> + '_, S::Error> {
        let goes_on = || {
            let is_over = (self.is_over)();
            self.has_ended.set(self.has_ended.get() || is_over);
            !is_over
        };
        Ok(self.source.batches()?.take_while(move |_| goes_on()))
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
    tracks: BTreeMap<String, Stored>,
    out: Rc<RefCell<Out>>,
}

impl Sinks for Sorting {
    type Sink = Track;

    fn open(&mut self, file: &FileInfo) -> io::Result<Track> {
        let out = self.wanted.contains(stem(file)).then(|| Rc::clone(&self.out));
        let (plain, stored, place) = (Vec::new(), Stored::default(), Place::Else);
        Ok(Track { plain, stored, container: file.container, place, out })
    }

    fn close(&mut self, mut track: Track, result: &TrackResult) -> io::Result<()> {
        track.flush()?;
        self.tracks.insert(stem(&result.file).to_owned(), track.stored);
        Ok(())
    }
}

/// One track as it is written.
struct Track {
    plain: Vec<u8>,
    stored: Stored,
    container: Container,
    place: Place,
    /// None: nobody wants it.
    out: Option<Rc<RefCell<Out>>>,
}

/// What was written last.
enum Place {
    /// The head of a cluster that begins at these milliseconds: its blocks follow.
    Cluster(u64),
    /// The head of a fragment: its media follow, whatever they look like.
    Fragment,
    Else,
}

impl Track {
    /// Notes where a cluster or fragment begins, and whether with a key frame: its head comes at once, what
    /// is in it does next.
    fn look(&mut self, bytes: &[u8]) -> io::Result<()> {
        match (&self.container, std::mem::replace(&mut self.place, Place::Else)) {
            (Container::Webm, place) => match (cluster_ms(bytes), place) {
                (Some(at_ms), _) => {
                    self.begin()?;
                    self.place = Place::Cluster(at_ms);
                }
                (None, Place::Cluster(at_ms)) if is_key(bytes) => self.enter(at_ms),
                (None, _) => {}
            },
            (Container::Mp4, Place::Else) => {
                let Some((at_ms, is_key)) = fragment(bytes) else { return Ok(()) };
                self.begin()?;
                if is_key {
                    self.enter(at_ms);
                }
                self.place = Place::Fragment;
            }
            (Container::Mp4 | Container::Ogg, _) => {}
        }
        Ok(())
    }

    /// What comes is in pieces of its own; what was before the first is the front.
    fn begin(&mut self) -> io::Result<()> {
        self.flush()?;
        if self.stored.front == 0 {
            self.stored.front = self.stored.pieces.len();
        }
        Ok(())
    }

    fn enter(&mut self, at_ms: u64) {
        let piece = self.stored.pieces.len();
        self.stored.entries.push(Entry { at_ms, piece });
    }
}

/// When the fragment of such a head begins, ms, and whether with a key frame.
fn fragment(bytes: &[u8]) -> Option<(u64, bool)> {
    if bytes.get(4..8)? != MoofBox::TYPE.as_bytes() {
        return None;
    }
    let (moof, _) = MoofBox::decode(bytes).ok()?;
    let track = moof.traf_boxes.first()?;
    let ticks = track.tfdt_box.as_ref()?.base_media_decode_time;
    let flags = track.trun_boxes.first()?.samples.first()?.flags?;
    Some((ticks / FRAGMENT_TICKS_PER_MS, !flags.sample_is_non_sync_sample()))
}

/// The time in the head of a cluster as [`crate::mux`] writes it: id, size, and a time of eight bytes.
fn cluster_ms(bytes: &[u8]) -> Option<u64> {
    let is_head = bytes.len() == 29 && bytes.starts_with(&[0x1f, 0x43, 0xb6, 0x75]);
    let (_, time) = bytes.split_last_chunk().filter(|_| is_head)?;
    Some(u64::from_be_bytes(*time))
}

/// Whether the first of some blocks holds a key frame (RFC 9559 section 10.2: behind id, size, track and
/// time).
fn is_key(blocks: &[u8]) -> bool {
    blocks.get(8).is_some_and(|flags| flags & 0x80 != 0)
}

impl Write for Track {
    /// Takes all at once, so that what the muxer writes at once is seen at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.is_none() {
            return Ok(bytes.len());
        }
        self.look(bytes)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = WORK_PIECE_BYTES - self.plain.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            self.plain.extend_from_slice(now);
            if self.plain.len() == WORK_PIECE_BYTES {
                self.flush()?;
            }
            rest = later;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(out) = self.out.as_ref().filter(|_| !self.plain.is_empty()) {
            self.stored.pieces.push(out.borrow_mut().put(&mut self.plain)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{
        fs::{self, OpenOptions},
        sync::atomic::{AtomicU32, Ordering},
    };

    use sfu_proto::{
        control,
        id::{ParticipantId, TrackId},
    };

    use shiguredo_mp4::{
        Encode as _, SampleFlags,
        boxes::{MfhdBox, TfdtBox, TfhdBox, TrafBox, TrunBox, TrunSample},
    };

    use super::*;
    use crate::finalize::CodecName;

    fn file() -> FileInfo {
        FileInfo {
            name: "0007-0-camera.webm".to_owned(),
            track: TrackId::from_bits(1),
            participant: ParticipantId::from_bits(1),
            source: control::Source::Camera,
            part: 0,
            codec: CodecName::Vp8,
            container: Container::Webm,
        }
    }

    /// A cluster of two seconds whose block is as long as given: head and blocks.
    fn cluster(at_ms: u64, is_key: bool, len: usize) -> [Vec<u8>; 2] {
        let size = 0x0100_0000_0000_0000 | (len as u64 + 26);
        let head = [&[0x1f, 0x43, 0xb6, 0x75][..], &size.to_be_bytes(), &[0xe7, 1]].concat();
        let head = [&head[..], &[0, 0, 0, 0, 0, 0, 8], &at_ms.to_be_bytes()].concat();
        let block = [0xa3, 0x10, 0, 0, 0, 0x81, 0, 0, if is_key { 0x80 } else { 0 }];
        [head, [&block[..], &vec![at_ms as u8; len]].concat()]
    }

    /// Clusters at 0, 2, 4 … s of which the third has no key frame, behind a front.
    fn stored(pieces: &[Vec<u8>]) -> Work {
        written(Container::Webm, pieces)
    }

    fn written(container: Container, pieces: &[Vec<u8>]) -> Work {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (process, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("conclave-sorted-{process}-{n}"));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(&path).unwrap();
        fs::remove_file(path).unwrap();
        let out = Rc::new(RefCell::new(Out { file, key: new_key(), end: 0 }));
        let (plain, stored) = (Vec::new(), Stored::default());
        let mut track =
            Track { plain, stored, container, place: Place::Else, out: Some(Rc::clone(&out)) };
        pieces.iter().for_each(|piece| track.write_all(piece).unwrap());
        track.flush().unwrap();
        let Track { stored, out: mine, .. } = track;
        drop(mine);
        let Out { file, key, .. } = Rc::into_inner(out).unwrap().into_inner();
        Work { file, key, tracks: BTreeMap::from([("0007-0-camera".to_owned(), stored)]) }
    }

    #[test]
    fn a_track_is_read_from_the_key_frame_before_a_time_with_its_front() {
        let front = vec![7; WORK_PIECE_BYTES + 5];
        let clusters: Vec<_> =
            (0..5).map(|n| cluster(n * 2000, n != 2, 3 * WORK_PIECE_BYTES)).collect();
        let all = [vec![front.clone()], clusters.iter().flatten().cloned().collect()].concat();
        let work = stored(&all);
        for (at_ms, first) in [(0, 0), (1999, 0), (2000, 1), (5999, 1), (6000, 3), (1 << 40, 4)] {
            let entry = work.entry(&file(), at_ms);
            assert_eq!(entry.at_ms, first as u64 * 2000, "{at_ms}");
            let mut read = Vec::new();
            work.feed(&file(), entry, &mut read).unwrap();
            let rest = clusters[first..].iter().flatten().cloned().collect::<Vec<_>>();
            assert!(read == [vec![front.clone()], rest].concat().concat(), "{at_ms}");
        }
    }

    /// Head and media of a fragment; the media look like a head.
    fn fragment_at(at_ms: u64, is_key: bool) -> [Vec<u8>; 2] {
        let sample = TrunSample {
            duration: Some(90_000),
            size: Some(1),
            flags: Some(SampleFlags::new(if is_key { 0 } else { 1 << 16 })),
            composition_time_offset: None,
        };
        let track = TrafBox {
            tfhd_box: TfhdBox {
                track_id: 1,
                base_data_offset: None,
                sample_description_index: None,
                default_sample_duration: None,
                default_sample_size: None,
                default_sample_flags: None,
                duration_is_empty: false,
                default_base_is_moof: true,
            },
            tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time: at_ms * 90 }),
            trun_boxes: vec![TrunBox {
                data_offset: None,
                first_sample_flags: None,
                samples: vec![sample],
            }],
            unknown_boxes: Vec::new(),
        };
        let (mfhd_box, unknown_boxes) = (MfhdBox { sequence_number: 1 }, Vec::new());
        let head = MoofBox { mfhd_box, traf_boxes: vec![track], unknown_boxes };
        let head = head.encode_to_vec().unwrap();
        let media = [&head[..], &[5; 3 * WORK_PIECE_BYTES]].concat();
        [head, media]
    }

    #[test]
    fn an_mp4_is_read_from_the_fragment_with_the_key_frame_before_a_time() {
        let fragments = (0..5).flat_map(|n| fragment_at(n * 1000, n != 2));
        let all: Vec<_> = [vec![7; 100]].into_iter().chain(fragments).collect();
        let mp4 = written(Container::Mp4, &all);
        for (at_ms, first) in [(0, 0), (999, 0), (1000, 1), (2999, 1), (3000, 3), (1 << 40, 4)] {
            let entry = mp4.entry(&file(), at_ms);
            assert_eq!(entry.at_ms, first as u64 * 1000, "{at_ms}");
            let mut read = Vec::new();
            mp4.feed(&file(), entry, &mut read).unwrap();
            let rest = [&all[..1], &all[1 + 2 * first..]].concat().concat();
            assert!(read == rest, "{at_ms}");
        }
    }

    #[test]
    fn a_piece_that_was_changed_or_moved_is_not_given() {
        let all = [vec![1; WORK_PIECE_BYTES], vec![2; WORK_PIECE_BYTES]];
        let mut work = stored(&all);
        let read = |work: &Work| {
            let mut read = Vec::new();
            work.feed(&file(), work.entry(&file(), 0), &mut read).map(|()| read)
        };
        assert!(read(&work).unwrap() == all.concat());
        let mut second = vec![0; WORK_PIECE_BYTES + 16];
        work.file.read_exact_at(&mut second, WORK_PIECE_BYTES as u64 + 16).unwrap();
        work.file.write_all_at(&second, 0).unwrap();
        assert_eq!(read(&work).unwrap_err().kind(), io::ErrorKind::InvalidData, "moved");
        work = stored(&all);
        work.file.write_all_at(&[0xff, 0xff], 100).unwrap();
        assert_eq!(read(&work).unwrap_err().kind(), io::ErrorKind::InvalidData, "changed");
        work.file.set_len(10).unwrap();
        assert!(read(&work).is_err(), "cut");
    }
}
