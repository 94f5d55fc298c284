//! The commits of one room on their way to the store, and what waits for them.

use std::{collections::VecDeque, sync::Arc};

use sdk_spec::action::ActionRefusal;
use sfu_proto::id::{ParticipantId, RecordingId, RoomId};
use tokio::sync::{mpsc, watch};

use super::journal::{Pending, Stored};
use crate::{
    clock,
    domain::{Admission, Ban, Charter, Commit},
    limits,
    metrics::Metrics,
    store::{IdempotentRequest, RoomCommit},
};

/// What is done once everything said before it is stored.
pub(super) enum After {
    /// Start the tasks of new breakout rooms.
    Open(Vec<(RoomId, Charter)>),
    /// Mint tokens for another room, which may be new.
    Transfer { participants: Vec<(ParticipantId, Admission)>, room: RoomId, invited: bool },
    /// Ban a handle in breakout rooms.
    Ban { rooms: Vec<RoomId>, ban: Ban },
    /// End breakout rooms, which may be new.
    Recall { rooms: Vec<RoomId>, parent_ended: bool },
}

/// News of the store.
pub(super) enum News {
    /// Do this.
    Do(After),
    /// The commit of this number, as the room counts, is stored.
    Committed(u64),
    /// These breakout rooms were not created: the project has as many rooms as it may.
    Refused(Vec<RoomId>),
    /// These recordings were not begun.
    Unrecorded(Vec<(RecordingId, ActionRefusal)>),
    /// A commit can never be stored.
    Broken,
}

/// Commits of one room. Bounded: with [`limits::ROOM_COMMITS_MAX`] of its own, a room takes only what
/// nobody may be refused (somebody leaves, a recording is stopped), as much as its people can do once.
pub(super) struct Commits {
    journal: mpsc::Sender<Pending>,
    metrics: Arc<Metrics>,
    project: Arc<str>,
    room: RoomId,
    node: Arc<str>,
    /// Commits that were stored before this task began: it counts from 1 again.
    base: u64,
    last: u64,
    told: u64,
    waiting: VecDeque<Pending>,
    after: VecDeque<(u64, After)>,
    stored: Arc<watch::Sender<Stored>>,
    news: watch::Receiver<Stored>,
    is_broken: bool,
}

impl Commits {
    pub(super) fn new(
        journal: mpsc::Sender<Pending>,
        metrics: Arc<Metrics>,
        (project, room, node): (Arc<str>, RoomId, Arc<str>),
        base: u64,
    ) -> Self {
        let (stored, news) = watch::channel(Stored { number: base, ..Stored::default() });
        Self {
            journal,
            metrics,
            project,
            room,
            node,
            base,
            last: base,
            told: base,
            waiting: VecDeque::new(),
            after: VecDeque::new(),
            stored: Arc::new(stored),
            news,
            is_broken: false,
        }
    }

    pub(super) fn project(&self) -> &Arc<str> {
        &self.project
    }

    /// Hands a commit to the journal, now or when there is place.
    pub(super) fn put(&mut self, mut commit: Commit, request: Option<IdempotentRequest>) {
        self.last = self.base + commit.number;
        let breakouts = std::mem::take(&mut commit.breakouts);
        if !breakouts.is_empty() {
            commit.breakouts.clone_from(&breakouts);
            self.after.push_back((self.last, After::Open(breakouts)));
        }
        let commit = RoomCommit {
            project: Arc::clone(&self.project),
            room: self.room,
            node: Arc::clone(&self.node),
            number: self.last,
            commit,
            request,
            now_ms: clock::now_ms(),
        };
        self.metrics.journal_depth.inc();
        self.waiting.push_back(Pending { commit, stored: Arc::clone(&self.stored) });
        self.hand_over();
    }

    fn hand_over(&mut self) {
        while !self.waiting.is_empty() {
            let Ok(place) = self.journal.try_reserve() else { return };
            if let Some(pending) = self.waiting.pop_front() {
                place.send(pending);
            }
        }
    }

    /// Does something once everything that was put is stored.
    pub(super) fn then(&mut self, after: After) {
        self.after.push_back((self.last, after));
        if self.told == self.last {
            // Nobody will say so: the last one is told already.
            self.stored.send_modify(|_| {});
        }
    }

    /// What will not be done any more, since a commit can never be stored.
    pub(super) fn abandon(&mut self) -> impl Iterator<Item = After> {
        std::mem::take(&mut self.after).into_iter().map(|(_, after)| after)
    }

    /// Whether the room must take nothing new until some commits are stored.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= limits::ROOM_COMMITS_MAX
    }

    /// Whether everything is stored and told, or cannot be any more.
    pub(super) fn is_done(&self) -> bool {
        self.is_broken
            || self.journal.is_closed()
            || (self.told == self.last && self.after.is_empty())
    }

    /// Until something happened, which [`Commits::take`] tells. May be dropped at any time.
    pub(super) async fn progress(&mut self) {
        tokio::select! {
            changed = self.news.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
            place = self.journal.reserve(), if !self.waiting.is_empty() => match place {
                Ok(place) => if let Some(pending) = self.waiting.pop_front() {
                    place.send(pending);
                },
                // The server stops.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// The next news, in order, if there is any.
    pub(super) fn take(&mut self) -> Option<News> {
        let (number, is_broken) = {
            let stored = self.stored.borrow();
            (stored.number, stored.is_broken)
        };
        if is_broken && !self.is_broken {
            self.is_broken = true;
            return Some(News::Broken);
        }
        let refused = self.refused();
        if !refused.is_empty() {
            self.drop_after(&refused);
            return Some(News::Refused(refused));
        }
        let unrecorded = self.unrecorded();
        if !unrecorded.is_empty() {
            return Some(News::Unrecorded(unrecorded));
        }
        let due = self.after.front().is_some_and(|(after, _)| *after <= number);
        // Rooms are open before anybody is told of them.
        if due && self.after.front().is_some_and(|(after, _)| *after <= self.told + 1) {
            return self.after.pop_front().map(|(_, after)| News::Do(after));
        }
        (self.told < number).then(|| {
            self.told += 1;
            News::Committed(self.told - self.base)
        })
    }

    /// Breakout rooms that the store refused since this was asked.
    fn refused(&self) -> Vec<RoomId> {
        let mut refused = Vec::new();
        self.stored.send_if_modified(|stored| {
            refused = std::mem::take(&mut stored.refused);
            false
        });
        refused
    }

    /// Recordings that the store did not begin since this was asked.
    fn unrecorded(&self) -> Vec<(RecordingId, ActionRefusal)> {
        let mut unrecorded = Vec::new();
        self.stored.send_if_modified(|stored| {
            unrecorded = std::mem::take(&mut stored.unrecorded);
            false
        });
        unrecorded
    }

    /// Nobody opens rooms that were refused, or sends anybody there.
    fn drop_after(&mut self, refused: &[RoomId]) {
        self.after.retain_mut(|(_, after)| match after {
            After::Open(rooms) => {
                rooms.retain(|(id, _)| !refused.contains(id));
                !rooms.is_empty()
            }
            After::Transfer { room, .. } => !refused.contains(room),
            After::Ban { rooms, .. } | After::Recall { rooms, .. } => {
                rooms.retain(|id| !refused.contains(id));
                !rooms.is_empty()
            }
        });
    }
}
