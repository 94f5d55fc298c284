//! `layout.json`: who is where in a composite, and when; so that a picture is found, cut out or placed anew
//! without being looked at.

use std::io::{self, Write};

use serde::Serialize;
use sfu_proto::id::ParticipantId;

use super::{
    layout::{FRAMES_PER_SECOND, Interval},
    place::{Canvas, Rect},
};
use crate::finalize::Events;

/// A reader of version 1 skips fields that it does not know.
const VERSION: u32 = 1;

/// A stretch of time in which no tile moves, milliseconds of the recording.
#[derive(Serialize)]
struct ToldInterval<'a> {
    from_ms: u64,
    to_ms: u64,
    tiles: Vec<ToldTile<'a>>,
}

/// Pixels of the composite.
#[derive(Serialize)]
struct ToldTile<'a> {
    participant: ParticipantId,
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    /// The file whose picture it shows, as `events.json` names it; none: it is plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<&'a str>,
}

impl<'a> ToldInterval<'a> {
    fn new(interval: &Interval, events: &'a Events) -> Self {
        let ms = |frame: u64| frame * 1000 / FRAMES_PER_SECOND;
        let tiles = interval.tiles.iter().map(|tile| {
            let Rect { x, y, width, height } = tile.place;
            let track = tile.picture.and_then(|file| events.tracks.get(file));
            let track = track.map(|track| track.file.name.as_str());
            ToldTile { participant: tile.participant, x, y, width, height, track }
        });
        Self { from_ms: ms(interval.from), to_ms: ms(interval.to), tiles: tiles.collect() }
    }
}

/// Writes one interval on each line: there may be many.
///
/// # Errors
/// It cannot be written.
pub(super) fn write(
    out: &mut impl Write,
    canvas: Canvas,
    intervals: &[Interval],
    events: &Events,
) -> io::Result<()> {
    let Canvas { width, height } = canvas;
    write!(out, r#"{{"version":{VERSION},"width":{width},"height":{height},"intervals":["#)?;
    for (n, interval) in intervals.iter().enumerate() {
        out.write_all(if n == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &ToldInterval::new(interval, events))?;
    }
    out.write_all(b"\n]}\n")
}
