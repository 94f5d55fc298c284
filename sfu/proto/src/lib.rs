//! What leaves a media process, as plain data: wire formats (STUN, RTP, RTCP, SDP, link), ids and units,
//! and the control messages between signaling and a media node.
//!
//! No sockets, no clocks, no threads, no keys. Everything here parses hostile bytes: every parser
//! returns a typed error, never panics, allocates at most in proportion to its input, and has a
//! fuzz target under `fuzz/`.

pub mod control;
pub mod demux;
pub mod id;
pub mod limits;
pub mod link;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod stun;
pub mod tap;
pub mod unit;
