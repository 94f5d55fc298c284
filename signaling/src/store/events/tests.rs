//! The event log on both databases: its order under concurrent writers, cursors, filters, retention.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use super::*;
use crate::{
    admin,
    config::Retention,
    store::testing::{Place, on_both},
};

on_both!(
    a_number_is_never_seen_before_a_lower_one,
    filters_move_the_cursor_over_what_is_not_wanted,
    old_events_go_from_the_front_once_they_are_counted,
    the_same_names_are_kept_for_types,
);

const DAY_MS: u64 = 24 * 3600 * 1000;

fn test_event(time_ms: u64) -> NewEvent {
    let what = What::WebhookTest { webhook: "wh_1".to_owned() };
    NewEvent { room: None, time_ms, what }
}

async fn record(store: &Store, project: &str, event: NewEvent) {
    let mut tx = store.write().await.unwrap();
    tx.record(project, &event).await.unwrap();
    tx.commit().await.unwrap();
}

fn all(after: Option<u64>) -> Wanted<'static> {
    Wanted { after, limit: 100, kinds: &[], room: None }
}

async fn page(store: &Store, project: &str, wanted: Wanted<'_>) -> (Vec<u64>, u64, u64) {
    match store.log(project, &wanted).await.unwrap() {
        Log::Page { events, next, head } => (events.iter().map(|e| e.seq).collect(), next, head),
        Log::Expired { oldest } => panic!("expired, oldest {oldest}"),
        Log::Ahead => panic!("ahead"),
    }
}

/// Writers that take their time between the number and the commit, and some that give up.
async fn a_number_is_never_seen_before_a_lower_one(place: Place) {
    const WRITERS: usize = 6;
    const EACH: usize = 25;
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let writing: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, project) = (store.clone(), project.clone());
            tokio::spawn(async move {
                for i in 0..EACH {
                    let mut tx = store.write().await.unwrap();
                    tx.record(&project, &test_event(1)).await.unwrap();
                    tokio::time::sleep(std::time::Duration::from_millis((writer + i) as u64 % 4))
                        .await;
                    if (writer + i) % 5 == 0 {
                        drop(tx);
                    } else {
                        tx.commit().await.unwrap();
                    }
                }
            })
        })
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let reading = {
        let (store, project, done) = (store.clone(), project.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let (mut after, mut looks) = (0, 0);
            loop {
                let is_last = done.load(Relaxed);
                let (seqs, next, head) = page(&store, &project, all(Some(after))).await;
                for seq in seqs {
                    assert_eq!(seq, after + 1, "a gap was shown");
                    after = seq;
                }
                assert!(next == after && head >= next);
                looks += 1;
                if is_last && next == head {
                    return (after, looks);
                }
            }
        })
    };
    for writer in writing {
        writer.await.unwrap();
    }
    done.store(true, Relaxed);
    let (last, looks) = reading.await.unwrap();
    assert_eq!(last as usize, WRITERS * EACH * 4 / 5);
    assert!(looks > 5, "the reader read meanwhile: {looks}");
}

async fn filters_move_the_cursor_over_what_is_not_wanted(place: Place) {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let other = admin::create_project(&store, "other").await.unwrap().id;
    for i in 0..6 {
        record(&store, &project, test_event(i)).await;
        record(&store, &other, test_event(i)).await;
        if i % 3 == 0 {
            let (key, change) = ("k".to_owned(), "created".to_owned());
            let event = NewEvent { what: What::KeyChanged { key, change }, ..test_event(i) };
            record(&store, &project, event).await;
        }
    }
    assert_eq!(page(&store, &project, all(None)).await, ((1..=8).collect(), 8, 8));
    let keys = |after, limit| Wanted { after, limit, kinds: &["key.changed"], room: None };
    assert_eq!(page(&store, &project, keys(None, 1)).await, (vec![2], 2, 8));
    assert_eq!(page(&store, &project, keys(Some(2), 1)).await, (vec![6], 6, 8));
    assert_eq!(page(&store, &project, keys(Some(6), 1)).await, (vec![], 8, 8));
    let nowhere = RoomId::from_bits(7);
    let in_room = Wanted { room: Some(nowhere), ..all(Some(3)) };
    assert_eq!(page(&store, &project, in_room).await, (vec![], 8, 8));
    assert!(matches!(store.log(&project, &all(Some(9))).await.unwrap(), Log::Ahead));
    assert_eq!(page(&store, "pj_nobody", all(None)).await, (vec![], 0, 0));
}

async fn old_events_go_from_the_front_once_they_are_counted(place: Place) {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    // An event may have an older time than one before it (a stay that a start closed).
    for day in [1, 2, 40, 3, 41] {
        record(&store, &project, test_event(day * DAY_MS)).await;
    }
    let kept = Retention { events_days: 30, ..Retention::default() };
    store.purge_kept(&kept, 50 * DAY_MS).await.unwrap();
    assert_eq!(page(&store, &project, all(None)).await.0, [1, 2, 3, 4, 5], "not counted yet");
    store.fold(&project, 100).await.unwrap();
    store.purge_kept(&kept, 50 * DAY_MS).await.unwrap();
    assert_eq!(page(&store, &project, all(None)).await.0, [3, 4, 5]);
    for after in [0, 1] {
        let log = store.log(&project, &all(Some(after))).await.unwrap();
        assert!(matches!(log, Log::Expired { oldest: 3 }), "after {after}");
    }
    assert_eq!(page(&store, &project, all(Some(2))).await.0, [3, 4, 5]);
    store.purge_kept(&kept, 90 * DAY_MS).await.unwrap();
    assert_eq!(page(&store, &project, all(None)).await, (vec![], 5, 5));
    assert_eq!(page(&store, &project, all(Some(5))).await, (vec![], 5, 5));
    assert!(matches!(
        store.log(&project, &all(Some(4))).await.unwrap(),
        Log::Expired { oldest: 6 }
    ));
    record(&store, &project, test_event(90 * DAY_MS)).await;
    assert_eq!(page(&store, &project, all(None)).await.0, [6], "numbers go on");
}

#[tokio::test]
async fn a_project_whose_old_events_cannot_be_deleted_does_not_stop_the_others() {
    let place = Place::sqlite();
    let store = place.open().await;
    let mut projects = Vec::new();
    for name in ["one", "two", "three"] {
        let project = admin::create_project(&store, name).await.unwrap().id;
        record(&store, &project, test_event(DAY_MS)).await;
        store.fold(&project, 100).await.unwrap();
        projects.push(project);
    }
    projects.sort();
    let broken = &projects[0];
    let sql = format!(
        "CREATE TRIGGER broken BEFORE DELETE ON events WHEN OLD.project = '{broken}' \
         BEGIN SELECT RAISE(ABORT, 'broken'); END"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&store.writer).await.unwrap();
    let kept = Retention { events_days: 30, ..Retention::default() };
    store.purge_kept(&kept, 50 * DAY_MS).await.unwrap();
    for project in &projects {
        let left = page(&store, project, all(None)).await.0.len();
        assert_eq!(left, usize::from(project == broken));
    }
}

async fn the_same_names_are_kept_for_types(place: Place) {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    for step in 0..PEOPLE {
        let acts =
            [Act::Join(step), Act::Publish(step, step % 4), Act::Bytes(step, 1), Act::Leave(step)];
        for act in acts {
            let event = NewEvent { what: what(act).1, ..test_event(1) };
            record(&store, &project, event).await;
        }
    }
    let Log::Page { events, .. } = store.log(&project, &all(None)).await.unwrap() else { panic!() };
    for (event, i) in events.iter().zip(0..) {
        let who = i / 4;
        let acts =
            [Act::Join(who), Act::Publish(who, who % 4), Act::Bytes(who, 1), Act::Leave(who)];
        assert!(event.what == what(acts[usize::from(i % 4)]).1, "{i}");
        assert!(event.room.is_none() && event.time.0 == 1 && event.id.starts_with("ev_"));
    }
    assert_eq!(events.len(), usize::from(PEOPLE) * 4);
}

use crate::usage::histories::{Act, PEOPLE, what};
