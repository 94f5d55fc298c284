//! Which films run at once: each begins before it is in sight, ends behind its last sight, and gives way
//! to what is in sight when there are too many. What does not live here: what a film is.

use std::collections::BTreeMap;

use super::{CompositeError, place::Canvas};
use crate::limits::FILMS_MAX;

/// A film as it is needed.
pub(super) struct Need {
    /// An index of the tracks.
    pub(super) file: usize,
    /// The frame at which it may begin.
    pub(super) begin: u64,
    /// When it is in sight: from a frame to the one behind the last, ascending, never empty.
    pub(super) sights: Vec<(u64, u64)>,
    /// How large it is shown at most.
    pub(super) size: Canvas,
}

impl Need {
    pub(super) fn first(&self) -> u64 {
        self.sights.first().map_or(0, |(from, _)| *from)
    }

    /// The frame behind the last.
    pub(super) fn until(&self) -> u64 {
        self.sights.last().map_or(0, |(_, until)| *until)
    }

    /// Adds what comes later.
    pub(super) fn add(&mut self, sights: impl IntoIterator<Item = (u64, u64)>, size: Canvas) {
        for (from, to) in sights {
            match self.sights.last_mut() {
                Some((_, until)) if *until >= from => *until = to,
                _ => self.sights.push((from, to)),
            }
        }
        if size.width > self.size.width {
            self.size = size;
        }
    }

    /// How many of its sights are over.
    fn over(&self, frame: u64) -> usize {
        self.sights.partition_point(|(_, until)| *until <= frame)
    }
}

/// Joins needs of a file, which are ascending, between which no decoding can begin: going on costs less than
/// beginning anew. `entry` gives the frame at which decoding begins to have one of a file.
pub(super) fn joined(needs: Vec<Need>, entry: impl Fn(&Need) -> u64) -> Vec<Need> {
    let mut out: Vec<Need> = Vec::new();
    for need in needs {
        match out.last_mut() {
            Some(last) if last.file == need.file && entry(&need) <= last.until() => {
                last.add(need.sights, need.size);
            }
            _ => out.push(need),
        }
    }
    out
}

/// The films that run, and those that will. Of a file at most one runs.
pub(super) struct Reels<F> {
    /// By when they may begin, and file.
    waiting: BTreeMap<(u64, usize), Need>,
    running: BTreeMap<usize, (Need, F)>,
}

impl<F> Reels<F> {
    pub(super) fn new(needs: Vec<Need>) -> Self {
        let waiting = needs.into_iter().map(|need| ((need.begin, need.file), need)).collect();
        Self { waiting, running: BTreeMap::new() }
    }

    /// Ends and begins films before a frame is drawn; gives the files for which there is no place.
    ///
    /// # Errors
    /// Those of `start`.
    pub(super) fn turn(
        &mut self,
        frame: u64,
        start: impl Fn(&Need) -> Result<F, CompositeError>,
    ) -> Result<Vec<usize>, CompositeError> {
        self.running.retain(|_, (need, _)| need.until() > frame);
        let due = self.waiting.range(..=(frame, usize::MAX));
        let mut due: Vec<_> = due.map(|(key, need)| (need.first(), *key)).collect();
        due.sort_unstable();
        let mut left_out = Vec::new();
        for (first, key) in due {
            let is_in_sight = first <= frame;
            let has_place = self.running.len() < FILMS_MAX || is_in_sight && self.make_place(frame);
            if !has_place && !is_in_sight {
                continue; // Until there is a place.
            }
            let Some(need) = self.waiting.remove(&key) else { continue };
            if has_place {
                let film = start(&need)?;
                self.running.insert(need.file, (need, film));
            } else {
                left_out.push(need.file);
            }
        }
        Ok(left_out)
    }

    /// Ends the film that is out of sight for longest; it begins anew when there is a place, or when it must.
    fn make_place(&mut self, frame: u64) -> bool {
        let next = |need: &Need| need.sights.get(need.over(frame)).map(|(from, _)| *from);
        let all = self.running.iter().filter_map(|(file, (need, _))| Some((next(need)?, *file)));
        let Some((_, file)) = all.max().filter(|(next, _)| *next > frame) else { return false };
        if let Some((mut need, _)) = self.running.remove(&file) {
            need.sights.drain(..need.over(frame));
            self.waiting.insert((need.begin, file), need);
        }
        true
    }

    /// All that were in sight up to a frame, by their files.
    pub(super) fn shown(&mut self, frame: u64) -> impl Iterator<Item = (usize, &mut F)> {
        let all = self.running.iter_mut().filter(move |(_, (need, _))| need.first() <= frame);
        all.map(|(file, (_, film))| (*file, film))
    }

    /// One of them.
    pub(super) fn film(&mut self, file: usize, frame: u64) -> Option<&mut F> {
        let (_, film) = self.running.get_mut(&file).filter(|(need, _)| need.first() <= frame)?;
        Some(film)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn need(file: usize, sights: &[(u64, u64)]) -> Need {
        let begin = sights[0].0.saturating_sub(300);
        Need { file, begin, sights: sights.to_vec(), size: Canvas::HD }
    }

    /// Draws all; gives how many were begun and how many ran at once.
    fn played(
        needs: Vec<Need>,
        frames: u64,
        is_in_sight: impl Fn(usize, u64) -> bool,
    ) -> [usize; 2] {
        let files = needs.iter().map(|need| need.file).max().unwrap() + 1;
        let (begun, mut most) = (std::cell::Cell::new(0), 0);
        let mut reels = Reels::new(needs);
        for frame in 0..frames {
            let start = |_: &Need| {
                begun.set(begun.get() + 1);
                Ok(())
            };
            assert!(reels.turn(frame, start).unwrap().is_empty(), "left out at {frame}");
            most = most.max(reels.running.len());
            for file in (0..files).filter(|file| is_in_sight(*file, frame)) {
                assert!(reels.film(file, frame).is_some(), "{file} is plain at {frame}");
            }
        }
        [begun.get(), most]
    }

    #[test]
    fn what_cannot_be_begun_within_is_decoded_once() {
        let sights = |n: u64| (n * 2000, n * 2000 + 30);
        let needs = || (0..100).map(|n| need(0, &[sights(n)])).collect::<Vec<_>>();
        let is_in_sight = |_, frame: u64| frame % 2000 < 30;
        assert_eq!(played(joined(needs(), |_| 0), 200_000, is_in_sight), [1, 1], "one key frame");
        let key_frames = |need: &Need| need.first() - 15;
        let all = joined(needs().split_off(1), key_frames);
        assert_eq!(all.len(), 99, "key frames between");
        let rare = |need: &Need| ((need.first() + 15) / 40_000 * 40_000).saturating_sub(15);
        assert_eq!(joined(needs(), rare).len(), 5, "a key frame for every twenty");
        let two = joined(vec![need(0, &[sights(0)]), need(1, &[sights(1)])], |_| 0);
        assert_eq!(two.len(), 2, "others' files");
    }

    /// Each is in sight for 10 s, twenty at a time, again and again.
    #[test]
    fn what_is_in_sight_has_a_place_however_many_there_are() {
        let is_in_sight = |file: usize, frame: u64| frame / 300 % 4 == file as u64 / 20;
        let sights = |file: usize| {
            let turns = (0..40).filter(move |turn| is_in_sight(file, turn * 300));
            turns.map(|turn| (turn * 300, turn * 300 + 300)).collect::<Vec<_>>()
        };
        let needs = (0..80).map(|file| need(file, &sights(file))).collect();
        let [begun, most] = played(needs, 12_000, is_in_sight);
        assert_eq!(most, FILMS_MAX);
        assert!(begun > 80, "{begun}");
    }
}
