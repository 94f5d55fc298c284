//! The end of a room's task when not everything goes well.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::PathBuf, time::Duration};

use bus::InProcessBus;
use prometheus::Registry;
use sdk_spec::room::{Kind, RoomSettings};
use sqlx::{Connection as _, Executor as _};

use super::*;
use crate::{
    admin,
    domain::{Actor, Charter},
    store::NewRoom,
    vault::Vault,
};

const LONG: Duration = Duration::from_secs(20);

/// An open room in a store of its own, without its task.
struct Stored {
    rooms: Arc<Rooms>,
    store: Store,
    row: RoomRow,
    folder: PathBuf,
}

impl Stored {
    async fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let url = format!("sqlite://{}/test.db", folder.display());
        let store = Store::open(&url, Vault::new(&[7; 32])).await.unwrap();
        let project = admin::create_project(&store, "test").await.unwrap().id;
        let row = NewRoom {
            id: RoomId::from_bits(secret::random_bits()),
            project,
            created_at_ms: 1,
            charter: Charter::new(
                Kind::AdHoc,
                &RoomSettings {
                    participants_max: Some(2),
                    empty_timeout_seconds: Some(0),
                    ..RoomSettings::default()
                },
            ),
            commits: 0,
        };
        store.create_room(&row, &Actor::System, 1, None).await.unwrap();
        let metrics = Arc::new(Metrics::new(&Registry::new()).unwrap());
        let media = Media::new(Arc::new(InProcessBus::new()));
        let rooms = Rooms::new(media, store.clone(), metrics);
        Self { rooms, store, row, folder }
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let poll = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, poll).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    async fn until_closed(&self) {
        self.until("closed", async || self.store.open_rooms().await.unwrap().is_empty()).await;
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_room_whose_end_cannot_be_stored_is_gone_at_once_and_stored_later() {
    let stored = Stored::new("locked").await;
    let url = format!("sqlite://{}/test.db", stored.folder.display());
    let mut lock = sqlx::AnyConnection::connect(&url).await.unwrap();
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    stored.rooms.open(stored.row.clone(), Vec::new());
    stored.until("forgotten", async || stored.rooms.entries.is_empty()).await;
    assert_eq!(stored.rooms.metrics.rooms.get(), 0);
    // Longer than a statement waits for the lock.
    tokio::time::sleep(limits::STORE_WAIT + Duration::from_millis(500)).await;
    assert_eq!(stored.store.open_rooms().await.unwrap().len(), 1);
    lock.execute("ROLLBACK").await.unwrap();
    stored.until_closed().await;
}

#[tokio::test]
async fn a_room_that_panics_is_forgotten_and_stored_as_closed() {
    let stored = Stored::new("panic").await;
    let charter = Charter::new(Kind::AdHoc, &RoomSettings::default());
    let draw = Box::new(|| panic!("on purpose"));
    let room = Room::new(stored.row.id, charter, Vec::new(), draw, (Instant::now(), 1));
    let (inputs, queue) = mpsc::channel(1);
    let project: Arc<str> = stored.row.project.as_str().into();
    let counts = Arc::new(Counts::default());
    let entry = Entry { project: Arc::clone(&project), inputs, counts: Arc::clone(&counts) };
    stored.rooms.entries.insert(stored.row.id, entry);
    let rooms = Arc::clone(&stored.rooms);
    let place = (project, stored.row.id, "no_test".into());
    let commits = Commits::new(rooms.journal.clone(), Arc::clone(&rooms.metrics), place, 0);
    let task = tokio::spawn(task::run(rooms, (stored.row.id, None), room, commits, queue, counts));
    let proof = Proof { participant: ParticipantId::from_bits(1), secret: [0; 32] };
    let hello = Hello::Resume { proof, received: 0 };
    let (socket, _outgoing) = mpsc::channel(1);
    let connection = ConnectionId(1);
    stored.rooms.send(stored.row.id, Input::Hello { connection, hello, socket }).await;
    assert!(task.await.unwrap_err().is_panic());
    assert!(stored.rooms.entries.is_empty());
    stored.until_closed().await;
}
