//! Deadlines of many owners: a binary heap with an index, so that every owner has at most one
//! entry, moving or removing it is O(log n), and nothing stale is ever popped.

use std::time::Instant;

/// Marks an owner without a deadline.
const ABSENT: u32 = u32::MAX;

/// One deadline per owner; owners are small numbers (places in a table).
#[derive(Default)]
pub struct Timers {
    heap: Vec<(Instant, u32)>,
    /// Owner → its place in `heap`.
    places: Vec<u32>,
}

impl Timers {
    /// Sets, moves or removes the deadline of `owner`.
    pub fn set(&mut self, owner: usize, at: Option<Instant>) {
        if owner >= self.places.len() {
            self.places.resize(owner + 1, ABSENT);
        }
        let place = self.places[owner] as usize;
        match (at, self.places[owner] == ABSENT) {
            (Some(at), true) => {
                self.heap.push((at, owner as u32));
                self.places[owner] = self.heap.len() as u32 - 1;
                self.rise(self.heap.len() - 1);
            }
            (Some(at), false) if at != self.heap[place].0 => {
                self.heap[place].0 = at;
                self.rise(place);
                self.sink(self.places[owner] as usize);
            }
            (None, false) => self.take(place),
            _ => {}
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Takes one owner whose deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let (at, owner) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.take(0);
        Some(owner as usize)
    }

    fn take(&mut self, place: usize) {
        let (_, owner) = self.heap.swap_remove(place);
        self.places[owner as usize] = ABSENT;
        if place < self.heap.len() {
            self.places[self.heap[place].1 as usize] = place as u32;
            self.rise(place);
            self.sink(place);
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].1 as usize] = a as u32;
        self.places[self.heap[b].1 as usize] = b as u32;
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].0 < self.heap[(place - 1) / 2].0 {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let children = 2 * place + 1..(2 * place + 3).min(self.heap.len());
            let Some(least) = children.min_by_key(|child| self.heap[*child].0) else { return };
            if self.heap[place].0 <= self.heap[least].0 {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pops_as_a_sorted_map_would(steps in prop::collection::vec((0usize..20, prop::option::of(0u64..50)), 0..200)) {
            let start = Instant::now();
            let mut timers = Timers::default();
            let mut model = [None; 20];
            for (owner, at) in steps {
                timers.set(owner, at.map(|ms| start + Duration::from_millis(ms)));
                model[owner] = at;
                let next = model.iter().flatten().min().map(|ms| start + Duration::from_millis(*ms));
                prop_assert_eq!(timers.next(), next);
            }
            let mut popped = Vec::new();
            let late = start + Duration::from_secs(1);
            while let Some(owner) = timers.pop_due(late) {
                popped.push(model[owner].take().unwrap());
            }
            prop_assert!(popped.is_sorted());
            prop_assert!(model.iter().all(Option::is_none));
        }
    }
}
