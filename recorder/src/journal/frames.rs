//! Cuts a journal into chunks and says how it ends. Knows no key: what it finds in order may still be
//! forged. The fuzz target compiles this file by itself.

use std::io::{self, Read};

use super::format::{
    CHUNK_HEAD_BYTES, ChunkHead, ChunkHeadError, HEADER_BYTES, Header, HeaderError, Kind, TAG_BYTES,
};

/// How a file ends. Chunks before the end are good in each case.
#[derive(Debug)]
pub enum Ending {
    /// With a last signed chunk.
    Whole {
        /// Whether the recording ended too, or goes on in the next file.
        last: bool,
    },
    /// Without one, as a crash leaves it: behind a chunk, within one, or in zeros that the file system
    /// had reserved.
    Truncated {
        /// Where the chunk that is not whole begins; the file's length when none does.
        offset: u64,
        /// Bytes from there on.
        rest: u64,
    },
    /// In a chunk that is not what was written. Nothing behind it can be trusted.
    Tampered {
        /// Where that chunk begins.
        offset: u64,
        /// Its number, by count.
        seq: u64,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// It cannot be read further: environment.
    Unreadable {
        /// Where.
        offset: u64,
        /// What the system said.
        error: io::Error,
    },
}

/// What is wrong with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Its head.
    #[error(transparent)]
    Head(#[from] ChunkHeadError),
    /// Another chunk was expected here.
    #[error("it says that it is chunk {found}")]
    Sequence {
        /// The number that it has.
        found: u64,
    },
    /// The first chunk is no opening, or another one is.
    #[error("an opening must be the first chunk and no other")]
    Opening,
    /// Bytes follow the last chunk.
    #[error("bytes follow the last chunk")]
    Behind,
    /// The tag is not of this ciphertext, head, chain and key.
    #[error("its tag is wrong")]
    Tag,
    /// The signature is not of this place by the capture key.
    #[error("its signature is wrong")]
    Signature,
}

/// A chunk as it lies in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// Where it begins.
    pub(crate) offset: u64,
    pub(crate) head: ChunkHead,
}

/// Reads frames. Memory: one chunk, of bounded length.
pub(crate) struct Frames<R> {
    input: R,
    offset: u64,
    seq: u64,
    closed: Option<Kind>,
}

impl<R: Read> Frames<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// The input's, or what is wrong with the header.
    pub(crate) fn open(mut input: R) -> io::Result<Result<(Header, Self), HeaderError>> {
        let mut bytes = [0; HEADER_BYTES];
        let len = fill(&mut input, &mut bytes)?;
        let offset = HEADER_BYTES as u64;
        let frames = |header| (header, Self { input, offset, seq: 0, closed: None });
        Ok(Header::parse(&bytes[..len]).map(frames))
    }

    /// The next chunk; its bytes (head, ciphertext, tag) are put into `chunk`.
    ///
    /// # Errors
    /// How the file ends.
    pub(crate) fn next(&mut self, chunk: &mut Vec<u8>) -> Result<Frame, Ending> {
        let mut head_bytes = [0; CHUNK_HEAD_BYTES];
        let read = fill(&mut self.input, &mut head_bytes).map_err(|e| self.unreadable(e))?;
        if read < CHUNK_HEAD_BYTES {
            return Err(self.ending(&head_bytes[..read]));
        }
        if head_bytes == [0; CHUNK_HEAD_BYTES] && self.closed.is_none() {
            return Err(self.zeros());
        }
        let head = self.check(&head_bytes).map_err(|flaw| self.tampered(flaw))?;
        chunk.clear();
        chunk.extend_from_slice(&head_bytes);
        chunk.resize(CHUNK_HEAD_BYTES + head.length + TAG_BYTES, 0);
        let read = fill(&mut self.input, &mut chunk[CHUNK_HEAD_BYTES..])
            .map_err(|e| self.unreadable(e))?;
        if read < head.length + TAG_BYTES {
            return Err(self.truncated((CHUNK_HEAD_BYTES + read) as u64));
        }
        let frame = Frame { offset: self.offset, head };
        self.offset += chunk.len() as u64;
        self.seq += 1;
        self.closed = head.kind.closes().then_some(head.kind);
        Ok(frame)
    }

    /// What a whole head says, against what must come here.
    fn check(&self, bytes: &[u8; CHUNK_HEAD_BYTES]) -> Result<ChunkHead, Flaw> {
        if self.closed.is_some() {
            return Err(Flaw::Behind);
        }
        let head = ChunkHead::parse(bytes)?;
        if head.seq != self.seq {
            return Err(Flaw::Sequence { found: head.seq });
        }
        if (head.kind == Kind::Opening) != (head.seq == 0) {
            return Err(Flaw::Opening);
        }
        Ok(head)
    }

    /// No whole head follows.
    fn ending(&self, rest: &[u8]) -> Ending {
        match self.closed {
            Some(kind) if rest.is_empty() => Ending::Whole { last: kind == Kind::End },
            Some(_) => self.tampered(Flaw::Behind),
            None => self.truncated(rest.len() as u64),
        }
    }

    /// Zeros to the end are a length that reached the disk without the bytes.
    fn zeros(&mut self) -> Ending {
        let mut block = [0; 4096];
        let mut rest = CHUNK_HEAD_BYTES as u64;
        loop {
            match fill(&mut self.input, &mut block) {
                Err(error) => return self.unreadable(error),
                Ok(0) => return self.truncated(rest),
                Ok(read) if block[..read].iter().all(|b| *b == 0) => rest += read as u64,
                Ok(_) => return self.tampered(Flaw::Head(ChunkHeadError::Kind)),
            }
        }
    }

    /// The last frame was not what it seemed.
    pub(crate) fn refuse(frame: &Frame, flaw: Flaw) -> Ending {
        Ending::Tampered { offset: frame.offset, seq: frame.head.seq, flaw }
    }

    fn truncated(&self, rest: u64) -> Ending {
        Ending::Truncated { offset: self.offset, rest }
    }

    fn tampered(&self, flaw: Flaw) -> Ending {
        Ending::Tampered { offset: self.offset, seq: self.seq, flaw }
    }

    fn unreadable(&self, error: io::Error) -> Ending {
        Ending::Unreadable { offset: self.offset, error }
    }
}

/// Fills `out` or reads to the end; returns how much was read.
fn fill(input: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < out.len() {
        match input.read(&mut out[len..]) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}
