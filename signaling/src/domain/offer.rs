//! Offers of both kinds of client, and their answers.

use std::time::Instant;

use sdk_spec::event::What;
use sdk_spec::ws::{
    self, ErrorCode, Grants, LeaveReason, OfferedTrack, PublishedTrack, ServerMessage, Source,
};
use sfu_proto::{
    control::{self, Permissions, Publish},
    id::{ParticipantId, SessionId, TrackId},
    sdp,
};

use super::{
    Refusal, Room, Standard, announced,
    member::{Asker, Client, Member, MemberTrack, Pending},
    sdk::{Fault, error},
};
use crate::limits;

const MALFORMED_SDP: Fault = (
    ErrorCode::MalformedSdp,
    "the session description cannot be read",
    "Send what the browser's createOffer gave, unchanged.",
);
const OFFER_PENDING: Fault = (
    ErrorCode::UnexpectedMessage,
    "the last offer is not answered yet",
    "Offer again after the answer.",
);
const NOT_GRANTED: Fault = (
    ErrorCode::NotPermitted,
    "the token does not grant publishing this source",
    "Mint a token with the source in grants.publish.",
);
const BAD_TRACKS: Fault = (
    ErrorCode::OfferRefused,
    "tracks name a mid that is not sent, or a mid or source twice",
    "Name each sending media section at most once, each source once.",
);
const NO_PUBLISHING_PLACE: Fault = (
    ErrorCode::OfferRefused,
    "as many participants publish as may",
    "Offer again when somebody has stopped, or raise publishers_max.",
);
const NO_ANSWER: Fault = (ErrorCode::Internal, "the media node did not answer", "Offer again.");

/// What the session of a client may do.
pub(super) fn permissions(grants: &Grants, client: &Client) -> Permissions {
    let publish = grants.publish.iter().copied().map(source).collect();
    match client {
        Client::Sdk(_) => Permissions { publish, subscribe: grants.subscribe },
        Client::Standard(c) => match c.kind {
            Standard::Whip => Permissions { publish, subscribe: false },
            Standard::Whep => Permissions { publish: Vec::new(), subscribe: grants.subscribe },
        },
    }
}

/// The source as the media node calls it.
pub(super) fn source(source: Source) -> control::Source {
    match source {
        Source::Camera => control::Source::Camera,
        Source::Microphone => control::Source::Microphone,
        Source::Screen => control::Source::Screen,
        Source::ScreenAudio => control::Source::ScreenAudio,
    }
}

/// Whether an offered section sends.
pub(super) fn sends(media: &sdp::OfferedMedia) -> bool {
    !media.stopped && matches!(media.direction, sdp::Direction::SendOnly | sdp::Direction::SendRecv)
}

impl Room {
    pub(super) fn on_sdk_offer(
        &mut self,
        id: ParticipantId,
        offer: u64,
        sdp: Result<Box<sdp::Offer>, String>,
        tracks: &[OfferedTrack],
        now: Instant,
    ) {
        let Some(member) = self.members.get(&id) else { return };
        let planned = match sdp {
            _ if member.pending.is_some() => Err(error(OFFER_PENDING, Some(offer), false)),
            Err(reason) => Err(malformed_sdp(offer, &reason)),
            Ok(sdp) => match check_tracks(member, &sdp, tracks) {
                Ok(()) => match self.check_new(id, tracks) {
                    Ok(()) => Ok(sdp),
                    Err(fault) => Err(error(fault, Some(offer), false)),
                },
                Err(fault) => Err(error(fault, Some(offer), false)),
            },
        };
        match planned {
            Ok(sdp) => {
                let tracks = self.plan(id, tracks);
                self.send_offer(id, sdp, tracks, Asker::Sdk { offer }, now);
            }
            Err(message) => self.tell(id, &message),
        }
    }

    /// Whether the room lets somebody begin what it is granted.
    fn check_new(&self, id: ParticipantId, tracks: &[OfferedTrack]) -> Result<(), Fault> {
        if !tracks.is_empty() && !self.has_publishing_place(Some(id)) {
            return Err(NO_PUBLISHING_PLACE);
        }
        let is_kept = |track: &OfferedTrack| {
            let own = self.members.get(&id).map(|member| member.tracks.as_slice());
            let same = |t: &MemberTrack| t.mid == track.mid && t.source == track.source;
            own.unwrap_or_default().iter().any(same)
        };
        if self.record.is_behind() && !tracks.iter().all(is_kept) {
            return Err(super::BEHIND);
        }
        Ok(())
    }

    /// Track ids: kept while mid and source stay the same, fresh otherwise.
    fn plan(&mut self, id: ParticipantId, offered: &[OfferedTrack]) -> Vec<MemberTrack> {
        let old = self.members.get(&id).map(|m| m.tracks.clone()).unwrap_or_default();
        let silenced = self.members.get(&id).map(|m| self.silenced(m)).unwrap_or_default();
        let mut planned = Vec::with_capacity(offered.len());
        for track in offered {
            let same = old.iter().find(|t| t.mid == track.mid && t.source == track.source);
            let track_id = match same {
                Some(same) => same.id,
                None => TrackId::from_bits(self.draw_bits()),
            };
            planned.push(MemberTrack {
                id: track_id,
                mid: track.mid.clone(),
                source: track.source,
                muted: track.muted,
                told: track.muted || silenced.contains(&track.source),
            });
        }
        planned
    }

    /// Makes sure that the media node has the participant's session.
    fn open_session(&mut self, participant: ParticipantId) {
        let Some(member) = self.members.get_mut(&participant) else { return };
        if !std::mem::replace(&mut member.has_media, true) {
            let (session, room) = (member.session, self.id);
            let permissions = permissions(&member.grants, &member.client);
            let open = control::Command::OpenSession { room, session, participant, permissions };
            self.media(open);
            self.enforce_audience(participant);
        }
    }

    /// Hands a checked offer to the media node.
    pub(super) fn send_offer(
        &mut self,
        id: ParticipantId,
        offer: Box<sdp::Offer>,
        tracks: Vec<MemberTrack>,
        asker: Asker,
        now: Instant,
    ) {
        let is_first = self.members.get(&id).is_some_and(|member| !member.has_media);
        self.open_session(id);
        self.requests += 1;
        let request = self.requests;
        let Some(member) = self.members.get_mut(&id) else { return };
        let find = |t: &MemberTrack| offer.media.iter().find(|m| m.mid.as_str() == t.mid);
        let publish = tracks
            .iter()
            .filter_map(|t| {
                let mid = find(t)?.mid.clone();
                Some(Publish { mid, track: t.id, source: source(t.source), muted: t.told })
            })
            .collect();
        let session = member.session;
        member.pending = Some(Pending { request, deadline: now + limits::OFFER, tracks, asker });
        self.media(control::Command::Offer { session, request, offer, publish });
        let wants = |member| is_first && !self.wants_of(member).is_empty();
        if self.members.get(&id).is_some_and(wants) {
            self.send_wants(id);
        }
    }

    pub(super) fn on_answered(
        &mut self,
        session: SessionId,
        request: u64,
        answer: Box<sdp::Answer>,
        now: Instant,
    ) {
        let Some((id, pending)) = self.take_pending(session, request) else { return };
        let accepted = accepted(pending.tracks, &answer);
        match pending.asker {
            Asker::Sdk { offer } => {
                let tracks = accepted
                    .iter()
                    .map(|t| PublishedTrack { mid: t.mid.clone(), id: t.id.to_string() })
                    .collect();
                let sdp = answer.write_version(request);
                self.tell(id, &ServerMessage::Answer { id: offer, sdp, tracks });
            }
            Asker::Open(to) => self.reply_opened(id, to, answer),
            Asker::Restart(to, ice) => self.reply_restarted(id, to, ice, answer),
        }
        self.apply(id, accepted, now);
    }

    pub(super) fn on_offer_refused(
        &mut self,
        session: SessionId,
        request: u64,
        reason: sdp::Refusal,
        now: Instant,
    ) {
        let Some((id, pending)) = self.take_pending(session, request) else { return };
        // Without a session on the media node nothing will ever be answered.
        let is_over = reason == sdp::Refusal::NoSession || matches!(pending.asker, Asker::Open(_));
        match pending.asker {
            Asker::Sdk { offer } => self.tell(id, &offer_refused(offer, reason)),
            Asker::Open(to) if reason == sdp::Refusal::NoSession => {
                self.reply(to, Err(Refusal::NoMediaNode));
            }
            Asker::Open(to) | Asker::Restart(to, _) => {
                self.reply(to, Err(Refusal::Offer(reason)));
            }
        }
        // What the offer said of its tracks is void.
        self.enforce_mutes(id);
        if is_over {
            self.end(id, LeaveReason::ServerError, now);
        }
    }

    fn take_pending(
        &mut self,
        session: SessionId,
        request: u64,
    ) -> Option<(ParticipantId, Pending)> {
        let id = *self.sessions.get(&session)?;
        let member = self.members.get_mut(&id)?;
        let pending = member.pending.take_if(|p| p.request == request)?;
        Some((id, pending))
    }

    /// Offers whose `deadline` is `due` will not be answered any more.
    pub(super) fn give_up_offers(&mut self, due: impl Fn(Instant) -> bool, now: Instant) {
        let late: Vec<_> = self
            .members
            .iter_mut()
            .filter_map(|(id, m)| Some((*id, m.pending.take_if(|p| due(p.deadline))?)))
            .collect();
        for (id, pending) in late {
            match pending.asker {
                Asker::Sdk { offer } => self.tell(id, &error(NO_ANSWER, Some(offer), false)),
                Asker::Restart(to, _) => self.reply(to, Err(Refusal::MediaTimeout)),
                Asker::Open(to) => {
                    self.reply(to, Err(Refusal::MediaTimeout));
                    self.end(id, LeaveReason::ServerError, now);
                }
            }
        }
    }

    /// Makes `tracks` what the participant publishes and tells the others what changed.
    pub(super) fn apply(&mut self, id: ParticipantId, tracks: Vec<MemberTrack>, now: Instant) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let info = member.info.clone();
        let before = std::mem::replace(&mut member.tracks, tracks.clone());
        for old in before.iter().filter(|old| !tracks.iter().any(|t| t.id == old.id)) {
            self.tracks.remove(&old.id);
            self.happened(unpublished(id, old), now);
            let track = old.id.to_string();
            self.tell_others(id, &ServerMessage::TrackUnpublished { track });
        }
        for track in &tracks {
            let message = match before.iter().find(|old| old.id == track.id) {
                None => {
                    self.happened(published(id, track), now);
                    ServerMessage::TrackPublished { track: announced(&info, track) }
                }
                Some(old) if old.muted != track.muted => {
                    ServerMessage::TrackMuted { track: track.id.to_string(), muted: track.muted }
                }
                Some(_) => continue,
            };
            self.tracks.insert(track.id, id);
            self.tell_others(id, &message);
        }
    }
}

fn published(id: ParticipantId, track: &MemberTrack) -> What {
    let (participant, source) = (id.to_string(), track.source);
    What::TrackPublished { track: track.id.to_string(), participant, source }
}

pub(super) fn unpublished(id: ParticipantId, track: &MemberTrack) -> What {
    let (participant, source) = (id.to_string(), track.source);
    What::TrackUnpublished { track: track.id.to_string(), participant, source }
}

/// The planned tracks whose sections were answered as receiving.
fn accepted(tracks: Vec<MemberTrack>, answer: &sdp::Answer) -> Vec<MemberTrack> {
    let received = |t: &MemberTrack| {
        answer.media.iter().any(|m| {
            m.mid.as_str() == t.mid
                && !m.refused
                && matches!(m.direction, sdp::Direction::RecvOnly | sdp::Direction::SendRecv)
        })
    };
    tracks.into_iter().filter(received).collect()
}

fn check_tracks(member: &Member, offer: &sdp::Offer, tracks: &[OfferedTrack]) -> Result<(), Fault> {
    for (i, track) in tracks.iter().enumerate() {
        let before = &tracks[..i];
        let repeated = before.iter().any(|t| t.mid == track.mid || t.source == track.source);
        let section = offer.media.iter().find(|m| m.mid.as_str() == track.mid);
        let sent = section.is_some_and(|m| sends(m) && m.kind == Some(source(track.source).kind()));
        if repeated || !sent {
            return Err(BAD_TRACKS);
        }
        if !member.grants.publish.contains(&track.source) {
            return Err(NOT_GRANTED);
        }
    }
    Ok(())
}

fn malformed_sdp(offer: u64, reason: &str) -> ServerMessage {
    let (code, message, remedy) = MALFORMED_SDP;
    let message = format!("{message}: {reason}");
    let error = ws::ErrorInfo { code, message, remedy: remedy.to_owned() };
    ServerMessage::Error { error, offer: Some(offer), fatal: false }
}

fn offer_refused(offer: u64, reason: sdp::Refusal) -> ServerMessage {
    let (code, remedy) = match reason {
        sdp::Refusal::NotPermitted => (NOT_GRANTED.0, NOT_GRANTED.2),
        sdp::Refusal::NoSession => (ErrorCode::Internal, "Join again with a new token."),
        sdp::Refusal::NoCapacity => {
            (ErrorCode::NoCapacity, "Try again later; the session goes on as it was.")
        }
        _ => (ErrorCode::OfferRefused, "Correct the offer; the session goes on as it was."),
    };
    let error = ws::ErrorInfo { code, message: reason.to_string(), remedy: remedy.to_owned() };
    ServerMessage::Error { error, offer: Some(offer), fatal: reason == sdp::Refusal::NoSession }
}
