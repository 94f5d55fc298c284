//! Seals artifacts to the partner: `age` version 1, in one pass from a reader to a writer.
//!
//! ```text
//! plaintext ──▶ SHA-256 + Merkle root ──▶ age (64 KiB chunks) ──▶ SHA-256 ──▶ ciphertext
//! ```
//! Nothing is kept but a chunk, so an artifact of any size takes the same memory and its plaintext
//! never meets a disk. The stock `age` tool opens the result. What does not live here: the data key of
//! the journal, and what is said about artifacts (`evidence`).

mod merkle;
mod open;
mod recipients;
mod sealer;

pub use merkle::{SEGMENT_BYTES, merkle_root};
pub use open::{Identities, IdentityError, OpenError, Opened, new_identity, open};
pub(crate) use recipients::is_weak;
pub use recipients::{Fingerprint, RecipientError, Recipients};
pub use sealer::{SealError, Sealed, Sealer, seal};
