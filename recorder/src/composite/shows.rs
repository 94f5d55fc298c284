//! When each picture is there, who is there and who speaks: what [`super::layout`] lays out, in order
//! of time.

use std::collections::{BTreeMap, BTreeSet};

use sfu_proto::{
    control::Source,
    id::{ParticipantId, TrackId},
};

use super::layout::{FRAMES_PER_SECOND, frames};
use crate::{
    finalize::{Events, GapKind, TrackResult, What},
    limits::{PICTURE_HOLD_MS, SPEAKER_HOLD_MS},
};

/// A picture that can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Show {
    /// Its file, an index of [`Events::tracks`].
    pub(super) file: usize,
    pub(super) participant: ParticipantId,
    pub(super) is_screen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Hide(usize),
    Leave(ParticipantId),
    Resume,
    Come(ParticipantId),
    Show(Show),
    Speaker(ParticipantId),
    Pause,
}

/// All that changes, with its frame, ascending.
pub(super) fn changes(events: &Events) -> Vec<(u64, Change)> {
    let mut changes = stays(events);
    let stops = stops(events);
    for (file, track) in events.tracks.iter().enumerate().filter(|(_, track)| is_picture(track)) {
        let until_ms = stopped_ms(track, &stops, events);
        let participant = track.file.participant;
        let show = Show { file, participant, is_screen: track.file.source == Source::Screen };
        for (from_ms, to_ms) in shown(track, until_ms) {
            let (from, to) = (frame(from_ms), frame(to_ms));
            if to > from {
                changes.push((from, Change::Show(show)));
                changes.push((to, Change::Hide(file)));
            }
        }
    }
    changes.extend(speakers(events));
    changes.extend(pauses(events));
    // At one frame what ends comes before what begins; nothing begins and ends at one frame.
    changes.sort_by_key(|(at, change)| (*at, rank(change)));
    changes
}

const fn rank(change: &Change) -> u8 {
    match change {
        Change::Hide(_) | Change::Leave(_) | Change::Resume => 0,
        Change::Come(_) | Change::Show(_) | Change::Speaker(_) | Change::Pause => 1,
    }
}

pub(super) fn is_picture(track: &TrackResult) -> bool {
    matches!(track.file.source, Source::Camera | Source::Screen)
}

/// The frame nearest to a time.
pub(super) const fn frame(ms: u64) -> u64 {
    (ms.saturating_mul(FRAMES_PER_SECOND).saturating_add(500)) / 1000
}

/// Stays of those of whom anything was recorded: who did not consent is not even a tile.
fn stays(events: &Events) -> Vec<(u64, Change)> {
    let recorded: BTreeSet<_> = events.tracks.iter().map(|track| track.file.participant).collect();
    let end = frames(events);
    let at = |ms: i64| frame(ms.max(0) as u64).min(end);
    let stays = events.participants.iter().filter(|one| recorded.contains(&one.id));
    stays
        .map(|one| (one.id, at(one.joined_ms), one.left_ms.map_or(end, at)))
        .filter(|(_, from, to)| to > from)
        .flat_map(|(id, from, to)| [(from, Change::Come(id)), (to, Change::Leave(id))])
        .collect()
}

fn pauses(events: &Events) -> Vec<(u64, Change)> {
    let (mut out, mut paused) = (Vec::new(), None);
    for event in &events.events {
        let at = frame(event.at_ms.max(0) as u64);
        match (&event.what, paused) {
            (What::Paused, None) => paused = Some(at),
            (What::Resumed, Some(from)) => {
                if at > from {
                    out.extend([(from, Change::Pause), (at, Change::Resume)]);
                }
                paused = None;
            }
            _ => {}
        }
    }
    out.extend(paused.map(|from| (from, Change::Pause)));
    out
}

/// When each track was muted or ended, ascending.
fn stops(events: &Events) -> BTreeMap<TrackId, Vec<u64>> {
    let mut stops: BTreeMap<TrackId, Vec<u64>> = BTreeMap::new();
    for event in &events.events {
        if let What::TrackEnded { track } | What::TrackMuted { track } = event.what {
            stops.entry(track).or_default().push(event.at_ms.max(0) as u64);
        }
    }
    stops
}

/// Until when the last picture of a file may stand.
fn stopped_ms(track: &TrackResult, stops: &BTreeMap<TrackId, Vec<u64>>, events: &Events) -> u64 {
    let end_ms = track.offset_ms + track.duration_ms;
    let stop = stops.get(&track.file.track).and_then(|stops| {
        stops.iter().find(|at_ms| **at_ms + PICTURE_HOLD_MS / 4 >= end_ms).copied()
    });
    let next = events.tracks.iter().filter(|other| {
        (other.file.track, other.file.part) == (track.file.track, track.file.part + 1)
    });
    let next = next.map(|other| other.offset_ms).min();
    let who = events.participants.iter().filter(|one| one.id == track.file.participant);
    let left = who.filter_map(|one| Some(one.left_ms?.max(0) as u64)).filter(|ms| *ms >= end_ms);
    let first = [stop, next, left.min()].into_iter().flatten().min();
    first.unwrap_or(events.duration_ms).clamp(track.offset_ms, events.duration_ms.max(end_ms))
}

/// When a file's picture is shown, ms: not while it is muted or not recorded. What stalls stands still
/// for a while, a screen for ever: a screen that does not change sends nothing.
fn shown(track: &TrackResult, until_ms: u64) -> Vec<(u64, u64)> {
    let hold_ms = match track.file.source {
        Source::Screen => u64::MAX,
        _ => PICTURE_HOLD_MS,
    };
    let (mut spans, mut from_ms) = (Vec::new(), track.offset_ms);
    for gap in &track.gaps {
        let stands_ms = match gap.kind {
            GapKind::Muted | GapKind::NotRecorded => 0,
            _ => hold_ms,
        };
        if gap.to_ms - gap.from_ms.min(gap.to_ms) > stands_ms {
            spans.push((from_ms, gap.from_ms.saturating_add(stands_ms)));
            from_ms = gap.to_ms;
        }
    }
    let end_ms = track.offset_ms + track.duration_ms;
    spans.push((from_ms, until_ms.min(end_ms.saturating_add(hold_ms))));
    spans
}

/// Who is the loudest; not for less than a moment.
fn speakers(events: &Events) -> Vec<(u64, Change)> {
    let mut told: Vec<(u64, ParticipantId)> = Vec::new();
    for event in &events.events {
        let What::Speakers { participants } = &event.what else { continue };
        let (Some(who), at_ms) = (participants.first(), event.at_ms.max(0) as u64) else {
            continue;
        };
        if told.last().is_some_and(|(_, last)| last == who) {
            continue;
        }
        if told.last().is_some_and(|(last_ms, _)| at_ms - last_ms < SPEAKER_HOLD_MS) {
            told.pop();
        }
        told.push((at_ms, *who));
    }
    told.into_iter().map(|(at_ms, who)| (frame(at_ms), Change::Speaker(who))).collect()
}
