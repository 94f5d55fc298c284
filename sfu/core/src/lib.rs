//! The forwarding unit as a state machine: `handle_*(input, now)` in, `poll_*()` out.
//!
//! No socket, clock, thread, lock or environment in here; randomness is a seeded generator that the
//! caller hands in. One [`shard::Shard`] owns its rooms, sessions, buffers and timers; several
//! shards share nothing.
//!
//! The hot path, in order: `transport/demux.rs` → `shard.rs` → `transport/inbound.rs` →
//! `router/forward.rs` → `transport/outbound.rs`.

pub mod config;
pub mod congestion;
pub mod event;
pub mod limits;
pub mod media;
pub mod path;
pub mod router;
pub mod shard;
pub mod slab;
pub mod stats;
pub mod table;
#[cfg(feature = "test-support")]
pub mod test_support;
pub mod timer;
pub mod transport;
