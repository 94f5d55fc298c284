//! Overwrite, sync, unlink: for files whose bytes must be gone, not only their name.
//!
//! Overwriting in place reaches the old blocks on ext4 and XFS over plain disks; a copy-on-write file
//! system or an SSD may keep them. So keys die here, and what they sealed is worthless with or without
//! its blocks.

use std::{
    fs, io,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
};

/// Bytes written at a time.
const BLOCK: [u8; 4096] = [0; 4096];

/// Overwrites the file with zeros, syncs and unlinks it. One that is not there is gone already. The
/// caller syncs the directory.
pub(crate) fn shred(path: &Path) -> io::Result<()> {
    let mut file = match fs::OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // Not truncated: new blocks would be written then, and the old ones kept.
    let mut left = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        let part = BLOCK.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.write_all(&BLOCK[..part])?;
        left -= part as u64;
    }
    file.sync_all()?;
    fs::remove_file(path)
}

/// Makes entries made in or taken from a directory last.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// A second name keeps the file after the unlink: its bytes can be looked at.
    #[test]
    fn the_bytes_go_before_the_name() {
        let dir = std::env::temp_dir().join(format!("conclave-shred-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for len in [0, 1, 32, 4096, 10_000] {
            let (path, kept) = (dir.join("key"), dir.join("kept"));
            fs::write(&path, vec![0xa5; len]).unwrap();
            fs::hard_link(&path, &kept).unwrap();
            shred(&path).unwrap();
            assert!(!path.exists());
            assert_eq!(fs::read(&kept).unwrap(), vec![0; len], "overwritten in place");
            fs::remove_file(&kept).unwrap();
            shred(&path).unwrap();
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
