//! Every bound of the media core: name, unit, reason. Relations are checked at compile time below.

use std::time::Duration;

/// Rooms on one shard, unless configured. A room without sessions costs under 1 kB.
pub const ROOMS_PER_SHARD_DEFAULT: usize = 4_096;
/// Sessions on one shard, unless configured. About 1.5 kB hot and 60 kB cold each.
pub const SESSIONS_PER_SHARD_DEFAULT: usize = 4_096;
/// Packets in a shard's cache, unless configured: 1,638 sessions with camera and microphone each
/// (640 packets). 1.5 GiB when all are in use; memory is taken by [`CACHE_CHUNK_PACKETS`] as
/// tracks begin, and resident where it was written.
pub const CACHE_PACKETS_DEFAULT: usize = 1 << 20;
/// Packets of cache memory taken from the system at a time (768 KiB): a video track's worth.
pub const CACHE_CHUNK_PACKETS: usize = 512;
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
/// Least time between two `SlotsChanged` of a session that differ only in how many tracks wait,
/// however many come and go.
pub const WAITING_INTERVAL: Duration = Duration::from_millis(200);
/// Time between two sessions' repeated `SlotsChanged` of one `Sync`: 1,000 per second and room,
/// an eighth of what the bus holds for a stalled subscriber.
pub const SYNC_SPACING: Duration = Duration::from_millis(1);
/// Time between two `Traffic` events of a session: what a node that is lost takes with it of the
/// count.
pub const TRAFFIC_INTERVAL: Duration = Duration::from_secs(60);
/// Tracks named in one `SpeakersChanged`.
pub const SPEAKERS_MAX: usize = 8;

const _: () = assert!(TX_RUN_BYTES_MAX < TX_ARENA_BYTES);
const _: () = assert!(TX_SEGMENTS_MAX < 64);
const _: () = assert!(DATAGRAM_BYTES_MAX <= PACKET_BYTES_MAX);

/// Cached packets of a video track: 2 s at 2.5 Mbit/s. A power of two: rings are masked.
pub const VIDEO_CACHE_PACKETS: usize = 512;
/// Cached packets of an audio track: more than one input batch can bring.
pub const AUDIO_CACHE_PACKETS: usize = 128;
/// Newest outgoing numbers of a slot that may still be used or repeated: as deep as the cache.
pub const REWRITE_WINDOW: usize = 512;
/// Changes of offset that a slot remembers for late packets.
pub const REWRITE_RANGES_MAX: usize = 8;
/// Packets that may arrive after, though sent before, the first one of a stream.
pub const REORDER_AT_START_MAX: u64 = 32;

/// Missing packets of one stream that are asked for; beyond it a key frame is cheaper.
pub const GAPS_MAX: usize = 256;
/// Reorder tolerance: later than this after the jump, a packet is asked for.
pub const NACK_AFTER: Duration = Duration::from_millis(10);
/// Least time between two requests for one packet.
pub const NACK_RETRY_MIN: Duration = Duration::from_millis(20);
/// Requests for one packet.
pub const NACK_TRIES_MAX: u8 = 8;
/// Age at which a missing packet is given up: receivers' jitter buffers do not wait longer.
pub const NACK_AGE_MAX: Duration = Duration::from_millis(1_000);

/// Repetitions may be 1/5 of the media sent (SECURITY.md M6: 20 %).
pub const RESEND_SHARE: u64 = 5;
/// Bytes per second that may be repeated beyond that share, for thin streams.
pub const RESEND_FLOOR_PER_SECOND: u64 = 6_250;
/// Bytes of budget that can be saved up: one lost burst of 50 packets.
pub const RESEND_BUDGET_MAX: u64 = 64 * 1024;
/// Repetitions of one packet to one subscriber.
pub const RESENDS_MAX: u8 = 3;

/// Round trip assumed before one was measured.
pub const RTT_DEFAULT: Duration = Duration::from_millis(100);
/// Bounds of a believed round trip.
pub const RTT_MAX: Duration = Duration::from_millis(1_500);

/// Least time between two key frame requests to one source (SECURITY.md M5).
pub const KEY_FRAME_INTERVAL_MIN: Duration = Duration::from_millis(500);
/// A receiver that begins is never kept waiting longer for a request by an empty budget: the rest
/// of its second is for the round trip and the key frame.
pub const KEY_FRAME_BEGIN_INTERVAL: Duration = Duration::from_millis(800);
/// Least time between two requests for losses while the account is empty: receivers that lost a
/// frame must not stay frozen until a quiet source has earned its next key frame.
pub const KEY_FRAME_LOSS_INTERVAL: Duration = Duration::from_secs(3);
/// Least time between two requests of one slot that count as beginnings: whoever changes what it
/// shows more often draws on the account for losses, not on the newcomers'.
pub const KEY_FRAME_BEGIN_PER_SLOT_MIN: Duration = Duration::from_secs(1);
/// Bytes that one request costs at most.
pub const KEY_FRAME_CHARGE_MAX: i64 = 64 * 1024;
/// Sends of one request that seems unanswered.
pub const KEY_FRAME_TRIES_MAX: u8 = 3;
/// Key frames asked for by receivers that lost one may make up 1/10 of a source's bytes.
pub const KEY_FRAME_SHARE: u64 = 10;
/// Least time between two heeded key frame requests of one slot.
pub const KEY_FRAME_PER_SLOT_MIN: Duration = Duration::from_millis(300);

const _: () =
    assert!(VIDEO_CACHE_PACKETS.is_power_of_two() && AUDIO_CACHE_PACKETS.is_power_of_two());
const _: () = assert!(CACHE_CHUNK_PACKETS.is_power_of_two());
const _: () = assert!(REWRITE_WINDOW.is_power_of_two() && REWRITE_WINDOW >= VIDEO_CACHE_PACKETS);
const _: () = assert!(GAPS_MAX < VIDEO_CACHE_PACKETS);
const _: () = assert!((REORDER_AT_START_MAX as usize) < REWRITE_WINDOW);

/// M-sections of one session: 100 tracks shown and own ones, stopped ones included.
pub const SECTIONS_MAX: usize = 128;
/// Incoming SSRCs of one session that are bound to tracks: camera and screen in three layers with
/// retransmission, two sounds, and former ones of them.
pub const SSRCS_PER_SESSION_MAX: usize = 32;
/// Least time between two changes of a stream's SSRC.
pub const REBIND_MIN: Duration = Duration::from_millis(500);
/// Silence of the forwarded simulcast layer, while another goes on, after which that one takes over:
/// three frames of a slow camera. A false alarm costs a key frame request, as the silent one is kept
/// until the other's key frame.
pub const LAYER_SILENCE_MAX: Duration = Duration::from_millis(300);
/// Least time from one change of layer to the next one upward: each costs all viewers a key frame,
/// and a layer that comes and goes would cost them one each time.
pub const LAYER_UP_MIN: Duration = Duration::from_secs(1);
/// Time after which a silent layer is replaced without a key frame: beyond all tries of a request.
/// Receivers then ask for one themselves.
pub const LAYER_ANSWER_MAX: Duration = Duration::from_secs(2);
/// Time between two attempts to bring one layer to a key frame.
pub const LAYER_ATTEMPT_INTERVAL: Duration = Duration::from_secs(5);

const _: () = assert!(
    LAYER_ANSWER_MAX.as_millis() > KEY_FRAME_TRIES_MAX as u128 * KEY_FRAME_INTERVAL_MIN.as_millis()
);
const _: () = assert!(LAYER_ANSWER_MAX.as_millis() < LAYER_ATTEMPT_INTERVAL.as_millis());

/// Tracks in one wish list.
pub const WANT_MAX: usize = 256;
/// Retransmissions waiting for the next turn; all subscribers together.
pub const RESENDS_QUEUED_MAX: usize = 4_096;

/// Time between transport-wide feedback packets (draft-holmer: 50 to 100 ms serve well).
pub const FEEDBACK_INTERVAL: Duration = Duration::from_millis(50);
/// Arrivals that are remembered: 200 Mbit/s for 50 ms between two feedback packets, and those
/// before them that a late arrival makes worth repeating.
pub const ARRIVALS_MAX: usize = 1_024 + FEEDBACK_REORDER_MAX as usize;
/// Packets by which one may be late and still be reported as arrived, though it was reported lost
/// (libwebrtc reports whatever its sender still remembers; 500 packets are 2 s at 3 Mbit/s).
pub const FEEDBACK_REORDER_MAX: u16 = 500;
/// Feedback packets of one compound that are read: clients put one into each.
pub const FEEDBACKS_PER_COMPOUND: usize = 2;
/// Time between two compounds with feedback that are read, on average: clients send one every 50
/// to 250 ms.
pub const FEEDBACK_HEEDED_INTERVAL: Duration = Duration::from_millis(10);
/// By how much compounds with feedback may be early, for jitter on their way.
pub const FEEDBACK_HEEDED_AHEAD: Duration = Duration::from_millis(40);
/// Time between sender and receiver reports; the RFC 3550 minimum scaled down for video.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(1_000);
/// A stream without packets for so long is no longer reported on.
pub const STREAM_IDLE: Duration = Duration::from_secs(5);
/// Feedback packets to one publisher in one turn: enough for [`ARRIVALS_MAX`].
pub const FEEDBACK_BURST_MAX: usize = 8;
/// Sender reports in one compound, so that it fits a datagram: see the relation below.
pub const REPORT_SLOTS_PER_PACKET: usize = 8;
/// Packets of one NACK that are looked at: as many as the cache can hold.
pub const NACKED_PER_PACKET_MAX: usize = VIDEO_CACHE_PACKETS;

/// Formats of one m-section: all that [`sfu_proto::sdp::Codec`] can name, with room.
pub const FORMATS_MAX: usize = 16;
/// Packets of one track that wait to be forwarded in one turn; more than a receive batch brings.
pub const FRESH_MAX: usize = 256;
/// Bytes of an outgoing header: fixed part, block head, all extensions (a dependency descriptor
/// of 255 bytes, MID of 16, the rest below 16) in two-byte form.
pub const HEADER_BYTES_MAX: usize = 320;

// A sender report takes 28 bytes and its CNAME of 16 letters 28; a block takes 24.
const _: () = assert!(
    REPORT_SLOTS_PER_PACKET * (28 + 28) + 31 * 24 <= crate::transport::limits::RTCP_COMPOUND_MAX
);

/// Bytes of one batch for the recorder: a few frames of video, and small beside the ring to it.
pub const TAP_BATCH_BYTES_MAX: usize = 64 * 1024;
/// Bytes of memory taken for a batch at least: 20 ms of audio of several tracks.
pub const TAP_BATCH_BYTES_MIN: usize = 1_024;
/// Age at which a batch goes to the recorder: what a crash of this process takes with it.
pub const TAP_BATCH_AGE_MAX: Duration = Duration::from_millis(20);
/// Bytes of batches that wait to be polled, of all rooms; newer ones are dropped and counted. They
/// are polled every turn: 30 ms at 1 Gbit/s.
pub const TAP_READY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Tracks of a room that can be recorded at once: four of each of 1,024 participants.
pub const TAP_TRACKS_MAX: usize = 4_096;
/// Tracks of one recording, those that ended included: an index has 16 bits.
pub const TAP_INDEXES_MAX: usize = 1 << 16;
/// Bytes of a record at most: length, kind and time, the fields of a packet, and what one datagram
/// can hold of descriptor and payload.
pub const TAP_RECORD_BYTES: usize = 4 + 1 + 8 + 18 + PACKET_BYTES_MAX;

const _: () = assert!(TAP_RECORD_BYTES - 4 <= sfu_proto::limits::TAP_RECORD_BYTES_MAX);
const _: () = assert!(4 + 1 + 8 + 2 * SPEAKERS_MAX <= TAP_RECORD_BYTES);
const _: () = assert!(TAP_RECORD_BYTES < TAP_BATCH_BYTES_MAX);
const _: () = assert!(TAP_INDEXES_MAX == u16::MAX as usize + 1);

/// Least sleep of a session's timer after it fired: a deadline that stays due must not spin.
pub const TIMER_REST: Duration = Duration::from_millis(1);
