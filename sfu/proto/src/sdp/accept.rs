//! Our capabilities: which offered formats and extensions an answer takes.

use super::{
    Codec, Direction, Extension, ExtensionMap, Kind, OfferedMedia, PayloadFormat, Rid,
    format::{H264Profile, h264_profile},
};
use crate::limits::SIMULCAST_LAYERS_MAX;

/// The formats that an answer takes from a section, in the client's order, except that among
/// H.264 formats packetization mode 1 comes before mode 0 (mode 0 cannot split a NAL unit, so it
/// cannot carry larger pictures), then Constrained Baseline before the others: a client sends the
/// first one, and that one every receiver has.
///
/// Each keeps its payload type, RTX, feedback and parameters: what we forward is another client's
/// stream, so the parameters are between the clients.
pub fn accept_formats(offered: &OfferedMedia) -> Vec<PayloadFormat> {
    let accepted = |format: &&PayloadFormat| is_accepted(&format.codec);
    let mut formats: Vec<PayloadFormat> =
        offered.formats.iter().filter(accepted).cloned().collect();
    let is_h264 = |format: &PayloadFormat| matches!(format.codec, Codec::H264 { .. });
    let mut h264: Vec<PayloadFormat> = formats.iter().filter(|f| is_h264(f)).cloned().collect();
    h264.sort_by_key(|format| {
        let is_common = is_constrained_baseline(&format.codec);
        std::cmp::Reverse((packetization_mode(&format.codec), is_common))
    });
    // Put them back, sorted, into the places that H.264 has in the client's order.
    let places = formats.iter_mut().filter(|format| is_h264(format));
    places.zip(h264).for_each(|(place, format)| *place = format);
    formats
}

fn is_accepted(codec: &Codec) -> bool {
    match codec {
        Codec::Opus | Codec::Vp8 => true,
        Codec::Vp9 { profile } | Codec::Av1 { profile } => *profile == 0,
        Codec::H264 { profile, .. } => matches!(
            h264_profile(*profile),
            Some(H264Profile::ConstrainedBaseline | H264Profile::Baseline | H264Profile::Main)
        ),
    }
}

fn is_constrained_baseline(codec: &Codec) -> bool {
    matches!(codec, Codec::H264 { profile, .. }
        if h264_profile(*profile) == Some(H264Profile::ConstrainedBaseline))
}

fn packetization_mode(codec: &Codec) -> u8 {
    match codec {
        Codec::H264 { packetization_mode, .. } => *packetization_mode,
        _ => 0,
    }
}

/// The layers that an answer takes from a section, in the client's order; those beyond the limit are
/// refused by leaving them out (RFC 8853 section 5.3.2). Without RIDs in packets nothing would tell
/// them apart, and a single one is no simulcast: then the client sends one stream.
pub fn accept_simulcast(offered: &OfferedMedia) -> Vec<Rid> {
    let sends = matches!(offered.direction, Direction::SendOnly | Direction::SendRecv);
    let has_rids = offered.extensions.iter().any(|map| map.extension == Extension::RtpStreamId);
    let is_usable = offered.kind == Some(Kind::Video) && sends && has_rids;
    if !is_usable || offered.simulcast.len() < 2 {
        return Vec::new();
    }
    offered.simulcast.iter().take(SIMULCAST_LAYERS_MAX).cloned().collect()
}

/// The extensions that an answer takes from a section; RIDs only with simulcast.
pub fn accept_extensions(offered: &OfferedMedia) -> Vec<ExtensionMap> {
    let has_layers = !accept_simulcast(offered).is_empty();
    let accepted = |map: &&ExtensionMap| match map.extension {
        Extension::Mid | Extension::AbsSendTime | Extension::TransportSequence => true,
        Extension::AudioLevel => offered.kind == Some(Kind::Audio),
        Extension::DependencyDescriptor => offered.kind == Some(Kind::Video),
        Extension::RtpStreamId | Extension::RepairedRtpStreamId => has_layers,
    };
    offered.extensions.iter().filter(accepted).copied().collect()
}
