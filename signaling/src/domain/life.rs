//! When a room is open and when it ends.
//!
//! ```text
//!            15 min before            end, or empty, or without a moderator
//!  scheduled ─────────────▶ open ─────────────────────────────────────────▶ over
//!                            │   a breakout: calls back its participants ──▶
//! ```

use std::time::{Duration, Instant};

use sdk_spec::{
    event::{RoomEnd, What},
    limits::{
        EMPTY_TIMEOUT_SECONDS_DEFAULT, MOVE_SECONDS, OPENS_EARLY_SECONDS, PARTICIPANTS_MAX_DEFAULT,
    },
    room::Kind,
    ws::LeaveReason,
};

use super::{Body, Client, Command, ConnectionId, Effect, Member, Room, link_deadline};

/// A breakout room calls its participants back to its parent.
pub(super) struct Recalled {
    pub(super) until: Instant,
    pub(super) end: RoomEnd,
}

/// Whose deadlines a command may bring nearer.
pub(super) enum Whose {
    Nobodys,
    Of(ConnectionId),
    Anybodys,
}

impl Whose {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::Client { input, .. } if matches!(input.body, Body::Act { .. }) => {
                Self::Anybodys
            }
            Command::Client { connection, .. } => Self::Of(*connection),
            Command::Media(_) | Command::Committed(_) => Self::Nobodys,
            _ => Self::Anybodys,
        }
    }
}

/// When something is due of a member: its connection, its move or its offer.
fn member_due(member: &Member) -> Option<Instant> {
    let link = match &member.client {
        Client::Sdk(sdk) => Some(link_deadline(&sdk.link)),
        Client::Standard(_) => None,
    };
    let moving = member.moving.as_ref().map(|moving| moving.until);
    let pending = member.pending.as_ref().map(|pending| pending.deadline);
    [link, moving, pending].into_iter().flatten().min()
}

impl Room {
    /// The time on the wall.
    pub(super) fn wall_ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch.0).as_millis();
        self.epoch.1.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// When the wall shows this; `None` is beyond what can be said.
    fn instant_of(&self, wall_ms: u64) -> Option<Instant> {
        self.epoch.0.checked_add(Duration::from_millis(wall_ms.saturating_sub(self.epoch.1)))
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        let early = u64::from(OPENS_EARLY_SECONDS) * 1000;
        let opens = match self.charter.kind {
            Kind::Scheduled => self.charter.starts_at_ms.map(|at| at.saturating_sub(early)),
            Kind::AdHoc | Kind::Permanent => None,
        };
        opens.is_none_or(|at| self.wall_ms(now) >= at)
    }

    /// Somebody comes into the empty room: the duration of an ad hoc one begins.
    pub(super) fn begin(&mut self, now: Instant) {
        let mode = self.charter.settings.mode.unwrap_or_default();
        self.happened(What::RoomStarted { mode }, now);
        if self.charter.kind == Kind::AdHoc
            && self.charter.ends_at_ms.is_none()
            && let Some(seconds) = self.charter.duration_seconds
        {
            self.charter.ends_at_ms = Some(self.wall_ms(now) + u64::from(seconds) * 1000);
            self.charter_changed();
        }
    }

    fn end_due(&self) -> Option<Instant> {
        let ends = self.charter.kind != Kind::Permanent && self.recalled.is_none();
        self.charter.ends_at_ms.filter(|_| ends).and_then(|at| self.instant_of(at))
    }

    /// A room whose people are in its breakout rooms is not empty, nor is one where somebody waits.
    fn empty_due(&self) -> Option<Instant> {
        let applies = self.charter.kind == Kind::AdHoc && self.charter.breakouts.is_empty();
        let seconds = self.charter.settings.empty_timeout_seconds;
        let timeout = seconds.unwrap_or(EMPTY_TIMEOUT_SECONDS_DEFAULT);
        let since = self.empty_since.filter(|_| applies && self.lobby.is_empty());
        since.map(|since| since + Duration::from_secs(timeout.into()))
    }

    fn unattended_due(&self) -> Option<Instant> {
        let seconds = self.charter.settings.moderator_timeout_seconds.filter(|s| *s > 0)?;
        self.unattended_since.map(|since| since + Duration::from_secs(seconds.into()))
    }

    /// When [`super::Command::Tick`] is due, at the latest: it may come for nothing.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let recalled = self.recalled.as_ref().map(|recalled| recalled.until);
        let recording = self.recording_due();
        let rooms = [self.empty_due(), self.unattended_due(), self.end_due(), recalled, recording];
        rooms.into_iter().chain([self.people_due]).flatten().min()
    }

    /// Keeps the earliest deadline of people, after a command. It looks at all of them only for commands
    /// that are rare; a deadline that moved away is found out at the next tick.
    pub(super) fn watch(&mut self, whose: Whose) {
        let due = match whose {
            _ if self.members.is_empty() && self.lobby.is_empty() => None,
            Whose::Nobodys => return,
            Whose::Of(connection) => {
                let id = self.connections.get(&connection);
                let member = id.and_then(|id| self.members.get(id));
                let guest = id.and_then(|id| self.guest(*id));
                let theirs = member.and_then(member_due).into_iter();
                let theirs = theirs.chain(guest.map(|guest| link_deadline(&guest.sdk.link)));
                theirs.chain(self.people_due).min()
            }
            Whose::Anybodys => self.people_due_now(),
        };
        self.people_due = due;
    }

    /// The earliest deadline of a member or guest.
    pub(super) fn people_due_now(&self) -> Option<Instant> {
        let guests = self.lobby.iter().map(|guest| link_deadline(&guest.sdk.link));
        self.members.values().filter_map(member_due).chain(guests).min()
    }

    pub(super) fn on_tick(&mut self, now: Instant) {
        self.give_up_offers(|deadline| deadline <= now, now);
        self.cut_silent(now);
        self.end_moved(now);
        self.end_due_recording(now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.end_due()) {
            if self.charter.parent.is_some() {
                return self.call_back(RoomEnd::Duration, now);
            }
            return self.close(RoomEnd::Duration, now);
        }
        if self.recalled.as_ref().is_some_and(|recalled| recalled.until <= now) {
            return self.end_recalled(now);
        }
        if due(self.unattended_due()) {
            return match self.charter.kind {
                // It ends only when it is deleted.
                Kind::Permanent => self.end_all(LeaveReason::Removed, now),
                Kind::AdHoc | Kind::Scheduled => self.close(RoomEnd::NoModerator, now),
            };
        }
        if due(self.empty_due()) {
            self.close(RoomEnd::Empty, now);
        }
    }

    /// Sends everybody back to the parent; then the room ends.
    pub(super) fn call_back(&mut self, end: RoomEnd, now: Instant) {
        let Some(parent) = self.charter.parent else { return self.close(end, now) };
        if self.recalled.is_some() {
            return;
        }
        let sdk = self.members.iter().filter(|(_, m)| matches!(m.client, Client::Sdk(_)));
        let participants: Vec<_> = sdk.map(|(id, m)| (*id, m.admission())).collect();
        if participants.is_empty() {
            return self.close(end, now);
        }
        let until = now + Duration::from_secs(2 * u64::from(MOVE_SECONDS));
        self.recalled = Some(Recalled { until, end });
        self.effects.push(Effect::Transfer { participants, room: parent, invited: false });
    }

    /// The last one has gone back, or the time is over.
    pub(super) fn end_recalled(&mut self, now: Instant) {
        if let Some(recalled) = self.recalled.take() {
            self.close(recalled.end, now);
        }
    }

    pub(super) fn close(&mut self, end: RoomEnd, now: Instant) {
        self.end_recording();
        self.turn_all_away(LeaveReason::RoomClosed, now);
        self.end_all(LeaveReason::RoomClosed, now);
        self.happened(What::RoomEnded { reason: end }, now);
        self.record.commit.ended = true;
        self.over = true;
        if !self.charter.breakouts.is_empty() {
            let rooms = self.charter.breakouts.iter().map(|breakout| breakout.id).collect();
            self.effects.push(Effect::Recall { rooms, parent_ended: true });
        }
        self.effects.push(Effect::Ended);
    }

    /// Removes everybody who is in.
    pub(super) fn end_all(&mut self, reason: LeaveReason, now: Instant) {
        // Nobody is left to be told, so the others need no announcements. Sessions end with the
        // room, so the media node needs one command.
        let ids: Vec<_> = self.in_order();
        let all: Vec<_> = ids.into_iter().filter_map(|id| self.depart(id, reason, now)).collect();
        if !all.is_empty() {
            self.close_media();
        }
        for member in all {
            self.farewell(member, reason);
        }
    }

    /// Most participants at once.
    pub(crate) fn participants_max(&self) -> u32 {
        self.charter.settings.participants_max.unwrap_or(PARTICIPANTS_MAX_DEFAULT)
    }
}
