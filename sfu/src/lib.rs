//! The forwarding unit's shell: sockets, one worker thread per core, bus adapter, metrics.
//!
//! ```text
//!  bus ─▶ dispatch ─▶ mailbox ─▶ ┌ worker ────────────────────────┐
//!                                │ io::udp ─▶ sfu_core::Shard ─▶ io │  one thread, one port,
//!  bus ◀───────────── outbox ◀── └────────────────────────────────┘  nothing shared
//!  recorder ◀── bus::tap ◀──────────── what is recorded
//! ```
//!
//! [`Node::start`] is the way in. What is forwarded to whom is decided in `sfu_core`; here are
//! only threads, sockets, clocks and queues.
//!
//! The hot path: `worker.rs` → `sfu_core` → `io/udp.rs`.

pub mod config;
pub mod io;
pub mod limits;
pub mod metrics;
pub mod node;
pub mod stats;

mod address;
mod dispatch;
mod guard;
mod mailbox;
mod outbox;
mod worker;

pub use config::Config;
pub use node::{Node, NodeHandle, StartError, WorkerInfo};
