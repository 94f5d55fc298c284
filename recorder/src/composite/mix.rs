//! Mixes all voices and hands the sound to the encoder.

use std::{cmp::Reverse, collections::BinaryHeap, io::Write, thread::Scope, time::Instant};

use sfu_proto::control;

use super::{
    CompositeError, Mask,
    decode::{Kitchen, RATE, Voice},
    layout::{FRAMES_PER_SECOND, frames},
};
use crate::{
    finalize::{Events, TrackResult},
    limits::{DECODERS_AHEAD_FRAMES, VOICE_EDGE_MS, VOICE_HOLD_MS, VOICES_MAX},
};

/// Samples of a frame, of each of two channels.
const SAMPLES: u64 = RATE / FRAMES_PER_SECOND;
const CHANNELS: usize = 2;

/// Writes as much sound as the composite is long: 48 kHz, two channels, 32-bit floats.
///
/// # Errors
/// A decoder cannot be started, or nobody reads.
pub(super) fn mix<'scope>(
    scope: &'scope Scope<'scope, '_>,
    kitchen: Kitchen<'scope>,
    masks: &[Mask],
    mut output: impl Write,
) -> Result<(), CompositeError> {
    let events = kitchen.events;
    let heard = events.tracks.iter().filter(|track| is_heard(track, events, masks));
    let parts = heard.flat_map(|track| stretches(track).into_iter().map(move |part| (part, track)));
    let (waiting, left_out) = placed(parts.collect());
    left_out.into_iter().for_each(|(_, track)| kitchen.watch.flaw(&track.file.name));
    let mut waiting = waiting.into_iter().peekable();
    let mut voices: Vec<((u64, u64), Voice)> = Vec::new();
    let mut sum = vec![0f32; SAMPLES as usize * CHANNELS];
    let mut bytes = Vec::with_capacity(sum.len() * 4);
    for frame in 0..frames(kitchen.events) {
        let (from, to) = (frame * SAMPLES, (frame + 1) * SAMPLES);
        voices.retain(|((_, last), _)| *last > from);
        // Ahead while there are places.
        let soon = |voices: usize| {
            if voices < VOICES_MAX { to + DECODERS_AHEAD_FRAMES * SAMPLES } else { to }
        };
        while let Some(((from_ms, to_ms), track)) =
            waiting.next_if(|((from_ms, _), _)| sample(*from_ms) < soon(voices.len()))
        {
            let voice = Voice::start(scope, kitchen, track, from_ms)?;
            voices.push(((sample(from_ms), sample(to_ms)), voice));
        }
        sum.fill(0.0);
        let asked_at = Instant::now();
        voices.retain_mut(|((first, _), voice)| {
            if *first >= to {
                return true;
            }
            let skipped = first.saturating_sub(from) as usize * CHANNELS;
            voice.add(&mut sum[skipped..], kitchen.watch, asked_at)
        });
        bytes.clear();
        sum.iter().for_each(|sample| bytes.extend_from_slice(&sample.to_le_bytes()));
        output.write_all(&bytes).map_err(|_| CompositeError::Encoder)?;
        kitchen.watch.step();
    }
    Ok(())
}

const fn sample(ms: u64) -> u64 {
    ms * (RATE / 1000)
}

/// A stretch, milliseconds, of something.
type Part<T> = ((u64, u64), T);

/// Those that have a place among [`VOICES_MAX`], in order of time, and those that have none: who sounds
/// keeps his place until he is silent for long.
fn placed<T>(mut parts: Vec<Part<T>>) -> (Vec<Part<T>>, Vec<Part<T>>) {
    parts.sort_by_key(|(part, _)| *part);
    let mut ends = BinaryHeap::new();
    parts.into_iter().partition(|((from, to), _)| {
        while ends.peek().is_some_and(|Reverse(end)| end <= from) {
            ends.pop();
        }
        let has_place = ends.len() < VOICES_MAX;
        if has_place {
            ends.push(Reverse(*to));
        }
        has_place
    })
}

/// When a track sounds, milliseconds: a long silence needs no decoder.
pub(super) fn stretches(track: &TrackResult) -> Vec<(u64, u64)> {
    let (mut stretches, mut from_ms) = (Vec::new(), track.offset_ms);
    for gap in track.gaps.iter().filter(|gap| gap.to_ms >= gap.from_ms + VOICE_HOLD_MS) {
        stretches.push((from_ms, gap.from_ms + VOICE_EDGE_MS));
        from_ms = gap.to_ms - VOICE_EDGE_MS;
    }
    // What follows its last time is at most a packet.
    stretches.push((from_ms, track.offset_ms + track.duration_ms + VOICE_EDGE_MS));
    stretches
}

/// Whether a track is a sound and not masked.
pub(super) fn is_heard(track: &TrackResult, events: &Events, masks: &[Mask]) -> bool {
    let is_sound =
        matches!(track.file.source, control::Source::Microphone | control::Source::ScreenAudio);
    is_sound && !masks.iter().any(|mask| mask.hides_track(track, events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_than_can_be_mixed_those_who_sound_already_are_heard_and_the_rest_is_told() {
        let early = (0..VOICES_MAX as u64).map(|n| ((n, 60_000 + n), n));
        let late = [((1_000, 2_000), 1_000), ((60_000, 61_000), 1_001), ((60_000, 62_000), 1_002)];
        let (kept, left_out) = placed(early.chain(late).collect());
        assert_eq!(left_out.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [1_000, 1_002]);
        assert_eq!(kept.len(), VOICES_MAX + 1);
        assert!(kept.is_sorted_by_key(|(part, _)| *part), "in order of time");
        let (kept, left_out) = placed(vec![((5, 6), ()), ((0, 5), ())]);
        assert!(kept.len() == 2 && left_out.is_empty());
    }
}
