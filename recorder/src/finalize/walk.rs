//! Walks over the records of a recording, in both passes alike: which track, epoch and file each
//! belongs to, and the units that come of its packets.

use std::collections::BTreeMap;

use sfu_proto::{
    control::Source,
    id::{ParticipantId, TrackId},
    sdp::Codec,
    tap::{self, Body, Record},
};

use super::{FinalizeError, repeats::Repeats};
use crate::{
    align::{Moment, Unwrap},
    depacketize::{Breaks, Incoming, Stream, Unit},
    limits::{FILES_MAX, RECORDING_US_MAX, SPEAKERS_MAX},
    mux::MuxError,
};

/// A file: the index of its track, and which of its codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileKey {
    pub(crate) index: u16,
    pub(crate) part: u32,
}

/// A track as it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) track: TrackId,
    pub(crate) participant: ParticipantId,
    pub(crate) source: Source,
    pub(crate) codec: Codec,
}

impl Track {
    /// Ticks per second of its RTP timestamps.
    pub(crate) const fn hz(&self) -> u32 {
        match self.codec {
            Codec::Opus => 48_000,
            Codec::Vp8 | Codec::Vp9 { .. } | Codec::H264 { .. } | Codec::Av1 { .. } => 90_000,
        }
    }
}

/// What happened, besides packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Happening {
    Began { key: FileKey, epoch: u32, track: Track },
    Muted { index: u16, muted: bool },
    Ended { index: u16 },
    Lost { records: u32 },
    Speakers(Vec<u16>),
}

/// What a pass does with what it meets.
pub(crate) trait Visitor {
    /// Something happened at `at_us` on the node's clock.
    fn happened(&mut self, what: Happening, at_us: i64) -> Result<(), MuxError>;
    /// A packet arrived, in whatever order.
    fn packet(&mut self, _index: u16, _moment: Moment, _level: Option<u8>) {}
    /// A sender report arrived.
    fn report(&mut self, _index: u16, _moment: Moment, _ntp: u64) {}
    /// A text was sent at `at_us` on the room's clock.
    fn text(&mut self, _at_us: i64) {}
    /// A unit is complete.
    fn unit(&mut self, key: FileKey, unit: Unit) -> Result<(), MuxError>;
    /// Units of a file were left out.
    fn left_out(&mut self, key: FileKey, units: u64);
}

/// The times of the records are too far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Why a walk ended early.
pub(crate) enum WalkError {
    TooLong,
    Mux(MuxError),
}

impl From<WalkError> for FinalizeError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::TooLong => Self::TooLong,
            WalkError::Mux(error) => Self::File(error),
        }
    }
}

impl From<MuxError> for WalkError {
    fn from(error: MuxError) -> Self {
        Self::Mux(error)
    }
}

/// The state between records.
#[derive(Default)]
pub(crate) struct Walk {
    tracks: BTreeMap<u16, Live>,
    start_us: Option<i64>,
    now_us: i64,
    files: usize,
    units: Vec<Unit>,
    repeats: Repeats,
}

struct Live {
    key: FileKey,
    epoch: u32,
    /// When the epoch began, µs since 1970.
    since_us: u64,
    track: Track,
    unwrap: Unwrap,
    stream: Stream,
}

impl Walk {
    /// Takes a batch of records. What is malformed, and what follows it in the batch, is skipped as lost.
    pub(crate) fn feed(
        &mut self,
        batch: &[u8],
        visitor: &mut impl Visitor,
    ) -> Result<(), WalkError> {
        for record in tap::records(batch) {
            match record {
                Ok(record) if self.repeats.has(&record) || self.is_of_before(&record) => {}
                // Texts come by another thread, some milliseconds sooner or later than packets of the
                // same time: they move no clock.
                Ok(Record { time_us, body: Body::Data(_) }) => {
                    visitor.text(i64::try_from(time_us).unwrap_or(i64::MAX));
                }
                Ok(record) => {
                    self.tell(record.time_us)?;
                    self.record(&record, visitor)?;
                }
                Err(_) => self.lost(1, visitor)?,
            }
        }
        Ok(())
    }

    /// Whether it belongs to an epoch before the present one of its track: records of a track are written in
    /// order, so it was given again, after a crash of the recorder's process. In this epoch its numbers would
    /// be wrong.
    fn is_of_before(&self, record: &Record<'_>) -> bool {
        let (Body::Packet(tap::Packet { index, .. }) | Body::Report { index, .. }) = &record.body
        else {
            return false;
        };
        self.tracks.get(index).is_some_and(|live| record.time_us < live.since_us)
    }

    /// The recording ends.
    pub(crate) fn finish(mut self, visitor: &mut impl Visitor) -> Result<(), WalkError> {
        for mut live in std::mem::take(&mut self.tracks).into_values() {
            live.stream.flush(&mut self.units);
            self.deliver(live.key, visitor)?;
            visitor.left_out(live.key, live.stream.left_out());
        }
        Ok(())
    }

    /// It is `time_us` now. The node's clock never goes back.
    fn tell(&mut self, time_us: u64) -> Result<(), WalkError> {
        let time_us = i64::try_from(time_us).map_err(|_| WalkError::TooLong)?;
        let start_us = *self.start_us.get_or_insert(time_us);
        self.now_us = self.now_us.max(time_us).max(start_us);
        if self.now_us - start_us > RECORDING_US_MAX { Err(WalkError::TooLong) } else { Ok(()) }
    }

    fn record(&mut self, record: &Record<'_>, visitor: &mut impl Visitor) -> Result<(), WalkError> {
        match &record.body {
            Body::Packet(packet) => self.packet(packet, visitor),
            Body::Report { index, ntp, timestamp } => {
                if let Some(live) = self.tracks.get_mut(index) {
                    let ticks = live.unwrap.peek(*timestamp, self.now_us);
                    let moment = Moment { epoch: live.epoch, ticks, arrival_us: self.now_us };
                    visitor.report(*index, moment, *ntp);
                }
                Ok(())
            }
            Body::Track { index, track, participant, source, codec } => {
                let (track, participant, source, codec) = (*track, *participant, *source, *codec);
                let track = Track { track, participant, source, codec };
                self.begin(*index, track, record.time_us, visitor)
            }
            Body::Muted { index, muted } => {
                self.interrupt(*index, Breaks::MUTED, visitor)?;
                let what = Happening::Muted { index: *index, muted: *muted };
                Ok(visitor.happened(what, self.now_us)?)
            }
            Body::Ended { index } => {
                self.interrupt(*index, Breaks::PAUSED, visitor)?;
                Ok(visitor.happened(Happening::Ended { index: *index }, self.now_us)?)
            }
            Body::Lost { records } => self.lost(*records, visitor),
            Body::Speakers(indexes) => {
                let what = Happening::Speakers(indexes.iter().take(SPEAKERS_MAX).collect());
                Ok(visitor.happened(what, self.now_us)?)
            }
            Body::Data(_) => Ok(()), // told by `feed`
        }
    }

    fn packet(
        &mut self,
        packet: &tap::Packet<'_>,
        visitor: &mut impl Visitor,
    ) -> Result<(), WalkError> {
        let Some(live) = self.tracks.get_mut(&packet.index) else { return Ok(()) };
        let ticks = live.unwrap.extend(packet.timestamp, self.now_us);
        let moment = Moment { epoch: live.epoch, ticks, arrival_us: self.now_us };
        visitor.packet(packet.index, moment, packet.level);
        live.stream.push(packet.seq.0, Incoming::new(moment, packet), &mut self.units);
        let key = live.key;
        self.deliver(key, visitor)
    }

    fn begin(
        &mut self,
        index: u16,
        track: Track,
        since_us: u64,
        visitor: &mut impl Visitor,
    ) -> Result<(), WalkError> {
        let unwrap = Unwrap::new(track.hz());
        let mut live = match self.tracks.remove(&index) {
            Some(mut live) => {
                live.stream.restart(&mut self.units);
                self.deliver(live.key, visitor)?;
                if live.track == track {
                    Live { epoch: live.epoch + 1, since_us, unwrap, ..live }
                } else {
                    visitor.left_out(live.key, live.stream.left_out());
                    let key = FileKey { part: live.key.part + 1, ..live.key };
                    self.files += 1;
                    Live {
                        key,
                        epoch: live.epoch + 1,
                        since_us,
                        track,
                        unwrap,
                        stream: Stream::new(track.codec),
                    }
                }
            }
            None => {
                let (key, stream) = (FileKey { index, part: 0 }, Stream::new(track.codec));
                self.files += 1;
                Live { key, epoch: 0, since_us, track, unwrap, stream }
            }
        };
        if self.files > FILES_MAX {
            return Ok(()); // left out, and its packets with it
        }
        live.stream.note(Breaks::SWITCHED);
        let what = Happening::Began { key: live.key, epoch: live.epoch, track };
        self.tracks.insert(index, live);
        Ok(visitor.happened(what, self.now_us)?)
    }

    /// No packets come for a while.
    fn interrupt(
        &mut self,
        index: u16,
        why: Breaks,
        visitor: &mut impl Visitor,
    ) -> Result<(), WalkError> {
        let Some(live) = self.tracks.get_mut(&index) else { return Ok(()) };
        live.stream.flush(&mut self.units);
        live.stream.note(why);
        let key = live.key;
        self.deliver(key, visitor)
    }

    fn lost(&mut self, records: u32, visitor: &mut impl Visitor) -> Result<(), WalkError> {
        self.tracks.values_mut().for_each(|live| live.stream.note(Breaks::OVERFLOW));
        Ok(visitor.happened(Happening::Lost { records }, self.now_us)?)
    }

    fn deliver(&mut self, key: FileKey, visitor: &mut impl Visitor) -> Result<(), WalkError> {
        for unit in self.units.drain(..) {
            visitor.unit(key, unit)?;
        }
        Ok(())
    }
}
