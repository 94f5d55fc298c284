//! Bounds of the bus.

/// Nodes registered at once. A cluster has tens; a thousand still lists in microseconds.
pub const NODES_MAX: usize = 1024;

/// Node ids whose last fencing number is remembered after they left. Nodes without a configured
/// id draw a new one at each start, so this must not grow with restarts.
pub const FENCES_MAX: usize = 16 * NODES_MAX;

/// Notices waiting for a subscriber. At 10,000 events per second (1,000 rooms with a speaker
/// change every 200 ms, twice over) a subscriber may stall for 0.8 s before it misses any.
/// At about 200 bytes each this is 1.6 MB.
pub const NOTICES_MAX: usize = 8192;
const _: () = assert!(NOTICES_MAX.is_power_of_two() && FENCES_MAX > NODES_MAX);
