//! What is told about each file.

use serde::{Deserialize, Serialize};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, TrackId},
    sdp::Codec,
};

/// A codec's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecName {
    /// RFC 6716.
    Opus,
    /// RFC 6386.
    Vp8,
    /// VP9.
    Vp9,
    /// ITU-T H.264.
    H264,
    /// AV1.
    Av1,
}

impl From<Codec> for CodecName {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::Opus => Self::Opus,
            Codec::Vp8 => Self::Vp8,
            Codec::Vp9 { .. } => Self::Vp9,
            Codec::H264 { .. } => Self::H264,
            Codec::Av1 { .. } => Self::Av1,
        }
    }
}

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// RFC 3533, RFC 7845.
    Ogg,
    /// RFC 9559 with the codecs of WebM.
    Webm,
    /// ISO/IEC 14496-12, fragmented.
    Mp4,
}

impl Container {
    /// Its usual file name ending, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Ogg => "ogg",
            Self::Webm => "webm",
            Self::Mp4 => "mp4",
        }
    }

    /// Its media type, for audio or for video.
    pub const fn media_type(self, is_video: bool) -> &'static str {
        match (self, is_video) {
            (Self::Ogg, _) => "audio/ogg",
            (Self::Webm, false) => "audio/webm",
            (Self::Webm, true) => "video/webm",
            (Self::Mp4, false) => "audio/mp4",
            (Self::Mp4, true) => "video/mp4",
        }
    }
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// File name, unique in the recording, of letters, digits, `-` and `.`: number of the track, of its
    /// part, and its source.
    pub name: String,
    /// The track.
    pub track: TrackId,
    /// Who published it.
    pub participant: ParticipantId,
    /// What it shows.
    pub source: Source,
    /// 0, or how often the track had changed its codec.
    pub part: u32,
    /// How it is encoded: as the publisher did.
    pub codec: CodecName,
    /// The file's format.
    pub container: Container,
}

/// Why there is nothing in a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// Packets were lost on the way, or could not be decoded because of that.
    Loss,
    /// The track was muted.
    Muted,
    /// Silence: the publisher sent nothing (discontinuous transmission).
    Dtx,
    /// The track was not recorded: recording was paused, or the track not chosen.
    NotRecorded,
    /// The recorder lost packets.
    RecorderLoss,
    /// The publisher began anew: another SSRC.
    Restart,
}

/// A stretch of time with nothing in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Milliseconds since the start of the recording.
    pub from_ms: u64,
    /// Milliseconds since the start of the recording.
    pub to_ms: u64,
    /// Why.
    pub kind: GapKind,
}

/// A picture size from some time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Milliseconds since the start of the recording.
    pub at_ms: u64,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

/// What sender reports told of the media clock.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SenderFit {
    /// How much faster the media clock ran than the publisher's wall clock, parts per million; none when
    /// there were too few reports to tell.
    pub ppm: Option<f64>,
    /// Sender reports used.
    pub reports: u64,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackResult {
    /// What it is.
    #[serde(flatten)]
    pub file: FileInfo,
    /// When it begins, milliseconds since the start of the recording.
    pub offset_ms: u64,
    /// How long it is, milliseconds.
    pub duration_ms: u64,
    /// Bytes of the file, unsealed.
    pub bytes: u64,
    /// Pictures, or audio packets.
    pub frames: u64,
    /// Those that could not be decoded and are left out.
    pub frames_left_out: u64,
    /// Key frames; for audio all are.
    pub key_frames: u64,
    /// Picture sizes.
    pub resolutions: Vec<Resolution>,
    /// Stretches with nothing in them, ascending.
    pub gaps: Vec<Gap>,
    /// Gaps too many to be listed.
    pub gaps_left_out: u64,
    /// What sender reports told; none when the publisher sent none, then arrival times were used.
    pub sr_fit: Option<SenderFit>,
}
