//! Recordings in both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use sdk_spec::{
    action::ActionRefusal,
    handle::Handle,
    recording::{BlockReason, PurgeReason},
    rest::recordings::{CreateStorageTarget, RecordingPolicy, Storage},
    room::{Kind, RoomSettings},
    ws::{LeaveReason, Role, Source},
};

use super::*;
use crate::{
    admin, clock,
    config::Retention,
    domain::{Actor, Charter, Commit, RecordingChange},
    limits, secret,
    store::{
        NewRoom, Replaced, RoomCommit,
        testing::{Place, on_both},
    },
};

on_both!(
    a_recording_lives_from_its_start_to_its_receipt,
    without_recipients_there_is_neither_row_nor_event,
    no_more_run_than_may,
    a_dead_process_leaves_nothing_recording,
    what_is_recorded_ends_before_its_room,
    one_recorder_works_on_a_recording,
    what_has_no_journal_is_anybodys_after_a_while,
    what_a_lost_recorder_has_is_anybodys_a_day_after_its_age,
    a_row_that_cannot_be_read_keeps_nobody_waiting,
    what_cannot_be_begun_is_refused_whenever_it_is_asked,
    credentials_are_replaced_where_they_are_and_a_target_in_its_row,
    a_hold_stops_the_purge,
    the_timeline_begins_with_who_was_there,
);

const DAY_MS: u64 = 24 * 3600 * 1000;

struct World {
    store: Store,
    project: Arc<str>,
    room: RoomId,
    commits: u64,
    _place: Place,
}

fn by(now_ms: u64) -> Author {
    Author::new(Actor::System, now_ms)
}

fn started(id: RecordingId) -> RecordingChange {
    let rule = RecordingRule { consent: Some(true), ..RecordingRule::default() };
    RecordingChange::Started { id, rule }
}

fn stopped(id: RecordingId) -> RecordingChange {
    RecordingChange::Stopped { id, reason: StopReason::Requested }
}

impl World {
    /// A project that records, with a room.
    async fn new(place: Place) -> Self {
        let world = Self::without_policy(place).await;
        let target = world.target().await;
        let recipients = vec![format!("age1{}", "q".repeat(58))];
        let rule = RecordingRule { height: Some(1080), ..RecordingRule::default() };
        let target = Some(target);
        let policy = RecordingPolicy {
            recipients,
            target,
            rule,
            max_age_hours: 48,
            ..RecordingPolicy::none()
        };
        assert!(world.store.set_recording_policy(&world.project, &policy, &by(1)).await.unwrap());
        world
    }

    async fn without_policy(place: Place) -> Self {
        let store = place.open().await;
        let project: Arc<str> = admin::create_project(&store, "test").await.unwrap().id.into();
        let room = NewRoom {
            id: RoomId::from_bits(secret::random_bits()),
            project: project.to_string(),
            created_at_ms: 1,
            charter: Charter::new(Kind::Permanent, &RoomSettings::default()),
            commits: 0,
        };
        store.create_room(&room, &Actor::System, 100, None).await.unwrap().unwrap();
        Self { store, project, room: room.id, commits: 0, _place: place }
    }

    async fn target(&self) -> String {
        let wish = CreateStorageTarget {
            name: Handle::parse("archive").unwrap(),
            storage: Storage::Local {},
        };
        let id = secret::opaque_id("st_");
        let made = self.store.create_storage_target(&id, &self.project, wish, &by(1)).await;
        made.unwrap().unwrap().id
    }

    async fn commit(&mut self, now_ms: u64, commit: Commit) {
        self.commits += 1;
        let commit = RoomCommit {
            project: Arc::clone(&self.project),
            room: self.room,
            node: "no_1".into(),
            number: self.commits,
            commit: Commit { number: self.commits, ..commit },
            request: None,
            now_ms,
        };
        self.store.store_commits(std::slice::from_ref(&commit)).await.unwrap();
        // Stored once, however often it is tried.
        self.store.store_commits(&[commit]).await.unwrap();
    }

    async fn say(&mut self, now_ms: u64, recordings: Vec<RecordingChange>) {
        self.commit(now_ms, Commit { recordings, ..Commit::default() }).await;
    }

    async fn happen(&mut self, now_ms: u64, what: What) {
        self.commit(now_ms, Commit { events: vec![(now_ms, what)], ..Commit::default() }).await;
    }

    async fn start(&mut self, now_ms: u64) -> RecordingId {
        let id = RecordingId::from_bits(secret::random_bits());
        self.say(now_ms, vec![started(id)]).await;
        id
    }

    async fn row(&self, id: RecordingId) -> RecordingRow {
        self.store.recording(id).await.unwrap().unwrap()
    }

    async fn step(&self, id: RecordingId, now_ms: u64, step: RecordingStep) -> Stepped {
        let version = self.row(id).await.version;
        self.store.step_recording(id, version, step, now_ms).await.unwrap()
    }

    /// Types of the room's events, by number, after the first.
    async fn told(&self) -> Vec<String> {
        let rows = sqlx::query("SELECT type FROM events WHERE room = $1 ORDER BY room_seq")
            .bind(self.room.to_string())
            .fetch_all(&self.store.readers)
            .await
            .unwrap();
        rows.iter().skip(1).map(|row| row.try_get("type").unwrap()).collect()
    }
}

fn purged() -> RecordingStep {
    let receipt = Receipt { receipt: "{}".into(), signature: "c2ln".into(), key: "ek_1".into() };
    let purged = Some(Purged { reason: PurgeReason::Delivered, receipt });
    RecordingStep { purged, ..RecordingStep::default() }
}

fn to(state: RecordingState) -> RecordingStep {
    RecordingStep { state: Some(state), ..RecordingStep::default() }
}

async fn a_recording_lives_from_its_start_to_its_receipt(place: Place) {
    let mut world = World::new(place).await;
    let id = world.start(10).await;
    let row = world.row(id).await;
    assert_eq!((row.state, row.version, row.started_at_ms), (RecordingState::Recording, 1, 10));
    assert_eq!((row.rule.consent, row.rule.height), (Some(true), Some(1080)), "rule over policy");
    assert!(row.terms.target.is_some() && row.terms.recipients.len() == 1);
    world.say(20, vec![RecordingChange::Paused(id)]).await;
    assert_eq!(world.row(id).await.state, RecordingState::Paused);
    world.say(30, vec![RecordingChange::Resumed(id), stopped(id), stopped(id)]).await;
    let row = world.row(id).await;
    assert_eq!((row.state, row.stopped_at_ms), (RecordingState::Recorded, Some(30)));
    assert_eq!(row.expires_at_ms, Some(30 + 2 * DAY_MS));
    let busy = RecordingStep {
        progress: Some(43),
        work: Some(vec![1, 2]),
        ..to(RecordingState::Finalizing)
    };
    let now = world.step(id, 40, busy.clone()).await;
    assert_eq!(now, Stepped::Done(row.version + 1));
    let stale = world.store.step_recording(id, row.version, busy, 41).await.unwrap();
    assert_eq!(stale, Stepped::Stale);
    let blocked =
        Blocked { reason: BlockReason::Full, blame: BlockReason::Full.blame(), retry_at: None };
    let recording = id.to_string();
    let (reason, blame) = (blocked.reason, blocked.blame);
    let event = Some(What::RecordingPushBlocked { recording, reason, blame });
    let state = Some(RecordingState::PushBlocked);
    world
        .step(
            id,
            50,
            RecordingStep { state, event, blocked: Some(blocked), ..RecordingStep::default() },
        )
        .await;
    let row = world.row(id).await;
    assert!(row.blocked.is_some() && row.progress.is_none() && row.work == Some(vec![1, 2]));
    world.step(id, 60, to(RecordingState::Delivered)).await;
    assert!(world.row(id).await.blocked.is_none());
    world.step(id, 70, purged()).await;
    let row = world.row(id).await;
    assert_eq!((row.state, row.purged_at_ms), (RecordingState::Purged, Some(70)));
    assert!(row.work.is_none() && row.receipt.is_some());
    assert_eq!(world.step(id, 80, to(RecordingState::Recorded)).await, Stepped::Stale);
    let told = ["started", "paused", "resumed", "stopped", "push_blocked", "purged"];
    assert_eq!(world.told().await, told.map(|kind| format!("recording.{kind}")));
    let kept = Retention { events_days: 30, history_days: 30, usage_days: 400 };
    world.store.purge_kept(&kept, 29 * DAY_MS).await.unwrap();
    assert!(world.store.recording(id).await.unwrap().is_some());
    world.store.purge_kept(&kept, 31 * DAY_MS).await.unwrap();
    assert!(world.store.recording(id).await.unwrap().is_none());
}

async fn without_recipients_there_is_neither_row_nor_event(place: Place) {
    let mut world = World::without_policy(place).await;
    assert_eq!(
        world.store.may_record(&world.project, None).await.unwrap(),
        MayRecord::NotConfigured
    );
    let id = world.start(10).await;
    world
        .say(20, vec![RecordingChange::Paused(id), RecordingChange::Resumed(id), stopped(id)])
        .await;
    assert!(world.store.recording(id).await.unwrap().is_none());
    assert_eq!(world.told().await, [""; 0]);
}

async fn no_more_run_than_may(place: Place) {
    let mut world = World::new(place).await;
    assert_eq!(
        world.store.may_record(&world.project, Some("st_0")).await.unwrap(),
        MayRecord::NotConfigured
    );
    let most = usize::try_from(sdk_spec::limits::RECORDINGS_LIVE_MAX).unwrap();
    let mut first = None;
    for _ in 0..most {
        assert_eq!(world.store.may_record(&world.project, None).await.unwrap(), MayRecord::Yes);
        let id = world.start(10).await;
        first.get_or_insert(id);
    }
    assert_eq!(world.store.may_record(&world.project, None).await.unwrap(), MayRecord::Full);
    let more = world.start(11).await;
    assert!(world.store.recording(more).await.unwrap().is_none());
    assert_eq!(world.told().await.len(), most);
    world.say(12, vec![stopped(first.unwrap())]).await;
    assert_eq!(world.store.may_record(&world.project, None).await.unwrap(), MayRecord::Yes);
}

async fn a_dead_process_leaves_nothing_recording(place: Place) {
    let mut world = World::new(place).await;
    let (id, paused) = (world.start(10).await, world.start(100_000).await);
    world.say(100_000, vec![RecordingChange::Paused(paused)]).await;
    world.store.take_over("no_2", 50_000).await.unwrap();
    world.store.recover("no_2", 50_000).await.unwrap();
    world.store.bury("no_1", 40_000).await.unwrap();
    for (id, at_ms) in [(id, None), (paused, Some(100_000))] {
        let row = world.row(id).await;
        assert_eq!(
            (row.state, row.stop_reason),
            (RecordingState::Recorded, Some(StopReason::NodeLost))
        );
        // Of one that began after the last sign of life nothing is known but that.
        assert!(at_ms.is_none_or(|at_ms| row.stopped_at_ms == Some(at_ms)));
    }
    assert_eq!(world.told().await.iter().filter(|kind| *kind == "recording.stopped").count(), 2);
}

async fn what_is_recorded_ends_before_its_room(place: Place) {
    let mut world = World::new(place).await;
    let id = world.start(10).await;
    let end = What::RoomEnded { reason: sdk_spec::event::RoomEnd::Empty };
    let commit = Commit { events: vec![(20, end)], ended: true, ..Commit::default() };
    world.commit(20, commit).await;
    assert_eq!(world.row(id).await.stop_reason, Some(StopReason::RoomEnded));
    assert_eq!(world.told().await, ["recording.started", "recording.stopped", "room.ended"]);
    let late = world.start(30).await;
    assert!(world.store.recording(late).await.unwrap().is_none(), "the room is over");
    // Its row stays until the recording is purged: events belong to it.
    world.store.purge(10 * DAY_MS).await.unwrap();
    assert_eq!(world.step(id, 10 * DAY_MS, purged()).await, Stepped::Done(3));
    world.store.purge(11 * DAY_MS).await.unwrap();
    let left = sqlx::query("SELECT COUNT(*) AS n FROM rooms").fetch_one(&world.store.readers).await;
    assert_eq!(left.unwrap().try_get::<i64, _>("n").unwrap(), 0);
}

async fn one_recorder_works_on_a_recording(place: Place) {
    let mut world = World::new(place).await;
    let id = world.start(10).await;
    let claims = ["a", "b", "c", "d"].map(|recorder| {
        let store = world.store.clone();
        tokio::spawn(async move { store.claim_recording(id, recorder).await.unwrap() })
    });
    let mut won = 0;
    for claim in claims {
        won += u32::from(claim.await.unwrap());
    }
    assert_eq!(won, 1);
    let owner = world.row(id).await.recorder.unwrap();
    let other = if owner == "a" { "b" } else { "a" };
    let store = world.store.clone();
    let to_work = async |recorder: &str| {
        store.recordings_to_work(recorder, None, 40).await.unwrap().rows.len()
    };
    assert_eq!((to_work(&owner).await, to_work(other).await), (1, 0));
    assert!(world.store.claim_recording(id, &owner).await.unwrap(), "again");
    assert!(!world.store.claim_recording(id, other).await.unwrap(), "it is on another disk");
    assert_eq!(world.row(id).await.version, 1, "a claim is no change");
    world.say(30, vec![stopped(id)]).await;
    let foreign = RecordingStep { recorder: Some(other.to_owned()), ..purged() };
    assert_eq!(world.step(id, 40, foreign).await, Stepped::Stale, "nor may it purge it");
    world.step(id, 40, RecordingStep { recorder: Some(owner.clone()), ..purged() }).await;
    assert_eq!(to_work(&owner).await, 0, "nothing is left to do");
}

async fn what_has_no_journal_is_anybodys_after_a_while(place: Place) {
    let mut world = World::new(place).await;
    let id = world.start(10).await;
    let store = world.store.clone();
    let seen = async |now_ms| {
        let found = store.recordings_to_work("a", None, now_ms).await.unwrap();
        found.rows.len()
    };
    assert_eq!(seen(20).await, 1, "it is live");
    world.say(30, vec![stopped(id)]).await;
    let late = limits::JOURNAL_LATE_MS;
    assert_eq!((seen(29 + late).await, seen(30 + late).await), (0, 1));
    assert!(matches!(world.step(id, 50, to(RecordingState::Purging)).await, Stepped::Done(_)));
    assert!(!store.claim_recording(id, "b").await.unwrap(), "too late for a journal");
}

async fn what_a_lost_recorder_has_is_anybodys_a_day_after_its_age(place: Place) {
    let mut world = World::new(place).await;
    let (id, held) = (world.start(10).await, world.start(11).await);
    for id in [id, held] {
        assert!(world.store.claim_recording(id, "lost").await.unwrap());
        world.say(30, vec![stopped(id)]).await;
    }
    let project = Arc::clone(&world.project);
    world.store.hold_recording(&project, held, true, &by(31)).await.unwrap();
    let over_ms = world.row(id).await.expires_at_ms.unwrap() + limits::RECORDER_LOST_MS;
    let store = world.store.clone();
    let seen = async |now_ms| {
        let found = store.recordings_to_work("other", None, now_ms).await.unwrap();
        found.rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(seen(over_ms - 1).await, []);
    assert_eq!(seen(over_ms).await, [id], "not what is held");
    let foreign = || RecordingStep { recorder: Some("other".to_owned()), ..purged() };
    assert_eq!(world.step(id, over_ms - 1, foreign()).await, Stepped::Stale);
    assert!(matches!(world.step(id, over_ms, foreign()).await, Stepped::Done(_)));
    assert_eq!(seen(over_ms).await, []);
    // A recorder whose clock is wrong, while the database's is right.
    let later = u64::MAX / 4;
    let young = world.start(12).await;
    assert!(world.store.claim_recording(young, "here").await.unwrap());
    world.say(clock::now_ms(), vec![stopped(young)]).await;
    assert_eq!(seen(later).await, []);
}

async fn a_row_that_cannot_be_read_keeps_nobody_waiting(place: Place) {
    let mut world = World::new(place).await;
    let (bad, good) = (world.start(10).await, world.start(11).await);
    sqlx::query("UPDATE recordings SET state = 'of_tomorrow' WHERE id = $1")
        .bind(bad.to_string())
        .execute(&world.store.readers)
        .await
        .unwrap();
    let found = world.store.recordings_to_work("a", None, 20).await.unwrap();
    let ids: Vec<_> = found.rows.iter().map(|row| row.id).collect();
    assert!(ids == [good] && found.unreadable == [bad.to_string()] && found.next.is_some());
    assert!(world.store.recording(bad).await.is_err(), "it is not taken for missing");
    let listed = world.store.recordings(&world.project, RecordingFilter::default(), None, 9).await;
    assert_eq!(listed.unwrap().len(), 1);
}

async fn what_cannot_be_begun_is_refused_whenever_it_is_asked(place: Place) {
    let mut world = World::new(place).await;
    let none = RecordingPolicy::none();
    assert!(world.store.set_recording_policy(&world.project, &none, &by(1)).await.unwrap());
    let id = RecordingId::from_bits(secret::random_bits());
    let audit = (Actor::System, "recording.start", id.to_string());
    let commit = RoomCommit {
        project: Arc::clone(&world.project),
        room: world.room,
        node: "no_1".into(),
        number: 1,
        commit: Commit {
            number: 1,
            recordings: vec![started(id)],
            audits: vec![audit],
            ..Commit::default()
        },
        request: None,
        now_ms: 10,
    };
    for why in [ActionRefusal::NotConfigured, ActionRefusal::Unavailable] {
        let refused = world.store.store_commits(std::slice::from_ref(&commit)).await.unwrap();
        assert_eq!(refused.recordings, [(id, why)], "also when the first answer was lost");
    }
    world.commits = 1;
    assert_eq!(world.told().await, [""; 0]);
}

async fn credentials_are_replaced_where_they_are_and_a_target_in_its_row(place: Place) {
    let mut world = World::new(place).await;
    let id = world.start(10).await;
    let first = world.row(id).await.terms.target.unwrap();
    let project = Arc::clone(&world.project);
    let s3 = |bucket: &str, key: &str| CreateStorageTarget {
        name: Handle::parse("archive").unwrap(),
        storage: Storage::S3 {
            endpoint: None,
            region: "eu".to_owned(),
            bucket: bucket.to_owned(),
            access_key: key.to_owned(),
            secret_key: Some(format!("secret of {key}")),
            session_token: None,
            virtual_host: false,
            checksums: true,
        },
    };
    let second = secret::opaque_id("st_");
    world.store.create_storage_target(&second, &project, s3("b", "A"), &by(1)).await.unwrap();
    let replace = async |wish| {
        world.store.replace_storage_target(&project, &second, wish, &by(2)).await.unwrap()
    };
    assert!(matches!(replace(s3("other", "B")).await, Replaced::Elsewhere));
    assert!(matches!(replace(s3("b", "B")).await, Replaced::Done(_)));
    let stored = world.store.storage_target(&project, &second).await.unwrap().unwrap();
    assert!(stored.storage == s3("b", "B").storage && stored.created_at_ms == 1);
    let (wish, by_other) = (s3("b", "B"), by(2));
    let foreign = world.store.replace_storage_target("pj_other", &second, wish, &by_other).await;
    assert!(matches!(foreign.unwrap(), Replaced::Missing));
    world.say(20, vec![stopped(id)]).await;
    let push = async |target: &str| {
        let wish = (Wish::Push, Some(target.to_owned()));
        world.store.wish_for_recording(&project, id, wish, &by(30)).await.unwrap()
    };
    assert!(matches!(push("st_none").await, Changed::NoTarget));
    assert_eq!(world.row(id).await.terms.target, Some(first));
    let before = world.row(id).await.version;
    assert!(matches!(push(&second).await, Changed::Done(row) if row.version == before + 1));
    let row = world.row(id).await;
    assert!(row.terms.target.as_ref() == Some(&second) && row.wanted == Some(Wish::Push));
    assert!(row.terms.recipients.len() == 1, "the other terms stay");
}

async fn a_hold_stops_the_purge(place: Place) {
    let mut world = World::new(place).await;
    let id = world.start(10).await;
    let project = Arc::clone(&world.project);
    let wish = async |store: &Store, wish| {
        store.wish_for_recording(&project, id, (wish, None), &by(15)).await
    };
    assert!(matches!(wish(&world.store, Wish::Purge).await.unwrap(), Changed::Unfit(_)), "live");
    world.say(20, vec![stopped(id)]).await;
    assert!(matches!(wish(&world.store, Wish::Purge).await.unwrap(), Changed::Done(_)));
    assert_eq!(world.row(id).await.wanted, Some(Wish::Purge));
    let hold = async |held| world.store.hold_recording(&project, id, held, &by(30)).await.unwrap();
    assert!(matches!(hold(true).await, Changed::Done(row) if row.held && row.wanted.is_none()));
    assert!(matches!(wish(&world.store, Wish::Purge).await.unwrap(), Changed::Unfit(_)));
    assert_eq!(world.step(id, 40, to(RecordingState::Purging)).await, Stepped::Held);
    assert_eq!(world.step(id, 40, purged()).await, Stepped::Held);
    assert!(matches!(hold(false).await, Changed::Done(_)));
    let mut news = world.store.recordings_news();
    news.mark_unchanged();
    assert!(matches!(wish(&world.store, Wish::Push).await.unwrap(), Changed::Done(_)));
    assert!(news.has_changed().unwrap(), "the recorder wakes");
    let served = RecordingStep { served: true, ..to(RecordingState::Pushing) };
    world.step(id, 50, served).await;
    assert_eq!(world.row(id).await.wanted, None);
    assert!(matches!(world.step(id, 55, to(RecordingState::Purging)).await, Stepped::Done(_)));
    assert!(matches!(hold(true).await, Changed::Unfit(_)), "it is too late");
    assert!(matches!(world.step(id, 60, purged()).await, Stepped::Done(_)));
    assert!(matches!(
        world.store.hold_recording("pj_other", id, true, &by(70)).await.unwrap(),
        Changed::Missing
    ));
}

async fn the_timeline_begins_with_who_was_there(place: Place) {
    let mut world = World::new(place).await;
    let joined = |participant: &str, hidden| What::ParticipantJoined {
        participant: participant.to_owned(),
        handle: Handle::parse("user-1").unwrap(),
        role: Role::Participant,
        hidden,
    };
    let left = |participant: &str, hidden| What::ParticipantLeft {
        participant: participant.to_owned(),
        handle: Handle::parse("user-1").unwrap(),
        reason: LeaveReason::Left,
        hidden,
    };
    let published = |track: &str, participant: &str| What::TrackPublished {
        track: track.to_owned(),
        participant: participant.to_owned(),
        source: Source::Camera,
    };
    let started = || What::RoomStarted { mode: sdk_spec::room::Mode::Group };
    let before = [
        started(),
        joined("pa_0", false),
        left("pa_0", false),
        started(),
        joined("pa_1", false),
        joined("pa_2", false),
        joined("pa_h", true),
        published("tr_1", "pa_1"),
        published("tr_2", "pa_2"),
        published("tr_h", "pa_h"),
        left("pa_2", false),
    ];
    for (what, at_ms) in before.into_iter().zip(2..) {
        world.happen(at_ms, what).await;
    }
    let id = world.start(100).await;
    let unpublished = What::TrackUnpublished {
        track: "tr_1".to_owned(),
        participant: "pa_1".to_owned(),
        source: Source::Camera,
    };
    for (what, at_ms) in
        [joined("pa_3", false), unpublished, left("pa_h", true)].into_iter().zip(110..)
    {
        world.happen(at_ms, what).await;
    }
    world.say(120, vec![RecordingChange::Paused(id)]).await;
    world.say(130, vec![stopped(id)]).await;
    world.happen(140, left("pa_1", false)).await;
    let timeline = world.store.recording_timeline(id).await.unwrap().unwrap();
    assert!(timeline.is_whole);
    let told: Vec<_> = timeline
        .events
        .iter()
        .map(|event| match &event.moment {
            Moment::Joined { participant, .. } => (event.at_ms, format!("+{participant}")),
            Moment::Left { participant } => (event.at_ms, format!("-{participant}")),
            Moment::Published { track, .. } => (event.at_ms, format!("+{track}")),
            Moment::Unpublished { track } => (event.at_ms, format!("-{track}")),
            Moment::Paused => (event.at_ms, "paused".to_owned()),
            _ => (event.at_ms, "other".to_owned()),
        })
        .collect();
    let expected =
        [(100, "+pa_1"), (100, "+tr_1"), (110, "+pa_3"), (111, "-tr_1"), (120, "paused")];
    assert_eq!(told, expected.map(|(at_ms, what)| (at_ms, what.to_owned())));
}
