//! The second pass: files.

use std::collections::BTreeMap;

use super::{
    Request, Sinks,
    events::{Events, Log},
    gaps::Gaps,
    plan::{Index, Plan},
    result::{Container, Resolution, SenderFit, TrackResult},
    speakers::Speakers,
    walk::{FileKey, Happening, Visitor},
};
use crate::{
    align::Clocks,
    depacketize::{Format, Unit},
    limits::RESOLUTIONS_MAX,
    mux::{Fmp4, Head, MuxError, Muxer, Ogg, Placed, WebM, av1_private, opus_head},
};

/// Writes what the first pass planned.
pub(crate) struct Writer<'a, K: Sinks> {
    sinks: &'a mut K,
    clocks: Clocks,
    plans: BTreeMap<FileKey, Plan>,
    open: BTreeMap<FileKey, Open<K::Sink>>,
    results: Vec<TrackResult>,
    log: Log,
    speakers: Speakers,
    /// Start of the recording, µs on the node's clock.
    origin_us: i64,
}

struct Open<W> {
    muxer: Muxer<W>,
    result: TrackResult,
    gaps: Gaps,
    /// Of the first unit, µs on the node's clock.
    first_us: i64,
    /// Of the last unit, µs since the first.
    last_us: i64,
}

impl<'a, K: Sinks> Writer<'a, K> {
    pub(crate) fn new(index: Index, sinks: &'a mut K) -> Self {
        let Index { aligner, plans, log, speakers, .. } = index;
        let clocks = aligner.finish();
        // What came before recording began was captured before: the timeline begins with it.
        let firsts = plans.iter().filter_map(|(key, plan)| plan.times(key.index, &clocks));
        let earliest = firsts.map(|(first_us, _)| first_us).min();
        let origin_us = earliest.into_iter().chain(log.start_us()).min().unwrap_or(0);
        let (open, results) = (BTreeMap::new(), Vec::new());
        Self { sinks, clocks, plans, open, results, log, speakers, origin_us }
    }

    /// Closes what is open and tells what happened.
    pub(crate) fn finish(mut self, request: &Request) -> Result<Events, MuxError> {
        for key in self.open.keys().copied().collect::<Vec<_>>() {
            self.close(key)?;
        }
        let tracks = self.plans.iter().map(|(key, plan)| (*key, plan.track)).collect();
        let changes = self.speakers.finish();
        Ok(self.log.finish(request, self.origin_us, &tracks, changes, self.results))
    }

    fn open(&mut self, key: FileKey) -> Result<(), MuxError> {
        let Some(plan) = self.plans.get(&key) else { return Ok(()) };
        let Some((first_us, duration_us)) = plan.times(key.index, &self.clocks) else {
            return Ok(());
        };
        let file = plan.file(key);
        let sink = self.sinks.open(&file)?;
        let muxer = muxer(sink, key, plan, &self.clocks, first_us, duration_us)?;
        let fits = plan.epochs.iter().filter_map(|epoch| self.clocks.fit((key.index, *epoch)));
        let sr_fit = fits.fold(None, |sum: Option<SenderFit>, fit| {
            let reports = fit.reports + sum.map_or(0, |sum| sum.reports);
            Some(SenderFit { ppm: sum.and_then(|sum| sum.ppm).or(fit.ppm), reports })
        });
        let result = TrackResult {
            file,
            offset_ms: ms(first_us - self.origin_us),
            duration_ms: 0,
            bytes: 0,
            frames: 0,
            frames_left_out: 0,
            key_frames: 0,
            resolutions: Vec::new(),
            gaps: Vec::new(),
            gaps_left_out: 0,
            sr_fit,
        };
        let gaps = Gaps::new(plan.track.hz(), plan.is_video());
        self.open.insert(key, Open { muxer, result, gaps, first_us, last_us: 0 });
        Ok(())
    }

    fn close(&mut self, key: FileKey) -> Result<(), MuxError> {
        let Some(open) = self.open.remove(&key) else { return Ok(()) };
        let Open { muxer, mut result, gaps, first_us, last_us } = open;
        let duration_us = last_us + gaps.last_us();
        let (sink, bytes) = muxer.finish(duration_us)?;
        (result.bytes, result.duration_ms) = (bytes, ms(duration_us));
        (result.gaps, result.gaps_left_out) = gaps.finish(first_us - self.origin_us);
        self.sinks.close(sink, &result)?;
        self.results.push(result);
        Ok(())
    }
}

impl<K: Sinks> Visitor for Writer<'_, K> {
    fn happened(&mut self, what: Happening, _: i64) -> Result<(), MuxError> {
        match what {
            Happening::Began { key: FileKey { index, part }, .. } if part > 0 => {
                self.close(FileKey { index, part: part - 1 })
            }
            _ => Ok(()),
        }
    }

    fn unit(&mut self, key: FileKey, unit: Unit) -> Result<(), MuxError> {
        let Some(plan) = self.plans.get_mut(&key) else { return Err(MuxError::Changed) };
        let admitted = plan.admits(&unit);
        if admitted && !self.open.contains_key(&key) {
            self.open(key)?;
        }
        let Some(open) = self.open.get_mut(&key) else { return Ok(()) };
        if !admitted {
            open.result.frames_left_out += 1;
            return Ok(());
        }
        let at_us = self.clocks.at(key.index, unit.moment) - open.first_us;
        open.add(unit, at_us, self.origin_us)
    }

    fn left_out(&mut self, key: FileKey, units: u64) {
        if let Some(open) = self.open.get_mut(&key) {
            open.result.frames_left_out += units;
        }
    }
}

impl<W: std::io::Write> Open<W> {
    fn add(&mut self, unit: Unit, at_us: i64, origin_us: i64) -> Result<(), MuxError> {
        let at_us = at_us.max(self.last_us);
        let after_gap = self.gaps.add(&unit, at_us);
        self.last_us = at_us;
        self.result.frames += 1;
        self.result.key_frames += u64::from(unit.is_key);
        if let Some(Format::Video { width, height, .. }) = unit.format {
            let at_ms = ms(self.first_us - origin_us + at_us);
            self.resolution(Resolution { at_ms, width, height });
        }
        self.muxer.write(Placed { unit, at_us, after_gap })
    }

    fn resolution(&mut self, now: Resolution) {
        let resolutions = &mut self.result.resolutions;
        let is_new = resolutions
            .last()
            .is_none_or(|last| (last.width, last.height) != (now.width, now.height));
        if is_new && resolutions.len() < RESOLUTIONS_MAX {
            resolutions.push(now);
        }
    }
}

fn muxer<W: std::io::Write>(
    sink: W,
    key: FileKey,
    plan: &Plan,
    clocks: &Clocks,
    first_us: i64,
    duration_us: i64,
) -> Result<Muxer<W>, MuxError> {
    Ok(match plan.container {
        Container::Ogg => {
            let serial = plan.track.track.bits() as u32;
            Muxer::Ogg(Ogg::new(sink, serial, plan.is_stereo)?)
        }
        Container::Mp4 => Muxer::Fmp4(Box::new(Fmp4::new(sink, &plan.entries, ms(duration_us))?)),
        Container::Webm => {
            let cues = plan
                .layout
                .cues()
                .iter()
                .map(|cue| (ms(clocks.at(key.index, cue.moment) - first_us), cue.position));
            let head = head(plan, duration_us, cues.collect());
            Muxer::WebM(WebM::new(sink, &head, &plan.layout)?)
        }
    })
}

fn head(plan: &Plan, duration_us: i64, cues: Vec<(u64, u64)>) -> Head<'static> {
    use sfu_proto::sdp::Codec;
    let (codec, private) = match plan.track.codec {
        Codec::Opus => ("A_OPUS", Some(opus_head(plan.is_stereo))),
        Codec::Vp8 => ("V_VP8", None),
        Codec::Vp9 { .. } => ("V_VP9", None),
        Codec::H264 { .. } => ("V_MPEG4/ISO/AVC", None),
        Codec::Av1 { .. } => ("V_AV1", plan.entries.first().and_then(av1_private)),
    };
    let size = plan.is_video().then_some(plan.largest);
    let channels = if plan.is_stereo { 2 } else { 1 };
    Head { codec, private, size, channels, duration_ms: ms(duration_us), cues }
}

/// Microseconds as milliseconds, rounded.
fn ms(us: i64) -> u64 {
    (us.max(0) as u64 + 500) / 1_000
}
