//! Backup and restore: the same file from and into both databases.
//!
//! ```text
//! {"conclave_backup":1,"schema":8,"tables":[{"name":"projects","columns":[["id","text"],…]},…]}
//! [0,"pj_…",1733000000000,…]              a row of table 0: text, number, bytes in base64, null
//! …
//! {"rows":1234,"sha256":"…","seal":"…"}   digest of all lines before; seal: by the data key
//! ```
//!
//! Secrets are in it as they are in the database: sealed, or as hashes. The data key is not.

mod file;
#[cfg(test)]
mod tests;

use std::{
    fs,
    io::{self, BufReader, BufWriter},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::{
    Any, AnyConnection, AssertSqlSafe, Connection as _, Row as _, any::AnyArguments, any::AnyRow,
    query::Query,
};

use super::{
    Dialect, StoreError,
    catalog::{self, Kind, Table},
    connect::Target,
    data_key, schema,
};
use crate::vault::Vault;
use file::{Header, Reader, Writer};

/// Tables that have rows before anybody has used the server.
const OF_THE_START: &[&str] = &["meta", "heartbeats", "audit_keys"];

/// Why a backup could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database. Blame: the environment.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file. Blame: the environment.
    #[error("backup file: {0}")]
    File(#[from] io::Error),
    /// The file is no backup, or of a program that writes them otherwise.
    #[error("backup file: line {0} is not understood")]
    Format(u64),
    /// Bytes of the file were changed or are missing.
    #[error("backup file: damaged or incomplete, its digest is wrong")]
    Damaged,
    /// The file belongs to another data key. Blame: the operator.
    #[error(
        "backup file: made with another data key, or by somebody without it: the key is not part \
         of a backup, put back the data.key of that server"
    )]
    OtherKey,
    /// There is data already. Blame: the operator.
    #[error("the database is not empty: restore into a fresh one")]
    NotEmpty,
    /// There is nothing to back up.
    #[error("there is no database yet")]
    Nothing,
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Writes everything in the database at `url` to `path`, as of one moment, while servers go on.
/// Returns the number of rows. `path` must not exist; it is readable for its owner only.
///
/// # Errors
/// [`BackupError`]; then nothing is at `path`.
pub async fn backup(url: &str, vault: &Vault, path: &Path) -> Result<u64, BackupError> {
    if path.try_exists()? {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
    }
    let part = path.with_added_extension("part");
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    let written = dump(url, vault, &file).await.and_then(|rows| {
        file.sync_all()?;
        fs::rename(&part, path)?;
        Ok(rows)
    });
    if written.is_err() {
        fs::remove_file(&part)?;
    }
    written
}

async fn dump(url: &str, vault: &Vault, file: &fs::File) -> Result<u64, BackupError> {
    let target = Target::parse(url)?;
    let mut connection = target.connect().await?;
    let mut tx = connection
        .begin_with(match target.dialect {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })
        .await?;
    let schema = schema::version(&mut tx, target.dialect).await?;
    if schema == 0 {
        return Err(BackupError::Nothing);
    }
    let tables = catalog::tables(&mut tx, target.dialect).await?;
    if tables.iter().any(|table| table.name == "meta") {
        data_key::verify(&mut tx, vault).await?;
    }
    let header = Header { conclave_backup: file::VERSION, schema, tables: tables.clone() };
    let mut writer = Writer::begin(BufWriter::new(file), &header)?;
    for (number, table) in tables.iter().enumerate() {
        let mut rows = sqlx::query(AssertSqlSafe(table.select())).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await? {
            writer.row(&to_json(number, table, &row)?)?;
        }
    }
    let rows = writer.end(vault)?;
    tx.rollback().await?;
    Ok(rows)
}

/// Fills the empty database at `url` from the file at `path`, whatever database that came from, and
/// brings the schema up to date. Returns the number of rows.
///
/// # Errors
/// [`BackupError`]; then the database is as empty as before.
pub async fn restore(url: &str, vault: &Vault, path: &Path) -> Result<u64, BackupError> {
    file::verify(BufReader::new(fs::File::open(path)?), vault)?;
    let target = Target::parse(url)?;
    let mut connection = target.connect().await?;
    make_empty(&mut connection, target.dialect).await?;
    let (header, mut rows) = Reader::begin(BufReader::new(fs::File::open(path)?))?;
    if header.schema > schema::NEWEST {
        let (database, program) = (header.schema, schema::NEWEST);
        return Err(StoreError::Newer { database, program }.into());
    }
    schema::migrate(&mut connection, target.dialect, header.schema).await?;
    let known = catalog::tables(&mut connection, target.dialect).await?;
    let all_known = header.tables.iter().all(|table| known.contains(table));
    if !all_known || header.tables.len() != known.len() {
        return Err(BackupError::Format(1));
    }
    let count = load(&mut connection, target.dialect, &header.tables, &mut rows).await?;
    schema::migrate(&mut connection, target.dialect, schema::NEWEST).await?;
    data_key::check(&mut connection, vault).await?;
    connection.close().await?;
    Ok(count)
}

/// Inserts all rows, or none.
async fn load(
    connection: &mut AnyConnection,
    dialect: Dialect,
    tables: &[Table],
    rows: &mut Reader,
) -> Result<u64, BackupError> {
    let mut tx = connection.begin_with(dialect.begin_write()).await?;
    // A migration may have put something there; it is in the backup too.
    for table in tables.iter().rev() {
        let sql = format!("DELETE FROM \"{}\"", table.name);
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    let inserts: Vec<_> = tables.iter().map(Table::insert).collect();
    let mut count = 0;
    while let Some(row) = rows.row()? {
        let wrong = || BackupError::Format(rows.line());
        let (number, values) = row.split_first().ok_or_else(wrong)?;
        let number = number.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(wrong)?;
        let table = tables.get(number).ok_or_else(wrong)?;
        if values.len() != table.columns.len() {
            return Err(wrong());
        }
        let mut query = sqlx::query(AssertSqlSafe(inserts[number].as_str()));
        for (value, (_, kind)) in values.iter().zip(&table.columns) {
            query = bind(query, value, *kind).ok_or_else(wrong)?;
        }
        query.execute(&mut *tx).await?;
        count += 1;
    }
    tx.commit().await?;
    Ok(count)
}

/// Refuses a database that was used. Of one that was only started, or half restored, the tables go.
async fn make_empty(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), BackupError> {
    if schema::version(connection, dialect).await? == 0 {
        return Ok(());
    }
    let tables = catalog::tables(connection, dialect).await?;
    for table in tables.iter().filter(|table| !OF_THE_START.contains(&table.name.as_str())) {
        let sql = format!("SELECT COUNT(*) AS n FROM \"{}\"", table.name);
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
        if row.try_get::<i64, _>("n")? > 0 {
            return Err(BackupError::NotEmpty);
        }
    }
    let mut tx = connection.begin_with(dialect.begin_write()).await?;
    let names = tables.iter().rev().map(|table| table.name.as_str());
    for name in names.chain(["_sqlx_migrations"]) {
        let sql = format!("DROP TABLE \"{name}\"");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    }
    Ok(tx.commit().await?)
}

fn to_json(number: usize, table: &Table, row: &AnyRow) -> Result<Vec<Value>, sqlx::Error> {
    let mut values = vec![Value::from(number)];
    for (at, (_, kind)) in table.columns.iter().enumerate() {
        values.push(match kind {
            Kind::Text => row.try_get::<Option<String>, _>(at)?.into(),
            Kind::Integer => row.try_get::<Option<i64>, _>(at)?.into(),
            Kind::Bytes => {
                row.try_get::<Option<Vec<u8>>, _>(at)?.map(|bytes| STANDARD.encode(bytes)).into()
            }
        });
    }
    Ok(values)
}

type Insert<'a> = Query<'a, Any, AnyArguments>;

/// `None` when the value is not of this kind.
fn bind<'a>(query: Insert<'a>, value: &Value, kind: Kind) -> Option<Insert<'a>> {
    let null = value.is_null();
    Some(match kind {
        Kind::Text if null => query.bind(None::<String>),
        Kind::Integer if null => query.bind(None::<i64>),
        Kind::Bytes if null => query.bind(None::<Vec<u8>>),
        Kind::Text => query.bind(value.as_str()?.to_owned()),
        Kind::Integer => query.bind(value.as_i64()?),
        Kind::Bytes => query.bind(STANDARD.decode(value.as_str()?).ok()?),
    })
}
