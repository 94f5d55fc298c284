//! The rules of a room, in virtual time.
#![allow(clippy::unwrap_used, reason = "tests")]

mod history;
mod model;
mod races;
mod rules;
mod taps;

use std::{collections::BTreeSet, time::Duration};

use sdk_spec::{
    action::{ActionRefusal, ActionResult},
    handle::Handle,
    ws::{Envelope, ErrorCode, Grants, OfferedTrack, Role, RoomInfo},
};
use sfu_proto::{
    control::{Event, SlotState},
    sdp::{self, Answer, AnsweredMedia, Direction, Fingerprint, IceCredentials, Kind, Offer},
};

use super::*;
use crate::{recorder::RecordedText, secret::Capability};

const ALL: [Source; 4] = [Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio];

/// Any moment will do: only differences count.
fn begin() -> Instant {
    Instant::now()
}

fn draw() -> Draw {
    let mut count = 0_u64;
    Box::new(move || {
        count += 1;
        crate::secret::sha256(&count.to_be_bytes())
    })
}

fn admission(handle: &str) -> Admission {
    Admission {
        handle: Handle::parse(handle).unwrap(),
        role: Role::Participant,
        grants: Grants { publish: ALL.to_vec(), subscribe: true, ..Grants::default() },
    }
}

fn offer(sections: &[(&str, Kind, Direction)]) -> Box<Offer> {
    let media = sections.iter().map(|(mid, kind, direction)| sdp::OfferedMedia {
        mid: mid.parse().unwrap(),
        kind: Some(*kind),
        refused_line: String::new(),
        stopped: false,
        direction: *direction,
        formats: Vec::new(),
        extensions: Vec::new(),
        ssrcs: Vec::new(),
        simulcast: Vec::new(),
    });
    Box::new(Offer {
        ice: IceCredentials { ufrag: "abcd".to_owned(), pwd: "p".repeat(22) },
        fingerprint: Fingerprint([1; 32]),
        active: true,
        extmap_allow_mixed: true,
        media: media.collect(),
    })
}

fn answer(offer: &Offer) -> Box<Answer> {
    let media = offer.media.iter().map(|m| AnsweredMedia {
        mid: m.mid.clone(),
        kind: m.kind,
        refused_line: String::new(),
        refused: false,
        direction: Direction::RecvOnly,
        formats: Vec::new(),
        extensions: Vec::new(),
        ssrcs: None,
        msid: None,
        simulcast: Vec::new(),
    });
    Box::new(Answer {
        ice: offer.ice.clone(),
        fingerprint: Fingerprint([2; 32]),
        candidates: Vec::new(),
        cname: "c".to_owned(),
        extmap_allow_mixed: true,
        media: media.collect(),
    })
}

/// A client that believes what it is told, and checks that it can be true.
#[derive(Default)]
struct Mirror {
    me: String,
    ticket: String,
    received: u64,
    sent: u64,
    /// What it acknowledged, and the last message that said that it is recorded.
    acked: u64,
    told: u64,
    participants: BTreeSet<String>,
    tracks: BTreeMap<String, String>,
    errors: Vec<(ErrorCode, bool)>,
    over: bool,
    left: Option<LeaveReason>,
    waits: bool,
    grants: Grants,
    room: Option<RoomInfo>,
    lobby: Vec<String>,
    floor: (Vec<String>, Vec<String>),
    acted: Vec<(u64, Option<ActionResult>, Option<ActionRefusal>)>,
    updated: Vec<Participant>,
    texts: Vec<(String, String)>,
    moves: Vec<(String, String, bool)>,
}

impl Mirror {
    fn hear(&mut self, seq: u64, body: &str) {
        if seq > 0 {
            assert_eq!(seq, self.received + 1, "no gap, no repetition: {body}");
            self.received = seq;
        }
        assert!(!self.over, "nothing after the end: {body}");
        match serde_json::from_str::<ServerMessage>(body).unwrap() {
            ServerMessage::Joined {
                participant,
                participants,
                tracks,
                ticket,
                room,
                grants,
                ..
            } => {
                assert!(self.me.is_empty() || self.me == participant.id, "it stays who it is");
                self.waits = false;
                self.grants = grants;
                if room.recording.is_some() {
                    self.told = seq;
                }
                self.room = Some(room);
                self.me = participant.id;
                self.ticket = ticket;
                self.participants = participants.into_iter().map(|p| p.id).collect();
                self.tracks = tracks.into_iter().map(|t| (t.id, t.participant)).collect();
            }
            ServerMessage::Waiting { participant, ticket, .. } => {
                self.me = participant;
                self.ticket = ticket;
                self.waits = true;
            }
            ServerMessage::Resumed { ticket, .. } => self.ticket = ticket,
            ServerMessage::GrantsChanged { grants, .. } => self.grants = grants,
            ServerMessage::Lobby { waiting } => {
                self.lobby = waiting.into_iter().map(|p| p.id).collect();
            }
            ServerMessage::Floor { holders, requests } => self.floor = (holders, requests),
            ServerMessage::RoomUpdated { room } => self.room = Some(room),
            ServerMessage::Acted { id, result, refused } => self.acted.push((id, result, refused)),
            ServerMessage::ParticipantUpdated { participant } => self.updated.push(participant),
            ServerMessage::Recording { recording } => {
                self.told = recording.as_ref().map_or(self.told, |_| seq);
                self.room.as_mut().unwrap().recording = recording;
            }
            ServerMessage::Data { from, body } => self.texts.push((from, body)),
            ServerMessage::Move { room, token, invited } => self.moves.push((room, token, invited)),
            ServerMessage::ParticipantJoined { participant } => {
                assert_ne!(participant.id, self.me);
                assert!(self.participants.insert(participant.id), "joined twice");
            }
            ServerMessage::ParticipantLeft { participant, .. } => {
                assert!(self.participants.remove(&participant), "left, never joined");
                assert!(self.tracks.values().all(|p| *p != participant), "tracks end first");
            }
            ServerMessage::TrackPublished { track } => {
                assert!(self.participants.contains(&track.participant));
                assert!(self.tracks.insert(track.id, track.participant).is_none());
            }
            ServerMessage::TrackUnpublished { track } => {
                assert!(self.tracks.remove(&track).is_some(), "ended, never published");
            }
            ServerMessage::TrackMuted { track, .. } => assert!(self.tracks.contains_key(&track)),
            ServerMessage::Error { error, fatal, .. } => self.errors.push((error.code, fatal)),
            ServerMessage::Left { reason } => {
                self.over = true;
                self.left = Some(reason);
            }
            _ => {}
        }
    }
}

/// A room with its clients and its media node, as a test sees them.
struct Scene {
    room: Room,
    now: Instant,
    clients: BTreeMap<ConnectionId, Mirror>,
    /// Sessions whose sockets were closed by us or cut by a test.
    cut: Vec<Mirror>,
    connections: u64,
    sessions: BTreeSet<SessionId>,
    room_open: bool,
    offers: Vec<(SessionId, u64, Box<Offer>)>,
    /// Everything that the media node was told.
    commands: Vec<control::Command>,
    replies: Vec<Result<Reply, Refusal>>,
    /// What lasts, in order.
    commits: Vec<Commit>,
    transfers: Vec<Transferred>,
    recalls: Vec<(Vec<RoomId>, bool)>,
    /// Breakouts in which somebody was banned along.
    banned_in: Vec<Vec<RoomId>>,
    /// Clients whose socket we closed.
    turned_off: Vec<Mirror>,
    /// What was told to the room, when, and what it gave.
    history: Vec<(Command, Instant, Vec<String>)>,
    /// Whether commits are stored at once.
    stores: bool,
    /// Number of the last commit that is stored.
    stored: u64,
    /// What the room is told of its project; none: nothing yet.
    policy: Option<Policy>,
    /// How often it asked for that and was not told.
    unanswered: u32,
    /// What the recorder is given.
    tap: Option<control::Tap>,
    /// Texts that the recorder was given.
    recorded: Vec<RecordedText>,
    /// Whether clients acknowledge at once that they are recorded, as they should.
    is_attentive: bool,
    ended: bool,
}

/// An effect as a text, to compare.
fn describe(effect: &Effect) -> String {
    match effect {
        Effect::Send { to, seq, ack, body } => format!("{to:?} {seq} {ack} {body}"),
        Effect::Disconnect { connection, close } => format!("{connection:?} {close:?}"),
        Effect::Media(command) => format!("{command:?}"),
        Effect::Reply { to, result } => format!("{to:?} {}", result.is_ok()),
        Effect::Text(text) => {
            let RecordedText { recording, from, to, body } = &**text;
            format!("{recording} {from} {to:?} {body}")
        }
        Effect::Commit(commit) => {
            let events = serde_json::to_string(&commit.events).unwrap();
            let recordings: Vec<_> = commit.recordings.iter().map(described).collect();
            let Commit { number, audits, ended, .. } = &**commit;
            format!("{number} {events} {audits:?} {recordings:?} {ended}")
        }
        Effect::Transfer { participants, room, invited } => {
            let ids: Vec<_> = participants.iter().map(|(id, _)| *id).collect();
            format!("{ids:?} {room} {invited}")
        }
        Effect::FindPolicy => "find policy".to_owned(),
        Effect::Ban { rooms, ban } => format!("{rooms:?} {}", ban.handle.as_str()),
        Effect::Recall { rooms, parent_ended } => format!("{rooms:?} {parent_ended}"),
        Effect::Ended => "ended".to_owned(),
    }
}

fn described(change: &RecordingChange) -> String {
    match change {
        RecordingChange::Started { id, rule } => format!("started {id} {rule:?}"),
        RecordingChange::Paused(id) => format!("paused {id}"),
        RecordingChange::Resumed(id) => format!("resumed {id}"),
        RecordingChange::Stopped { id, reason } => format!("stopped {id} {reason:?}"),
    }
}

/// Who was to be sent where, and whether only invited.
type Transferred = (Vec<ParticipantId>, RoomId, bool);

impl Scene {
    fn new(participants_max: u32) -> Self {
        let now = Instant::now();
        let settings = sdk_spec::room::RoomSettings {
            participants_max: Some(participants_max),
            empty_timeout_seconds: Some(60),
            ..sdk_spec::room::RoomSettings::default()
        };
        Self::of(Charter::new(sdk_spec::room::Kind::AdHoc, &settings), now)
    }

    fn of(charter: Charter, now: Instant) -> Self {
        Self {
            room: Room::new(RoomId::from_bits(1), charter, Vec::new(), draw(), (now, 1_000_000)),
            now,
            clients: BTreeMap::new(),
            cut: Vec::new(),
            connections: 0,
            sessions: BTreeSet::new(),
            room_open: false,
            offers: Vec::new(),
            commands: Vec::new(),
            replies: Vec::new(),
            commits: Vec::new(),
            transfers: Vec::new(),
            recalls: Vec::new(),
            banned_in: Vec::new(),
            turned_off: Vec::new(),
            history: Vec::new(),
            stores: true,
            stored: 0,
            policy: Some(Policy::Missing),
            unanswered: 0,
            tap: None,
            recorded: Vec::new(),
            is_attentive: true,
            ended: false,
        }
    }

    fn apply(&mut self, command: Command) {
        self.carry_out(command);
        if self.stores && self.commits.len() as u64 > self.stored {
            self.store();
        }
        self.attend();
    }

    /// Who was told of a recording acknowledges it.
    fn attend(&mut self) {
        let owes = |client: &Mirror| client.told > client.acked && !client.over;
        let debtor = self.clients.iter().find(|(_, client)| owes(client)).map(|(id, _)| *id);
        if let Some(client) = debtor.filter(|_| self.is_attentive) {
            self.say(client, Body::Ping);
        }
    }

    /// Everything is stored.
    fn store(&mut self) {
        self.carry_out(Command::Committed(self.commits.len() as u64));
    }

    fn carry_out(&mut self, command: Command) {
        if let Command::Committed(number) = command {
            self.stored = number;
        }
        let effects = self.room.handle(command.clone(), self.now);
        let mut asks = 0;
        self.history.push((command, self.now, effects.iter().map(describe).collect()));
        for effect in effects {
            match effect {
                Effect::Send { to, seq, body, .. } => {
                    if let Some(client) = self.clients.get_mut(&to) {
                        client.hear(seq, &body);
                    }
                }
                Effect::Disconnect { connection, .. } => {
                    let client = self.clients.remove(&connection).expect("was connected");
                    if client.over || client.me.is_empty() {
                        self.turned_off.push(client);
                    } else {
                        self.cut.push(client);
                    }
                }
                Effect::Media(command) => self.on_command(command),
                Effect::Text(text) => self.recorded.push(*text),
                Effect::Reply { result, .. } => self.replies.push(result),
                Effect::Commit(commit) => {
                    assert_eq!(commit.number, self.commits.len() as u64 + 1, "counts from 1");
                    self.commits.push(*commit);
                }
                Effect::Transfer { participants, room, invited } => {
                    let ids = participants.into_iter().map(|(id, _)| id).collect();
                    self.transfers.push((ids, room, invited));
                }
                Effect::FindPolicy => asks += 1,
                Effect::Ban { rooms, .. } => self.banned_in.push(rooms),
                Effect::Recall { rooms, parent_ended } => self.recalls.push((rooms, parent_ended)),
                Effect::Ended => self.ended = true,
            }
        }
        self.check();
        self.unanswered += asks;
        while self.unanswered > 0
            && let Some(policy) = self.policy.clone()
        {
            self.unanswered -= 1;
            self.carry_out(Command::Policy(policy));
        }
    }

    /// What the media node was told makes sense.
    fn on_command(&mut self, command: control::Command) {
        self.commands.push(command.clone());
        match command {
            control::Command::OpenRoom { .. } => {
                assert!(!self.room_open, "opened twice");
                self.room_open = true;
            }
            control::Command::CloseRoom { .. } => {
                assert!(self.room_open);
                self.sessions.clear();
                self.room_open = false;
                self.tap = None;
            }
            control::Command::OpenSession { session, .. } => {
                assert!(self.room_open && self.sessions.insert(session));
            }
            control::Command::CloseSession { session } => {
                assert!(self.sessions.remove(&session));
                self.offers.retain(|(s, ..)| *s != session);
            }
            control::Command::Offer { session, request, offer, publish } => {
                assert!(self.sessions.contains(&session));
                let sources: BTreeSet<_> = publish.iter().map(|p| p.source as u8).collect();
                assert_eq!(sources.len(), publish.len(), "a source twice");
                self.offers.push((session, request, offer));
            }
            control::Command::Want { session, .. }
            | control::Command::SetPermissions { session, .. } => {
                assert!(self.sessions.contains(&session));
            }
            control::Command::Sync { sessions } => {
                assert!(sessions.into_iter().collect::<BTreeSet<_>>() == self.sessions);
            }
            control::Command::SetTap { tap, .. } => {
                assert!(self.room_open);
                self.check_told(tap.as_ref());
                let reason = control::EndReason::Internal;
                let is_lost = |command: &Command| matches!(command, Command::Media(Event::SessionEnded { reason: r, .. }) if *r == reason);
                let may_repeat = self.history.last().is_some_and(|last| is_lost(&last.0));
                assert!(may_repeat || self.tap != tap, "told twice");
                self.tap = tap;
            }
            control::Command::SetMuted { .. } | control::Command::SetAudience { .. } => {}
        }
    }

    /// Whoever is connected knows of a recording, and it is stored, before the recorder is given
    /// anything of it.
    fn check_told(&self, tap: Option<&control::Tap>) {
        let Some(tap) = tap else { return };
        let stored = self.commits.iter().filter(|commit| commit.number <= self.stored);
        let started = stored.flat_map(|commit| &commit.recordings).any(
            |change| matches!(change, RecordingChange::Started { id, .. } if *id == tap.recording),
        );
        assert!(started, "tapped before it is stored");
        let inside = self.clients.values().filter(|c| !c.waits && !c.me.is_empty() && !c.over);
        for client in inside {
            let told = client.room.as_ref().unwrap().recording.as_ref().expect("told");
            assert!(told.id == tap.recording.to_string());
            assert!(!told.paused || tap.tracks.is_empty(), "nothing while it is paused");
        }
    }

    /// The tables of the room agree with each other and with the clients.
    fn check(&self) {
        let room = &self.room;
        assert_eq!(room.sessions.len(), room.members.len());
        let with_media = room.members.values().filter(|m| m.has_media).map(|m| m.session);
        assert_eq!(self.sessions, with_media.collect());
        assert_eq!(room.empty_since.is_some(), room.members.is_empty());
        let due = room.people_due_now();
        assert!(room.over || due.is_none_or(|due| room.people_due.is_some_and(|at| at <= due)));
        assert_eq!(self.room_open, !room.members.is_empty());
        let tracks: usize = room.members.values().map(|m| m.tracks.len()).sum();
        assert_eq!(tracks, room.tracks.len());
        if let Some(tap) = &self.tap {
            assert!(tap.tracks.iter().all(|track| room.tracks.contains_key(track)));
            assert!(Some(tap.recording) == room.recording());
        }
        for (connection, id) in &room.connections {
            let inside = room.members.get(id).and_then(Member::connection);
            let waiting = room.guest(*id).and_then(|guest| guest.sdk.connection());
            assert_eq!(inside.or(waiting), Some(*connection));
        }
        for (connection, client) in &self.clients {
            if client.me.is_empty() || room.over || !room.connections.contains_key(connection) {
                continue;
            }
            if room.lobby.iter().any(|guest| guest.id.to_string() == client.me) {
                assert!(client.participants.is_empty() && client.tracks.is_empty());
                continue;
            }
            let others: BTreeSet<String> = room
                .members
                .values()
                .filter(|m| !m.hidden() && m.info.id != client.me)
                .map(|m| m.info.id.clone())
                .collect();
            assert_eq!(client.participants, others, "a client knows everybody else");
            // One that came by a ticket of somebody else has no picture of its own.
            if let Some(known) = &client.room {
                assert_eq!(known.recording, room.recording_info(), "and what is recorded");
            }
            let theirs: BTreeSet<String> = room
                .members
                .values()
                .filter(|m| m.info.id != client.me)
                .flat_map(|m| m.tracks.iter().map(|t| t.id.to_string()))
                .collect();
            assert_eq!(client.tracks.keys().cloned().collect::<BTreeSet<_>>(), theirs);
        }
    }

    fn connect(&mut self, mirror: Mirror) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        self.clients.insert(connection, mirror);
        connection
    }

    fn join(&mut self) -> ConnectionId {
        let connection = self.connect(Mirror::default());
        let admission = admission(&format!("user-{}", connection.0));
        self.apply(Command::Join { connection, admission });
        connection
    }

    fn detach(&mut self, connection: ConnectionId) {
        if let Some(client) = self.clients.remove(&connection) {
            self.cut.push(client);
            self.apply(Command::Detach { connection });
        }
    }

    fn resume(&mut self, mirror: Mirror) -> ConnectionId {
        let ticket = Capability::parse(&mirror.ticket).unwrap();
        let received = mirror.received;
        let connection = self.connect(Mirror { acked: received, ..mirror });
        let proof = Proof { participant: ticket.participant, secret: ticket.secret };
        self.apply(Command::Resume { connection, proof, received });
        connection
    }

    fn say(&mut self, connection: ConnectionId, body: Body) {
        let Some(client) = self.clients.get_mut(&connection) else { return };
        client.sent += 1;
        client.acked = client.received;
        let input = ClientInput { seq: client.sent, ack: client.received, body };
        self.apply(Command::Client { connection, input });
    }

    fn publish(&mut self, connection: ConnectionId, sources: &[Source]) {
        let tracks: Vec<_> = sources
            .iter()
            .enumerate()
            .map(|(i, s)| OfferedTrack { mid: i.to_string(), source: *s, muted: false })
            .collect();
        let mids: Vec<_> = (0..sources.len()).map(|i| i.to_string()).collect();
        let sections: Vec<_> = sources
            .iter()
            .zip(&mids)
            .map(|(s, mid)| (mid.as_str(), offer::source(*s).kind(), Direction::SendOnly))
            .collect();
        let sdp = Ok(offer(&sections));
        self.say(connection, Body::Offer { id: 1, sdp, tracks });
    }

    fn answer(&mut self) {
        if let Some((session, request, offer)) = self.offers.pop() {
            let answer = answer(&offer);
            self.apply(Command::Media(Event::Answered { session, request, answer }));
        }
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(deadline) = self.room.deadline().filter(|d| *d <= end) {
            self.now = self.now.max(deadline);
            let is_attentive = std::mem::take(&mut self.is_attentive);
            self.apply(Command::Tick);
            assert!(self.room.over || self.room.people_due == self.room.people_due_now());
            assert!(
                self.room.deadline().is_none_or(|d| d > self.now),
                "a tick settles what is due"
            );
            self.is_attentive = is_attentive;
            self.attend();
        }
        self.now = end;
    }
}

#[test]
fn silence_cuts_after_15_s_and_ends_after_30_more() {
    let mut scene = Scene::new(10);
    let quiet = scene.join();
    let other = scene.join();
    for _ in 0..14 {
        scene.wait(1);
        scene.say(other, Body::Ping);
    }
    assert!(scene.clients.contains_key(&quiet));
    for _ in 0..2 {
        scene.wait(1);
        scene.say(other, Body::Ping);
    }
    assert!(!scene.clients.contains_key(&quiet) && scene.room.participants() == 2);
    for _ in 0..30 {
        scene.wait(1);
        scene.say(other, Body::Ping);
    }
    assert_eq!(scene.room.participants(), 1);
    assert!(scene.clients[&other].participants.is_empty());
}

#[test]
fn an_empty_room_ends_and_refuses_what_comes_later() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    scene.wait(10);
    scene.say(client, Body::Leave);
    scene.wait(59);
    assert!(!scene.ended);
    scene.wait(1);
    assert!(scene.ended);
    assert_eq!(scene.room.deadline(), None);
    let late = scene.join();
    assert!(!scene.clients.contains_key(&late) && scene.room.participants() == 0);
}

#[test]
fn a_resume_needs_the_newest_ticket_and_nothing_lost() {
    let mut scene = Scene::new(10);
    let first = scene.join();
    scene.join();
    scene.detach(first);
    let mirror = scene.cut.pop().unwrap();
    let old = Mirror { ticket: mirror.ticket.clone(), ..Mirror::default() };
    let back = scene.resume(mirror);
    assert!(scene.clients.contains_key(&back));
    scene.say(back, Body::Ping);
    let thief = scene.resume(old);
    assert!(!scene.clients.contains_key(&thief), "a ticket is for one use");
    scene.detach(back);
    let mut mirror = scene.cut.pop().unwrap();
    mirror.received += 100;
    let liar = scene.resume(mirror);
    assert!(!scene.clients.contains_key(&liar), "it cannot have received that");
}

#[test]
fn the_ticket_before_is_good_until_the_new_connection_is_heard() {
    for says_ping in [false, true] {
        let mut scene = Scene::new(10);
        let first = scene.join();
        scene.detach(first);
        let mirror = scene.cut.pop().unwrap();
        let old = Mirror { ticket: mirror.ticket.clone(), ..Mirror::default() };
        let old = Mirror { received: mirror.received, ..old };
        let back = scene.resume(mirror);
        if says_ping {
            let input = ClientInput { seq: 0, ack: 0, body: Body::Ping };
            scene.apply(Command::Client { connection: back, input });
        }
        let again = scene.resume(old);
        assert_eq!(scene.clients.contains_key(&again), !says_ping);
    }
}

#[test]
fn an_offer_above_the_capacity_is_told_as_such() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    scene.publish(client, &[Source::Camera]);
    let (session, request, _) = scene.offers.pop().unwrap();
    let reason = sdp::Refusal::NoCapacity;
    scene.apply(Command::Media(Event::OfferRefused { session, request, reason }));
    assert_eq!(scene.clients[&client].errors, [(ErrorCode::NoCapacity, false)]);
}

#[test]
fn a_late_answer_is_ignored_and_a_lost_one_is_told() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    scene.publish(client, &[Source::Camera]);
    scene.wait(5);
    assert_eq!(scene.clients[&client].errors, [(ErrorCode::Internal, false)]);
    scene.answer();
    assert!(scene.room.tracks.is_empty());
    scene.publish(client, &[Source::Camera]);
    scene.apply(Command::MediaMissed);
    assert_eq!(scene.clients[&client].errors.len(), 2);
}

#[test]
fn a_client_without_media_has_no_session_on_the_media_node() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    assert!(scene.room_open && scene.sessions.is_empty());
    scene.say(client, Body::Want { tracks: Vec::new() });
    assert!(scene.sessions.is_empty());
    scene.publish(client, &[Source::Camera]);
    assert_eq!(scene.sessions.len(), 1);
}

#[test]
fn sections_that_are_answered_otherwise_are_not_published() {
    let mut scene = Scene::new(10);
    let client = scene.join();
    scene.publish(client, &[Source::Camera, Source::Microphone]);
    let (session, request, offer) = scene.offers.pop().unwrap();
    let mut answer = answer(&offer);
    answer.media[0].refused = true;
    scene.apply(Command::Media(Event::Answered { session, request, answer }));
    let published: Vec<_> =
        scene.room.members.values().flat_map(|m| m.tracks.iter().map(|t| t.source)).collect();
    assert_eq!(published, [Source::Microphone]);
}

#[test]
fn the_encoded_message_is_the_envelope_of_the_contract() {
    let body = encode(&ServerMessage::TrackMuted { track: "tr_x".to_owned(), muted: true });
    let text = format!("{{\"seq\":3,\"ack\":4,{}", &body[1..]);
    let envelope: Envelope<ServerMessage> = serde_json::from_str(&text).unwrap();
    assert_eq!((envelope.seq, envelope.ack), (3, 4));
    assert!(envelope.message == serde_json::from_str(&body).unwrap());
    let pong = encode(&ServerMessage::Pong {});
    assert!(serde_json::from_str::<ServerMessage>(&pong).is_ok() && pong.len() > 2);
}
