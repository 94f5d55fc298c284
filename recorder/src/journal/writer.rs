//! Writes a journal. Blocking: it runs on a thread of its own.
//!
//! ```text
//! append ─▶ pending ─ 250 ms or 512 KiB ─▶ seal ─▶ write ─▶ fdatasync ─▶ acknowledged, pending wiped
//!              ▲                                      └── an error: this file is over ──┐
//!              └────────────── the same pending goes into a new file ◀─────────────────┘
//! ```

use std::{
    io,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::KeyPair as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    chain::{Chain, Checkpoint},
    cipher::FileCipher,
    disk::{Disk, Sink, SystemDisk, is_full},
    folder::{Folder, FolderError},
    format::{ChunkHead, Header, Kind},
    rotation::Rotation,
    stats::Stats,
};
use crate::{
    evidence::SigningKey,
    key::{DataKey, fill_random},
    limits::{
        JOURNAL_CHECKPOINT, JOURNAL_CHUNK_BYTES_MAX, JOURNAL_FILE_BYTES_MAX, JOURNAL_FILES_MAX,
        JOURNAL_FLUSH, JOURNAL_ROTATIONS_MAX,
    },
};

/// A moment on both clocks: one that never jumps, for what is due, and one for signatures.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Monotonic.
    pub at: Instant,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Why something was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Environment: no room is left. What was acknowledged before is readable; the writer is over.
    #[error("the disk is full")]
    DiskFull,
    /// Environment: the disk failed, also for new files. The writer is over.
    #[error("the disk fails: {0}")]
    Disk(#[source] io::Error),
    /// Environment: the folder holds too many files. The writer is over.
    #[error("more than {JOURNAL_FILES_MAX} journal files")]
    TooMany,
    /// Caller: one batch is longer than a chunk may be. It is not taken; the writer goes on.
    #[error("a batch of {0} bytes is too long")]
    Batch(usize),
    /// Caller: an earlier error ended the writer.
    #[error("the writer stopped before")]
    Stopped,
}

/// Writes the journal of one recording.
pub struct Writer {
    folder: Folder,
    key: Arc<DataKey>,
    capture: Arc<SigningKey>,
    disk: Box<dyn Disk>,
    run: u64,
    next_file: u32,
    /// Chain head after the last chunk that was safe.
    previous: Chain,
    /// None after a failure, until the next chunk begins another.
    file: Option<File>,
    pending: Pending,
    /// The chunk as it goes to the disk; kept for its memory.
    sealed: Vec<u8>,
    now: Moment,
    flushed_at: Instant,
    checkpoint_at: Instant,
    stats: Stats,
    stopped: bool,
    file_bytes_max: u64,
    rotation: Option<Rotation>,
}

impl Writer {
    /// Begins a file behind those that the folder has, and a run of its own. At return it is safe on
    /// disk. `capture` signs the checkpoints.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn create(
        folder: &Folder,
        key: Arc<DataKey>,
        capture: Arc<SigningKey>,
        now: Moment,
    ) -> Result<Self, WriteError> {
        Self::on(Box::new(SystemDisk), folder, key, capture, now)
    }

    /// [`Self::create`] on a disk of whatever kind.
    pub(crate) fn on(
        disk: Box<dyn Disk>,
        folder: &Folder,
        key: Arc<DataKey>,
        capture: Arc<SigningKey>,
        now: Moment,
    ) -> Result<Self, WriteError> {
        let last = folder.files().map_err(|error| match error {
            FolderError::File(error) => WriteError::Disk(error),
            _ => WriteError::TooMany,
        })?;
        let mut run = [0; 8];
        fill_random(&mut run);
        let mut writer = Self {
            folder: folder.clone(),
            key,
            capture,
            disk,
            run: u64::from_le_bytes(run),
            next_file: last.last().map_or(0, |(number, _)| *number).saturating_add(1),
            previous: Chain([0; 32]),
            file: None,
            pending: Pending::default(),
            sealed: Vec::new(),
            now,
            flushed_at: now.at,
            checkpoint_at: now.at,
            stats: Stats::default(),
            stopped: false,
            file_bytes_max: JOURNAL_FILE_BYTES_MAX,
            rotation: None,
        };
        writer.with_new_files(|_, _| Ok(()))?;
        Ok(writer)
    }

    /// Files that hold something end early from now on.
    #[must_use]
    pub fn rotating(self, rotation: Rotation) -> Self {
        Self { rotation: Some(rotation), ..self }
    }

    /// Takes whole tap records. They are safe on disk after a [`Self::tick`] at [`Self::deadline`].
    ///
    /// # Errors
    /// [`WriteError`]; the batch was not taken then.
    pub fn append(&mut self, batch: &[u8]) -> Result<(), WriteError> {
        if self.stopped {
            return Err(WriteError::Stopped);
        }
        if batch.len() > JOURNAL_CHUNK_BYTES_MAX {
            return Err(WriteError::Batch(batch.len()));
        }
        if self.pending.0.len() + batch.len() > JOURNAL_CHUNK_BYTES_MAX {
            self.flush()?;
        }
        self.pending.push(batch);
        Ok(())
    }

    /// Writes what is due.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn tick(&mut self, now: Moment) -> Result<(), WriteError> {
        self.now = now;
        if self.stopped {
            return Err(WriteError::Stopped);
        }
        if now.at.saturating_duration_since(self.flushed_at) >= JOURNAL_FLUSH {
            self.flush()?;
        }
        if now.at.saturating_duration_since(self.checkpoint_at) >= JOURNAL_CHECKPOINT {
            self.put(Kind::Checkpoint)?;
            self.checkpoint_at = now.at;
        }
        let is_full = |file: &File| {
            let early = self.early(file).is_some_and(|(at, bytes)| {
                file.bytes >= bytes || at.is_some_and(|at| now.at >= at)
            });
            early || file.bytes >= self.file_bytes_max
        };
        if self.file.as_ref().is_some_and(is_full) {
            self.rotate()?;
        }
        Ok(())
    }

    /// From when on, and at which size, a file ends before it is full. One without a batch stays: while a
    /// recording is paused no files are begun.
    fn early(&self, file: &File) -> Option<(Option<Instant>, u64)> {
        let rotation = self.rotation.filter(|_| file.has_batch)?.of(file.header.file);
        Some((file.begun_at.checked_add(rotation.after), rotation.bytes))
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let checkpoint = self.checkpoint_at + JOURNAL_CHECKPOINT;
        let flush = (!self.pending.0.is_empty()).then(|| self.flushed_at + JOURNAL_FLUSH);
        let rotation = self.file.as_ref().and_then(|file| self.early(file)?.0);
        [flush, rotation].into_iter().flatten().fold(checkpoint, Instant::min)
    }

    /// Writes what is pending and signs the end.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn close(mut self, now: Moment) -> Result<Stats, WriteError> {
        self.now = now;
        if self.stopped {
            return Err(WriteError::Stopped);
        }
        self.flush()?;
        self.put(Kind::End)?;
        Ok(self.stats)
    }

    /// What it did so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        if !self.pending.0.is_empty() {
            self.put(Kind::Batch)?;
            self.stats.plain_bytes += self.pending.0.len() as u64;
            self.pending.0.zeroize();
        }
        self.flushed_at = self.now.at;
        Ok(())
    }

    /// Signs that the file is full; the next chunk begins another.
    fn rotate(&mut self) -> Result<(), WriteError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        match self.chunk(&mut file, Kind::Rotation) {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => Err(self.stop(WriteError::DiskFull)),
            // The next one begins with a signature anyway.
            Err(_) => {
                self.stats.failures += 1;
                Ok(())
            }
        }
    }

    fn put(&mut self, kind: Kind) -> Result<(), WriteError> {
        self.with_new_files(|writer, file| writer.chunk(file, kind))
    }

    /// Does `work` with the open file; when that fails, with new ones. A file whose write or sync
    /// failed is never written again: what of it is on the disk is unknown, and asking twice gives a
    /// wrong answer (the kernel forgets what it could not write).
    fn with_new_files(
        &mut self,
        work: impl Fn(&mut Self, &mut File) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        for tries in 0.. {
            if self.file.is_none() && self.next_file as usize > JOURNAL_FILES_MAX {
                return Err(self.stop(WriteError::TooMany));
            }
            let open = self.file.take().map_or_else(|| self.begin(), Ok);
            let done = open.and_then(|mut file| work(self, &mut file).map(|()| file));
            let error = match done {
                Ok(file) => {
                    self.file = Some(file);
                    break;
                }
                Err(error) => error,
            };
            self.stats.failures += 1;
            if is_full(&error) {
                return Err(self.stop(WriteError::DiskFull));
            }
            if tries == JOURNAL_ROTATIONS_MAX {
                return Err(self.stop(WriteError::Disk(error)));
            }
        }
        Ok(())
    }

    fn stop(&mut self, error: WriteError) -> WriteError {
        self.stopped = true;
        self.pending.0.zeroize();
        error
    }

    /// A new file with its signed opening, safe on disk under its name.
    fn begin(&mut self) -> io::Result<File> {
        let number = self.next_file;
        let mut salt = [0; 16];
        fill_random(&mut salt);
        let mut capture_key = [0; 32];
        capture_key.copy_from_slice(self.capture.pair().public_key().as_ref());
        let header = Header {
            file: number,
            recording: self.folder.recording(),
            key_id: self.key.id().0,
            salt,
            created_ms: self.now.unix_ms,
            run: self.run,
            base: self.stats.chunks,
            previous: self.previous.0,
            capture_key,
        };
        let created = self.disk.create(&self.folder.file(number));
        // A number is used up by a file of it, ours or not: so a number without a file means that one
        // was taken away.
        if created.as_ref().map_or_else(is_there, |_| true) {
            self.next_file = number.saturating_add(1);
        }
        let mut sink = created?;
        self.stats.files += 1;
        let bytes = header.write();
        self.stats.file_bytes += bytes.len() as u64;
        sink.write(&bytes)?;
        let cipher = FileCipher::new(&self.key, &header);
        let chain = Chain::start(&header);
        let (bytes, begun_at) = (bytes.len() as u64, self.now.at);
        let has_batch = false;
        let mut file = File { sink, cipher, chain, seq: 0, bytes, header, begun_at, has_batch };
        self.chunk(&mut file, Kind::Opening)?;
        self.disk.sync_dir(self.folder.path())?;
        Ok(file)
    }

    /// Seals a chunk, writes it and waits for the disk.
    fn chunk(&mut self, file: &mut File, kind: Kind) -> io::Result<()> {
        let signed;
        let plain: &[u8] = match kind {
            Kind::Batch => &self.pending.0,
            _ => {
                let place =
                    Checkpoint::at(&file.header, file.seq, kind, file.chain, self.now.unix_ms);
                signed = place.sign(self.capture.pair()).body();
                &signed
            }
        };
        let head = ChunkHead { seq: file.seq, length: plain.len(), kind };
        file.cipher.seal(file.chain, head, plain, &mut self.sealed);
        self.stats.file_bytes += self.sealed.len() as u64;
        file.sink.write(&self.sealed)?;
        let started = Instant::now();
        let synced = file.sink.sync();
        self.stats.synced(started.elapsed());
        synced?;
        file.chain = file.chain.after(&self.sealed);
        file.seq += 1;
        file.bytes += self.sealed.len() as u64;
        self.previous = file.chain;
        match kind {
            Kind::Batch => {
                self.stats.chunks += 1;
                file.has_batch = true;
            }
            _ => self.stats.checkpoints += 1,
        }
        Ok(())
    }
}

fn is_there(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

/// The file that is being written.
struct File {
    sink: Box<dyn Sink>,
    header: Header,
    cipher: FileCipher,
    chain: Chain,
    seq: u64,
    bytes: u64,
    begun_at: Instant,
    has_batch: bool,
}

/// Plaintext that waits for the disk; wiped wherever it was.
#[derive(Default)]
struct Pending(Zeroizing<Vec<u8>>);

impl Pending {
    fn push(&mut self, batch: &[u8]) {
        let wanted = self.0.len() + batch.len();
        if wanted > self.0.capacity() {
            // By hand: growing in place would leave a copy behind.
            let mut more = Zeroizing::new(Vec::with_capacity(wanted.next_power_of_two()));
            more.extend_from_slice(&self.0);
            self.0 = more;
        }
        self.0.extend_from_slice(batch);
    }
}

#[cfg(test)]
mod tests;
