//! Every bound of one transport session, with unit and reason.

use std::time::Duration;

/// Validated paths per session. A client rarely has more than host, VPN and mobile pairs on two
/// address families; a ninth evicts the one that was quiet longest (SECURITY.md T6).
pub const PATHS_PER_SESSION_MAX: usize = 8;

/// SSRCs that one peer may send RTP with; likewise for RTCP. Ten simulcast sources with RTX.
pub const INBOUND_SSRC_MAX: usize = 128;

/// Further SSRCs, quiet ones, of which only the highest index is remembered. A client draws new
/// SSRCs with each track it publishes: enough for 2,000 restarts, 128 kB at most.
pub const INBOUND_SSRC_RETIRED_MAX: usize = 4096;

/// SSRCs that we send RTP with to one peer: a slot and its RTX each for 1,024 slots.
pub const OUTBOUND_SSRC_MAX: usize = 2048;

/// Datagrams waiting in one session's queue: two DTLS flights, STUN answers and RTCP of one turn.
/// The oldest is dropped beyond it; every kind in it is repeated by its protocol.
pub const OUTGOING_MAX: usize = 64;

/// Bytes in one datagram of an RTCP compound, before sealing: stays below common path MTUs.
pub const RTCP_COMPOUND_MAX: usize = 1200;

/// Largest datagram looked at (SECURITY.md T8).
pub const DATAGRAM_MAX: usize = 1500;

/// From the first validated path to keys. Beyond it a real client has given up (SECURITY.md S16).
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(20);

/// From creation to the first validated path. A person may be asked for a camera in between.
pub const FIRST_BINDING_MAX: Duration = Duration::from_secs(60);

/// Handshakes of one session that run side by side, told apart by the ClientHello's random: the
/// client's own and forgeries from its 5-tuple, none of which can be told from it yet.
pub const DTLS_RIVALS_MAX: usize = 3;

/// Datagrams with later parts of a ClientHello that are kept until the first part comes.
pub const DTLS_STRAYS_MAX: usize = 4;

/// How long a handshake without anything beyond its ClientHello is safe from a newcomer when all
/// places are taken. A real client's next flight follows within a round trip, and it repeats its
/// ClientHello before our answers to forged ones are repeated to it.
pub const DTLS_RIVAL_QUIET_MAX: Duration = Duration::from_millis(250);

/// DTLS engines a session may use up in a row before it is connected. Each costs a forger that
/// holds a validated 5-tuple at least one datagram; real clients need one.
pub const DTLS_ATTEMPTS_MAX: u32 = 64;

/// Time after which one more engine may be used up: 0.1 ms of work each.
pub const DTLS_ATTEMPT_REFILL: Duration = Duration::from_millis(250);

/// Number of a plain handshake message at most. A client's last one is CertificateVerify, after
/// two ClientHellos, Certificate and ClientKeyExchange (RFC 6347 section 4.2.4, RFC 9147 section
/// 5.1 fewer); Finished is encrypted.
pub const DTLS_PLAIN_MESSAGE_MAX: u16 = 4;

/// Records that wait in one DTLS engine for those before them: forged ones lie there, too, as
/// only the cipher tells them apart.
pub const DTLS_RECEIVE_QUEUE_MAX: usize = 128;

/// Bytes of a DTLS datagram that we send: stays below common path MTUs.
pub const DTLS_MTU: usize = 1200;

/// First DTLS retransmission. RFC 9147 section 5.8.2 advises less than 1 s for real-time media.
pub const DTLS_RETRANSMIT_FIRST: Duration = Duration::from_millis(300);

const _: () = assert!(DTLS_RIVAL_QUIET_MAX.as_millis() < DTLS_RETRANSMIT_FIRST.as_millis());

/// DTLS retransmissions of a flight; doubling from the first, they span the handshake's time.
pub const DTLS_RETRANSMISSIONS_MAX: usize = 6;

/// Bytes of one DTLS output (certificate, record); larger ones end the handshake.
pub const DTLS_OUTPUT_MAX: usize = 16 * 1024;

/// Quiet time after which media stops. RFC 7675 section 5.1 allows 30 s; clients check every 5 s.
pub const CONSENT_MAX: Duration = Duration::from_secs(15);

/// Time between `Interrupted` and the end of the session: a network change takes seconds.
pub const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// A validated path without a binding for this long is dropped; clients check live ones every 5 s.
pub const PATH_IDLE_MAX: Duration = Duration::from_secs(30);

/// A nomination of lower priority this soon after another is part of an aggressive nomination of
/// all pairs and ignored; checks of such a round are 20 to 50 ms apart.
pub const NOMINATION_SETTLE: Duration = Duration::from_millis(300);

/// ICE generations that are accepted at once: the current one and, during a restart, the last.
pub const GENERATIONS_MAX: usize = 2;

/// Events waiting for the shard. It drains after every call; the states cannot produce more.
pub const EVENTS_MAX: usize = 16;
