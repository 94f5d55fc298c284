//! Participants that speak `conclave.v1`: join, resume, sequence, messages, silence.

use std::{sync::Arc, time::Instant};

use sdk_spec::{
    limits::{AUDIO_SLOTS_MAX, TRACKS_WANTED_MAX, VIDEO_SLOTS_MAX},
    rest::Timestamp,
    ws::{
        ClientLimits, ErrorCode, ErrorInfo, LeaveReason, MESSAGE_BYTES_MAX, RoomInfo, ServerMessage,
    },
};
use sfu_proto::{
    control,
    id::{ParticipantId, TrackId},
};

use super::{
    Admission, Body, ClientInput, Close, ConnectionId, Effect, Proof, Room,
    member::{Client, Link, Member, MemberTrack, Sdk},
    outbox::{Numbered, Outbox},
};
use crate::secret::{Capability, SecretHash};

/// What went wrong: code, message, remedy.
pub(crate) type Fault = (ErrorCode, &'static str, &'static str);

const NEW_TOKEN: &str = "Mint a new token and join with it.";
const SDK_DEFECT: &str = "Use a current SDK; if it is, report this.";

pub(crate) const TOKEN_REFUSED: Fault =
    (ErrorCode::TokenRefused, "the room token is not accepted", NEW_TOKEN);
pub(crate) const ROOM_GONE: Fault = TOKEN_REFUSED;
pub(crate) const RESUME_REFUSED: Fault =
    (ErrorCode::ResumeRefused, "the session cannot be resumed", NEW_TOKEN);
pub(crate) const ROOM_FULL: Fault = (
    ErrorCode::RoomFull,
    "the room has as many participants as it may",
    "Wait until somebody leaves, or raise participants_max of the next room; come with a new token.",
);
pub(crate) const NO_MEDIA_NODE: Fault = (
    ErrorCode::NoMediaNode,
    "no media node is free",
    "Try again in some seconds with a new token.",
);
pub(crate) const INTERNAL: Fault =
    (ErrorCode::Internal, "we failed", "Try again with a new token; if it stays, report the time.");
pub(crate) const NO_FIRST_MESSAGE: Fault = (
    ErrorCode::Timeout,
    "the first message did not arrive in time",
    "Send join or resume at once after the connection opens.",
);
pub(crate) const MALFORMED: Fault =
    (ErrorCode::MalformedMessage, "not a message of conclave.v1", SDK_DEFECT);
pub(crate) const NOT_FIRST: Fault =
    (ErrorCode::UnexpectedMessage, "the first message must be join or resume", SDK_DEFECT);
pub(crate) const TOO_LARGE: Fault =
    (ErrorCode::MessageTooLarge, "the message is above the limit", SDK_DEFECT);
const TOO_MANY: Fault =
    (ErrorCode::RateLimited, "more messages than allowed", "Send fewer messages; join again.");
const OUT_OF_SEQUENCE: Fault =
    (ErrorCode::UnexpectedMessage, "a seq was skipped or an ack is ahead", SDK_DEFECT);
const REPEATED: Fault = (ErrorCode::UnexpectedMessage, "the session is already open", SDK_DEFECT);
const UNKNOWN_TRACK: Fault =
    (ErrorCode::UnknownTrack, "no such track, or not an own one", "Use ids from the last answer.");
const WANTS_TOO_MUCH: Fault =
    (ErrorCode::MalformedMessage, "want names more tracks than allowed", SDK_DEFECT);

/// A message as JSON.
///
/// # Panics
/// Never: messages are plain data.
pub(crate) fn encode(message: &ServerMessage) -> Arc<str> {
    serde_json::to_string(message).expect("messages are plain data").into()
}

/// The message that tells a fault.
pub(crate) fn error(fault: Fault, offer: Option<u64>, fatal: bool) -> ServerMessage {
    let (code, message, remedy) = fault;
    let error = ErrorInfo { code, message: message.to_owned(), remedy: remedy.to_owned() };
    ServerMessage::Error { error, offer, fatal }
}

/// Refuses a connection that has no session: outside the sequence, then closed.
pub(crate) fn refusal(connection: ConnectionId, fault: Fault) -> Vec<Effect> {
    let body = encode(&error(fault, None, true));
    vec![
        Effect::Send { to: connection, seq: 0, ack: 0, body },
        Effect::Disconnect { connection, close: Close::Refused },
    ]
}

/// Numbers a message for a participant; sends it now if it is connected, at resume if not.
pub(super) fn send(member: &mut Member, body: Arc<str>) -> Option<Effect> {
    let sdk = member.sdk()?;
    let message = sdk.outbox.push(body);
    match sdk.link {
        Link::Live { connection, .. } => Some(deliver(connection, sdk.heard, message)),
        Link::Cut { .. } => None,
    }
}

fn deliver(to: ConnectionId, ack: u64, message: Numbered) -> Effect {
    Effect::Send { to, seq: message.seq, ack, body: message.body }
}

impl Room {
    fn info(&self) -> RoomInfo {
        let settings = &self.charter.settings;
        RoomInfo {
            id: self.id.to_string(),
            version: self.charter.version,
            mode: settings.mode.unwrap_or_default(),
            locked: settings.locked.unwrap_or_default(),
            knock: settings.knock.unwrap_or_default(),
            ends_at: self.charter.ends_at_ms.map(Timestamp),
            parent: self.charter.parent.map(|parent| parent.to_string()),
            breakouts: Vec::new(),
            muted: Vec::new(),
            spotlight: Vec::new(),
            pinned: Vec::new(),
            data: settings.data.clone(),
        }
    }

    pub(super) fn on_join(&mut self, connection: ConnectionId, who: Admission, now: Instant) {
        if self.is_full() {
            self.effects.extend(refusal(connection, ROOM_FULL));
            return;
        }
        let (secret, ticket) = self.draw_secret();
        let grants = who.grants.clone();
        let link = Link::Live { connection, heard_at: now };
        let sdk = Sdk { link, outbox: Outbox::default(), heard: 0, ticket, ticket_before: None };
        let id = self.admit(who, Client::Sdk(sdk));
        self.connections.insert(connection, id);
        let Some(me) = self.members.get(&id) else { return };
        let others = self.members.iter().filter(|(other, _)| **other != id);
        let joined = ServerMessage::Joined {
            participant: me.info.clone(),
            room: self.info(),
            participants: others.map(|(_, m)| m.info.clone()).collect(),
            tracks: self.tracks_of_others(id),
            ticket: Capability { room: self.id, participant: id, secret }.encode(),
            grants,
            limits: client_limits(),
        };
        self.tell(id, &joined);
    }

    pub(super) fn on_resume(
        &mut self,
        connection: ConnectionId,
        proof: Proof,
        received: u64,
        now: Instant,
    ) {
        let (secret, ticket) = self.draw_secret();
        let id = proof.participant;
        let member = self.members.get_mut(&id);
        let resumed = member.and_then(|m| reattach(m, connection, &proof, received, ticket, now));
        let Some((superseded, heard, missed)) = resumed else {
            self.effects.extend(refusal(connection, RESUME_REFUSED));
            return;
        };
        if let Some(old) = superseded {
            self.connections.remove(&old);
            self.effects.push(Effect::Disconnect { connection: old, close: Close::Superseded });
        }
        self.connections.insert(connection, id);
        let ticket = Capability { room: self.id, participant: id, secret }.encode();
        let body = encode(&ServerMessage::Resumed { received: heard, ticket });
        self.effects.push(Effect::Send { to: connection, seq: 0, ack: heard, body });
        self.effects.extend(missed.into_iter().map(|m| deliver(connection, heard, m)));
    }

    pub(super) fn on_client(&mut self, from: ConnectionId, input: ClientInput, now: Instant) {
        let Some(id) = self.connections.get(&from).copied() else { return };
        let Some(sdk) = self.members.get_mut(&id).and_then(Member::sdk) else { return };
        sdk.link = Link::Live { connection: from, heard_at: now };
        let fatal = match &input.body {
            Body::Malformed => Some(MALFORMED),
            Body::TooMany => Some(TOO_MANY),
            Body::TooLarge => Some(TOO_LARGE),
            Body::Repeated => Some(REPEATED),
            _ if input.seq > sdk.heard + 1 || (input.seq == 0 && !is_ping(&input.body)) => {
                Some(OUT_OF_SEQUENCE)
            }
            _ => sdk.outbox.acknowledge(input.ack).err().map(|_| OUT_OF_SEQUENCE),
        };
        if let Some(fault) = fatal {
            self.tell(id, &error(fault, None, true));
            self.end(id, LeaveReason::ProtocolError, now);
            return;
        }
        let fresh = input.seq == sdk.heard + 1;
        sdk.heard = sdk.heard.max(input.seq);
        // It speaks after `resumed`, so it has the newest ticket.
        sdk.ticket_before = None;
        if fresh || input.seq == 0 {
            self.on_body(id, input.body, now);
        }
    }

    fn on_body(&mut self, id: ParticipantId, body: Body, now: Instant) {
        match body {
            Body::Offer { id: offer, sdp, tracks } => {
                self.on_sdk_offer(id, offer, sdp, &tracks, now);
            }
            Body::Mute { track, muted } => self.on_mute(id, &track, muted),
            Body::Want { tracks } => self.on_want(id, &tracks),
            Body::Ping => self.tell(id, &ServerMessage::Pong {}),
            Body::Leave => self.end(id, LeaveReason::Left, now),
            Body::Act { .. }
            | Body::Floor { .. }
            | Body::SetState { .. }
            | Body::Data { .. }
            | Body::Renewing => {}
            // These were answered as fatal; only an unknown message gets here.
            Body::Unknown | Body::Malformed | Body::Repeated | Body::TooMany | Body::TooLarge => {
                self.tell(id, &error(MALFORMED, None, false));
            }
        }
    }

    fn on_mute(&mut self, id: ParticipantId, track: &str, muted: bool) {
        let wanted = track.parse::<TrackId>().ok();
        let member = self.members.get_mut(&id);
        let own = member.and_then(|m| {
            let offered = m.pending.as_mut().and_then(|p| find(&mut p.tracks, wanted));
            Some((find(&mut m.tracks, wanted)?, offered))
        });
        let Some((own, offered)) = own else {
            self.tell(id, &error(UNKNOWN_TRACK, None, false));
            return;
        };
        let track = own.id;
        let is_news = std::mem::replace(&mut own.muted, muted) != muted;
        // An offer in flight says again whether the track is muted, and said so before this.
        let is_undone = offered.is_some_and(|o| std::mem::replace(&mut o.muted, muted) != muted);
        if is_news || is_undone {
            self.media(control::Command::SetMuted { track, muted });
        }
        if is_news {
            let message = ServerMessage::TrackMuted { track: track.to_string(), muted };
            self.tell_others(id, &message);
        }
    }

    /// Unknown tracks are races with their end, not faults. Before the first offer it is kept: the
    /// media node ends sessions that nobody connects to.
    fn on_want(&mut self, id: ParticipantId, tracks: &[String]) {
        if tracks.len() > TRACKS_WANTED_MAX {
            self.tell(id, &error(WANTS_TOO_MUCH, None, false));
            return;
        }
        let known = |text: &String| {
            text.parse::<TrackId>().ok().filter(|track| self.tracks.contains_key(track))
        };
        let tracks = tracks.iter().filter_map(known).collect();
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.has_media {
            let session = member.session;
            self.media(control::Command::Want { session, tracks });
        } else {
            member.wanted = Some(tracks);
        }
    }

    pub(super) fn on_detach(&mut self, connection: ConnectionId, now: Instant) {
        let Some(id) = self.connections.remove(&connection) else { return };
        if let Some(sdk) = self.members.get_mut(&id).and_then(Member::sdk) {
            sdk.link = Link::Cut { since: now };
        }
    }

    /// Gives up sockets that are silent and participants that did not come back.
    pub(super) fn cut_silent(&mut self, now: Instant) {
        let mut silent = Vec::new();
        let mut gone = Vec::new();
        for (id, member) in &self.members {
            let Client::Sdk(sdk) = &member.client else { continue };
            if super::link_deadline(&sdk.link) <= now {
                match sdk.link {
                    Link::Live { connection, .. } => silent.push(connection),
                    Link::Cut { .. } => gone.push(*id),
                }
            }
        }
        for connection in silent {
            self.on_detach(connection, now);
            self.effects.push(Effect::Disconnect { connection, close: Close::Silent });
        }
        for id in gone {
            self.end(id, LeaveReason::Timeout, now);
        }
    }
}

fn find(tracks: &mut [MemberTrack], id: Option<TrackId>) -> Option<&mut MemberTrack> {
    tracks.iter_mut().find(|track| Some(track.id) == id)
}

fn is_ping(body: &Body) -> bool {
    matches!(body, Body::Ping)
}

/// Moves a session to a new connection, if the proof holds and nothing is lost. Returns the
/// connection that it had, the highest `seq` heard, and what the client missed.
fn reattach(
    member: &mut Member,
    connection: ConnectionId,
    proof: &Proof,
    received: u64,
    ticket: SecretHash,
    now: Instant,
) -> Option<(Option<ConnectionId>, u64, Vec<Numbered>)> {
    let superseded = member.connection();
    let sdk = member.sdk()?;
    let is_newest = sdk.ticket.matches(&proof.secret);
    let is_before = sdk.ticket_before.is_some_and(|before| before.matches(&proof.secret));
    if !is_newest && !is_before {
        return None;
    }
    let missed = sdk.outbox.after(received)?;
    sdk.outbox.acknowledge(received).ok()?;
    let used = if is_newest { Some(sdk.ticket) } else { sdk.ticket_before };
    sdk.ticket_before = used;
    sdk.ticket = ticket;
    sdk.link = Link::Live { connection, heard_at: now };
    Some((superseded, sdk.heard, missed))
}

fn client_limits() -> ClientLimits {
    ClientLimits {
        audio_slots_max: AUDIO_SLOTS_MAX,
        video_slots_max: VIDEO_SLOTS_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX as u32,
    }
}
