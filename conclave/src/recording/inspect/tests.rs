//! What is said of journals that were really written.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, sync::Arc, time::SystemTime};

use recorder::{
    evidence::SigningKey,
    journal::{Moment, Writer},
    key::WrappedKeys,
    limits::JOURNAL_FLUSH,
};
use sfu_proto::{id::RecordingId, tap::Record};

use super::*;

struct Data {
    dir: PathBuf,
    folder: Folder,
}

impl Data {
    /// A data directory with a recording of two runs, the first cut off.
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("conclave-inspect-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let recording = RecordingId::from_bits(9);
        let folder = Folder::create(&dir, recording).unwrap();
        let key = Arc::new(DataKey::from_bytes(&[5; 32]).unwrap());
        fs::write(dir.join("data.key"), [5; 32]).unwrap();
        let epochs = EpochKeys::open(&dir.join(EPOCHS)).unwrap();
        let now = SystemTime::now();
        let wraps = WrappedKeys::wrap(recording, &key, &[], Some(&epochs), now).unwrap();
        folder.write_keys(&wraps).unwrap();
        let capture = Arc::new(SigningKey::generate().unwrap());
        let mut bytes = Vec::new();
        Record { time_us: 1_000_000, body: Body::Ended { index: 1 } }.write(&mut bytes);
        Record { time_us: 3_500_000, body: Body::Lost { records: 7 } }.write(&mut bytes);
        for closes in [false, true] {
            let mut now = Moment::now();
            let mut writer = Writer::create(&folder, key.clone(), capture.clone(), now).unwrap();
            writer.append(&bytes).unwrap();
            now.at += JOURNAL_FLUSH;
            writer.tick(now).unwrap();
            if closes {
                writer.close(now).unwrap();
            }
        }
        Self { dir, folder }
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.files().unwrap()[number - 1].1.clone()
    }

    fn report(&self, path: &Path, key_file: bool, data: bool) -> Report {
        let place = Place::of(path).unwrap();
        let key_file = key_file.then(|| self.dir.join("data.key"));
        let data = data.then_some(&*self.dir);
        match key(&place, key_file.as_deref(), data).unwrap() {
            Some(key) => place.replay(&key).unwrap(),
            None => place.structure().unwrap(),
        }
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn tells(report: &Report, parts: &[&str]) {
    for part in parts {
        assert!(report.text.contains(part), "{part:?} is not in:\n{}", report.text);
    }
}

#[test]
fn a_folder_is_told_with_either_key_and_in_shape_without() {
    let data = Data::new("folder");
    let whole =
        ["file 1 of rc_", "file 2 of rc_", "TRUNCATED", "the recording ends here", "1 chunks of"];
    for (key_file, operator) in [(true, false), (false, true)] {
        let report = data.report(data.folder.path(), key_file, operator);
        tells(&report, &whole);
        tells(&report, &["1 signatures by the capture key, all valid", "2 signatures by"]);
        tells(&report, &["4 records of 2500 ms", "GAP: 14 records were lost", "2 times"]);
        assert!(!report.wrong, "{}", report.text);
    }
    let report = data.report(data.folder.path(), false, false);
    tells(&report, &whole);
    tells(&report, &["without a key"]);
    assert!(!report.wrong);
    // One file alone, elsewhere.
    let moved = data.dir.join("copy");
    fs::copy(data.file(2), &moved).unwrap();
    let report = data.report(&moved, true, false);
    tells(&report, &["file 2 of rc_", "the recording ends here", "2 records"]);
}

#[test]
fn a_changed_file_and_a_missing_one_are_told() {
    let data = Data::new("changed");
    let path = data.file(2);
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = data.report(data.folder.path(), true, false);
    tells(&report, &["WRONG: chunk 1 at byte 256 is not as it was written: its tag is wrong"]);
    assert!(report.wrong);
    let fifth = path.with_file_name("00000005.journal");
    fs::write(&fifth, b"CNC").unwrap();
    let third = path.with_file_name("00000004.journal");
    fs::rename(&path, third).unwrap();
    let report = data.report(data.folder.path(), true, false);
    tells(&report, &["WRONG: files 2 to 3 are missing", "another file"]);
    tells(&report, &["file 5\n  TRUNCATED in its header, at byte 3"]);
}

#[test]
fn keys_that_do_not_open_are_told() {
    let data = Data::new("keys");
    let place = Place::of(data.folder.path()).unwrap();
    fs::remove_dir_all(data.dir.join(EPOCHS)).unwrap();
    let error = key(&place, None, Some(&data.dir)).err().unwrap();
    assert!(error.to_string().contains("is destroyed"), "{error}");
    fs::write(data.dir.join("data.key"), [4; 32]).unwrap();
    let report = data.report(data.folder.path(), true, false);
    tells(&report, &["WRONG: file 1: sealed with the data key", "not with this one"]);
    assert!(report.wrong);
}
