//! The hash chain of a file, and the signatures over it.

use aws_lc_rs::{
    digest::{Context, SHA256},
    signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey},
};
use sfu_proto::id::RecordingId;

use super::format::{CHECKPOINT_BYTES, Header, Kind};

const CHAIN: &[u8] = b"conclave journal chain v1\0";
const CHECKPOINT: &[u8] = b"conclave journal checkpoint v1\0";

/// Hash of everything in a file up to some chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain(pub(crate) [u8; 32]);

impl Chain {
    /// Of a header.
    pub(crate) fn start(header: &Header) -> Self {
        Self::of(CHAIN, &header.write())
    }

    /// Behind `chunk`: its head, ciphertext and tag.
    pub(crate) fn after(self, chunk: &[u8]) -> Self {
        Self::of(&self.0, chunk)
    }

    fn of(first: &[u8], second: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(first);
        context.update(second);
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }
}

/// A signed statement: at `time_ms` the journal was this and nothing else. It proves, to whoever keeps
/// it or its chain head, that nothing before it was changed later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The recording.
    pub recording: RecordingId,
    /// The file.
    pub file: u32,
    /// Chunks before it in the file.
    pub seq: u64,
    /// Why it was made.
    pub kind: Kind,
    /// Chain head before it.
    pub chain: [u8; 32],
    /// Milliseconds since 1970 on the node's clock.
    pub time_ms: u64,
    /// Ed25519, over [`Self::statement`].
    pub signature: [u8; 64],
}

impl Checkpoint {
    /// The bytes that are signed.
    #[must_use]
    pub fn statement(&self) -> Vec<u8> {
        [
            CHECKPOINT,
            &self.recording.bits().to_le_bytes(),
            &self.file.to_le_bytes(),
            &self.seq.to_le_bytes(),
            &[self.kind as u8],
            &self.chain,
            &self.time_ms.to_le_bytes(),
        ]
        .concat()
    }

    /// Whether `public`, an Ed25519 public key, signed it.
    #[must_use]
    pub fn verify(&self, public: &[u8; 32]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, public);
        key.verify(&self.statement(), &self.signature).is_ok()
    }

    /// Signs the place.
    pub(super) fn sign(mut self, key: &Ed25519KeyPair) -> Self {
        let signature = key.sign(&self.statement());
        self.signature.copy_from_slice(signature.as_ref());
        self
    }

    /// One for a place, not yet signed.
    pub(super) fn at(header: &Header, seq: u64, kind: Kind, chain: Chain, time_ms: u64) -> Self {
        Self {
            recording: header.recording,
            file: header.file,
            seq,
            kind,
            chain: chain.0,
            time_ms,
            signature: [0; 64],
        }
    }

    /// The plaintext of its chunk: what cannot be known from the place.
    pub(super) fn body(&self) -> [u8; CHECKPOINT_BYTES] {
        let mut body = [0; CHECKPOINT_BYTES];
        body[..8].copy_from_slice(&self.time_ms.to_le_bytes());
        body[8..].copy_from_slice(&self.signature);
        body
    }

    /// Takes over time and signature of a chunk's plaintext; `None` for another length.
    pub(super) fn with_body(mut self, body: &[u8]) -> Option<Self> {
        let (time, signature) = body.split_first_chunk::<8>()?;
        self.time_ms = u64::from_le_bytes(*time);
        self.signature = signature.try_into().ok()?;
        Some(self)
    }
}
