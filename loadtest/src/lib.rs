//! Scripted peers and benchmarks. Nobody depends on this package.
//!
//! - [`peer`]: an independent WebRTC implementation (webrtc-rs) over WHIP and WHEP.
//! - [`bench`]: the cost of forwarding beside the floor measured in the same run.

pub mod bench;
pub mod peer;
