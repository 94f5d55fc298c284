//! Reads one file of a journal, from the front to the first chunk that is not as it was written.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    chain::{Chain, Checkpoint},
    cipher::FileCipher,
    format::{CHUNK_HEAD_BYTES, Header, HeaderError, Kind, TAG_BYTES},
    frames::{Ending, Flaw, Frames},
};
use crate::{
    key::{DataKey, KeyId},
    limits::JOURNAL_CHUNK_BYTES_MAX,
};

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Environment.
    #[error("journal file: {0}")]
    File(#[from] io::Error),
    /// Not a journal, of another version, or cut within its header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Caller: sealed with another data key, or the header was changed.
    #[error("sealed with the data key {0}, not with this one")]
    Key(KeyId),
    /// It says that it is another file, or of another recording, than its place says.
    #[error("its header is of another file or recording")]
    Place,
}

/// Batches in the order in which they were appended; whole tap records.
pub struct Batch {
    /// The file.
    pub file: u32,
    /// Chunk in the file.
    pub seq: u64,
    /// Number within the run that wrote it.
    pub number: u64,
    /// The records.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What a chunk held.
pub enum Entry {
    /// Tap records.
    Batch(Batch),
    /// A valid signature.
    Checkpoint(Checkpoint),
}

/// Reads one file. As an iterator it gives the batches.
pub struct Reader<R> {
    frames: Frames<R>,
    header: Header,
    cipher: FileCipher,
    chain: Chain,
    chunk: Zeroizing<Vec<u8>>,
    batches: u64,
    checkpoints: u64,
    last_checkpoint: Option<Checkpoint>,
    ending: Option<Ending>,
}

impl Reader<BufReader<File>> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, key: &DataKey) -> Result<Self, OpenError> {
        Reader::new(BufReader::new(File::open(path)?), key)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header of `input`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn new(input: R, key: &DataKey) -> Result<Self, OpenError> {
        let (header, frames) = Frames::open(input)??;
        if header.key_id != key.id().0 {
            return Err(OpenError::Key(KeyId(header.key_id)));
        }
        // All at once: growing would leave plaintext behind.
        let longest = CHUNK_HEAD_BYTES + JOURNAL_CHUNK_BYTES_MAX + TAG_BYTES;
        Ok(Self {
            frames,
            cipher: FileCipher::new(key, &header),
            chain: Chain::start(&header),
            header,
            chunk: Zeroizing::new(Vec::with_capacity(longest)),
            batches: 0,
            checkpoints: 0,
            last_checkpoint: None,
            ending: None,
        })
    }

    /// The next chunk; `None` at the end, whose kind [`Self::ending`] tells.
    pub fn next_entry(&mut self) -> Option<Entry> {
        if self.ending.is_some() {
            return None;
        }
        match self.read() {
            Ok(entry) => Some(entry),
            Err(ending) => {
                self.ending = Some(ending);
                None
            }
        }
    }

    fn read(&mut self) -> Result<Entry, Ending> {
        let frame = self.frames.next(&mut self.chunk)?;
        let refuse = |flaw| Frames::<R>::refuse(&frame, flaw);
        let before = self.chain;
        let after = before.after(&self.chunk);
        let plain = self.cipher.open(before, frame.head, &mut self.chunk);
        let plain = plain.ok_or_else(|| refuse(Flaw::Tag))?;
        let entry = match frame.head.kind {
            Kind::Batch => Entry::Batch(Batch {
                file: self.header.file,
                seq: frame.head.seq,
                number: self.header.base.saturating_add(self.batches),
                bytes: Zeroizing::new(plain.to_vec()),
            }),
            kind => {
                let place = Checkpoint::at(&self.header, frame.head.seq, kind, before, 0);
                let signed =
                    place.with_body(plain).filter(|one| one.verify(&self.header.capture_key));
                Entry::Checkpoint(signed.ok_or_else(|| refuse(Flaw::Signature))?)
            }
        };
        self.chain = after;
        self.note(&entry);
        Ok(entry)
    }

    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Batch(_) => self.batches += 1,
            Entry::Checkpoint(signed) => {
                self.checkpoints += 1;
                self.last_checkpoint = Some(signed.clone());
            }
        }
    }

    /// The header, authenticated when at least one chunk was read.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the file ends; `None` before the iterator is at its end.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Takes the ending out.
    pub(super) fn into_ending(self) -> Option<Ending> {
        self.ending
    }

    /// Valid signatures so far.
    pub fn checkpoints(&self) -> u64 {
        self.checkpoints
    }

    /// The last of them.
    pub fn last_checkpoint(&self) -> Option<&Checkpoint> {
        self.last_checkpoint.as_ref()
    }

    /// Chain head: hash of everything that was read so far.
    pub fn head(&self) -> [u8; 32] {
        self.chain.0
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        loop {
            if let Entry::Batch(batch) = self.next_entry()? {
                return Some(batch);
            }
        }
    }
}
