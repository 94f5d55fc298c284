//! The bytes of headers, as documented in the module above. No input, no crypto: the fuzz target
//! compiles this file by itself.

use sfu_proto::id::RecordingId;

use crate::limits::JOURNAL_CHUNK_BYTES_MAX;

/// First bytes of every file.
pub(crate) const MAGIC: [u8; 8] = *b"CNCLVJNL";
/// The version that is written and read.
pub(crate) const VERSION: u32 = 1;
/// Bytes of a file's header.
pub(crate) const HEADER_BYTES: usize = 152;
/// Bytes in front of a chunk's ciphertext.
pub(crate) const CHUNK_HEAD_BYTES: usize = 16;
/// Bytes behind it.
pub(crate) const TAG_BYTES: usize = 16;
/// Plaintext of every chunk that is no batch: time and signature.
pub(crate) const CHECKPOINT_BYTES: usize = 8 + 64;

/// Header of a file. Nothing in it is secret; all of it is authenticated by the first chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Number of the file in its recording, from 1.
    pub file: u32,
    /// The recording.
    pub recording: RecordingId,
    /// Name of the data key.
    pub key_id: [u8; 16],
    /// Random; makes the file's key its own.
    pub salt: [u8; 16],
    /// When the file was begun, milliseconds since 1970.
    pub created_ms: u64,
    /// Names the process that writes.
    pub run: u64,
    /// Batch chunks of the run in the files before.
    pub base: u64,
    /// Chain head after the last chunk of the run that was safe on disk, or zeros.
    pub previous: [u8; 32],
    /// Ed25519 public key of who signs the checkpoints.
    pub capture_key: [u8; 32],
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has: a crash at the very beginning.
    #[error("{0} bytes are no header")]
    Short(usize),
    /// Something else than a journal.
    #[error("no journal: the first bytes are not CNCLVJNL")]
    Magic,
    /// Of another version of the program.
    #[error("journal version {0} is not known here")]
    Version(u32),
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        let parts: [&[u8]; 11] = [
            &MAGIC,
            &VERSION.to_le_bytes(),
            &self.file.to_le_bytes(),
            &self.recording.bits().to_le_bytes(),
            &self.key_id,
            &self.salt,
            &self.created_ms.to_le_bytes(),
            &self.run.to_le_bytes(),
            &self.base.to_le_bytes(),
            &self.previous,
            &self.capture_key,
        ];
        let mut out = [0; HEADER_BYTES];
        let mut rest = &mut out[..];
        for part in parts {
            let (here, behind) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = behind;
        }
        out
    }

    /// Reads the first [`HEADER_BYTES`] bytes of a file.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(HeaderError::Short(bytes.len()))?;
        let version = u32::from_le_bytes(at(bytes, 8));
        match () {
            () if bytes[..8] != MAGIC => Err(HeaderError::Magic),
            () if version != VERSION => Err(HeaderError::Version(version)),
            () => Ok(Self {
                file: u32::from_le_bytes(at(bytes, 12)),
                recording: RecordingId::from_bits(u128::from_le_bytes(at(bytes, 16))),
                key_id: at(bytes, 32),
                salt: at(bytes, 48),
                created_ms: u64::from_le_bytes(at(bytes, 64)),
                run: u64::from_le_bytes(at(bytes, 72)),
                base: u64::from_le_bytes(at(bytes, 80)),
                previous: at(bytes, 88),
                capture_key: at(bytes, 120),
            }),
        }
    }
}

/// `N` bytes from `from` on. The caller has seen that they are there.
fn at<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[from + i])
}

/// What a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Tap records.
    Batch = 1,
    /// Signature, first chunk of every file.
    Opening = 2,
    /// Signature, every ten seconds.
    Checkpoint = 3,
    /// Signature, last chunk of a file after which the recording goes on in the next.
    Rotation = 4,
    /// Signature, last chunk of the recording.
    End = 5,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        [Self::Batch, Self::Opening, Self::Checkpoint, Self::Rotation, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// No chunk follows in the file.
    #[must_use]
    pub fn closes(self) -> bool {
        matches!(self, Self::Rotation | Self::End)
    }

    fn length_fits(self, length: usize) -> bool {
        match self {
            Self::Batch => (1..=JOURNAL_CHUNK_BYTES_MAX).contains(&length),
            _ => length == CHECKPOINT_BYTES,
        }
    }
}

/// What stands in front of a chunk's ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    /// Number of the chunk in its file, from 0; the nonce.
    pub(crate) seq: u64,
    /// Bytes of plaintext, as many as of ciphertext without tag.
    pub(crate) length: usize,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// Why bytes are no chunk head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkHeadError {
    /// Unknown kind, or bytes that must be zero are not.
    #[error("unknown kind of chunk")]
    Kind,
    /// Longer or shorter than such a chunk may be.
    #[error("a chunk of this kind is not {0} bytes long")]
    Length(u32),
}

impl ChunkHead {
    /// Its bytes.
    #[must_use]
    pub(crate) fn write(self) -> [u8; CHUNK_HEAD_BYTES] {
        let mut out = [0; CHUNK_HEAD_BYTES];
        out[..8].copy_from_slice(&self.seq.to_le_bytes());
        let length = u32::try_from(self.length).expect("a chunk is no longer than limits say");
        out[8..12].copy_from_slice(&length.to_le_bytes());
        out[12] = self.kind as u8;
        out
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`ChunkHeadError`].
    pub(crate) fn parse(bytes: &[u8; CHUNK_HEAD_BYTES]) -> Result<Self, ChunkHeadError> {
        let kind = Kind::parse(bytes[12]).filter(|_| bytes[13..] == [0; 3]);
        let kind = kind.ok_or(ChunkHeadError::Kind)?;
        let said = u32::from_le_bytes(at(bytes, 8));
        let length = said as usize;
        if !kind.length_fits(length) {
            return Err(ChunkHeadError::Length(said));
        }
        Ok(Self { seq: u64::from_le_bytes(at(bytes, 0)), length, kind })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn header(seed: u8) -> Header {
        let next = |n: u8| seed.wrapping_mul(31).wrapping_add(n);
        Header {
            file: u32::from_le_bytes([next(1); 4]),
            recording: RecordingId::from_bits(u128::from_le_bytes([next(2); 16])),
            key_id: [next(3); 16],
            salt: [next(4); 16],
            created_ms: u64::from_le_bytes([next(5); 8]),
            run: u64::from_le_bytes([next(6); 8]),
            base: u64::from_le_bytes([next(7); 8]),
            previous: [next(8); 32],
            capture_key: [next(9); 32],
        }
    }

    /// The offsets of docs/RECORDING.md, written out.
    #[test]
    fn a_header_lies_as_documented() {
        let bytes = header(0).write();
        assert_eq!(&bytes[..16], b"CNCLVJNL\x01\0\0\0\x01\x01\x01\x01");
        for (from, to, value) in [
            (16, 32, 2),
            (32, 48, 3),
            (48, 64, 4),
            (64, 72, 5),
            (72, 80, 6),
            (80, 88, 7),
            (88, 120, 8),
            (120, 152, 9),
        ] {
            assert!(bytes[from..to].iter().all(|b| *b == value), "{from}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let bytes = header(1).write();
        for len in 0..HEADER_BYTES {
            assert_eq!(Header::parse(&bytes[..len]), Err(HeaderError::Short(len)));
        }
        let mut other = bytes;
        other[0] ^= 1;
        assert_eq!(Header::parse(&other), Err(HeaderError::Magic));
        let mut newer = bytes;
        newer[8] = 2;
        assert_eq!(Header::parse(&newer), Err(HeaderError::Version(2)));
    }

    #[test]
    fn chunk_lengths_are_bounded_by_kind() {
        let head = |kind: u8, length: u32| {
            let mut bytes = [0; CHUNK_HEAD_BYTES];
            bytes[8..12].copy_from_slice(&length.to_le_bytes());
            bytes[12] = kind;
            ChunkHead::parse(&bytes)
        };
        let most = u32::try_from(JOURNAL_CHUNK_BYTES_MAX).unwrap();
        assert!(head(1, 1).is_ok() && head(1, most).is_ok());
        assert_eq!(head(1, 0), Err(ChunkHeadError::Length(0)));
        assert_eq!(head(1, most + 1), Err(ChunkHeadError::Length(most + 1)));
        for kind in 2..=5 {
            assert!(head(kind, 72).is_ok() && head(kind, 71).is_err() && head(kind, 73).is_err());
        }
        assert_eq!(head(0, 1), Err(ChunkHeadError::Kind));
        assert_eq!(head(6, 72), Err(ChunkHeadError::Kind));
    }

    proptest! {
        #[test]
        fn headers_read_back(seed: u8) {
            let header = header(seed);
            prop_assert_eq!(Header::parse(&header.write()), Ok(header));
        }

        #[test]
        fn any_chunk_head_that_parses_writes_the_same_bytes(bytes: [u8; 16], kind in 0u8..7) {
            let mut bytes = bytes;
            bytes[10..].copy_from_slice(&[0, 0, kind, 0, 0, 0]);
            if let Ok(head) = ChunkHead::parse(&bytes) {
                prop_assert_eq!(head.write(), bytes);
            }
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert_eq!(&header.write()[..], &bytes[..HEADER_BYTES]);
            }
        }
    }
}
