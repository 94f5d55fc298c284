//! Sealing and opening take the same memory for an artifact of any size.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{self, Read, Write};

use recorder::seal::{Identities, Recipients, open, seal};

const SIZE: u64 = 64 * 1024 * 1024;
/// Some chunks of age and its tables; a hundredth of the artifact.
const MEMORY_MAX: u64 = 1024 * 1024;

/// A file in /dev/shm would count as memory of the machine, but not of this thread.
struct Scratch(std::path::PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn sixty_four_mebibytes_pass_through_one() {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    let to = Recipients::parse(&[identity.to_public().to_string()]).unwrap();
    let identities = Identities::parse(identity.to_string().expose_secret()).unwrap();
    let name = format!("conclave-memory-{}", std::process::id());
    let scratch = Scratch(std::env::temp_dir().join(name));

    let mut sealed = None;
    let used = allocation_counter::measure(|| {
        let file = std::fs::File::create(&scratch.0).unwrap();
        sealed = Some(seal(io::repeat(0x5a).take(SIZE), file, &to).unwrap());
    });
    let sealed = sealed.unwrap();
    assert_eq!(sealed.plain_bytes, SIZE);
    assert!(used.bytes_max < MEMORY_MAX, "{} bytes to seal", used.bytes_max);

    let mut plain = Count(0);
    let used = allocation_counter::measure(|| {
        let file = std::fs::File::open(&scratch.0).unwrap();
        let opened = open(file, &mut plain, &identities).unwrap();
        assert_eq!(opened.plain_sha256, sealed.plain_sha256);
        assert_eq!(opened.merkle_root, sealed.merkle_root);
    });
    assert_eq!(plain.0, SIZE);
    assert!(used.bytes_max < MEMORY_MAX, "{} bytes to open", used.bytes_max);
}

struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
