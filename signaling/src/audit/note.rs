//! Checkpoints as signed notes (C2SP `signed-note` and `tlog-checkpoint`), Ed25519.
//!
//! ```text
//! conclave/pj_…            origin: which tree
//! 42                       leaves
//! base64 of the root
//! time 1795000000000       extension: milliseconds since 1970
//!
//! — conclave/pj_… base64(key id, signature)
//! ```

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::tree::Hash;
use crate::secret::sha256;

/// Signature type of Ed25519 in key ids and verifier keys.
const ED25519_TYPE: u8 = 1;
/// Bytes of a key id.
const KEY_ID_BYTES: usize = 4;
/// Longest note that is read.
const NOTE_BYTES_MAX: usize = 4096;

/// The state of a tree at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which tree: project id, or `operator`.
    pub tree: String,
    /// Leaves.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
    /// Milliseconds since 1970.
    pub time_ms: u64,
}

/// Why a note is not accepted. Blame: whoever handed it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a checkpoint.
    #[error("it is not a signed checkpoint of ours")]
    Format,
    /// The signature does not hold for this key.
    #[error("its signature does not hold for this key")]
    Signature,
}

/// Name of a tree in notes and verifier keys.
pub fn origin(tree: &str) -> String {
    format!("conclave/{tree}")
}

fn key_id(origin: &str, public: &[u8]) -> [u8; KEY_ID_BYTES] {
    let hash = sha256(&[origin.as_bytes(), b"\n", &[ED25519_TYPE], public].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

/// The verifier key of a tree, `origin+id+key` (C2SP `signed-note`).
pub fn verifier_key(tree: &str, public: &[u8]) -> String {
    let origin = origin(tree);
    let id = u32::from_be_bytes(key_id(&origin, public));
    let key = STANDARD.encode([&[ED25519_TYPE], public].concat());
    format!("{origin}+{id:08x}+{key}")
}

/// The public key in a verifier key of this tree.
pub fn public_key(tree: &str, verifier_key: &str) -> Option<Vec<u8>> {
    let encoded = verifier_key.strip_prefix(&origin(tree))?.strip_prefix('+')?;
    let (_, key) = encoded.split_once('+')?;
    let key = STANDARD.decode(key).ok()?;
    let public = key.strip_prefix(&[ED25519_TYPE])?.to_vec();
    (self::verifier_key(tree, &public) == verifier_key).then_some(public)
}

impl Checkpoint {
    fn text(&self) -> String {
        let (origin, root) = (origin(&self.tree), STANDARD.encode(self.root));
        format!("{origin}\n{}\n{root}\ntime {}\n", self.size, self.time_ms)
    }

    /// The signed note.
    pub(crate) fn sign(&self, pair: &Ed25519KeyPair) -> String {
        let text = self.text();
        let origin = origin(&self.tree);
        let id = key_id(&origin, pair.public_key().as_ref());
        let signature = pair.sign(text.as_bytes());
        let line = STANDARD.encode([&id[..], signature.as_ref()].concat());
        format!("{text}\n\u{2014} {origin} {line}\n")
    }

    /// Reads a note whose signature holds.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn open(note: &str, public: &[u8]) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(note).ok_or(NoteError::Format)?;
        let text = checkpoint.text();
        let signatures = note.strip_prefix(&text).ok_or(NoteError::Format)?;
        let origin = origin(&checkpoint.tree);
        let id = key_id(&origin, public);
        let line = format!("\u{2014} {origin} ");
        let key = UnparsedPublicKey::new(&ED25519, public);
        let holds = signatures.lines().filter_map(|l| l.strip_prefix(&line)).any(|encoded| {
            let bytes = STANDARD.decode(encoded).unwrap_or_default();
            let signature = bytes.strip_prefix(&id);
            signature.is_some_and(|signature| key.verify(text.as_bytes(), signature).is_ok())
        });
        if holds { Ok(checkpoint) } else { Err(NoteError::Signature) }
    }

    /// Reads the text without looking at the signature.
    fn parse(note: &str) -> Option<Self> {
        if note.len() > NOTE_BYTES_MAX {
            return None;
        }
        let mut lines = note.lines();
        let tree = lines.next()?.strip_prefix("conclave/")?.to_owned();
        let size = lines.next()?.parse().ok()?;
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let time_ms = lines.next()?.strip_prefix("time ")?.parse().ok()?;
        lines.next()?.is_empty().then_some(Self { tree, size, root, time_ms })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            tree: String::from("pj_x"),
            size: 3,
            root: [5; 32],
            time_ms: 1_795_000_000_000,
        }
    }

    #[test]
    fn a_note_opens_with_its_key_and_nothing_else_does() {
        let (pair, other) =
            (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
        let public = pair.public_key().as_ref();
        let note = checkpoint().sign(&pair);
        assert_eq!(Checkpoint::open(&note, public), Ok(checkpoint()));
        let wrong = Checkpoint::open(&note, other.public_key().as_ref());
        assert_eq!(wrong, Err(NoteError::Signature));
        for (from, to) in [("\n3\n", "\n4\n"), ("pj_x\n3", "pj_y\n3"), ("time 1", "time 2")] {
            let changed = note.replacen(from, to, 1);
            assert_ne!(changed, note);
            assert!(Checkpoint::open(&changed, public).is_err());
        }
        for end in 0..note.len() - 1 {
            if let Some(cut) = note.get(..end) {
                assert!(Checkpoint::open(cut, public).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn a_verifier_key_names_its_tree() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = verifier_key("pj_x", pair.public_key().as_ref());
        assert_eq!(public_key("pj_x", &key).unwrap(), pair.public_key().as_ref());
        assert_eq!(public_key("pj_y", &key), None);
        assert_eq!(public_key("pj_x", &key.replace('+', "-")), None);
    }

    /// The example of the signed-note specification's Go implementation (golang.org/x/mod/sumdb/note).
    #[test]
    fn the_key_id_is_that_of_the_specification() {
        let key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let mut parts = key.splitn(3, '+');
        let (name, id) = (parts.next().unwrap(), parts.next().unwrap());
        let bytes = STANDARD.decode(parts.next().unwrap()).unwrap();
        let found = u32::from_be_bytes(key_id(name, &bytes[1..]));
        assert_eq!(format!("{found:08x}"), id);
    }
}
