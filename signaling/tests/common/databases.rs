//! Each test on SQLite and on PostgreSQL.
//!
//! ```text
//! on_both!(rooms_close_once, tokens_are_used_once);
//!
//! async fn rooms_close_once(place: Place) {
//!     let store = place.open().await;
//!     …
//! }
//! ```
//!
//! makes the tests `rooms_close_once::sqlite`, `rooms_close_once::postgres` and so on.
//! Use: in unit tests `crate::store::testing::{Place, on_both}`; in `signaling/tests` `mod common;
//! use common::databases::{Place, on_both};`. `Store` and `Vault` come from the module above.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    reason = "tests"
)]

#[path = "postgres.rs"]
pub mod postgres;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::{Store, Vault};

/// Data key of all tests.
pub const KEY: [u8; 32] = [7; 32];

/// A fresh, empty database and a folder beside it; both go with this value. Keep it as long as the
/// store.
pub struct Place {
    /// For [`Store::open`].
    pub url: String,
    /// Of the SQLite files; free for others.
    pub folder: PathBuf,
    /// The other database: its `sql` and `dump` run past our code.
    pub postgres: Option<postgres::Database>,
}

impl Place {
    /// A file.
    pub fn sqlite() -> Self {
        let folder = folder();
        Self { url: format!("sqlite://{}/test.db", folder.display()), folder, postgres: None }
    }

    /// A database of this process's server, which is started with the first.
    ///
    /// # Panics
    /// When PostgreSQL is not installed.
    pub fn postgres() -> Self {
        let database = postgres::database();
        Self { url: database.url.clone(), folder: folder(), postgres: Some(database) }
    }

    /// The database file of SQLite.
    pub fn file(&self) -> PathBuf {
        self.folder.join("test.db")
    }

    /// Opens the store, again too.
    pub async fn open(&self) -> Store {
        Store::open(&self.url, Vault::new(&KEY)).await.unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One of each kind, for a test that loops.
pub fn places() -> [Place; 2] {
    [Place::sqlite(), Place::postgres()]
}

fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("conclave-db-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Makes two tests of each function that takes a [`Place`].
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        $(
            mod $test {
                #[tokio::test]
                async fn sqlite() {
                    super::$test(super::Place::sqlite()).await;
                }

                #[tokio::test]
                async fn postgres() {
                    super::$test(super::Place::postgres()).await;
                }
            }
        )+
    };
}
pub(crate) use on_both;
