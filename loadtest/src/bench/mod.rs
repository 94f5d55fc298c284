//! Benchmarks that print what something costs beside what it must cost at least, measured in the
//! same run: absolute values move with the machine and its neighbours, ratios hold.

pub mod forward;

mod clock;
mod floor;
mod room;
mod sockets;
