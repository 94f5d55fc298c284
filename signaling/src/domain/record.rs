//! What lasts of a command: gathered while it is handled, one commit at its end. Answers to actions
//! wait until theirs is stored.

use std::{collections::VecDeque, time::Instant};

use sdk_spec::{
    action::{ActionRefusal, ActionResult},
    event::What,
    ws::ServerMessage,
};
use sfu_proto::id::{ParticipantId, RecordingId, RoomId};

use super::{Actor, Commit, Effect, Refusal, Reply, RequestId, Room};
use crate::limits::COMMITS_PENDING_MAX;

/// Commits of a room and the answers that wait for them.
#[derive(Default)]
pub(super) struct Record {
    /// Of the command that is being handled.
    pub(super) commit: Commit,
    /// The charter changed.
    pub(super) has_charter: bool,
    answers: Vec<Answer>,
    /// Answers and the commit that each waits for.
    held: VecDeque<(u64, Answer)>,
    last: u64,
    stored: u64,
    /// Nothing finds a place on its way to the store.
    is_jammed: bool,
}

/// The answer to an action: accepted ones may be refused by the store yet.
type Answer = (Asked, Result<ActionResult, ActionRefusal>);

/// Who waits for the answer to an action.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Request(RequestId),
    Client(ParticipantId, u64),
}

impl Record {
    /// Whether so much waits for the store that nothing may be added by anybody's wish.
    pub(super) fn is_behind(&self) -> bool {
        self.is_jammed || self.last - self.stored >= COMMITS_PENDING_MAX
    }

    /// Number of the last commit.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Number that the commit of this command gets, if there is one.
    pub(super) fn next(&self) -> u64 {
        self.last + 1
    }

    /// Number of the last commit that is stored.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }
}

impl Room {
    /// Says whether commits find no place on their way to the store: then the room is behind, as with
    /// too many of its own.
    pub(crate) fn jam(&mut self, is_jammed: bool) {
        self.record.is_jammed = is_jammed;
    }

    pub(super) fn happened(&mut self, what: What, now: Instant) {
        let time = self.wall_ms(now);
        self.record.commit.events.push((time, what));
    }

    /// To be called after a change of the charter.
    pub(super) fn charter_changed(&mut self) {
        // A command changes it several times at most, and counts as one change.
        if !std::mem::replace(&mut self.record.has_charter, true) {
            self.charter.version += 1;
        }
    }

    pub(super) fn audit(&mut self, actor: &Actor, what: &'static str, object: impl ToString) {
        self.record.commit.audits.push((actor.clone(), what, object.to_string()));
    }

    /// Answers an action: a refusal at once, else when what was done is stored.
    pub(super) fn answer(&mut self, to: Asked, result: Result<ActionResult, ActionRefusal>) {
        match result {
            Ok(_) => self.record.answers.push((to, result)),
            Err(_) => self.give(to, result),
        }
    }

    fn give(&mut self, to: Asked, result: Result<ActionResult, ActionRefusal>) {
        match to {
            Asked::Request(to) => {
                self.reply(to, result.map(Reply::Acted).map_err(Refusal::Action));
            }
            Asked::Client(to, id) => {
                let (result, refused) = match result {
                    Ok(result) => (Some(result), None),
                    Err(refused) => (None, Some(refused)),
                };
                self.tell(to, &ServerMessage::Acted { id, result, refused });
            }
        }
    }

    /// The store did not take these breakout rooms: whoever created them is told so.
    pub(super) fn refuse_created(&mut self, rooms: &[RoomId]) {
        let rooms: Vec<_> = rooms.iter().map(RoomId::to_string).collect();
        for (_, (_, result)) in &mut self.record.held {
            let is_of =
                |done: &ActionResult| done.breakouts.iter().any(|b| rooms.contains(&b.room));
            if result.as_ref().is_ok_and(is_of) {
                *result = Err(ActionRefusal::QuotaExceeded);
            }
        }
    }

    /// The store did not take these recordings: whoever asked for them is told so.
    pub(super) fn refuse_started(&mut self, refused: &[(RecordingId, ActionRefusal)]) {
        for (id, why) in refused {
            let id = Some(id.to_string());
            for (_, (_, result)) in &mut self.record.held {
                if result.as_ref().is_ok_and(|done| done.recording == id) {
                    *result = Err(*why);
                }
            }
        }
    }

    /// Puts what was gathered in front of all effects.
    pub(super) fn seal(&mut self) {
        let mut commit = std::mem::take(&mut self.record.commit);
        if std::mem::take(&mut self.record.has_charter) {
            commit.charter = Some(self.charter.clone());
        }
        let is_nothing = commit.charter.is_none()
            && commit.events.is_empty()
            && commit.bans.is_empty()
            && commit.breakouts.is_empty()
            && commit.recordings.is_empty()
            && commit.audits.is_empty()
            && !commit.ended;
        if !is_nothing {
            self.record.last += 1;
            commit.number = self.record.last;
            self.effects.insert(0, Effect::Commit(Box::new(commit)));
        }
        let number = self.record.last;
        let answers = std::mem::take(&mut self.record.answers);
        self.record.held.extend(answers.into_iter().map(|answer| (number, answer)));
        self.give_answers();
    }

    pub(super) fn on_committed(&mut self, number: u64) {
        self.record.stored = self.record.stored.max(number.min(self.record.last));
    }

    fn give_answers(&mut self) {
        while let Some((_, (to, result))) =
            self.record.held.pop_front_if(|(number, _)| *number <= self.record.stored)
        {
            self.give(to, result);
        }
    }
}
