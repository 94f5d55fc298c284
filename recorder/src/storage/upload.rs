//! How far an upload is: plain data that the caller keeps after each part, so that a new process
//! goes on where the old one stopped.

use serde::{Deserialize, Serialize};

use super::{error::StoreError, template::Key};
use crate::{
    Digest,
    digest::Hasher,
    limits::{PART_BYTES, PARTS_MAX},
};

/// How a storage takes something that is larger than a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// All in one part.
    Whole,
    /// Parts that the storage puts together.
    Multipart,
    /// A file that grows.
    Append,
    /// Parts that stay apart: `name.00000`, `name.00001`, …; `cat name.*` puts them together.
    Pieces,
}

/// A part that the storage has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What the storage calls it.
    pub(super) id: String,
    /// Of its bytes.
    pub(super) sha256: Digest,
}

/// An upload under way or done.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    pub(super) key: Key,
    pub(super) way: Way,
    /// Bytes of each part but the last.
    pub(super) part_bytes: u64,
    /// Bytes of the whole, when that was known at the beginning.
    bytes: Option<u64>,
    /// What the storage calls the upload. Empty where it has no name for it.
    pub(super) id: String,
    pub(super) parts: Vec<Part>,
    /// Bytes that the storage has.
    pub(super) offset: u64,
    /// [`super::Store::finish`] succeeded.
    pub(super) is_done: bool,
    /// Digest of all bytes, while one process has seen them all.
    #[serde(skip)]
    running: Option<Hasher>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = self.parts.len();
        write!(f, "Upload {:?} of {}: {parts} parts, {} bytes", self.way, self.key, self.offset)
    }
}

impl Upload {
    /// `larger`: how the storage takes more than one part.
    pub(super) fn new(key: &Key, bytes: Option<u64>, larger: Way) -> Result<Self, StoreError> {
        let part_bytes = part_bytes(bytes.unwrap_or_default())?;
        let is_whole = bytes.is_some_and(|bytes| bytes <= part_bytes);
        Ok(Self {
            key: key.clone(),
            way: if is_whole { Way::Whole } else { larger },
            part_bytes,
            bytes,
            id: String::new(),
            parts: Vec::new(),
            offset: 0,
            is_done: false,
            running: Some(Hasher::new()),
        })
    }

    /// Where it goes.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Bytes that the next part must have; the last one may have fewer, and only that.
    pub fn part_bytes(&self) -> u64 {
        self.part_bytes
    }

    /// Bytes that the storage has: where the next part begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether nothing is left to be done but verification.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The objects in the storage once all is done.
    pub fn names(&self) -> Vec<Key> {
        match self.way {
            Way::Pieces => (0..self.parts.len()).filter_map(|at| self.piece(at)).collect(),
            Way::Whole | Way::Multipart | Way::Append => vec![self.key.clone()],
        }
    }

    /// The name of a part that stays apart.
    fn piece(&self, at: usize) -> Option<Key> {
        Key::parse(&format!("{}.{at:05}", self.key)).ok()
    }

    /// Where the next part goes, when parts stay apart.
    pub(super) fn next_name(&self) -> Result<Key, StoreError> {
        match self.way {
            Way::Pieces => self.piece(self.parts.len()),
            Way::Whole | Way::Multipart | Way::Append => Some(self.key.clone()),
        }
        .ok_or(StoreError::Config("the name of an object is too long"))
    }

    /// Whether `data` may come next.
    pub(super) fn check(&self, data: &[u8]) -> Result<(), StoreError> {
        let length = data.len() as u64;
        if self.is_done || !self.offset.is_multiple_of(self.part_bytes) {
            return Err(StoreError::Parts("nothing comes after a short part"));
        }
        if self.way == Way::Whole && !self.parts.is_empty() {
            return Err(StoreError::Parts("all of it is sent"));
        }
        if length > self.part_bytes || (length == 0 && self.way != Way::Whole) {
            return Err(StoreError::Parts("a part has 1 to `part_bytes` bytes"));
        }
        if self.parts.len() >= PARTS_MAX {
            return Err(StoreError::Parts("too many"));
        }
        let end = self.offset + length;
        match self.bytes {
            Some(bytes) if end > bytes || (end < bytes && length < self.part_bytes) => {
                Err(StoreError::Parts("not the announced size"))
            }
            _ => Ok(()),
        }
    }

    /// Whether everything that was announced is there.
    pub(super) fn check_whole(&self) -> Result<(), StoreError> {
        if self.parts.is_empty() || self.bytes.is_some_and(|bytes| bytes != self.offset) {
            return Err(StoreError::Parts("not the announced size"));
        }
        Ok(())
    }

    /// The storage has a part.
    pub(super) fn on_part(&mut self, id: String, data: &[u8]) {
        if let Some(running) = &mut self.running {
            running.update(data);
        }
        self.parts.push(Part { id, sha256: Digest::of(data) });
        self.offset += data.len() as u64;
    }

    /// Digest of all that was handed over, if this process has seen it all.
    pub(super) fn digest(&self) -> Option<Digest> {
        if let (Way::Whole, [part]) = (self.way, &self.parts[..]) {
            return Some(part.sha256);
        }
        self.running.clone().map(Hasher::finish)
    }
}

/// Equal parts, no more of them than S3 allows.
fn part_bytes(bytes: u64) -> Result<u64, StoreError> {
    const MIB: u64 = 1024 * 1024;
    let least = bytes.div_ceil(PARTS_MAX as u64).div_ceil(MIB) * MIB;
    let part = least.max(PART_BYTES);
    if part > crate::limits::PART_BYTES_MAX {
        return Err(StoreError::Parts("the file is too large"));
    }
    Ok(part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn upload(bytes: Option<u64>) -> Upload {
        Upload::new(&Key::parse("a/b").unwrap(), bytes, Way::Multipart).unwrap()
    }

    #[test]
    fn parts_are_equal_and_few_enough() {
        assert_eq!(upload(Some(0)).way, Way::Whole);
        assert_eq!(upload(Some(PART_BYTES)).way, Way::Whole);
        assert_eq!(upload(Some(PART_BYTES + 1)).way, Way::Multipart);
        assert_eq!(upload(None).way, Way::Multipart);
        let large = 400 * 1024 * 1024 * 1024;
        assert!(large / upload(Some(large)).part_bytes() < PARTS_MAX as u64);
        assert!(part_bytes(u64::MAX).is_err());
    }

    #[test]
    fn only_what_fits_may_come_next() {
        let part = vec![7; usize::try_from(PART_BYTES).unwrap()];
        let mut known = upload(Some(PART_BYTES + 10));
        assert!(known.check(&part[..10]).is_err(), "the first is not the last");
        assert!(known.check(&[]).is_err());
        known.check(&part).unwrap();
        known.on_part(String::from("1"), &part);
        assert!(known.check_whole().is_err());
        assert!(known.check(&part[..11]).is_err(), "more than announced");
        known.check(&part[..10]).unwrap();
        known.on_part(String::from("2"), &part[..10]);
        known.check_whole().unwrap();
        assert!(known.check(&part[..1]).is_err(), "after the last");

        let mut unknown = upload(None);
        unknown.on_part(String::from("1"), &part[..10]);
        unknown.check_whole().unwrap();
        assert!(unknown.check(&part).is_err(), "after a short one");
    }

    #[test]
    fn the_state_survives_as_text_but_not_what_was_only_seen() {
        let mut upload = upload(None);
        let part = vec![7; usize::try_from(PART_BYTES).unwrap()];
        upload.on_part(String::from("x"), &part);
        assert_eq!(upload.digest(), Some(Digest::of(&part)));
        let text = serde_json::to_string(&upload).unwrap();
        let mut read: Upload = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!((read.offset, read.digest()), (PART_BYTES, None));
        read.on_part(String::from("y"), &part[..3]);
        for broken in [
            text.replace("a/b", "../b"),
            text.replace("\"multipart\"", "\"other\""),
            text.replace("sha256\":\"", "sha256\":\"zz"),
        ] {
            assert!(serde_json::from_str::<Upload>(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn pieces_have_names_of_their_own() {
        let mut pieces = Upload::new(&Key::parse("a/b").unwrap(), None, Way::Pieces).unwrap();
        pieces.on_part(String::new(), &[1; 16]);
        assert_eq!(pieces.names(), [Key::parse("a/b.00000").unwrap()]);
    }
}
