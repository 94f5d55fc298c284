//! The audit log's rows (see [`crate::audit`]).

use std::collections::{HashMap, HashSet};

use sqlx::{Row as _, any::AnyRow};

use super::{Store, StoreError, Tx, int, unsigned};
use crate::{
    audit::{
        entry::{Entry, Opening, digest},
        note::Checkpoint,
        tree::{self, Hash, Nodes},
    },
    domain::Actor,
    limits, secret,
};

/// Tree of changes that belong to no project.
pub const OPERATOR_TREE: &str = "operator";

/// One accepted change.
pub(crate) struct Change<'a> {
    /// Project id, or [`OPERATOR_TREE`].
    pub(crate) tree: &'a str,
    pub(crate) actor: &'a Actor,
    /// What was done: `room.update`, `key.revoke`.
    pub(crate) action: &'a str,
    /// Id of what it was done to.
    pub(crate) object: &'a str,
    /// Its JSON before it; only a salted digest is kept.
    pub(crate) before: Option<&'a [u8]>,
    /// Its JSON after it.
    pub(crate) after: Option<&'a [u8]>,
    pub(crate) now_ms: u64,
}

/// An actor as it stands in leaves.
fn actor_text(actor: &Actor) -> String {
    match actor {
        Actor::Key(id) => format!("key:{id}"),
        Actor::Operator(id) => format!("operator:{id}"),
        Actor::Client(id) => format!("client:{id}"),
        Actor::System => String::from("system"),
    }
}

impl Tx<'_> {
    /// Enters a change into the audit log. Holds the tree's row until the end of the transaction; in
    /// one that also records an event, it comes after [`Tx::record`]: one order, no deadlock.
    pub(crate) async fn audit(&mut self, change: &Change<'_>) -> Result<(), StoreError> {
        let salt = secret::random();
        let opening = Opening {
            salt,
            object: change.object.to_owned(),
            before: change.before.map(|state| digest(&salt, state)),
            after: change.after.map(|state| digest(&salt, state)),
        };
        let row = sqlx::query(
            "INSERT INTO audit_trees (tree, size) VALUES ($1, 1) \
             ON CONFLICT (tree) DO UPDATE SET size = audit_trees.size + 1 RETURNING size",
        )
        .bind(change.tree)
        .fetch_one(&mut **self)
        .await?;
        let seq = row.try_get::<i64, _>("size")? - 1;
        sqlx::query(
            "INSERT INTO audit_entries (tree, seq, time, actor, action, commitment) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(change.tree)
        .bind(seq)
        .bind(int(change.now_ms))
        .bind(actor_text(change.actor))
        .bind(change.action)
        .bind(opening.commitment().to_vec())
        .execute(&mut **self)
        .await?;
        self.insert_opening(change.tree, seq, &opening).await
    }

    async fn insert_opening(
        &mut self,
        tree: &str,
        seq: i64,
        opening: &Opening,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO audit_openings (tree, seq, salt, object, before, after) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(tree)
        .bind(seq)
        .bind(opening.salt.to_vec())
        .bind(&opening.object)
        .bind(opening.before.map(|hash| hash.to_vec()))
        .bind(opening.after.map(|hash| hash.to_vec()))
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Erases what entries about `object` could be opened with. The tree and its proofs stay whole.
    /// Returns how many.
    pub(crate) async fn redact_audit(
        &mut self,
        tree: &str,
        object: &str,
    ) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM audit_openings WHERE tree = $1 AND object = $2")
            .bind(tree)
            .bind(object)
            .execute(&mut **self)
            .await?;
        Ok(done.rows_affected())
    }

    async fn audit_nodes(
        &mut self,
        tree: &str,
        wanted: impl IntoIterator<Item = (u32, u64)>,
    ) -> Result<Known, StoreError> {
        let mut known = Known::default();
        for (level, index) in wanted {
            let row = sqlx::query(
                "SELECT hash FROM audit_nodes WHERE tree = $1 AND level = $2 AND idx = $3",
            )
            .bind(tree)
            .bind(i64::from(level))
            .bind(int(index))
            .fetch_optional(&mut **self)
            .await?;
            if let Some(row) = row {
                known.0.insert((level, index), hash(&row, "hash")?);
            }
        }
        Ok(known)
    }
}

/// Nodes in memory.
#[derive(Default)]
pub(crate) struct Known(HashMap<(u32, u64), Hash>);

impl Nodes for Known {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.0.get(&(level, index)).copied()
    }
}

/// Finds out which nodes a computation asks for.
#[derive(Default)]
struct Wanted(std::cell::RefCell<HashSet<(u32, u64)>>);

impl Nodes for Wanted {
    fn node(&self, level: u32, index: u64) -> Option<Hash> {
        self.0.borrow_mut().insert((level, index));
        Some([0; 32])
    }
}

/// What signs checkpoints. No `Debug`: it is a secret.
pub(crate) struct AuditKey {
    /// PKCS #8.
    pub(crate) private: Vec<u8>,
    /// Raw.
    pub(crate) public: Vec<u8>,
}

const KEY: &str = "main";
const KEY_CONTEXT: &str = "audit_keys.private_key main";

impl Store {
    /// The key that signs checkpoints; `fresh` becomes it when there is none yet.
    pub(crate) async fn audit_key(
        &self,
        fresh: AuditKey,
        now_ms: u64,
    ) -> Result<AuditKey, StoreError> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO audit_keys (id, private_key, public_key, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(KEY)
        .bind(self.vault().seal(KEY_CONTEXT, &fresh.private))
        .bind(fresh.public)
        .bind(int(now_ms))
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query("SELECT private_key, public_key FROM audit_keys WHERE id = $1")
            .bind(KEY)
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        let sealed: Vec<u8> = row.try_get("private_key")?;
        let private = self.vault().open(KEY_CONTEXT, &sealed).map_err(|_| StoreError::Sealed)?;
        Ok(AuditKey { private, public: row.try_get("public_key")? })
    }

    /// The public part of that key, once there is one.
    pub(crate) async fn audit_public_key(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query("SELECT public_key FROM audit_keys WHERE id = $1")
            .bind(KEY)
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get("public_key")).transpose()?)
    }

    /// Trees that grew since their last checkpoint.
    pub(crate) async fn audit_trees_due(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT tree FROM audit_trees t WHERE size > COALESCE(\
             (SELECT MAX(size) FROM audit_checkpoints c WHERE c.tree = t.tree), 0) ORDER BY tree",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("tree")?)).collect()
    }

    /// Extends the nodes of a tree and stores a checkpoint over them, as signed by `sign`. Returns
    /// whether there is more to do. Nodes are functions of the leaves, so that two servers that do
    /// it at once write the same.
    pub(crate) async fn checkpoint(
        &self,
        tree: &str,
        now_ms: u64,
        sign: impl Fn(&Checkpoint) -> String,
    ) -> Result<bool, StoreError> {
        let from = self.checkpointed(tree).await?;
        let entries = self.audit_entries(tree, from, limits::CHECKPOINT_ENTRIES_MAX).await?;
        let size = from + entries.len() as u64;
        if size == from {
            return Ok(false);
        }
        let mut tx = self.write().await?;
        let frontier = (0..u64::BITS).filter(|bit| from >> bit & 1 == 1);
        let frontier: Vec<_> = frontier.map(|bit| (bit, (from >> bit) - 1)).collect();
        let mut known = tx.audit_nodes(tree, frontier).await?;
        for (entry, _) in &entries {
            for (level, index, hash) in
                tree::finished(&known, entry.seq, entry.leaf()).map_err(broken)?
            {
                known.0.insert((level, index), hash);
                sqlx::query(
                    "INSERT INTO audit_nodes (tree, level, idx, hash) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (tree, level, idx) DO NOTHING",
                )
                .bind(tree)
                .bind(i64::from(level))
                .bind(int(index))
                .bind(hash.to_vec())
                .execute(&mut *tx)
                .await?;
            }
        }
        let root = tree::root(&known, size).map_err(broken)?;
        let note = sign(&Checkpoint { tree: tree.to_owned(), size, root, time_ms: now_ms });
        sqlx::query(
            "INSERT INTO audit_checkpoints (tree, size, time, note) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tree, size) DO NOTHING",
        )
        .bind(tree)
        .bind(int(size))
        .bind(int(now_ms))
        .bind(note)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(entries.len() == limits::CHECKPOINT_ENTRIES_MAX as usize)
    }

    /// Entries that the newest checkpoint covers.
    async fn checkpointed(&self, tree: &str) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT COALESCE(MAX(size), 0) AS size FROM audit_checkpoints WHERE tree = $1",
        )
        .bind(tree)
        .fetch_one(&self.readers)
        .await?;
        unsigned(row.try_get("size")?, "audit_checkpoints.size")
    }

    /// Entries from `from` on, with what opens them.
    pub(crate) async fn audit_entries(
        &self,
        tree: &str,
        from: u64,
        limit: u32,
    ) -> Result<Vec<(Entry, Option<Opening>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT e.tree AS tree, e.seq AS seq, time, actor, action, commitment, salt, object, \
             before, after FROM audit_entries e LEFT JOIN audit_openings o \
             ON o.tree = e.tree AND o.seq = e.seq \
             WHERE e.tree = $1 AND e.seq >= $2 ORDER BY e.seq LIMIT $3",
        )
        .bind(tree)
        .bind(int(from))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read).collect()
    }

    /// The newest checkpoint's note.
    pub(crate) async fn audit_note(&self, tree: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query(
            "SELECT note FROM audit_checkpoints WHERE tree = $1 ORDER BY size DESC LIMIT 1",
        )
        .bind(tree)
        .fetch_optional(&self.readers)
        .await?;
        Ok(row.map(|row| row.try_get("note")).transpose()?)
    }

    /// Nodes that `compute` asks for.
    pub(crate) async fn audit_nodes_for<T>(
        &self,
        tree: &str,
        compute: impl Fn(&dyn Nodes) -> Result<T, tree::Missing>,
    ) -> Result<Option<T>, StoreError> {
        let wanted = {
            let collect = Wanted::default();
            // A proof that cannot be is found out below.
            let _ = compute(&collect);
            collect.0.into_inner()
        };
        let mut known = Known::default();
        for (level, index) in wanted {
            let row = sqlx::query(
                "SELECT hash FROM audit_nodes WHERE tree = $1 AND level = $2 AND idx = $3",
            )
            .bind(tree)
            .bind(i64::from(level))
            .bind(int(index))
            .fetch_optional(&self.readers)
            .await?;
            if let Some(row) = row {
                known.0.insert((level, index), hash(&row, "hash")?);
            }
        }
        Ok(compute(&known).ok())
    }
}

fn broken(_: tree::Missing) -> StoreError {
    StoreError::Corrupt("audit_nodes")
}

fn hash(row: &AnyRow, column: &'static str) -> Result<Hash, StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes.try_into().map_err(|_| StoreError::Corrupt(column))
}

fn read(row: &AnyRow) -> Result<(Entry, Option<Opening>), StoreError> {
    let entry = Entry {
        tree: row.try_get("tree")?,
        seq: unsigned(row.try_get("seq")?, "audit_entries.seq")?,
        time_ms: unsigned(row.try_get("time")?, "audit_entries.time")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        commitment: hash(row, "commitment")?,
    };
    if row.try_get::<Option<Vec<u8>>, _>("salt")?.is_none() {
        return Ok((entry, None));
    }
    let side = |column: &'static str| -> Result<Option<Hash>, StoreError> {
        let bytes: Option<Vec<u8>> = row.try_get(column)?;
        bytes.map(|b| b.try_into().map_err(|_| StoreError::Corrupt(column))).transpose()
    };
    let opening = Opening {
        salt: hash(row, "salt")?,
        object: row.try_get("object")?,
        before: side("before")?,
        after: side("after")?,
    };
    Ok((entry, Some(opening)))
}
