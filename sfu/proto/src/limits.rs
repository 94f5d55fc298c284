//! Every limit of this package: name, unit, reason. Relations between them are checked at compile time.

/// Longest datagram that is looked at, bytes: one Ethernet frame's IP payload. Also the longest
/// RFC 4571 frame, as what arrives over TCP is a datagram of the same kind.
pub const DATAGRAM_LEN_MAX: usize = 1500;

/// Longest MID or RID in a header extension, bytes: what a one-byte extension carries (RFC 8285
/// section 4.2). Browsers use one to four characters.
pub const STREAM_ID_LEN_MAX: usize = 16;

/// Most contributing sources in an RTP header: a four-bit count (RFC 3550 section 5.1).
pub const CSRC_MAX: usize = 15;

const _: () = assert!(DATAGRAM_LEN_MAX <= u16::MAX as usize, "RFC 4571 has a 16-bit length");

/// Longest session description that is parsed, bytes. A browser's m-section takes 1 to 6 KB, so
/// this allows about forty video slots; parsing stays below 5 ms.
pub const SDP_LEN_MAX: usize = 256 * 1024;
/// Most lines of a session description. A browser's video section has about 100 lines.
pub const SDP_LINES_MAX: usize = 4000;
/// Longest line of a session description, bytes.
pub const SDP_LINE_LEN_MAX: usize = 4096;
/// Most m-sections of a session description, refused and stopped ones included.
pub const SDP_SECTIONS_MAX: usize = 128;
/// Most SSRCs declared in one m-section: six for simulcast with retransmission, and room.
pub const SDP_SSRCS_PER_SECTION_MAX: usize = 32;
/// Longest `a=fmtp` parameter text that is kept and repeated, bytes.
pub const FMTP_LEN_MAX: usize = 256;

const _: () = assert!(SDP_LINE_LEN_MAX < SDP_LEN_MAX);

/// Most packets read from one RTCP compound. Browsers put two to six into one; the rest of a longer
/// one is not read.
pub const RTCP_PACKETS_MAX: usize = 64;
/// Most packet statuses in one transport-wide feedback: 8 s at 1000 packets/s, more than any sender
/// remembers. Two bytes can claim 8191 lost packets, so this bounds the work per byte received.
pub const TRANSPORT_STATUSES_MAX: usize = 8192;
