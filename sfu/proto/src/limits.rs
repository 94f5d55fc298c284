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
