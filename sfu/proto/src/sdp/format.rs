//! Codecs and payload formats: `a=rtpmap`, `a=fmtp`, `a=rtcp-fb`.

use std::collections::BTreeMap;

use rtc_sdp::description::common::Attribute;

use super::{Codec, Kind, PayloadFormat};
use crate::limits::FMTP_LEN_MAX;

/// What the attributes of one m-section say about one payload type.
#[derive(Debug, Default)]
struct Described<'a> {
    rtpmap: Option<&'a str>,
    fmtp: Option<&'a str>,
    feedback: Feedback,
}

#[derive(Debug, Default, Clone, Copy)]
struct Feedback {
    nack: bool,
    pli: bool,
    transport_cc: bool,
}

impl Feedback {
    fn note(&mut self, text: &str) {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("nack"), None) => self.nack = true,
            (Some("nack"), Some("pli")) => self.pli = true,
            (Some("transport-cc"), None) => self.transport_cc = true,
            _ => {}
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            nack: self.nack || other.nack,
            pli: self.pli || other.pli,
            transport_cc: self.transport_cc || other.transport_cc,
        }
    }
}

/// The formats of an m-section that we know, in the order of its `m=` line. One pass over the
/// attributes, whatever they are.
pub(super) fn formats(
    kind: Kind,
    payload_types: &[u8],
    attributes: &[Attribute],
) -> Vec<PayloadFormat> {
    let described = describe(attributes);
    let mut formats: Vec<PayloadFormat> = Vec::new();
    for &payload_type in payload_types {
        let known = formats.iter().any(|format| format.payload_type == payload_type);
        if let Some(description) = described.types.get(&payload_type)
            && !known
            && let Some(format) = format(kind, payload_type, description, described.wildcard)
        {
            formats.push(format);
        }
    }
    attach_retransmission(&mut formats, payload_types, &described.types);
    formats
}

struct All<'a> {
    types: BTreeMap<u8, Described<'a>>,
    /// `a=rtcp-fb:*`.
    wildcard: Feedback,
}

fn describe(attributes: &[Attribute]) -> All<'_> {
    let mut all = All { types: BTreeMap::new(), wildcard: Feedback::default() };
    for attribute in attributes {
        let Some((subject, text)) = attribute.value.as_deref().and_then(split_word) else {
            continue;
        };
        if attribute.key == "rtcp-fb" && subject == "*" {
            all.wildcard.note(text);
            continue;
        }
        let Some(payload_type) = payload_type(subject) else { continue };
        match attribute.key.as_str() {
            "rtpmap" => {
                all.types.entry(payload_type).or_default().rtpmap.get_or_insert(text);
            }
            "fmtp" => {
                all.types.entry(payload_type).or_default().fmtp.get_or_insert(text);
            }
            "rtcp-fb" => all.types.entry(payload_type).or_default().feedback.note(text),
            _ => {}
        }
    }
    all
}

fn format(
    kind: Kind,
    payload_type: u8,
    description: &Described<'_>,
    wildcard: Feedback,
) -> Option<PayloadFormat> {
    let fmtp = description.fmtp;
    if fmtp.is_some_and(|text| text.len() > FMTP_LEN_MAX || !text.bytes().all(is_visible)) {
        return None;
    }
    let codec = codec(kind, description.rtpmap?, fmtp)?;
    let feedback = description.feedback.or(wildcard);
    Some(PayloadFormat {
        payload_type,
        codec,
        rtx: None,
        fmtp: fmtp.map(str::to_owned),
        nack: feedback.nack,
        pli: feedback.pli,
        transport_cc: feedback.transport_cc,
    })
}

/// RFC 4588 section 8: a retransmission format names its original by `apt`. One that names
/// nothing, or a format that has one already, is left out.
fn attach_retransmission(
    formats: &mut [PayloadFormat],
    payload_types: &[u8],
    described: &BTreeMap<u8, Described<'_>>,
) {
    for rtx in payload_types {
        let Some(description) = described.get(rtx) else { continue };
        let name = description.rtpmap.and_then(|rtpmap| rtpmap.split('/').next());
        let is_rtx = name.is_some_and(|name| name.eq_ignore_ascii_case("rtx"));
        let original =
            parameter(description.fmtp.unwrap_or_default(), "apt").and_then(payload_type);
        if is_rtx
            && let Some(format) = formats.iter_mut().find(|f| Some(f.payload_type) == original)
            && format.rtx.is_none()
        {
            format.rtx = Some(*rtx);
        }
    }
}

fn codec(kind: Kind, rtpmap: &str, fmtp: Option<&str>) -> Option<Codec> {
    let mut parts = rtpmap.trim().split('/');
    let (name, clock, channels) = (parts.next()?, parts.next()?, parts.next());
    let fmtp = fmtp.unwrap_or_default();
    let name = name.to_ascii_lowercase();
    match (kind, name.as_str(), clock, channels) {
        (Kind::Audio, "opus", "48000", Some("2")) => Some(Codec::Opus),
        (Kind::Video, "vp8", "90000", None) => Some(Codec::Vp8),
        (Kind::Video, "vp9", "90000", None) => {
            Some(Codec::Vp9 { profile: number(fmtp, "profile-id")? })
        }
        (Kind::Video, "av1", "90000", None) => {
            Some(Codec::Av1 { profile: number(fmtp, "profile")? })
        }
        (Kind::Video, "h264", "90000", None) => h264(fmtp),
        _ => None,
    }
}

/// RFC 6184 section 8.1. Without `profile-level-id` it is Baseline; without `packetization-mode`
/// it is single NAL unit mode.
fn h264(fmtp: &str) -> Option<Codec> {
    let packetization_mode = number(fmtp, "packetization-mode")?;
    let profile = match parameter(fmtp, "profile-level-id") {
        None => 0x4200,
        Some(text) if text.len() == 6 => (u32::from_str_radix(text, 16).ok()? >> 8) as u16,
        Some(_) => return None,
    };
    // Mode 2 (interleaved) reorders packets; no client of the web uses it.
    (packetization_mode <= 1).then_some(Codec::H264 { profile, packetization_mode })
}

/// A small number among the parameters, 0 when absent, `None` when malformed.
fn number(fmtp: &str, name: &str) -> Option<u8> {
    parameter(fmtp, name).map_or(Some(0), |text| text.parse().ok())
}

/// The value of `name=value` in a list with semicolons.
fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|item| {
        let (key, value) = item.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// A payload type that RTP may use beside RTCP (RFC 5761 section 4).
fn payload_type(text: &str) -> Option<u8> {
    text.parse().ok().filter(|number| matches!(number, 0..=63 | 96..=127))
}

fn split_word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.trim_start().split_once([' ', '\t'])?;
    Some((word, rest.trim()))
}

const fn is_visible(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum H264Profile {
    ConstrainedBaseline,
    Baseline,
    Main,
}

/// RFC 6184 section 8.1, table 5: the sub-profile behind profile_idc and profile-iop.
pub(super) const fn h264_profile(profile: u16) -> Option<H264Profile> {
    // profile-iop: constraint flags set0 (0x80), set1 (0x40), …, reserved zeros at the end.
    let (idc, set0, set1, set2) =
        (profile >> 8, profile & 0x80 != 0, profile & 0x40 != 0, profile & 0x20 != 0);
    match idc {
        0x42 if set1 => Some(H264Profile::ConstrainedBaseline),
        0x42 => Some(H264Profile::Baseline),
        0x4D if set0 => Some(H264Profile::ConstrainedBaseline),
        0x4D if !set2 => Some(H264Profile::Main),
        _ => None,
    }
}

impl Codec {
    /// The kind of media that it codes.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Opus => Kind::Audio,
            _ => Kind::Video,
        }
    }

    /// Encoding name, clock rate and channels as in `a=rtpmap` (RFC 8866 section 6.6).
    pub const fn rtpmap(self) -> &'static str {
        match self {
            Self::Opus => "opus/48000/2",
            Self::Vp8 => "VP8/90000",
            Self::Vp9 { .. } => "VP9/90000",
            Self::H264 { .. } => "H264/90000",
            Self::Av1 { .. } => "AV1/90000",
        }
    }

    /// RTP timestamp units per second.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            _ => 90_000,
        }
    }

    /// Whether packets of a source in this codec may be sent to a receiver of format `receiver`,
    /// as they are. Not symmetric: a Main decoder takes Constrained Baseline, a receiver of H.264
    /// packetization mode 1 takes mode 0 (RFC 6184 section 6.2).
    ///
    /// Baseline and Constrained Baseline count as one, against the letter of the standard: what
    /// Baseline has beyond the other (slice groups, arbitrary slice order) no encoder of the web
    /// makes and no decoder of the web supports. Chromium says `42001f`, Firefox `42e01f`,
    /// GStreamer `42c01f`, and all send and decode the same.
    pub fn compatible_with(&self, receiver: &Self) -> bool {
        match (self, receiver) {
            (
                Self::H264 { profile: source, packetization_mode: source_mode },
                Self::H264 { profile, packetization_mode },
            ) => {
                source_mode <= packetization_mode
                    && h264_decodes(h264_profile(*source), h264_profile(*profile))
            }
            _ => self == receiver,
        }
    }
}

fn h264_decodes(source: Option<H264Profile>, receiver: Option<H264Profile>) -> bool {
    match (source, receiver) {
        (Some(H264Profile::Main), Some(receiver)) => receiver == H264Profile::Main,
        (Some(_), Some(_)) => true,
        (None, _) | (_, None) => false,
    }
}
