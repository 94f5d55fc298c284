//! The schema of both databases, as migrations from the first release on. A released file never
//! changes.

use std::borrow::Cow;

use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

use super::Dialect;

const SQLITE: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/sqlite/0001_first.sql")),
    (2, "tenants", include_str!("../../migrations/sqlite/0002_tenants.sql")),
    (3, "outbox", include_str!("../../migrations/sqlite/0003_outbox.sql")),
    (4, "rooms", include_str!("../../migrations/sqlite/0004_rooms.sql")),
    (5, "webhooks", include_str!("../../migrations/sqlite/0005_webhooks.sql")),
    (6, "usage", include_str!("../../migrations/sqlite/0006_usage.sql")),
    (7, "audit", include_str!("../../migrations/sqlite/0007_audit.sql")),
];
const POSTGRES: &[(i64, &str, &str)] = &[
    (1, "first", include_str!("../../migrations/postgres/0001_first.sql")),
    (2, "tenants", include_str!("../../migrations/postgres/0002_tenants.sql")),
    (3, "outbox", include_str!("../../migrations/postgres/0003_outbox.sql")),
    (4, "rooms", include_str!("../../migrations/postgres/0004_rooms.sql")),
    (5, "webhooks", include_str!("../../migrations/postgres/0005_webhooks.sql")),
    (6, "usage", include_str!("../../migrations/postgres/0006_usage.sql")),
    (7, "audit", include_str!("../../migrations/postgres/0007_audit.sql")),
];

/// All migrations of a database.
pub(super) fn migrations(dialect: Dialect) -> Migrator {
    let files = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
    };
    let all = files.iter().map(|(version, name, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(*version, Cow::Borrowed(*name), kind, (*sql).into_sql_str(), false)
    });
    Migrator::with_migrations(all.collect())
}
