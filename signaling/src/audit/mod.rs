//! The audit log: who changed what, in a hash tree that cannot be rewritten unseen.
//!
//! ```text
//!  change ─▶ entry ─▶ leaf = {tree, seq, time, actor, action, commitment}
//!                              commitment = H(salt, object, before, after)   ◀─ erasable
//!  leaves ─▶ tree (RFC 9162) ─▶ checkpoint, signed (C2SP signed note) every few seconds
//! ```
//!
//! Everything here is pure, so that a partner's verifier is the same code: `store` keeps the rows,
//! `keeper` signs. Erasing an opening leaves the leaf, and with it every proof, as it was.

pub mod entry;
pub(crate) mod keeper;
pub mod note;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod verify;

pub use verify::{Finding, Report, verify};

pub use crate::store::OPERATOR_TREE;

use std::io::{self, Write};

use crate::store::{Store, StoreError};

/// Why an export failed. Blame: the environment.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Where it is written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

/// Entries read at once.
const EXPORT_PAGE: u32 = 1000;

/// Writes the whole log of a tree, as [`verify`] reads it, with a checkpoint signed now. Returns how
/// many entries it has.
///
/// # Errors
/// The database's or the writer's.
pub async fn export(store: &Store, tree: &str, mut to: impl Write) -> Result<u64, ExportError> {
    keeper::sign_due(store, &*keeper::load(store).await?).await?;
    let Some((checkpoint, shown)) = keeper::newest(store, tree).await? else { return Ok(0) };
    let mut written = 0;
    while written < checkpoint.size {
        let page = store.audit_entries(tree, written, EXPORT_PAGE).await?;
        let covered = page.iter().take_while(|(entry, _)| entry.seq < checkpoint.size);
        let before = written;
        for (entry, opening) in covered {
            serde_json::to_writer(&mut to, &keeper::shown(entry, opening.as_ref()))
                .map_err(io::Error::from)?;
            to.write_all(b"\n")?;
            written += 1;
        }
        if written == before {
            return Err(StoreError::Corrupt("audit_entries").into());
        }
    }
    serde_json::to_writer(&mut to, &shown).map_err(io::Error::from)?;
    to.write_all(b"\n")?;
    Ok(written)
}

/// The verifier key of a tree (C2SP `signed-note`), for [`verify`].
///
/// # Errors
/// The database's.
pub async fn key(store: &Store, tree: &str) -> Result<String, StoreError> {
    use aws_lc_rs::signature::KeyPair as _;
    Ok(note::verifier_key(tree, keeper::load(store).await?.public_key().as_ref()))
}
