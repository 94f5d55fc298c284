//! Commits, stays and dead processes in both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

use sdk_spec::{
    event::RoomEnd,
    handle::Handle,
    room::{Kind, RoomSettings},
    ws::{LeaveReason, Role},
};
use sfu_proto::id::ParticipantId;

use super::*;
use crate::{
    admin,
    domain::{Actor, Ban},
    limits, secret,
    store::{
        Dialect,
        testing::{Place, on_both},
    },
};

on_both!(
    a_commit_is_stored_once_however_often_it_is_tried,
    what_comes_after_the_end_of_a_room_is_passed_over,
    a_leave_without_a_stay_is_told_by_nobody,
    breakouts_come_with_their_event_and_the_charter_with_its_version,
    a_commit_that_cannot_be_stored_says_so_and_leaves_nothing,
    bans_hold_in_the_breakouts_too_and_not_above_the_bound,
    breakouts_above_the_quota_are_refused_and_said_again_if_asked_again,
    who_was_in_when_a_process_died_has_left_then,
    two_processes_never_both_carry_a_room,
    a_room_that_is_ended_for_its_task_leaves_nobody_in,
    batches_of_several_rooms_and_projects_keep_each_rooms_order,
);

struct World {
    store: Store,
    project: Arc<str>,
    room: NewRoom,
    _place: Place,
}

impl World {
    async fn new(place: Place) -> Self {
        let store = place.open().await;
        let project: Arc<str> = admin::create_project(&store, "test").await.unwrap().id.into();
        let room = new_room(&store, &project).await;
        Self { store, project, room, _place: place }
    }

    fn commit(&self, number: u64, events: Vec<(u64, What)>) -> RoomCommit {
        commit(&self.project, self.room.id, number, events)
    }

    async fn put(&self, commits: &[RoomCommit]) {
        self.store.store_commits(commits).await.unwrap();
    }

    /// Types of the room's events, by number.
    async fn told(&self) -> Vec<String> {
        told(&self.store, self.room.id).await
    }

    async fn stays(&self) -> i64 {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM stays").fetch_one(&self.store.readers);
        row.await.unwrap().try_get("n").unwrap()
    }
}

async fn told(store: &Store, room: RoomId) -> Vec<String> {
    let rows = sqlx::query("SELECT type, room_seq FROM events WHERE room = $1 ORDER BY seq")
        .bind(room.to_string())
        .fetch_all(&store.readers)
        .await
        .unwrap();
    let numbers: Vec<i64> = rows.iter().map(|row| row.try_get("room_seq").unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    rows.iter().map(|row| row.try_get("type").unwrap()).collect()
}

async fn new_room(store: &Store, project: &str) -> NewRoom {
    let room = NewRoom {
        id: RoomId::from_bits(secret::random_bits()),
        project: project.to_owned(),
        created_at_ms: 1,
        charter: Charter::new(Kind::AdHoc, &RoomSettings::default()),
        commits: 0,
    };
    store.create_room(&room, &Actor::System, 100, None).await.unwrap().unwrap();
    room
}

fn commit(project: &Arc<str>, room: RoomId, number: u64, events: Vec<(u64, What)>) -> RoomCommit {
    RoomCommit {
        project: Arc::clone(project),
        room,
        node: "no_1".into(),
        number,
        commit: Commit { number, events, ..Commit::default() },
        request: None,
        now_ms: 5,
    }
}

fn joined(participant: u128) -> What {
    What::ParticipantJoined {
        participant: ParticipantId::from_bits(participant).to_string(),
        handle: Handle::parse("ann-1").unwrap(),
        role: Role::Participant,
        hidden: false,
    }
}

fn waits(participant: u128) -> What {
    What::ParticipantWaiting {
        participant: ParticipantId::from_bits(participant).to_string(),
        handle: Handle::parse("eve-1").unwrap(),
    }
}

fn left(participant: u128) -> What {
    What::ParticipantLeft {
        participant: ParticipantId::from_bits(participant).to_string(),
        handle: Handle::parse("ann-1").unwrap(),
        reason: LeaveReason::Left,
        hidden: false,
    }
}

async fn a_commit_is_stored_once_however_often_it_is_tried(place: Place) {
    let world = World::new(place).await;
    let commits = [world.commit(1, vec![(2, joined(1))]), world.commit(2, vec![(3, left(1))])];
    world.put(&commits[..1]).await;
    world.put(&commits).await;
    world.put(&commits).await;
    assert_eq!(world.told().await, ["room.created", "participant.joined", "participant.left"]);
    assert_eq!(world.stays().await, 0);
    let row = world.store.room(&world.project, world.room.id).await.unwrap().unwrap();
    assert_eq!(row.commits, 2, "where the next task goes on");
}

async fn what_comes_after_the_end_of_a_room_is_passed_over(place: Place) {
    let world = World::new(place).await;
    let mut end = world.commit(1, vec![(2, What::RoomEnded { reason: RoomEnd::Empty })]);
    end.commit.ended = true;
    world.put(&[end, world.commit(2, vec![(3, joined(1))])]).await;
    assert_eq!(world.told().await, ["room.created", "room.ended"]);
    // What the media node counted is known only then.
    let participant = ParticipantId::from_bits(1).to_string();
    let traffic = What::MediaTransferred { participant, received: 1, sent: 2 };
    world.put(&[world.commit(3, vec![(4, traffic)])]).await;
    assert_eq!(world.told().await, ["room.created", "room.ended", "media.transferred"]);
    assert!(world.store.room(&world.project, world.room.id).await.unwrap().is_none());
    assert_eq!(world.stays().await, 0);
}

async fn a_leave_without_a_stay_is_told_by_nobody(place: Place) {
    let world = World::new(place).await;
    world.put(&[world.commit(1, vec![(2, waits(1)), (3, joined(1)), (4, left(1))])]).await;
    world.put(&[world.commit(2, vec![(5, left(1))])]).await;
    let told = world.told().await;
    assert_eq!(told[1..], ["participant.waiting", "participant.joined", "participant.left"]);
}

async fn breakouts_come_with_their_event_and_the_charter_with_its_version(place: Place) {
    let world = World::new(place).await;
    let child = RoomId::from_bits(secret::random_bits());
    let mut change = world.commit(1, Vec::new());
    let locked = RoomSettings { locked: Some(true), ..RoomSettings::default() };
    let charter = Charter { version: 2, ends_at_ms: Some(9), ..Charter::new(Kind::AdHoc, &locked) };
    change.commit.charter = Some(charter);
    let parent = Some(world.room.id);
    let breakout = Charter { parent, ..Charter::new(Kind::AdHoc, &RoomSettings::default()) };
    change.commit.breakouts.push((child, breakout));
    world.put(&[change]).await;
    let row = world.store.room(&world.project, world.room.id).await.unwrap().unwrap();
    assert_eq!((row.charter.version, row.charter.ends_at_ms), (2, Some(9)));
    assert_eq!(row.charter.settings.locked, Some(true));
    assert_eq!(told(&world.store, child).await, ["room.created"]);
    let children = world.store.breakouts(&world.project, world.room.id).await.unwrap();
    assert!(children.len() == 1 && children[0].id == child);
    let open = world.store.open_rooms().await.unwrap();
    let parent = open.iter().find(|row| row.id == world.room.id).unwrap();
    assert!(parent.charter.breakouts.len() == 1 && parent.charter.breakouts[0].id == child);
    assert!(world.store.breakouts("pj_other", world.room.id).await.unwrap().is_empty());
}

async fn a_commit_that_cannot_be_stored_says_so_and_leaves_nothing(place: Place) {
    let world = World::new(place).await;
    let mut bad = world.commit(2, vec![(3, joined(2))]);
    let charter = Charter::new(Kind::AdHoc, &RoomSettings::default());
    bad.commit.breakouts.push((world.room.id, charter)); // There is one of this id.
    let error = world.store.store_commits(&[world.commit(1, vec![(2, joined(1))]), bad]).await;
    assert!(error.unwrap_err().is_final());
    assert_eq!(world.told().await, ["room.created"]);
    world.put(&[world.commit(1, vec![(2, joined(1))])]).await;
    assert_eq!(world.stays().await, 1);
}

async fn breakouts_above_the_quota_are_refused_and_said_again_if_asked_again(place: Place) {
    let world = World::new(place).await;
    let mut tx = world.store.write().await.unwrap();
    let quota = sqlx::query("UPDATE projects SET rooms_max = 2 WHERE id = $1");
    quota.bind(world.project.to_string()).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let create = |number, count| {
        let mut all = world.commit(number, vec![(2, joined(number.into()))]);
        for _ in 0..count {
            let id = RoomId::from_bits(secret::random_bits());
            let parent = Some(world.room.id);
            let charter = Charter { parent, ..Charter::new(Kind::AdHoc, &RoomSettings::default()) };
            all.commit.breakouts.push((id, charter));
            all.commit.audits.push((Actor::System, "breakout.create", id.to_string()));
        }
        all
    };
    let ids = |all: &RoomCommit| all.commit.breakouts.iter().map(|b| b.0).collect::<Vec<_>>();
    let audited = async || {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM audit_entries");
        count(&row.fetch_one(&world.store.readers).await.unwrap(), "n").unwrap()
    };
    let before = audited().await;
    let (two, one) = ([create(1, 2)], [create(2, 1)]);
    for _ in 0..2 {
        // The answer to the first try may be lost.
        assert_eq!(
            world.store.store_commits(&two).await.unwrap().rooms,
            ids(&two[0]),
            "none of them"
        );
    }
    assert_eq!(world.stays().await, 1, "all else is stored");
    for _ in 0..2 {
        assert_eq!(world.store.store_commits(&one).await.unwrap().rooms, []);
    }
    let children = world.store.breakouts(&world.project, world.room.id).await.unwrap();
    assert!(children.len() == 1 && children[0].id == ids(&one[0])[0]);
    assert_eq!(audited().await - before, 1, "that of the one that is there");
}

async fn bans_hold_in_the_breakouts_too_and_not_above_the_bound(place: Place) {
    let world = World::new(place).await;
    let (child, parent) = (RoomId::from_bits(secret::random_bits()), Some(world.room.id));
    let breakout = Charter { parent, ..Charter::new(Kind::AdHoc, &RoomSettings::default()) };
    let bans = async |room: &str| {
        let all = sqlx::query("SELECT COUNT(*) AS n FROM bans WHERE room = $1 OR $1 = ''");
        let row = all.bind(room.to_owned()).fetch_one(&world.store.readers).await.unwrap();
        count(&row, "n").unwrap()
    };
    let ban = |number, handle| {
        let mut commit = world.commit(number, Vec::new());
        commit.commit.bans.push(Ban { handle: Handle::parse(handle).unwrap(), until_ms: None });
        commit
    };
    let mut first = ban(1, "rude-1");
    first.commit.breakouts.push((child, breakout));
    world.put(&[first]).await;
    assert_eq!(bans(&child.to_string()).await, 1, "it may have a token for it");
    let mut tx = world.store.write().await.unwrap();
    let many = "WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL \
                SELECT i + 1 FROM n WHERE i < CAST($2 AS BIGINT)) \
                INSERT INTO bans (id, project, room, handle, until, created_at) \
                SELECT 'bn_' || i, $1, '', 'h-' || i, NULL, 1 FROM n";
    let many = sqlx::query(many).bind(world.project.to_string()).bind(i64::from(BANS_MAX) - 3);
    many.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    world.put(&[ban(2, "rude-2"), ban(3, "rude-3")]).await;
    assert_eq!(bans("").await, BANS_MAX);
    assert_eq!(bans(&world.room.id.to_string()).await, 2, "its own first");
}

async fn who_was_in_when_a_process_died_has_left_then(place: Place) {
    let world = World::new(place).await;
    let now = limits::NODE_DEAD_MS * 10;
    let seen = now - 2 * limits::NODE_DEAD_MS;
    assert!(world.store.take_over("no_1", seen).await.unwrap());
    world.put(&[world.commit(1, vec![(2, joined(1)), (3, waits(2)), (seen + 7, joined(3))])]).await;
    assert!(world.store.take_over("no_2", now).await.unwrap());
    assert_eq!(world.store.recover("no_1", now).await.unwrap(), 0, "nobody buries itself");
    assert_eq!(world.store.recover("no_2", now).await.unwrap(), 3);
    assert_eq!(world.store.recover("no_2", now).await.unwrap(), 0);
    let mut told = world.told().await.split_off(4);
    told.sort();
    let left = "participant.left";
    assert_eq!(told, [left, left, "participant.turned_away"]);
    let rows = sqlx::query("SELECT time, data FROM events WHERE type = 'participant.left'");
    for row in rows.fetch_all(&world.store.readers).await.unwrap() {
        let time = unsigned(row.try_get("time").unwrap());
        assert!(time == seen || time == seen + 7, "as of its last sign of life");
        assert!(row.try_get::<String, _>("data").unwrap().contains("server_error"));
    }
    // What the process that was taken for dead tells later is refused, not passed over in silence.
    let late = world.store.store_commits(&[world.commit(2, vec![(now, self::left(1))])]).await;
    let refused = late.unwrap_err();
    assert!(refused.is_final() && matches!(refused, StoreError::TakenOver));
    assert!(!world.store.beat("no_1", now).await.unwrap(), "it is told");
    assert_eq!(world.told().await.len(), 7);
}

async fn two_processes_never_both_carry_a_room(place: Place) {
    let world = World::new(place).await;
    let (store, id) = (&world.store, (world.room.project.as_str(), world.room.id));
    assert!(store.take_over("no_1", 1000).await.unwrap());
    world.put(&[world.commit(1, vec![(2, joined(1))])]).await;
    let is_free = store.take_over("no_2", 1500).await.unwrap();
    assert_eq!(
        is_free,
        store.dialect == Dialect::Sqlite,
        "a shared one is not taken from who lives"
    );
    assert!(store.beat("no_1", 2000).await.unwrap());
    assert!(store.take_over("no_2", 2001 + limits::NODE_DEAD_MS).await.unwrap());
    // Both number their next commit alike; only one of them is told that it is stored.
    let mut theirs = world.commit(2, vec![(2, joined(2))]);
    theirs.node = "no_2".into();
    for _ in 0..2 {
        world.put(std::slice::from_ref(&theirs)).await;
        let late = store.store_commits(&[world.commit(2, vec![(2, joined(3))])]).await;
        assert!(matches!(late, Err(StoreError::TakenOver)));
    }
    assert_eq!(world.stays().await, 2);
    assert!(store.carries("no_2", id).await.unwrap() && !store.carries("no_1", id).await.unwrap());
    // Who stops in order makes room at once.
    store.bury("no_2", 9).await.unwrap();
    store.bury("no_1", 9).await.unwrap();
    assert!(store.take_over("no_3", 2002 + limits::NODE_DEAD_MS).await.unwrap());
}

#[test]
fn a_request_that_came_twice_is_final() {
    assert!(StoreError::Twin.is_final());
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap()
}

async fn a_room_that_is_ended_for_its_task_leaves_nobody_in(place: Place) {
    let world = World::new(place).await;
    world.put(&[world.commit(1, vec![(2, joined(1)), (3, waits(2))])]).await;
    let at = (world.room.project.as_str(), world.room.id);
    let end = async || {
        world.store.end_room(at, LeaveReason::ServerError, Some(&Actor::System), 9).await.unwrap()
    };
    assert!(end().await && !end().await);
    let told = world.told().await;
    assert_eq!(told[3..5], ["participant.left", "participant.turned_away"]);
    assert_eq!(told[5..], ["room.ended"]);
    assert_eq!(world.stays().await, 0);
}

async fn batches_of_several_rooms_and_projects_keep_each_rooms_order(place: Place) {
    let world = World::new(place).await;
    let other: Arc<str> = admin::create_project(&world.store, "other").await.unwrap().id.into();
    let foreign = new_room(&world.store, &other).await.id;
    let mut batch = Vec::new();
    for number in 1..=20_u64 {
        let id = u128::from(number);
        let what = if number % 2 == 1 { joined(id) } else { left(id - 1) };
        batch.push(world.commit(number, vec![(number, what)]));
        let what = if number % 2 == 1 { joined(id + 100) } else { left(id + 99) };
        batch.push(commit(&other, foreign, number, vec![(number, what)]));
    }
    world.put(&batch).await;
    for room in [world.room.id, foreign] {
        let told = told(&world.store, room).await;
        assert_eq!(told.len(), 21);
        let pairs = told[1..].chunks(2);
        assert!(pairs.into_iter().all(|p| p == ["participant.joined", "participant.left"]));
    }
    assert_eq!(world.stays().await, 0);
    // A commit under another project's name changes nothing.
    let stray = commit(&other, world.room.id, 21, vec![(1, joined(50))]);
    world.put(&[stray]).await;
    assert_eq!(world.told().await.len(), 21);
}
