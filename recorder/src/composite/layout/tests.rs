#![allow(clippy::unwrap_used, reason = "tests")]

use sfu_proto::{control::Source, id::TrackId};

use super::*;
use crate::finalize::{
    CodecName, Container, Event, FileInfo, Gap, GapKind, Participant, TrackResult, What,
};

fn who(n: u128) -> ParticipantId {
    ParticipantId::from_bits(n)
}

fn track(n: u128, participant: u128, source: Source, (from, to): (u64, u64)) -> TrackResult {
    let file = FileInfo {
        name: format!("{n:04}-0-x.webm"),
        track: TrackId::from_bits(n),
        participant: who(participant),
        source,
        part: 0,
        codec: CodecName::Vp8,
        container: Container::Webm,
    };
    TrackResult {
        file,
        offset_ms: from,
        duration_ms: to - from,
        bytes: 1,
        frames: 1,
        frames_left_out: 0,
        key_frames: 1,
        resolutions: Vec::new(),
        gaps: Vec::new(),
        gaps_left_out: 0,
        sr_fit: None,
    }
}

fn events(people: &[(u128, i64, Option<i64>)], tracks: Vec<TrackResult>) -> Events {
    let participants = people.iter().map(|(id, joined_ms, left_ms)| Participant {
        id: who(*id),
        handle: None,
        joined_ms: *joined_ms,
        left_ms: *left_ms,
    });
    Events {
        version: 1,
        recording: None,
        started_at_ms: 0,
        duration_ms: 10_000,
        participants: participants.collect(),
        tracks,
        events: Vec::new(),
        events_left_out: 0,
        lost_records: 0,
    }
}

fn happened(events: &mut Events, at_ms: i64, what: What) {
    events.events.push(Event { at_ms, what });
}

/// From, to, and of each tile: whose, and which picture.
/// From, to, and who shows what.
type Told = (u64, u64, Vec<(u128, Option<usize>)>);

fn told(events: &Events, layout: Layout) -> Vec<Told> {
    let all = intervals(events, layout, Canvas::HD);
    assert!(all.windows(2).all(|pair| pair[0].to == pair[1].from && pair[0] != pair[1]));
    assert_eq!((all[0].from, all.last().unwrap().to), (0, frames(events)));
    let tile = |tile: &Tile| (tile.participant.bits(), tile.picture);
    all.iter().map(|it| (it.from, it.to, it.tiles.iter().map(tile).collect())).collect()
}

#[test]
fn who_joins_and_leaves_has_a_tile_meanwhile_and_pictures_stand_in_their_time() {
    let tracks = vec![
        track(1, 7, Source::Camera, (0, 10_000)),
        track(2, 8, Source::Microphone, (2_000, 6_000)),
        track(3, 8, Source::Camera, (3_000, 6_000)),
    ];
    // Somebody of whom nothing is recorded has no tile.
    let events = events(&[(7, -50, None), (8, 2_000, Some(6_000)), (9, 0, None)], tracks);
    let one = vec![(7, Some(0))];
    assert_eq!(
        told(&events, Layout::Grid),
        [
            (0, 60, one.clone()),
            (60, 90, vec![(7, Some(0)), (8, None)]),
            (90, 180, vec![(7, Some(0)), (8, Some(2))]),
            (180, 300, one),
        ]
    );
}

#[test]
fn a_muted_camera_is_plain_a_stalled_one_stands_for_a_while_and_a_screen_for_ever() {
    let mut camera = track(1, 7, Source::Camera, (0, 9_000));
    let gap = |from_ms, to_ms, kind| Gap { from_ms, to_ms, kind };
    camera.gaps = vec![gap(1_000, 2_000, GapKind::Muted), gap(3_000, 8_000, GapKind::Loss)];
    let mut screen = track(2, 7, Source::Screen, (0, 1_000));
    screen.gaps = vec![gap(100, 900, GapKind::Dtx)];
    let mut events = events(&[(7, 0, None)], vec![camera, screen]);
    happened(&mut events, 9_500, What::TrackEnded { track: TrackId::from_bits(1) });
    happened(&mut events, 9_800, What::TrackEnded { track: TrackId::from_bits(2) });
    let with = |file| vec![(7, Some(1)), (7, file)];
    assert_eq!(
        told(&events, Layout::Grid),
        [
            (0, 30, with(Some(0))),
            (30, 60, with(None)),
            (60, 150, with(Some(0))),
            (150, 240, with(None)),
            (240, 285, with(Some(0))),
            (285, 294, with(None)),
            (294, 300, vec![(7, None)]),
        ]
    );
}

#[test]
fn who_speaks_is_large_but_not_for_a_cough_and_a_screen_wins() {
    let mut tracks: Vec<_> = (1..=3).map(|n| track(n, n, Source::Camera, (0, 10_000))).collect();
    tracks.push(track(4, 1, Source::Screen, (8_000, 9_000)));
    let mut events = events(&[(1, 0, None), (2, 0, None), (3, 0, None)], tracks);
    happened(&mut events, 2_000, What::Speakers { participants: vec![who(3), who(1)] });
    happened(&mut events, 4_000, What::Speakers { participants: vec![who(2)] });
    happened(&mut events, 4_500, What::Speakers { participants: vec![who(3)] });
    happened(&mut events, 6_000, What::Speakers { participants: vec![] });
    happened(&mut events, 9_000, What::TrackEnded { track: TrackId::from_bits(4) });
    let third = vec![(3, Some(2)), (1, Some(0)), (2, Some(1))];
    let first = vec![(1, Some(0)), (2, Some(1)), (3, Some(2))];
    let told = told(&events, Layout::Speaker);
    assert_eq!(told[0], (0, 60, first.clone()));
    assert_eq!(told[1], (60, 240, third.clone()));
    assert_eq!(told[2], (240, 270, [vec![(1, Some(3))], first].concat()));
    assert_eq!(told[3], (270, 300, third));
    let all = intervals(&events, Layout::Speaker, Canvas::HD);
    assert!(all.iter().all(|it| it.tiles[0].place.width > 2 * it.tiles[1].place.width));
}

#[test]
fn nobody_is_shown_while_recording_is_paused_and_a_crowd_is_cut() {
    let people: Vec<_> = (1..=40).map(|n| (n, 0, None)).collect();
    let tracks = (1..=40).map(|n| track(n, n, Source::Camera, (0, 10_000))).collect();
    let mut events = events(&people, tracks);
    happened(&mut events, 2_000, What::Paused);
    happened(&mut events, 2_000, What::Resumed);
    happened(&mut events, 3_000, What::Paused);
    happened(&mut events, 5_000, What::Resumed);
    let all = intervals(&events, Layout::Grid, Canvas::HD);
    let told: Vec<_> = all.iter().map(|it| (it.from, it.to, it.tiles.len())).collect();
    assert_eq!(told, [(0, 90, 25), (90, 150, 0), (150, 300, 25)]);
    assert_eq!(intervals(&events, Layout::Speaker, Canvas::HD)[0].tiles.len(), 9);
}
