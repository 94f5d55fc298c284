//! The recording of a room: when it begins and ends, and which tracks the recorder is given.
//!
//! ```text
//!  asked for, or by rule ─▶ policy looked up ─▶ told to everybody and stored ─▶ tapped ⇄ paused
//!                                └▶ refused                   over: untapped, then told and stored
//! ```
//!
//! The tap only ever holds what may be recorded at this moment: what may not any more leaves it with
//! the command that says so. What comes in waits until the commit that allows it is stored.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use sdk_spec::{
    action::{Action, ActionRefusal, ActionResult},
    event::What,
    limits::{RECORDING_EMPTY_SECONDS, RECORDING_SECONDS_MAX, RECORDINGS_PER_HOUR_MAX},
    recording::{RecordingInfo, RecordingRule, StopReason},
    ws::ServerMessage,
};
use sfu_proto::{
    control::{self, Tap},
    id::{ParticipantId, RecordingId, TrackId},
};

use super::{
    Actor, Client, Effect, Policy, RecordingChange, Room, error,
    member::{Member, MemberTrack},
    mute::ALL,
    record::Asked,
};

const HOUR: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(RECORDING_SECONDS_MAX as u64);
const EMPTY: Duration = Duration::from_secs(RECORDING_EMPTY_SECONDS as u64);

/// What a room knows of its recordings.
#[derive(Default)]
pub(super) struct Recorder {
    live: Option<Live>,
    /// Waits for the policy.
    start: Option<Start>,
    /// When recordings were asked for, within the last hour.
    asked: VecDeque<Instant>,
    /// What the media node was told.
    told: Option<(RecordingId, BTreeSet<TrackId>)>,
    /// It may have forgotten that.
    must_repeat: bool,
    /// Tracks that are to be recorded once this commit is stored.
    due: BTreeMap<TrackId, u64>,
    /// Participants whose texts are to be recorded once this commit is stored.
    writers: BTreeMap<ParticipantId, u64>,
}

/// A recording that runs, or is paused.
struct Live {
    id: RecordingId,
    rule: RecordingRule,
    is_paused: bool,
    began: Instant,
    /// The commit that stores it.
    number: u64,
    /// Those who did not acknowledge yet that it runs, with the number of the message that says so.
    unaware: BTreeMap<ParticipantId, u64>,
}

/// A wish to record.
struct Start {
    actor: Actor,
    rule: RecordingRule,
    /// Who waits for the answer; nobody if it is the room's rule.
    asked: Option<Asked>,
}

impl Recorder {
    /// The media node has nothing of the room any more.
    pub(super) fn untapped(&mut self) {
        self.told = None;
    }

    /// Part of the media node may have started over: it is told again.
    pub(super) fn repeat_tap(&mut self) {
        self.must_repeat = self.told.is_some();
    }

    /// Somebody is gone.
    pub(super) fn forget(&mut self, id: ParticipantId) {
        if let Some(live) = &mut self.live {
            live.unaware.remove(&id);
        }
    }
}

impl Live {
    fn info(&self) -> RecordingInfo {
        RecordingInfo {
            id: self.id.to_string(),
            paused: self.is_paused,
            consent: self.rule.consent.unwrap_or_default(),
            sources: ALL.into_iter().filter(|source| self.names(*source)).collect(),
            data: self.rule.data.unwrap_or_default(),
        }
    }

    fn names(&self, source: sdk_spec::ws::Source) -> bool {
        self.rule.sources.is_empty() || self.rule.sources.contains(&source)
    }

    /// Whether tracks and texts of somebody may be recorded now.
    fn takes(&self, id: &ParticipantId, member: &Member) -> bool {
        let has_role = self.rule.roles.is_empty() || self.rule.roles.contains(&member.info.role);
        let may = member.consents || !self.rule.consent.unwrap_or_default();
        let is_told = match &member.client {
            Client::Sdk(_) => !self.unaware.contains_key(id),
            Client::Standard(_) => self.rule.untold.unwrap_or_default(),
        };
        has_role && may && is_told && !member.hidden()
    }
}

/// Whether an action is about the recording: the grant to record allows it, not that to moderate.
pub(super) fn is_about_recording(action: &Action) -> bool {
    use Action as A;
    matches!(
        action,
        A::StartRecording { .. }
            | A::PauseRecording {}
            | A::ResumeRecording {}
            | A::StopRecording {}
    )
}

/// Whether an action ends what is recorded, or stops it for a time. The tap obeys at once, whatever
/// becomes of the store.
pub(super) fn takes_less(action: &Action) -> bool {
    matches!(action, Action::PauseRecording {} | Action::StopRecording {})
}

/// Whether what cannot be recorded now may be soon.
fn may_pass(why: ActionRefusal) -> bool {
    use ActionRefusal as R;
    matches!(why, R::Unavailable | R::QuotaExceeded | R::RecorderFull)
}

impl Room {
    pub(super) fn recording_info(&self) -> Option<RecordingInfo> {
        self.recorder.live.as_ref().map(Live::info)
    }

    /// The recording that runs, or is paused.
    pub(crate) fn recording(&self) -> Option<RecordingId> {
        self.recorder.live.as_ref().map(|live| live.id)
    }

    /// Asks for a recording; it is answered when the policy is known.
    pub(super) fn want_recording(
        &mut self,
        to: Asked,
        actor: Actor,
        rule: Option<RecordingRule>,
        now: Instant,
    ) -> Result<(), ActionRefusal> {
        if rule.is_some() && matches!(actor, Actor::Client(_)) {
            return Err(ActionRefusal::NotPermitted);
        }
        let rule = rule.unwrap_or_default();
        rule.check("rule").map_err(|_| ActionRefusal::OutOfRange)?;
        let is_asked = self.recorder.start.as_ref().is_some_and(|start| start.asked.is_some());
        if self.recorder.live.is_some() || is_asked {
            return Err(ActionRefusal::WrongState);
        }
        let is_old = |at: &mut Instant| now.saturating_duration_since(*at) >= HOUR;
        while self.recorder.asked.pop_front_if(is_old).is_some() {}
        if self.recorder.asked.len() >= RECORDINGS_PER_HOUR_MAX {
            return Err(ActionRefusal::OutOfRange);
        }
        self.recorder.asked.push_back(now);
        self.recorder.start = Some(Start { actor, rule, asked: Some(to) });
        self.effects.push(Effect::FindPolicy);
        Ok(())
    }

    /// The first participant comes in: the room's rule or the policy may want it recorded.
    pub(super) fn record_by_rule(&mut self) {
        if self.recorder.live.is_none() && self.recorder.start.is_none() {
            let rule = RecordingRule::default();
            self.recorder.start = Some(Start { actor: Actor::System, rule, asked: None });
            self.effects.push(Effect::FindPolicy);
        }
    }

    /// The policy that was looked up.
    pub(super) fn on_policy(&mut self, policy: Policy, now: Instant) {
        let Some(start) = self.recorder.start.take() else { return };
        let asked = start.asked;
        match (asked, self.start_recording(start, policy, now)) {
            (Some(to), started) => {
                let result = started.map(|id| ActionResult {
                    version: self.charter.version,
                    participants: self.participants(),
                    breakouts: Vec::new(),
                    recording: Some(id.to_string()),
                });
                self.answer(to, result);
            }
            // Whoever looks it up paused before saying so.
            (None, Err(why)) if may_pass(why) => self.record_by_rule(),
            (None, _) => {}
        }
    }

    fn start_recording(
        &mut self,
        start: Start,
        policy: Policy,
        now: Instant,
    ) -> Result<RecordingId, ActionRefusal> {
        let is_by_rule = start.asked.is_none();
        if is_by_rule && self.members.is_empty() || self.recorder.live.is_some() {
            return Err(ActionRefusal::WrongState);
        }
        // What nobody asks for is bounded by those who come.
        if !is_by_rule && self.record.is_behind() {
            return Err(ActionRefusal::Unavailable);
        }
        let (policy, full) = match policy {
            Policy::Rule(rule) => (rule, None),
            Policy::Full(rule, why) => (rule, Some(why)),
            Policy::Missing => return Err(ActionRefusal::NotConfigured),
            Policy::Unavailable => return Err(ActionRefusal::Unavailable),
        };
        let of_room = self.charter.settings.recording.clone().unwrap_or_default();
        let rule = policy.with(&of_room).with(&start.rule);
        if is_by_rule && rule.auto != Some(true) {
            return Err(ActionRefusal::WrongState);
        }
        if rule.target.is_none() {
            return Err(ActionRefusal::NotConfigured);
        }
        if let Some(why) = full {
            return Err(why);
        }
        let id = RecordingId::from_bits(self.draw_bits());
        let number = self.record.next();
        let change = RecordingChange::Started { id, rule: rule.clone() };
        self.record.commit.recordings.push(change);
        self.audit(&start.actor, "recording.start", id);
        let unaware = BTreeMap::new();
        let live = Live { id, rule, is_paused: false, began: now, number, unaware };
        self.recorder.live = Some(live);
        self.tell_recording();
        self.all_must_hear_of_recording();
        Ok(id)
    }

    /// Whether this is the recording that runs, or is paused.
    pub(super) fn records(&self, recording: RecordingId) -> bool {
        self.recording() == Some(recording)
    }

    /// Pauses, resumes or stops it.
    pub(super) fn act_on_recording(
        &mut self,
        actor: &Actor,
        action: &Action,
    ) -> Result<u32, ActionRefusal> {
        let count = self.participants();
        let live = self.recorder.live.as_mut().ok_or(ActionRefusal::WrongState)?;
        let id = live.id;
        let (what, change) = match action {
            Action::StopRecording {} => {
                self.stop_recording(actor, StopReason::Requested);
                return Ok(count);
            }
            Action::PauseRecording {} if !live.is_paused => {
                live.is_paused = true;
                ("recording.pause", RecordingChange::Paused(id))
            }
            Action::ResumeRecording {} if live.is_paused => {
                live.is_paused = false;
                ("recording.resume", RecordingChange::Resumed(id))
            }
            _ => return Err(ActionRefusal::WrongState),
        };
        self.record.commit.recordings.push(change);
        self.audit(actor, what, id);
        if what == "recording.pause" {
            self.tap(|_| false);
        }
        self.tell_recording();
        self.all_must_hear_of_recording();
        Ok(count)
    }

    /// Ends what is recorded, and tells it: the tap first.
    pub(super) fn stop_recording(&mut self, actor: &Actor, reason: StopReason) {
        let Some(live) = self.recorder.live.take() else { return };
        let id = live.id;
        self.record.commit.recordings.push(RecordingChange::Stopped { id, reason });
        self.audit(actor, "recording.stop", id);
        self.tap(|_| false);
        self.tell_recording();
    }

    /// The room is over: so is what is recorded, and what was asked for.
    pub(super) fn end_recording(&mut self) {
        self.stop_recording(&Actor::System, StopReason::RoomEnded);
        if let Some(to) = self.recorder.start.take().and_then(|start| start.asked) {
            self.answer(to, Err(ActionRefusal::WrongState));
        }
    }

    /// The media node is gone with everything on it.
    pub(super) fn lose_recording(&mut self) {
        self.recorder.untapped();
        self.stop_recording(&Actor::System, StopReason::NodeLost);
    }

    /// The recorder cannot go on with a recording.
    pub(super) fn on_recording_failed(&mut self, recording: RecordingId, reason: StopReason) {
        if self.records(recording) {
            self.stop_recording(&Actor::System, reason);
        }
    }

    /// Nobody records any more, and nobody is to believe otherwise. What was recorded is delivered when the
    /// recorder is back; what is recorded by rule begins again then.
    pub(super) fn on_recorder_lost(&mut self) {
        if self.recorder.live.is_some() {
            self.stop_recording(&Actor::System, StopReason::RecorderFailed);
            self.record_by_rule();
        }
    }

    /// The store did not begin recordings: the policy was emptied meanwhile, or others took the last
    /// place. There is neither row nor event of them.
    pub(super) fn on_recordings_refused(&mut self, refused: &[(RecordingId, ActionRefusal)]) {
        self.refuse_started(refused);
        let of_live = |live: &Live| refused.iter().find(|(id, _)| *id == live.id).map(|r| r.1);
        let Some(why) = self.recorder.live.as_ref().and_then(of_live) else { return };
        self.recorder.live = None;
        self.tap(|_| false);
        self.tell_recording();
        if may_pass(why) {
            self.record_by_rule();
        }
    }

    fn tell_recording(&mut self) {
        let recording = self.recording_info();
        self.tell_all(&ServerMessage::Recording { recording });
    }

    /// Nothing more is recorded of anybody who did not acknowledge what was just told.
    fn all_must_hear_of_recording(&mut self) {
        let Some(live) = &mut self.recorder.live else { return };
        let told = |(id, member): (&ParticipantId, &Member)| match &member.client {
            Client::Sdk(sdk) => Some((*id, sdk.outbox.last())),
            Client::Standard(_) => None,
        };
        live.unaware = self.members.iter().filter_map(told).collect();
    }

    /// Somebody is told by what it was sent last that it is recorded: nothing is, before it
    /// acknowledges that.
    pub(super) fn must_hear_of_recording(&mut self, id: ParticipantId) {
        let Some(live) = &mut self.recorder.live else { return };
        if let Some(Client::Sdk(sdk)) = self.members.get(&id).map(|member| &member.client) {
            live.unaware.insert(id, sdk.outbox.last());
        }
    }

    /// Somebody acknowledged messages: maybe the one that tells of the recording.
    pub(super) fn heard_of_recording(&mut self, id: ParticipantId) {
        let Some(live) = &mut self.recorder.live else { return };
        let Some(Client::Sdk(sdk)) = self.members.get(&id).map(|member| &member.client) else {
            return;
        };
        if live.unaware.get(&id).is_some_and(|number| sdk.outbox.acked() >= *number) {
            live.unaware.remove(&id);
        }
    }

    /// Somebody consents, or takes that back: then it leaves the tap with this command, whatever
    /// becomes of the store.
    pub(super) fn on_consent(&mut self, id: ParticipantId, granted: bool, now: Instant) {
        let is_behind = self.record.is_behind();
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.consents == granted {
            return;
        }
        if granted && is_behind {
            return self.tell(id, &error(super::BEHIND, None, false));
        }
        member.consents = granted;
        let (participant, handle) = (member.info.id.clone(), member.info.handle.clone());
        self.happened(What::ConsentChanged { participant, handle, granted }, now);
    }

    fn empty_recording_due(&self) -> Option<Instant> {
        let live = self.recorder.live.as_ref()?;
        self.empty_since.map(|since| since.max(live.began) + EMPTY)
    }

    pub(super) fn recording_due(&self) -> Option<Instant> {
        let longest = self.recorder.live.as_ref().map(|live| live.began + LONGEST);
        [longest, self.empty_recording_due()].into_iter().flatten().min()
    }

    pub(super) fn end_due_recording(&mut self, now: Instant) {
        if self.recording_due().is_none_or(|at| at > now) {
            return;
        }
        if self.empty_recording_due().is_some_and(|at| at <= now) {
            return self.stop_recording(&Actor::System, StopReason::Empty);
        }
        self.stop_recording(&Actor::System, StopReason::Duration);
        self.record_by_rule();
    }

    /// What is to be recorded now. Nothing can be while nobody is in: no media node has the room.
    fn wanted_tap(&self) -> Option<(RecordingId, BTreeSet<TrackId>)> {
        let live = self.recorder.live.as_ref().filter(|_| !self.members.is_empty())?;
        let takes =
            |(id, member): &(&ParticipantId, &Member)| !live.is_paused && live.takes(id, member);
        let named = |track: &&MemberTrack| live.names(track.source);
        let members = self.members.iter().filter(takes);
        let tracks = members.flat_map(|(_, member)| member.tracks.iter().filter(named));
        Some((live.id, tracks.map(|track| track.id).collect()))
    }

    /// Brings the tap in line with the state, at the end of a command, after its commit has a number:
    /// what is new in it waits for that one.
    pub(super) fn settle_tap(&mut self) {
        let (last, stored) = (self.record.last(), self.record.stored());
        let tracks = self.wanted_tap().map(|(_, tracks)| tracks).unwrap_or_default();
        let due = &mut self.recorder.due;
        due.retain(|track, _| tracks.contains(track));
        for track in tracks {
            due.entry(track).or_insert(last);
        }
        self.settle_writers(last);
        self.tap(|number| number <= stored);
    }

    /// Whose texts may be recorded. Who is new among them is so since the `last` commit.
    fn settle_writers(&mut self, last: u64) {
        let takes = |live: &Live, (id, member): &(&ParticipantId, &Member)| {
            !live.is_paused && live.rule.data.unwrap_or_default() && live.takes(id, member)
        };
        let live = self.recorder.live.as_ref();
        let all = self.members.iter().filter(|one| live.is_some_and(|live| takes(live, one)));
        let all: BTreeSet<_> = all.map(|(id, _)| *id).collect();
        let writers = &mut self.recorder.writers;
        writers.retain(|id, _| all.contains(id));
        for id in all {
            writers.entry(id).or_insert(last);
        }
    }

    /// The recording that takes a text of these participants, its sender and those whom it names: each of
    /// them may be recorded now, and what allows it is stored.
    pub(super) fn texts_taken(&self, of: &[ParticipantId]) -> Option<RecordingId> {
        let live = self.recorder.live.as_ref()?;
        let is_open = !live.is_paused && live.rule.data.unwrap_or_default();
        let takes = |id: &ParticipantId| {
            // Who acknowledged just now, with this very text, has no entry yet.
            let due = self.recorder.writers.get(id).copied().unwrap_or(self.record.last());
            due <= self.record.stored()
                && self.members.get(id).is_some_and(|member| live.takes(id, member))
        };
        (is_open && of.iter().all(takes)).then_some(live.id)
    }

    /// Tells the media node what is recorded: of what may be, what it has already and what `is_stored`.
    fn tap(&mut self, is_stored: impl Fn(u64) -> bool) {
        let wanted = self.wanted_tap();
        let number = self.recorder.live.as_ref().map_or(0, |live| live.number);
        let (told, due) = (&self.recorder.told, &self.recorder.due);
        let known = told.as_ref().filter(|(id, _)| wanted.as_ref().is_some_and(|(w, _)| w == id));
        let ready = wanted.filter(|_| known.is_some() || is_stored(number)).map(|(id, tracks)| {
            let has = |track: &TrackId| known.is_some_and(|(_, tracks)| tracks.contains(track));
            let is_due = |track: &TrackId| due.get(track).is_some_and(|number| is_stored(*number));
            let ready = tracks.into_iter().filter(|track| has(track) || is_due(track));
            (id, ready.collect::<BTreeSet<_>>())
        });
        if ready == *told && !(self.recorder.must_repeat && ready.is_some()) {
            return;
        }
        self.recorder.must_repeat = false;
        let tap = ready.as_ref().map(|(recording, tracks)| Tap {
            recording: *recording,
            tracks: tracks.iter().copied().collect(),
        });
        self.recorder.told = ready;
        self.media(control::Command::SetTap { room: self.id, tap });
    }
}
