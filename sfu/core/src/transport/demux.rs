//! First look at a datagram: which of the session's entrances it takes. Pure and stateless, so it
//! lives with the wire formats; whether the sender may be heard is decided behind each entrance.

pub use sfu_proto::demux::{Class, classify};

pub use super::ice::local_ufrag;
