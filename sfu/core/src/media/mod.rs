//! What is known about one stream of packets, in either direction: reception and its gaps, the
//! packet cache, sequence rewriting, key frame pacing, loudness. No addresses, keys or rooms, and
//! never a payload byte.

pub mod frame;
pub mod gaps;
pub mod keyframe;
pub mod layer;
pub mod level;
pub mod reception;
pub mod resend;
pub mod rewrite;
pub mod simulcast;
pub mod stream;
