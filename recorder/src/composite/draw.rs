//! Draws the composite, frame by frame, and hands it to the encoder.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    thread::Scope,
    time::Instant,
};

use super::{
    CompositeError, Mask, Order,
    decode::{Film, Kitchen},
    layout::{FRAMES_PER_SECOND, Interval, Tile, intervals},
    picture::{GROUND, PLAIN, Picture, whole},
    place::{Canvas, Rect, even, fit},
    reels::{Need, Reels, joined},
    shows,
    work::Work,
};
use crate::{
    finalize::{Events, TrackResult},
    limits::{DECODERS_AHEAD_FRAMES, FILM_HOLD_FRAMES},
};

/// What is drawn.
pub(super) struct Drawing {
    pub(super) canvas: Canvas,
    pub(super) intervals: Vec<Interval>,
    pub(super) masks: Vec<Mask>,
}

/// Draws all frames into `output`.
///
/// # Errors
/// A decoder cannot be started, or nobody reads.
pub(super) fn draw<'scope>(
    scope: &'scope Scope<'scope, '_>,
    kitchen: Kitchen<'scope>,
    drawing: &Drawing,
    mut output: impl Write,
) -> Result<(), CompositeError> {
    let tracks = &kitchen.events.tracks;
    let start =
        |need: &Need| Film::start(scope, kitchen, &tracks[need.file], need.size, need.first());
    let mut reels = Reels::new(in_time(&drawing.intervals, tracks, kitchen.work));
    let mut picture = Picture::new(drawing.canvas);
    for interval in &drawing.intervals {
        picture.fill(whole(drawing.canvas), GROUND);
        for tile in &interval.tiles {
            picture.fill(tile.place, PLAIN);
        }
        let mut is_new = true;
        for frame in interval.from..interval.to {
            for file in reels.turn(frame, start)? {
                kitchen.watch.flaw(&tracks[file].file.name);
            }
            let moved = advance(&mut reels, frame, kitchen, &drawing.masks);
            for tile in &interval.tiles {
                let Some(file) = tile.picture.filter(|file| is_new || moved.contains(file)) else {
                    continue;
                };
                // What begins later is not yet to be seen.
                if let Some(film) = reels.film(file, frame) {
                    show(&mut picture, tile, film, &tracks[file], frame);
                }
            }
            is_new = false;
            output.write_all(picture.data()).map_err(|_| CompositeError::Encoder)?;
            kitchen.watch.step();
        }
    }
    Ok(())
}

/// The next frame of each film; gives those that have one.
fn advance(
    reels: &mut Reels<Film>,
    frame: u64,
    kitchen: Kitchen<'_>,
    masks: &[Mask],
) -> BTreeSet<usize> {
    let (asked_at, mut moved) = (Instant::now(), BTreeSet::new());
    for (file, film) in reels.shown(frame) {
        if film.advance(kitchen.watch, asked_at) {
            moved.insert(file);
            mask(film.picture(), masks, kitchen.events, file);
        }
    }
    moved
}

/// What is decoded: begun earlier when much is decoded before it is seen, and in one stretch when it cannot
/// be begun within.
fn in_time(intervals: &[Interval], tracks: &[TrackResult], work: &Work) -> Vec<Need> {
    let lead = |need: &Need| {
        let lead = Film::lead(work, &tracks[need.file], need.first());
        shows::frame(lead.as_millis() as u64) // Recordings are of two days at most.
    };
    let entry = |need: &Need| {
        let track = &tracks[need.file];
        Film::starts(track, need.first()).saturating_sub(lead(need))
    };
    let mut needs = joined(needs(intervals, tracks), entry);
    for need in &mut needs {
        need.begin = need.first().saturating_sub(DECODERS_AHEAD_FRAMES + lead(need) / 2);
    }
    needs
}

fn mask(picture: &mut Picture, masks: &[Mask], events: &Events, file: usize) {
    for mask in masks.iter().filter(|mask| mask.hides_track(&events.tracks[file], events)) {
        picture.hide(&mask.region);
    }
}

fn show(picture: &mut Picture, tile: &Tile, film: &mut Film, track: &TrackResult, frame: u64) {
    let place = fit(shape(track, frame * 1000 / FRAMES_PER_SECOND), tile.place);
    if place != tile.place {
        picture.fill(tile.place, GROUND);
    }
    picture.draw(film.picture(), place);
}

/// Width and height of a track's picture at a time.
fn shape(track: &TrackResult, at_ms: u64) -> (u32, u32) {
    let after = track.resolutions.partition_point(|size| size.at_ms <= at_ms);
    let size = track.resolutions.get(after.saturating_sub(1));
    size.map_or((16, 9), |size| (size.width.into(), size.height.into()))
}

/// The files whose pictures are seen, indexes of the tracks.
pub(super) fn seen(order: &Order<'_>) -> BTreeSet<usize> {
    let intervals = intervals(order.events, order.layout, order.canvas);
    needs(&intervals, &order.events.tracks).into_iter().map(|need| need.file).collect()
}

/// When films are decoded: milliseconds.
pub(super) fn decoded(order: &Order<'_>, work: &Work) -> Vec<(u64, u64)> {
    let intervals = intervals(order.events, order.layout, order.canvas);
    let ms = |frame: u64| frame * 1000 / FRAMES_PER_SECOND;
    let needs = in_time(&intervals, &order.events.tracks, work).into_iter();
    needs.map(|need| (ms(need.begin), ms(need.until()))).collect()
}

/// All films that are seen, a stretch of each for each time; what is out of sight for a moment is
/// decoded on. Each is decoded as large as it is shown in the stretch.
fn needs(intervals: &[Interval], tracks: &[TrackResult]) -> Vec<Need> {
    let mut needs: BTreeMap<usize, Vec<Need>> = BTreeMap::new();
    for Interval { from, to, tiles } in intervals {
        for tile in tiles {
            let Some((file, track)) = tile.picture.and_then(|n| Some((n, tracks.get(n)?))) else {
                continue;
            };
            let (from, to) = ((*from).max(Film::first(track)), *to);
            if to <= from {
                continue;
            }
            let Rect { width, height, .. } = fit(shape(track, track.offset_ms), tile.place);
            let size = Canvas { width: even(width).max(2), height: even(height).max(2) };
            let needs = needs.entry(file).or_default();
            match needs.last_mut().filter(|last| from <= last.until() + FILM_HOLD_FRAMES) {
                Some(last) => last.add([(from, to)], size),
                None => needs.push(Need { file, begin: from, sights: vec![(from, to)], size }),
            }
        }
    }
    needs.into_values().flatten().collect()
}
