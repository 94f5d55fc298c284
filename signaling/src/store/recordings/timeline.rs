//! Who was there and what was published while a recording ran, from the event log.

use std::collections::BTreeMap;

use sdk_spec::{
    event::{Event, What},
    handle::Handle,
    ws::{Role, Source},
};
use sfu_proto::id::RecordingId;
use sqlx::Row as _;

use super::super::{Store, StoreError, events};
use crate::limits;

/// What happened in the room of a recording. No `Debug`: it holds handles.
pub struct Timeline {
    /// In order. Who was there at the start joins with the start, and what was published then is
    /// published then. Who is hidden is left out.
    pub events: Vec<TimelineEvent>,
    /// Whether it is all of it: not, when the event log does not go back so far, or there are more
    /// than [`limits::TIMELINE_EVENTS_MAX`] events.
    pub is_whole: bool,
}

/// Something that happened.
#[derive(Clone, PartialEq)]
pub struct TimelineEvent {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    pub moment: Moment,
}

/// What happened.
#[derive(Clone, PartialEq)]
pub enum Moment {
    /// Somebody came in.
    Joined {
        /// `pa_…`, for this stay.
        participant: String,
        /// The partner's handle; `~erased~` if it was erased since.
        handle: Handle,
        /// Its role.
        role: Role,
    },
    /// A participant's role changed.
    Updated {
        /// `pa_…`.
        participant: String,
        /// Its role from now on.
        role: Role,
    },
    /// Somebody left, and its tracks ended.
    Left {
        /// `pa_…`.
        participant: String,
    },
    /// A track was published.
    Published {
        /// `tr_…`.
        track: String,
        /// Whose.
        participant: String,
        /// What it shows.
        source: Source,
    },
    /// A track ended.
    Unpublished {
        /// `tr_…`.
        track: String,
    },
    /// Somebody consented to being recorded, or took that back.
    Consent {
        /// `pa_…`.
        participant: String,
        /// Whether it consents.
        granted: bool,
    },
    /// The recording paused.
    Paused,
    /// It went on.
    Resumed,
}

impl Store {
    /// What happened in the room of a recording from its start to its end, or until now. `None` when
    /// there is no such recording.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn recording_timeline(
        &self,
        id: RecordingId,
    ) -> Result<Option<Timeline>, StoreError> {
        let Some(row) = self.recording(id).await? else { return Ok(None) };
        let (recording, room) = (id.to_string(), row.room.to_string());
        let place = (row.project.as_str(), room.as_str());
        let start = self.told(place, "recording.started", &recording).await?;
        let Some(start) = start else {
            return Ok(Some(Timeline { events: Vec::new(), is_whole: false }));
        };
        let end = self.told(place, "recording.stopped", &recording).await?.unwrap_or(i64::MAX);
        let session = self.session_before(place, start).await?;
        let events = self.between(place, (session.unwrap_or(1), end)).await?;
        let is_whole = session.is_some() && events.len() < limits::TIMELINE_EVENTS_MAX as usize;
        let mut fold = Fold { recording, start_ms: row.started_at_ms, ..Fold::default() };
        for event in &events {
            let is_before = event.room_seq.is_some_and(|seq| super::super::int(seq) < start);
            if !is_before && !fold.has_begun {
                fold.begin();
            }
            fold.take(event);
        }
        if !fold.has_begun {
            fold.begin();
        }
        Ok(Some(Timeline { events: fold.told, is_whole }))
    }

    /// Which event of a room said this of a recording.
    async fn told(
        &self,
        (project, room): (&str, &str),
        kind: &str,
        recording: &str,
    ) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query(
            "SELECT MAX(room_seq) AS seq FROM events WHERE project = $1 AND room = $2 \
             AND type = $3 AND data LIKE $4",
        )
        .bind(project)
        .bind(room)
        .bind(kind)
        .bind(format!("%\"{recording}\"%"))
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get("seq")?)
    }

    /// The beginning of the room's session that goes on at its event `seq`: nobody was there before.
    async fn session_before(
        &self,
        (project, room): (&str, &str),
        seq: i64,
    ) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query(
            "SELECT MAX(room_seq) AS seq FROM events WHERE project = $1 AND room = $2 \
             AND type = 'room.started' AND room_seq < $3",
        )
        .bind(project)
        .bind(room)
        .bind(seq)
        .fetch_one(&self.readers)
        .await?;
        Ok(row.try_get("seq")?)
    }

    /// Events of a room by their numbers, both included.
    async fn between(
        &self,
        (project, room): (&str, &str),
        (first, last): (i64, i64),
    ) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, id, time, room, room_seq, type, data FROM events \
             WHERE project = $1 AND room = $2 AND room_seq >= $3 AND room_seq <= $4 \
             AND type IN ('participant.joined', 'participant.updated', 'participant.left', \
             'track.published', 'track.unpublished', 'consent.changed', 'recording.paused', \
             'recording.resumed') ORDER BY room_seq LIMIT $5",
        )
        .bind(project)
        .bind(room)
        .bind(first)
        .bind(last)
        .bind(i64::from(limits::TIMELINE_EVENTS_MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(events::event).collect()
    }
}

/// What is so at the start, and what is told from then on.
#[derive(Default)]
struct Fold {
    recording: String,
    start_ms: u64,
    has_begun: bool,
    /// Who is there, with whether it consents.
    people: BTreeMap<String, (Handle, Role, bool)>,
    /// What is published, by track.
    tracks: BTreeMap<String, (String, Source)>,
    told: Vec<TimelineEvent>,
}

impl Fold {
    /// The recording starts: what is so now happens now.
    fn begin(&mut self) {
        self.has_begun = true;
        let at_ms = self.start_ms;
        let mut moments = Vec::new();
        for (participant, (handle, role, granted)) in &self.people {
            let (handle, role) = (handle.clone(), *role);
            moments.push(Moment::Joined { participant: participant.clone(), handle, role });
            if *granted {
                moments.push(Moment::Consent { participant: participant.clone(), granted: true });
            }
        }
        for (track, (participant, source)) in &self.tracks {
            let (track, participant) = (track.clone(), participant.clone());
            moments.push(Moment::Published { track, participant, source: *source });
        }
        self.told.extend(moments.into_iter().map(|moment| TimelineEvent { at_ms, moment }));
    }

    fn take(&mut self, event: &Event) {
        let Some(moment) = self.moment(&event.what) else { return };
        if self.has_begun {
            // Two clocks may have been at work: nothing happens before the start.
            let at_ms = event.time.0.max(self.start_ms);
            self.told.push(TimelineEvent { at_ms, moment });
        }
    }

    /// Applies an event; `None` when it is of nobody's concern.
    fn moment(&mut self, what: &What) -> Option<Moment> {
        match what {
            What::ParticipantJoined { participant, handle, role, hidden: false } => {
                let who = (handle.clone(), *role, false);
                self.people.insert(participant.clone(), who);
                let (participant, handle) = (participant.clone(), handle.clone());
                Some(Moment::Joined { participant, handle, role: *role })
            }
            What::ParticipantUpdated { participant, role } => {
                self.people.get_mut(participant)?.1 = *role;
                Some(Moment::Updated { participant: participant.clone(), role: *role })
            }
            What::ParticipantLeft { participant, .. } => {
                self.people.remove(participant)?;
                self.tracks.retain(|_, (whose, _)| whose != participant);
                Some(Moment::Left { participant: participant.clone() })
            }
            What::TrackPublished { track, participant, source } => {
                self.people.get(participant)?;
                self.tracks.insert(track.clone(), (participant.clone(), *source));
                let (track, participant) = (track.clone(), participant.clone());
                Some(Moment::Published { track, participant, source: *source })
            }
            What::TrackUnpublished { track, .. } => {
                self.tracks.remove(track)?;
                Some(Moment::Unpublished { track: track.clone() })
            }
            What::ConsentChanged { participant, granted, .. } => {
                self.people.get_mut(participant)?.2 = *granted;
                let participant = participant.clone();
                Some(Moment::Consent { participant, granted: *granted })
            }
            What::RecordingPaused { recording } if *recording == self.recording => {
                Some(Moment::Paused)
            }
            What::RecordingResumed { recording } if *recording == self.recording => {
                Some(Moment::Resumed)
            }
            _ => None,
        }
    }
}
