//! The event log: `GET /v1/events`.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{collect, range};
use crate::{
    event::{Event, What},
    limits,
    problem::FieldError,
};

/// What a webhook carries: the event itself, as in the log.
pub type WebhookPayload = Event;

/// Which part of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Events after this `seq`: `next` of the page before. Without it: from the oldest kept.
    #[serde(default)]
    #[param(minimum = 0)]
    pub after: Option<u64>,
    /// Events at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// Seconds to wait for an event when there is none.
    #[serde(default)]
    #[param(minimum = 0, maximum = 30, default = 0)]
    pub wait_seconds: Option<u32>,
    /// Types wanted, separated by commas. Without it: all.
    #[serde(default, rename = "type")]
    #[param(
        rename = "type",
        pattern = "^[a-z_.]+(,[a-z_.]+)*$",
        max_length = 600,
        example = "participant.joined,participant.left"
    )]
    pub kinds: Option<String>,
    /// Only of this room.
    #[serde(default)]
    #[param(pattern = "^rm_[0-7][0-9a-hjkmnp-tv-z]{25}$")]
    pub room: Option<String>,
}

impl EventsQuery {
    /// Events at most, with the default.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(limits::PAGE_SIZE_DEFAULT)
    }

    /// Seconds to wait, with the default.
    pub fn wait_seconds(&self) -> u32 {
        self.wait_seconds.unwrap_or(0)
    }

    /// Types wanted; empty is all.
    pub fn kinds(&self) -> Vec<&str> {
        self.kinds.as_deref().map(|text| text.split(',').collect()).unwrap_or_default()
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let known = self.kinds().iter().all(|kind| What::TYPES.contains(kind));
        let past_counting = self.after.is_some_and(|after| i64::try_from(after).is_err());
        collect([
            range("limit", self.limit(), 1, limits::PAGE_SIZE_MAX),
            range("wait_seconds", self.wait_seconds(), 0, limits::EVENTS_WAIT_SECONDS_MAX),
            (!known).then(|| FieldError::new("type", "names a type that there is not")),
            past_counting.then(|| FieldError::new("after", "is after the end of the log")),
        ])
    }
}

/// A part of the log, oldest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "events": [{
        "id": "ev_01hzx3m8q7v5k2c9d4e6f8g0hj",
        "seq": 42,
        "time": "2026-11-21T20:00:00.000Z",
        "room": "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
        "room_seq": 3,
        "type": "participant.joined",
        "data": {
            "participant": "pa_01hzx3m8q7v5k2c9d4e6f8g0hj", "handle": "user-5f0c2b",
            "role": "participant", "hidden": false
        }
    }],
    "next": 42,
    "more": false
}))]
pub struct EventsPage {
    /// The events.
    pub events: Vec<Event>,
    /// `after` of the next request. With a filter it moves on over what is not wanted, so a page may
    /// be empty and `next` still be higher than `after`.
    pub next: u64,
    /// Whether the log goes on after `next`: ask again at once.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_cannot_be_asked_for_is_named() {
        assert!(EventsQuery::default().check().is_ok());
        let good = EventsQuery {
            kinds: Some(What::TYPES.join(",")),
            wait_seconds: Some(30),
            ..EventsQuery::default()
        };
        assert!(good.check().is_ok());
        let bad = EventsQuery {
            after: Some(u64::MAX),
            limit: Some(0),
            wait_seconds: Some(31),
            kinds: Some("room.created,".to_owned()),
            room: None,
        };
        let fields: Vec<_> = bad.check().unwrap_err().into_iter().map(|e| e.field).collect();
        assert_eq!(fields, ["limit", "wait_seconds", "type", "after"]);
    }
}
