//! Scripted peers and benchmarks. Nobody depends on this package.
//!
//! - [`peer`]: an independent WebRTC implementation (webrtc-rs) over WHIP and WHEP.
//! - [`conformance`]: the black-box cases of `sdk-spec/conformance` against any server.
//! - [`load`]: REST and WebSocket figures of a server, against their targets.
//! - [`recorder`]: recordings through kill -9, outages and with their figures.
//! - `bench` (feature of that name): the cost of forwarding beside the floor of the same run.

#[cfg(feature = "bench")]
pub mod bench;
pub mod conformance;
pub mod load;
pub mod peer;
pub mod recorder;
