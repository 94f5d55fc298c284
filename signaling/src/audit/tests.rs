//! The log against the store, and its verifier against every kind of change.
#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{tree::Hash, *};
use crate::{
    domain::Actor,
    secret,
    store::{Change, Store},
    vault::Vault,
};

struct World {
    store: Store,
    folder: std::path::PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn world() -> World {
    let folder = std::env::temp_dir().join(secret::opaque_id("conclave-audit-"));
    std::fs::create_dir_all(&folder).unwrap();
    let url = format!("sqlite://{}/a.db", folder.display());
    World { store: Store::open(&url, Vault::new(&[7; 32])).await.unwrap(), folder }
}

async fn change(store: &Store, tree: &str, n: u64) {
    let mut tx = store.write().await.unwrap();
    let (before, after) = (format!("before {n}"), format!("after {n}"));
    let change = Change {
        tree,
        actor: &Actor::Key(String::from("k1")),
        action: "room.update",
        object: &format!("rm_{n}"),
        before: n.is_multiple_of(2).then_some(before.as_bytes()),
        after: n.is_multiple_of(3).then_some(after.as_bytes()),
        now_ms: 1000 + n,
    };
    tx.audit(&change).await.unwrap();
    tx.commit().await.unwrap();
}

async fn exported(store: &Store, tree: &str) -> Vec<Value> {
    let mut bytes = Vec::new();
    export(store, tree, &mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check(tree: &str, key: &str, lines: &[Value]) -> Report {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    verify(tree, key, text.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_log_verifies_offline_and_with_every_older_checkpoint() {
    let world = world().await;
    let (store, mut kept) = (&world.store, Vec::new());
    for n in 0..50 {
        change(store, "pj_a", n).await;
        change(store, "pj_b", n).await;
        if n % 7 == 0 {
            kept.push(exported(store, "pj_a").await.pop().unwrap());
        }
    }
    let mut lines = exported(store, "pj_a").await;
    lines.extend(kept.clone());
    let key = key(store, "pj_a").await.unwrap();
    let report = check("pj_a", &key, &lines);
    assert_eq!(report.findings, []);
    assert_eq!((report.entries, report.covered, report.redacted), (50, 50, 0));
    assert_eq!(report.checkpoints, 1 + kept.len() as u64);
    // The pages of the API as they come.
    let entries: Vec<_> = lines[..50].to_vec();
    let page = json!({ "entries": entries, "next": null });
    assert_eq!(check("pj_a", &key, &[page, lines[50].clone()]).findings, []);
}

#[tokio::test]
async fn every_change_of_the_log_is_found() {
    let world = world().await;
    for n in 0..12 {
        change(&world.store, "pj_a", n).await;
    }
    let lines = exported(&world.store, "pj_a").await;
    let key = key(&world.store, "pj_a").await.unwrap();
    for field in ["actor", "action", "object", "salt", "after", "commitment", "leaf"] {
        let mut changed = lines.clone();
        changed[6][field] = json!("00".repeat(32));
        assert!(!check("pj_a", &key, &changed).findings.is_empty(), "{field}");
    }
    let mut other_time = lines.clone();
    other_time[6]["time"] = json!("2026-11-21T20:00:00.000Z");
    assert!(!check("pj_a", &key, &other_time).findings.is_empty());
    let mut gone = lines.clone();
    gone.remove(6);
    assert!(!check("pj_a", &key, &gone).findings.is_empty());
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    assert!(!check("pj_a", &key, &swapped).findings.is_empty());
    let mut no_end = lines.clone();
    no_end.remove(11);
    let short = Finding::Short { covered: 12, entries: 11 };
    assert_eq!(check("pj_a", &key, &no_end).findings, [short]);
    assert_eq!(check("pj_a", &key, &lines[..12]).findings, [Finding::NoCheckpoint]);
    assert!(!check("pj_b", &key, &lines).findings.is_empty(), "another tree");
    change(&world.store, "pj_a", 12).await;
    let mut longer = exported(&world.store, "pj_a").await;
    longer[13] = lines[12].clone();
    let open = Finding::Uncovered { covered: 12, entries: 13 };
    assert_eq!(check("pj_a", &key, &longer).findings, [open], "an end that nothing proves");
}

#[tokio::test]
async fn a_rewritten_log_does_not_fit_the_checkpoint_that_was_kept() {
    let world = world().await;
    for n in 0..9 {
        change(&world.store, "pj_a", n).await;
    }
    let kept = exported(&world.store, "pj_a").await.pop().unwrap();
    let key = key(&world.store, "pj_a").await.unwrap();
    // The operator itself, with the signing key, writes history anew.
    let forged = self::world().await;
    for n in 0..9 {
        change(&forged.store, "pj_a", n + 1).await;
    }
    let mut lines = exported(&forged.store, "pj_a").await;
    lines.pop();
    lines.push(kept);
    assert_eq!(check("pj_a", &key, &lines).findings, [Finding::Root(9)]);
}

#[tokio::test]
async fn redaction_keeps_the_tree_and_its_proofs_whole() {
    let world = world().await;
    for n in 0..9 {
        change(&world.store, "pj_a", n).await;
    }
    let before = exported(&world.store, "pj_a").await;
    let mut tx = world.store.write().await.unwrap();
    assert_eq!(tx.redact_audit("pj_a", "rm_4").await.unwrap(), 1);
    assert_eq!(tx.redact_audit("pj_b", "rm_5").await.unwrap(), 0);
    tx.commit().await.unwrap();
    change(&world.store, "pj_a", 9).await;
    let mut after = exported(&world.store, "pj_a").await;
    assert!(after[4].get("object").is_none() && after[4].get("salt").is_none());
    assert_eq!(after[4]["leaf"], before[4]["leaf"]);
    after.push(before[9].clone());
    let key = key(&world.store, "pj_a").await.unwrap();
    let report = check("pj_a", &key, &after);
    assert_eq!((report.findings, report.redacted, report.checkpoints), (vec![], 1, 2));
}

#[tokio::test]
async fn proofs_of_the_store_hold_over_many_batches() {
    let world = world().await;
    let (store, signer) = (&world.store, keeper::load(&world.store).await.unwrap());
    let mut states = Vec::new();
    for n in 0..70 {
        change(store, "pj_a", n).await;
        if n % 9 == 3 {
            keeper::sign_due(store, &signer).await.unwrap();
            states.push(keeper::newest(store, "pj_a").await.unwrap().unwrap().0);
        }
    }
    let (newest, _) = keeper::newest(store, "pj_a").await.unwrap().unwrap();
    let hashes = |path: &[String]| -> Vec<Hash> {
        path.iter().map(|hash| entry::unhex(hash).unwrap()).collect()
    };
    for seq in 0..newest.size {
        let proof = keeper::prove_inclusion(store, "pj_a", seq).await.unwrap().unwrap();
        let (leaf, path) = (entry::unhex(&proof.leaf).unwrap(), hashes(&proof.path));
        assert!(tree::is_included(&leaf, seq, newest.size, &path, &newest.root));
    }
    assert!(keeper::prove_inclusion(store, "pj_a", newest.size).await.unwrap().is_none());
    assert!(keeper::prove_inclusion(store, "pj_none", 0).await.unwrap().is_none());
    for old in &states {
        let proof = keeper::prove_consistency(store, "pj_a", old.size).await.unwrap().unwrap();
        let (from, to) = ((old.size, &old.root), (newest.size, &newest.root));
        assert!(tree::is_consistent(from, to, &hashes(&proof.path)));
    }
    for wrong in [0, newest.size + 1] {
        assert!(keeper::prove_consistency(store, "pj_a", wrong).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_change_that_is_not_committed_leaves_no_trace() {
    let world = world().await;
    change(&world.store, "pj_a", 0).await;
    let mut tx = world.store.write().await.unwrap();
    let actor = Actor::System;
    let dropped = Change {
        tree: "pj_a",
        actor: &actor,
        action: "x",
        object: "y",
        before: None,
        after: None,
        now_ms: 1,
    };
    tx.audit(&dropped).await.unwrap();
    drop(tx);
    change(&world.store, "pj_a", 1).await;
    let lines = exported(&world.store, "pj_a").await;
    assert_eq!(lines.len(), 3);
    let key = key(&world.store, "pj_a").await.unwrap();
    assert_eq!(check("pj_a", &key, &lines).findings, []);
}
