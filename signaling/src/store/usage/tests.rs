//! Usage as it is kept against the same log counted at once: random histories, batches of any size,
//! crashes between and inside of them; on both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::*;
use crate::{
    admin,
    config::Retention,
    domain::Charter,
    secret,
    store::{
        NewEvent, NewRoom,
        testing::{Place, on_both},
    },
    usage::{
        histories::{HOUR_MS, Step, log, steps, what},
        verify_usage,
    },
};

on_both!(
    it_is_the_same_counted_as_it_comes_or_at_once,
    groups_add_up_and_pages_follow_each_other,
    what_was_changed_by_hand_is_found,
    usage_outlives_the_events,
    an_event_of_an_unknown_type_is_passed_over,
);

async fn rooms(store: &Store, project: &str) -> Vec<RoomId> {
    let mut rooms = Vec::new();
    for _ in 0..3 {
        let room = NewRoom {
            id: RoomId::from_bits(secret::random_bits()),
            project: project.to_owned(),
            created_at_ms: 0,
            commits: 0,
            charter: Charter::new(
                sdk_spec::room::Kind::AdHoc,
                &sdk_spec::room::RoomSettings::default(),
            ),
        };
        rooms.push(room.id);
        let mut tx = store.write().await.unwrap();
        super::super::rooms::insert(&mut tx, &room).await.unwrap();
        tx.commit().await.unwrap();
    }
    rooms
}

/// Records steps from `time_ms` on, and returns the time after them.
async fn record(
    store: &Store,
    project: &str,
    rooms: &[RoomId],
    steps: &[Step],
    time_ms: u64,
) -> u64 {
    let mut time_ms = time_ms;
    let mut tx = store.write().await.unwrap();
    for step in steps {
        time_ms += u64::from(step.hours) * HOUR_MS;
        let (room, what) = what(step.act);
        let event = NewEvent { room: room.map(|n| rooms[usize::from(n)]), time_ms, what };
        tx.record(project, &event).await.unwrap();
    }
    tx.commit().await.unwrap();
    time_ms
}

/// The same log counted in one go, with the rooms' real names.
fn at_once(steps: &[Step], rooms: &[RoomId]) -> Usage {
    let mut fold = Fold::default();
    log(steps).iter().for_each(|event| fold.apply(event));
    let named = |((room, day), amounts): ((String, Day), Amounts)| {
        let number: usize = room.trim_start_matches("rm_").parse().unwrap();
        ((rooms[number].to_string(), day), amounts)
    };
    fold.usage.into_iter().map(named).collect()
}

fn runner() -> TestRunner {
    let seed: [u8; 32] = secret::random();
    eprintln!("seed {seed:?}");
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

async fn it_is_the_same_counted_as_it_comes_or_at_once(place: Place) {
    let mut runner = runner();
    let mut store = place.open().await;
    for _ in 0..12 {
        let project = admin::create_project(&store, "test").await.unwrap().id;
        let rooms = rooms(&store, &project).await;
        let steps = steps(60).new_tree(&mut runner).unwrap().current();
        let (mut done, mut time_ms) = (0, 0);
        while done < steps.len() || store.unfolded().await.unwrap().contains(&project) {
            let draw = (0..12usize, 1..9u32, 0..4u8).new_tree(&mut runner).unwrap().current();
            let (more, batch, end) = draw;
            let part = &steps[done..steps.len().min(done + more)];
            done += part.len();
            time_ms = record(&store, &project, &rooms, part, time_ms).await;
            match end {
                // Killed before the end of the transaction.
                0 => drop(store.fold_open(&project, batch).await.unwrap()),
                // Killed after it.
                1 => {
                    store.fold(&project, batch).await.unwrap();
                    store.close().await;
                    store = place.open().await;
                }
                // Two nodes at once.
                2 => {
                    let twin = store.clone();
                    let (a, b) =
                        tokio::join!(store.fold(&project, batch), twin.fold(&project, batch));
                    assert!(a.is_ok() && b.is_ok());
                }
                _ => drop(store.fold(&project, batch).await.unwrap()),
            }
        }
        let (counted, seq) = store.whole_usage(&project).await.unwrap();
        assert_eq!(seq, steps.len() as u64);
        assert_eq!(counted, at_once(&steps, &rooms), "{steps:?}");
        assert_eq!(verify_usage(&store, &project).await.unwrap().differences, [""; 0]);
    }
    store.close().await;
}

async fn some_usage(store: &Store, project: &str) -> Vec<Step> {
    use crate::usage::histories::Act::{Bytes, Join, Leave, Publish};
    let rooms = rooms(store, project).await;
    let mut all = Vec::new();
    for who in 0..3 {
        for (hours, act) in
            [(5, Join(who)), (0, Publish(who, 0)), (9, Bytes(who, 10)), (20, Leave(who))]
        {
            all.push(Step { hours, act });
        }
    }
    record(store, project, &rooms, &all, 0).await;
    while store.fold(project, 5).await.unwrap() > 0 {}
    all
}

fn wanted(group: UsageGroup, after: Option<(String, Day)>, limit: u32) -> UsageWanted {
    UsageWanted { days: (Day(0), Day(99)), room: None, group, after, limit }
}

async fn groups_add_up_and_pages_follow_each_other(place: Place) {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    some_usage(&store, &project).await;
    let mut totals = Vec::new();
    for group in [UsageGroup::Project, UsageGroup::Day, UsageGroup::Room, UsageGroup::RoomDay] {
        let whole = usage_of(&store, &project, &wanted(group, None, 100)).await;
        let mut paged = Usage::new();
        let mut after = None;
        loop {
            let page = usage_of(&store, &project, &wanted(group, after.clone(), 2)).await;
            let Some(last) = page.keys().next_back().cloned() else { break };
            assert!(after.is_none_or(|after| *page.keys().next().unwrap() > after));
            after = Some(last);
            paged.extend(page);
        }
        assert_eq!(paged, whole);
        let mut total = Amounts::default();
        whole.values().for_each(|amounts| total.add(amounts));
        totals.push(total);
        let one = (whole.len(), group);
        assert!(matches!(one, (1, UsageGroup::Project) | (3.., _)), "{one:?}");
    }
    assert_eq!(totals[0].participant_ms, 3 * 29 * HOUR_MS);
    assert_eq!((totals[0].stays, totals[0].received), (3, 30));
    assert!(totals.iter().all(|total| *total == totals[0]));
    let other = usage_of(&store, "pj_other", &wanted(UsageGroup::Day, None, 9)).await;
    assert!(other.is_empty());
    let first = UsageWanted { days: (Day(0), Day(0)), ..wanted(UsageGroup::Day, None, 9) };
    let first = usage_of(&store, &project, &first).await;
    assert_eq!(first.len(), 1);
}

async fn what_was_changed_by_hand_is_found(place: Place) {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    some_usage(&store, &project).await;
    let check = verify_usage(&store, &project).await.unwrap();
    assert_eq!((check.events, check.rooms, check.rooms_not_whole), (12, 3, 0));
    assert_eq!(check.differences, [""; 0]);
    let change = "UPDATE usage_days SET camera_ms = camera_ms + 1 WHERE day = 0";
    sqlx::query(change).execute(&store.writer).await.unwrap();
    let check = verify_usage(&store, &project).await.unwrap();
    assert!(!check.differences.is_empty());
    assert!(
        check.differences.iter().all(|d| d.ends_with(" 1970-01-01")),
        "{:?}",
        check.differences
    );
}

async fn usage_outlives_the_events(place: Place) {
    const DAY_MS: u64 = 24 * HOUR_MS;
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    some_usage(&store, &project).await;
    let (before, _) = store.whole_usage(&project).await.unwrap();
    let kept = Retention { events_days: 30, history_days: 30, usage_days: 400 };
    store.purge_kept(&kept, 200 * DAY_MS).await.unwrap();
    assert_eq!(store.whole_usage(&project).await.unwrap().0, before);
    let check = verify_usage(&store, &project).await.unwrap();
    assert_eq!((check.events, check.rooms), (0, 0), "nothing to count again: {check:?}");
    store.purge_kept(&kept, 401 * DAY_MS).await.unwrap();
    let left = store.whole_usage(&project).await.unwrap().0;
    assert!(!left.is_empty() && left.keys().all(|(_, day)| *day >= Day(1)), "{left:?}");
}

async fn an_event_of_an_unknown_type_is_passed_over(place: Place) {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let other = admin::create_project(&store, "other").await.unwrap().id;
    some_usage(&store, &project).await;
    some_usage(&store, &other).await;
    let expected = store.whole_usage(&other).await.unwrap();
    // Written by a newer version, before a step back.
    let mut tx = store.write().await.unwrap();
    for sql in [
        "UPDATE events SET type = 'poll.opened', data = '{}' WHERE project = $1 AND seq = 2",
        "DELETE FROM usage_days WHERE project = $1",
        "DELETE FROM usage_stays WHERE project = $1",
        "DELETE FROM usage_checkpoints WHERE project = $1",
    ] {
        sqlx::query(sql).bind(&project).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(store.uncounted().await.unwrap(), 12);
    assert_eq!(store.fold(&project, 5).await.unwrap(), 5, "those that are not counted too");
    while store.fold(&project, 5).await.unwrap() > 0 {}
    assert_eq!(store.uncounted().await.unwrap(), 0);
    let (usage, seq) = store.whole_usage(&project).await.unwrap();
    assert_eq!(seq, expected.1);
    let sum = |usage: &Usage| usage.values().map(|a| a.participant_ms).sum::<u64>();
    assert_eq!(sum(&usage), sum(&expected.0), "only a publication is missing");
}

async fn usage_of(store: &Store, project: &str, wanted: &UsageWanted) -> Usage {
    store.usage_at_once(project, wanted, false).await.unwrap().1
}
