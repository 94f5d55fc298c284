//! Opens sealed artifacts: what `age -d` does, for `conclave recording verify`.

use std::{
    cell::Cell,
    io::{self, BufReader, Read, Write},
    rc::Rc,
    str::FromStr as _,
};

use age::{DecryptError, Decryptor, secrecy::ExposeSecret as _, x25519::Identity};
use zeroize::Zeroizing;

use super::{Fingerprint, merkle::Merkle};
use crate::{
    digest::{Digest, Hasher},
    key::{
        DataKey,
        partner::{self, PartnerError},
    },
    limits::{AGE_HEADER_BYTES_MAX, IDENTITIES_MAX},
};

/// Bytes that are read at once: a chunk of age.
const PIECE_BYTES: usize = 64 * 1024;

/// Secret keys that open artifacts. Never shown.
pub struct Identities(Vec<Identity>);

/// A new identity of age, as `age-keygen` writes it, and its public key. For whoever plays a partner.
#[must_use]
pub fn new_identity() -> (Zeroizing<String>, String) {
    let identity = Identity::generate();
    let (public, secret) = (identity.to_public().to_string(), identity.to_string());
    let text = format!("# public key: {public}\n{}\n", secret.expose_secret());
    (Zeroizing::new(text), public)
}

/// Why a text holds no identities. Lines are counted from 1; their text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Only comments and empty lines.
    #[error("the file holds no identity")]
    Nothing,
    /// More than [`IDENTITIES_MAX`].
    #[error("the file holds more than {IDENTITIES_MAX} identities")]
    TooMany,
    /// Another kind of key, or a mistyped one.
    #[error("line {0} is no X25519 identity of age (AGE-SECRET-KEY-1…)")]
    Malformed(usize),
}

/// Why an artifact does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Caller: it was sealed to others.
    #[error("it is not sealed to this identity")]
    OtherRecipient,
    /// It was changed or cut off, or is no `age` file. What was written so far is genuine.
    #[error("it is damaged or cut off")]
    Damaged,
    /// Environment: the ciphertext cannot be read.
    #[error("it cannot be read: {0}")]
    Input(io::Error),
    /// Environment: the plaintext cannot be written.
    #[error("the plaintext cannot be written: {0}")]
    Output(io::Error),
}

/// What was found inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Bytes of the plaintext.
    pub plain_bytes: u64,
    /// SHA-256 of the plaintext.
    pub plain_sha256: Digest,
    /// Merkle root of the plaintext.
    pub merkle_root: Digest,
}

impl Identities {
    /// Reads the text of an identity file, as `age-keygen` writes it.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let mut found = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if found.len() == IDENTITIES_MAX {
                return Err(IdentityError::TooMany);
            }
            found.push(Identity::from_str(line).map_err(|_| IdentityError::Malformed(i + 1))?);
        }
        if found.is_empty() { Err(IdentityError::Nothing) } else { Ok(Self(found)) }
    }

    /// Opens the partner's wrap of a data key with whichever of them can.
    ///
    /// # Errors
    /// [`PartnerError::Unwrap`] when none can.
    pub fn data_key(&self, armored: &str) -> Result<DataKey, PartnerError> {
        let opened = self.0.iter().find_map(|one| partner::unwrap(armored, one).ok());
        opened.ok_or(PartnerError::Unwrap)
    }

    /// Fingerprints of their public keys.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.iter().map(|one| Fingerprint::of(&one.to_public())).collect()
    }
}

/// Opens `input` and writes its plaintext to `output`, chunk by chunk, each verified before.
///
/// # Errors
/// [`OpenError`].
pub fn open<R: Read, W: Write>(
    input: R,
    mut output: W,
    identities: &Identities,
) -> Result<Opened, OpenError> {
    let left = Rc::new(Cell::new(AGE_HEADER_BYTES_MAX));
    let input = BufReader::new(Limited { inner: input, left: Rc::clone(&left) });
    let decryptor = Decryptor::new_buffered(input).map_err(from_age)?;
    left.set(u64::MAX);
    let all = identities.0.iter().map(|one| one as &dyn age::Identity);
    let mut plaintext = decryptor.decrypt(all).map_err(from_age)?;
    let (mut plain, mut merkle, mut plain_bytes) = (Hasher::new(), Merkle::new(), 0);
    let mut piece = Zeroizing::new(vec![0; PIECE_BYTES]);
    loop {
        let read = match plaintext.read(&mut piece).map_err(from_io)? {
            0 => break,
            n => &piece[..n],
        };
        plain.update(read);
        merkle.update(read);
        plain_bytes += read.len() as u64;
        output.write_all(read).map_err(OpenError::Output)?;
    }
    Ok(Opened { plain_bytes, plain_sha256: plain.finish(), merkle_root: merkle.finish() })
}

fn from_age(error: DecryptError) -> OpenError {
    match error {
        DecryptError::NoMatchingKeys => OpenError::OtherRecipient,
        DecryptError::Io(error) => from_io(error),
        _ => OpenError::Damaged,
    }
}

/// The `age` crate tells of damage by these kinds.
fn from_io(error: io::Error) -> OpenError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => OpenError::Damaged,
        _ => OpenError::Input(error),
    }
}

/// Ends with an error when the header of a hostile file does not end: the `age` crate would keep all
/// of it in memory.
struct Limited<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left.get()).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let end = buffer.len().min(left);
        let read = self.inner.read(&mut buffer[..end])?;
        self.left.set(self.left.get() - read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use age::secrecy::ExposeSecret as _;

    use super::*;
    use crate::seal::{Recipients, seal};

    fn identities(identity: &Identity) -> Identities {
        Identities::parse(identity.to_string().expose_secret()).unwrap()
    }

    fn sealed(plain: &[u8], to: &Identity) -> Vec<u8> {
        let to = Recipients::parse(&[to.to_public().to_string()]).unwrap();
        let mut output = Vec::new();
        seal(plain, &mut output, &to).unwrap();
        output
    }

    #[test]
    fn any_length_opens_to_what_was_sealed() {
        let identity = Identity::generate();
        for n in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let plain: Vec<u8> = (0..n).map(|i| (i / 3) as u8).collect();
            let mut output = Vec::new();
            let opened =
                open(&sealed(&plain, &identity)[..], &mut output, &identities(&identity)).unwrap();
            assert!(output == plain, "{n}");
            assert_eq!(opened.plain_sha256, Digest::of(&plain));
            assert_eq!(opened.plain_bytes, n as u64);
        }
    }

    #[test]
    fn each_bit_and_each_cut_is_noticed() {
        let identity = Identity::generate();
        let keys = identities(&identity);
        let good = sealed(b"eight bytes or some more", &identity);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&bad[..], io::sink(), &keys).is_err(), "bit {bit}");
        }
        for cut in 0..good.len() {
            assert!(open(&good[..cut], io::sink(), &keys).is_err(), "cut at {cut}");
        }
        let long = [&good[..], b"x"].concat();
        assert!(matches!(open(&long[..], io::sink(), &keys), Err(OpenError::Damaged)));
    }

    #[test]
    fn a_cut_between_chunks_is_noticed() {
        let identity = Identity::generate();
        let good = sealed(&[7; 4 * PIECE_BYTES], &identity);
        let chunk = PIECE_BYTES + 16;
        let head = good.len() - 4 * chunk;
        for chunks in 0..4 {
            let cut = &good[..head + chunks * chunk];
            let found = open(cut, io::sink(), &identities(&identity));
            assert!(matches!(found, Err(OpenError::Damaged)), "{chunks}");
        }
    }

    #[test]
    fn others_cannot_open_it() {
        let (ours, other) = (Identity::generate(), Identity::generate());
        let found = open(&sealed(b"x", &ours)[..], io::sink(), &identities(&other));
        assert!(matches!(found, Err(OpenError::OtherRecipient)));
    }

    #[test]
    fn a_header_without_end_is_given_up_early() {
        let read = Rc::new(Cell::new(0u64));
        struct Endless(Rc<Cell<u64>>);
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer.fill(b'a');
                self.0.set(self.0.get() + buffer.len() as u64);
                Ok(buffer.len())
            }
        }
        let head = &b"age-encryption.org/v1\n-> X25519 "[..];
        let keys = identities(&Identity::generate());
        let found = open(head.chain(Endless(Rc::clone(&read))), io::sink(), &keys);
        assert!(matches!(found, Err(OpenError::Damaged)));
        assert!(read.get() <= 2 * AGE_HEADER_BYTES_MAX, "{}", read.get());
    }

    #[test]
    fn identity_files_are_read_as_age_keygen_writes_them() {
        let identity = Identity::generate();
        let public = identity.to_public().to_string();
        let secret = identity.to_string();
        let file = format!("# created: 2026\n# public key: {public}\n{}\n", secret.expose_secret());
        let found = Identities::parse(&file).unwrap().fingerprints();
        assert_eq!(found, Recipients::parse(&[public.as_str()]).unwrap().fingerprints());
        assert_eq!(Identities::parse("# x\n\n").err(), Some(IdentityError::Nothing));
        assert_eq!(Identities::parse(&public).err(), Some(IdentityError::Malformed(1)));
        let many = format!("{}\n", secret.expose_secret()).repeat(IDENTITIES_MAX + 1);
        assert_eq!(Identities::parse(&many).err(), Some(IdentityError::TooMany));
    }
}
