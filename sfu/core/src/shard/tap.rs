//! What of rooms goes to the recorder. Runs for recorded tracks only; the others pay one branch.
//!
//! ```text
//! packet, report, mute, end, speakers ─▶ the room's tap ── full or old ──▶ ready ─▶ poll_tap
//!                        Lost first, key frames asked for ◀── tap_refused: the recorder is slow
//! ```

use std::{collections::VecDeque, time::Instant};

use sfu_proto::{
    control::Tap as Wish,
    id::{RecordingId, RoomId},
    tap::{Batch, Body},
    unit::SeqNo,
};

use super::{Map, Shard};
use crate::{
    limits::TAP_READY_BYTES_MAX,
    media::keyframe::Want,
    router::{
        room::Room,
        tap::{Loss, Tap, Tapped},
        track::Track,
    },
    table::{Key, Table},
    timer::Timers,
};

/// The shard's side of all taps.
pub(super) struct Taps {
    rooms: Map<RecordingId, Key<Room>>,
    /// When the batch of a room must be cut.
    timers: Timers,
    /// Cut, and not polled yet.
    ready: VecDeque<Batch>,
    /// Memory that those hold.
    ready_bytes: usize,
}

impl Taps {
    pub(super) fn new(rooms: Map<RecordingId, Key<Room>>) -> Self {
        Self { rooms, timers: Timers::default(), ready: VecDeque::new(), ready_bytes: 0 }
    }

    /// When a batch must be cut.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Gives it back if nobody polls.
    fn push(&mut self, batch: Batch) -> Result<(), Batch> {
        if self.ready_bytes + batch.bytes.capacity() > TAP_READY_BYTES_MAX {
            return Err(batch);
        }
        self.ready_bytes += batch.bytes.capacity();
        self.ready.push_back(batch);
        Ok(())
    }
}

impl Shard {
    /// The next batch for the recorder. To be called until `None` after every batch of input.
    pub fn poll_tap(&mut self) -> Option<Batch> {
        let batch = self.taps.ready.pop_front()?;
        self.taps.ready_bytes -= batch.bytes.capacity();
        Some(batch)
    }

    /// Cuts every batch now, full or not, for benchmarks.
    #[cfg(any(test, feature = "test-support"))]
    pub fn cut_taps(&mut self, now: Instant) {
        self.cut_due_taps(now + crate::limits::TAP_BATCH_AGE_MAX);
    }

    /// The recorder did not take a batch: it is told with the next one, and since pictures cannot
    /// be decoded over the gap, key frames are asked for.
    pub fn tap_refused(&mut self, batch: &Batch, now: Instant) {
        let loss = Loss::of(batch);
        self.stats.tap_lost_records.add(u64::from(loss.records));
        let Some(key) = self.taps.rooms.get(&batch.recording).copied() else { return };
        let Some(room) = self.rooms.get_mut(key) else { return };
        if let Some(tap) = &mut room.tap {
            tap.lose(loss);
        }
        for track in room.tracks.clone() {
            if self.tracks.get(track).is_some_and(|track| track.tap.is_some()) {
                self.request_key_frame(track, Want::Loss, now);
            }
        }
    }

    /// Obeys `SetTap`.
    pub(super) fn set_tap(&mut self, id: RoomId, wish: Option<Wish>, now: Instant) {
        let key = self.index.rooms.get(&id).copied().filter(|_| self.config.taps);
        let Some(key) = key else { return self.unknown() };
        let Some(wish) = wish else { return self.end_tap(key, now) };
        let tap = self.rooms.get(key).and_then(|room| room.tap.as_deref());
        if tap.is_some_and(|tap| tap.recording() != wish.recording) {
            self.end_tap(key, now);
        }
        let Some(room) = self.rooms.get_mut(key) else { return };
        let new = || Box::new(Tap::new(wish.recording, self.config.epoch));
        let tap = room.tap.get_or_insert_with(new);
        if !tap.want(wish.tracks) {
            self.stats.commands_limited.add(1);
        }
        self.taps.rooms.insert(wish.recording, key);
        for track in room.tracks.clone() {
            self.retap(track, now);
        }
        self.tap_speakers(key, now);
    }

    /// Ends the tap of a room, if there is one, with a last batch.
    pub(super) fn end_tap(&mut self, key: Key<Room>, now: Instant) {
        let Some(room) = self.rooms.get(key) else { return };
        for track in room.tracks.clone() {
            self.tap_out(track, now);
        }
        self.cut_tap(key, now);
        let Some(tap) = self.rooms.get_mut(key).and_then(|room| room.tap.take()) else { return };
        if self.taps.rooms.get(&tap.recording()) == Some(&key) {
            self.taps.rooms.remove(&tap.recording());
        }
    }

    /// Brings a track, perhaps a new one, in line with the tap of its room.
    pub(super) fn retap(&mut self, key: Key<Track>, now: Instant) {
        let Some((track, tap)) = tapped(&mut self.tracks, &mut self.rooms, key) else { return };
        match (tap.wants(track.id), track.tap.is_some()) {
            (true, false) => self.tap_in(key, now),
            (false, true) => self.tap_out(key, now),
            _ => {}
        }
    }

    fn tap_in(&mut self, key: Key<Track>, now: Instant) {
        let Some((track, tap)) = tapped(&mut self.tracks, &mut self.rooms, key) else { return };
        let Some(index) = tap.index(track.id) else { return self.stats.commands_limited.add(1) };
        track.tap = Some(Tapped::new(index));
        if let Some(codec) = track.codec() {
            tap.announce(track, codec, now);
        }
        if track.muted {
            tap.write(Body::Muted { index, muted: true }, now);
        }
        let room = track.room;
        self.settle_tap(room, now);
        self.request_key_frame(key, Want::Begin, now);
    }

    /// A track ends or is no longer recorded.
    pub(super) fn tap_out(&mut self, key: Key<Track>, now: Instant) {
        self.tap_event(key, |index| Body::Ended { index }, now);
        if let Some(track) = self.tracks.get_mut(key) {
            track.tap = None;
        }
    }

    /// Appends what happened to a track, if it is recorded.
    pub(super) fn tap_event(
        &mut self,
        key: Key<Track>,
        body: impl FnOnce(u16) -> Body<'static>,
        now: Instant,
    ) {
        let Some((track, tap)) = tapped(&mut self.tracks, &mut self.rooms, key) else { return };
        let Some(Tapped { index, .. }) = track.tap else { return };
        tap.write(body(index), now);
        let room = track.room;
        self.settle_tap(room, now);
    }

    /// Appends the packet of a recorded track that was just put into its cache.
    pub(super) fn tap_packet(&mut self, key: Key<Track>, seq: SeqNo, now: Instant) {
        let Some((track, tap)) = tapped(&mut self.tracks, &mut self.rooms, key) else { return };
        if tap.packet(track, seq, &self.slab, now) {
            self.stats.tap_packets.add(1);
        }
        let room = track.room;
        self.settle_tap(room, now);
    }

    /// Appends the sender report that a recorded track has just got.
    pub(super) fn tap_report(&mut self, key: Key<Track>, now: Instant) {
        let Some((track, tap)) = tapped(&mut self.tracks, &mut self.rooms, key) else { return };
        if track.muted {
            return;
        }
        tap.report(track, now);
        let room = track.room;
        self.settle_tap(room, now);
    }

    /// Tells which of the recorded tracks speak, if that changed.
    pub(super) fn tap_speakers(&mut self, key: Key<Room>, now: Instant) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        let Some(tap) = &mut room.tap else { return };
        let index = |id| {
            let track = self.tracks.get(*self.index.tracks.get(id)?)?;
            track.tap.filter(|_| track.room == key).map(|tapped| tapped.index)
        };
        tap.speakers(room.speakers.iter().filter_map(index).collect(), now);
        self.settle_tap(key, now);
    }

    /// Cuts the batches that waited long enough.
    pub(super) fn cut_due_taps(&mut self, now: Instant) {
        while let Some(index) = self.taps.timers.pop_due(now) {
            if let Some(key) = self.rooms.key_at(index) {
                self.cut_tap(key, now);
            }
        }
    }

    /// After records were appended: a full batch is cut, any other in time.
    fn settle_tap(&mut self, key: Key<Room>, now: Instant) {
        let Some(tap) = self.rooms.get(key).and_then(|room| room.tap.as_deref()) else { return };
        if tap.is_full() {
            self.cut_tap(key, now);
        } else {
            self.taps.timers.set(key.index(), tap.due());
        }
    }

    fn cut_tap(&mut self, key: Key<Room>, now: Instant) {
        let Some(tap) = self.rooms.get_mut(key).and_then(|room| room.tap.as_deref_mut()) else {
            return;
        };
        self.taps.timers.set(key.index(), None);
        let Some(batch) = tap.cut(now) else { return };
        let bytes = batch.bytes.len() as u64;
        match self.taps.push(batch) {
            Ok(()) => self.stats.tap_bytes.add(bytes),
            Err(batch) => {
                let loss = Loss::of(&batch);
                tap.lose(loss);
                self.stats.tap_lost_records.add(u64::from(loss.records));
            }
        }
    }
}

/// A track and the tap of its room, if that has one.
fn tapped<'a>(
    tracks: &'a mut Table<Track>,
    rooms: &'a mut Table<Room>,
    key: Key<Track>,
) -> Option<(&'a mut Track, &'a mut Tap)> {
    let track = tracks.get_mut(key)?;
    let tap = rooms.get_mut(track.room)?.tap.as_deref_mut()?;
    Some((track, tap))
}
