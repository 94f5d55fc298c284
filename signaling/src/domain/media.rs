//! What the media node reports.

use std::time::Instant;

use sdk_spec::event::What;
use sdk_spec::ws::{LeaveReason, MediaState, ServerMessage, Slot, Waiting};
use sfu_proto::{
    control::{self, EndReason, Event, SlotState},
    id::{ParticipantId, SessionId, TrackId},
};

use super::{NO_MEDIA_NODE, Refusal, Room, error, member::Asker};

impl Room {
    pub(super) fn on_media(&mut self, event: Event, now: Instant) {
        match event {
            Event::Answered { session, request, answer } => {
                self.on_answered(session, request, answer, now);
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
            Event::Traffic { session, received, sent } => {
                self.on_traffic(session, (received, sent), now);
            }
            Event::SpeakersChanged { tracks, .. } => self.on_speakers(&tracks),
        }
    }

    fn tell_media(&mut self, session: SessionId, state: MediaState) {
        if let Some(id) = self.sessions.get(&session).copied() {
            self.tell(id, &ServerMessage::Media { state });
        }
    }

    fn on_session_ended(&mut self, session: SessionId, reason: EndReason, now: Instant) {
        self.departed.retain(|(departed, _)| *departed != session);
        if reason == EndReason::Internal {
            self.recorder.repeat_tap();
        }
        let Some(id) = self.sessions.get(&session).copied() else { return };
        let reason = match reason {
            EndReason::Refused => return self.on_session_refused(session, now),
            EndReason::PeerClosed => LeaveReason::Left,
            EndReason::ConsentLost => LeaveReason::Timeout,
            // We did not close it, or it would not be known any more.
            EndReason::Closed | EndReason::HandshakeFailed | EndReason::Internal => {
                LeaveReason::ServerError
            }
        };
        self.end(id, reason, now);
    }

    /// Bytes of somebody who is in, or who just left: a node tells its last count when it closes the
    /// session. While the store is behind they are kept for later.
    pub(super) fn on_traffic(&mut self, session: SessionId, bytes: (u64, u64), now: Instant) {
        let known = self.sessions.get(&session).copied();
        let Some(id) = known else {
            let gone = self.departed.iter().find(|(departed, _)| *departed == session);
            if let Some((_, id)) = gone {
                self.transferred(*id, bytes, now);
            }
            return;
        };
        let Some(member) = self.members.get_mut(&id) else { return };
        member.traffic.0 += bytes.0;
        member.traffic.1 += bytes.1;
        if !self.record.is_behind() {
            let bytes = std::mem::take(&mut member.traffic);
            self.transferred(id, bytes, now);
        }
    }

    pub(super) fn transferred(
        &mut self,
        id: ParticipantId,
        (received, sent): (u64, u64),
        now: Instant,
    ) {
        if received + sent > 0 {
            let participant = id.to_string();
            self.happened(What::MediaTransferred { participant, received, sent }, now);
        }
    }

    /// Whoever waits for an answer waits in vain, and sessions may have ended unheard: the media
    /// node is asked. A WHIP or WHEP client would not notice by itself.
    pub(super) fn on_media_missed(&mut self, now: Instant) {
        self.give_up_offers(|_| true, now);
        let on_node = self.members.values().filter(|m| m.has_media);
        let sessions: Vec<_> = on_node.map(|m| m.session).collect();
        if !sessions.is_empty() {
            self.media(control::Command::Sync { sessions });
        }
    }

    pub(super) fn on_room_refused(&mut self, now: Instant) {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.refuse_media(id, now);
        }
    }

    pub(super) fn on_session_refused(&mut self, session: SessionId, now: Instant) {
        if let Some(id) = self.sessions.get(&session).copied() {
            self.refuse_media(id, now);
        }
    }

    /// Ends a participant for whom the media node has no place.
    fn refuse_media(&mut self, id: ParticipantId, now: Instant) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if let Some(Asker::Open(to)) = member.pending.take().map(|p| p.asker) {
            self.reply(to, Err(Refusal::NoMediaNode));
        }
        self.tell(id, &error(NO_MEDIA_NODE, None, true));
        self.end(id, LeaveReason::ServerError, now);
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
