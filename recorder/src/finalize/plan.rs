//! The first pass: clocks, and of each file what must stand in front of it.

use std::collections::BTreeMap;

use shiguredo_mp4::{Encode, boxes::SampleEntry};

use super::{
    events::Log,
    result::{CodecName, Container, FileInfo},
    speakers::Speakers,
    walk::{FileKey, Happening, Track, Visitor},
};
use crate::{
    align::{Aligner, Clocks, Moment, micros},
    depacketize::{Format, Unit, packet_ticks},
    limits::{EPOCHS_MAX, SAMPLE_ENTRIES_MAX},
    mux::{Layout, MuxError},
};

/// What the first pass finds.
pub(crate) struct Index {
    pub(crate) aligner: Aligner,
    pub(crate) plans: BTreeMap<FileKey, Plan>,
    pub(crate) log: Log,
    pub(crate) speakers: Speakers,
    audio_as_webm: bool,
    video_as_webm: bool,
}

/// What is known of a file before it is written.
pub(crate) struct Plan {
    pub(crate) track: Track,
    pub(crate) container: Container,
    pub(crate) epochs: Vec<u32>,
    pub(crate) is_stereo: bool,
    pub(crate) largest: (u16, u16),
    pub(crate) entries: Vec<SampleEntry>,
    pub(crate) layout: Layout,
    /// First and last unit.
    pub(crate) span: Option<(Moment, Moment)>,
    /// How long the last unit is, µs.
    last_us: i64,
    is_shut: bool,
}

impl Index {
    pub(crate) fn new(audio_as_webm: bool, video_as_webm: bool) -> Self {
        Self {
            aligner: Aligner::default(),
            plans: BTreeMap::new(),
            log: Log::default(),
            speakers: Speakers::default(),
            audio_as_webm,
            video_as_webm,
        }
    }

    const fn container(&self, codec: CodecName) -> Container {
        match codec {
            CodecName::Opus if self.audio_as_webm => Container::Webm,
            CodecName::Opus => Container::Ogg,
            CodecName::Vp8 => Container::Webm,
            CodecName::Vp9 | CodecName::Av1 if self.video_as_webm => Container::Webm,
            CodecName::Vp9 | CodecName::Av1 | CodecName::H264 => Container::Mp4,
        }
    }
}

impl Visitor for Index {
    fn happened(&mut self, what: Happening, at_us: i64) -> Result<(), MuxError> {
        match &what {
            Happening::Began { key, epoch, track } => {
                self.aligner.begin((key.index, *epoch), track.participant, track.hz());
                let container = self.container(track.codec.into());
                let plan = self.plans.entry(*key).or_insert_with(|| Plan::new(*track, container));
                if plan.epochs.len() < EPOCHS_MAX {
                    plan.epochs.push(*epoch);
                }
            }
            Happening::Speakers(_) => self.speakers.are_told(),
            _ => {}
        }
        self.log.add(what, at_us);
        Ok(())
    }

    fn packet(&mut self, index: u16, moment: Moment, level: Option<u8>) {
        self.aligner.packet(index, moment);
        if let Some(level) = level {
            self.speakers.heard(index, level, moment.arrival_us);
        }
    }

    fn report(&mut self, index: u16, moment: Moment, ntp: u64) {
        self.aligner.report(index, moment, ntp);
    }

    fn text(&mut self, at_us: i64) {
        self.log.text(at_us);
    }

    fn unit(&mut self, key: FileKey, unit: Unit) -> Result<(), MuxError> {
        if let Some(plan) = self.plans.get_mut(&key) {
            plan.learn(&unit);
            if plan.admits(&unit) {
                plan.add(&unit);
            }
        }
        Ok(())
    }

    fn left_out(&mut self, _: FileKey, _: u64) {}
}

impl Plan {
    fn new(track: Track, container: Container) -> Self {
        Self {
            track,
            container,
            epochs: Vec::new(),
            is_stereo: false,
            largest: (0, 0),
            entries: Vec::new(),
            layout: Layout::new(track.hz()),
            span: None,
            last_us: 0,
            is_shut: false,
        }
    }

    /// Notes what the front of the file must say about a unit.
    fn learn(&mut self, unit: &Unit) {
        match &unit.format {
            Some(Format::Audio { is_stereo }) => self.is_stereo |= is_stereo,
            Some(Format::Video { width, height, entry }) => {
                let area = |(width, height): (u16, u16)| u32::from(width) * u32::from(height);
                if area((*width, *height)) > area(self.largest) {
                    self.largest = (*width, *height);
                }
                if let Some(entry) = entry
                    && self.entries.len() < SAMPLE_ENTRIES_MAX
                    && !self.entries.contains(entry)
                    && entry.encode_to_vec().is_ok()
                {
                    self.entries.push((**entry).clone());
                }
            }
            None => {}
        }
    }

    /// Whether the file can hold the unit, in both passes: no picture whose format is not in front.
    pub(crate) fn admits(&mut self, unit: &Unit) -> bool {
        if let Some(Format::Video { entry: Some(entry), .. }) = &unit.format {
            self.is_shut = !self.entries.contains(entry);
        }
        !self.is_shut
    }

    fn add(&mut self, unit: &Unit) {
        let is_video = self.is_video();
        self.layout.add(unit.moment, unit.bytes.len(), unit.is_key, is_video);
        let (first, last) = self.span.unwrap_or((unit.moment, unit.moment));
        self.span = Some((first, unit.moment));
        if !is_video {
            self.last_us =
                packet_ticks(&unit.bytes).map_or(0, |ticks| micros(ticks.into(), 48_000));
        } else if last.epoch == unit.moment.epoch && unit.breaks.is_empty() {
            let run = unit.moment.ticks.saturating_sub(last.ticks);
            self.last_us = micros(run, self.track.hz()).clamp(5_000, 1_000_000);
        }
    }

    pub(crate) const fn is_video(&self) -> bool {
        self.track.hz() == 90_000
    }

    /// When the first unit was captured, µs on the node's clock, and how long the file is, µs.
    pub(crate) fn times(&self, index: u16, clocks: &Clocks) -> Option<(i64, i64)> {
        let (first, last) = self.span?;
        let (first_us, last_us) = (clocks.at(index, first), clocks.at(index, last));
        Some((first_us, (last_us - first_us).max(0) + self.last_us))
    }

    pub(crate) fn file(&self, key: FileKey) -> FileInfo {
        let Track { track, participant, source, codec } = self.track;
        let shows = match source {
            sfu_proto::control::Source::Camera => "camera",
            sfu_proto::control::Source::Microphone => "microphone",
            sfu_proto::control::Source::Screen => "screen",
            sfu_proto::control::Source::ScreenAudio => "screen-audio",
        };
        let container = self.container;
        let name = format!("{:04}-{}-{shows}.{}", key.index, key.part, container.extension());
        let (part, codec) = (key.part, codec.into());
        FileInfo { name, track, participant, source, part, codec, container }
    }
}
