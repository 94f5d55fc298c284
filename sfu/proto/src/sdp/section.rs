//! One m-section of an offer.

use std::collections::BTreeSet;

use rtc_sdp::description::{common::Attribute, media::MediaDescription};

use super::{
    Direction, Extension, ExtensionMap, Kind, OfferedMedia, SdpError, SsrcPair, format, mid,
    simulcast,
};
use crate::limits::SDP_SSRCS_PER_SECTION_MAX;

/// Reads the section with this index. `session_direction` stands where it has none of its own.
pub(super) fn read(
    section: usize,
    media: &MediaDescription,
    session_direction: Direction,
) -> Result<OfferedMedia, SdpError> {
    let kind = kind(section, media)?;
    let (mut formats, mut extensions, mut ssrcs) = (Vec::new(), Vec::new(), Vec::new());
    let mut simulcast = Vec::new();
    if let Some(kind) = kind {
        let payload_types = payload_types(section, &media.media_name.formats)?;
        formats = format::formats(kind, &payload_types, &media.attributes);
        extensions = self::extensions(&media.attributes);
        ssrcs = self::ssrcs(section, &media.attributes)?;
        simulcast = simulcast::read(section, &media.attributes)?;
    }
    Ok(OfferedMedia {
        mid: mid(section, media)?,
        kind,
        refused_line: line(section, media)?,
        stopped: media.media_name.port.value == 0 && !media.has_attribute("bundle-only"),
        direction: direction(&media.attributes).unwrap_or(session_direction),
        formats,
        extensions,
        ssrcs,
        simulcast,
    })
}

/// `None` for what is to be refused. Audio or video that is not DTLS-SRTP is an error, not a
/// refusal: the client must not come to believe that it could send in clear.
fn kind(section: usize, media: &MediaDescription) -> Result<Option<Kind>, SdpError> {
    let kind = match media.media_name.media.as_str() {
        "audio" => Kind::Audio,
        "video" => Kind::Video,
        _ => return Ok(None),
    };
    let protocols: Vec<&str> = media.media_name.protos.iter().map(String::as_str).collect();
    match protocols[..] {
        // RFC 5764 section 8, RFC 7850.
        ["UDP" | "TCP", "TLS", "RTP", "SAVPF"] => Ok(Some(kind)),
        _ => Err(SdpError::Protocol { section }),
    }
}

fn payload_types(section: usize, formats: &[String]) -> Result<Vec<u8>, SdpError> {
    let number = |text: &String| text.parse().ok().filter(|number| *number < 128);
    formats.iter().map(|text| number(text).ok_or(SdpError::PayloadType { section })).collect()
}

fn mid(section: usize, media: &MediaDescription) -> Result<super::Mid, SdpError> {
    let text = media.attribute("mid").flatten().ok_or(SdpError::Mid { section })?;
    text.trim().parse().map_err(|_| SdpError::Mid { section })
}

/// The m-line without its port. It comes back in the answer, so it must be tokens.
fn line(section: usize, media: &MediaDescription) -> Result<String, SdpError> {
    let name = &media.media_name;
    let line = format!("{} {} {}", name.media, name.protos.join("/"), name.formats.join(" "));
    let is_clean = line.bytes().all(|byte| matches!(byte, b' ' | b'/') || mid::is_token(byte));
    if is_clean { Ok(line) } else { Err(SdpError::Protocol { section }) }
}

/// The first direction attribute (RFC 8866 section 6.7).
pub(super) fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| match attribute.key.trim() {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    })
}

/// `a=extmap:<id>[/direction] <URI> [attributes]` (RFC 8285 section 5). The first mapping of an
/// extension counts, and the first meaning of an id.
fn extensions(attributes: &[Attribute]) -> Vec<ExtensionMap> {
    let mut maps: Vec<ExtensionMap> = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.key == "extmap") {
        let map = attribute.value.as_deref().and_then(extension);
        if let Some(map) = map
            && !maps.iter().any(|m| m.id == map.id || m.extension == map.extension)
        {
            maps.push(map);
        }
    }
    maps
}

fn extension(value: &str) -> Option<ExtensionMap> {
    let mut words = value.split_ascii_whitespace();
    let id = words.next()?.split('/').next()?.parse().ok().filter(|id| *id != 0)?;
    Some(ExtensionMap { id, extension: Extension::from_uri(words.next()?)? })
}

impl Extension {
    const ALL: [Self; 7] = [
        Self::Mid,
        Self::RtpStreamId,
        Self::RepairedRtpStreamId,
        Self::AudioLevel,
        Self::AbsSendTime,
        Self::TransportSequence,
        Self::DependencyDescriptor,
    ];

    /// The URI that names it in `a=extmap`.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::RtpStreamId => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRtpStreamId => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::TransportSequence => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
        }
    }

    fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }
}

/// Media SSRCs in order of appearance, each with its retransmission SSRC (RFC 5576, RFC 4588
/// section 8.8). SSRCs that repair others (FID, FEC-FR) do not count as media.
fn ssrcs(section: usize, attributes: &[Attribute]) -> Result<Vec<SsrcPair>, SdpError> {
    let mut pairs: Vec<SsrcPair> = Vec::new();
    let mut seen = BTreeSet::new();
    for value in values(attributes, "ssrc") {
        let ssrc = value.split_ascii_whitespace().next().and_then(|text| text.parse().ok());
        let Some(media) = ssrc else { continue };
        if seen.insert(media) {
            pairs.push(SsrcPair { media, rtx: None });
        }
        if seen.len() > SDP_SSRCS_PER_SECTION_MAX {
            return Err(SdpError::TooManySsrcs { section });
        }
    }
    for value in values(attributes, "ssrc-group") {
        let mut words = value.split_ascii_whitespace();
        let semantics = words.next();
        let [media, repair] = [words.next(), words.next()].map(|w| w.and_then(|w| w.parse().ok()));
        let (Some(media), Some(repair)) = (media, repair) else { continue };
        if !matches!(semantics, Some("FID" | "FEC-FR")) || media == repair {
            continue;
        }
        pairs.retain(|pair| pair.media != repair);
        if semantics == Some("FID")
            && let Some(pair) = pairs.iter_mut().find(|pair| pair.media == media)
        {
            pair.rtx.get_or_insert(repair);
        }
    }
    Ok(pairs)
}

/// The values of an attribute, in order.
pub(super) fn values<'a>(attributes: &'a [Attribute], key: &str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |a| a.key == key).filter_map(|a| a.value.as_deref())
}
