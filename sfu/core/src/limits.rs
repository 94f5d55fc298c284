//! Every bound of the media core: name, unit, reason. Relations are checked at compile time below.

use std::time::Duration;

/// Rooms on one shard, unless configured. A room without sessions costs under 1 kB.
pub const ROOMS_PER_SHARD_DEFAULT: usize = 4_096;
/// Sessions on one shard, unless configured. About 1.5 kB hot and 60 kB cold each.
pub const SESSIONS_PER_SHARD_DEFAULT: usize = 4_096;
/// Packets in a shard's cache, unless configured: 96 MiB of address space, resident when used.
pub const CACHE_PACKETS_DEFAULT: usize = 65_536;
/// Bytes of one cached payload: Ethernet's 1500 less IPv4, UDP, RTP and tag is below this.
pub const PACKET_BYTES_MAX: usize = 1_536;
/// Bytes of a datagram that is looked at; longer ones are dropped (RTP over TCP may be longer).
pub const DATAGRAM_BYTES_MAX: usize = 1_500;

/// Bytes of the send arena: stays in a second-level cache.
pub const TX_ARENA_BYTES: usize = 256 * 1024;
/// Runs in one batch: `sendmmsg` takes up to 1024, 256 keep the control blocks in cache.
pub const TX_RUNS_MAX: usize = 256;
/// Segments of one GSO run: Linux takes 64 (`UDP_MAX_SEGMENTS`), 128 in newer kernels.
pub const TX_SEGMENTS_MAX: usize = 63;
/// Bytes of one GSO run: below the 65,507 of a UDP payload, with room for headers.
pub const TX_RUN_BYTES_MAX: usize = 63 * 1024;
/// Events that wait for the shell; more cannot arise between two drains in practice, and an
/// overflow ends the oldest first and is counted.
pub const EVENTS_MAX: usize = 65_536;

/// Time between two [`sfu_proto::control::Event::SpeakersChanged`] of a room.
pub const SPEAKERS_INTERVAL: Duration = Duration::from_millis(200);
/// Tracks named in one `SpeakersChanged`.
pub const SPEAKERS_MAX: usize = 8;

const _: () = assert!(TX_RUN_BYTES_MAX < TX_ARENA_BYTES);
const _: () = assert!(TX_SEGMENTS_MAX < 64);
const _: () = assert!(DATAGRAM_BYTES_MAX <= PACKET_BYTES_MAX);
