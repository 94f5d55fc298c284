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

/// Longest session description that is parsed, bytes: all promised sections fit. Parsing stays below
/// 10 ms.
pub const SDP_LEN_MAX: usize = 256 * 1024;
/// Most lines of a session description: all promised sections fit, ten thousand lines do not.
pub const SDP_LINES_MAX: usize = 8000;
/// Longest line of a session description, bytes.
pub const SDP_LINE_LEN_MAX: usize = 4096;
/// Most m-sections of a session description, refused and stopped ones included.
pub const SDP_SECTIONS_MAX: usize = 128;
/// Most SSRCs declared in one m-section: six for simulcast with retransmission, and room.
pub const SDP_SSRCS_PER_SECTION_MAX: usize = 32;
/// Most `a=rid` lines of one m-section that are read: more than browsers let a page ask for, though
/// only [`SIMULCAST_LAYERS_MAX`] are accepted.
pub const SDP_RIDS_PER_SECTION_MAX: usize = 16;
/// Most simulcast layers of one track: quarter, half and full size. A fourth costs a publisher more
/// than it saves a viewer.
pub const SIMULCAST_LAYERS_MAX: usize = 3;
/// Longest `a=fmtp` parameter text that is kept and repeated, bytes.
pub const FMTP_LEN_MAX: usize = 256;

/// Video sections of a client that uses every slot it was promised (`VIDEO_SLOTS_MAX` of `sdk-spec`)
/// and publishes a camera and a screen.
pub const VIDEO_SECTIONS_PROMISED: usize = 25 + 2;
/// Audio sections of such a client (`AUDIO_SLOTS_MAX` of `sdk-spec`) with a microphone and the sound
/// of a screen.
pub const AUDIO_SECTIONS_PROMISED: usize = 16 + 2;
/// Lines of a browser's video section. Chromium writes 145; room for more codecs.
pub const VIDEO_SECTION_LINES: usize = 200;
/// Lines of a browser's audio section. Chromium writes 30.
pub const AUDIO_SECTION_LINES: usize = 60;
/// Bytes of a browser's video section. Chromium writes 4.6 kB.
pub const VIDEO_SECTION_LEN: usize = 6 * 1024;
/// Bytes of a browser's audio section. Chromium writes 1.1 kB.
pub const AUDIO_SECTION_LEN: usize = 2 * 1024;
/// Lines before the first section, and those of a section for data channels.
const OTHER_LINES: usize = 60;
/// Their bytes.
const OTHER_LEN: usize = 4 * 1024;

const _: () = {
    assert!(SDP_LINE_LEN_MAX < SDP_LEN_MAX);
    assert!(SIMULCAST_LAYERS_MAX <= SDP_RIDS_PER_SECTION_MAX);
    let (video, audio) = (VIDEO_SECTIONS_PROMISED, AUDIO_SECTIONS_PROMISED);
    assert!(video + audio < SDP_SECTIONS_MAX);
    let lines = video * VIDEO_SECTION_LINES + audio * AUDIO_SECTION_LINES + OTHER_LINES;
    assert!(lines <= SDP_LINES_MAX && SDP_LINES_MAX < 10_000);
    let len = video * VIDEO_SECTION_LEN + audio * AUDIO_SECTION_LEN + OTHER_LEN;
    assert!(len <= SDP_LEN_MAX);
};

/// Most packets read from one RTCP compound. Browsers put two to six into one; the rest of a longer
/// one is not read.
pub const RTCP_PACKETS_MAX: usize = 64;
/// Most packet statuses in one transport-wide feedback: 8 s at 1000 packets/s, more than any sender
/// remembers. Two bytes can claim 8191 lost packets, so this bounds the work per byte received.
pub const TRANSPORT_STATUSES_MAX: usize = 8192;

/// Largest record of a tap, after its length: a packet of at most 2,048 bytes with its fields, or a text
/// with those whom it names.
pub const TAP_RECORD_BYTES_MAX: usize = 8192;
/// Bytes of a text that a tap hands on: as long as the WebSocket takes one (`DATA_BYTES_MAX`).
pub const TAP_TEXT_BYTES_MAX: usize = 4096;
/// Participants that such a text names: as many as a client may (`NAMED_MAX`).
pub const TAP_NAMED_MAX: usize = 100;
const _: () = {
    // Kind, time, lost, who, how many, whom.
    const FIELDS: usize = 1 + 8 + 4 + 16 + 1 + 16 * TAP_NAMED_MAX;
    assert!(FIELDS + TAP_TEXT_BYTES_MAX <= TAP_RECORD_BYTES_MAX);
};
/// Largest dependency descriptor that a tap hands on; its length is one byte on the wire.
pub const TAP_DESCRIPTOR_BYTES_MAX: usize = 255;

/// Largest frame of a link, after its length: no batch of a tap is longer than a chunk of a journal may be
/// (512 KiB), and its number and recording take 25 bytes.
pub const LINK_FRAME_BYTES_MAX: usize = 512 * 1024 + 64;
