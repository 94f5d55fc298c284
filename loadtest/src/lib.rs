//! Scripted peers and benchmarks. Nobody depends on this package.
//!
//! - [`peer`]: an independent WebRTC implementation (webrtc-rs) over WHIP and WHEP.
//! - `bench` (feature of that name): the cost of forwarding beside the floor of the same run.

#[cfg(feature = "bench")]
pub mod bench;
pub mod peer;
