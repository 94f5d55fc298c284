//! Which program made a recording.

use std::{fs::File, io};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A program, named by the digest of its executable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Software {
    /// `conclave`.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the executable.
    pub sha256: Digest,
}

impl Software {
    /// The running program. Reads the whole executable: call it once, off the async threads.
    ///
    /// # Errors
    /// When the executable cannot be read.
    pub fn running() -> io::Result<Self> {
        // The link leads to what runs, also after an upgrade has put another file in its place.
        let executable = File::open("/proc/self/exe")
            .or_else(|_| std::env::current_exe().and_then(File::open))?;
        let (_, sha256) = Digest::of_reader(&mut &executable)?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Self { name: "conclave".to_owned(), version, sha256 })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_running_program_is_named_by_its_file() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(Software::running().unwrap().sha256, Digest::of(&bytes));
    }
}
