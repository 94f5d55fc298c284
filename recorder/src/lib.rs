//! Recorder: stores a session briefly and encrypted, pushes it to the partner's storage, verifies
//! the receipt, purges, and can prove it.
//!
//! ```text
//! tap ─▶ journal ─▶ finalize ─▶ seal ─▶ push ─▶ verify ─▶ purge ─▶ receipt
//! ```
//!
//! It may use `sfu-proto`, `bus` and `egress`, never `sfu-core`, `sfu` or `signaling`.

mod align;
pub mod composite;
mod depacketize;
mod digest;
pub mod evidence;
pub mod finalize;
pub mod journal;
pub mod key;
pub mod limits;
mod mux;
pub mod recorded;
pub mod seal;
pub mod service;
pub mod storage;

pub use digest::{Digest, DigestError};
