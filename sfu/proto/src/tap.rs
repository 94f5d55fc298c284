//! The tap: what a media node hands the recorder of chosen tracks, as [`Record`]s in [`Batch`]es.
//!
//! The stream is the repaired one: after decryption, duplicate removal and RTX, before any rewriting
//! for subscribers. Packets come in order of arrival, so a repaired one comes late; its extended
//! sequence number says where it belongs. A track has a small index within its recording.
//!
//! ```text
//! record:  u32 length of the rest │ u8 kind │ u64 time, µs since 1970 on the node's clock │ body
//! Track    1 │ u16 index │ u128 track │ u128 participant │ u8 source │ u8 codec │ u16 parameter │ u8 mode
//! Packet   2 │ u16 index │ u64 sequence │ u32 timestamp │ u8 flags │ u8 level │ u8 n │ n bytes │ payload
//! Report   3 │ u16 index │ u64 NTP │ u32 timestamp
//! Muted    4 │ u16 index │ u8 0 or 1
//! Ended    5 │ u16 index
//! Lost     6 │ u32 records
//! Speakers 7 │ u16 index, loudest first, to the end
//! Data     8 │ u32 texts lost before │ u128 participant │ u8 n │ n × u128 participant │ UTF-8 to the end
//! ```
//! Texts come from the room, not from its media node: on the same kind of clock, sooner or later than
//! packets of the same moment by as long as a batch waits.
//! All little endian. The journal of the recorder keeps these bytes as they are. Records of kinds
//! that a reader does not know are skipped by their length.

use std::fmt;

use crate::{
    control::Source,
    id::{ParticipantId, RecordingId, TrackId},
    limits::{TAP_DESCRIPTOR_BYTES_MAX, TAP_NAMED_MAX, TAP_RECORD_BYTES_MAX, TAP_TEXT_BYTES_MAX},
    sdp::Codec,
    unit::{RtpTimestamp, SeqNo},
};

/// Whole records of one recording, in order.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    /// The recording.
    pub recording: RecordingId,
    /// Records, one behind the other.
    pub bytes: Vec<u8>,
}

/// Something that happened to a recorded track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// Microseconds since 1970 on the node's clock, which never jumps while the node runs.
    pub time_us: u64,
    /// What.
    pub body: Body<'a>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Body<'a> {
    /// A track begins, or begins anew: another codec or another SSRC. Sequence numbers, timestamps
    /// and sender reports from here on have nothing to do with those before (a new epoch).
    Track {
        /// Names the track in later records. The same track keeps its index.
        index: u16,
        /// The track.
        track: TrackId,
        /// Who publishes it.
        participant: ParticipantId,
        /// What it shows.
        source: Source,
        /// How it is encoded.
        codec: Codec,
    },
    /// An RTP packet.
    Packet(Packet<'a>),
    /// A sender report of the publisher (RFC 3550 section 6.4.1).
    Report {
        /// The track.
        index: u16,
        /// The publisher's wall clock, 64-bit NTP format.
        ntp: u64,
        /// The same moment on the track's media clock.
        timestamp: RtpTimestamp,
    },
    /// The track was muted or unmuted, by anybody. No packets come while it is.
    Muted {
        /// The track.
        index: u16,
        /// Whether it is.
        muted: bool,
    },
    /// The track ended or is no longer recorded.
    Ended {
        /// The track.
        index: u16,
    },
    /// The recorder was too slow: records before this one are missing, of any track.
    Lost {
        /// How many.
        records: u32,
    },
    /// Who speaks.
    Speakers(Indexes<'a>),
    /// A text from one participant to others.
    Data(Data<'a>),
}

/// A text of a recorded room.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// Texts before this one that the recorder was too slow for.
    pub lost: u32,
    /// Who sent it.
    pub from: ParticipantId,
    /// To whom; nobody is everybody.
    pub to: Named<'a>,
    /// As sent.
    pub text: &'a str,
}

/// What people say stays out of logs.
impl fmt::Debug for Data<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Data").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// Participants in wire form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Named<'a>(&'a [u8]);

impl Named<'_> {
    /// They.
    pub fn iter(&self) -> impl Iterator<Item = ParticipantId> {
        let ids = self.0.as_chunks::<16>().0.iter();
        ids.map(|id| ParticipantId::from_bits(u128::from_le_bytes(*id)))
    }
}

/// An RTP packet of a recorded track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Packet<'a> {
    /// The track.
    pub index: u16,
    /// Extended sequence number; counts from anywhere within an epoch.
    pub seq: SeqNo,
    /// RTP timestamp.
    pub timestamp: RtpTimestamp,
    /// RTP marker bit.
    pub marker: bool,
    /// Audio level (RFC 6464), −dBov, the voice bit in front; none without the extension.
    pub level: Option<u8>,
    /// Dependency descriptor (AV1 RTP payload format 1.0, appendix A), or empty.
    pub descriptor: &'a [u8],
    /// RTP payload without padding.
    pub payload: &'a [u8],
}

/// Track indexes in wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indexes<'a>(&'a [u8]);

impl Indexes<'_> {
    /// The indexes.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
    }
}

/// Why bytes are not records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// The bytes end within a record.
    #[error("ends within a record")]
    Truncated,
    /// A record is longer than any may be.
    #[error("a record of {0} bytes is longer than any may be")]
    TooLong(usize),
    /// A record's body is not as its kind demands.
    #[error("malformed record of kind {0}")]
    Malformed(u8),
}

const TRACK: u8 = 1;
const PACKET: u8 = 2;
const REPORT: u8 = 3;
const MUTED: u8 = 4;
const ENDED: u8 = 5;
const LOST: u8 = 6;
const SPEAKERS: u8 = 7;
const DATA: u8 = 8;
/// Whom no participant is called: ids are random.
const NOBODY: ParticipantId = ParticipantId::from_bits(0);

const MARKER: u8 = 1;
const NO_LEVEL: u8 = 0xff;

/// Appends a record of `kind` whose body `write` writes.
fn record(out: &mut Vec<u8>, kind: u8, time_us: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    out.extend_from_slice(&time_us.to_le_bytes());
    write(out);
    let len = (out.len() - at - 4) as u32; // bounded by the parts that callers put in
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

impl Record<'_> {
    /// Appends its wire form. A descriptor above its limit is left out.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.body {
            Body::Packet(packet) => record(out, PACKET, self.time_us, |out| packet.write(out)),
            Body::Track { index, track, participant, source, codec } => {
                record(out, TRACK, self.time_us, |out| {
                    out.extend_from_slice(&index.to_le_bytes());
                    out.extend_from_slice(&track.bits().to_le_bytes());
                    out.extend_from_slice(&participant.bits().to_le_bytes());
                    out.push(source_code(source));
                    let (codec, parameter, mode) = codec_code(codec);
                    out.push(codec);
                    out.extend_from_slice(&parameter.to_le_bytes());
                    out.push(mode);
                });
            }
            Body::Report { index, ntp, timestamp } => record(out, REPORT, self.time_us, |out| {
                out.extend_from_slice(&index.to_le_bytes());
                out.extend_from_slice(&ntp.to_le_bytes());
                out.extend_from_slice(&timestamp.0.to_le_bytes());
            }),
            Body::Muted { index, muted } => record(out, MUTED, self.time_us, |out| {
                out.extend_from_slice(&index.to_le_bytes());
                out.push(u8::from(muted));
            }),
            Body::Ended { index } => record(out, ENDED, self.time_us, |out| {
                out.extend_from_slice(&index.to_le_bytes());
            }),
            Body::Lost { records } => record(out, LOST, self.time_us, |out| {
                out.extend_from_slice(&records.to_le_bytes());
            }),
            Body::Speakers(Indexes(indexes)) => {
                record(out, SPEAKERS, self.time_us, |out| out.extend_from_slice(indexes));
            }
            Body::Data(Data { lost, from, to: Named(ids), text }) => {
                record(out, DATA, self.time_us, |out| data(out, (lost, from), ids, text));
            }
        }
    }
}

/// Appends who speaks, loudest first.
pub fn write_speakers(out: &mut Vec<u8>, time_us: u64, indexes: impl Iterator<Item = u16>) {
    record(out, SPEAKERS, time_us, |out| {
        indexes.for_each(|index| out.extend_from_slice(&index.to_le_bytes()));
    });
}

/// Appends a text of `from` to `to`, or to everybody if that is empty, `lost` others before it being
/// missing.
///
/// # Errors
/// Nothing is written of one above [`TAP_TEXT_BYTES_MAX`] bytes, or to more than [`TAP_NAMED_MAX`].
pub fn write_data(
    out: &mut Vec<u8>,
    time_us: u64,
    (lost, from): (u32, ParticipantId),
    to: &[ParticipantId],
    text: &str,
) -> Result<(), TooLarge> {
    if text.len() > TAP_TEXT_BYTES_MAX || to.len() > TAP_NAMED_MAX {
        return Err(TooLarge);
    }
    let ids: Vec<u8> = to.iter().flat_map(|id| id.bits().to_le_bytes()).collect();
    record(out, DATA, time_us, |out| data(out, (lost, from), &ids, text));
    Ok(())
}

/// Appends that `lost` texts are missing, when no text comes any more that could tell: a text of nobody.
pub fn write_texts_lost(out: &mut Vec<u8>, time_us: u64, lost: u32) {
    record(out, DATA, time_us, |out| data(out, (lost, NOBODY), &[], ""));
}

/// A text, or those whom it names, are more than a record may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text that is longer, or names more participants, than a record may hold")]
pub struct TooLarge;

fn data(out: &mut Vec<u8>, (lost, from): (u32, ParticipantId), ids: &[u8], text: &str) {
    out.extend_from_slice(&lost.to_le_bytes());
    out.extend_from_slice(&from.bits().to_le_bytes());
    out.push((ids.len() / 16) as u8); // at most TAP_NAMED_MAX
    out.extend_from_slice(ids);
    out.extend_from_slice(text.as_bytes());
}

impl Data<'_> {
    /// Whether it is no text, and only tells how many are lost.
    pub fn is_count(&self) -> bool {
        self.from == NOBODY
    }

    fn parse<'a>(fields: &mut Fields<'a>) -> Option<Data<'a>> {
        let lost = fields.u32()?;
        let from = ParticipantId::from_bits(fields.u128()?);
        let named = usize::from(fields.u8()?);
        let to = Named(fields.take(16 * named)?);
        let text = str::from_utf8(fields.rest()).ok()?;
        let fits = named <= TAP_NAMED_MAX && text.len() <= TAP_TEXT_BYTES_MAX;
        fits.then_some(Data { lost, from, to, text })
    }
}

impl Packet<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let fits = self.descriptor.len() <= TAP_DESCRIPTOR_BYTES_MAX;
        let descriptor = if fits { self.descriptor } else { &[] };
        out.extend_from_slice(&self.index.to_le_bytes());
        out.extend_from_slice(&self.seq.0.to_le_bytes());
        out.extend_from_slice(&self.timestamp.0.to_le_bytes());
        out.push(if self.marker { MARKER } else { 0 });
        out.push(self.level.unwrap_or(NO_LEVEL));
        out.push(descriptor.len() as u8); // at most TAP_DESCRIPTOR_BYTES_MAX
        out.extend_from_slice(descriptor);
        out.extend_from_slice(self.payload);
    }

    fn parse<'a>(body: &mut Fields<'a>) -> Option<Packet<'a>> {
        let index = body.u16()?;
        let seq = SeqNo(body.u64()?);
        let timestamp = RtpTimestamp(body.u32()?);
        let flags = body.u8()?;
        let level = body.u8()?;
        let descriptor = usize::from(body.u8()?);
        let descriptor = body.take(descriptor)?;
        Some(Packet {
            index,
            seq,
            timestamp,
            marker: flags & MARKER != 0,
            level: (level != NO_LEVEL).then_some(level),
            descriptor,
            payload: body.rest(),
        })
    }
}

/// The records of a batch, in order. Ends after the first error.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes }
}

/// Iterator of [`records`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, TapError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match split(self.rest) {
                Ok((body, rest)) => {
                    self.rest = rest;
                    if let Some(result) = parse(body).transpose() {
                        return Some(result.inspect_err(|_| self.rest = &[]));
                    }
                }
                Err(error) => {
                    self.rest = &[];
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Cuts the first record off.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), TapError> {
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or(TapError::Truncated)?;
    let len = u32::from_le_bytes(*len) as usize;
    if len > TAP_RECORD_BYTES_MAX {
        return Err(TapError::TooLong(len));
    }
    rest.split_at_checked(len).ok_or(TapError::Truncated)
}

/// None: of a kind that we do not know.
fn parse(record: &[u8]) -> Result<Option<Record<'_>>, TapError> {
    let mut fields = Fields(record);
    let kind = fields.u8().ok_or(TapError::Malformed(0))?;
    let malformed = TapError::Malformed(kind);
    let time_us = fields.u64().ok_or(malformed)?;
    if !(TRACK..=DATA).contains(&kind) {
        return Ok(None);
    }
    let body = parse_body(kind, &mut fields).ok_or(malformed)?;
    Ok(Some(Record { time_us, body }))
}

fn parse_body<'a>(kind: u8, fields: &mut Fields<'a>) -> Option<Body<'a>> {
    Some(match kind {
        TRACK => Body::Track {
            index: fields.u16()?,
            track: TrackId::from_bits(fields.u128()?),
            participant: ParticipantId::from_bits(fields.u128()?),
            source: *Source::ALL.get(usize::from(fields.u8()?))?,
            codec: codec_of(fields.u8()?, fields.u16()?, fields.u8()?)?,
        },
        PACKET => Body::Packet(Packet::parse(fields)?),
        REPORT => Body::Report {
            index: fields.u16()?,
            ntp: fields.u64()?,
            timestamp: RtpTimestamp(fields.u32()?),
        },
        MUTED => Body::Muted { index: fields.u16()?, muted: fields.u8()? != 0 },
        ENDED => Body::Ended { index: fields.u16()? },
        LOST => Body::Lost { records: fields.u32()? },
        SPEAKERS => {
            let indexes = fields.rest();
            indexes.len().is_multiple_of(2).then_some(Body::Speakers(Indexes(indexes)))?
        }
        DATA => Body::Data(Data::parse(fields)?),
        _ => return None,
    })
}

/// Position in [`Source::ALL`].
const fn source_code(source: Source) -> u8 {
    match source {
        Source::Camera => 0,
        Source::Microphone => 1,
        Source::Screen => 2,
        Source::ScreenAudio => 3,
    }
}

const fn codec_code(codec: Codec) -> (u8, u16, u8) {
    match codec {
        Codec::Opus => (0, 0, 0),
        Codec::Vp8 => (1, 0, 0),
        Codec::Vp9 { profile } => (2, profile as u16, 0),
        Codec::H264 { profile, packetization_mode } => (3, profile, packetization_mode),
        Codec::Av1 { profile } => (4, profile as u16, 0),
    }
}

const fn codec_of(code: u8, parameter: u16, mode: u8) -> Option<Codec> {
    let [low, high] = parameter.to_le_bytes();
    Some(match (code, high) {
        (0, _) => Codec::Opus,
        (1, _) => Codec::Vp8,
        (2, 0) => Codec::Vp9 { profile: low },
        (3, _) => Codec::H264 { profile: parameter, packetization_mode: mode },
        (4, 0) => Codec::Av1 { profile: low },
        _ => return None,
    })
}

/// Reads little-endian fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn all() -> Vec<Record<'static>> {
        let id = |n: u128| TrackId::from_bits(n);
        let codecs = [
            Codec::Opus,
            Codec::Vp8,
            Codec::Vp9 { profile: 2 },
            Codec::H264 { profile: 0x42e0, packetization_mode: 1 },
            Codec::Av1 { profile: 0 },
        ];
        let tracks = codecs.into_iter().zip(Source::ALL.into_iter().cycle()).enumerate().map(
            |(n, (codec, source))| Body::Track {
                index: n as u16,
                track: id(n as u128),
                participant: ParticipantId::from_bits(u128::MAX - n as u128),
                source,
                codec,
            },
        );
        let packet = Packet {
            index: 7,
            seq: SeqNo(1 << 40),
            timestamp: RtpTimestamp(u32::MAX),
            marker: true,
            level: Some(127),
            descriptor: &[1, 2, 3],
            payload: &[9; 1200],
        };
        let others = [
            Body::Packet(packet),
            Body::Packet(Packet {
                level: None,
                marker: false,
                descriptor: &[],
                payload: &[],
                ..packet
            }),
            Body::Report { index: 1, ntp: u64::MAX, timestamp: RtpTimestamp(5) },
            Body::Muted { index: 1, muted: true },
            Body::Ended { index: 1 },
            Body::Lost { records: 12 },
            Body::Speakers(Indexes(&[1, 0, 2, 0])),
            Body::Data(Data {
                lost: 3,
                from: ParticipantId::from_bits(1 << 100),
                to: Named(&[7; 32]),
                text: "said to two: é",
            }),
            Body::Data(Data {
                lost: 0,
                from: ParticipantId::from_bits(5),
                to: Named(&[]),
                text: "",
            }),
        ];
        let time = |(n, body)| Record { time_us: 1_700_000_000_000_000 + n as u64, body };
        tracks.chain(others).enumerate().map(time).collect()
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        all().iter().for_each(|record| record.write(&mut bytes));
        let read: Vec<_> = records(&bytes).map(Result::unwrap).collect();
        assert_eq!(read, all());
    }

    #[test]
    fn unknown_kinds_are_skipped() {
        let mut bytes = Vec::new();
        record(&mut bytes, 99, 1, |out| out.extend_from_slice(b"later"));
        Record { time_us: 2, body: Body::Ended { index: 3 } }.write(&mut bytes);
        let read: Vec<_> = records(&bytes).map(Result::unwrap).collect();
        assert_eq!(read, [Record { time_us: 2, body: Body::Ended { index: 3 } }]);
    }

    #[test]
    fn every_truncation_ends_in_an_error_or_between_records() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for record in all() {
            record.write(&mut bytes);
            ends.push(bytes.len());
        }
        for len in 0..bytes.len() {
            let is_whole = records(&bytes[..len]).all(|record| record.is_ok());
            assert_eq!(is_whole, ends.contains(&len), "{len}");
        }
    }

    #[test]
    fn a_lying_length_is_refused() {
        let bytes = u32::MAX.to_le_bytes();
        assert!(matches!(records(&bytes).next(), Some(Err(TapError::TooLong(_)))));
    }

    #[test]
    fn a_text_that_fits_no_record_is_not_written() {
        let (from, mut out) = (ParticipantId::from_bits(1), Vec::new());
        let long = "x".repeat(TAP_TEXT_BYTES_MAX);
        let many = [from; TAP_NAMED_MAX];
        assert_eq!(write_data(&mut out, 1, (0, from), &[], &format!("{long}x")), Err(TooLarge));
        assert_eq!(
            write_data(&mut out, 1, (0, from), &[from; TAP_NAMED_MAX + 1], ""),
            Err(TooLarge)
        );
        assert!(out.is_empty());
        assert_eq!(write_data(&mut out, 1, (0, from), &many, &long), Ok(()));
        let read = records(&out).next().unwrap().unwrap();
        let Body::Data(data) = read.body else { panic!("{read:?}") };
        assert!(data.to.iter().eq(many) && data.text == long);
        assert!(!format!("{read:?}").contains("xxx"), "what people say is in no log");
    }

    #[test]
    fn a_text_that_is_none_is_malformed() {
        let (from, mut out) = (ParticipantId::from_bits(1), Vec::new());
        write_data(&mut out, 1, (0, from), &[], "ab").unwrap();
        *out.last_mut().unwrap() = 0xff;
        assert_eq!(records(&out).next(), Some(Err(TapError::Malformed(DATA))));
        let len = out.len();
        out[len - 3] = 9; // nine participants that are not there
        assert_eq!(records(&out).next(), Some(Err(TapError::Malformed(DATA))));
    }

    proptest! {
        #[test]
        fn texts_are_read_as_they_were_written(
            text in "\\PC{0,300}",
            ids in prop::collection::vec(any::<u128>(), 0..TAP_NAMED_MAX),
            (lost, from, time_us) in (any::<u32>(), any::<u128>(), any::<u64>()),
        ) {
            let from = ParticipantId::from_bits(from);
            let to: Vec<_> = ids.into_iter().map(ParticipantId::from_bits).collect();
            let mut bytes = Vec::new();
            write_data(&mut bytes, time_us, (lost, from), &to, &text).unwrap();
            let read = records(&bytes).next().unwrap().unwrap();
            let Body::Data(data) = read.body else { panic!("{read:?}") };
            prop_assert_eq!((read.time_us, data.lost, data.from), (time_us, lost, from));
            prop_assert!(data.to.iter().eq(to) && data.text == text);
            let mut again = Vec::new();
            read.write(&mut again);
            prop_assert_eq!(again, bytes);
        }

        #[test]
        fn any_bytes_are_read_without_panic_and_in_bounded_steps(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(records(&bytes).count() <= bytes.len());
        }
    }
}
