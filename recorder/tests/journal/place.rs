//! A folder of a recording that goes with the test.

#![allow(dead_code, reason = "each test program uses its part")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use recorder::{
    evidence::SigningKey,
    journal::{Folder, Moment, Writer},
    key::DataKey,
};
use sfu_proto::id::RecordingId;

pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) folder: Folder,
    pub(crate) key: Arc<DataKey>,
    /// Of the capture key.
    public: [u8; 32],
    /// The data key, to search for.
    pub(crate) secret: [u8; 32],
    capture: Arc<SigningKey>,
    start: Moment,
}

/// Bytes that tell their number.
pub(crate) fn batch(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(8)
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mut secret = [0; 32];
        secret[..4].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        secret[4..8].copy_from_slice(&std::process::id().to_le_bytes());
        for i in 8..32 {
            secret[i] = secret[i - 8].wrapping_mul(73).wrapping_add(i as u8);
        }
        let mut place = Self::with_key(name, Arc::new(DataKey::from_bytes(&secret).unwrap()), 3);
        place.secret = secret;
        place
    }

    pub(crate) fn with_key(name: &str, key: Arc<DataKey>, seed: u8) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir()
            .join(format!("conclave-journal-{name}-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let folder = Folder::create(&dir, RecordingId::from_bits(77)).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let capture = Arc::new(SigningKey::try_from(pair).unwrap());
        Self { dir, folder, key, public, secret: [0; 32], capture, start: Moment::now() }
    }

    pub(crate) fn capture_public(&self) -> [u8; 32] {
        self.public
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::create(&self.folder, self.key.clone(), self.capture.clone(), self.start).unwrap()
    }

    pub(crate) fn at(&self, passed: Duration) -> Moment {
        let unix_ms = self.start.unix_ms + u64::try_from(passed.as_millis()).unwrap();
        Moment { at: self.start.at + passed, unix_ms }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
