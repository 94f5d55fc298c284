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
};
use crate::{
    finalize::TrackResult,
    limits::{DECODERS_AHEAD_FRAMES, FILMS_MAX},
};

/// What is drawn.
pub(super) struct Drawing {
    pub(super) canvas: Canvas,
    pub(super) intervals: Vec<Interval>,
    pub(super) masks: Vec<Mask>,
}

/// A film as it is needed: when, and how large at most.
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
    let mut waiting = needs(drawing, tracks).into_iter().peekable();
    let mut reels: BTreeMap<usize, Reel> = BTreeMap::new();
    let mut picture = Picture::new(drawing.canvas);
    for interval in &drawing.intervals {
        picture.fill(whole(drawing.canvas), GROUND);
        for tile in &interval.tiles {
            picture.fill(tile.place, PLAIN);
        }
        let mut is_new = true;
        for frame in interval.from..interval.to {
            while let Some(need) = waiting.next_if(|need| soon(need, frame)) {
                if reels.len() < FILMS_MAX {
                    let track = &tracks[need.file];
                    let film = Film::start(scope, kitchen, track, need.size)?;
                    let Need { file, first, until, .. } = need;
                    reels.insert(file, Reel { film, first, until });
                } else {
                    kitchen.watch.flaw();
                }
            }
            reels.retain(|_, reel| reel.until > frame);
            let mut moved = BTreeSet::new();
            for (file, reel) in reels.iter_mut().filter(|(_, reel)| reel.first <= frame) {
                if reel.film.advance(kitchen.watch) {
                    moved.insert(*file);
                    mask(reel.film.picture(), &drawing.masks, &tracks[*file]);
                }
            }
            for tile in &interval.tiles {
                let Some(file) = tile.picture else { continue };
                if let Some(reel) = reels.get_mut(&file).filter(|_| is_new || moved.contains(&file))
                {
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

const fn soon(need: &Need, frame: u64) -> bool {
    need.first <= frame + DECODERS_AHEAD_FRAMES
}

fn mask(picture: &mut Picture, masks: &[Mask], track: &TrackResult) {
    for mask in masks.iter().filter(|mask| mask.source == track.file.source) {
        picture.hide(&mask.region);
    }
}

fn show(picture: &mut Picture, tile: &Tile, reel: &mut Reel, track: &TrackResult, frame: u64) {
    if reel.first > frame {
        return; // Its tile is plain until then.
    }
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

/// The files whose pictures are ever seen, indexes of the tracks.
pub(super) fn seen(order: &Order<'_>) -> BTreeSet<usize> {
    let intervals = intervals(order.events, order.layout, order.canvas);
    let tiles = intervals.iter().flat_map(|interval| &interval.tiles);
    tiles.filter_map(|tile| tile.picture).collect()
}

/// All films that are seen, by their first frame. Each is decoded as large as it is ever shown.
fn needs(drawing: &Drawing, tracks: &[TrackResult]) -> Vec<Need> {
    let mut seen: BTreeMap<usize, (u64, Rect)> = BTreeMap::new();
    for interval in &drawing.intervals {
        for tile in &interval.tiles {
            let Some(file) = tile.picture else { continue };
            let (until, largest) = seen.entry(file).or_insert((interval.to, tile.place));
            *until = interval.to;
            if tile.place.width > largest.width {
                *largest = tile.place;
            }
        }
    }
    let need = |(file, (until, largest)): (usize, (u64, Rect))| {
        let track = tracks.get(file)?;
        let Rect { width, height, .. } = fit(shape(track, track.offset_ms), largest);
        let size = Canvas { width: even(width).max(2), height: even(height).max(2) };
        Some(Need { file, first: Film::first(track), until, size })
    };
    let mut needs: Vec<_> = seen.into_iter().filter_map(need).collect();
    needs.sort_by_key(|need| need.first);
    needs
}
