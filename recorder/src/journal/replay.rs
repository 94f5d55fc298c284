//! Reads all files of a recording in order, without what a later file repeats.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use sfu_proto::id::RecordingId;

use super::{
    chain::Checkpoint,
    folder::{Folder, FolderError, file_number},
    format::Header,
    frames::{Ending, Frames},
    reader::{Batch, Entry, OpenError, Reader},
};
use crate::{digest::Digest, evidence::JournalHead, key::DataKey};

/// What was found in one file.
#[derive(Debug)]
pub struct FileReport {
    /// Its number.
    pub file: u32,
    /// What was read; or why nothing could be.
    pub found: Result<FileFound, OpenError>,
}

/// What was read of a file.
#[derive(Debug)]
pub struct FileFound {
    /// Its header.
    pub header: Header,
    /// How it ends.
    pub ending: Ending,
    /// Good chunks of all kinds.
    pub chunks: u64,
    /// Chain head after the last of them.
    pub head: [u8; 32],
    /// Chunks with tap records, with repeated ones.
    pub batches: u64,
    /// Bytes in them.
    pub plain_bytes: u64,
    /// Chunks that an earlier file had too.
    pub repeated: u64,
    /// Valid signatures.
    pub checkpoints: u64,
    /// The last of them.
    pub last_checkpoint: Option<Checkpoint>,
    /// Longest time between two signatures, milliseconds.
    pub checkpoint_gap_ms: u64,
    /// Whether it continues the file before; true for the first of a run.
    pub linked: bool,
}

impl FileFound {
    /// What evidence says of the file.
    #[must_use]
    pub fn journal_head(&self) -> JournalHead {
        JournalHead { file: self.header.file, chunks: self.chunks, head: Digest(self.head) }
    }
}

/// Gives the batches of a recording in order, each once. When it has ended, [`Self::reports`] has all
/// files.
pub struct Replay<'k> {
    key: &'k DataKey,
    /// None: whichever the file says.
    recording: Option<RecordingId>,
    files: VecDeque<(u32, PathBuf)>,
    /// Chain heads that some header names as its previous one, and those of them that were met.
    awaited: HashSet<[u8; 32]>,
    met: HashSet<[u8; 32]>,
    /// By run: how many of its batches were given.
    given: HashMap<u64, u64>,
    current: Option<Current>,
    reports: Vec<FileReport>,
}

/// The file that is being read.
struct Current {
    reader: Reader<BufReader<File>>,
    batches: u64,
    plain_bytes: u64,
    repeated: u64,
    signed_ms: Option<u64>,
    gap_ms: u64,
}

impl<'k> Replay<'k> {
    /// Of all files in a folder.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn of(folder: &Folder, key: &'k DataKey) -> Result<Self, FolderError> {
        Ok(Self::of_files(folder.files()?, key, Some(folder.recording())))
    }

    /// Of one file, wherever it is.
    #[must_use]
    pub fn of_file(path: &Path, key: &'k DataKey) -> Self {
        let number = file_number(path).or_else(|| Some(header(path)?.file)).unwrap_or(0);
        Self::of_files(vec![(number, path.to_owned())], key, None)
    }

    fn of_files(
        files: Vec<(u32, PathBuf)>,
        key: &'k DataKey,
        recording: Option<RecordingId>,
    ) -> Self {
        // Only looked up: a forged header makes nothing be met.
        let headers = files.iter().filter_map(|(_, path)| header(path));
        Self {
            key,
            recording,
            awaited: headers.map(|header| header.previous).collect(),
            met: HashSet::from([[0; 32]]),
            given: HashMap::new(),
            files: files.into(),
            current: None,
            reports: Vec::new(),
        }
    }

    /// What was found in the files that were read to their end.
    #[must_use]
    pub fn reports(&self) -> &[FileReport] {
        &self.reports
    }

    /// Takes the reports out.
    #[must_use]
    pub fn into_reports(self) -> Vec<FileReport> {
        self.reports
    }

    fn open(&mut self, file: u32, path: &Path) {
        let in_place = |header: &Header| {
            header.file == file && self.recording.is_none_or(|one| one == header.recording)
        };
        match Reader::open(path, self.key) {
            Ok(reader) if in_place(reader.header()) => self.current = Some(Current::new(reader)),
            other => {
                let error = other.err().unwrap_or(OpenError::Place);
                self.reports.push(FileReport { file, found: Err(error) });
            }
        }
    }

    /// Whether a batch was given before, out of a file that failed after it. The copies are the same.
    fn is_repeated(&mut self, run: u64, number: u64) -> bool {
        let given = self.given.entry(run).or_default();
        let repeated = number < *given;
        *given = number.saturating_add(1).max(*given);
        repeated
    }

    /// Notes that the file which is read continues `chain`.
    fn meet(&mut self, chain: [u8; 32]) {
        if self.awaited.contains(&chain) {
            self.met.insert(chain);
        }
    }
}

impl Iterator for Replay<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        loop {
            let Some(mut current) = self.current.take() else {
                let (file, path) = self.files.pop_front()?;
                self.open(file, &path);
                continue;
            };
            let Some(entry) = current.reader.next_entry() else {
                let linked = self.met.contains(&current.reader.header().previous);
                self.reports.push(current.report(linked));
                continue;
            };
            self.meet(current.reader.head());
            current.count(&entry);
            let mut given = None;
            if let Entry::Batch(batch) = entry {
                let repeated = self.is_repeated(current.reader.header().run, batch.number);
                current.repeated += u64::from(repeated);
                given = (!repeated).then_some(batch);
            }
            self.current = Some(current);
            if given.is_some() {
                return given;
            }
        }
    }
}

impl Current {
    fn new(reader: Reader<BufReader<File>>) -> Self {
        Self { reader, batches: 0, plain_bytes: 0, repeated: 0, signed_ms: None, gap_ms: 0 }
    }

    fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Checkpoint(signed) => {
                let before = self.signed_ms.replace(signed.time_ms).unwrap_or(signed.time_ms);
                self.gap_ms = self.gap_ms.max(signed.time_ms.saturating_sub(before));
            }
            Entry::Batch(batch) => {
                self.batches += 1;
                self.plain_bytes += batch.bytes.len() as u64;
            }
        }
    }

    fn report(self, linked: bool) -> FileReport {
        let header = self.reader.header().clone();
        let (checkpoints, head) = (self.reader.checkpoints(), self.reader.head());
        let last_checkpoint = self.reader.last_checkpoint().cloned();
        let offset = super::format::HEADER_BYTES as u64;
        let ending = self.reader.into_ending().unwrap_or(Ending::Truncated { offset, rest: 0 });
        let found = FileFound {
            ending,
            chunks: self.batches + checkpoints,
            head,
            batches: self.batches,
            plain_bytes: self.plain_bytes,
            repeated: self.repeated,
            checkpoints,
            last_checkpoint,
            checkpoint_gap_ms: self.gap_ms,
            linked,
            header,
        };
        FileReport { file: found.header.file, found: Ok(found) }
    }
}

/// The header of a file, if it has one.
fn header(path: &Path) -> Option<Header> {
    let opened = Frames::open(File::open(path).ok()?).ok()?;
    opened.ok().map(|(header, _)| header)
}
