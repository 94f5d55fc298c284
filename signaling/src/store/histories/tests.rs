//! Histories and their erasure on both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

use sdk_spec::ws::{Role, Source};

use super::*;
use crate::{
    admin,
    config::Retention,
    domain::Charter,
    secret,
    store::{
        Log, NewEvent, NewRoom, Wanted,
        testing::{Place, on_both},
    },
};

on_both!(
    a_stay_is_told_from_its_events,
    an_erased_handle_is_nowhere_and_the_numbers_stay,
    ended_stays_go_after_their_time,
    an_erasure_does_not_wait_for_readers,
);

const DAY_MS: u64 = 24 * 3600 * 1000;

struct World {
    store: Store,
    project: String,
    room: RoomId,
    place: Place,
}

async fn world(place: Place) -> World {
    let store = place.open().await;
    let project = admin::create_project(&store, "test").await.unwrap().id;
    let room = RoomId::from_bits(secret::random_bits());
    let new = NewRoom {
        id: room,
        project: project.clone(),
        created_at_ms: 0,
        commits: 0,
        charter: Charter::new(
            sdk_spec::room::Kind::AdHoc,
            &sdk_spec::room::RoomSettings::default(),
        ),
    };
    let mut tx = store.write().await.unwrap();
    super::super::rooms::insert(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    World { store, project, room, place }
}

fn handle(text: &str) -> Handle {
    Handle::parse(text).unwrap()
}

fn joined(who: &str) -> What {
    let (participant, role) = (format!("pa_{who}"), Role::Participant);
    What::ParticipantJoined { participant, handle: handle(who), role, hidden: false }
}

fn left(who: &str, reason: LeaveReason) -> What {
    What::ParticipantLeft {
        participant: format!("pa_{who}"),
        handle: handle(who),
        reason,
        hidden: false,
    }
}

impl World {
    async fn record(&self, events: &[(u64, What)]) {
        let mut tx = self.store.write().await.unwrap();
        for (time_ms, what) in events {
            let event = NewEvent { room: Some(self.room), time_ms: *time_ms, what: what.clone() };
            tx.record(&self.project, &event).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn fold(&self) {
        self.store.fold(&self.project, 100).await.unwrap();
    }

    async fn stays(&self, of: StaysOf<'_>) -> Vec<Session> {
        let wanted = StaysWanted { of, began_ms: (0, u64::MAX), after: None, limit: 100 };
        self.store.stays(&self.project, &wanted).await.unwrap()
    }

    async fn erase(&self, who: &str) -> Option<Erased> {
        let by = ("er_1", &Actor::Key("k".to_owned()));
        self.store.erase_handle(&self.project, &handle(who), by, 9).await.unwrap()
    }
}

async fn a_stay_is_told_from_its_events(place: Place) {
    let world = world(place).await;
    let (track, participant) = ("tr_1".to_owned(), "pa_ann".to_owned());
    let source = Source::Microphone;
    world
        .record(&[
            (1000, joined("ann")),
            (2000, joined("bob")),
            (
                3000,
                What::TrackPublished {
                    track: track.clone(),
                    participant: participant.clone(),
                    source,
                },
            ),
            (
                5000,
                What::ParticipantUpdated {
                    participant: participant.clone(),
                    role: Role::Moderator,
                },
            ),
            (9600, What::TrackUnpublished { track, participant, source }),
            (11_000, left("ann", LeaveReason::Removed)),
        ])
        .await;
    world.fold().await;
    let stays = world.stays(StaysOf::Room(world.room)).await;
    assert_eq!(
        stays.iter().map(|s| s.participant.as_str()).collect::<Vec<_>>(),
        ["pa_bob", "pa_ann"]
    );
    assert!(stays[0].left_at.is_none() && stays[0].reason.is_none());
    let ann = &stays[1];
    assert!(ann.handle == handle("ann") && ann.role == Role::Moderator && !ann.hidden);
    assert_eq!((ann.joined_at.0, ann.left_at.unwrap().0), (1000, 11_000));
    assert!(ann.reason == Some(LeaveReason::Removed) && ann.track_seconds.microphone == 7);
    let ann = handle("ann");
    assert_eq!(world.stays(StaysOf::Handle(&ann, None)).await.len(), 1);
    assert_eq!(world.stays(StaysOf::Handle(&ann, Some(RoomId::from_bits(1)))).await.len(), 0);
    let nobody = StaysWanted {
        of: StaysOf::Handle(&ann, None),
        began_ms: (0, u64::MAX),
        after: None,
        limit: 9,
    };
    assert!(world.store.stays("pj_other", &nobody).await.unwrap().is_empty());
    assert!(world.store.knows_room(&world.project, world.room).await.unwrap());
    assert!(!world.store.knows_room("pj_other", world.room).await.unwrap());
    let page = StaysWanted {
        after: Some((2000, "pa_bob".to_owned())),
        of: StaysOf::Room(world.room),
        ..nobody
    };
    assert_eq!(world.store.stays(&world.project, &page).await.unwrap().len(), 1);
}

async fn an_erased_handle_is_nowhere_and_the_numbers_stay(place: Place) {
    let world = world(place).await;
    world
        .record(&[
            (1, joined("ann")),
            (2, joined("ann_")),
            (3, joined("an-n")),
            (4, left("ann", LeaveReason::Left)),
            (5, What::HandleBanned { handle: handle("ann"), until: None }),
        ])
        .await;
    for (id, who) in [("bn_1", "ann"), ("bn_2", "ann_")] {
        let ban = "INSERT INTO bans (id, project, room, handle, created_at) \
                   VALUES ($1, $2, '', $3, 1)";
        let ban = sqlx::query(ban).bind(id).bind(&world.project).bind(who);
        ban.execute(&world.store.writer).await.unwrap();
    }
    // One part is counted before it is erased, another after.
    world.store.fold(&world.project, 1).await.unwrap();
    assert_eq!(world.erase("ann").await, Some(Erased { events: 3, sessions: 1, bans: 1 }));
    world.fold().await;
    let wanted = Wanted { after: None, limit: 100, kinds: &[], room: None };
    let Log::Page { events, .. } = world.store.log(&world.project, &wanted).await.unwrap() else {
        panic!()
    };
    let handles: Vec<_> = events
        .iter()
        .map(|e| serde_json::to_value(e).unwrap()["data"]["handle"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(handles, ["~erased~", "ann_", "an-n", "~erased~", "~erased~"]);
    assert_eq!(events.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(world.stays(StaysOf::Handle(&handle("ann"), None)).await.is_empty());
    assert_eq!(world.stays(StaysOf::Room(world.room)).await.len(), 2);
    assert_eq!(world.erase("ann").await, Some(Erased { events: 0, sessions: 0, bans: 0 }));
    let here = "INSERT INTO stays (participant, project, room, handle, hidden, waiting, node, joined_at) \
                VALUES ('pa_x', $1, 'rm_x', 'ann_', 0, 0, 'n', 1)";
    sqlx::query(here).bind(&world.project).execute(&world.store.writer).await.unwrap();
    assert_eq!(world.erase("ann_").await, None, "it is in a room");
    assert_eq!(world.stays(StaysOf::Handle(&handle("ann_"), None)).await.len(), 1);
}

async fn an_erasure_does_not_wait_for_readers(place: Place) {
    let world = world(place).await;
    world.record(&[(1, joined("ann")), (2, left("ann", LeaveReason::Left))]).await;
    let log = world.place.file().with_extension("db-wal");
    let has_log = world.store.dialect == Dialect::Sqlite;
    // A backup, for example.
    let mut reader = world.store.readers.begin().await.unwrap();
    sqlx::query("SELECT COUNT(*) FROM events").fetch_one(&mut *reader).await.unwrap();
    let began = std::time::Instant::now();
    assert!(world.erase("ann").await.is_some());
    let waited = began.elapsed();
    assert!(waited.as_secs() < 4, "{waited:?}");
    assert!(!has_log || std::fs::metadata(&log).unwrap().len() > 0);
    reader.rollback().await.unwrap();
    world.store.purge_kept(&Retention::default(), DAY_MS).await.unwrap();
    assert!(!has_log || std::fs::metadata(&log).unwrap().len() == 0, "and it goes in time");
}

async fn ended_stays_go_after_their_time(place: Place) {
    let world = world(place).await;
    world
        .record(&[
            (DAY_MS, joined("ann")),
            (DAY_MS, joined("bob")),
            (2 * DAY_MS, left("ann", LeaveReason::Left)),
        ])
        .await;
    world.fold().await;
    let kept = Retention { history_days: 30, ..Retention::default() };
    world.store.purge_kept(&kept, 32 * DAY_MS).await.unwrap();
    assert_eq!(world.stays(StaysOf::Room(world.room)).await.len(), 2);
    world.store.purge_kept(&kept, 33 * DAY_MS).await.unwrap();
    let stays = world.stays(StaysOf::Room(world.room)).await;
    assert_eq!(stays.iter().map(|s| s.participant.as_str()).collect::<Vec<_>>(), ["pa_bob"]);
}
