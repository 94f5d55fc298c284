//! Signs checkpoints of logs that grew, and gives proofs against the newest.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use sdk_spec::rest::{
    Timestamp,
    audit::{AuditCheckpoint, AuditConsistency, AuditEntry, AuditInclusion},
};

use super::{
    entry::{Entry, Opening, hex},
    note::{self, Checkpoint},
    tree,
};
use crate::{
    clock, limits,
    store::{AuditKey, Store, StoreError},
};

/// Signs checkpoints for as long as the server runs.
pub(crate) async fn run(store: Store) {
    let mut key = None;
    loop {
        let work = async {
            if key.is_none() {
                key = Some(load(&store).await?);
            }
            match &key {
                Some(key) => sign_due(&store, key).await,
                None => Ok(()),
            }
        };
        if let Err(error) = work.await {
            tracing::warn!(%error, "audit logs are not signed; trying again");
        }
        tokio::time::sleep(limits::CHECKPOINT_EVERY).await;
    }
}

/// The installation's key, made at the first start.
pub(crate) async fn load(store: &Store) -> Result<Arc<Ed25519KeyPair>, StoreError> {
    let unusable = |_| StoreError::Corrupt("audit_keys.private_key");
    let pair = Ed25519KeyPair::generate().map_err(unusable)?;
    let private = pair.to_pkcs8().map_err(unusable)?.as_ref().to_vec();
    let fresh = AuditKey { private, public: pair.public_key().as_ref().to_vec() };
    let kept = store.audit_key(fresh, clock::now_ms()).await?;
    let rejected = |_| StoreError::Corrupt("audit_keys.private_key");
    Ok(Arc::new(Ed25519KeyPair::from_pkcs8(&kept.private).map_err(rejected)?))
}

/// Signs every log that grew.
pub(crate) async fn sign_due(store: &Store, key: &Ed25519KeyPair) -> Result<(), StoreError> {
    for tree in store.audit_trees_due().await? {
        // One that cannot be signed does not stop the others.
        if let Err(error) = sign_one(store, &tree, key).await {
            tracing::error!(%error, tree, "an audit log is not signed; trying again");
        }
    }
    Ok(())
}

async fn sign_one(store: &Store, tree: &str, key: &Ed25519KeyPair) -> Result<(), StoreError> {
    let sign = |checkpoint: &Checkpoint| checkpoint.sign(key);
    while store.checkpoint(tree, clock::now_ms(), sign).await? {}
    Ok(())
}

/// The newest checkpoint of a log, if there is one.
pub(crate) async fn newest(
    store: &Store,
    tree: &str,
) -> Result<Option<(Checkpoint, AuditCheckpoint)>, StoreError> {
    let (note, public) = (store.audit_note(tree).await?, store.audit_public_key().await?);
    let Some((note, public)) = note.zip(public) else { return Ok(None) };
    let corrupt = |_| StoreError::Corrupt("audit_checkpoints.note");
    let checkpoint = Checkpoint::open(&note, &public).map_err(corrupt)?;
    let shown = AuditCheckpoint {
        size: checkpoint.size,
        root: hex(&checkpoint.root),
        time: Timestamp(checkpoint.time_ms),
        note,
        key: note::verifier_key(tree, &public),
    };
    Ok(Some((checkpoint, shown)))
}

/// Proof that an entry is in a log; `None` when the newest checkpoint does not cover it.
pub(crate) async fn prove_inclusion(
    store: &Store,
    tree: &str,
    seq: u64,
) -> Result<Option<AuditInclusion>, StoreError> {
    let Some((checkpoint, shown)) = newest(store, tree).await? else { return Ok(None) };
    let compute = |nodes: &dyn tree::Nodes| {
        let leaf = nodes.node(0, seq).ok_or(tree::Missing)?;
        Ok((leaf, tree::inclusion(nodes, seq, checkpoint.size)?))
    };
    let proof = store.audit_nodes_for(tree, compute).await?;
    Ok(proof.map(|(leaf, path)| AuditInclusion {
        seq,
        leaf: hex(&leaf),
        path: path.iter().map(|hash| hex(hash)).collect(),
        checkpoint: shown,
    }))
}

/// Proof that the newest checkpoint continues one of `from` entries.
pub(crate) async fn prove_consistency(
    store: &Store,
    tree: &str,
    from: u64,
) -> Result<Option<AuditConsistency>, StoreError> {
    let Some((checkpoint, shown)) = newest(store, tree).await? else { return Ok(None) };
    let compute = |nodes: &dyn tree::Nodes| tree::consistency(nodes, from, checkpoint.size);
    let path = store.audit_nodes_for(tree, compute).await?;
    Ok(path.map(|path| AuditConsistency {
        from,
        path: path.iter().map(|hash| hex(hash)).collect(),
        checkpoint: shown,
    }))
}

/// An entry as it is shown.
pub(crate) fn shown(entry: &Entry, opening: Option<&Opening>) -> AuditEntry {
    let digest = |side: Option<tree::Hash>| side.map(|hash| hex(&hash));
    AuditEntry {
        seq: entry.seq,
        time: Timestamp(entry.time_ms),
        actor: entry.actor.clone(),
        action: entry.action.clone(),
        object: opening.map(|o| o.object.clone()),
        salt: opening.map(|o| hex(&o.salt)),
        before: opening.and_then(|o| digest(o.before)),
        after: opening.and_then(|o| digest(o.after)),
        commitment: hex(&entry.commitment),
        leaf: hex(&entry.leaf()),
    }
}
