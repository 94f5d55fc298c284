//! `conclave backup` and `conclave restore`.

use std::{io::Write as _, path::Path};

use anyhow::Context as _;
use signaling::store;

use crate::{config::file::Storage, data};

/// Writes the database to a file, while the server runs or not.
///
/// # Errors
/// When the database or the file cannot be used.
pub(crate) async fn backup(storage: &Storage, file: &Path) -> anyhow::Result<()> {
    let place = data::prepare(storage)?;
    let rows = store::backup(&place.url, &place.vault, file)
        .await
        .with_context(|| format!("{}", file.display()))?;
    advise(&format!(
        "{rows} rows are in {}. The data key ({}) is NOT in it: without that key \
         the backup is worthless. Keep the key too, and in another place.",
        file.display(),
        place.key
    ));
    Ok(())
}

/// Fills an empty database from a file.
///
/// # Errors
/// When the server runs, the database is not empty, or the file is not whole.
pub(crate) async fn restore(storage: &Storage, file: &Path) -> anyhow::Result<()> {
    let _alone = data::alone(storage)?;
    let place = data::prepare(storage)?;
    let rows = store::restore(&place.url, &place.vault, file)
        .await
        .with_context(|| format!("{}", file.display()))?;
    advise(&format!("{rows} rows restored into {}", place.shown));
    Ok(())
}

/// Advice is for people; that it cannot be shown is no failure.
fn advise(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
