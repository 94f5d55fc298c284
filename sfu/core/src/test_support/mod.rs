//! The other side of the transport, for tests and load runs: a controlling ICE agent, DTLS client
//! and SRTP in one sans-I/O [`client::Client`], and a seeded [`network::Network`] of virtual time.
//!
//! Only with the feature `test-support`. Panics on misuse, as test code may; not for production.

pub mod client;
mod handshake;
pub mod ice_agent;
pub mod network;

pub use client::{Client, ClientConfig, ClientEvent, DtlsVersion, Transmit};
pub use network::{Link, Network};
