//! A Merkle tree (RFC 9162 section 2.1): roots, inclusion and consistency proofs.

use crate::secret::sha256;

/// A hash of a leaf or node.
pub type Hash = [u8; 32];

/// Levels of the largest tree that is handled: 2^48 leaves.
const LEVELS_MAX: u32 = 48;

/// Hash of a leaf (RFC 9162 section 2.1.1).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf].concat())
}

/// Hash of an inner node (RFC 9162 section 2.1.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left.as_slice(), right].concat())
}

/// Root of no leaves.
pub fn empty_root() -> Hash {
    sha256(&[])
}

/// Where the roots of complete subtrees come from: of 2^`level` leaves, the `index`-th of its level.
pub trait Nodes {
    /// The root, if it is known.
    fn node(&self, level: u32, index: u64) -> Option<Hash>;
}

/// A node that should be there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node of the tree is missing")]
pub struct Missing;

/// Root of the leaves from `from` to `to`, where `from` begins a subtree (RFC 9162 section 2.1.1).
fn range_root(nodes: &(impl Nodes + ?Sized), from: u64, to: u64) -> Result<Hash, Missing> {
    let size = to - from;
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return nodes.node(level, from >> level).ok_or(Missing);
    }
    let split = split(size);
    let left = range_root(nodes, from, from + split)?;
    Ok(node_hash(&left, &range_root(nodes, from + split, to)?))
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Root of the first `size` leaves.
///
/// # Errors
/// [`Missing`].
pub fn root(nodes: &(impl Nodes + ?Sized), size: u64) -> Result<Hash, Missing> {
    if size == 0 { Ok(empty_root()) } else { range_root(nodes, 0, size) }
}

/// Proof that leaf `index` is among the first `size` (RFC 9162 section 2.1.3.1).
///
/// # Errors
/// [`Missing`], also when `index` is not below `size`.
pub fn inclusion(
    nodes: &(impl Nodes + ?Sized),
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, Missing> {
    if index >= size || size > 1 << LEVELS_MAX {
        return Err(Missing);
    }
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range_root(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range_root(nodes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Checks a proof of [`inclusion`] (RFC 9162 section 2.1.3.2).
pub fn is_included(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut fn_, mut sn, mut hash) = (index, size - 1, *leaf);
    for step in path {
        if sn == 0 {
            return false;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            hash = node_hash(step, &hash);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    sn == 0 && hash == *root
}

/// Proof that the first `old` leaves are the beginning of the first `new` (RFC 9162 section
/// 2.1.4.1).
///
/// # Errors
/// [`Missing`], also unless `0 < old <= new`.
pub fn consistency(
    nodes: &(impl Nodes + ?Sized),
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, Missing> {
    if old == 0 || old > new || new > 1 << LEVELS_MAX {
        return Err(Missing);
    }
    let (mut from, mut to, mut is_whole, mut path) = (0, new, true, Vec::new());
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(range_root(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range_root(nodes, from, middle)?);
            (from, is_whole) = (middle, false);
        }
    }
    if !is_whole {
        path.push(range_root(nodes, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks a proof of [`consistency`] (RFC 9162 section 2.1.4.2).
pub fn is_consistent(
    (old, old_root): (u64, &Hash),
    (new, new_root): (u64, &Hash),
    path: &[Hash],
) -> bool {
    if old == 0 || old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    let mut steps = path.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { steps.next() };
    let Some(first) = first else { return false };
    let (mut fn_, mut sn) = (old - 1, new - 1);
    while fn_ & 1 == 1 {
        fn_ >>= 1;
        sn >>= 1;
    }
    let (mut fr, mut sr) = (*first, *first);
    for step in steps {
        if sn == 0 {
            return false;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            (fr, sr) = (node_hash(step, &fr), node_hash(step, &sr));
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            sr = node_hash(&sr, step);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    sn == 0 && fr == *old_root && sr == *new_root
}

/// Complete subtrees that leaf `index` finishes, given its hash: (level, index, hash), the leaf
/// itself first. `nodes` has those of the leaves before it.
///
/// # Errors
/// [`Missing`].
pub fn finished(
    nodes: &(impl Nodes + ?Sized),
    index: u64,
    leaf: Hash,
) -> Result<Vec<(u32, u64, Hash)>, Missing> {
    let mut all = vec![(0, index, leaf)];
    let (mut level, mut at, mut hash) = (0, index, leaf);
    while at & 1 == 1 {
        let left = nodes.node(level, at - 1).ok_or(Missing)?;
        hash = node_hash(&left, &hash);
        (level, at) = (level + 1, at >> 1);
        all.push((level, at, hash));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Memory(HashMap<(u32, u64), Hash>);

    impl Nodes for Memory {
        fn node(&self, level: u32, index: u64) -> Option<Hash> {
            self.0.get(&(level, index)).copied()
        }
    }

    fn grown(leaves: u64) -> Memory {
        let mut memory = Memory::default();
        for i in 0..leaves {
            for (level, at, hash) in finished(&memory, i, leaf_hash(&i.to_be_bytes())).unwrap() {
                memory.0.insert((level, at), hash);
            }
        }
        memory
    }

    /// Straight from the definition (RFC 9162 section 2.1.1).
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            _ => {
                let k = (leaves.len().next_power_of_two() / 2).max(1);
                node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
            }
        }
    }

    #[test]
    fn known_roots_of_certificate_transparency() {
        // Inputs and roots of the reference tests of RFC 6962 implementations.
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let leaves: Vec<_> = inputs.iter().map(|i| leaf_hash(i)).collect();
        let hex = |h: Hash| h.iter().map(|b| format!("{b:02x}")).collect::<String>();
        for (size, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex(naive_root(&leaves[..size])), root);
        }
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proven_and_no_other() {
        let memory = grown(40);
        for size in 1..=40_u64 {
            let all: Vec<_> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            let root = root(&memory, size).unwrap();
            assert_eq!(root, naive_root(&all));
            for index in 0..size {
                let path = inclusion(&memory, index, size).unwrap();
                let leaf = &all[usize::try_from(index).unwrap()];
                assert!(is_included(leaf, index, size, &path, &root));
                assert!(!is_included(&[9; 32], index, size, &path, &root));
                assert!(!is_included(leaf, index + 1, size, &path, &root));
                assert!(!is_included(leaf, index, size, &path, &[9; 32]));
                assert!(!is_included(leaf, index, size, &[&path[..], &[[0; 32]]].concat(), &root));
            }
            assert!(inclusion(&memory, size, size).is_err());
        }
    }

    #[test]
    fn every_older_tree_is_the_beginning_of_every_newer_and_no_other() {
        let memory = grown(33);
        for new in 1..=33 {
            let new_root = root(&memory, new).unwrap();
            for old in 1..=new {
                let old_root = root(&memory, old).unwrap();
                let path = consistency(&memory, old, new).unwrap();
                assert!(is_consistent((old, &old_root), (new, &new_root), &path), "{old} {new}");
                assert!(!is_consistent((old, &[9; 32]), (new, &new_root), &path));
                assert!(!is_consistent((old, &old_root), (new, &[9; 32]), &path));
            }
            assert!(consistency(&memory, new + 1, new).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_changed_proof_does_not_hold(size in 2_u64..200, index in 0_u64..200, at in 0_usize..8, bit in 0_usize..256) {
            let index = index % size;
            let memory = grown(size);
            let root = root(&memory, size).unwrap();
            let mut path = inclusion(&memory, index, size).unwrap();
            let at = at % path.len();
            path[at][bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_included(&leaf_hash(&index.to_be_bytes()), index, size, &path, &root));
        }
    }
}
