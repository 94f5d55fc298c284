//! The rules of a room, pure: [`Room::handle`] takes a command and the time and returns effects.
//!
//! No clock, no socket, no store: time and randomness are handed in, so that any history can be
//! replayed. One [`Room`] lives from the creation of a room to its end.
//!
//! ```text
//!  Command ─▶ Room::handle(command, now) ─▶ [Effect]      Room::deadline() ─▶ next Tick
//! ```
//!
//! A stay of somebody who comes by WebSocket (WHIP and WHEP clients never wait):
//!
//! ```text
//!          must wait                  admitted, or no need any more
//!  join ─────────────▶ in the lobby ──────────────────▶ in ──────────▶ gone: left, timeout,
//!    │                      │ denied, left, timeout     ▲              removed, replaced, moved,
//!    │                      └──────────▶ turned away    │              the room or media ended
//!    └──────────────────────────────────────────────────┘
//! ```

mod action;
mod actor;
mod breakout;
mod entry;
mod floor;
mod grants;
mod input;
mod life;
mod lobby;
mod media;
mod member;
mod mute;
mod offer;
mod outbox;
mod record;
mod recording;
mod sdk;
mod seats;
mod shown;
mod standard;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use sdk_spec::{
    event::{RoomEnd, What},
    rest::{RoomParticipant, RoomTrack},
    ws::{LeaveReason, Participant, ServerMessage, Source, Track},
};
use sfu_proto::{
    control,
    id::{ParticipantId, RoomId, SessionId, TrackId},
};

pub(crate) use actor::Actor;
use floor::Floor;
pub(crate) use input::{
    Admission, Ask, Ban, Body, BreakoutRoom, Charter, ClientInput, Close, Command, Commit,
    ConnectionId, Effect, Policy, Proof, RecordingChange, Refusal, Reply, RequestId, Standard, Tag,
};
use life::{Recalled, Whose};
use lobby::Guest;
use member::{Asker, Client, Link, Member, Sdk};
use record::Record;
use recording::Recorder;
use sdk::encode;
pub(crate) use sdk::{
    BEHIND, Fault, INTERNAL, MALFORMED, NO_FIRST_MESSAGE, NO_MEDIA_NODE, NOT_FIRST, RESUME_REFUSED,
    TOKEN_REFUSED, TOO_LARGE, error, fault, refusal,
};
use sdk_spec::room::Kind;
pub(crate) use seats::Seats;

use crate::{limits, secret::SecretHash};

/// Gives 32 fresh random bytes at each call.
pub(crate) type Draw = Box<dyn FnMut() -> [u8; 32] + Send>;

/// A room and everybody in it.
pub(crate) struct Room {
    id: RoomId,
    charter: Charter,
    bans: Vec<Ban>,
    /// Of the project's participants.
    seats: Seats,
    /// The same moment on both clocks: of deadlines, and of the wall in milliseconds since 1970.
    epoch: (Instant, u64),
    /// Those who wait to be let in, in order of arrival.
    lobby: Vec<Guest>,
    members: BTreeMap<ParticipantId, Member>,
    connections: BTreeMap<ConnectionId, ParticipantId>,
    sessions: BTreeMap<SessionId, ParticipantId>,
    tracks: BTreeMap<TrackId, ParticipantId>,
    /// No member and no guest has a deadline before this one.
    people_due: Option<Instant>,
    /// Since when nobody is here; `None` while somebody is.
    empty_since: Option<Instant>,
    /// Since when somebody is here, but nobody who may moderate.
    unattended_since: Option<Instant>,
    floor: Floor,
    /// What is muted at the server for everybody but moderators.
    muted: Vec<Source>,
    spotlight: Vec<ParticipantId>,
    pinned: Vec<TrackId>,
    /// The tracks that follow from both: what everybody sees first.
    first: Vec<TrackId>,
    /// Those that we sent to another room, as what they were here: they may come back as that, past
    /// lock and lobby.
    expected: Vec<Admission>,
    /// When breakout rooms were created, within the last hour.
    creations: VecDeque<Instant>,
    recalled: Option<Recalled>,
    /// Sessions that we closed lately: a last count of their traffic may come.
    departed: VecDeque<(SessionId, ParticipantId)>,
    record: Record,
    recorder: Recorder,
    stale: Stale,
    over: bool,
    requests: u64,
    arrivals: u64,
    draw: Draw,
    effects: Vec<Effect>,
}

/// What changed while a command was handled and is seen to once, at its end.
#[derive(Default)]
struct Stale {
    /// Who waits.
    lobby: bool,
    /// What those who wait wait for: settings, who may moderate, places, who is expected.
    door: bool,
    /// Who may moderate.
    roster: bool,
    /// What [`sdk_spec::ws::RoomInfo`] tells.
    info: bool,
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
        let mut charter = charter;
        if let (Kind::Scheduled, None, Some(starts), Some(seconds)) =
            (charter.kind, charter.ends_at_ms, charter.starts_at_ms, charter.duration_seconds)
        {
            charter.ends_at_ms = Some(starts + u64::from(seconds) * 1000);
        }
        Self {
            id,
            charter,
            bans,
            seats: Seats::default(),
            epoch: (now, now_ms),
            members: BTreeMap::new(),
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            tracks: BTreeMap::new(),
            lobby: Vec::new(),
            people_due: None,
            empty_since: Some(now),
            unattended_since: None,
            floor: Floor::default(),
            muted: Vec::new(),
            spotlight: Vec::new(),
            pinned: Vec::new(),
            first: Vec::new(),
            expected: Vec::new(),
            creations: VecDeque::new(),
            recalled: None,
            departed: VecDeque::new(),
            record: Record::default(),
            recorder: Recorder::default(),
            stale: Stale::default(),
            over: false,
            requests: 0,
            arrivals: 0,
            draw,
            effects: Vec::new(),
        }
    }

    /// The same room, whose participants take their places from these.
    pub(crate) fn with_seats(self, seats: Seats) -> Self {
        Self { seats, ..self }
    }

    /// Participants in the room.
    pub(crate) fn participants(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Takes a command. A commit, if there is one, is the first effect. After [`Effect::Ended`] see
    /// there.
    pub(crate) fn handle(&mut self, command: Command, now: Instant) -> Vec<Effect> {
        if self.over {
            self.on_late(command, now);
        } else {
            let whose = Whose::of(&command);
            self.on_command(command, now);
            self.watch(whose);
        }
        if !self.over {
            self.settle(now);
        }
        self.seal();
        self.settle_tap();
        std::mem::take(&mut self.effects)
    }

    fn on_command(&mut self, command: Command, now: Instant) {
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
            Command::MediaLost => {
                self.lose_recording();
                self.end_all(LeaveReason::ServerError, now);
            }
            Command::MediaMissed => self.on_media_missed(now),
            Command::RoomRefused => self.on_room_refused(now),
            Command::SessionRefused(session) => self.on_session_refused(session, now),
            Command::Close => self.close(RoomEnd::Closed, now),
            Command::Committed(number) => self.on_committed(number),
            Command::Banned(ban) => self.ban(ban, now),
            Command::Unbanned(handle) => self.bans.retain(|ban| ban.handle != handle),
            Command::Ticket { participant, room, token, invited } => {
                self.on_ticket(participant, (room, token), invited, now);
            }
            Command::Recall { parent_ended } => self.on_recall(parent_ended, now),
            Command::BreakoutEnded(room) => self.on_breakout_ended(room, now),
            Command::BreakoutsRefused(rooms) => self.on_breakouts_refused(&rooms, now),
            Command::RecordingsRefused(refused) => self.on_recordings_refused(&refused),
            Command::Renew { connection, admission } => self.on_renew(connection, admission, now),
            Command::RenewRefused { connection } => self.on_renew_refused(connection),
            Command::Policy(policy) => self.on_policy(policy, now),
            Command::RecordingFailed { recording, reason } => {
                self.on_recording_failed(recording, reason);
            }
            Command::RecorderLost => self.on_recorder_lost(),
            Command::Tick => self.on_tick(now),
        }
    }

    /// Sees to what follows from what changed, once for each command.
    fn settle(&mut self, now: Instant) {
        if self.recalled.is_some() && self.members.is_empty() {
            return self.end_recalled(now);
        }
        if self.stale.door || self.stale.roster || self.stale.lobby {
            self.stale.door = !self.open_lobby(now);
        }
        if std::mem::take(&mut self.stale.roster) {
            let is_unattended = !self.members.is_empty() && !self.has_moderator();
            let since = self.unattended_since.unwrap_or(now);
            self.unattended_since = is_unattended.then_some(since);
            self.enforce_moderator_audiences();
        }
        self.settle_shown();
        if std::mem::take(&mut self.stale.info) {
            self.tell_all(&ServerMessage::RoomUpdated { room: self.info() });
        }
        self.tell_floor();
        self.tell_lobby();
    }

    /// Ends a participant, or turns it away, and tells everybody.
    fn end(&mut self, participant: ParticipantId, reason: LeaveReason, now: Instant) {
        if self.turn_away(participant, reason, now) {
            return;
        }
        let reason = self.note_move(participant, reason, now);
        let Some(member) = self.depart(participant, reason, now) else { return };
        self.release(&member);
        for track in &member.tracks {
            let track = track.id.to_string();
            self.tell_others(participant, &ServerMessage::TrackUnpublished { track });
        }
        if !member.hidden() {
            let participant_id = member.info.id.clone();
            let left = ServerMessage::ParticipantLeft { participant: participant_id, reason };
            self.tell_others(participant, &left);
        }
        self.farewell(member, reason);
    }

    /// Takes a participant that is in no table any more off the media node.
    fn release(&mut self, member: &Member) {
        if self.members.is_empty() {
            self.close_media();
        } else if member.has_media {
            self.media(control::Command::CloseSession { session: member.session });
        }
    }

    /// Takes the room off the media node, with everything that it has of it.
    fn close_media(&mut self) {
        self.recorder.untapped();
        self.media(control::Command::CloseRoom { room: self.id });
    }

    /// Takes a participant out of every table, with the events that tell it.
    fn depart(
        &mut self,
        participant: ParticipantId,
        reason: LeaveReason,
        now: Instant,
    ) -> Option<Member> {
        let member = self.members.remove(&participant)?;
        self.recorder.forget(participant);
        self.stale.door = true;
        self.drop_floor(participant, now);
        self.sessions.remove(&member.session);
        for track in &member.tracks {
            self.tracks.remove(&track.id);
            self.happened(offer::unpublished(participant, track), now);
        }
        self.transferred(participant, member.traffic, now);
        self.remember_expected(&member);
        let what = What::ParticipantLeft {
            participant: member.info.id.clone(),
            handle: member.info.handle.clone(),
            reason,
            hidden: member.hidden(),
        };
        self.happened(what, now);
        if let Some(connection) = member.connection() {
            self.connections.remove(&connection);
        }
        if member.has_media {
            if self.departed.len() >= limits::DEPARTED_MAX {
                self.departed.pop_front();
            }
            self.departed.push_back((member.session, participant));
        }
        self.stale.roster |= member.grants.moderate || self.members.is_empty();
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
        self.disconnect(connection, reason);
    }

    fn disconnect(&mut self, connection: ConnectionId, reason: LeaveReason) {
        let close = match reason {
            LeaveReason::ProtocolError => Close::Refused,
            _ => Close::Done,
        };
        self.effects.push(Effect::Disconnect { connection, close });
    }

    /// Participants in order of arrival.
    fn in_order(&self) -> Vec<ParticipantId> {
        let mut ids: Vec<_> = self.members.iter().map(|(id, m)| (m.arrival, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Everybody who is in or waits, as the partner sees them.
    fn listing(&self) -> Vec<RoomParticipant> {
        let ids = self.in_order();
        let inside = ids.iter().filter_map(|id| Some((id, self.members.get(id)?)));
        let inside = inside.map(|(id, member)| RoomParticipant {
            id: member.info.id.clone(),
            handle: member.info.handle.clone(),
            role: member.info.role,
            waiting: false,
            grants: member.grants.clone(),
            muted: self.silenced(member),
            holds_floor: self.floor.holders.contains(id),
            tracks: member.tracks.iter().map(listed).collect(),
        });
        let waiting = self.lobby.iter().map(|guest| RoomParticipant {
            id: guest.id.to_string(),
            handle: guest.who.handle.clone(),
            role: guest.who.role,
            waiting: true,
            grants: guest.who.grants.clone(),
            muted: Vec::new(),
            holds_floor: false,
            tracks: Vec::new(),
        });
        inside.chain(waiting).collect()
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

    fn tell_all(&mut self, message: &ServerMessage) {
        let body = encode(message);
        for member in self.members.values_mut() {
            self.effects.extend(sdk::send(member, Arc::clone(&body)));
        }
    }

    fn tell(&mut self, participant: ParticipantId, message: &ServerMessage) {
        if let Some(sdk) = self.sdk_of(participant) {
            let effect = sdk::send_to(sdk, encode(message));
            self.effects.extend(effect);
        }
    }

    /// The WebSocket side of somebody who is in or waits.
    fn sdk_of(&mut self, participant: ParticipantId) -> Option<&mut Sdk> {
        match self.members.get_mut(&participant) {
            Some(member) => member.sdk(),
            None => {
                let mut guests = self.lobby.iter_mut();
                guests.find(|guest| guest.id == participant).map(|guest| &mut guest.sdk)
            }
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

    /// The room is over. What depends on its commits and the last counts of traffic are still heard.
    fn on_late(&mut self, command: Command, now: Instant) {
        match command {
            Command::Committed(number) => self.on_committed(number),
            Command::BreakoutsRefused(rooms) => self.refuse_created(&rooms),
            Command::RecordingsRefused(refused) => self.refuse_started(&refused),
            Command::Media(control::Event::Traffic { session, received, sent }) => {
                self.on_traffic(session, (received, sent), now);
            }
            Command::Join { connection, .. } => {
                self.effects.extend(refusal(connection, sdk::ROOM_GONE));
            }
            Command::Resume { connection, .. } => {
                self.effects.extend(refusal(connection, RESUME_REFUSED));
            }
            Command::Standard { request, .. } => self.reply(request, Err(Refusal::Gone)),
            _ => {}
        }
    }
}

fn listed(track: &member::MemberTrack) -> RoomTrack {
    RoomTrack { id: track.id.to_string(), source: track.source, muted: track.muted }
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
