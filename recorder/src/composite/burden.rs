//! What a composite asks of the machine beside live calls: how many tracks are decoded at once, how long
//! that may seem to stand still, and that its threads go last.

use std::{io, thread::available_parallelism, time::Duration};

use rustix::process::{getpriority_process, setpriority_process};
use sfu_proto::control::Source;

use super::{CompositeError, layout::FRAMES_PER_SECOND};
use crate::{
    finalize::{Events, TrackResult},
    limits::{
        COMPOSITE_NICE, COMPOSITE_STALL, DECODERS_AHEAD_FRAMES, FEEDS_MAX, FILMS_MAX, VOICES_MAX,
    },
};

/// The tracks that are decoded at once, at most; `films`: pictures too.
///
/// # Errors
/// [`CompositeError::TooManyVoices`], [`CompositeError::TooManyTracks`].
pub(super) fn feeds(events: &Events, films: bool) -> Result<usize, CompositeError> {
    let tracks = events.tracks.iter();
    let stretch = |track: &TrackResult| {
        let is_sound = matches!(track.file.source, Source::Microphone | Source::ScreenAudio);
        (is_sound, (track.offset_ms, track.offset_ms.saturating_add(track.duration_ms)))
    };
    let (sounds, pictures): (Vec<_>, Vec<_>) =
        tracks.map(stretch).partition(|(is_sound, _)| *is_sound);
    let films = if films { at_once(pictures.into_iter().map(|(_, at)| at)) } else { 0 };
    sum(at_once(sounds.into_iter().map(|(_, at)| at)), films.min(FILMS_MAX))
}

fn sum(voices: usize, films: usize) -> Result<usize, CompositeError> {
    match voices + films {
        _ if voices > VOICES_MAX => Err(CompositeError::TooManyVoices),
        many if many > FEEDS_MAX => Err(CompositeError::TooManyTracks),
        few => Ok(few),
    }
}

/// The most of some stretches, milliseconds, that there are at once; each begins some time ahead.
fn at_once(stretches: impl Iterator<Item = (u64, u64)>) -> usize {
    let ahead_ms = DECODERS_AHEAD_FRAMES * 1000 / FRAMES_PER_SECOND;
    let mut changes: Vec<(u64, bool)> = stretches
        .flat_map(|(from, to)| [(from.saturating_sub(ahead_ms), true), (to, false)])
        .collect();
    changes.sort_unstable(); // Of the same moment, ends before beginnings.
    let (mut now, mut most) = (0usize, 0);
    for (_, begins) in changes {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

/// How long nothing may happen: each feed reads the whole journal before its first picture, and they share
/// the processors.
pub(super) fn stall(feeds: usize) -> Duration {
    let processors = available_parallelism().map_or(1, usize::from);
    COMPOSITE_STALL * u32::try_from(feeds.div_ceil(processors).max(1)).unwrap_or(u32::MAX)
}

/// This thread goes last: live calls come first. On Linux each thread has a priority of its own.
pub(super) fn go_last() {
    let lowered = || -> io::Result<()> {
        if getpriority_process(None)? < COMPOSITE_NICE {
            setpriority_process(None, COMPOSITE_NICE)?;
        }
        Ok(())
    };
    if let Err(error) = lowered() {
        tracing::debug!(%error, "a composite's thread runs at the usual priority");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::thread;

    use super::*;

    #[test]
    fn only_the_thread_that_asks_goes_last() {
        let before = getpriority_process(None).unwrap();
        let inner = thread::spawn(|| {
            go_last();
            getpriority_process(None).unwrap()
        });
        assert_eq!(inner.join().unwrap(), COMPOSITE_NICE.max(before));
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn more_feeds_may_take_longer() {
        assert_eq!(stall(1), COMPOSITE_STALL);
        assert_eq!(stall(0), COMPOSITE_STALL);
        let processors = available_parallelism().unwrap().get();
        assert_eq!(stall(3 * processors), COMPOSITE_STALL * 3);
    }

    #[test]
    fn tracks_are_counted_as_they_overlap_and_too_many_are_refused() {
        let ahead_ms = DECODERS_AHEAD_FRAMES * 1000 / FRAMES_PER_SECOND;
        let after = |gap: u64| (1000 + ahead_ms + gap, 90_000);
        assert_eq!(at_once([(0, 1000), after(0)].into_iter()), 1);
        assert_eq!(at_once([(0, 1001), after(0)].into_iter()), 2);
        assert_eq!(at_once((0..100).map(|n| (0, n + 1))), 100);
        assert_eq!(at_once([].into_iter()), 0);
        assert_eq!(sum(FEEDS_MAX - 25, 25).unwrap(), FEEDS_MAX);
        assert!(matches!(sum(FEEDS_MAX - 24, 25), Err(CompositeError::TooManyTracks)));
        assert!(matches!(sum(VOICES_MAX + 1, 0), Err(CompositeError::TooManyVoices)));
    }
}
