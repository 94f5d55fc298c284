//! Bounds of the bus.

use std::time::Duration;

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

/// Time for which nobody comes for what waits in a lane of the ring until it counts as stuck, if others are
/// worked on: ten times what a slow disk takes for a round. Batches for it that find no room are dropped
/// then, so that it does not hold up the others that came over the same link.
pub const LANE_STUCK: Duration = Duration::from_secs(5);
/// Recordings of a session of which is known what was dropped, until their journals can be told: many more
/// than a recorder writes at once.
pub const LINK_LOST_MAX: usize = 1024;

/// Bytes of batches that a media process keeps until the recorder acknowledged them, beside what the ring
/// holds: with both a recorder may be away for half a minute at 30 Mbit/s, a hundred small rooms' worth
/// for seconds, before anything is dropped.
pub const LINK_KEPT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of batches that go into one write: the most that TLS makes four records of.
pub const LINK_WRITE_BYTES: usize = 64 * 1024;
/// Time between two looks at what is to be acknowledged or answered.
pub const LINK_TICK: Duration = Duration::from_millis(50);
/// Time between two signs of life.
pub const LINK_LIFE: Duration = Duration::from_secs(1);
/// Silence after which a connection is dead.
pub const LINK_SILENCE: Duration = Duration::from_secs(5);
/// Longest way to a connection, and of each part of the handshake.
pub const LINK_CONNECT: Duration = Duration::from_secs(5);
/// First and longest time between two attempts to connect.
pub const LINK_AGAIN_MIN: Duration = Duration::from_millis(100);
/// See [`LINK_AGAIN_MIN`].
pub const LINK_AGAIN_MAX: Duration = Duration::from_secs(2);
/// Time between two looks at a full ring, while nothing is read of the connection.
pub const LINK_FULL_LOOK: Duration = Duration::from_millis(2);
/// Time between two marks of how far the ring was emptied.
pub const LINK_MARK: Duration = Duration::from_millis(250);
/// How long the end of a media process waits until the recorder has what it kept.
pub const LINK_END: Duration = Duration::from_secs(3);
/// Connections of known servers that a recorder has at once.
pub const LINK_CONNECTIONS_MAX: usize = 64;
/// Connections that have not proven their key yet, each for [`LINK_CONNECT`] at most. Who fills them keeps out
/// servers that connect again: the port is not for everybody.
pub const LINK_HANDSHAKES_MAX: usize = 256;
/// Sessions that a recorder remembers: those that were heard last.
pub const LINK_SESSIONS_MAX: usize = 64;
/// Questions under way in one connection. More are refused.
pub const LINK_ASKS_MAX: usize = 16;
/// Largest status, question or answer, bytes.
pub const LINK_BODY_BYTES_MAX: usize = 128 * 1024;
/// Time after which a session that is not heard any more has said all that it will.
pub const LINK_FORGET: Duration = Duration::from_secs(30);
/// Time after its start in which a recorder does not know yet who will connect again.
pub const LINK_GATHER: Duration = Duration::from_secs(3);
const _: () = assert!(LINK_BODY_BYTES_MAX < sfu_proto::limits::LINK_FRAME_BYTES_MAX);
