//! Counting again: the whole log that is kept against what was counted as it came.

use std::collections::BTreeSet;

use super::fold::{Fold, Usage};
use crate::{
    limits,
    store::{Log, Store, StoreError, Wanted},
};

/// What counting again gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageCheck {
    /// Events that were read.
    pub events: u64,
    /// Rooms that were compared: their whole log is kept.
    pub rooms: u64,
    /// Rooms with a part of their log gone, so that they cannot be counted again.
    pub rooms_not_whole: u64,
    /// Days of rooms (`rm_… 2026-11-21`) that were counted otherwise.
    pub differences: Vec<String>,
}

/// Counts the usage of a project again from the events that are kept and compares. The server may
/// run meanwhile.
///
/// # Errors
/// [`StoreError`] when the database fails, or the log's oldest events are deleted meanwhile.
pub async fn verify_usage(store: &Store, project: &str) -> Result<UsageCheck, StoreError> {
    while store.fold(project, limits::FOLD_BATCH).await? > 0 {}
    let (counted, seq) = store.whole_usage(project).await?;
    let again = Again::up_to(store, project, seq).await?;
    Ok(again.compare(counted))
}

/// The second count.
#[derive(Default)]
struct Again {
    fold: Fold,
    events: u64,
    whole: BTreeSet<String>,
    not_whole: BTreeSet<String>,
}

impl Again {
    async fn up_to(store: &Store, project: &str, seq: u64) -> Result<Self, StoreError> {
        let mut again = Self::default();
        let mut after = None;
        loop {
            let wanted = Wanted { after, limit: limits::FOLD_BATCH, kinds: &[], room: None };
            let Log::Page { events, next, head } = store.log(project, &wanted).await? else {
                return Err(StoreError::Corrupt("events: deleted meanwhile"));
            };
            for event in events.iter().take_while(|event| event.seq <= seq) {
                again.count(event);
            }
            if next >= seq.min(head) {
                return Ok(again);
            }
            after = Some(next);
        }
    }

    fn count(&mut self, event: &sdk_spec::event::Event) {
        self.events += 1;
        if let Some(room) = &event.room
            && !self.not_whole.contains(room)
            && !self.whole.contains(room)
        {
            let is_first = event.room_seq == Some(1);
            let list = if is_first { &mut self.whole } else { &mut self.not_whole };
            list.insert(room.clone());
        }
        self.fold.apply(event);
    }

    fn compare(self, counted: Usage) -> UsageCheck {
        let mut differences = BTreeSet::new();
        let is_whole = |room: &String| self.whole.contains(room);
        for (key, amounts) in self.fold.usage.iter().filter(|((room, _), _)| is_whole(room)) {
            if counted.get(key) != Some(amounts) {
                differences.insert(key.clone());
            }
        }
        for (key, _) in counted.iter().filter(|((room, _), _)| is_whole(room)) {
            if !self.fold.usage.contains_key(key) {
                differences.insert(key.clone());
            }
        }
        UsageCheck {
            events: self.events,
            rooms: self.whole.len() as u64,
            rooms_not_whole: self.not_whole.len() as u64,
            differences: differences
                .into_iter()
                .map(|(room, day)| format!("{room} {day}"))
                .collect(),
        }
    }
}
