//! Why the store failed.

use std::fmt;

/// Why the store failed. Always the environment (disk, locks, a foreign file) or a defect of ours.
/// Its texts hold nothing of a row.
#[derive(thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("database: {}", shown(.0))]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("database schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A row holds what it never should.
    #[error("database: unexpected value in {0}")]
    Corrupt(&'static str),
    /// The URL names a database that is not built in.
    #[error("database URL must begin with sqlite: or postgres:")]
    UnknownDatabase,
    /// A secret column does not open: another data key, or changed bytes.
    #[error("database: a secret does not open with this data key")]
    Sealed,
    /// The same request is being answered at this moment.
    #[error("database: the same request came twice at once")]
    Twin,
    /// Another signaling process took the rooms of this one.
    #[error("another signaling process took this database over: end this one")]
    TakenOver,
    /// Another signaling process uses the database.
    #[error(
        "another signaling process uses this database and gives signs of life: end it first \
         (one process per database)"
    )]
    Occupied,
    /// The database was sealed with another key.
    #[error(
        "the data key is not the one of this database: put the right one into \
         storage.data_key_file or CONCLAVE_DATA_KEY"
    )]
    WrongKey,
    /// A newer program has been here.
    #[error(
        "the database has schema {database}, this program knows up to {program}: \
         run a newer one, or restore a backup"
    )]
    Newer {
        /// Version found.
        database: i64,
        /// Newest version known.
        program: i64,
    },
}

impl StoreError {
    /// Whether trying again cannot help: what is to be stored does not fit what is stored.
    pub(crate) fn is_final(&self) -> bool {
        use sqlx::error::ErrorKind as K;
        match self {
            Self::Database(sqlx::Error::Database(error)) => matches!(
                error.kind(),
                K::UniqueViolation
                    | K::ForeignKeyViolation
                    | K::NotNullViolation
                    | K::CheckViolation
            ),
            Self::Database(sqlx::Error::RowNotFound)
            | Self::Corrupt(_)
            | Self::Twin
            | Self::TakenOver => true,
            _ => false,
        }
    }

    /// Whether the store was closed, by us.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::PoolClosed))
    }
}

/// The library's own `Debug` shows the row that PostgreSQL refused, and handles stand in rows.
impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreError({self})")
    }
}

/// What may be told: the text of the database names columns and constraints. That of a "data
/// exception" (SQLSTATE class 22) quotes the value.
fn shown(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(refused) => match refused.code() {
            Some(code) if code.starts_with("22") => format!("refused a value ({code})"),
            Some(code) => format!("{} ({code})", refused.message()),
            None => refused.message().to_owned(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use crate::store::testing::{Place, on_both};

    on_both!(an_error_shows_nothing_of_a_row);

    async fn an_error_shows_nothing_of_a_row(place: Place) {
        let store = place.open().await;
        for sql in [
            "INSERT INTO projects (id, label, created_at) VALUES ($1, 'canary', NULL)",
            "INSERT INTO projects (id, label, created_at) VALUES (NULL, 'canary', CAST($1 AS BIGINT))",
        ] {
            let refused = sqlx::query(sql).bind("canary").execute(&store.writer).await;
            let error = super::StoreError::from(refused.err().unwrap());
            let told = format!("{error} {error:?}");
            assert!(told.contains("database: ") && !told.contains("canary"), "{told}");
        }
    }
}
