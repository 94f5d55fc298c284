//! Records as a tap would write them, of tracks sent through a bad network; and the files made of them.

use std::{collections::BTreeMap, convert::Infallible, io};

use recorder::finalize::{
    Events, FileInfo, FinalizeError, Request, Sinks, Source, TrackResult, finalize,
};
use sfu_proto::{
    control,
    id::{ParticipantId, TrackId},
    sdp::Codec,
    tap::{Body, Packet, Record},
    unit::{RtpTimestamp, SeqNo},
};

use crate::media::Cutter;

/// When recording starts, µs since 1970 on the node's clock.
pub(crate) const START: i64 = 1_760_000_000_000_000;
/// What the publishers' clocks show more, µs.
const PUBLISHER_AHEAD: i64 = 12_345_678_901;

/// A small generator of chance, the same each time.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Whether something of this likelihood, per mille, happens.
    pub(crate) fn hits(&mut self, per_mille: u64) -> bool {
        self.next() % 1000 < per_mille
    }
}

/// How a track is sent.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) index: u16,
    pub(crate) participant: u128,
    pub(crate) source: control::Source,
    pub(crate) codec: Codec,
    /// Capture time since the start, µs, and frame.
    pub(crate) frames: Vec<(i64, Vec<u8>)>,
    pub(crate) delay_us: i64,
    pub(crate) jitter_us: i64,
    pub(crate) loss_per_mille: u64,
    pub(crate) doubles_per_mille: u64,
    /// How much faster the media clock runs.
    pub(crate) ppm: i64,
    pub(crate) reports_every_us: i64,
    pub(crate) timestamp: u32,
    pub(crate) seq: u64,
}

impl Sent {
    pub(crate) fn new(index: u16, source: control::Source, codec: Codec) -> Self {
        Self {
            index,
            participant: 1,
            source,
            codec,
            frames: Vec::new(),
            delay_us: 20_000,
            jitter_us: 0,
            loss_per_mille: 0,
            doubles_per_mille: 0,
            ppm: 0,
            reports_every_us: 1_000_000,
            // Both wrap within the first second.
            timestamp: u32::MAX - 20_000 - u32::from(index),
            seq: (1 << 32) - 20,
        }
    }

    /// `frames` from `at_us` on, one each `step_us`.
    pub(crate) fn play(mut self, at_us: i64, step_us: i64, frames: &[Vec<u8>]) -> Self {
        let times = (0..).map(|n| at_us + n * step_us);
        self.frames.extend(times.zip(frames.iter().cloned()));
        self
    }

    fn hz(&self) -> i64 {
        if self.codec == Codec::Opus { 48_000 } else { 90_000 }
    }

    fn timestamp(&self, at_us: i64) -> RtpTimestamp {
        let media_us = at_us as i128 * (1_000_000 + i128::from(self.ppm)) / 1_000_000;
        let ticks = (media_us * i128::from(self.hz()) + 500_000).div_euclid(1_000_000);
        RtpTimestamp(self.timestamp.wrapping_add(ticks as u32))
    }

    pub(crate) fn track_id(&self) -> TrackId {
        TrackId::from_bits(u128::from(self.index) + 0xabc)
    }

    pub(crate) fn began(&self) -> Vec<u8> {
        self.began_at(START)
    }

    /// The same at a time, µs since 1970.
    pub(crate) fn began_at(&self, at: i64) -> Vec<u8> {
        bytes(
            at,
            Body::Track {
                index: self.index,
                track: self.track_id(),
                participant: ParticipantId::from_bits(self.participant),
                source: self.source,
                codec: self.codec,
            },
        )
    }

    /// Its records with their times, as they arrive.
    pub(crate) fn records(&self, seed: u64) -> Vec<(i64, Vec<u8>)> {
        let (mut chance, mut cutter) = (Chance(seed | 1), Cutter::new(self.codec));
        let (mut records, mut seq) = (Vec::new(), self.seq);
        let mut report_us = self.frames.first().map_or(0, |frame| frame.0) + 700_000;
        for (at_us, frame) in &self.frames {
            let payloads = cutter.cut(frame, 1_100);
            for (n, payload) in payloads.iter().enumerate() {
                seq += 1;
                let jitter = if self.jitter_us == 0 { 0 } else { chance.next() as i64 & i64::MAX };
                let arrival =
                    START + at_us + self.delay_us + n as i64 * 50 + jitter % self.jitter_us.max(1);
                if chance.hits(self.loss_per_mille) {
                    continue;
                }
                let packet = Packet {
                    index: self.index,
                    seq: SeqNo(seq),
                    timestamp: self.timestamp(*at_us),
                    marker: n + 1 == payloads.len(),
                    level: None,
                    descriptor: &[],
                    payload,
                };
                records.push((arrival, bytes(arrival, Body::Packet(packet))));
                if chance.hits(self.doubles_per_mille) {
                    let again = arrival + 30_000;
                    records.push((again, bytes(again, Body::Packet(packet))));
                }
            }
            if *at_us >= report_us && self.reports_every_us > 0 {
                report_us += self.reports_every_us;
                let arrival = START + at_us + self.delay_us + 1_000;
                let wall = (START + at_us + PUBLISHER_AHEAD) as u64;
                let ntp = ((wall / 1_000_000) << 32) | (((wall % 1_000_000) << 32) / 1_000_000);
                let timestamp = self.timestamp(*at_us);
                let report = Body::Report { index: self.index, ntp, timestamp };
                records.push((arrival, bytes(arrival, report)));
            }
        }
        records
    }
}

/// A record's bytes.
pub(crate) fn bytes(time_us: i64, body: Body<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Record { time_us: time_us as u64, body }.write(&mut out);
    out
}

/// What a recorder's journal would hold.
pub(crate) struct Tape(pub(crate) Vec<Vec<u8>>);

impl Tape {
    /// Records of all tracks by their times, in batches of 32 KiB; `more` are records of other kinds.
    pub(crate) fn of(sent: &[Sent], more: Vec<(i64, Vec<u8>)>) -> Self {
        let mut records: Vec<_> = sent
            .iter()
            .flat_map(|track| {
                let mut records = vec![(START, track.began())];
                records.extend(track.records(0x9e37_79b9 + u64::from(track.index)));
                records
            })
            .chain(more)
            .collect();
        records.sort_by_key(|(at, _)| *at);
        let mut batches = vec![Vec::new()];
        for (_, record) in records {
            if batches.last().unwrap().len() > 32 * 1024 {
                batches.push(Vec::new());
            }
            batches.last_mut().unwrap().extend(record);
        }
        Self(batches)
    }
}

impl Source for Tape {
    type Error = Infallible;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, Infallible>> + '_, Infallible> {
        Ok(self.0.iter().cloned().map(Ok))
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.0.iter().map(|batch| batch.len() as u64).sum())
    }
}

/// Files in memory.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Sinks for Shelf {
    type Sink = Vec<u8>;

    fn open(&mut self, _: &FileInfo) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn close(&mut self, sink: Vec<u8>, result: &TrackResult) -> io::Result<()> {
        assert_eq!(sink.len() as u64, result.bytes);
        assert!(self.files.insert(result.file.name.clone(), sink).is_none());
        Ok(())
    }
}

/// A finalized recording.
pub(crate) struct Made {
    pub(crate) events: Events,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Made {
    pub(crate) fn track(&self, index: u16, part: u32) -> &TrackResult {
        let name = format!("{index:04}-{part}-");
        self.events.tracks.iter().find(|track| track.file.name.starts_with(&name)).unwrap()
    }

    pub(crate) fn file(&self, index: u16, part: u32) -> &[u8] {
        &self.files[&self.track(index, part).file.name]
    }
}

pub(crate) fn try_make(tape: &Tape, request: &Request) -> Result<Made, FinalizeError> {
    let (mut shelf, mut percents) = (Shelf::default(), Vec::new());
    let events = finalize(tape, &mut shelf, request, &mut |percent| percents.push(percent))?;
    assert!(percents.is_sorted() && percents.first() == Some(&0) && percents.last() == Some(&100));
    Ok(Made { events, files: shelf.files })
}

pub(crate) fn make(tape: &Tape) -> Made {
    try_make(tape, &Request::default()).unwrap()
}
