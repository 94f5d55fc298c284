//! Participants that speak WHIP (RFC 9725) or WHEP: open, trickle, ICE restart, end.

use std::time::Instant;

use sdk_spec::{
    action::ActionRefusal,
    ws::{LeaveReason, Role, Source},
};
use sfu_proto::{
    id::{ParticipantId, TrackId},
    sdp,
};

use super::{
    Admission, Ask, Proof, Refusal, Reply, RequestId, Room, Standard, Tag,
    member::{Asker, Client, Member, MemberTrack, StandardClient},
    offer::sends,
    record::Asked,
};
use crate::secret::Capability;

impl Room {
    pub(super) fn on_ask(&mut self, request: RequestId, ask: Ask, now: Instant) {
        let refused = match ask {
            Ask::Act { actor, action, version } => {
                self.on_action(Asked::Request(request), actor, (*action, version), now);
                Ok(())
            }
            Ask::Turn { recording, .. } if !self.records(recording) => {
                Err(Refusal::Action(ActionRefusal::WrongState))
            }
            Ask::Turn { actor, action, .. } => {
                self.on_action(Asked::Request(request), actor, (*action, None), now);
                Ok(())
            }
            Ask::Participants => {
                let list = self.listing();
                self.reply(request, Ok(Reply::Participants(list)));
                Ok(())
            }
            Ask::Vacancy { who } => match self.check_entry(&who, now) {
                Err(full @ (Refusal::RoomFull | Refusal::QuotaExceeded)) => Err(full),
                _ => {
                    self.reply(request, Ok(Reply::Accepted));
                    Ok(())
                }
            },
            Ask::Return { who } => {
                self.returning(who, now).map(|who| self.reply(request, Ok(Reply::Returns(who))))
            }
            Ask::Open { kind, admission, offer } => {
                self.on_open(request, kind, admission, offer, now)
            }
            Ask::Patch { kind, proof, tag, ice } => {
                self.on_patch(request, (kind, proof), tag, ice, now)
            }
            Ask::End { kind, proof } => self.on_end(request, (kind, proof), now),
        };
        if let Err(refusal) = refused {
            self.reply(request, Err(refusal));
        }
    }

    fn on_open(
        &mut self,
        request: RequestId,
        kind: Standard,
        who: Admission,
        offer: Box<sdp::Offer>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let older = self.check_entry(&who, now)?;
        if self.must_wait(&who).is_some() {
            return Err(Refusal::NotPermitted); // It could not be told to wait.
        }
        let sections = match kind {
            Standard::Whip => published(&offer, &self.publishes(&who)),
            Standard::Whep => Vec::new(),
        };
        let permitted = match kind {
            Standard::Whip => !sections.is_empty(),
            Standard::Whep => who.grants.subscribe,
        };
        if !permitted {
            return Err(Refusal::NotPermitted);
        }
        if kind == Standard::Whip && !self.has_publishing_place(older) {
            return Err(Refusal::RoomFull);
        }
        let seat = self.seat(&who, older)?;
        if let Some(older) = older {
            self.end(older, LeaveReason::Replaced, now);
        }
        let tracks = self.standard_tracks(sections, who.role);
        // The secret is drawn when the answer is there; until then no text matches.
        let (_, secret) = self.draw_secret();
        let client = StandardClient { kind, secret, offer: offer.clone(), generation: 0 };
        let id = ParticipantId::from_bits(self.draw_bits());
        self.admit(id, who, Client::Standard(client), seat, now);
        self.send_offer(id, offer, tracks, Asker::Open(request), now);
        Ok(())
    }

    fn standard_tracks(&mut self, sections: Vec<(Source, String)>, role: Role) -> Vec<MemberTrack> {
        let track = |(source, mid)| {
            let id = TrackId::from_bits(self.draw_bits());
            let told = role != Role::Moderator && self.muted.contains(&source);
            MemberTrack { id, mid, source, muted: false, told }
        };
        sections.into_iter().map(track).collect()
    }

    pub(super) fn reply_opened(
        &mut self,
        participant: ParticipantId,
        to: RequestId,
        answer: Box<sdp::Answer>,
    ) {
        let (secret, hash) = self.draw_secret();
        let Some(client) = self.standard(participant) else { return };
        client.secret = hash;
        client.generation = 1;
        let resource = Capability { room: self.id, participant, secret }.encode();
        self.reply(to, Ok(Reply::Opened { answer, resource, generation: 1 }));
    }

    pub(super) fn reply_restarted(
        &mut self,
        participant: ParticipantId,
        to: RequestId,
        ice: sdp::IceCredentials,
        answer: Box<sdp::Answer>,
    ) {
        let Some(client) = self.standard(participant) else { return };
        client.offer.ice = ice;
        client.generation += 1;
        let generation = client.generation;
        self.reply(to, Ok(Reply::Restarts { answer, generation }));
    }

    /// RFC 9725 section 4.3: candidates name the entity tag, an ICE restart names `*`.
    fn on_patch(
        &mut self,
        request: RequestId,
        whose: (Standard, Proof),
        tag: Option<Tag>,
        ice: Option<sdp::IceCredentials>,
        now: Instant,
    ) -> Result<(), Refusal> {
        let id = whose.1.participant;
        let member = self.authorized(whose)?;
        let pending = member.pending.is_some();
        let tracks = member.tracks.clone();
        let Client::Standard(client) = &mut member.client else { return Err(Refusal::NotFound) };
        let tag = tag.ok_or(Refusal::PreconditionRequired)?;
        let restart = ice.filter(|ice| *ice != client.offer.ice);
        match (restart, tag) {
            (None, Tag::Any) => self.reply(request, Ok(Reply::Accepted)),
            (None, Tag::Generation(g)) if g == client.generation => {
                self.reply(request, Ok(Reply::Accepted));
            }
            (Some(_), Tag::Any) if pending => return Err(Refusal::Busy),
            (Some(ice), Tag::Any) => {
                // Kept when it is answered: a restart that failed may be asked for again.
                let mut offer = client.offer.clone();
                offer.ice = ice.clone();
                self.send_offer(id, offer, tracks, Asker::Restart(request, ice), now);
            }
            (_, Tag::Generation(_) | Tag::Foreign) => return Err(Refusal::PreconditionFailed),
        }
        Ok(())
    }

    fn on_end(
        &mut self,
        request: RequestId,
        whose: (Standard, Proof),
        now: Instant,
    ) -> Result<(), Refusal> {
        self.authorized(whose)?;
        self.end(whose.1.participant, LeaveReason::Left, now);
        self.reply(request, Ok(Reply::Ended));
        Ok(())
    }

    fn authorized(&mut self, (kind, proof): (Standard, Proof)) -> Result<&mut Member, Refusal> {
        let member = self.members.get_mut(&proof.participant).ok_or(Refusal::NotFound)?;
        let Client::Standard(client) = &member.client else { return Err(Refusal::NotFound) };
        let right = client.kind == kind && client.secret.matches(&proof.secret);
        if right { Ok(member) } else { Err(Refusal::NotFound) }
    }

    fn standard(&mut self, id: ParticipantId) -> Option<&mut StandardClient> {
        match &mut self.members.get_mut(&id)?.client {
            Client::Standard(client) => Some(client),
            Client::Sdk(_) => None,
        }
    }
}

/// The first sending audio section is the microphone, the first sending video section the camera,
/// as far as granted; the rest is answered inactive.
fn published(offer: &sdp::Offer, granted: &[Source]) -> Vec<(Source, String)> {
    let first = |kind: sdp::Kind, source: Source| {
        let section = offer.media.iter().find(|m| m.kind == Some(kind) && sends(m))?;
        granted.contains(&source).then(|| (source, section.mid.as_str().to_owned()))
    };
    let both =
        [first(sdp::Kind::Audio, Source::Microphone), first(sdp::Kind::Video, Source::Camera)];
    both.into_iter().flatten().collect()
}
