//! Who gets whose media: rooms, permissions, tracks, slots, and the forwarding step itself. No
//! addresses and no keys; sealing goes through the transport session that is handed in.

pub mod allocate;
pub mod audience;
pub mod forward;
pub mod negotiate;
pub mod permission;
pub mod room;
pub mod speaker;
pub mod subscription;
pub mod tap;
pub mod track;
