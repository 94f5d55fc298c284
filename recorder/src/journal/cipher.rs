//! Seals and opens the chunks of one file.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::{
    chain::Chain,
    format::{CHUNK_HEAD_BYTES, ChunkHead, Header, TAG_BYTES},
};
use crate::key::{DataKey, Purpose};

/// What a tag covers besides the ciphertext: everything before in the file, and the chunk's head.
const AAD_BYTES: usize = 32 + CHUNK_HEAD_BYTES;

/// The key of one file.
pub(super) struct FileCipher(LessSafeKey);

impl FileCipher {
    pub(super) fn new(key: &DataKey, header: &Header) -> Self {
        Self(key.subkey(Purpose::Journal { file: header.file }, &header.salt).cipher())
    }

    /// Puts the whole chunk (head, ciphertext, tag) into `out`.
    pub(super) fn seal(&self, chain: Chain, head: ChunkHead, plain: &[u8], out: &mut Vec<u8>) {
        let bytes = head.write();
        out.clear();
        out.resize(CHUNK_HEAD_BYTES + plain.len() + TAG_BYTES, 0);
        let (front, rest) = out.split_at_mut(CHUNK_HEAD_BYTES);
        front.copy_from_slice(&bytes);
        let (sealed, tag) = rest.split_at_mut(plain.len());
        let aad = Aad::from(aad(chain, &bytes));
        self.0
            .seal_out_of_place_scatter(nonce(head.seq), aad, plain, sealed, &[], tag)
            .expect("a chunk is far shorter than AES-GCM allows");
    }

    /// Opens a whole chunk in place; `None` when its tag is wrong.
    pub(super) fn open<'c>(
        &self,
        chain: Chain,
        head: ChunkHead,
        chunk: &'c mut [u8],
    ) -> Option<&'c [u8]> {
        let (front, sealed) = chunk.split_first_chunk_mut::<CHUNK_HEAD_BYTES>()?;
        let aad = Aad::from(aad(chain, front));
        self.0.open_in_place(nonce(head.seq), aad, sealed).ok().map(|plain| &*plain)
    }
}

fn aad(chain: Chain, head: &[u8; CHUNK_HEAD_BYTES]) -> [u8; AAD_BYTES] {
    let mut aad = [0; AAD_BYTES];
    aad[..32].copy_from_slice(&chain.0);
    aad[32..].copy_from_slice(head);
    aad
}

/// A number is used once in a file, and the file has a key of its own.
fn nonce(seq: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&seq.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}
