//! What is not as it was written is handed over as it is, and said to be so.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use recorder::{
    composite::{Mask, Region},
    evidence::{KeyFate, KeySet, PurgeReason, Verdict, verify},
    service::ledger::{News, Purge, State},
};
use sfu_proto::{
    control::Source,
    id::RecordingId,
    sdp::Codec,
    tap::Packet,
    unit::{RtpTimestamp, SeqNo},
};

use crate::world::{World, records, track};

/// What `conclave recording verify` notes about the capture of a delivered recording.
fn note(world: &World, keys: &KeySet) -> String {
    let is_manifest = |file: &PathBuf| file.ends_with("manifest.json");
    let manifest = World::files(&world.partner()).into_iter().find(is_manifest).unwrap();
    let report = verify(manifest.parent().unwrap(), keys, None);
    assert!(report.is_good(), "{report:?}");
    let notes = report.findings.iter().filter_map(|finding| match &finding.verdict {
        Verdict::Note(text) if finding.subject == "capture.json" => Some(text.clone()),
        _ => None,
    });
    notes.collect()
}

fn named(world: &World, end: &str) -> PathBuf {
    let files = World::files(&world.partner());
    let found = files.iter().find(|file| file.to_string_lossy().ends_with(end));
    found.unwrap_or_else(|| panic!("no {end} in {files:?}")).clone()
}

fn journal(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.journal"))
}

/// A recording of two chunks whose process is gone.
async fn left_behind(world: &World, id: RecordingId) {
    let (first, tap) = world.start();
    let mut batches = records(id, 5);
    let later = batches.split_off(2);
    world.record(&tap, world.row(id), batches).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    later.into_iter().for_each(|batch| assert!(tap.send(batch).is_ok()));
    tokio::time::sleep(Duration::from_millis(600)).await;
    first.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_journal_comes_with_its_tracks_and_the_evidence_names_the_place() {
    let world = World::new("changed");
    let id = RecordingId::from_bits(121);
    left_behind(&world, id).await;
    let file = journal(&world.folder(id), 1);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() * 2 / 3;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    world.until_delivered(&second, id, "00000001.journal.age").await;
    assert!(note(&world, &second.keys()).contains("DAMAGED"), "verification tells of it");
    assert_eq!(world.open(&named(&world, "00000001.journal.age")), bytes, "as it was found");
    assert!(world.open(&named(&world, ".ogg.age")).starts_with(b"OggS"));
    let key = world.root.join("data-key.age");
    fs::write(&key, world.open(&named(&world, "data-key.age"))).unwrap();
    assert_eq!(world.open(&key).len(), 32, "the partner has the key");
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_masks_the_second_key_alone_opens_what_is_handed_over() {
    let (world, other) = (World::new("changed-masked"), World::new("changed-second"));
    let id = RecordingId::from_bits(129);
    left_behind(&world, id).await;
    let file = journal(&world.folder(id), 1);
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.len() * 2 / 3;
    bytes[at] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    world.ledger.change(id, |row| {
        row.outputs.masks = vec![Mask { source: Source::Camera, handle: None, region }];
        row.outputs.unmasked_recipients = vec![other.recipient.clone()];
    });
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    world.until_delivered(&second, id, "00000001.journal.age").await;
    assert_eq!(other.open(&named(&world, "00000001.journal.age")), bytes);
    let key = other.root.join("data-key.age");
    fs::write(&key, other.open(&named(&world, "data-key.age"))).unwrap();
    assert_eq!(other.open(&key).len(), 32, "whoever has the journal has its key");
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_file_that_was_taken_away_is_missed() {
    let world = World::new("taken");
    let id = RecordingId::from_bits(122);
    left_behind(&world, id).await;
    let folder = world.folder(id);
    // A file of a later run, of which the one before is gone.
    fs::rename(journal(&folder, 1), journal(&folder, 2)).unwrap();
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    world.until_delivered(&second, id, "00000002.journal.age").await;
    assert!(note(&world, &second.keys()).contains("journal file 1"));
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_tried_again_and_then_passed_over() {
    let world = World::new("unread");
    let id = RecordingId::from_bits(123);
    left_behind(&world, id).await;
    // A directory opens like a file and cannot be read.
    fs::create_dir(journal(&world.folder(id), 2)).unwrap();
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.ledger.state(id), State::Finalizing, "nothing is decided");
    assert!(!World::files(&world.folder(id)).iter().any(|file| file.ends_with("export.json")));
    world.ledger.grow_old(id);
    world.until_state(id, State::Purged).await;
    world.until_delivered(&second, id, ".ogg.age").await;
    let note = note(&world, &second.keys());
    assert!(note.contains("journal file 2") && note.contains("did not give it back"), "{note}");
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn media_that_make_no_file_come_as_the_journal() {
    let world = World::new("keyless");
    let id = RecordingId::from_bits(124);
    let (recorder, tap) = world.start();
    // VP8 (RFC 7741 section 4.2): start of a partition, no key frame (lowest bit of the frame).
    let frame = [0x10, 0x01, 0, 0, 0, 0, 0, 0];
    let batches = track(id, 0, Source::Camera, Codec::Vp8, 100, &|n| Packet {
        index: 0,
        seq: SeqNo(n),
        timestamp: RtpTimestamp((n * 1800) as u32),
        marker: true,
        level: None,
        descriptor: &[],
        payload: &frame,
    });
    world.record(&tap, world.row(id), batches).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "00000001.journal.age").await;
    named(&world, "events.json.age");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_key_that_cannot_be_read_now_is_read_later() {
    let world = World::new("laterkey");
    let id = RecordingId::from_bits(125);
    left_behind(&world, id).await;
    let keys = World::files(&world.root.join("data/epochs"));
    let allow = |mode| {
        keys.iter().for_each(|key| {
            fs::set_permissions(key, fs::Permissions::from_mode(mode)).unwrap();
        });
    };
    allow(0o640);
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(World::files(&world.partner()).is_empty(), "nothing is handed over yet");
    allow(0o600);
    world.until_delivered(&second, id, ".ogg.age").await;
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_at_the_first_attempt_after_half_of_the_age_destroys_nothing() {
    let world = World::new("late");
    let [keyless, unread] = [128, 129].map(RecordingId::from_bits);
    for id in [keyless, unread] {
        left_behind(&world, id).await;
    }
    // Directories open like files and cannot be read.
    let (keys, away) = (world.folder(keyless).join("keys.json"), world.root.join("away"));
    fs::rename(&keys, &away).unwrap();
    fs::create_dir(&keys).unwrap();
    let stray = journal(&world.folder(unread), 2);
    fs::create_dir(&stray).unwrap();
    for id in [keyless, unread] {
        world.ledger.stop_now(id);
        world.ledger.grow_old(id);
    }
    let (second, _tap) = world.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    for id in [keyless, unread] {
        assert!(matches!(world.ledger.state(id), State::Recorded | State::Finalizing));
        assert!(journal(&world.folder(id), 1).exists());
    }
    fs::remove_dir(&keys).unwrap();
    fs::rename(&away, &keys).unwrap();
    fs::remove_dir(&stray).unwrap();
    for id in [keyless, unread] {
        world.ledger.change(id, |row| row.push_wanted = true);
        world.until_delivered(&second, id, ".ogg.age").await;
    }
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_open_is_kept_until_its_age_is_over() {
    let world = World::new("nokey");
    let id = RecordingId::from_bits(126);
    left_behind(&world, id).await;
    fs::write(world.folder(id).join("keys.json"), b"{").unwrap();
    world.ledger.stop_now(id);
    let (second, _tap) = world.start();
    world.ledger.grow_old(id);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(journal(&world.folder(id), 1).exists(), "somebody may mend it");
    world.ledger.change(id, |row| row.expires_at_ms = Some(1));
    world.until_state(id, State::Purged).await;
    let receipt = world.receipt(&second, id);
    assert_eq!((receipt.reason, receipt.keys), (PurgeReason::MaxAge, KeyFate::Unknown));
    assert!(receipt.delivered.is_empty());
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_gone_is_said_to_be_unreadable_and_not_empty() {
    let world = World::new("gone");
    let id = RecordingId::from_bits(130);
    left_behind(&world, id).await;
    fs::remove_file(journal(&world.folder(id), 1)).unwrap();
    world.ledger.stop_now(id);
    world.ledger.grow_old(id);
    let (second, _tap) = world.start();
    world.until_state(id, State::Purged).await;
    let last = world.ledger.told(id).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Unreadable, .. })), "{last:?}");
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_which_nothing_was_begun_is_empty_at_once() {
    let world = World::new("nothing");
    let id = RecordingId::from_bits(127);
    world.ledger.insert(world.row(id));
    fs::create_dir_all(world.folder(id)).unwrap();
    fs::write(world.spool().join("lost+found"), b"").unwrap();
    world.ledger.stop_now(id);
    let (recorder, _tap) = world.start();
    world.until_state(id, State::Purged).await;
    let receipt = world.receipt(&recorder, id);
    assert_eq!((receipt.reason, receipt.keys), (PurgeReason::Empty, KeyFate::NeverKept));
    recorder.shut_down().await;
}
