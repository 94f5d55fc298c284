//! Changes that meet.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use sdk_spec::{
    event::What,
    room::{Kind, RoomSettings},
    ws::LeaveReason,
};
use sfu_proto::id::RoomId;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use super::super::{
    Dialect, NewEvent, NewRoom, Store, StoreError,
    testing::{Place, on_both},
};
use crate::{
    admin,
    domain::{Actor, Charter},
    secret,
};

on_both!(
    four_claimers_take_each_row_once,
    changes_in_every_order_never_deadlock_and_number_their_events_without_gaps,
    nothing_of_a_dropped_change_is_there,
    every_table_is_purged_or_bounded,
);

/// Rows of the test below: 100 for each claimer.
const ROWS: usize = 400;

async fn four_claimers_take_each_row_once(place: Place) {
    let store = place.open().await;
    store.writer.execute("CREATE TABLE jobs (id BIGINT PRIMARY KEY, taken BIGINT)").await.unwrap();
    for id in 0..ROWS {
        let sql = format!("INSERT INTO jobs VALUES ({id}, 0)");
        store.writer.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    let claimers: Vec<_> = (0..4).map(|_| tokio::spawn(claim_all(store.clone()))).collect();
    let mut taken = Vec::new();
    for claimer in claimers {
        taken.extend(claimer.await.unwrap());
    }
    let once: BTreeSet<_> = taken.iter().copied().collect();
    assert_eq!((taken.len(), once.len()), (ROWS, ROWS));
}

async fn claim_all(store: Store) -> Vec<i64> {
    let mut taken = Vec::new();
    let mut idle = 0;
    while idle < 20 {
        let mut tx = store.write().await.unwrap();
        let sql = format!(
            "WITH picked AS MATERIALIZED (SELECT id FROM jobs WHERE taken = 0 ORDER BY id LIMIT 7{}) \
             UPDATE jobs SET taken = taken + 1 WHERE id IN (SELECT id FROM picked) RETURNING id",
            tx.dialect().skip_locked()
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *tx).await.unwrap();
        assert!(rows.len() <= 7);
        tokio::task::yield_now().await;
        tx.commit().await.unwrap();
        // A row may be held by somebody who then leaves it.
        idle = if rows.is_empty() { idle + 1 } else { 0 };
        taken.extend(rows.iter().map(|row| row.try_get::<i64, _>("id").unwrap()));
    }
    taken
}

fn room(project: &str) -> NewRoom {
    NewRoom {
        id: RoomId::from_bits(secret::random_bits()),
        project: project.to_owned(),
        created_at_ms: 1,
        charter: Charter::new(Kind::AdHoc, &RoomSettings::default()),
        commits: 0,
    }
}

async fn changes_in_every_order_never_deadlock_and_number_their_events_without_gaps(place: Place) {
    let store = place.open().await;
    let mut projects = Vec::new();
    for _ in 0..2 {
        projects.push(admin::create_project(&store, "test").await.unwrap().id);
    }
    let workers: Vec<_> = (0..8)
        .map(|number| {
            let (store, project) = (store.clone(), projects[number % 2].clone());
            tokio::spawn(async move { create_and_end_rooms(&store, &project).await })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    for project in &projects {
        let sql = "SELECT COUNT(*) AS n, MIN(seq) AS first, MAX(seq) AS last FROM events \
                   WHERE project = $1";
        let row = sqlx::query(sql).bind(project).fetch_one(&store.readers).await.unwrap();
        let number = |name| row.try_get::<i64, _>(name).unwrap();
        assert!(number("n") >= 4 * 10 * 2);
        assert_eq!((number("first"), number("last")), (1, number("n")));
    }
    if let Some(database) = &place.postgres {
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(database.sql(&[deadlocks]).trim(), "0");
    }
}

async fn create_and_end_rooms(store: &Store, project: &str) {
    for _ in 0..10 {
        let room = room(project);
        store.create_room(&room, &Actor::System, 1000, None).await.unwrap().unwrap();
        let place = (project, room.id);
        assert!(store.end_room(place, LeaveReason::RoomClosed, None, 2).await.unwrap());
    }
}

/// Why a table does not grow for ever. Who adds a table says it here, and deletes its rows in
/// `Store::purge` or `Store::purge_kept` where they expire.
const GROWTH: &[(&str, &str)] = &[
    ("partners", "few; made by the operator"),
    ("operator_keys", "few; made by the operator"),
    ("projects", "few; made by the operator"),
    ("api_keys", "quota of a project"),
    ("signing_keys", "quota of a project"),
    ("token_keys", "quota of a project"),
    ("webhooks", "quota of a project"),
    ("rooms", "purge: a day after they closed; open ones by quota"),
    ("used_tokens", "purge: when they expire"),
    ("revoked_tokens", "purge: when they expire"),
    ("token_revocations", "purge: when they expire"),
    ("idempotency", "purge: when they expire"),
    ("bans", "purge: when they end"),
    ("stays", "end with the stay, or with its node"),
    ("heartbeats", "end with the node"),
    ("events", "purge_kept: retention.events_days"),
    ("histories", "purge_kept: retention.history_days"),
    ("usage_days", "purge_kept: retention.usage_days"),
    ("usage_stays", "purge_kept: when counted"),
    ("usage_checkpoints", "one for each project"),
    ("deliveries", "end with their delivery; dead ones with their event"),
    ("audit_trees", "one for each project"),
    ("audit_entries", "evidence: kept for ever, 200 bytes for each change by somebody"),
    ("audit_openings", "evidence: kept until erased"),
    ("audit_nodes", "evidence: one for each entry"),
    ("audit_checkpoints", "evidence: one for each moment of change"),
    ("audit_keys", "one"),
    ("meta", "one"),
    ("storage_targets", "limit of a project"),
    ("recording_policies", "one for each project"),
    (
        "recordings",
        "purge_kept: retention.history_days after they were purged, at their age at the latest",
    ),
    ("usage_recordings", "end with the recording, or with its room"),
];

async fn every_table_is_purged_or_bounded(place: Place) {
    let store = place.open().await;
    let mut connection = store.readers.acquire().await.unwrap();
    for table in super::super::catalog::tables(&mut connection, store.dialect).await.unwrap() {
        assert!(GROWTH.iter().any(|(name, _)| *name == table.name), "{}: until when?", table.name);
    }
}

async fn nothing_of_a_dropped_change_is_there(place: Place) {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let count = async || {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM events").fetch_one(&store.readers).await;
        row.unwrap().try_get::<i64, _>("n").unwrap()
    };
    let before = count().await;
    let mut tx = store.write_in(&project).await.unwrap();
    let what = What::RoomCreated { kind: Kind::AdHoc, parent: None };
    tx.record(&project, &NewEvent { room: None, time_ms: 1, what }).await.unwrap();
    drop(tx);
    assert_eq!(count().await, before);
}

#[tokio::test]
async fn postgres_ends_what_takes_too_long_and_a_lost_connection_is_replaced() {
    let place = Place::postgres();
    let store = place.open().await;
    assert_eq!(store.dialect, Dialect::Postgres);
    for (setting, value) in [
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("transaction_isolation", "read committed"),
    ] {
        let sql = AssertSqlSafe(format!("SELECT current_setting('{setting}') AS value"));
        let row = sqlx::query(sql).fetch_one(&store.writer).await.unwrap();
        assert_eq!(row.try_get::<String, _>("value").unwrap(), value);
    }
    let mut tx = store.write().await.unwrap();
    sqlx::query("SET LOCAL statement_timeout = 50").execute(&mut *tx).await.unwrap();
    let slow = sqlx::query("SELECT 1 AS one FROM pg_sleep(60)").fetch_one(&mut *tx).await;
    assert!(slow.is_err());
    drop(tx);
    // As a restart of the server does.
    place
        .postgres
        .as_ref()
        .unwrap()
        .sql(&["SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()"]);
    store.ping().await.unwrap();
    admin::create_project(&store, "after").await.unwrap();
}

#[tokio::test]
async fn nodes_that_start_at_once_share_one_schema_and_one_key() {
    let place = Place::postgres();
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let url = place.url.clone();
            let vault = crate::Vault::new(&super::super::testing::KEY);
            tokio::spawn(async move { Store::open(&url, vault).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap().ping().await.unwrap();
    }
    let other = Store::open(&place.url, crate::Vault::new(&[8; 32])).await;
    assert!(matches!(other, Err(StoreError::WrongKey)));
}
