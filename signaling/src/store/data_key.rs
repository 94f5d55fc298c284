//! The check value by which a database knows its data key.

use sqlx::{AnyConnection, Row as _};

use super::StoreError;
use crate::vault::Vault;

/// Row of the table `meta`, and the place that its value is sealed for.
const NAME: &str = "data_key";
/// What is sealed.
const CHECK: &[u8] = b"conclave";

/// Leaves a check value in a fresh database; refuses a key that does not open the one that is there.
/// Of nodes that start at once with different keys, one wins.
pub(super) async fn check(connection: &mut AnyConnection, vault: &Vault) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
        .bind(NAME)
        .bind(vault.seal(NAME, CHECK))
        .execute(&mut *connection)
        .await?;
    verify(connection, vault).await
}

/// Refuses a key that does not open the check value.
pub(super) async fn verify(
    connection: &mut AnyConnection,
    vault: &Vault,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT value FROM meta WHERE name = $1")
        .bind(NAME)
        .fetch_one(&mut *connection)
        .await?;
    let sealed: Vec<u8> = row.try_get("value")?;
    match vault.open(NAME, &sealed) {
        Ok(plain) if plain == CHECK => Ok(()),
        _ => Err(StoreError::WrongKey),
    }
}
