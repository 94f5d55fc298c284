//! Why an offer is refused before anyone looks at the room.

use crate::limits::{
    SDP_LEN_MAX, SDP_LINE_LEN_MAX, SDP_LINES_MAX, SDP_RIDS_PER_SECTION_MAX, SDP_SECTIONS_MAX,
    SDP_SSRCS_PER_SECTION_MAX, STREAM_ID_LEN_MAX,
};

/// Why a text is not an offer that we can answer. Always the client's to mend. The texts are meant
/// for its developer and repeat nothing of the offer, which holds addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Too many bytes.
    #[error("the session description exceeds {SDP_LEN_MAX} bytes")]
    TooLong,
    /// Too many lines.
    #[error("the session description exceeds {SDP_LINES_MAX} lines")]
    TooManyLines,
    /// A line is too long.
    #[error("line {line} exceeds {SDP_LINE_LEN_MAX} bytes")]
    LineTooLong {
        /// Its number, from 1.
        line: usize,
    },
    /// Too many m-sections.
    #[error("more than {SDP_SECTIONS_MAX} media sections")]
    TooManySections,
    /// A control character inside a line.
    #[error("line {line} holds a control character")]
    ControlCharacter {
        /// Its number, from 1.
        line: usize,
    },
    /// Not RFC 8866.
    #[error("not a session description (RFC 8866)")]
    Syntax,
    /// No m-section at all.
    #[error("no media section")]
    NoMedia,
    /// `a=mid` missing or unusable.
    #[error("media section {section} needs a=mid with 1 to {STREAM_ID_LEN_MAX} token characters")]
    Mid {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// The same `a=mid` twice.
    #[error("media section {section} repeats an earlier a=mid")]
    DuplicateMid {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// Audio or video outside DTLS-SRTP with feedback.
    #[error("media section {section} is not UDP/TLS/RTP/SAVPF")]
    Protocol {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// A format of an RTP section is not a payload type.
    #[error("media section {section} has a payload type that is not 0 to 127")]
    PayloadType {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// More SSRCs than a source can need.
    #[error("media section {section} declares more than {SDP_SSRCS_PER_SECTION_MAX} SSRCs")]
    TooManySsrcs {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// More simulcast layers than any client has use for.
    #[error("media section {section} declares more than {SDP_RIDS_PER_SECTION_MAX} RIDs")]
    TooManyRids {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// The same SSRC in two sending sections.
    #[error("media section {section} repeats an SSRC of an earlier one")]
    DuplicateSsrc {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// An RTP header extension id with two meanings in one bundle (RFC 9143 section 9.2).
    #[error("media section {section} gives an RTP header extension id another meaning")]
    ExtensionConflict {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// Several m-sections that are not one BUNDLE group (RFC 9143).
    #[error("media sections are not all in one a=group:BUNDLE")]
    Bundle,
    /// No `a=rtcp-mux` (RFC 5761).
    #[error("media section {section} lacks a=rtcp-mux")]
    RtcpMux {
        /// Index of the m-section, from 0.
        section: usize,
    },
    /// ICE credentials missing or malformed (RFC 8839 section 5.4).
    #[error("a=ice-ufrag or a=ice-pwd is missing or malformed")]
    Ice,
    /// No SHA-256 certificate fingerprint (RFC 8122).
    #[error("a=fingerprint with sha-256 is missing or malformed")]
    Fingerprint,
    /// The client insists on being the DTLS server, or does not say (RFC 8842 section 5.1).
    #[error("a=setup must be actpass or active")]
    Setup,
}
