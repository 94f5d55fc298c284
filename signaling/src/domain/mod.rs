//! The rules of a room, pure: [`Room::handle`] takes a command and the time and returns effects.
//!
//! No clock, no socket, no store: time and randomness are handed in, so that any history can be
//! replayed. One [`Room`] lives from the creation of a room to its end.
//!
//! ```text
//!  Command ─▶ Room::handle(command, now) ─▶ [Effect]      Room::deadline() ─▶ next Tick
//! ```

mod actor;
mod input;
mod media;
mod member;
mod offer;
mod outbox;
mod sdk;
mod standard;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use sdk_spec::{
    limits::{EMPTY_TIMEOUT_SECONDS_DEFAULT, PARTICIPANTS_MAX_DEFAULT},
    ws::{LeaveReason, Participant, ServerMessage, Track},
};
use sfu_proto::{
    control,
    id::{ParticipantId, RoomId, SessionId, TrackId},
};

pub(crate) use actor::Actor;
pub(crate) use input::{
    Admission, Ask, Ban, Body, BreakoutRoom, Charter, ClientInput, Close, Command, Commit,
    ConnectionId, Effect, Proof, Refusal, Reply, RequestId, Standard, Tag,
};
use member::{Asker, Client, Link, Member};
use sdk::encode;
pub(crate) use sdk::{
    Fault, INTERNAL, MALFORMED, NO_FIRST_MESSAGE, NO_MEDIA_NODE, NOT_FIRST, RESUME_REFUSED,
    ROOM_FULL, TOKEN_REFUSED, TOO_LARGE, error, refusal,
};

use crate::{limits, secret::SecretHash};

/// Gives 32 fresh random bytes at each call.
pub(crate) type Draw = Box<dyn FnMut() -> [u8; 32] + Send>;

/// A room and everybody in it.
pub(crate) struct Room {
    id: RoomId,
    charter: Charter,
    bans: Vec<Ban>,
    /// The same moment on both clocks: of deadlines, and of the wall in milliseconds since 1970.
    epoch: (Instant, u64),
    members: BTreeMap<ParticipantId, Member>,
    connections: BTreeMap<ConnectionId, ParticipantId>,
    sessions: BTreeMap<SessionId, ParticipantId>,
    tracks: BTreeMap<TrackId, ParticipantId>,
    /// Since when nobody is here; `None` while somebody is.
    empty_since: Option<Instant>,
    over: bool,
    requests: u64,
    draw: Draw,
    effects: Vec<Effect>,
}

impl Room {
    /// A room that nobody is in.
    pub(crate) fn new(
        id: RoomId,
        charter: Charter,
        bans: Vec<Ban>,
        draw: Draw,
        (now, now_ms): (Instant, u64),
    ) -> Self {
        Self {
            id,
            charter,
            bans,
            epoch: (now, now_ms),
            members: BTreeMap::new(),
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tracks: BTreeMap::new(),
            empty_since: Some(now),
            over: false,
            requests: 0,
            draw,
            effects: Vec::new(),
        }
    }

    /// Participants in the room.
    pub(crate) fn participants(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Takes a command. After [`Effect::Ended`] nothing has an effect any more, except that
    /// requests are refused.
    pub(crate) fn handle(&mut self, command: Command, now: Instant) -> Vec<Effect> {
        if self.over {
            return self.refuse_all(command);
        }
        match command {
            Command::Join { connection, admission } => self.on_join(connection, admission, now),
            Command::Resume { connection, proof, received } => {
                self.on_resume(connection, proof, received, now);
            }
            Command::Client { connection, input } => self.on_client(connection, input, now),
            Command::Detach { connection } => self.on_detach(connection, now),
            Command::Standard { request, ask } => self.on_ask(request, ask, now),
            Command::Unclaimed(participant) => self.end(participant, LeaveReason::Left, now),
            Command::Media(event) => self.on_media(event, now),
            Command::MediaLost => self.end_all(LeaveReason::ServerError, now),
            Command::MediaMissed => self.on_media_missed(now),
            Command::RoomRefused => self.on_room_refused(now),
            Command::SessionRefused(session) => self.on_session_refused(session, now),
            Command::Close => self.close(now),
            Command::Committed(_)
            | Command::Banned(_)
            | Command::Unbanned(_)
            | Command::Ticket { .. }
            | Command::Recall { .. }
            | Command::BreakoutEnded(_)
            | Command::Renew { .. }
            | Command::RenewRefused { .. } => {}
            Command::Tick => self.on_tick(now),
        }
        std::mem::take(&mut self.effects)
    }

    /// When [`Command::Tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let empty = self.empty_since.map(|since| since + self.empty_timeout());
        let members = self.members.values().flat_map(|member| {
            let link = match &member.client {
                Client::Sdk(sdk) => Some(link_deadline(&sdk.link)),
                Client::Standard(_) => None,
            };
            link.into_iter().chain(member.pending.as_ref().map(|p| p.deadline))
        });
        members.chain(empty).min()
    }

    fn on_tick(&mut self, now: Instant) {
        self.give_up_offers(|deadline| deadline <= now, now);
        self.cut_silent(now);
        if self.empty_since.is_some_and(|since| now >= since + self.empty_timeout()) {
            self.close(now);
        }
    }

    fn close(&mut self, now: Instant) {
        self.end_all(LeaveReason::RoomClosed, now);
        self.over = true;
        self.effects.push(Effect::Ended);
    }

    fn end_all(&mut self, reason: LeaveReason, now: Instant) {
        // Nobody is left to be told, so the others need no announcements. Sessions end with the
        // room, so the media node needs one command.
        let ids: Vec<_> = self.members.keys().copied().collect();
        let all: Vec<_> = ids.into_iter().filter_map(|id| self.forget(id, now)).collect();
        if !all.is_empty() {
            self.media(control::Command::CloseRoom { room: self.id });
        }
        for member in all {
            self.farewell(member, reason);
        }
    }

    /// A new participant: told to the others.
    fn admit(&mut self, admission: Admission, client: Client) -> ParticipantId {
        let participant = ParticipantId::from_bits(self.draw_bits());
        let session = SessionId::from_bits(self.draw_bits());
        if self.members.is_empty() {
            let sessions_max = self.participants_max();
            self.media(control::Command::OpenRoom { room: self.id, sessions_max });
        }
        let info = Participant {
            id: participant.to_string(),
            handle: admission.handle,
            role: admission.role,
            muted: Vec::new(),
            state: None,
        };
        let joined = ServerMessage::ParticipantJoined { participant: info.clone() };
        self.tell_others(participant, &joined);
        let member = Member {
            info,
            grants: admission.grants,
            session,
            has_media: false,
            tracks: Vec::new(),
            pending: None,
            wanted: None,
            client,
        };
        self.sessions.insert(session, participant);
        self.members.insert(participant, member);
        self.empty_since = None;
        participant
    }

    fn empty_timeout(&self) -> Duration {
        let seconds = self.charter.settings.empty_timeout_seconds;
        Duration::from_secs(seconds.unwrap_or(EMPTY_TIMEOUT_SECONDS_DEFAULT).into())
    }

    pub(crate) fn participants_max(&self) -> u32 {
        self.charter.settings.participants_max.unwrap_or(PARTICIPANTS_MAX_DEFAULT)
    }

    fn is_full(&self) -> bool {
        self.participants() >= self.participants_max()
    }

    /// Ends a participant and tells everybody.
    fn end(&mut self, participant: ParticipantId, reason: LeaveReason, now: Instant) {
        let Some(member) = self.forget(participant, now) else { return };
        self.release(&member);
        for track in &member.tracks {
            let track = track.id.to_string();
            self.tell_others(participant, &ServerMessage::TrackUnpublished { track });
        }
        let left = ServerMessage::ParticipantLeft { participant: member.info.id.clone(), reason };
        self.tell_others(participant, &left);
        self.farewell(member, reason);
    }

    /// Takes a participant that is in no table any more off the media node.
    fn release(&mut self, member: &Member) {
        if self.members.is_empty() {
            self.media(control::Command::CloseRoom { room: self.id });
        } else if member.has_media {
            self.media(control::Command::CloseSession { session: member.session });
        }
    }

    /// Takes a participant out of every table.
    fn forget(&mut self, participant: ParticipantId, now: Instant) -> Option<Member> {
        let member = self.members.remove(&participant)?;
        self.sessions.remove(&member.session);
        for track in &member.tracks {
            self.tracks.remove(&track.id);
        }
        if let Some(connection) = member.connection() {
            self.connections.remove(&connection);
        }
        if self.members.is_empty() {
            self.empty_since = Some(now);
        }
        Some(member)
    }

    /// The last words to a participant that is no longer in the room.
    fn farewell(&mut self, mut member: Member, reason: LeaveReason) {
        match member.pending.take().map(|p| p.asker) {
            Some(Asker::Open(to) | Asker::Restart(to, _)) => self.reply(to, Err(Refusal::Gone)),
            Some(Asker::Sdk { .. }) | None => {}
        }
        let Some(connection) = member.connection() else { return };
        if let Some(sdk) = member.sdk() {
            let ack = sdk.heard;
            let message = sdk.outbox.push(encode(&ServerMessage::Left { reason }));
            self.effects.push(Effect::Send {
                to: connection,
                seq: message.seq,
                ack,
                body: message.body,
            });
        }
        let close = match reason {
            LeaveReason::ProtocolError => Close::Refused,
            _ => Close::Done,
        };
        self.effects.push(Effect::Disconnect { connection, close });
    }

    /// Everybody else's tracks, for one who joins.
    fn tracks_of_others(&self, but: ParticipantId) -> Vec<Track> {
        let others = self.members.iter().filter(|(id, _)| **id != but);
        others
            .flat_map(|(_, member)| member.tracks.iter().map(|t| announced(&member.info, t)))
            .collect()
    }

    fn tell_others(&mut self, but: ParticipantId, message: &ServerMessage) {
        let body = encode(message);
        for (id, member) in &mut self.members {
            if *id != but {
                self.effects.extend(sdk::send(member, Arc::clone(&body)));
            }
        }
    }

    fn tell(&mut self, participant: ParticipantId, message: &ServerMessage) {
        if let Some(member) = self.members.get_mut(&participant) {
            self.effects.extend(sdk::send(member, encode(message)));
        }
    }

    fn media(&mut self, command: control::Command) {
        self.effects.push(Effect::Media(command));
    }

    fn reply(&mut self, to: RequestId, result: Result<Reply, Refusal>) {
        self.effects.push(Effect::Reply { to, result });
    }

    fn draw_bits(&mut self) -> u128 {
        let bytes = (self.draw)();
        bytes[..16].iter().fold(0, |bits, byte| bits << 8 | u128::from(*byte))
    }

    /// A fresh secret and what is kept of it.
    fn draw_secret(&mut self) -> ([u8; 32], SecretHash) {
        let secret = (self.draw)();
        (secret, SecretHash::of(&secret))
    }

    fn refuse_all(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Join { connection, .. } => refusal(connection, sdk::ROOM_GONE),
            Command::Resume { connection, .. } => refusal(connection, RESUME_REFUSED),
            Command::Standard { request, .. } => {
                vec![Effect::Reply { to: request, result: Err(Refusal::Gone) }]
            }
            _ => Vec::new(),
        }
    }
}

fn announced(info: &Participant, track: &member::MemberTrack) -> Track {
    Track {
        id: track.id.to_string(),
        participant: info.id.clone(),
        source: track.source,
        muted: track.muted,
    }
}

fn link_deadline(link: &Link) -> Instant {
    match link {
        Link::Live { heard_at, .. } => *heard_at + limits::DEAD,
        Link::Cut { since } => *since + limits::RESUME,
    }
}
