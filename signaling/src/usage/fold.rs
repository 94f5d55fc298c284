//! The fold. Pure: events in, amounts out; no clock and no store.
//!
//! Everything is added in whole milliseconds, on each day of UTC for the part that falls on it, so it
//! does not matter how often the fold was interrupted and resumed.

use std::collections::BTreeMap;

use sdk_spec::{
    event::{Event, What},
    rest::{Day, usage::TrackSeconds, usage::UsageRow},
    ws::Source,
};
use serde::{Deserialize, Serialize};

/// Bytes of a participant that are told of up to this long after it left still count: the media
/// node says the last ones when it has closed the session.
pub(crate) const LATE_BYTES_MS: u64 = 120_000;

/// What was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) stays: u64,
    pub(crate) participant_ms: u64,
    pub(crate) tracks: TrackMs,
    /// For which a recording ran, pauses left out.
    pub(crate) recorded_ms: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// Milliseconds of tracks by source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TrackMs {
    pub(crate) camera: u64,
    pub(crate) microphone: u64,
    pub(crate) screen: u64,
    pub(crate) screen_audio: u64,
}

/// Usage by room and day.
pub(crate) type Usage = BTreeMap<(String, Day), Amounts>;

/// A stay, as far as it matters for what comes after: no handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stay {
    pub(crate) room: String,
    pub(crate) hidden: bool,
    pub(crate) joined_ms: u64,
    pub(crate) left_ms: Option<u64>,
    /// What it publishes, by track id.
    pub(crate) tracks: BTreeMap<String, Track>,
}

/// A published track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Track {
    pub(crate) source: Source,
    pub(crate) since_ms: u64,
}

/// A recording that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) room: String,
    /// Since when it runs; none while it is paused.
    pub(crate) since_ms: Option<u64>,
}

/// Where the fold stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fold {
    /// By participant id. Needs to hold: whoever an event names, and who is in a room that ends.
    pub(crate) stays: BTreeMap<String, Stay>,
    /// By recording id; none is over. Needs to hold: whatever an event names, and what runs in a room
    /// that ends.
    pub(crate) recordings: BTreeMap<String, Option<Run>>,
    /// What the applied events added.
    pub(crate) usage: Usage,
    /// What the applied events added to each stay's tracks.
    pub(crate) tracks: BTreeMap<String, TrackMs>,
}

impl TrackMs {
    pub(crate) fn of(&mut self, source: Source) -> &mut u64 {
        match source {
            Source::Camera => &mut self.camera,
            Source::Microphone => &mut self.microphone,
            Source::Screen => &mut self.screen,
            Source::ScreenAudio => &mut self.screen_audio,
        }
    }

    /// As told: whole seconds.
    pub(crate) fn seconds(&self) -> TrackSeconds {
        TrackSeconds {
            camera: seconds(self.camera),
            microphone: seconds(self.microphone),
            screen: seconds(self.screen),
            screen_audio: seconds(self.screen_audio),
        }
    }

    fn add(&mut self, other: &Self) {
        for source in [Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio] {
            let more = *other.clone().of(source);
            let sum = self.of(source);
            *sum = sum.saturating_add(more);
        }
    }
}

impl Amounts {
    /// Adds others to them.
    pub(crate) fn add(&mut self, other: &Self) {
        self.stays = self.stays.saturating_add(other.stays);
        self.participant_ms = self.participant_ms.saturating_add(other.participant_ms);
        self.tracks.add(&other.tracks);
        self.recorded_ms = self.recorded_ms.saturating_add(other.recorded_ms);
        self.received = self.received.saturating_add(other.received);
        self.sent = self.sent.saturating_add(other.sent);
    }

    /// As told: whole seconds.
    pub(crate) fn row(&self, room: Option<String>, day: Option<Day>) -> UsageRow {
        UsageRow {
            room,
            day,
            stays: self.stays,
            participant_seconds: seconds(self.participant_ms),
            track_seconds: self.tracks.seconds(),
            recorded_seconds: seconds(self.recorded_ms),
            bytes_received: self.received,
            bytes_sent: self.sent,
        }
    }
}

/// Half a second and more is a second.
fn seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

impl Fold {
    /// Takes the next event of the log.
    pub(crate) fn apply(&mut self, event: &Event) {
        let now_ms = event.time.0;
        match &event.what {
            What::ParticipantJoined { participant, hidden, .. } => {
                if let Some(room) = &event.room {
                    self.join(participant, room, *hidden, now_ms);
                }
            }
            What::ParticipantLeft { participant, .. } => self.leave(participant, now_ms),
            What::RoomEnded { .. } => {
                let here = |(_, stay): &(&String, &Stay)| Some(&stay.room) == event.room.as_ref();
                let left: Vec<_> = self.stays.iter().filter(here).map(|s| s.0.clone()).collect();
                left.iter().for_each(|participant| self.leave(participant, now_ms));
                let runs = |(_, run): &(&String, &Option<Run>)| {
                    run.as_ref().is_some_and(|run| Some(&run.room) == event.room.as_ref())
                };
                let over: Vec<_> =
                    self.recordings.iter().filter(runs).map(|r| r.0.clone()).collect();
                over.iter().for_each(|recording| self.stop(recording, now_ms));
            }
            What::RecordingStarted { recording } => {
                if let Some(room) = &event.room {
                    let run = Run { room: room.clone(), since_ms: Some(now_ms) };
                    self.recordings.entry(recording.clone()).or_default().get_or_insert(run);
                }
            }
            What::RecordingPaused { recording } => self.pause(recording, now_ms),
            What::RecordingResumed { recording } => {
                if let Some(Some(run)) = self.recordings.get_mut(recording) {
                    run.since_ms.get_or_insert(now_ms);
                }
            }
            What::RecordingStopped { recording, .. } => self.stop(recording, now_ms),
            What::TrackPublished { track, participant, source } => {
                if let Some(stay) = self.stays.get_mut(participant)
                    && stay.left_ms.is_none()
                {
                    let begun = Track { source: *source, since_ms: now_ms };
                    stay.tracks.entry(track.clone()).or_insert(begun);
                }
            }
            What::TrackUnpublished { track, participant, .. } => {
                self.unpublish(participant, track, now_ms);
            }
            What::MediaTransferred { participant, received, sent } => {
                self.transferred(participant, (*received, *sent), now_ms);
            }
            _ => {}
        }
    }

    fn join(&mut self, participant: &str, room: &str, hidden: bool, now_ms: u64) {
        if self.stays.contains_key(participant) {
            return;
        }
        let stay = Stay {
            room: room.to_owned(),
            hidden,
            joined_ms: now_ms,
            left_ms: None,
            tracks: BTreeMap::new(),
        };
        if !hidden {
            self.at(room, Day::of(now_ms)).stays += 1;
        }
        self.stays.insert(participant.to_owned(), stay);
    }

    fn leave(&mut self, participant: &str, now_ms: u64) {
        let Some(stay) = self.stays.get_mut(participant) else { return };
        if stay.left_ms.is_some() {
            return;
        }
        stay.left_ms = Some(now_ms);
        let (room, hidden, since_ms) = (stay.room.clone(), stay.hidden, stay.joined_ms);
        let tracks: Vec<_> = stay.tracks.keys().cloned().collect();
        for track in tracks {
            self.unpublish(participant, &track, now_ms);
        }
        if !hidden {
            self.spread(&room, since_ms, now_ms, |amounts, ms| amounts.participant_ms += ms);
        }
    }

    fn unpublish(&mut self, participant: &str, track: &str, now_ms: u64) {
        let Some(stay) = self.stays.get_mut(participant) else { return };
        let Some(Track { source, since_ms }) = stay.tracks.remove(track) else { return };
        let (room, hidden) = (stay.room.clone(), stay.hidden);
        let lasted = self.tracks.entry(participant.to_owned()).or_default();
        *lasted.of(source) += now_ms.saturating_sub(since_ms);
        if !hidden {
            self.spread(&room, since_ms, now_ms, |amounts, ms| *amounts.tracks.of(source) += ms);
        }
    }

    fn pause(&mut self, recording: &str, now_ms: u64) {
        let Some(Some(run)) = self.recordings.get_mut(recording) else { return };
        let Some(since_ms) = run.since_ms.take() else { return };
        let room = run.room.clone();
        self.spread(&room, since_ms, now_ms, |amounts, ms| amounts.recorded_ms += ms);
    }

    fn stop(&mut self, recording: &str, now_ms: u64) {
        self.pause(recording, now_ms);
        if let Some(run) = self.recordings.get_mut(recording) {
            *run = None;
        }
    }

    fn transferred(&mut self, participant: &str, (received, sent): (u64, u64), now_ms: u64) {
        let Some(stay) = self.stays.get(participant) else { return };
        let late = stay.left_ms.is_some_and(|left| now_ms > left.saturating_add(LATE_BYTES_MS));
        if stay.hidden || late {
            return;
        }
        let more = Amounts { received, sent, ..Amounts::default() };
        let room = stay.room.clone();
        self.at(&room, Day::of(now_ms)).add(&more);
    }

    fn at(&mut self, room: &str, day: Day) -> &mut Amounts {
        self.usage.entry((room.to_owned(), day)).or_default()
    }

    /// Adds a time to the days on which it was.
    fn spread(&mut self, room: &str, from_ms: u64, to_ms: u64, add: impl Fn(&mut Amounts, u64)) {
        let mut at_ms = from_ms;
        while at_ms < to_ms {
            let day = Day::of(at_ms);
            // The last day that can be written has no end.
            let end_ms = if day == Day::MAX { to_ms } else { Day(day.0 + 1).start_ms() };
            let until_ms = to_ms.min(end_ms);
            add(self.at(room, day), until_ms - at_ms);
            at_ms = until_ms;
        }
    }

    /// What those who are in would add if they left at `now_ms`, and what is recorded if it stopped.
    pub(crate) fn running(&self, now_ms: u64) -> Usage {
        let (stays, recordings) = (self.stays.clone(), self.recordings.clone());
        let mut ended = Self { stays, recordings, ..Self::default() };
        for recording in self.recordings.keys() {
            ended.stop(recording, now_ms);
        }
        for participant in self.stays.keys() {
            ended.leave(participant, now_ms);
        }
        ended.usage
    }
}

#[cfg(test)]
mod tests;
