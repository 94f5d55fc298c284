//! A slot: one receiving m-section of a subscriber, and the outgoing stream in it. Its SSRCs stay,
//! its source changes.

use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use sfu_proto::{
    sdp::{Codec, Extension, ExtensionMap, Kind, Mid},
    unit::RtpTimestamp,
};

use crate::{
    limits::{FORMATS_MAX, KEY_FRAME_BEGIN_PER_SLOT_MIN},
    media::{
        keyframe::Want,
        resend::Resends,
        rewrite::{Rewriter, ticks},
    },
    router::track::{Format, Formats, Track},
    table::Key,
};

/// Extension ids of one m-section; `None`: not negotiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtensionIds {
    /// MID.
    pub mid: Option<u8>,
    /// RID.
    pub rid: Option<u8>,
    /// RID of a retransmission stream.
    pub repaired_rid: Option<u8>,
    /// Audio level.
    pub audio_level: Option<u8>,
    /// Absolute send time.
    pub abs_send_time: Option<u8>,
    /// Transport-wide sequence number.
    pub transport_sequence: Option<u8>,
    /// Dependency descriptor.
    pub dependency_descriptor: Option<u8>,
}

impl ExtensionIds {
    /// The ids in a negotiated list.
    pub fn new(extensions: &[ExtensionMap]) -> Self {
        let mut ids = Self::default();
        for map in extensions {
            *match map.extension {
                Extension::Mid => &mut ids.mid,
                Extension::RtpStreamId => &mut ids.rid,
                Extension::RepairedRtpStreamId => &mut ids.repaired_rid,
                Extension::AudioLevel => &mut ids.audio_level,
                Extension::AbsSendTime => &mut ids.abs_send_time,
                Extension::TransportSequence => &mut ids.transport_sequence,
                Extension::DependencyDescriptor => &mut ids.dependency_descriptor,
            } = Some(map.id);
        }
        ids
    }
}

/// Payload types for one of the source's formats in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Of the media.
    pub payload_type: u8,
    /// Of its retransmissions.
    pub rtx: Option<u8>,
}

/// A sender report that went out, to recognise its echo in a receiver report.
#[derive(Debug, Clone, Copy)]
pub struct SentReport {
    /// Middle 32 bits of its NTP time.
    pub compact_ntp: u32,
    /// When it went out.
    pub at: Instant,
}

/// A slot.
pub struct Slot {
    /// `a=mid`.
    pub mid: Mid,
    /// Audio or video.
    pub kind: Kind,
    /// Whether the section is open for media.
    pub open: bool,
    /// SSRC of the stream, for ever.
    pub ssrc: u32,
    /// SSRC of its retransmissions.
    pub rtx_ssrc: u32,
    /// `a=msid` of the present section.
    pub msid: (String, String),
    /// Negotiated formats.
    pub formats: Formats,
    /// Negotiated extensions.
    pub ids: ExtensionIds,
    /// Whether two-byte extension headers may appear (RFC 8285 section 4.1.2).
    pub mixed: bool,
    /// The track that is shown.
    pub track: Option<Key<Track>>,
    /// Epoch of the track's layer that the rewriter is set to; `None` before the first packet.
    pub epoch: Option<u32>,
    /// For each of the track's formats, what it is called here.
    pub map: ArrayVec<Option<Mapped>, FORMATS_MAX>,
    /// Outgoing numbers.
    pub rewriter: Rewriter,
    /// Next number of the retransmission stream.
    pub rtx_next: u64,
    /// Repetitions of recent packets, for video.
    pub resends: Option<Resends>,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
    /// Packets sent when the last report was made.
    pub packets_reported: u32,
    /// The last sender reports.
    pub reports: ArrayVec<SentReport, 4>,
    /// When a key frame request was last heeded.
    pub key_frame_at: Option<Instant>,
    /// When a request last counted as a beginning.
    pub begun_at: Option<Instant>,
}

impl Slot {
    /// Whether the slot can show a codec.
    pub fn fits(&self, kind: Kind, codec: Option<Codec>) -> bool {
        self.open
            && self.kind == kind
            && codec.is_some_and(|codec| receiving(&self.formats, codec).is_some())
    }

    /// What asking for a key frame counts as, because the slot begins to show something: a
    /// beginning, unless it begins too often.
    pub fn begin(&mut self, now: Instant) -> Want {
        let recent = |at| now.saturating_duration_since(at) < KEY_FRAME_BEGIN_PER_SLOT_MIN;
        if self.begun_at.is_some_and(recent) {
            return Want::Loss;
        }
        self.begun_at = Some(now);
        Want::Begin
    }

    /// Shows another track, or none.
    pub fn show(&mut self, track: Option<(Key<Track>, &Formats)>) {
        self.epoch = None;
        self.track = track.map(|(key, _)| key);
        self.map.clear();
        if let Some((_, formats)) = track {
            self.remap(formats);
        }
    }

    /// Takes over the track's formats after a negotiation on either side.
    pub fn remap(&mut self, formats: &Formats) {
        self.map = formats.iter().map(|format| self.mapped(format)).collect();
    }

    fn mapped(&self, format: &Format) -> Option<Mapped> {
        let own = receiving(&self.formats, format.codec)?;
        Some(Mapped { payload_type: own.payload_type, rtx: own.rtx })
    }

    /// The stream's timestamp at `elapsed` after the source's timestamp `rtp`.
    pub fn timestamp_at(&self, rtp: RtpTimestamp, elapsed: Duration, clock: u32) -> RtpTimestamp {
        let at = self.rewriter.timestamp(rtp);
        RtpTimestamp(at.0.wrapping_add(ticks(elapsed, clock)))
    }
}

/// The format under which a receiver takes packets of a codec: the very one, else the first that
/// is compatible (clients name H.264's baseline in three ways).
fn receiving(formats: &Formats, codec: Codec) -> Option<&Format> {
    let exact = formats.iter().find(|format| format.codec == codec);
    exact.or_else(|| formats.iter().find(|format| codec.compatible_with(&format.codec)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264(payload_type: u8, profile: u16, packetization_mode: u8) -> Format {
        let codec = Codec::H264 { profile, packetization_mode };
        Format { payload_type, codec, rtx: None, nack: false, pli: true }
    }

    #[test]
    fn a_receiver_takes_the_very_codec_or_else_a_compatible_one() {
        let types = |formats: &[Format], profile, mode| {
            let formats = formats.iter().copied().collect();
            let codec = Codec::H264 { profile, packetization_mode: mode };
            receiving(&formats, codec).map(|format| format.payload_type)
        };
        // As Firefox, GStreamer and Chromium name it.
        let firefox = [h264(126, 0x42e0, 1), h264(97, 0x42e0, 0)];
        let both = [h264(102, 0x4200, 1), h264(108, 0x42e0, 1), h264(96, 0x4d00, 1)];
        for profile in [0x4200, 0x42c0, 0x42e0] {
            assert_eq!(types(&firefox, profile, 1), Some(126), "{profile:x}");
            assert_eq!(types(&firefox[1..], profile, 1), None, "mode 0 takes no mode 1");
        }
        assert_eq!(types(&both, 0x42e0, 1), Some(108));
        assert_eq!(types(&both, 0x42c0, 1), Some(102));
        assert_eq!(types(&firefox, 0x4d00, 1), None);
    }
}
