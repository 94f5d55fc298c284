//! The Merkle root of a plaintext, by RFC 9162 section 2.1.1, over segments of one MiB.
//!
//! With it the owner of a plaintext can later prove one segment to somebody without showing the
//! rest: the path of at most a few digests leads to the root in the signed manifest.

use crate::digest::{Digest, Hasher};

/// Bytes of a segment; the last one may be shorter.
pub const SEGMENT_BYTES: usize = 1024 * 1024;
/// First byte of what is hashed for a segment, and for two nodes (RFC 9162 section 2.1.1).
const LEAF: &[u8] = &[0];
const NODE: &[u8] = &[1];

/// The root of `plaintext`.
pub fn merkle_root(plaintext: &[u8]) -> Digest {
    let mut merkle = Merkle::new();
    merkle.update(plaintext);
    merkle.finish()
}

/// Builds the root as bytes come; keeps one digest for each bit of the number of segments.
pub(crate) struct Merkle {
    leaf: Hasher,
    /// Bytes in `leaf`.
    filled: usize,
    /// Roots of full subtrees from the largest to the smallest, with their heights.
    subtrees: Vec<(u32, Digest)>,
}

impl Merkle {
    pub(crate) fn new() -> Self {
        Self { leaf: empty_leaf(), filled: 0, subtrees: Vec::new() }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(SEGMENT_BYTES - self.filled));
            self.leaf.update(now);
            self.filled += now.len();
            bytes = rest;
            if self.filled == SEGMENT_BYTES {
                self.end_segment();
            }
        }
    }

    fn end_segment(&mut self) {
        let full = std::mem::replace(&mut self.leaf, empty_leaf());
        self.filled = 0;
        let (mut height, mut right) = (0, full.finish());
        while let Some((_, left)) = self.subtrees.pop_if(|(other, _)| *other == height) {
            right = node(left, right);
            height += 1;
        }
        self.subtrees.push((height, right));
    }

    /// The root; that of nothing is the digest of nothing.
    pub(crate) fn finish(mut self) -> Digest {
        if self.filled > 0 {
            self.end_segment();
        }
        let roots = self.subtrees.into_iter().map(|(_, root)| root).rev();
        roots.reduce(|right, left| node(left, right)).unwrap_or_else(|| Digest::of(&[]))
    }
}

fn empty_leaf() -> Hasher {
    let mut leaf = Hasher::new();
    leaf.update(LEAF);
    leaf
}

fn node(left: Digest, right: Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(NODE);
    hasher.update(&left.0);
    hasher.update(&right.0);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 9162 section 2.1.1 writes it: split at the largest power of two below the number.
    fn by_definition(segments: &[&[u8]]) -> Digest {
        match segments {
            [] => Digest::of(&[]),
            [one] => Digest::of(&[LEAF, one].concat()),
            many => {
                let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
                node(by_definition(left), by_definition(right))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition_however_bytes_come() {
        for (segments, tail) in [(0, 0), (0, 1), (1, 0), (1, 7), (2, 0), (4, 3), (6, 0), (7, 9)] {
            let bytes: Vec<u8> =
                (0..segments * SEGMENT_BYTES + tail).map(|i| (i / 4099) as u8).collect();
            let wanted = by_definition(&bytes.chunks(SEGMENT_BYTES).collect::<Vec<_>>());
            assert_eq!(merkle_root(&bytes), wanted, "{segments} and {tail}");
            let mut merkle = Merkle::new();
            bytes.chunks(333_333).for_each(|piece| merkle.update(piece));
            assert_eq!(merkle.finish(), wanted, "{segments} and {tail}, in pieces");
        }
    }

    #[test]
    fn segments_cannot_change_places() {
        let mut bytes = vec![0; 2 * SEGMENT_BYTES];
        bytes[0] = 1;
        let root = merkle_root(&bytes);
        bytes.rotate_left(SEGMENT_BYTES);
        assert!(merkle_root(&bytes) != root);
    }
}
