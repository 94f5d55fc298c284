//! Looks for bytes that must not lie on a disk: media in the clear, data keys, wraps of them.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::Path,
};

/// Bytes by which a needle is found at first.
const HEAD: usize = 8;
/// Bits of the filter, a power of two: most places of a file are passed over by it.
const FILTER_BITS: u64 = 1 << 20;

/// What is looked for.
pub(super) struct Needles {
    by_head: HashMap<u64, Vec<(String, Vec<u8>)>>,
    filter: Vec<u64>,
}

impl Needles {
    pub(super) fn new() -> Self {
        Self { by_head: HashMap::new(), filter: vec![0; (FILTER_BITS / 64) as usize] }
    }

    /// Adds one of at least 16 bytes; `what` says what it is.
    pub(super) fn add(&mut self, what: &str, bytes: &[u8]) {
        let Some(head) = bytes.first_chunk::<HEAD>().filter(|_| bytes.len() >= 16) else { return };
        let head = u64::from_le_bytes(*head);
        let (word, bit) = place(head);
        self.filter[word] |= bit;
        self.by_head.entry(head).or_default().push((what.to_owned(), bytes.to_vec()));
    }

    /// What of it is in these bytes.
    pub(super) fn within(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for (at, window) in bytes.windows(HEAD).enumerate() {
            let Some(head) = window.first_chunk::<HEAD>() else { continue };
            let head = u64::from_le_bytes(*head);
            let (word, bit) = place(head);
            if self.filter[word] & bit == 0 {
                continue;
            }
            let all = self.by_head.get(&head).into_iter().flatten();
            let whole = all.filter(|(_, needle)| bytes[at..].starts_with(needle));
            found.extend(whole.map(|(what, _)| what.as_str()));
        }
        found
    }

    /// What of it is in the files of a folder: what, and where. Files may vanish meanwhile.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn on_disk(&self, folder: &Path) -> io::Result<Scan> {
        let mut scan = Scan::default();
        self.walk(folder, &mut scan)?;
        Ok(scan)
    }

    fn walk(&self, folder: &Path, scan: &mut Scan) -> io::Result<()> {
        let Some(entries) = there(fs::read_dir(folder))? else { return Ok(()) };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                self.walk(&path, scan)?;
            } else if let Some(bytes) = there(fs::read(&path))? {
                scan.files += 1;
                scan.bytes += bytes.len() as u64;
                let place = path.display();
                scan.hits
                    .extend(self.within(&bytes).iter().map(|what| format!("{what} in {place}")));
            }
        }
        Ok(())
    }
}

/// What was looked through.
#[derive(Default)]
pub(super) struct Scan {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) hits: BTreeSet<String>,
}

fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Word and bit of the filter.
fn place(head: u64) -> (usize, u64) {
    let hash = head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & (FILTER_BITS - 1);
    ((hash / 64) as usize, 1 << (hash % 64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn needles_are_found_wherever_they_lie_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("conclave-needles-{}", std::process::id()));
        fs::create_dir_all(folder.join("deep/er")).unwrap();
        let mut needles = Needles::new();
        needles.add("key", b"0123456789abcdef");
        needles.add("media", b"01234567zyxwvuts");
        needles.add("too short", b"short");
        fs::write(folder.join("deep/er/a"), b"..0123456789abcdef").unwrap();
        fs::write(folder.join("b"), b"0123456789abcdeF 01234567").unwrap();
        let scan = needles.on_disk(&folder).unwrap();
        assert_eq!((scan.files, scan.bytes), (2, 43));
        let hits: Vec<_> = scan.hits.into_iter().collect();
        assert!(hits.len() == 1 && hits[0].starts_with("key in ") && hits[0].ends_with("er/a"));
        assert_eq!(needles.within(b"01234567zyxwvuts").into_iter().collect::<Vec<_>>(), ["media"]);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(needles.on_disk(&folder).unwrap().files, 0);
    }
}
