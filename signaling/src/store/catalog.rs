//! Which tables there are, asked of the database itself: what an area adds is backed up with the
//! rest.

use sqlx::{AnyConnection, Row as _};

use super::{Dialect, StoreError};

/// What a column holds. Both databases have no more kinds in our schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Text,
    Integer,
    Bytes,
}

/// A table of ours, with its columns by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<(String, Kind)>,
}

const SQLITE_COLUMNS: &str = "SELECT m.name AS t, p.name AS c, p.type AS k \
    FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' \
    AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND m.name <> '_sqlx_migrations' \
    ORDER BY m.name, p.name";
const SQLITE_PARENTS: &str = "SELECT DISTINCT m.name AS child, f.\"table\" AS parent \
    FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'";
const POSTGRES_COLUMNS: &str = "SELECT CAST(c.table_name AS TEXT) AS t, \
    CAST(c.column_name AS TEXT) AS c, CAST(c.data_type AS TEXT) AS k \
    FROM information_schema.columns c JOIN information_schema.tables t \
    ON t.table_schema = c.table_schema AND t.table_name = c.table_name \
    WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' \
    AND c.table_name <> '_sqlx_migrations' \
    ORDER BY c.table_name COLLATE \"C\", c.column_name COLLATE \"C\"";
const POSTGRES_PARENTS: &str = "SELECT DISTINCT CAST(child.relname AS TEXT) AS child, \
    CAST(parent.relname AS TEXT) AS parent FROM pg_constraint f \
    JOIN pg_class child ON child.oid = f.conrelid JOIN pg_class parent ON parent.oid = f.confrelid \
    WHERE f.contype = 'f' AND f.connamespace = CAST(current_schema() AS regnamespace)";

/// All tables, each after those that its rows refer to.
pub(super) async fn tables(
    connection: &mut AnyConnection,
    dialect: Dialect,
) -> Result<Vec<Table>, StoreError> {
    let (columns, parents) = match dialect {
        Dialect::Sqlite => (SQLITE_COLUMNS, SQLITE_PARENTS),
        Dialect::Postgres => (POSTGRES_COLUMNS, POSTGRES_PARENTS),
    };
    let mut tables: Vec<Table> = Vec::new();
    for row in sqlx::query(columns).fetch_all(&mut *connection).await? {
        let (name, column): (String, String) = (row.try_get("t")?, row.try_get("c")?);
        let column = (column, kind(&row.try_get::<String, _>("k")?)?);
        match tables.last_mut() {
            Some(table) if table.name == name => table.columns.push(column),
            _ => tables.push(Table { name, columns: vec![column] }),
        }
    }
    let mut refers = Vec::new();
    for row in sqlx::query(parents).fetch_all(&mut *connection).await? {
        refers.push((row.try_get("child")?, row.try_get("parent")?));
    }
    parents_first(tables, &refers)
}

fn kind(name: &str) -> Result<Kind, StoreError> {
    match name.to_ascii_uppercase().as_str() {
        "TEXT" => Ok(Kind::Text),
        "BIGINT" => Ok(Kind::Integer),
        "BLOB" | "BYTEA" => Ok(Kind::Bytes),
        _ => Err(StoreError::Corrupt("a column of a type that we do not use")),
    }
}

fn parents_first(
    mut left: Vec<Table>,
    refers: &[(String, String)],
) -> Result<Vec<Table>, StoreError> {
    let mut sorted: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let names: Vec<_> = left.iter().map(|table| table.name.clone()).collect();
        let waits = |table: &Table| {
            refers.iter().any(|(child, parent)| {
                *child == table.name && parent != child && names.contains(parent)
            })
        };
        let (later, now): (Vec<_>, Vec<_>) = left.into_iter().partition(waits);
        if now.is_empty() {
            return Err(StoreError::Corrupt("tables that refer to each other in a circle"));
        }
        sorted.extend(now);
        left = later;
    }
    Ok(sorted)
}

impl Table {
    /// Reads all rows, columns in order.
    pub(super) fn select(&self) -> String {
        format!("SELECT {} FROM \"{}\"", self.names(), self.name)
    }

    /// Writes one row, columns in order.
    pub(super) fn insert(&self) -> String {
        let values: Vec<_> = (1..=self.columns.len()).map(|n| format!("${n}")).collect();
        let (name, names, values) = (&self.name, self.names(), values.join(", "));
        format!("INSERT INTO \"{name}\" ({names}) VALUES ({values})")
    }

    fn names(&self) -> String {
        let quoted: Vec<_> = self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        quoted.join(", ")
    }
}
