//! The store against a real file.
#![allow(clippy::unwrap_used, reason = "tests")]

use sdk_spec::{
    handle::Handle,
    room::{Kind, RoomSettings},
    ws::LeaveReason,
};
use sfu_proto::id::RoomId;
use sqlx::Row as _;

use super::*;
use crate::{
    admin,
    domain::{Actor, Charter},
    secret,
};

use super::testing::{Place, on_both};

on_both!(
    references_are_checked,
    rooms_outlive_the_process_and_close_once,
    the_number_of_open_rooms_is_bounded_even_in_a_race,
    an_answer_is_remembered_until_it_expires,
    a_backlog_is_purged_in_many_short_transactions,
    a_token_is_used_once_even_in_a_race,
);

/// A store with a project.
struct World {
    store: Store,
    project: String,
    place: Place,
}

async fn world(place: Place) -> World {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    World { store, project, place }
}

fn room(project: &str, created_at_ms: u64) -> NewRoom {
    NewRoom {
        id: RoomId::from_bits(secret::random_bits()),
        project: project.to_owned(),
        created_at_ms,
        charter: Charter {
            reference: Handle::parse("lesson-7").ok(),
            ..Charter::new(Kind::AdHoc, &RoomSettings::default())
        },
        commits: 0,
    }
}

fn request(id: u8, body: u8, now_ms: u64) -> IdempotentRequest {
    IdempotentRequest {
        id: [id; 32],
        fingerprint: [body; 32],
        answer: format!("answer {body}"),
        now_ms,
        expires_at_ms: now_ms + 1000,
    }
}

#[tokio::test]
async fn sqlite_is_durable() {
    let world = world(Place::sqlite()).await;
    for pool in [&world.store.writer, &world.store.readers] {
        let pragma = async |name: &'static str| -> i64 {
            sqlx::query(name).fetch_one(pool).await.unwrap().try_get(0).unwrap()
        };
        assert_eq!(pragma("PRAGMA synchronous").await, 2, "FULL");
        assert_eq!(pragma("PRAGMA foreign_keys").await, 1);
        let mode = sqlx::query("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
        assert_eq!(mode.try_get::<String, _>(0).unwrap(), "wal");
    }
}

async fn references_are_checked(place: Place) {
    let world = world(place).await;
    let orphan = world.store.create_room(&room("pj_nobody", 1), &Actor::System, 10, None).await;
    assert!(matches!(orphan, Err(StoreError::Database(_))));
}

async fn rooms_outlive_the_process_and_close_once(place: Place) {
    let world = world(place).await;
    let (one, two) = (room(&world.project, 1), room(&world.project, 2));
    for room in [&one, &two] {
        world.store.create_room(room, &Actor::System, 10, None).await.unwrap().unwrap();
    }
    let end = async |project: &str, id, now_ms| {
        world.store.end_room((project, id), LeaveReason::RoomClosed, None, now_ms).await.unwrap()
    };
    assert!(end(&world.project, one.id, 5).await);
    assert!(!end(&world.project, one.id, 6).await);
    assert!(!end("pj_other", two.id, 6).await);
    world.store.close().await;
    let again = world.place.open().await;
    let open = again.open_rooms().await.unwrap();
    assert_eq!(open.len(), 1);
    assert!(open[0].id == two.id && open[0].charter.reference.is_some());
    assert!(again.room(&world.project, one.id).await.unwrap().is_none());
}

async fn the_number_of_open_rooms_is_bounded_even_in_a_race(place: Place) {
    let world = world(place).await;
    let creations = (0..20).map(|i| {
        let (store, room) = (world.store.clone(), room(&world.project, i));
        tokio::spawn(async move {
            store.create_room(&room, &Actor::System, 5, None).await.unwrap().is_some()
        })
    });
    let mut made = 0;
    for creation in creations.collect::<Vec<_>>() {
        made += usize::from(creation.await.unwrap());
    }
    assert_eq!(made, 5);
}

async fn an_answer_is_remembered_until_it_expires(place: Place) {
    let world = world(place).await;
    let store = &world.store;
    assert_eq!(store.remember(&request(1, 1, 0)).await.unwrap(), Remembered::New);
    let before = Remembered::Before("answer 1".to_owned());
    assert_eq!(store.remember(&request(1, 1, 1000)).await.unwrap(), before);
    assert_eq!(store.remember(&request(1, 2, 1000)).await.unwrap(), Remembered::Other);
    assert_eq!(store.remember(&request(1, 2, 1001)).await.unwrap(), Remembered::New);
    assert_eq!(store.purge(5000).await.unwrap(), 1);
    assert_eq!(store.purge(5000).await.unwrap(), 0);
}

async fn a_backlog_is_purged_in_many_short_transactions(place: Place) {
    let world = world(place).await;
    let rows = 2 * limits::PURGE_BATCH + 7;
    let bytes = match world.store.dialect {
        Dialect::Sqlite => "CAST(CAST(i AS TEXT) AS BLOB)",
        Dialect::Postgres => "CAST(CAST(i AS TEXT) AS BYTEA)",
    };
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         INSERT INTO idempotency (id, fingerprint, answer, expires_at) \
         SELECT {bytes}, {bytes}, '', 1000 FROM n"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&world.store.writer).await.unwrap();
    assert_eq!(world.store.purge(1000).await.unwrap(), 0);
    assert_eq!(world.store.purge(5000).await.unwrap(), rows);
}

/// Uses up token `jti` of a signing key by `user-1`.
async fn use_token(store: &Store, key: &SigningKey, jti: &str, room: RoomId) -> Admitted {
    let handle = Handle::parse("user-1").unwrap();
    let (project, now_ms) = (key.project.as_str(), 50);
    let token = Use {
        signing_key: &key.id,
        jti,
        expires_at_ms: 99,
        project,
        room,
        handle: &handle,
        now_ms,
    };
    store.use_token(&token).await.unwrap()
}

async fn a_token_is_used_once_even_in_a_race(place: Place) {
    let world = world(place).await;
    let room = room(&world.project, 1);
    world.store.create_room(&room, &Actor::System, 10, None).await.unwrap();
    let key = world.store.signing_key_of(&world.project).await.unwrap().unwrap();
    let uses = (0..20).map(|_| {
        let (store, key, id) = (world.store.clone(), key.clone(), room.id);
        tokio::spawn(async move { use_token(&store, &key, "j", id).await })
    });
    let mut admitted = 0;
    for used in uses.collect::<Vec<_>>() {
        admitted += usize::from(matches!(used.await.unwrap(), Admitted::Yes { .. }));
    }
    assert_eq!(admitted, 1);
}

#[tokio::test]
async fn secrets_are_not_in_the_file() {
    let world = world(Place::sqlite()).await;
    let key = admin::create_key(&world.store, &world.project, &[]).await.unwrap();
    world.store.close().await;
    let secret = key.secret.splitn(3, '_').nth(2).unwrap().as_bytes().to_vec();
    for name in ["test.db", "test.db-wal"] {
        let bytes = std::fs::read(world.place.folder.join(name)).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|w| w == secret), "{name}");
    }
    assert!(matches!(
        Store::open("mysql://x", Vault::new(&[7; 32])).await,
        Err(StoreError::UnknownDatabase)
    ));
}
