//! The transport of one peer connection: ICE lite, DTLS, SRTP. It knows addresses and keys, but no
//! rooms and no tracks. What it must never do: let an unauthenticated byte change state.
//!
//! ```text
//! datagram ─ demux::classify ─┬ STUN  ─ Session::handle_stun  (integrity, then path table)
//!                             ├ DTLS  ─ Session::handle_dtls  (only from a validated path)
//!                             ├ RTP   ─ Session::open_rtp     (only from a validated path)
//!                             └ RTCP  ─ Session::open_rtcp
//! ```

mod consent;
pub mod demux;
pub mod dtls;
pub mod ice;
pub mod inbound;
pub mod limits;
pub mod outbound;
pub mod session;
pub mod srtp;
