//! What a composite asks of the machine beside live calls: how many tracks are decoded at once, how long
//! one of them may keep the others waiting, and that its threads go last.

use std::{io, thread::available_parallelism, time::Duration};

use rustix::process::{getpriority_process, setpriority_process};

use super::{Order, layout::FRAMES_PER_SECOND, mix};
use crate::limits::{
    COMPOSITE_NICE, DECODER_STALL, DECODER_STALL_EACH, DECODERS_AHEAD_FRAMES, FILMS_MAX, VOICES_MAX,
};

/// The tracks that are decoded at once, at most; `films`: when pictures are, milliseconds.
pub(super) fn decoders(order: &Order<'_>, films: Vec<(u64, u64)>) -> usize {
    let ahead_ms = DECODERS_AHEAD_FRAMES * 1000 / FRAMES_PER_SECOND;
    let tracks = order.events.tracks.iter();
    let voices = tracks.filter(|track| mix::is_heard(track, order.events, order.masks));
    let voices = voices.flat_map(mix::stretches);
    let ahead = voices.map(|(from, to)| (from.saturating_sub(ahead_ms), to));
    at_once(ahead).min(VOICES_MAX) + at_once(films.into_iter()).min(FILMS_MAX)
}

/// The most of some stretches, milliseconds, that there are at once.
fn at_once(stretches: impl Iterator<Item = (u64, u64)>) -> usize {
    let mut changes: Vec<(u64, bool)> =
        stretches.flat_map(|(from, to)| [(from, true), (to, false)]).collect();
    changes.sort_unstable(); // Of the same moment, ends before beginnings.
    let (mut now, mut most) = (0usize, 0);
    for (_, begins) in changes {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        most = most.max(now);
    }
    most
}

/// How long one of so many decoders may give nothing: they share the processors, and all may begin at once.
pub(super) fn patience(decoders: usize) -> Duration {
    let processors = available_parallelism().map_or(1, usize::from);
    let share = u32::try_from(decoders.div_ceil(processors)).unwrap_or(u32::MAX);
    DECODER_STALL + DECODER_STALL_EACH.saturating_mul(share)
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
    fn more_decoders_may_take_longer() {
        assert_eq!(patience(0), DECODER_STALL);
        let processors = available_parallelism().unwrap().get();
        assert_eq!(patience(3 * processors), DECODER_STALL + DECODER_STALL_EACH * 3);
    }

    #[test]
    fn tracks_are_counted_as_they_overlap() {
        assert_eq!(at_once([(0, 1000), (1000, 90_000)].into_iter()), 1);
        assert_eq!(at_once([(0, 1001), (1000, 90_000)].into_iter()), 2);
        assert_eq!(at_once((0..100).map(|n| (0, n + 1))), 100);
        assert_eq!(at_once([].into_iter()), 0);
    }
}
