//! The only place with sockets: [`bind`] opens them, [`udp`] and [`tcp`] move bytes in batches.

pub mod bind;
pub mod tcp;
pub mod udp;
