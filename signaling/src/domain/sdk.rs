//! Participants that speak `conclave.v1`: join, resume, sequence, messages, silence.

use std::{sync::Arc, time::Instant};

use sdk_spec::{
    limits::{AUDIO_SLOTS_MAX, TRACKS_WANTED_MAX, VIDEO_SLOTS_MAX},
    rest::Timestamp,
    ws::{
        ClientLimits, ErrorCode, ErrorInfo, LeaveReason, MESSAGE_BYTES_MAX, RoomInfo, ServerMessage,
    },
};
use sfu_proto::id::{ParticipantId, TrackId};

use super::{
    Admission, Body, BreakoutRoom, ClientInput, Close, ConnectionId, Effect, Guest, Proof, Refusal,
    Room,
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
const ROOM_FULL: Fault = (
    ErrorCode::RoomFull,
    "the room has as many participants as it may",
    "Wait until somebody leaves, or raise participants_max of the next room; come with a new token.",
);
const PROJECT_FULL: Fault = (
    ErrorCode::RoomFull,
    "the project has as many participants as it may",
    "Wait until somebody leaves one of its rooms, or have the quota raised; come with a new token.",
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
pub(super) const NOT_ALLOWED: Fault = (
    ErrorCode::NotPermitted,
    "the grants do not allow it",
    "Mint a token that grants it; renew with it in the session.",
);
const STILL_WAITS: Fault = (
    ErrorCode::UnexpectedMessage,
    "the client waits to be let in",
    "Wait for joined; until then only ping and leave are for it.",
);
/// So much waits for the store that nothing may be added.
pub(crate) const BEHIND: Fault =
    (ErrorCode::NoCapacity, "changes cannot be stored now", "Try again in some seconds.");
const ROOM_LOCKED: Fault = (
    ErrorCode::RoomLocked,
    "the room is locked",
    "Ask a moderator to unlock it; mint a new token.",
);
const ROOM_NOT_OPEN: Fault = (
    ErrorCode::RoomNotOpen,
    "the room is not open yet",
    "Come back 15 minutes before starts_at, with a new token.",
);
const BANNED: Fault =
    (ErrorCode::Banned, "the handle is banned", "Lift the ban, or let it end; mint a new token.");
const DUPLICATE_HANDLE: Fault = (
    ErrorCode::DuplicateHandle,
    "the handle is in the room already",
    "Leave the other session first, or set duplicate_handles to replace; mint a new token.",
);
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

/// What a client is told that may not come in.
pub(crate) fn fault(refused: Refusal) -> Fault {
    match refused {
        Refusal::RoomFull => ROOM_FULL,
        Refusal::QuotaExceeded => PROJECT_FULL,
        Refusal::RoomLocked => ROOM_LOCKED,
        Refusal::RoomNotOpen => ROOM_NOT_OPEN,
        Refusal::Banned => BANNED,
        Refusal::DuplicateHandle => DUPLICATE_HANDLE,
        Refusal::NotFound | Refusal::Gone => ROOM_GONE,
        Refusal::NoMediaNode => NO_MEDIA_NODE,
        Refusal::Action(_) => BEHIND,
        _ => INTERNAL,
    }
}

/// Refuses a connection that has no session: outside the sequence, then closed.
pub(crate) fn refusal(connection: ConnectionId, fault: Fault) -> Vec<Effect> {
    let body = encode(&error(fault, None, true));
    vec![
        Effect::Send { to: connection, seq: 0, ack: 0, body },
        Effect::Disconnect { connection, close: Close::Refused },
    ]
}

/// Numbers a message for a participant, if it listens on a WebSocket.
pub(super) fn send(member: &mut Member, body: Arc<str>) -> Option<Effect> {
    send_to(member.sdk()?, body)
}

/// Numbers a message; sends it now if the client is connected, at resume if not.
pub(super) fn send_to(sdk: &mut Sdk, body: Arc<str>) -> Option<Effect> {
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
    pub(super) fn info(&self) -> RoomInfo {
        let settings = &self.charter.settings;
        RoomInfo {
            id: self.id.to_string(),
            version: self.charter.version,
            mode: settings.mode.unwrap_or_default(),
            locked: settings.locked.unwrap_or_default(),
            knock: settings.knock.unwrap_or_default(),
            ends_at: self.charter.ends_at_ms.map(Timestamp),
            parent: self.charter.parent.map(|parent| parent.to_string()),
            breakouts: self.charter.breakouts.iter().map(BreakoutRoom::shown).collect(),
            muted: self.muted.clone(),
            spotlight: self.spotlight.iter().map(ToString::to_string).collect(),
            pinned: self.pinned.iter().map(ToString::to_string).collect(),
            recording: self.recording_info(),
            data: settings.data.clone(),
        }
    }

    pub(super) fn on_join(&mut self, connection: ConnectionId, who: Admission, now: Instant) {
        let checked = self.check_entry(&who, now);
        let seated = checked.and_then(|older| Ok((older, self.seat(&who, older)?)));
        let (older, seat) = match seated {
            Ok(seated) => seated,
            Err(refused) => {
                self.effects.extend(refusal(connection, fault(refused)));
                return;
            }
        };
        if let Some(older) = older {
            self.end(older, LeaveReason::Replaced, now);
        }
        let (secret, ticket) = self.draw_secret();
        let participant = ParticipantId::from_bits(self.draw_bits());
        let link = Link::Live { connection, heard_at: now };
        let outbox = Outbox::default();
        let sdk = Sdk { link, outbox, heard: 0, ticket, ticket_before: None, joined: None };
        let ticket = Capability { room: self.id, participant, secret }.encode();
        self.connections.insert(connection, participant);
        match self.must_wait(&who) {
            Some(reason) => self.wait(Guest { id: participant, who, sdk, ticket }, reason, now),
            None => {
                self.admit(participant, who, Client::Sdk(sdk), seat, now);
                self.welcome(participant, ticket);
            }
        }
    }

    /// Tells a newcomer everything.
    pub(super) fn welcome(&mut self, id: ParticipantId, ticket: String) {
        let Some(me) = self.members.get(&id) else { return };
        let others = self.members.iter().filter(|(other, m)| **other != id && !m.hidden());
        let joined = ServerMessage::Joined {
            participant: me.info.clone(),
            room: self.info(),
            participants: others.map(|(_, m)| m.info.clone()).collect(),
            tracks: self.tracks_of_others(id),
            ticket,
            grants: me.grants.clone(),
            limits: client_limits(),
        };
        let moderates = me.grants.moderate;
        self.tell(id, &joined);
        self.must_hear_of_recording(id);
        self.tell_floor_to(id);
        if moderates {
            self.tell_lobby_to(id);
        }
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
        let text = Capability { room: self.id, participant: id, secret }.encode();
        let sdk = self.sdk_of(id);
        let link = Link::Live { connection, heard_at: now };
        let resumed = sdk.and_then(|sdk| reattach(sdk, link, &proof, received, (ticket, &text)));
        let Some((superseded, heard, missed)) = resumed else {
            self.effects.extend(refusal(connection, RESUME_REFUSED));
            return;
        };
        if let Some(old) = superseded {
            self.connections.remove(&old);
            self.effects.push(Effect::Disconnect { connection: old, close: Close::Superseded });
        }
        self.connections.insert(connection, id);
        if let Some(guest) = self.lobby.iter_mut().find(|guest| guest.id == id) {
            guest.ticket.clone_from(&text);
        }
        let body = encode(&ServerMessage::Resumed { received: heard, ticket: text });
        self.effects.push(Effect::Send { to: connection, seq: 0, ack: heard, body });
        self.effects.extend(missed.into_iter().map(|m| deliver(connection, heard, m)));
        self.heard_of_recording(id);
    }

    pub(super) fn on_client(&mut self, from: ConnectionId, input: ClientInput, now: Instant) {
        let Some(id) = self.connections.get(&from).copied() else { return };
        let Some(sdk) = self.sdk_of(id) else { return };
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
        self.heard_of_recording(id);
        if fresh || input.seq == 0 {
            self.on_body(id, input.body, now);
        }
    }

    fn on_body(&mut self, id: ParticipantId, body: Body, now: Instant) {
        let waits = self.guest(id).is_some();
        match body {
            Body::Ping | Body::Leave | Body::Unknown => {}
            _ if waits => return self.tell(id, &error(STILL_WAITS, None, false)),
            _ => {}
        }
        match body {
            Body::Offer { id: offer, sdp, tracks } => {
                self.on_sdk_offer(id, offer, sdp, &tracks, now);
            }
            Body::Mute { track, muted } => self.on_mute(id, &track, muted),
            Body::Want { tracks } => self.on_want(id, &tracks),
            Body::Ping => self.tell(id, &ServerMessage::Pong {}),
            Body::Leave => self.end(id, LeaveReason::Left, now),
            Body::Act { id: act, action } => self.on_act(id, act, *action, now),
            Body::Consent { granted } => self.on_consent(id, granted, now),
            Body::Floor { wanted } => self.on_floor(id, wanted, now),
            Body::SetState { state } => self.on_set_state(id, state),
            Body::Data { to, body } => self.on_data(id, &to, body),
            Body::Renewing => {}
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
        if let Some(offered) = offered {
            offered.muted = muted;
        }
        self.enforce_mutes(id);
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
        if let Some(member) = self.members.get_mut(&id) {
            member.wanted = tracks;
            self.send_wants(id);
        }
    }

    pub(super) fn on_detach(&mut self, connection: ConnectionId, now: Instant) {
        let Some(id) = self.connections.remove(&connection) else { return };
        if let Some(sdk) = self.sdk_of(id) {
            sdk.link = Link::Cut { since: now };
        }
    }

    /// Gives up sockets that are silent and participants that did not come back.
    pub(super) fn cut_silent(&mut self, now: Instant) {
        let mut silent = Vec::new();
        let mut gone = Vec::new();
        let members = self.members.iter().filter_map(|(id, member)| match &member.client {
            Client::Sdk(sdk) => Some((*id, sdk)),
            Client::Standard(_) => None,
        });
        for (id, sdk) in members.chain(self.lobby.iter().map(|guest| (guest.id, &guest.sdk))) {
            if super::link_deadline(&sdk.link) <= now {
                match sdk.link {
                    Link::Live { connection, .. } => silent.push(connection),
                    Link::Cut { .. } => gone.push(id),
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
    sdk: &mut Sdk,
    link: Link,
    proof: &Proof,
    received: u64,
    (ticket, text): (SecretHash, &str),
) -> Option<(Option<ConnectionId>, u64, Vec<Numbered>)> {
    let is_newest = sdk.ticket.matches(&proof.secret);
    let is_before = sdk.ticket_before.is_some_and(|before| before.matches(&proof.secret));
    if !is_newest && !is_before {
        return None;
    }
    if let Some((seq, old)) = &mut sdk.joined {
        sdk.outbox.replace(*seq, old, text);
        text.clone_into(old);
    }
    let missed = sdk.outbox.after(received)?;
    sdk.outbox.acknowledge(received).ok()?;
    let used = if is_newest { Some(sdk.ticket) } else { sdk.ticket_before };
    sdk.ticket_before = used;
    sdk.ticket = ticket;
    let superseded = sdk.connection();
    sdk.link = link;
    Some((superseded, sdk.heard, missed))
}

fn client_limits() -> ClientLimits {
    ClientLimits {
        audio_slots_max: AUDIO_SLOTS_MAX,
        video_slots_max: VIDEO_SLOTS_MAX,
        message_bytes_max: MESSAGE_BYTES_MAX as u32,
    }
}
