//! The part of SDP that Conclave speaks, as typed data: [`Offer`] in, [`Answer`] out.
//!
//! Text is parsed and written by `rtc-sdp` (RFC 8866); this module bounds it first, then maps it
//! to and from our own model. A client's text is never forwarded: what is not modelled is dropped.

mod accept;
mod answer;
mod error;
mod format;
mod mid;
mod offer;
mod rid;
mod section;
mod simulcast;

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

pub use accept::{accept_extensions, accept_formats, accept_simulcast};
pub use error::SdpError;
pub use mid::Mid;
pub use rid::Rid;

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Sound.
    Audio,
    /// Moving picture.
    Video,
}

/// Direction attribute as seen by whoever wrote the description (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Both ways. A client offers tracks and slots in separate m-sections, but standard clients
    /// may offer this; it is answered as receive only.
    SendRecv,
    /// The writer sends.
    SendOnly,
    /// The writer receives: a slot, when offered.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// A codec that can be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// RFC 7587, 48 kHz, 2 channels.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628, with its `profile-id`.
    Vp9 {
        /// 0 (8 bit 4:2:0) or 2 (10 bit).
        profile: u8,
    },
    /// RFC 6184.
    H264 {
        /// `profile-level-id`: profile_idc and profile-iop, without the level.
        profile: u16,
        /// 0 (single NAL unit) or 1 (non-interleaved).
        packetization_mode: u8,
    },
    /// AV1 RTP payload format 1.0, with its `profile`.
    Av1 {
        /// 0 (main).
        profile: u8,
    },
}

/// A payload type and what it means in one m-section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadFormat {
    /// RTP payload type, 0 to 127 and outside 64 to 95 (RFC 5761).
    pub payload_type: u8,
    /// The codec.
    pub codec: Codec,
    /// Payload type of its retransmission format (RFC 4588), if offered.
    pub rtx: Option<u8>,
    /// `a=fmtp` text to repeat in the answer, if any; at most 256 bytes of visible ASCII.
    pub fmtp: Option<String>,
    /// Whether generic NACK (RFC 4585) was offered for it.
    pub nack: bool,
    /// Whether PLI (RFC 4585) was offered for it.
    pub pli: bool,
    /// Whether transport-wide feedback was offered for it.
    pub transport_cc: bool,
}

/// RTP header extensions that we understand (RFC 8285).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Extension {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    RtpStreamId,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRtpStreamId,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    AudioLevel,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    AbsSendTime,
    /// `draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    TransportSequence,
    /// AV1 RTP payload format 1.0, appendix A: dependency descriptor.
    DependencyDescriptor,
}

/// An extension and its id in a session (RFC 8285 one-byte ids 1 to 14, two-byte ids to 255).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionMap {
    /// Identifier on the wire.
    pub id: u8,
    /// Its meaning.
    pub extension: Extension,
}

/// An SSRC and its retransmission SSRC, as in `a=ssrc-group:FID` (RFC 5576).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SsrcPair {
    /// Media.
    pub media: u32,
    /// Retransmission (RFC 4588), if any.
    pub rtx: Option<u32>,
}

/// ICE credentials (RFC 8445 section 5.3). `Debug` shows nothing: the password is a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// User name fragment, 4 to 256 ice-chars.
    pub ufrag: String,
    /// Password, 22 to 256 ice-chars.
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceCredentials(..)")
    }
}

/// SHA-256 certificate fingerprint (RFC 8122). Displayed as `AB:CD:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            let colon = if i == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// One offered m-section. Bundled ones only differ in media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedMedia {
    /// `a=mid`.
    pub mid: Mid,
    /// What it carries. `None`: something we do not speak (data channel, unknown kind); it is
    /// answered with port 0 and its m-line's text is kept below for that.
    pub kind: Option<Kind>,
    /// The `m=` line without its port: media, protocol, formats. An answer repeats it for a refused
    /// section, and takes the protocol from it for an accepted one (RFC 8829 section 5.3.1).
    pub refused_line: String,
    /// Whether the port was 0 without `bundle-only`: stopped by the client.
    pub stopped: bool,
    /// Direction as written by the client.
    pub direction: Direction,
    /// Formats that we can forward, in the client's order of preference.
    pub formats: Vec<PayloadFormat>,
    /// Extensions that we understand.
    pub extensions: Vec<ExtensionMap>,
    /// SSRCs that the client declared, main ones only; empty when it sends MID (or RIDs) instead.
    pub ssrcs: Vec<SsrcPair>,
    /// RIDs of the layers that the client would send, in the order of `a=simulcast` (RFC 8853), by
    /// convention from the lowest to the highest. Empty: one stream.
    pub simulcast: Vec<Rid>,
}

/// A client's offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The client's credentials; the first bundled section's.
    pub ice: IceCredentials,
    /// SHA-256 fingerprint of the client's certificate.
    pub fingerprint: Fingerprint,
    /// Whether the client can be the DTLS client (`a=setup` actpass or active). Must be true.
    pub active: bool,
    /// Whether `a=extmap-allow-mixed` stands (RFC 8285 section 4.1.2).
    pub extmap_allow_mixed: bool,
    /// The m-sections, in order.
    pub media: Vec<OfferedMedia>,
}

/// One m-section of an answer, in the order of the offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredMedia {
    /// As offered.
    pub mid: Mid,
    /// As offered.
    pub kind: Option<Kind>,
    /// As offered.
    pub refused_line: String,
    /// Refused: written with port 0 and outside the bundle.
    pub refused: bool,
    /// Direction as seen by us: `RecvOnly` for a published track, `SendOnly` for a slot.
    pub direction: Direction,
    /// Accepted formats.
    pub formats: Vec<PayloadFormat>,
    /// Accepted extensions.
    pub extensions: Vec<ExtensionMap>,
    /// SSRCs that we send with, in a slot.
    pub ssrcs: Option<SsrcPair>,
    /// `a=msid` stream and track id of a slot, random; `None` elsewhere.
    pub msid: Option<(String, String)>,
    /// Layers that we receive (RFC 8853), as offered or fewer; empty without simulcast.
    pub simulcast: Vec<Rid>,
}

/// An ICE host candidate of ours (RFC 8839). Our own address: may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// UDP, or TCP passive (RFC 6544).
    pub tcp: bool,
    /// Announced address and port.
    pub address: SocketAddr,
}

/// Our answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Our credentials for this session and ICE generation.
    pub ice: IceCredentials,
    /// Our certificate's.
    pub fingerprint: Fingerprint,
    /// Our candidates, best first. The list is complete (`end-of-candidates`).
    pub candidates: Vec<Candidate>,
    /// Random canonical name (RFC 7022) used for every SSRC of the session.
    pub cname: String,
    /// Whether to write `a=extmap-allow-mixed`.
    pub extmap_allow_mixed: bool,
    /// One for each offered m-section.
    pub media: Vec<AnsweredMedia>,
}

/// Why a well-formed offer cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// More m-sections than allowed.
    #[error("too many media sections")]
    TooManySections,
    /// A later offer removed or reordered m-sections (RFC 8829 section 5.2.2).
    #[error("media sections were removed or reordered")]
    SectionsChanged,
    /// A `Publish` names an m-section that is absent, of the wrong kind, or not sending.
    #[error("a published track has no matching sending media section")]
    TrackWithoutSection,
    /// The participant may not publish such a source.
    #[error("publishing this source is not permitted")]
    NotPermitted,
    /// The same source or track twice.
    #[error("a source is published twice")]
    Duplicate,
    /// No codec in common for a published track.
    #[error("no codec in common")]
    NoCodec,
    /// The certificate changed in a later offer.
    #[error("the certificate fingerprint changed")]
    FingerprintChanged,
    /// The session does not exist (any more).
    #[error("no such session")]
    NoSession,
    /// Blame: us. The media node has no memory left for another track; a smaller offer, or the
    /// same one later, may succeed.
    #[error("the media node has no capacity for another track")]
    NoCapacity,
}
