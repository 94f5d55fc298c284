//! What is backed up comes back, on either database, and only whole.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

use sdk_spec::room::{Kind as RoomKind, RoomSettings};
use sfu_proto::id::RoomId;

use super::{
    super::{
        IdempotentRequest, NewRoom, Store,
        testing::{KEY, Place, on_both, places},
    },
    *,
};
use crate::{
    admin,
    domain::{Actor, Charter},
    secret,
};

on_both!(
    a_backup_comes_back_on_either_database,
    a_changed_or_cut_file_and_another_key_are_refused,
    a_database_in_use_is_not_overwritten,
    a_backup_is_of_one_moment_while_the_server_goes_on,
    a_backup_of_the_first_release_is_restored_and_migrated,
);

fn vault() -> Vault {
    Vault::new(&KEY)
}

fn room(project: &str, created_at_ms: u64) -> NewRoom {
    NewRoom {
        id: RoomId::from_bits(secret::random_bits()),
        project: project.to_owned(),
        created_at_ms,
        charter: Charter::new(RoomKind::Permanent, &RoomSettings::default()),
        commits: 0,
    }
}

/// A store with something of everything; the secret of a key in it.
async fn filled(place: &Place) -> (Store, String, String) {
    let store = place.open().await;
    let project =
        admin::create_project(&store, "a \"label\" with ü and \\ and '").await.unwrap().id;
    let key = admin::create_key(&store, &project, &[]).await.unwrap().secret;
    for number in 0..3 {
        let request = IdempotentRequest {
            id: [number; 32],
            fingerprint: [255 - number; 32],
            answer: "{\"a\":\"\\n\"}".to_owned(),
            now_ms: 1,
            expires_at_ms: u64::MAX,
        };
        let room = room(&project, u64::from(number));
        store.create_room(&room, &Actor::System, 10, Some(&request)).await.unwrap().unwrap();
    }
    (store, project, key)
}

fn file(place: &Place, name: &str) -> PathBuf {
    place.folder.join(name)
}

/// All lines but the trailer. Rows have no order.
fn rows_of(path: &Path) -> Vec<String> {
    let mut lines: Vec<_> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    lines.pop();
    lines.sort();
    lines
}

async fn a_backup_comes_back_on_either_database(place: Place) {
    let (_store, project, key) = filled(&place).await;
    let path = file(&place, "one");
    let count = backup(&place.url, &vault(), &path).await.unwrap();
    let rows = rows_of(&path);
    assert!(count > 10 && rows.len() as u64 == count + 1);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = key.splitn(3, '_').nth(2).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    for canary in [secret.to_owned(), STANDARD.encode(secret), STANDARD.encode(KEY)] {
        assert!(!whole.contains(&canary));
    }
    for target in places() {
        assert_eq!(restore(&target.url, &vault(), &path).await.unwrap(), count);
        let again = file(&target, "two");
        assert_eq!(backup(&target.url, &vault(), &again).await.unwrap(), count);
        assert!(rows_of(&again) == rows);
        // And the server works on it.
        let store = target.open().await;
        assert_eq!(store.open_rooms().await.unwrap().len(), 3);
        let new = room(&project, 9);
        store.create_room(&new, &Actor::System, 10, None).await.unwrap().unwrap();
        assert_eq!(admin::list_projects(&store).await.unwrap()[0].id, project);
    }
}

async fn a_changed_or_cut_file_and_another_key_are_refused(place: Place) {
    let _filled = filled(&place).await;
    let path = file(&place, "whole");
    backup(&place.url, &vault(), &path).await.unwrap();
    let whole = fs::read(&path).unwrap();
    let target = Place::sqlite();
    let bad = file(&place, "bad");
    let step = whole.len() / 40 + 1;
    for at in (0..whole.len()).step_by(step) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        for bytes in [&changed[..], &whole[..at]] {
            fs::write(&bad, bytes).unwrap();
            let told = restore(&target.url, &vault(), &bad).await;
            // A changed seal is like another key's.
            assert!(matches!(told, Err(BackupError::Damaged | BackupError::OtherKey)), "{at}");
        }
    }
    let other = restore(&target.url, &Vault::new(&[8; 32]), &path).await;
    assert!(matches!(other, Err(BackupError::OtherKey)));
    let other = backup(&place.url, &Vault::new(&[8; 32]), &file(&place, "never")).await;
    assert!(matches!(other, Err(BackupError::Store(StoreError::WrongKey))));
    let left: Vec<_> =
        fs::read_dir(&place.folder).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("never")), "{left:?}");
    restore(&target.url, &vault(), &path).await.unwrap();
}

async fn a_database_in_use_is_not_overwritten(place: Place) {
    let source = Place::sqlite();
    let _filled = filled(&source).await;
    let path = file(&place, "backup");
    backup(&source.url, &vault(), &path).await.unwrap();
    let again = backup(&source.url, &vault(), &path).await;
    assert!(matches!(again, Err(BackupError::File(_))), "the file is there");
    // Only started: with another key too, since nothing is sealed yet.
    Store::open(&place.url, Vault::new(&[8; 32])).await.unwrap().close().await;
    restore(&place.url, &vault(), &path).await.unwrap();
    let again = restore(&place.url, &vault(), &path).await;
    assert!(matches!(again, Err(BackupError::NotEmpty)));
    assert_eq!(place.open().await.open_rooms().await.unwrap().len(), 3);
}

async fn a_backup_is_of_one_moment_while_the_server_goes_on(place: Place) {
    let (store, project, _) = filled(&place).await;
    let writer = tokio::spawn(async move {
        for number in 0..200 {
            let room = room(&project, number);
            store.create_room(&room, &Actor::System, 1000, None).await.unwrap().unwrap();
        }
    });
    for number in 0..5 {
        let path = file(&place, &format!("at-{number}"));
        backup(&place.url, &vault(), &path).await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let header: Header = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let at = |name: &str| header.tables.iter().position(|t| t.name == name).unwrap();
        let (events, projects) = (at("events"), at("projects"));
        let column = header.tables[projects].columns.iter().position(|c| c.0 == "event_seq");
        let rows: Vec<Vec<Value>> =
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let told = rows.iter().filter(|row| row[0] == events).count();
        let counted =
            rows.iter().find(|row| row[0] == projects).unwrap()[1 + column.unwrap()].clone();
        assert_eq!(counted, told);
    }
    writer.await.unwrap();
}

async fn a_backup_of_the_first_release_is_restored_and_migrated(place: Place) {
    let target = Target::parse(&place.url).unwrap();
    let mut connection = target.connect().await.unwrap();
    schema::migrate(&mut connection, target.dialect, 1).await.unwrap();
    for sql in schema::tests::FIRST_ROWS {
        sqlx::query(*sql).execute(&mut connection).await.unwrap();
    }
    let path = file(&place, "first");
    let count = backup(&place.url, &vault(), &path).await.unwrap();
    for target in places() {
        assert_eq!(restore(&target.url, &vault(), &path).await.unwrap(), count);
        schema::tests::first_rows_are_there(&target.open().await).await;
    }
}
