//! The tap of one room: which of its tracks the recorder gets, how they are called, and the batch
//! of records that is being filled. When batches are cut and where they go is the shard's matter.

use std::{
    collections::BTreeMap,
    mem,
    time::{Instant, SystemTime},
};

use sfu_proto::{
    id::{RecordingId, TrackId},
    sdp::Codec,
    tap::{Batch, Body, Packet, Record, records, write_speakers},
    unit::{RtpTimestamp, SeqNo},
};

use crate::{
    config::ntp_of,
    limits::{
        TAP_BATCH_AGE_MAX, TAP_BATCH_BYTES_MAX, TAP_BATCH_BYTES_MIN, TAP_INDEXES_MAX,
        TAP_RECORD_BYTES, TAP_TRACKS_MAX,
    },
    media::rewrite::ticks,
    router::{forward::descriptor_of, track::Track},
    slab::Slab,
};

/// What a recorded track remembers of its tap.
#[derive(Debug, Clone, Copy)]
pub struct Tapped {
    /// Its name in the records.
    pub index: u16,
    /// The codec in the last `Track` record, if that still holds.
    told: Option<Codec>,
    /// Whether packets or reports followed it.
    is_used: bool,
}

impl Tapped {
    /// A track that was not told of yet.
    pub fn new(index: u16) -> Self {
        Self { index, told: None, is_used: false }
    }

    /// Another SSRC or layer takes over: what comes next is a new epoch, unless the present one is blank.
    pub fn restart(&mut self) {
        if self.is_used {
            *self = Self::new(self.index);
        }
    }
}

/// What is lost with a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Records that were in it.
    pub records: u32,
    /// Records that were lost before, and that it was to tell of.
    pub untold: u32,
}

impl Loss {
    /// Of a batch that nobody gets.
    pub fn of(batch: &Batch) -> Self {
        let mut loss = Self::default();
        for record in records(&batch.bytes).flatten() {
            match record.body {
                Body::Lost { records } => loss.untold = loss.untold.saturating_add(records),
                _ => loss.records = loss.records.saturating_add(1),
            }
        }
        loss
    }
}

/// The tap of one room.
pub struct Tap {
    recording: RecordingId,
    /// The same moment on our monotonic and on our wall clock.
    epoch: (Instant, SystemTime),
    /// In order.
    wanted: Vec<TrackId>,
    /// Of every track that was ever recorded here.
    indexes: BTreeMap<TrackId, u16>,
    /// Who was last told to speak.
    speakers: Vec<u16>,
    bytes: Vec<u8>,
    /// Records that the recorder did not get, to be told with the next batch.
    lost: u32,
    due: Option<Instant>,
    /// Bytes that the next batch will probably need.
    expected: usize,
}

impl Tap {
    /// A tap that wants nothing yet. `epoch`: the same moment on both clocks.
    pub fn new(recording: RecordingId, epoch: (Instant, SystemTime)) -> Self {
        Self {
            recording,
            epoch,
            wanted: Vec::new(),
            indexes: BTreeMap::new(),
            speakers: Vec::new(),
            bytes: Vec::new(),
            lost: 0,
            due: None,
            expected: 0,
        }
    }

    /// For which recording.
    pub fn recording(&self) -> RecordingId {
        self.recording
    }

    /// Wants these tracks from now on. False: they were too many, and the last are left out.
    pub fn want(&mut self, mut tracks: Vec<TrackId>) -> bool {
        let fits = tracks.len() <= TAP_TRACKS_MAX;
        tracks.truncate(TAP_TRACKS_MAX);
        tracks.sort_unstable();
        self.wanted = tracks;
        fits
    }

    /// Whether a track is to be recorded.
    pub fn wants(&self, track: TrackId) -> bool {
        self.wanted.binary_search(&track).is_ok()
    }

    /// The index of a track, the same as before if it had one. `None`: all are given out.
    pub fn index(&mut self, track: TrackId) -> Option<u16> {
        if let Some(index) = self.indexes.get(&track) {
            return Some(*index);
        }
        let index = u16::try_from(self.indexes.len()).ok()?;
        debug_assert!(self.indexes.len() < TAP_INDEXES_MAX);
        self.indexes.insert(track, index);
        Some(index)
    }

    /// Says what a recorded track is and in which codec, if that is news.
    pub fn announce(&mut self, track: &mut Track, codec: Codec, now: Instant) {
        let Some(tapped) = &mut track.tap else { return };
        if tapped.told == Some(codec) {
            return;
        }
        *tapped = Tapped { told: Some(codec), ..Tapped::new(tapped.index) };
        let index = tapped.index;
        let (participant, source) = (track.participant, track.source);
        self.write(Body::Track { index, track: track.id, participant, source, codec }, now);
    }

    /// Appends a packet of a recorded track from its cache. False: there is nothing of the kind.
    pub fn packet(&mut self, track: &mut Track, seq: SeqNo, slab: &Slab, now: Instant) -> bool {
        let Some(packet) = track.layer.cached(seq).map(|entry| entry.packet) else { return false };
        let Some(format) = track.formats.get(usize::from(packet.format)) else { return false };
        self.announce(track, format.codec, now);
        let (Some(tapped), Some(entry)) = (&mut track.tap, track.layer.cached(seq)) else {
            return false;
        };
        tapped.is_used = true;
        let bytes = slab.bytes(entry.slot());
        let body = Body::Packet(Packet {
            index: tapped.index,
            seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level,
            descriptor: descriptor_of(&packet, bytes),
            payload: packet.payload_of(bytes),
        });
        self.write(body, now);
        true
    }

    /// Appends the last sender report that a recorded track has got, carried on to now.
    pub fn report(&mut self, track: &mut Track, now: Instant) {
        let (Some(codec), Some(sender)) = (track.codec(), track.layer.stream.sender) else {
            return;
        };
        self.announce(track, codec, now);
        let elapsed = now.saturating_duration_since(sender.at);
        let ticks = ticks(elapsed, track.clock_rate());
        let Some(tapped) = &mut track.tap else { return };
        tapped.is_used = true;
        let index = tapped.index;
        let ntp = sender.ntp.wrapping_add(ntp_of(elapsed));
        let timestamp = RtpTimestamp(sender.rtp.0.wrapping_add(ticks));
        self.write(Body::Report { index, ntp, timestamp }, now);
    }

    /// Appends who speaks, loudest first, if that is news.
    pub fn speakers(&mut self, indexes: Vec<u16>, now: Instant) {
        if self.speakers == indexes {
            return;
        }
        let time_us = self.begin(now);
        write_speakers(&mut self.bytes, time_us, indexes.iter().copied());
        self.speakers = indexes;
    }

    /// Appends a record.
    pub fn write(&mut self, body: Body<'_>, now: Instant) {
        let time_us = self.begin(now);
        Record { time_us, body }.write(&mut self.bytes);
    }

    /// Before a record, perhaps the first of a batch; returns its time.
    fn begin(&mut self, now: Instant) -> u64 {
        if self.bytes.is_empty() {
            self.bytes.reserve(self.expected.max(TAP_BATCH_BYTES_MIN));
            self.due = Some(now + TAP_BATCH_AGE_MAX);
        }
        self.time_us(now)
    }

    /// Microseconds since 1970.
    fn time_us(&self, now: Instant) -> u64 {
        let (instant, wall) = self.epoch;
        let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at = since_1970 + now.checked_duration_since(instant).unwrap_or_default();
        at.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(at.subsec_micros()))
    }

    /// When the batch must be cut; none while it is empty.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether another record may not fit.
    pub fn is_full(&self) -> bool {
        self.bytes.len() + TAP_RECORD_BYTES > TAP_BATCH_BYTES_MAX
    }

    /// The recorder did not get a batch.
    pub fn lose(&mut self, loss: Loss) {
        self.lost = self.lost.saturating_add(loss.records).saturating_add(loss.untold);
    }

    /// Takes the batch, if there is anything in it or to be told.
    pub fn cut(&mut self, now: Instant) -> Option<Batch> {
        self.due = None;
        if self.lost > 0 {
            // Before what came since: that is where records are missing.
            let mut lost = Vec::with_capacity(TAP_BATCH_BYTES_MIN);
            let body = Body::Lost { records: self.lost };
            Record { time_us: self.time_us(now), body }.write(&mut lost);
            self.bytes.splice(0..0, lost);
            self.lost = 0;
        }
        if self.bytes.is_empty() {
            return None;
        }
        let bytes = mem::take(&mut self.bytes);
        self.expected = bytes.len() + bytes.len() / 8;
        Some(Batch { recording: self.recording, bytes })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;

    fn tap() -> (Tap, Instant) {
        let start = Instant::now();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        (Tap::new(RecordingId::from_bits(1), (start, wall)), start)
    }

    #[test]
    fn a_track_keeps_its_index_and_the_last_one_is_refused() {
        let (mut tap, _) = tap();
        let id = |n: usize| TrackId::from_bits(n as u128);
        assert!((0..TAP_INDEXES_MAX).all(|n| tap.index(id(n)) == Some(n as u16)));
        assert_eq!(tap.index(id(7)), Some(7));
        assert_eq!(tap.index(id(TAP_INDEXES_MAX)), None);
    }

    #[test]
    fn too_many_wishes_are_cut_off() {
        let (mut tap, _) = tap();
        let ids = |n: usize| (0..n).map(|n| TrackId::from_bits(n as u128)).collect::<Vec<_>>();
        assert!(tap.want(ids(TAP_TRACKS_MAX)));
        assert!(!tap.want(ids(TAP_TRACKS_MAX + 1)));
        assert!(tap.wants(TrackId::from_bits(0)));
        assert!(!tap.wants(TrackId::from_bits(TAP_TRACKS_MAX as u128)));
    }

    #[test]
    fn a_batch_is_due_after_its_first_record_and_tells_the_time() {
        let (mut tap, start) = tap();
        assert!(tap.cut(start).is_none());
        tap.write(Body::Ended { index: 1 }, start + Duration::from_micros(5));
        tap.write(Body::Ended { index: 2 }, start + Duration::from_millis(7));
        assert_eq!(tap.due(), Some(start + Duration::from_micros(5) + TAP_BATCH_AGE_MAX));
        let batch = tap.cut(start).unwrap();
        assert_eq!(tap.due(), None);
        let times: Vec<u64> = records(&batch.bytes).map(|r| r.unwrap().time_us).collect();
        assert_eq!(times, [1_700_000_000_000_005, 1_700_000_000_007_000]);
    }

    #[test]
    fn what_was_lost_is_told_first_and_counts_again_if_that_is_lost_too() {
        let (mut tap, now) = tap();
        tap.write(Body::Ended { index: 1 }, now);
        tap.lose(Loss { records: 9, untold: 0 });
        tap.lose(Loss { records: 1, untold: 2 });
        let batch = tap.cut(now).unwrap();
        assert_eq!(Loss::of(&batch), Loss { records: 1, untold: 12 });
        let read: Vec<_> = records(&batch.bytes).map(|r| r.unwrap().body).collect();
        assert_eq!(read, [Body::Lost { records: 12 }, Body::Ended { index: 1 }]);
        assert!(tap.cut(now).is_none());
    }
}
