//! Bounds of the shell: name, unit, reason. The media core has its own in `sfu_core::limits`.

use std::time::Duration;

/// Worker threads of one node. More cores than this belong to several nodes.
pub const WORKERS_MAX: usize = 256;
/// Addresses announced in every answer. Each costs two candidate lines; ICE checks them in pairs.
pub const ANNOUNCED_MAX: usize = 16;
/// Commands waiting for one worker: a full second of 1,000 commands per second.
pub const MAILBOX_COMMANDS_MAX: usize = 1024;
/// Commands taken between two rounds of media, so that a flood of control delays no packet for
/// long.
pub const COMMANDS_PER_TURN_MAX: usize = 64;
/// Events that wait in a worker while the bus is busy. Beyond it, new ones are dropped.
pub const EVENTS_WAITING_MAX: usize = 4096;
/// Pause before events are offered to a busy bus again.
pub const EVENTS_RETRY: Duration = Duration::from_millis(10);
/// Published tracks remembered per session for routing; a session publishes one per source (4),
/// the rest is room for those that replaced them.
pub const TRACKS_PER_SESSION_MAX: usize = 32;

/// `SO_RCVBUF` and `SO_SNDBUF` asked for by default, bytes: 4 MiB hold 25 ms at 1 Gbit/s.
pub const SOCKET_BUFFER_BYTES_DEFAULT: usize = 4 << 20;
/// Largest socket buffer that may be asked for, bytes.
pub const SOCKET_BUFFER_BYTES_MAX: usize = 256 << 20;
/// Bytes of one receive slot: the largest UDP payload, which a coalesced datagram (GRO) may reach.
pub const RECEIVE_SLOT_BYTES: usize = 64 * 1024;
/// Receive calls per turn; then timers, commands and TCP have their turn.
pub const RECEIVES_PER_TURN_MAX: usize = 8;
/// Datagrams handed to the shard before its output is drained: bounds the delay of the first one
/// to well under a millisecond of sealing, and still lets runs of a frame form.
pub const DATAGRAMS_PER_FLUSH_MAX: usize = 64;
/// Messages in one `sendmmsg` call; from 16 on its cost per message is flat (PERFORMANCE.md).
pub const MESSAGES_PER_SEND_MAX: usize = 64;
/// Runs in a row that the kernel refuses as segmented before segmentation is paused.
pub const GSO_REFUSALS_MAX: u32 = 16;
/// Segments of this many bytes fit every path that IPv6 allows (RFC 8200 section 5): if they are
/// refused, it is segmentation that does not work.
pub const GSO_SEGMENT_SAFE_BYTES: u16 = 1_280 - 40 - 8;
/// Pause of segmentation: a route or device that cannot do it may be replaced by one that can.
pub const GSO_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of a UDP payload that fit Ethernet's 1500 with IPv4. Longer ones would not arrive: we
/// never fragment.
pub const UDP_PAYLOAD_BYTES_MAX: usize = 1_500 - 20 - 8;

/// TCP connections of one worker by default. Each costs about 2 kB, and its send queue when used.
pub const TCP_CONNECTIONS_DEFAULT: usize = 1024;
/// Most TCP connections of one worker that can be configured: slots are 12 bits of a name.
pub const TCP_CONNECTIONS_MAX: usize = 4096;
/// TCP connections from one address (IPv6: one /64) by default: an office behind one NAT.
pub const TCP_CONNECTIONS_PER_PEER_DEFAULT: usize = 64;
/// Time from accept to the core's first answer. An ICE agent sends its check at once and the answer
/// takes a round trip; the core answers nothing that is not authenticated.
pub const TCP_STRANGER_MAX: Duration = Duration::from_secs(5);
/// Time without anything sent to a known peer before its connection is closed. Its consent checks
/// come every 5 s or so and are answered (RFC 7675: without any for 30 s, consent is gone).
pub const TCP_UNANSWERED_MAX: Duration = Duration::from_secs(30);
/// How often the two times above are looked at, while there are connections.
pub const TCP_SWEEP: Duration = Duration::from_secs(1);
/// Bytes that wait for one TCP peer in the shell: with 3 Mbit/s about 350 ms. A frame that does
/// not fit is dropped whole.
pub const TCP_QUEUE_BYTES_MAX: usize = 128 * 1024;
/// `SO_SNDBUF` of a TCP connection, bytes. Left to itself the kernel grows it to megabytes, which
/// would be seconds of stale media.
pub const TCP_SEND_BUFFER_BYTES: usize = 128 * 1024;
/// Bytes read from one TCP connection before the others have their turn.
pub const TCP_READ_BYTES: usize = 64 * 1024;
/// Connections accepted per turn.
pub const TCP_ACCEPTS_PER_TURN_MAX: usize = 32;
/// Pause of the listener after the process ran out of descriptors.
pub const TCP_ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const _: () = assert!(RECEIVE_SLOT_BYTES > u16::MAX as usize - 8);
const _: () = assert!(TCP_CONNECTIONS_DEFAULT <= TCP_CONNECTIONS_MAX);
const _: () = assert!(TCP_QUEUE_BYTES_MAX > 2 * sfu_core::limits::DATAGRAM_BYTES_MAX);
const _: () = assert!(sfu_core::limits::TX_SEGMENTS_MAX <= 64);
