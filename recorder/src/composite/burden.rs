//! What a composite asks of the machine beside live calls: how many tracks are decoded at once, how long
//! one of them may keep the others waiting, and that its threads go last.

use std::{io, thread::available_parallelism, time::Duration};

use rustix::process::{getpriority_process, setpriority_process};

use super::{CompositeError, Order, draw, layout::FRAMES_PER_SECOND, mix};
use crate::limits::{
    COMPOSITE_NICE, DECODER_STALL, DECODER_STALL_EACH, DECODERS_AHEAD_FRAMES, FILMS_MAX, VOICES_MAX,
};

/// The tracks that are decoded at once, at most; `pictures`: not only sounds.
///
/// # Errors
/// [`CompositeError::TooManyVoices`].
pub(super) fn decoders(order: &Order<'_>, pictures: bool) -> Result<usize, CompositeError> {
    let tracks = &order.events.tracks;
    let voices = tracks.iter().filter(|track| mix::is_heard(track, order.masks));
    let films = pictures.then(|| draw::seen(order)).into_iter().flatten();
    let voices = at_once(voices.flat_map(mix::stretches));
    let films = at_once(films.map(|(_, stretch)| stretch));
    match voices {
        0..=VOICES_MAX => Ok(voices + films.min(FILMS_MAX)),
        _ => Err(CompositeError::TooManyVoices),
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
        let ahead_ms = DECODERS_AHEAD_FRAMES * 1000 / FRAMES_PER_SECOND;
        let after = |gap: u64| (1000 + ahead_ms + gap, 90_000);
        assert_eq!(at_once([(0, 1000), after(0)].into_iter()), 1);
        assert_eq!(at_once([(0, 1001), after(0)].into_iter()), 2);
        assert_eq!(at_once((0..100).map(|n| (0, n + 1))), 100);
        assert_eq!(at_once([].into_iter()), 0);
    }
}
