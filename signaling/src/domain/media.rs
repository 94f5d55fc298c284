//! What the media node reports.

use std::time::Instant;

use sdk_spec::ws::{LeaveReason, MediaState, ServerMessage, Slot, Waiting};
use sfu_proto::{
    control::{EndReason, Event, SlotState},
    id::{SessionId, TrackId},
};

use super::Room;

impl Room {
    pub(super) fn on_media(&mut self, event: Event, now: Instant) {
        match event {
            Event::Answered { session, request, answer } => {
                self.on_answered(session, request, answer);
            }
            Event::OfferRefused { session, request, reason } => {
                self.on_offer_refused(session, request, reason, now);
            }
            Event::Connected { session } => self.tell_media(session, MediaState::Connected),
            Event::Interrupted { session } => self.tell_media(session, MediaState::Interrupted),
            Event::SessionEnded { session, reason } => self.on_session_ended(session, reason, now),
            Event::SlotsChanged { session, version, slots, waiting } => {
                self.on_slots(session, version, slots, waiting);
            }
            // Nobody waits for it: a track is announced with the answer.
            Event::TrackStarted { .. } => {}
            Event::SpeakersChanged { tracks, .. } => self.on_speakers(&tracks),
        }
    }

    fn tell_media(&mut self, session: SessionId, state: MediaState) {
        if let Some(id) = self.sessions.get(&session).copied() {
            self.tell(id, &ServerMessage::Media { state });
        }
    }

    fn on_session_ended(&mut self, session: SessionId, reason: EndReason, now: Instant) {
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let reason = match reason {
            EndReason::PeerClosed => LeaveReason::Left,
            EndReason::ConsentLost => LeaveReason::Timeout,
            // We did not close it, or it would not be known any more.
            EndReason::Closed
            | EndReason::HandshakeFailed
            | EndReason::Refused
            | EndReason::Internal => LeaveReason::ServerError,
        };
        self.end(id, reason, now);
    }

    fn on_slots(
        &mut self,
        session: SessionId,
        version: u64,
        slots: Vec<SlotState>,
        (audio, video): (u32, u32),
    ) {
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let slots = slots
            .into_iter()
            .map(|slot| Slot {
                mid: slot.mid.as_str().to_owned(),
                track: slot.track.map(|track| track.to_string()),
            })
            .collect();
        let waiting = Waiting { audio, video };
        self.tell(id, &ServerMessage::Slots { version, slots, waiting });
    }

    fn on_speakers(&mut self, tracks: &[TrackId]) {
        let mut participants = Vec::new();
        for owner in tracks.iter().filter_map(|track| self.tracks.get(track)) {
            let id = owner.to_string();
            if !participants.contains(&id) {
                participants.push(id);
            }
        }
        let message = ServerMessage::Speakers { participants };
        let body = super::encode(&message);
        for member in self.members.values_mut() {
            self.effects.extend(super::sdk::send(member, std::sync::Arc::clone(&body)));
        }
    }
}
