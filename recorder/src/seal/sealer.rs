//! Seals a stream.

use std::io::{self, Read, Write};

use age::{Encryptor, stream::StreamWriter};
use zeroize::Zeroizing;

use super::{Recipients, merkle::Merkle};
use crate::digest::{Digest, Hashed, Hasher};

/// Bytes that are read at once: a chunk of age.
const PIECE_BYTES: usize = 64 * 1024;

/// What is known of an artifact when it is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes of the ciphertext.
    pub bytes: u64,
    /// SHA-256 of the ciphertext.
    pub sha256: Digest,
    /// Bytes of the plaintext.
    pub plain_bytes: u64,
    /// SHA-256 of the plaintext.
    pub plain_sha256: Digest,
    /// Merkle root of the plaintext ([`super::merkle_root`]).
    pub merkle_root: Digest,
}

/// Why sealing failed; what was written is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Caller: the plaintext could not be read to its end.
    #[error("the plaintext ends early: {0}")]
    Input(io::Error),
    /// Environment: the ciphertext could not be written.
    #[error("the ciphertext cannot be written: {0}")]
    Output(io::Error),
}

/// Seals what is written to it. Without [`Sealer::finish`] the result is cut off and does not open.
pub struct Sealer<W: Write> {
    sealed: StreamWriter<Hashed<W>>,
    plain: Hasher,
    merkle: Merkle,
    plain_bytes: u64,
}

impl<W: Write> Sealer<W> {
    /// Begins an artifact that any one of `recipients` can open.
    ///
    /// # Errors
    /// What `output` fails with.
    pub fn new(output: W, recipients: &Recipients) -> io::Result<Self> {
        let all = recipients.as_slice().iter().map(|one| one as &dyn age::Recipient);
        let encryptor = Encryptor::with_recipients(all).map_err(io::Error::other)?;
        let sealed = encryptor.wrap_output(Hashed::new(output))?;
        Ok(Self { sealed, plain: Hasher::new(), merkle: Merkle::new(), plain_bytes: 0 })
    }

    /// Writes the last chunk and gives the output back, flushed.
    ///
    /// # Errors
    /// What the output fails with.
    pub fn finish(self) -> io::Result<(W, Sealed)> {
        let mut hashed = self.sealed.finish()?;
        hashed.flush()?;
        let (output, bytes, sha256) = hashed.finish();
        let sealed = Sealed {
            bytes,
            sha256,
            plain_bytes: self.plain_bytes,
            plain_sha256: self.plain.finish(),
            merkle_root: self.merkle.finish(),
        };
        Ok((output, sealed))
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, plaintext: &[u8]) -> io::Result<usize> {
        let written = self.sealed.write(plaintext)?;
        self.plain.update(&plaintext[..written]);
        self.merkle.update(&plaintext[..written]);
        self.plain_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sealed.flush()
    }
}

/// Seals all of `input` into `output`.
///
/// # Errors
/// [`SealError`].
pub fn seal<R: Read, W: Write>(
    mut input: R,
    output: W,
    recipients: &Recipients,
) -> Result<Sealed, SealError> {
    let mut sealer = Sealer::new(output, recipients).map_err(SealError::Output)?;
    let mut piece = Zeroizing::new(vec![0; PIECE_BYTES]);
    loop {
        match input.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => sealer.write_all(&piece[..n]).map_err(SealError::Output)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SealError::Input(error)),
        }
    }
    sealer.finish().map(|(_, sealed)| sealed).map_err(SealError::Output)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use age::x25519::Identity;

    use super::*;
    use crate::seal::merkle_root;

    fn recipients() -> Recipients {
        Recipients::parse(&[Identity::generate().to_public().to_string()]).unwrap()
    }

    #[test]
    fn what_is_said_of_the_artifact_is_so() {
        let plain: Vec<u8> = (0..3_000_000u32).map(|i| (i * 7) as u8).collect();
        let mut output = Vec::new();
        let sealed = seal(&plain[..], &mut output, &recipients()).unwrap();
        let wanted = Sealed {
            bytes: output.len() as u64,
            sha256: Digest::of(&output),
            plain_bytes: plain.len() as u64,
            plain_sha256: Digest::of(&plain),
            merkle_root: merkle_root(&plain),
        };
        assert_eq!(sealed, wanted);
        let seen = |part: &[u8]| output.windows(part.len()).any(|window| window == part);
        assert!(!seen(&plain[..16]) && seen(b"age-encryption.org/v1\n"));
    }

    #[test]
    fn both_ends_are_told_apart() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("in"))
            }
        }
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let to = recipients();
        assert!(matches!(seal(Broken, io::sink(), &to), Err(SealError::Input(_))));
        for room in [0, 100, 100_000] {
            let full = seal(&[0; 200_000][..], Full(room), &to);
            assert!(matches!(full, Err(SealError::Output(_))), "{room}");
        }
    }
}
