//! Usage, histories, and their erasure.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Day, Timestamp, collect, range};
use crate::{
    handle::Handle,
    limits,
    problem::FieldError,
    ws::{LeaveReason, Role},
};

/// What a row of usage is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageGroup {
    /// The whole project: one row.
    Project,
    /// A day of UTC.
    #[default]
    Day,
    /// A room.
    Room,
    /// A room on a day.
    RoomDay,
}

/// How usage is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageFormat {
    /// `application/json`.
    Json,
    /// `text/csv` (RFC 4180) with a header line. `Link` names the next page.
    Csv,
}

/// Which usage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// First day. Without it: 30 days before the last.
    #[serde(default)]
    #[param(inline, example = "2026-11-01")]
    pub from: Option<Day>,
    /// Last day. Without it: today.
    #[serde(default)]
    #[param(inline, example = "2026-11-30")]
    pub to: Option<Day>,
    /// What a row is about.
    #[serde(default)]
    #[param(inline)]
    pub group: Option<UsageGroup>,
    /// Only of this room.
    #[serde(default)]
    #[param(pattern = "^rm_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub room: Option<String>,
    /// Whether to add stays and tracks that have not ended, up to now. They count for good when
    /// they end.
    #[serde(default)]
    pub running: Option<bool>,
    /// How it is written. Without it `Accept` decides, and then JSON.
    #[serde(default)]
    #[param(inline)]
    pub format: Option<UsageFormat>,
    /// Rows at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    #[param(max_length = 200)]
    pub cursor: Option<String>,
}

impl UsageQuery {
    /// Rows at most, with the default.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_SIZE_DEFAULT)
    }

    /// First and last day, with the defaults.
    pub fn days(&self, today: Day) -> (Day, Day) {
        let to = self.to.unwrap_or(today);
        (self.from.unwrap_or(Day(to.0.saturating_sub(30))), to)
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self, today: Day) -> Result<(), Vec<FieldError>> {
        let (from, to) = self.days(today);
        let reversed = (from > to).then(|| FieldError::new("from", "is after `to`"));
        let many = to.0.saturating_sub(from.0) >= limits::USAGE_DAYS_ASKED_MAX;
        let most = limits::USAGE_DAYS_ASKED_MAX;
        collect([
            range("limit", self.limit(), 1, limits::PAGE_SIZE_MAX),
            reversed,
            many.then(|| FieldError::new("from", format!("must be within {most} days of `to`"))),
        ])
    }
}

/// Usage: a fold over the event log, which anybody can do again.
///
/// A stay counts from `participant.joined` to `participant.left`, a track from `track.published` to
/// `track.unpublished` or the end of its stay, on each day of UTC for the part that falls on it. Not
/// counted: hidden participants, those who wait to be let in, and whoever never came in. Times are
/// added in milliseconds and rounded to whole seconds (half up) once for each row, so the rows of a
/// finer group may differ from a coarser one by half a second each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "from": "2026-11-01",
    "to": "2026-11-30",
    "group": "day",
    "running": false,
    "seq": 4711,
    "rows": [{
        "day": "2026-11-21",
        "stays": 2,
        "participant_seconds": 5400,
        "track_seconds": { "camera": 3600, "microphone": 5400, "screen": 0, "screen_audio": 0 },
        "recorded_seconds": 0,
        "bytes_received": 104857600,
        "bytes_sent": 314572800
    }],
    "next_cursor": null
}))]
pub struct Usage {
    /// First day.
    pub from: Day,
    /// Last day.
    pub to: Day,
    /// What a row is about.
    pub group: UsageGroup,
    /// Whether what has not ended is in it.
    pub running: bool,
    /// It counts the events up to this `seq`.
    pub seq: u64,
    /// The rows, in order of room and day. A row with nothing in it is left out.
    pub rows: Vec<UsageRow>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// What was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRow {
    /// The room, in groups of rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// The day, in groups of days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Day>,
    /// Stays that began.
    pub stays: u64,
    /// Seconds that participants were in rooms.
    pub participant_seconds: u64,
    /// Seconds that tracks were published.
    pub track_seconds: TrackSeconds,
    /// Seconds recorded.
    pub recorded_seconds: u64,
    /// Bytes of media received from participants.
    pub bytes_received: u64,
    /// Bytes of media sent to participants.
    pub bytes_sent: u64,
}

/// Seconds of tracks by what they show or carry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrackSeconds {
    /// Cameras.
    pub camera: u64,
    /// Microphones.
    pub microphone: u64,
    /// Screens.
    pub screen: u64,
    /// Sound of screens.
    pub screen_audio: u64,
}

/// Which stays of a handle.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// The partner's handle.
    #[param(inline, example = "user-5f0c2b")]
    pub handle: Handle,
    /// Only of this room.
    #[serde(default)]
    #[param(pattern = "^rm_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub room: Option<String>,
    /// Only those that began then or later.
    #[serde(default)]
    #[param(inline)]
    pub from: Option<Timestamp>,
    /// Only those that began before it.
    #[serde(default)]
    #[param(inline)]
    pub to: Option<Timestamp>,
    /// Stays at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    #[param(max_length = 200)]
    pub cursor: Option<String>,
}

/// A page of stays, newest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionList {
    /// The stays.
    pub sessions: Vec<Session>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// A stay of a participant in a room.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "participant": "pa_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "room": "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "handle": "user-5f0c2b",
    "role": "participant",
    "hidden": false,
    "joined_at": "2026-11-21T20:00:00.000Z",
    "left_at": "2026-11-21T20:45:00.000Z",
    "reason": "left",
    "track_seconds": { "camera": 2400, "microphone": 2700, "screen": 0, "screen_audio": 0 }
}))]
pub struct Session {
    /// `pa_…`.
    pub participant: String,
    /// `rm_…`.
    pub room: String,
    /// The partner's handle.
    pub handle: Handle,
    /// Its last role.
    pub role: Role,
    /// Whether it was hidden from the others.
    pub hidden: bool,
    /// When it came in.
    pub joined_at: Timestamp,
    /// When it left; none while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// Why it left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<LeaveReason>,
    /// Seconds of its tracks that ended.
    pub track_seconds: TrackSeconds,
}

/// Request to erase what is kept about a handle.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "handle": "user-5f0c2b" }))]
pub struct CreateErasure {
    /// The partner's handle.
    pub handle: Handle,
}

/// What was erased. Erasing again finds nothing more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "er_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "erased_at": "2026-11-21T20:00:00.000Z",
    "events": 12,
    "sessions": 3,
    "bans": 0
}))]
pub struct Erasure {
    /// `er_…`, as in the audit log.
    pub id: String,
    /// When.
    pub erased_at: Timestamp,
    /// Events in which `~erased~` stands for the handle now.
    pub events: u64,
    /// Stays that were deleted.
    pub sessions: u64,
    /// Bans that were deleted.
    pub bans: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn days_have_defaults_and_bounds() {
        let today = Day(20_000);
        let query = UsageQuery::default();
        assert_eq!(query.days(today), (Day(19_970), today));
        assert!(query.check(today).is_ok());
        let wide = UsageQuery { from: Some(Day(19_600)), ..UsageQuery::default() };
        assert_eq!(wide.check(today).unwrap_err()[0].field, "from");
        let edge = UsageQuery { from: Some(Day(19_601)), ..UsageQuery::default() };
        assert!(edge.check(today).is_ok());
        let reversed = UsageQuery { from: Some(Day(20_001)), ..UsageQuery::default() };
        assert!(reversed.check(today).is_err());
    }
}
