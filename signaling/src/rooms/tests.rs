//! The end of a room's task when not everything goes well.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus::InProcessBus;
use prometheus::Registry;
use sdk_spec::{
    action::{Action, ActionRefusal},
    event::What,
    room::{BreakoutSpec, Kind, RoomSettings},
    token::Claims,
    ws::{Grants, Role},
};
use sqlx::{Connection as _, Executor as _};

use super::{
    commits::{After, News},
    transfer::{Target, transfer},
    *,
};
use crate::{
    admin,
    domain::{Actor, Charter, Commit},
    store::NewRoom,
    vault::Vault,
};

const LONG: Duration = Duration::from_secs(60);

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
        let rooms = Rooms::new(media, store.clone(), metrics, None);
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
async fn a_token_tells_nothing_of_another_projects_room() {
    let stored = Stored::new("foreign").await;
    let mut row = stored.row.clone();
    row.charter.kind = Kind::Permanent;
    stored.rooms.open(row, Vec::new());
    let who = Admission {
        handle: Handle::parse("ann-1").unwrap(),
        role: Role::Participant,
        grants: Grants::default(),
    };
    let check =
        async |project: &str| stored.rooms.check_vacancy(project, stored.row.id, &who).await;
    assert_eq!(check(&stored.row.project).await, Err(Refusal::NoMediaNode));
    assert_eq!(check("pj_other").await, Ok(()), "its token is refused like one of no room");
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
    let entry = Entry {
        project: Arc::clone(&project),
        seats: Seats::default(),
        inputs,
        counts: Arc::clone(&counts),
        opens_at_ms: 0,
    };
    stored.rooms.entries.insert(stored.row.id, entry);
    let rooms = Arc::clone(&stored.rooms);
    let place = (project, stored.row.id, "no_test".into());
    let commits = Commits::new(rooms.journal.clone(), Arc::clone(&rooms.metrics), place, 0);
    let task = tokio::spawn(task::run(rooms, (stored.row.id, None), room, commits, queue, counts));
    let proof = Proof { participant: ParticipantId::from_bits(1), secret: [0; 32] };
    let hello = Hello::Resume { proof, received: 0 };
    let (socket, _outgoing) = socket();
    let connection = ConnectionId(1);
    stored.rooms.send(stored.row.id, Input::Hello { connection, hello, socket }).await;
    assert!(task.await.unwrap_err().is_panic());
    assert!(stored.rooms.entries.is_empty());
    stored.until_closed().await;
}

/// A commit that says that somebody came in.
fn coming(number: u64, participant: u128) -> Commit {
    let what = What::ParticipantJoined {
        participant: ParticipantId::from_bits(participant).to_string(),
        handle: Handle::parse("ann-1").unwrap(),
        role: Role::Participant,
        hidden: false,
    };
    Commit { number, events: vec![(number, what)], ..Commit::default() }
}

/// A room's commits on a journal of its own with `places`, and the journal's queue.
fn commits_of(stored: &Stored, places: usize) -> (Commits, mpsc::Receiver<Pending>) {
    let (journal, queue) = mpsc::channel(places);
    let place = (stored.row.project.as_str().into(), stored.row.id, "no_test".into());
    (Commits::new(journal, Arc::clone(&stored.rooms.metrics), place, 0), queue)
}

/// Takes news until everything is told.
async fn all_told(commits: &mut Commits) -> Vec<u64> {
    let mut told = Vec::new();
    while !commits.is_done() {
        tokio::time::timeout(LONG, commits.progress()).await.unwrap();
        while let Some(news) = commits.take() {
            match news {
                News::Committed(number) => told.push(number),
                News::Broken => return told,
                News::Do(_) => told.push(0),
                News::Refused(_) | News::Unrecorded(_) => {}
            }
        }
    }
    told
}

#[tokio::test]
async fn commits_wait_for_a_store_that_stands_still_and_none_is_lost_or_doubled() {
    let stored = Stored::new("still").await;
    let url = format!("sqlite://{}/test.db", stored.folder.display());
    let mut lock = sqlx::AnyConnection::connect(&url).await.unwrap();
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    let (mut commits, queue) = commits_of(&stored, 4);
    let writer = journal::write(stored.store.clone(), Arc::clone(&stored.rooms.metrics), queue);
    tokio::spawn(writer);
    let count = limits::ROOM_COMMITS_MAX as u64 + 10;
    let mut full_at = None;
    for number in 1..=count {
        commits.put(coming(number, number.into()), None);
        if commits.is_full() && full_at.is_none() {
            full_at = Some(number);
        }
        tokio::task::yield_now().await;
    }
    assert!(full_at.is_some_and(|at| at >= limits::ROOM_COMMITS_MAX as u64), "stands still");
    assert!(stored.rooms.metrics.journal_depth.get() >= limits::ROOM_COMMITS_MAX as i64);
    // As long as a statement waits for the lock, and as the machine takes.
    let failures = || stored.rooms.metrics.journal_failures.get();
    stored.until("the first try fails", async || failures() >= 1).await;
    lock.execute("ROLLBACK").await.unwrap();
    assert_eq!(all_told(&mut commits).await, (1..=count).collect::<Vec<_>>());
    assert_eq!(stored.rooms.metrics.journal_depth.get(), 0);
    let row = stored.store.room(&stored.row.project, stored.row.id).await.unwrap().unwrap();
    assert_eq!(row.commits, count);
    assert_eq!(stored.store.bury("no_test", 1).await.unwrap(), count, "a stay of each");
}

#[tokio::test]
async fn a_commit_that_fits_no_store_ends_its_room_and_keeps_no_other_from_it() {
    let stored = Stored::new("broken").await;
    let (mut commits, queue) = commits_of(&stored, 16);
    let mut bad = coming(2, 2);
    bad.breakouts.push((stored.row.id, stored.row.charter.clone())); // There is one of this id.
    commits.put(coming(1, 1), None);
    commits.put(bad, None);
    let writer = journal::write(stored.store.clone(), Arc::clone(&stored.rooms.metrics), queue);
    tokio::spawn(writer);
    all_told(&mut commits).await;
    assert!(commits.is_done());
    let row = stored.store.room(&stored.row.project, stored.row.id).await.unwrap().unwrap();
    assert_eq!(row.commits, 1, "the good one");
}

#[tokio::test]
async fn what_follows_a_commit_is_done_when_it_is_stored_and_before_it_is_told() {
    let stored = Stored::new("after").await;
    let (mut commits, queue) = commits_of(&stored, 16);
    let child = RoomId::from_bits(secret::random_bits());
    let mut first = coming(1, 1);
    first.breakouts.push((child, stored.row.charter.clone()));
    commits.put(first, None);
    commits.then(After::Transfer { participants: Vec::new(), room: child, invited: false });
    assert!(commits.take().is_none(), "not stored yet");
    let writer = journal::write(stored.store.clone(), Arc::clone(&stored.rooms.metrics), queue);
    tokio::spawn(writer);
    assert_eq!(all_told(&mut commits).await, [0, 0, 1]);
    // With nothing to wait for it is done at once.
    commits.then(After::Transfer { participants: Vec::new(), room: child, invited: false });
    assert_eq!(all_told(&mut commits).await, [0]);
}

#[tokio::test]
async fn breakouts_that_are_called_back_before_they_are_stored_end_too() {
    let stored = Stored::new("recall").await;
    let mut row = stored.row.clone();
    row.charter.settings.empty_timeout_seconds = Some(3600);
    let url = format!("sqlite://{}/test.db", stored.folder.display());
    let mut lock = sqlx::AnyConnection::connect(&url).await.unwrap();
    lock.execute("BEGIN IMMEDIATE").await.unwrap();
    stored.rooms.open(row, Vec::new());
    let act = |action| {
        let (rooms, id) = (Arc::clone(&stored.rooms), stored.row.id);
        let ask = Ask::Act { actor: Actor::System, action: Box::new(action), version: None };
        tokio::spawn(async move { rooms.ask(id, ask).await })
    };
    let rooms = vec![BreakoutSpec { reference: None, participants: Vec::new() }];
    let create = act(Action::CreateBreakouts { rooms, duration_seconds: None });
    let close = act(Action::CloseBreakouts {});
    tokio::time::sleep(Duration::from_millis(300)).await;
    lock.execute("ROLLBACK").await.unwrap();
    assert!(create.await.unwrap().is_ok() && close.await.unwrap().is_ok());
    stored
        .until("only the parent is open", async || {
            stored.store.open_rooms().await.unwrap().len() == 1
        })
        .await;
}

#[tokio::test]
async fn a_breakouts_moderator_gets_no_moderators_token_for_the_parent() {
    let stored = Stored::new("back").await;
    let mut row = stored.row.clone();
    row.charter.kind = Kind::Permanent;
    let project: Arc<str> = row.project.as_str().into();
    stored.rooms.open(row, Vec::new());
    let (inputs, mut queue) = mpsc::channel(1);
    let child = RoomId::from_bits(secret::random_bits());
    let counts = Arc::new(Counts::default());
    let seats = Seats::default();
    let entry = Entry { project: Arc::clone(&project), seats, inputs, counts, opens_at_ms: 0 };
    stored.rooms.entries.insert(child, entry);
    let handle = Handle::parse("ann-1").unwrap();
    let grants = Grants { moderate: true, ..Grants::default() };
    let who = Admission { handle, role: Role::Moderator, grants };
    let participants = vec![(ParticipantId::from_bits(1), who)];
    let to = Target { room: stored.row.id, is_parent: true };
    transfer(Arc::clone(&stored.rooms), (project, child), participants, to, false).await;
    let Some(Input::Ticket { token, room, .. }) = queue.recv().await else { panic!("a ticket") };
    assert_eq!(room, stored.row.id);
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Claims = serde_json::from_slice(&claims).unwrap();
    assert!(claims.role == Role::Participant && !claims.grants.moderate);
}

#[tokio::test]
async fn refused_breakouts_are_neither_opened_nor_moved_to_and_the_asker_knows() {
    let stored = Stored::new("quota").await;
    let mut row = stored.row.clone();
    row.charter.settings.empty_timeout_seconds = Some(3600);
    let url = format!("sqlite://{}/test.db", stored.folder.display());
    let mut other = sqlx::AnyConnection::connect(&url).await.unwrap();
    other.execute("UPDATE projects SET rooms_max = 2").await.unwrap();
    stored.rooms.open(row, Vec::new());
    let act = async |action| {
        let ask = Ask::Act { actor: Actor::System, action: Box::new(action), version: None };
        stored.rooms.ask(stored.row.id, ask).await
    };
    let create = |count| {
        let spec = BreakoutSpec { reference: None, participants: Vec::new() };
        Action::CreateBreakouts { rooms: vec![spec; count], duration_seconds: None }
    };
    let refused = act(create(2)).await.err();
    assert_eq!(refused, Some(Refusal::Action(ActionRefusal::QuotaExceeded)));
    let none = act(Action::CloseBreakouts {}).await.err();
    assert_eq!(none, Some(Refusal::Action(ActionRefusal::WrongState)), "it has none");
    assert_eq!(stored.rooms.entries.len(), 1, "no task without a row");
    assert!(act(create(1)).await.is_ok());
    stored.until("opened", async || stored.rooms.entries.len() == 2).await;

    // What was to follow does not.
    let (mut commits, queue) = commits_of(&stored, 16);
    let child = RoomId::from_bits(secret::random_bits());
    let mut first = coming(10, 1);
    first.breakouts.push((child, stored.row.charter.clone()));
    commits.put(first, None);
    commits.then(After::Transfer { participants: Vec::new(), room: child, invited: false });
    commits.then(After::Recall { rooms: vec![child], parent_ended: false });
    let pending = {
        let mut queue = queue;
        queue.recv().await.unwrap()
    };
    pending.stored.send_modify(|s| {
        s.number = 10;
        s.refused.push(child);
    });
    assert!(matches!(commits.take(), Some(News::Refused(rooms)) if rooms == [child]));
    while let Some(news) = commits.take() {
        assert!(matches!(news, News::Committed(_)), "nothing follows");
    }
    assert!(commits.is_done());
}
