//! Who is where in the picture, and when: a pure function of what happened.
//!
//! ```text
//! Events ─▶ shows (when which picture is there) ─▶ changes in order ─▶ intervals ─▶ tiles with places
//! ```
//! Times are frames of the output. No names and no handles: whoever has no picture is a plain tile.

use std::collections::BTreeMap;

use sfu_proto::id::ParticipantId;

use super::{
    place::{self, Canvas, Rect},
    shows::{self, Change, Show},
};
use crate::{
    finalize::Events,
    limits::{COMPOSITE_TILES_MAX, STRIP_TILES_MAX},
};

/// Pictures per second of a composite.
pub const FRAMES_PER_SECOND: u64 = 30;

/// How a composite is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// Everybody and every shared screen, in tiles of one size.
    #[default]
    Grid,
    /// The shared screen, or who speaks, large; the others small beside.
    Speaker,
}

/// A tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Whose.
    pub participant: ParticipantId,
    /// Where.
    pub place: Rect,
    /// The file whose picture it shows, an index of [`Events::tracks`]; none: it is plain.
    pub picture: Option<usize>,
}

/// A stretch of time in which nothing moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// First frame.
    pub from: u64,
    /// The frame after the last.
    pub to: u64,
    /// What is shown; nothing while recording is paused.
    pub tiles: Vec<Tile>,
}

/// Frames of the whole composite.
#[must_use]
pub const fn frames(events: &Events) -> u64 {
    (events.duration_ms * FRAMES_PER_SECOND).div_ceil(1000)
}

/// The intervals of a recording: one behind the other from frame 0 to [`frames`], each at least a
/// frame, neighbours different.
#[must_use]
pub fn intervals(events: &Events, layout: Layout, canvas: Canvas) -> Vec<Interval> {
    let (changes, end) = (shows::changes(events), frames(events));
    let (mut scene, mut out, mut from) = (Scene::default(), Vec::new(), 0);
    for (at, change) in changes {
        let at = at.min(end);
        if at > from {
            push(&mut out, from, at, scene.tiles(layout, canvas));
            from = at;
        }
        scene.apply(change);
    }
    if end > from {
        push(&mut out, from, end, scene.tiles(layout, canvas));
    }
    out
}

fn push(out: &mut Vec<Interval>, from: u64, to: u64, tiles: Vec<Tile>) {
    match out.last_mut() {
        Some(last) if last.tiles == tiles => last.to = to,
        _ => out.push(Interval { from, to, tiles }),
    }
}

/// What is there at a moment.
#[derive(Default)]
struct Scene {
    /// How many stays of each run; all who ever came keep their place in the order.
    people: BTreeMap<ParticipantId, Stay>,
    /// Pictures by their file.
    shown: BTreeMap<usize, Show>,
    /// Screens, the newest last.
    screens: Vec<usize>,
    speaker: Option<ParticipantId>,
    pauses: u32,
}

#[derive(Clone, Copy)]
struct Stay {
    order: usize,
    running: u32,
}

/// What wants a tile.
#[derive(Clone, Copy)]
struct Item {
    participant: ParticipantId,
    picture: Option<usize>,
}

impl Scene {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Come(who) => {
                let order = self.people.len();
                let stay = self.people.entry(who).or_insert(Stay { order, running: 0 });
                stay.running += 1;
            }
            Change::Leave(who) => {
                if let Some(stay) = self.people.get_mut(&who) {
                    stay.running = stay.running.saturating_sub(1);
                }
            }
            Change::Show(show) => {
                if show.is_screen {
                    self.screens.push(show.file);
                }
                self.shown.insert(show.file, show);
            }
            Change::Hide(file) => {
                self.shown.remove(&file);
                self.screens.retain(|screen| *screen != file);
            }
            Change::Speaker(who) => self.speaker = Some(who),
            Change::Pause => self.pauses += 1,
            Change::Resume => self.pauses = self.pauses.saturating_sub(1),
        }
    }

    fn tiles(&self, layout: Layout, canvas: Canvas) -> Vec<Tile> {
        if self.pauses > 0 {
            return Vec::new();
        }
        let mut items = self.items();
        let places = match layout {
            Layout::Grid => {
                items.truncate(COMPOSITE_TILES_MAX);
                place::grid(items.len(), canvas)
            }
            Layout::Speaker => {
                self.main_first(&mut items);
                items.truncate(1 + STRIP_TILES_MAX);
                place::speaker(items.len(), canvas)
            }
        };
        let tile = |(item, place): (Item, Rect)| {
            let Item { participant, picture } = item;
            Tile { participant, place, picture }
        };
        items.into_iter().zip(places).map(tile).collect()
    }

    /// Screens, the newest first; then people in the order in which they first came.
    fn items(&self) -> Vec<Item> {
        let screens = self.screens.iter().rev().filter_map(|file| self.shown.get(file));
        let screens =
            screens.map(|show| Item { participant: show.participant, picture: Some(show.file) });
        let mut cameras = BTreeMap::new();
        for show in self.shown.values().filter(|show| !show.is_screen) {
            cameras.insert(show.participant, show.file);
        }
        let here =
            |(who, stay): (&ParticipantId, &Stay)| (stay.running > 0).then_some((stay.order, *who));
        let mut people: Vec<_> = self.people.iter().filter_map(here).collect();
        people.sort_unstable();
        let people = people.into_iter().map(|(_, participant)| Item {
            participant,
            picture: cameras.get(&participant).copied(),
        });
        screens.chain(people).collect()
    }

    /// The newest screen is large, else who speaks or spoke last, else who came first.
    fn main_first(&self, items: &mut [Item]) {
        if !self.screens.is_empty() {
            return; // It is the first already.
        }
        let speaks = |item: &Item| Some(item.participant) == self.speaker;
        if let Some(at) = items.iter().position(speaks) {
            items[..=at].rotate_right(1);
        }
    }
}

#[cfg(test)]
mod tests;
