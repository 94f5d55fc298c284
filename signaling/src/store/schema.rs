//! The schema of both databases, as migrations from the first release on. A released file never
//! changes.

use std::borrow::Cow;

use sqlx::{
    AnyConnection, Row as _, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{Dialect, StoreError};

const SQLITE: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/sqlite/0001_first.sql")),
    (2, "tenants", include_str!("../../migrations/sqlite/0002_tenants.sql")),
    (3, "outbox", include_str!("../../migrations/sqlite/0003_outbox.sql")),
    (4, "rooms", include_str!("../../migrations/sqlite/0004_rooms.sql")),
    (5, "webhooks", include_str!("../../migrations/sqlite/0005_webhooks.sql")),
    (6, "usage", include_str!("../../migrations/sqlite/0006_usage.sql")),
    (7, "audit", include_str!("../../migrations/sqlite/0007_audit.sql")),
    (8, "meta", include_str!("../../migrations/sqlite/0008_meta.sql")),
    (9, "recordings", include_str!("../../migrations/sqlite/0009_recordings.sql")),
];
const POSTGRES: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/postgres/0001_first.sql")),
    (2, "tenants", include_str!("../../migrations/postgres/0002_tenants.sql")),
    (3, "outbox", include_str!("../../migrations/postgres/0003_outbox.sql")),
    (4, "rooms", include_str!("../../migrations/postgres/0004_rooms.sql")),
    (5, "webhooks", include_str!("../../migrations/postgres/0005_webhooks.sql")),
    (6, "usage", include_str!("../../migrations/postgres/0006_usage.sql")),
    (7, "audit", include_str!("../../migrations/postgres/0007_audit.sql")),
    (8, "meta", include_str!("../../migrations/postgres/0008_meta.sql")),
    (9, "recordings", include_str!("../../migrations/postgres/0009_recordings.sql")),
];

/// The schema that this program works with.
pub(super) const NEWEST: i64 = SQLITE[SQLITE.len() - 1].0;

/// Brings the schema up to version `to`. On PostgreSQL nodes that start at once wait for each other.
pub(super) async fn migrate(
    connection: &mut AnyConnection,
    dialect: Dialect,
    to: i64,
) -> Result<(), StoreError> {
    let found = version(connection, dialect).await?;
    if found > NEWEST {
        return Err(StoreError::Newer { database: found, program: NEWEST });
    }
    let files = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    let wanted = files.iter().filter(|(version, ..)| *version <= to.max(found));
    let all = wanted.map(|(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(*version, Cow::Borrowed(*name), kind, (*sql).into_sql_str(), false)
    });
    // `run` is for any way to come by a connection, which the compiler then cannot see to be `Send`.
    Ok(Migrator::with_migrations(all.collect()).run_direct(None, connection, false).await?)
}

/// The version of the schema; 0 for an empty database.
pub(super) async fn version(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<i64, StoreError> {
    let known = sqlx::query(match dialect {
        Dialect::Sqlite => {
            "SELECT COUNT(*) AS n FROM sqlite_master WHERE name = '_sqlx_migrations'"
        }
        Dialect::Postgres => {
            "SELECT COUNT(*) AS n FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')"
        }
    });
    if known.fetch_one(&mut *connection).await?.try_get::<i64, _>("n")? == 0 {
        return Ok(0);
    }
    let newest = sqlx::query("SELECT COALESCE(MAX(version), 0) AS n FROM _sqlx_migrations");
    Ok(newest.fetch_one(&mut *connection).await?.try_get("n")?)
}

#[cfg(test)]
pub(super) mod tests;
