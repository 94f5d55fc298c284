//! `events.json`: who was when, and what happened.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId, TrackId},
};

use super::{
    Request,
    result::{CodecName, GapKind, TrackResult},
    walk::{FileKey, Happening, Track},
};
use crate::limits::EVENTS_MAX;

/// The version of the format. A reader of version 1 skips fields and events that it does not know.
const VERSION: u32 = 1;

/// What the partner calls a participant. Has no `Debug`: handles stay out of logs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub String);

/// A stay of a participant, as the caller knows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Stay {
    /// The participant.
    pub participant: ParticipantId,
    /// What the partner calls it.
    pub handle: Option<Handle>,
    /// When it joined, µs since 1970.
    pub joined_us: u64,
    /// When it left, µs since 1970.
    pub left_us: Option<u64>,
}

/// A pause of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// µs since 1970.
    pub from_us: u64,
    /// µs since 1970; none: until the end.
    pub to_us: Option<u64>,
}

/// All that happened in a recording. Times are milliseconds since its start; negative before it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// Version of this format: 1.
    pub version: u32,
    /// The recording.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recording: Option<RecordingId>,
    /// Its start, ms since 1970.
    pub started_at_ms: u64,
    /// How long it is, ms.
    pub duration_ms: u64,
    /// Who was there.
    pub participants: Vec<Participant>,
    /// Its files.
    pub tracks: Vec<TrackResult>,
    /// What happened, in order of time.
    pub events: Vec<Event>,
    /// Events too many to be listed.
    pub events_left_out: u64,
    /// Records that the recorder lost.
    pub lost_records: u64,
}

impl Events {
    /// What the partner calls a participant, if it is known.
    #[must_use]
    pub fn handle(&self, participant: ParticipantId) -> Option<&Handle> {
        let mut stays = self.participants.iter().filter(|one| one.id == participant);
        stays.find_map(|one| one.handle.as_ref())
    }
}

/// Somebody who was there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// The participant.
    pub id: ParticipantId,
    /// What the partner calls it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub handle: Option<Handle>,
    /// When it joined, or was first recorded.
    pub joined_ms: i64,
    /// When it left; none: not before the end.
    pub left_ms: Option<i64>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at_ms: i64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// A participant joined.
    ParticipantJoined {
        /// Who.
        participant: ParticipantId,
    },
    /// A participant left.
    ParticipantLeft {
        /// Who.
        participant: ParticipantId,
    },
    /// A track began, or is recorded again.
    TrackBegan {
        /// The track.
        track: TrackId,
        /// Who publishes it.
        participant: ParticipantId,
        /// What it shows.
        source: Source,
        /// How it is encoded.
        codec: CodecName,
    },
    /// A track goes on in another file.
    CodecChanged {
        /// The track.
        track: TrackId,
        /// How it is encoded from here on.
        codec: CodecName,
    },
    /// A track ended, or is no longer recorded.
    TrackEnded {
        /// The track.
        track: TrackId,
    },
    /// A track was muted.
    TrackMuted {
        /// The track.
        track: TrackId,
    },
    /// A track was unmuted.
    TrackUnmuted {
        /// The track.
        track: TrackId,
    },
    /// A track has nothing for a while. Silences (DTX) are listed with the track only.
    Gap {
        /// The track.
        track: TrackId,
        /// Until when.
        to_ms: u64,
        /// Why.
        kind: GapKind,
    },
    /// Who speaks, loudest first; nobody when empty.
    Speakers {
        /// They.
        participants: Vec<ParticipantId>,
    },
    /// Recording was paused.
    Paused,
    /// Recording goes on.
    Resumed,
    /// The recorder was too slow.
    Lost {
        /// Records lost.
        records: u32,
    },
}

/// Keeps what happened until times are known.
#[derive(Default)]
pub(crate) struct Log {
    start_us: Option<i64>,
    end_us: i64,
    kept: Vec<(i64, Happening)>,
    left_out: u64,
    lost: u64,
    /// First and last text.
    texts_us: Option<(i64, i64)>,
}

impl Log {
    pub(crate) fn add(&mut self, what: Happening, at_us: i64) {
        self.start_us.get_or_insert(at_us);
        self.end_us = self.end_us.max(at_us);
        if let Happening::Lost { records } = what {
            self.lost += u64::from(records);
        }
        if self.kept.len() < EVENTS_MAX {
            self.kept.push((at_us, what));
        } else {
            self.left_out += 1;
        }
    }

    /// A text was sent.
    pub(crate) fn text(&mut self, at_us: i64) {
        let (first, last) = self.texts_us.unwrap_or((at_us, at_us));
        self.texts_us = Some((first.min(at_us), last.max(at_us)));
    }

    /// When the first thing happened. Texts tell only where there are no media: they place nothing else.
    pub(crate) fn start_us(&self) -> Option<i64> {
        self.start_us.or(self.texts_us.map(|(first, _)| first))
    }

    /// All is known.
    pub(crate) fn finish(
        self,
        request: &Request,
        origin_us: i64,
        tracks: &BTreeMap<FileKey, Track>,
        changes: Vec<(i64, Option<u16>)>,
        mut results: Vec<TrackResult>,
    ) -> Events {
        results.sort_by(|a, b| a.file.name.cmp(&b.file.name));
        let ms = |us: i64| us.saturating_sub(origin_us).div_euclid(1_000);
        let participants = participants(request, &self.kept, ms);
        let mut events = told(&self.kept, tracks, ms);
        events.extend(changes.into_iter().map(|(at_us, index)| {
            let track = index.and_then(|index| tracks.get(&FileKey { index, part: 0 }));
            let participants = track.map(|track| track.participant).into_iter().collect();
            Event { at_ms: ms(at_us), what: What::Speakers { participants } }
        }));
        events.extend(gaps(&results));
        events.extend(comings(&participants));
        events.extend(pauses(&request.pauses, ms));
        events.sort_by_key(|event| event.at_ms);
        let excess = events.len().saturating_sub(EVENTS_MAX);
        events.truncate(EVENTS_MAX);
        let ends = results.iter().map(|result| result.offset_ms + result.duration_ms);
        let end_us = match (self.start_us, self.texts_us) {
            (None, Some((_, last))) => last,
            _ => self.end_us,
        };
        let duration_ms = ends.chain([ms(end_us).max(0) as u64]).max().unwrap_or(0);
        Events {
            version: VERSION,
            recording: request.recording,
            started_at_ms: (origin_us / 1_000).max(0) as u64,
            duration_ms,
            participants,
            tracks: results,
            events,
            events_left_out: self.left_out + excess as u64,
            lost_records: self.lost,
        }
    }
}

/// Who was there: those the caller names, and those who were recorded all the same.
fn participants(
    request: &Request,
    kept: &[(i64, Happening)],
    ms: impl Fn(i64) -> i64,
) -> Vec<Participant> {
    let us = |us: u64| i64::try_from(us).unwrap_or(i64::MAX);
    let named = request.people.iter().map(|stay| Participant {
        id: stay.participant,
        handle: stay.handle.clone(),
        joined_ms: ms(us(stay.joined_us)),
        left_ms: stay.left_us.map(|left_us| ms(us(left_us))),
    });
    let mut people: Vec<_> = named.collect();
    let mut seen: BTreeSet<_> = people.iter().map(|participant| participant.id).collect();
    for (at_us, what) in kept {
        if let Happening::Began { track, .. } = what
            && seen.insert(track.participant)
        {
            let (id, joined_ms) = (track.participant, ms(*at_us));
            people.push(Participant { id, handle: None, joined_ms, left_ms: None });
        }
    }
    people
}

/// What the records told.
fn told(
    kept: &[(i64, Happening)],
    tracks: &BTreeMap<FileKey, Track>,
    ms: impl Fn(i64) -> i64,
) -> Vec<Event> {
    let mut running = BTreeMap::new();
    let of = |index: u16| tracks.get(&FileKey { index, part: 0 });
    kept.iter()
        .filter_map(|(at_us, what)| {
            let what = match what {
                Happening::Began { key, track, .. } => began(*key, track, &mut running)?,
                Happening::Muted { index, muted: true } => {
                    What::TrackMuted { track: of(*index)?.track }
                }
                Happening::Muted { index, muted: false } => {
                    What::TrackUnmuted { track: of(*index)?.track }
                }
                Happening::Ended { index } => {
                    What::TrackEnded { track: running.remove(index)?.1.track }
                }
                Happening::Lost { records } => What::Lost { records: *records },
                Happening::Speakers(indexes) => {
                    let mut participants: Vec<_> =
                        indexes.iter().filter_map(|index| Some(of(*index)?.participant)).collect();
                    let mut seen = BTreeSet::new();
                    participants.retain(|participant| seen.insert(*participant));
                    What::Speakers { participants }
                }
            };
            Some(Event { at_ms: ms(*at_us), what })
        })
        .collect()
}

/// None: the same track with another SSRC, which nobody needs to know.
fn began(key: FileKey, track: &Track, running: &mut BTreeMap<u16, (u32, Track)>) -> Option<What> {
    let codec = track.codec.into();
    match running.insert(key.index, (key.part, *track)) {
        Some((part, _)) if part == key.part => None,
        Some(_) => Some(What::CodecChanged { track: track.track, codec }),
        None => {
            let Track { track, participant, source, .. } = *track;
            Some(What::TrackBegan { track, participant, source, codec })
        }
    }
}

fn gaps(results: &[TrackResult]) -> impl Iterator<Item = Event> {
    results.iter().flat_map(|result| {
        let gaps = result.gaps.iter().filter(|gap| gap.kind != GapKind::Dtx);
        gaps.map(|gap| {
            let (track, kind) = (result.file.track, gap.kind);
            let at_ms = gap.from_ms as i64; // below RECORDING_US_MAX
            Event { at_ms, what: What::Gap { track, to_ms: gap.to_ms, kind } }
        })
    })
}

fn comings(participants: &[Participant]) -> impl Iterator<Item = Event> {
    participants.iter().flat_map(|who| {
        let participant = who.id;
        let joined = Event { at_ms: who.joined_ms, what: What::ParticipantJoined { participant } };
        let left = |at_ms| Event { at_ms, what: What::ParticipantLeft { participant } };
        [Some(joined), who.left_ms.map(left)].into_iter().flatten()
    })
}

fn pauses(pauses: &[Pause], ms: impl Fn(i64) -> i64) -> Vec<Event> {
    let at = |us: u64, what: What| Event { at_ms: ms(i64::try_from(us).unwrap_or(i64::MAX)), what };
    let both = pauses.iter().flat_map(|pause| {
        [Some(at(pause.from_us, What::Paused)), pause.to_us.map(|us| at(us, What::Resumed))]
    });
    both.flatten().collect()
}
