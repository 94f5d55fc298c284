//! From every version to the newest.
#![allow(clippy::unwrap_used, reason = "tests")]

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{
    super::{
        Store,
        catalog::{self, Kind, Table},
        connect::Target,
        testing::{KEY, Place, on_both, places},
    },
    *,
};
use crate::{Vault, admin};

on_both!(
    the_first_release_migrates_with_its_rows,
    every_version_migrates_with_rows_in_each_table,
    a_newer_schema_is_refused_and_left_alone,
);

/// Rows as the first release wrote them.
pub(in crate::store) const FIRST_ROWS: &[&str] = &[
    "INSERT INTO projects (id, label, created_at) VALUES ('pj_1', 'old', 11)",
    "INSERT INTO rooms (id, project, created_at, participants_max, empty_timeout_seconds, \
     reference, closed_at) VALUES ('rm_00000000000000000000000001', 'pj_1', 13, 7, 77, 'lesson', NULL)",
    "INSERT INTO rooms (id, project, created_at, participants_max, empty_timeout_seconds, \
     reference, closed_at) VALUES ('rm_00000000000000000000000002', 'pj_1', 14, 8, 88, NULL, 15)",
    "INSERT INTO used_tokens (signing_key, jti, expires_at) VALUES ('sk_1', 'jti', 16)",
];

/// What the first release's rows have become.
pub(in crate::store) async fn first_rows_are_there(store: &Store) {
    let projects = admin::list_projects(store).await.unwrap();
    assert_eq!((projects.len(), projects[0].label.as_str()), (1, "old"));
    let open = store.open_rooms().await.unwrap();
    assert_eq!(open.len(), 1);
    let charter = &open[0].charter;
    assert_eq!(charter.reference.as_ref().unwrap().as_str(), "lesson");
    assert_eq!(charter.settings.participants_max, Some(7));
    assert_eq!(charter.settings.empty_timeout_seconds, Some(77));
    let all = sqlx::query("SELECT COUNT(*) AS n FROM rooms").fetch_one(&store.readers).await;
    assert_eq!(all.unwrap().try_get::<i64, _>("n").unwrap(), 2);
}

/// A database with the schema of a version.
async fn of_version(place: &Place, version: i64) -> (AnyConnection, Dialect) {
    let target = Target::parse(&place.url).unwrap();
    let mut connection = target.connect().await.unwrap();
    migrate(&mut connection, target.dialect, version).await.unwrap();
    (connection, target.dialect)
}

async fn the_first_release_migrates_with_its_rows(place: Place) {
    let (mut connection, _) = of_version(&place, 1).await;
    for sql in FIRST_ROWS {
        connection.execute(*sql).await.unwrap();
    }
    connection.close().await.unwrap();
    first_rows_are_there(&place.open().await).await;
    // And once more: nothing is done twice.
    first_rows_are_there(&place.open().await).await;
}

/// One row in each table, the same text everywhere so that references fit.
async fn fill(connection: &mut AnyConnection, dialect: Dialect, tables: &[Table]) {
    let bytes = match dialect {
        Dialect::Sqlite => "x'0102'",
        Dialect::Postgres => "'\\x0102'::bytea",
    };
    for table in tables {
        let values = table.columns.iter().map(|(name, kind)| match (name.as_str(), kind) {
            ("settings" | "data", _) => "'{}'",
            (_, Kind::Text) => "'t'",
            (_, Kind::Integer) => "1",
            (_, Kind::Bytes) => bytes,
        });
        let names: Vec<_> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let (names, values) = (names.join(", "), values.collect::<Vec<_>>().join(", "));
        let sql = format!("INSERT INTO \"{}\" ({names}) VALUES ({values})", table.name);
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
}

async fn rows_in(connection: &mut AnyConnection, table: &Table) -> i64 {
    let sql = AssertSqlSafe(format!("SELECT COUNT(*) AS n FROM \"{}\"", table.name));
    sqlx::query(sql).fetch_one(connection).await.unwrap().try_get("n").unwrap()
}

async fn every_version_migrates_with_rows_in_each_table(place: Place) {
    let postgres = place.postgres.is_some();
    for version in 1..NEWEST {
        let place = if postgres { Place::postgres() } else { Place::sqlite() };
        let (mut connection, dialect) = of_version(&place, version).await;
        let tables = catalog::tables(&mut connection, dialect).await.unwrap();
        fill(&mut connection, dialect, &tables).await;
        migrate(&mut connection, dialect, NEWEST).await.unwrap();
        assert_eq!(super::version(&mut connection, dialect).await.unwrap(), NEWEST);
        let after = catalog::tables(&mut connection, dialect).await.unwrap();
        for table in after.iter().filter(|t| tables.iter().any(|before| before.name == t.name)) {
            assert_eq!(rows_in(&mut connection, table).await, 1, "{version}: {}", table.name);
        }
    }
}

async fn a_newer_schema_is_refused_and_left_alone(place: Place) {
    let (mut connection, _) = of_version(&place, NEWEST).await;
    let newer = "UPDATE _sqlx_migrations SET version = version + 1000 WHERE version = \
                 (SELECT MAX(version) FROM _sqlx_migrations)";
    connection.execute(newer).await.unwrap();
    let told = Store::open(&place.url, Vault::new(&KEY)).await.err().unwrap();
    assert!(matches!(told, StoreError::Newer { program: NEWEST, .. }), "{told}");
    assert!(told.to_string().contains("run a newer one"));
}

#[tokio::test]
async fn both_databases_have_the_same_tables_at_every_version() {
    for to in 1..=NEWEST {
        let mut found = Vec::new();
        for place in places() {
            let (mut connection, dialect) = of_version(&place, to).await;
            found.push(catalog::tables(&mut connection, dialect).await.unwrap());
        }
        assert_eq!(found[0], found[1], "version {to}");
    }
}
