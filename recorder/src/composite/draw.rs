//! Draws the composite, frame by frame, and hands it to the encoder.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    thread::Scope,
};

use super::{
    CompositeError, Mask, Order,
    decode::{Film, Kitchen},
    layout::{FRAMES_PER_SECOND, Interval, Tile, intervals},
    picture::{GROUND, PLAIN, Picture, whole},
    place::{Canvas, Rect, even, fit},
    shows,
};
use crate::{
    finalize::TrackResult,
    limits::{DECODERS_AHEAD_FRAMES, FILM_HOLD_FRAMES, FILMS_MAX},
};

/// What is drawn.
pub(super) struct Drawing {
    pub(super) canvas: Canvas,
    pub(super) intervals: Vec<Interval>,
    pub(super) masks: Vec<Mask>,
}

/// A stretch of a film as it is needed: when, and how large at most.
struct Need {
    file: usize,
    first: u64,
    /// The frame after the last in which it is seen.
    until: u64,
    size: Canvas,
}

struct Reel {
    film: Film,
    first: u64,
    until: u64,
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
    let mut waiting = in_time(needs(&drawing.intervals, tracks), kitchen).into_iter().peekable();
    let mut reels: BTreeMap<(usize, u64), Reel> = BTreeMap::new();
    let mut picture = Picture::new(drawing.canvas);
    for interval in &drawing.intervals {
        picture.fill(whole(drawing.canvas), GROUND);
        for tile in &interval.tiles {
            picture.fill(tile.place, PLAIN);
        }
        let mut is_new = true;
        for frame in interval.from..interval.to {
            while let Some((_, need)) = waiting.next_if(|(begin, _)| *begin <= frame) {
                let Need { file, first, until, size } = need;
                if reels.len() < FILMS_MAX {
                    let film = Film::start(scope, kitchen, &tracks[file], size, first)?;
                    reels.insert((file, first), Reel { film, first, until });
                } else {
                    kitchen.watch.flaw(&tracks[file].file.name);
                }
            }
            reels.retain(|_, reel| reel.until > frame);
            let mut moved = BTreeSet::new();
            for ((file, _), reel) in reels.iter_mut().filter(|(_, reel)| reel.first <= frame) {
                if reel.film.advance(kitchen.watch) {
                    moved.insert(*file);
                    mask(reel.film.picture(), &drawing.masks, &tracks[*file]);
                }
            }
            for tile in &interval.tiles {
                let Some(file) = tile.picture else { continue };
                if !is_new && !moved.contains(&file) {
                    continue;
                }
                // What begins later is not yet to be seen.
                if let Some((_, reel)) = reels.range_mut((file, 0)..=(file, frame)).next_back() {
                    show(&mut picture, tile, reel, &tracks[file], frame);
                }
            }
            is_new = false;
            output.write_all(picture.data()).map_err(|_| CompositeError::Encoder)?;
            kitchen.watch.step();
        }
    }
    Ok(())
}

/// With the frame at which each is begun, ascending: earlier when much is decoded before it is seen.
fn in_time(needs: Vec<Need>, kitchen: Kitchen<'_>) -> Vec<(u64, Need)> {
    let begin = |need: Need| {
        let track = &kitchen.events.tracks[need.file];
        let lead = Film::lead(track, Film::entry(kitchen.work, track, need.first), need.first);
        let lead = shows::frame(lead.as_millis() as u64); // Recordings are of two days at most.
        (need.first.saturating_sub(DECODERS_AHEAD_FRAMES + lead / 2), need)
    };
    let mut needs: Vec<_> = needs.into_iter().map(begin).collect();
    needs.sort_by_key(|(at, _)| *at);
    needs
}

fn mask(picture: &mut Picture, masks: &[Mask], track: &TrackResult) {
    for mask in masks.iter().filter(|mask| mask.source == track.file.source) {
        picture.hide(&mask.region);
    }
}

fn show(picture: &mut Picture, tile: &Tile, reel: &mut Reel, track: &TrackResult, frame: u64) {
    let place = fit(shape(track, frame * 1000 / FRAMES_PER_SECOND), tile.place);
    if place != tile.place {
        picture.fill(tile.place, GROUND);
    }
    picture.draw(reel.film.picture(), place);
}

/// Width and height of a track's picture at a time.
fn shape(track: &TrackResult, at_ms: u64) -> (u32, u32) {
    let after = track.resolutions.partition_point(|size| size.at_ms <= at_ms);
    let size = track.resolutions.get(after.saturating_sub(1));
    size.map_or((16, 9), |size| (size.width.into(), size.height.into()))
}

/// The files whose pictures are seen, indexes of the tracks, and when: milliseconds.
pub(super) fn seen(order: &Order<'_>) -> Vec<(usize, (u64, u64))> {
    let intervals = intervals(order.events, order.layout, order.canvas);
    let ms = |frame: u64| frame * 1000 / FRAMES_PER_SECOND;
    let needs = needs(&intervals, &order.events.tracks).into_iter();
    needs.map(|need| (need.file, (ms(need.first), ms(need.until)))).collect()
}

/// All films that are seen, a stretch of each for each time; what is out of sight for a moment is
/// decoded on. Each is decoded as large as it is shown in the stretch.
fn needs(intervals: &[Interval], tracks: &[TrackResult]) -> Vec<Need> {
    let mut seen: BTreeMap<usize, Vec<(u64, u64, Rect)>> = BTreeMap::new();
    for interval in intervals {
        for tile in &interval.tiles {
            let Some(file) = tile.picture else { continue };
            let stretches = seen.entry(file).or_default();
            match stretches.last_mut() {
                Some((_, until, largest)) if interval.from <= *until + FILM_HOLD_FRAMES => {
                    *until = interval.to;
                    if tile.place.width > largest.width {
                        *largest = tile.place;
                    }
                }
                _ => stretches.push((interval.from, interval.to, tile.place)),
            }
        }
    }
    let need = |file: usize, (from, until, largest): (u64, u64, Rect)| {
        let track = tracks.get(file)?;
        let first = from.max(Film::first(track));
        let Rect { width, height, .. } = fit(shape(track, track.offset_ms), largest);
        let size = Canvas { width: even(width).max(2), height: even(height).max(2) };
        (until > first).then_some(Need { file, first, until, size })
    };
    let all = seen.into_iter().flat_map(|(file, all)| all.into_iter().map(move |one| (file, one)));
    all.filter_map(|(file, stretch)| need(file, stretch)).collect()
}
