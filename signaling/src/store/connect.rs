//! Connections: which database, how its sessions are set up, how many there are.
//!
//! SQLite: one connection writes, in `BEGIN IMMEDIATE` transactions (a read-then-write in a deferred
//! one fails with SQLITE_BUSY under load whatever the busy time-out), a few others read.
//! PostgreSQL: one pool, READ COMMITTED; who reads and then writes locks the row first.

use std::{net::IpAddr, sync::Once, time::Duration};

use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _, any::AnyPoolOptions};

use super::{Dialect, StoreError};
use crate::limits;

/// WAL and FULL: a commit survives a power cut, readers do not wait for the writer. `secure_delete`
/// overwrites what is deleted.
const SQLITE_SESSION: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;";

/// The server ends what we would have given up on. Milliseconds: [`limits::STORE_STATEMENT`],
/// [`limits::STORE_WAIT`], [`limits::STORE_IDLE_TRANSACTION`]; a test compares.
pub(super) const POSTGRES_SESSION: &str = "SET statement_timeout = 10000; \
    SET lock_timeout = 5000; SET idle_in_transaction_session_timeout = 30000; \
    SET default_transaction_isolation = 'read committed'; SET client_min_messages = 'warning';";

/// A database by its URL, ready to connect to.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) dialect: Dialect,
    url: String,
}

impl Target {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        match url.split_once(':') {
            Some(("sqlite", _)) => {
                Ok(Self { dialect: Dialect::Sqlite, url: with_parameter(url, "mode=rwc") })
            }
            Some(("postgres" | "postgresql", _)) => {
                Ok(Self { dialect: Dialect::Postgres, url: checked_by_default(url) })
            }
            _ => Err(StoreError::UnknownDatabase),
        }
    }

    /// One connection beside the pools, for work that takes long: no limits on its statements.
    pub(super) async fn connect(&self) -> Result<AnyConnection, StoreError> {
        let mut connection = AnyConnection::connect(&self.url).await?;
        if self.dialect == Dialect::Sqlite {
            connection.execute(SQLITE_SESSION).await?;
        }
        Ok(connection)
    }

    /// The pools for writing and for reading.
    pub(super) async fn pools(&self) -> Result<(AnyPool, AnyPool), StoreError> {
        match self.dialect {
            Dialect::Sqlite => {
                let open = |count| pool(count, SQLITE_SESSION).connect(&self.url);
                Ok((open(1).await?, open(limits::STORE_READERS).await?))
            }
            Dialect::Postgres => {
                let pool = pool(limits::STORE_CONNECTIONS, POSTGRES_SESSION);
                // After a failover of the server no old connection stays for ever.
                let both =
                    pool.max_lifetime(limits::STORE_CONNECTION_LIFE).connect(&self.url).await?;
                Ok((both.clone(), both))
            }
        }
    }
}

fn pool(connections: u32, session: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(limits::STORE_WAIT)
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .after_connect(move |connection: &mut AnyConnection, _| {
            Box::pin(async move {
                connection.execute(session).await?;
                Ok(())
            })
        })
}

/// A server elsewhere must prove who it is, unless the operator chose another `sslmode`: the
/// library's own default is to go without TLS when the server offers none.
fn checked_by_default(url: &str) -> String {
    match url.contains("sslmode=") || url.contains("ssl-mode=") || is_local(url) {
        true => url.to_owned(),
        false => with_parameter(url, "sslmode=verify-full"),
    }
}

/// A socket, or an address of this machine.
fn is_local(url: &str) -> bool {
    let (before, parameters) = url.split_once('?').unwrap_or((url, ""));
    let authority = before.split("://").nth(1).unwrap_or("").split('/').next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or("");
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let overridden: Vec<_> = parameters
        .split('&')
        .filter_map(|p| p.strip_prefix("host=").or_else(|| p.strip_prefix("hostaddr=")))
        .collect();
    let hosts = if overridden.is_empty() { vec![host] } else { overridden };
    hosts.into_iter().all(|host| {
        host.is_empty()
            || host == "localhost"
            || host.starts_with('/')
            || host.to_ascii_lowercase().starts_with("%2f")
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

fn with_parameter(url: &str, parameter: &str) -> String {
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{parameter}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_server_elsewhere_must_prove_who_it_is() {
        for remote in [
            "postgres://u:p@db.example/c",
            "postgres://u@192.0.2.1:5432/c",
            "postgres://localhost@db.example/c?application_name=x",
            "postgres://localhost/c?host=db.example",
            "postgres://localhost/c?hostaddr=192.0.2.1",
            "postgres://[2001:db8::1]/c",
        ] {
            assert!(
                Target::parse(remote).unwrap().url.ends_with("sslmode=verify-full"),
                "{remote}"
            );
        }
        for as_it_is in [
            "postgres:///c",
            "postgres:///c?host=/run/postgresql",
            "postgres://u@%2Frun%2Fpostgresql/c",
            "postgres://u@localhost/c",
            "postgres://u@127.0.0.1:5432/c",
            "postgres://u@[::1]/c",
            "postgres://u@db.example/c?sslmode=disable",
            "postgresql://u@db.example/c?sslmode=verify-ca&sslrootcert=/etc/ca.pem",
        ] {
            assert_eq!(Target::parse(as_it_is).unwrap().url, as_it_is);
        }
    }

    #[test]
    fn the_server_is_told_our_limits() {
        for (setting, limit) in [
            ("statement_timeout", limits::STORE_STATEMENT),
            ("lock_timeout", limits::STORE_WAIT),
            ("idle_in_transaction_session_timeout", limits::STORE_IDLE_TRANSACTION),
        ] {
            let text = format!("SET {setting} = {};", limit.as_millis());
            assert!(POSTGRES_SESSION.contains(&text), "{text}");
        }
    }
}
