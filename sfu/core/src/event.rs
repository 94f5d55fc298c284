//! What goes into a shard and comes out of it besides packets. Both are the control contract of
//! `sfu-proto`, named here so that the shell needs one import.

pub use sfu_proto::control::{Command, EndReason, Event, Permissions, Publish, SlotState, Source};
