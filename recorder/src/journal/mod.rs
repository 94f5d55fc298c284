//! The journal: what was tapped of a recording, encrypted, append-only, on this machine's disk until
//! it is finalized. Batches of tap records are opaque here, and a chunk holds whole batches.
//!
//! ```text
//! folder <recording id>/     keys.json, 00000001.journal, 00000002.journal …
//! file    header │ chunk 0: opening │ chunk │ chunk │ …           (all integers little endian)
//!
//! header  0 magic "CNCLVJNL" │ 8 version u32 = 1 │ 12 file u32 │ 16 recording u128
//! (152)   32 key id [16] │ 48 salt [16] │ 64 created u64, ms since 1970 │ 72 run u64 │ 80 base u64
//!         88 previous [32] │ 120 capture key [32]
//! chunk   0 seq u64 │ 8 length u32 │ 12 kind u8 │ 13 zero [3] │ 16 ciphertext [length] │ tag [16]
//! kinds   1 batch   2 opening   3 checkpoint   4 rotation   5 end
//! 2 to 5  plaintext: time u64, ms since 1970 │ Ed25519 signature [64]
//! ```
//!
//! - key of a file: HKDF-SHA256 of the data key with the file's salt, use and number ([`crate::key`]);
//!   AES-256-GCM; nonce: four zero bytes and seq. A file is never opened again to append, so no nonce
//!   is used twice; with the random salt not even when a number is used again after a loss.
//! - chain: `c₀ = SHA-256("conclave journal chain v1\0" │ header)`, `cₙ₊₁ = SHA-256(cₙ │ chunk n)`. The
//!   authenticated data of chunk n is `cₙ` and its first 16 bytes. Whoever has the chain head of a
//!   checkpoint proves with the ciphertext alone that nothing before it was changed.
//! - a checkpoint signs `"conclave journal checkpoint v1\0" │ recording │ file │ seq │ kind │ cₛₑ_q │
//!   time` with the capture key of the header.
//! - run, base: a process that records draws a run at random; base is how many batch chunks of the
//!   run were safe on disk when the file was begun, so each has a number within the run. What a
//!   failed file and its successor both have is given once. previous: the chain head after the last
//!   chunk of the run that was safe then, zeros in the run's first file.
//!
//! A chunk is written by one `write` and one `fdatasync`. An error of either is final for the file:
//! the chunk that was not acknowledged goes into the next one.

mod chain;
mod cipher;
mod disk;
mod folder;
mod format;
mod frames;
mod reader;
mod replay;
mod rotation;
mod space;
mod stats;
mod structure;
mod writer;

pub use chain::Checkpoint;
pub(crate) use disk::is_full;
#[cfg(test)]
pub(crate) use disk::{Disk, Sink, SystemDisk};
pub use folder::{Folder, FolderError};
pub use format::{Header, HeaderError, Kind};
pub use frames::{Ending, Flaw};
pub use reader::{Batch, Entry, OpenError, Reader};
pub use replay::{FileFound, FileReport, Replay};
pub use rotation::Rotation;
pub use space::{Space, Watermark};
pub use stats::Stats;
pub use structure::Structure;
pub use writer::{Moment, WriteError, Writer};
