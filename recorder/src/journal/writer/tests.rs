//! Writers on disks that fail, that are slow to rotate, or that come back from a snapshot.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{HashSet, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sfu_proto::id::RecordingId;

use super::*;
use crate::journal::{Ending, HeaderError, OpenError, Replay};

/// What happens at the next sync of any file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Sync {
    Fine,
    /// Fails, and nothing of the last write reached the disk.
    Lost,
    /// Fails, and all of it did.
    Kept,
    /// No room, after half of the write.
    Full,
}

/// The system's disk, with a script of what fails.
#[derive(Clone)]
struct Faulty(Arc<Mutex<VecDeque<Sync>>>);

struct FaultySink {
    real: fs::File,
    script: Arc<Mutex<VecDeque<Sync>>>,
    synced_bytes: u64,
}

impl Faulty {
    fn new(script: &[Sync]) -> Self {
        Self(Arc::new(Mutex::new(script.iter().copied().collect())))
    }
}

impl Disk for Faulty {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Sink>> {
        let real = fs::File::create_new(path)?;
        Ok(Box::new(FaultySink { real, script: self.0.clone(), synced_bytes: 0 }))
    }

    fn sync_dir(&mut self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for FaultySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let full = self.script.lock().unwrap().front() == Some(&Sync::Full);
        let part = if full { bytes.len() / 2 } else { bytes.len() };
        io::Write::write_all(&mut self.real, &bytes[..part])?;
        if full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let now = self.script.lock().unwrap().pop_front().unwrap_or(Sync::Fine);
        let length = self.real.metadata()?.len();
        match now {
            Sync::Fine => {
                self.synced_bytes = length;
                Ok(())
            }
            Sync::Lost => {
                self.real.set_len(self.synced_bytes)?;
                Err(io::Error::other("EIO"))
            }
            _ => Err(io::Error::other("EIO")),
        }
    }
}

/// A folder that goes with the test.
struct Place {
    dir: PathBuf,
    folder: Folder,
    key: Arc<DataKey>,
    capture: Arc<SigningKey>,
    start: Moment,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "conclave-writer-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let folder = Folder::create(&dir, RecordingId::from_bits(11)).unwrap();
        let capture = Arc::new(SigningKey::generate().unwrap());
        Self { dir, folder, key: Arc::new(DataKey::generate()), capture, start: Moment::now() }
    }

    fn writer(&self, script: &[Sync]) -> Result<Writer, WriteError> {
        let disk = Box::new(Faulty::new(script));
        Writer::on(disk, &self.folder, self.key.clone(), self.capture.clone(), self.start)
    }

    fn at(&self, passed: Duration) -> Moment {
        let unix_ms = self.start.unix_ms + u64::try_from(passed.as_millis()).unwrap();
        Moment { at: self.start.at + passed, unix_ms }
    }

    /// Batches that can be read, and how each file ends.
    fn read(&self) -> (Vec<Vec<u8>>, Vec<String>, Vec<bool>) {
        let mut replay = Replay::of(&self.folder, &self.key).unwrap();
        let batches = replay.by_ref().map(|batch| batch.bytes.to_vec()).collect();
        let told = replay.into_reports().into_iter().map(|report| match report.found {
            Ok(found) => (ending(&found.ending), found.linked),
            Err(OpenError::Header(HeaderError::Short(0))) => ("empty".into(), true),
            Err(error) => panic!("{error}"),
        });
        let (endings, links) = told.unzip();
        (batches, endings, links)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ending(ending: &Ending) -> String {
    match ending {
        Ending::Whole { last: true } => "end".into(),
        Ending::Whole { last: false } => "rotation".into(),
        Ending::Truncated { .. } => "truncated".into(),
        other => format!("{other:?}"),
    }
}

/// Appends five batches, each a chunk of its own, and closes.
fn write_five(place: &Place, mut writer: Writer) -> Result<Stats, WriteError> {
    for n in 0..5u8 {
        writer.append(&[n; 100])?;
        writer.tick(place.at(JOURNAL_FLUSH * (u32::from(n) + 1)))?;
    }
    writer.close(place.at(JOURNAL_FLUSH * 6))
}

fn five() -> Vec<Vec<u8>> {
    (0..5u8).map(|n| vec![n; 100]).collect()
}

#[test]
fn a_failed_sync_ends_the_file_and_loses_and_repeats_nothing() {
    for fault in [Sync::Lost, Sync::Kept] {
        // Sync 0 is the opening, 1 to 5 the batches, 6 the end.
        for at in 0..=6 {
            let place = Place::new();
            let mut script = vec![Sync::Fine; at];
            script.push(fault);
            let stats = write_five(&place, place.writer(&script).unwrap()).unwrap();
            let (batches, endings, links) = place.read();
            assert_eq!(batches, five(), "{fault:?} at {at}");
            assert_eq!((stats.files, stats.failures, stats.chunks), (2, 1, 5));
            assert_eq!(stats.plain_bytes, 500);
            assert_eq!(endings.last().unwrap(), "end");
            assert!(links.iter().all(|linked| *linked));
        }
    }
}

/// Two failures in a row at the same chunk: its copies lie in three files.
#[test]
fn a_file_that_replaces_a_failed_one_may_fail_too() {
    for (first, second) in
        [(Sync::Kept, Sync::Kept), (Sync::Lost, Sync::Kept), (Sync::Kept, Sync::Lost)]
    {
        for between in 0..=1 {
            let place = Place::new();
            let mut script = vec![Sync::Fine, Sync::Fine, first];
            script.extend(vec![Sync::Fine; between]);
            script.push(second);
            let stats = write_five(&place, place.writer(&script).unwrap()).unwrap();
            assert_eq!(place.read().0, five(), "{script:?}");
            assert_eq!(stats.failures, 2);
        }
    }
}

#[test]
fn a_disk_that_goes_on_failing_stops_the_writer_and_keeps_what_was_safe() {
    let place = Place::new();
    let mut script = vec![Sync::Fine; 3];
    script.extend([Sync::Lost; 20]);
    let mut writer = place.writer(&script).unwrap();
    for n in 0..2u8 {
        writer.append(&[n; 100]).unwrap();
        writer.tick(place.at(JOURNAL_FLUSH * (u32::from(n) + 1))).unwrap();
    }
    writer.append(&[9; 100]).unwrap();
    let error = writer.tick(place.at(JOURNAL_FLUSH * 3)).unwrap_err();
    assert!(matches!(error, WriteError::Disk(_)), "{error}");
    assert_eq!(writer.stats().failures, u64::from(JOURNAL_ROTATIONS_MAX) + 1);
    assert!(matches!(writer.append(&[1]), Err(WriteError::Stopped)));
    assert!(matches!(writer.tick(place.start), Err(WriteError::Stopped)));
    assert!(matches!(writer.close(place.start), Err(WriteError::Stopped)));
    let replay = Replay::of(&place.folder, &place.key).unwrap();
    assert_eq!(replay.map(|b| b.bytes.to_vec()).collect::<Vec<_>>(), five()[..2]);
}

#[test]
fn a_full_disk_is_told_at_once_and_what_was_safe_is_readable() {
    let place = Place::new();
    let mut writer = place.writer(&[Sync::Fine, Sync::Fine, Sync::Full]).unwrap();
    writer.append(&[0; 100]).unwrap();
    writer.tick(place.at(JOURNAL_FLUSH)).unwrap();
    writer.append(&[1; 100]).unwrap();
    let error = writer.tick(place.at(JOURNAL_FLUSH * 2)).unwrap_err();
    assert!(matches!(error, WriteError::DiskFull), "{error}");
    assert!(matches!(writer.append(&[1]), Err(WriteError::Stopped)));
    let (batches, endings, _) = place.read();
    assert_eq!(batches, five()[..1]);
    assert_eq!(endings, ["truncated"]);
}

#[test]
fn full_files_are_continued_and_a_missing_one_is_noticed() {
    let place = Place::new();
    let mut writer = place.writer(&[]).unwrap();
    writer.file_bytes_max = 300;
    write_five(&place, writer).unwrap();
    let (batches, endings, links) = place.read();
    assert_eq!(batches, five());
    let (last, before) = endings.split_last().unwrap();
    assert!(before.len() >= 4 && before.iter().all(|ending| ending == "rotation"), "{endings:?}");
    assert_eq!(last, "end");
    assert!(links.iter().all(|linked| *linked));
    fs::remove_file(place.folder.file(2)).unwrap();
    let (_, _, links) = place.read();
    assert!(links[0] && !links[1] && links[2..].iter().all(|linked| *linked));
}

#[test]
fn files_that_are_pushed_meanwhile_end_by_age_or_size_and_never_empty() {
    let place = Place::new();
    let after = Duration::from_secs(2);
    let writer = place.writer(&[]).unwrap();
    let mut writer = writer.rotating(Rotation { after, bytes: 2_000 });
    writer.tick(place.at(after * 3)).unwrap();
    assert_eq!(writer.stats().files, 1, "nothing is in it");
    writer.append(&[0; 100]).unwrap();
    writer.tick(place.at(after * 3 + JOURNAL_FLUSH)).unwrap();
    writer.append(&[1; 100]).unwrap();
    writer.tick(place.at(after * 3 + JOURNAL_FLUSH * 2)).unwrap();
    assert_eq!(writer.stats().files, 2, "the first was old");
    let begun = after * 3 + JOURNAL_FLUSH * 2;
    assert_eq!(writer.deadline(), place.at(begun + after).at);
    writer.append(&[2; 2_000]).unwrap();
    writer.tick(place.at(begun + JOURNAL_FLUSH)).unwrap();
    writer.append(&[3; 100]).unwrap();
    writer.tick(place.at(begun + JOURNAL_FLUSH * 2)).unwrap();
    assert_eq!(writer.stats().files, 3, "the second was large");
    writer.close(place.at(begun + JOURNAL_FLUSH * 3)).unwrap();
    let (batches, endings, links) = place.read();
    let lengths: Vec<usize> = batches.iter().map(Vec::len).collect();
    assert_eq!(lengths, [100, 100, 2_000, 100]);
    assert_eq!(endings, ["rotation", "rotation", "end"]);
    assert!(links.iter().all(|linked| *linked));
}

#[test]
fn batches_are_flushed_when_due_and_checkpoints_signed() {
    let place = Place::new();
    let mut writer = place.writer(&[]).unwrap();
    writer.append(&[0; 10]).unwrap();
    writer.append(&[1; 10]).unwrap();
    assert_eq!(writer.deadline(), place.at(JOURNAL_FLUSH).at);
    writer.tick(place.at(JOURNAL_FLUSH - Duration::from_millis(1))).unwrap();
    assert_eq!(writer.stats().chunks, 0);
    writer.tick(place.at(JOURNAL_FLUSH)).unwrap();
    assert_eq!((writer.stats().chunks, writer.stats().plain_bytes), (1, 20));
    assert_eq!(writer.deadline(), place.at(JOURNAL_CHECKPOINT).at);
    assert_eq!(writer.stats().checkpoints, 1, "the opening");
    writer.tick(place.at(JOURNAL_CHECKPOINT)).unwrap();
    assert_eq!((writer.stats().chunks, writer.stats().checkpoints), (1, 2));
    // A batch that does not fit any more sends off what was there, not a part of itself.
    writer.append(&vec![2; JOURNAL_CHUNK_BYTES_MAX - 5]).unwrap();
    writer.append(&[3; 10]).unwrap();
    assert_eq!(writer.stats().chunks, 2);
    let long = vec![0; JOURNAL_CHUNK_BYTES_MAX + 1];
    assert!(matches!(writer.append(&long), Err(WriteError::Batch(_))));
    let stats = writer.close(place.at(JOURNAL_CHECKPOINT + JOURNAL_FLUSH)).unwrap();
    assert_eq!((stats.chunks, stats.checkpoints), (3, 3));
    assert_eq!(stats.syncs, 6);
    assert!(stats.sync_total >= stats.sync_max && stats.sync_max >= stats.sync_last);
    let on_disk = fs::metadata(place.folder.file(1)).unwrap().len();
    assert_eq!(stats.file_bytes, on_disk);
    let lengths: Vec<usize> = place.read().0.iter().map(Vec::len).collect();
    assert_eq!(lengths, [20, JOURNAL_CHUNK_BYTES_MAX - 5, 10]);
}

/// The same plaintext under the same data key, file number and seq, as after a machine went back to a
/// snapshot: nothing sealed is alike.
#[test]
fn no_file_shares_its_key_even_when_its_number_is_used_again() {
    let place = Place::new();
    let (mut salts, mut sealed) = (HashSet::new(), HashSet::new());
    for _ in 0..50 {
        let mut writer = place.writer(&[]).unwrap();
        writer.append(&[7; 64]).unwrap();
        writer.close(place.at(JOURNAL_FLUSH)).unwrap();
        let path = place.folder.file(1);
        let bytes = fs::read(&path).unwrap();
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.file, 1);
        assert!(salts.insert(header.salt), "a salt repeats");
        for window in bytes[152..].windows(16).filter(|w| w.iter().any(|b| *b != 0)) {
            // Heads in the clear are alike: they have at least seven zeros in a row.
            if !window.windows(7).any(|w| w == [0; 7])
                && window[0..].iter().filter(|b| **b == 0).count() < 4
            {
                assert!(sealed.insert(window.to_vec()), "ciphertext repeats");
            }
        }
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_new_writer_never_touches_old_files() {
    let place = Place::new();
    for n in 1..=3u32 {
        drop(place.writer(&[]).unwrap());
        let old = fs::read(place.folder.file(1)).unwrap();
        let mut writer = place.writer(&[]).unwrap();
        writer.append(&[1; 10]).unwrap();
        writer.close(place.at(JOURNAL_FLUSH)).unwrap();
        assert_eq!(place.folder.files().unwrap().len() as u32, 2 * n);
        assert_eq!(fs::read(place.folder.file(1)).unwrap(), old);
    }
    fs::write(place.folder.file(JOURNAL_FILES_MAX as u32), b"").unwrap();
    assert!(matches!(place.writer(&[]), Err(WriteError::TooMany)));
}

#[test]
fn a_signature_by_another_key_than_the_headers_is_refused() {
    let place = Place::new();
    let mut writer = place.writer(&[]).unwrap();
    writer.append(&[0; 100]).unwrap();
    writer.capture = Arc::new(SigningKey::generate().unwrap());
    writer.close(place.at(JOURNAL_FLUSH)).unwrap();
    let mut replay = Replay::of(&place.folder, &place.key).unwrap();
    assert_eq!(replay.by_ref().count(), 1);
    let found = replay.into_reports().remove(0).found.unwrap();
    let flaw = crate::journal::Flaw::Signature;
    assert!(matches!(found.ending, Ending::Tampered { seq: 2, flaw: f, .. } if f == flaw));
}
