//! A journal is pushed while its recording goes on, so that little is left to do at the end.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use bus::tap::TapSender;
use recorder::{
    composite::{Mask, Region},
    evidence::{Finding, KeySet, PurgeReason, SignedReceipt, Verdict, verify},
    finalize::{FileInfo, Request, Sinks, TrackResult, finalize},
    journal::{Folder, Rotation},
    key::DataKey,
    limits::PART_BYTES,
    recorded::Recorded,
    service::{Recorder, ledger::State},
    storage::Target,
};
use sfu_proto::{control::Source, id::RecordingId, tap::Batch};

use crate::{
    ledger::Row,
    servers,
    world::{PATTERN, Sound, World, until},
};

/// Small files, so that a test has some in a second.
pub(crate) const SMALL: Rotation = Rotation { after: Duration::from_secs(3600), bytes: 100_000 };

fn world(name: &str) -> World {
    let mut world = World::new(name);
    world.rotation = SMALL;
    world
}

/// A row of which only the journal is wanted.
pub(crate) fn row(world: &World, id: RecordingId) -> Row {
    let mut row = world.row(id);
    (row.0.outputs.tracks, row.0.outputs.journal) = (false, true);
    row
}

/// What is sent of a recording, a batch of 50 kB for each second.
pub(crate) struct Feed {
    id: RecordingId,
    batches: std::vec::IntoIter<Batch>,
    sent: usize,
}

impl Feed {
    pub(crate) async fn begin(world: &World, tap: &TapSender, row: Row) -> Self {
        let id = row.0.id;
        let mut batches = Sound { index: 0, seconds: 200, padding: 1000 }.records(id).into_iter();
        let first: Vec<Batch> = batches.by_ref().take(2).collect();
        world.record(tap, row, first).await;
        Self { id, batches, sent: 2 }
    }

    /// Until so many files of the journal are closed, and one more is begun.
    pub(crate) async fn fill(&mut self, world: &World, tap: &TapSender, closed: usize) {
        let enough = Instant::now() + Duration::from_secs(60);
        while journals(&world.folder(self.id)).len() <= closed {
            assert!(Instant::now() < enough, "the journal does not grow");
            assert!(tap.send(self.batches.next().unwrap()).is_ok());
            self.sent += 1;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    let named = |file: &PathBuf| file.extension().is_some_and(|end| end == "journal");
    World::files(folder).into_iter().filter(named).collect()
}

/// Where a recording lies in a storage.
pub(crate) fn at(storage: &Path, id: RecordingId) -> PathBuf {
    storage.join(Row::new(id, "", "").0.room.to_string()).join(id.to_string())
}

/// Name, bytes and time of what lies in a storage.
fn arrived(world: &World, id: RecordingId) -> BTreeMap<String, (u64, SystemTime)> {
    let folder = at(&world.partner(), id);
    let told = |file: &PathBuf| {
        let found = fs::metadata(file).unwrap();
        let name = file.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        (name, (found.len(), found.modified().unwrap()))
    };
    World::files(&folder).iter().map(told).collect()
}

pub(crate) fn has(folder: &Path, number: u32) -> bool {
    folder.join(format!("{number:08}.journal.age")).exists()
}

/// As if all that arrived had done so hours ago.
pub(crate) fn age(world: &World, id: RecordingId) {
    let path = world.folder(id).join("push.json");
    let mut push: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for sending in push["files"].as_object_mut().unwrap().values_mut() {
        sending["verified_at_ms"] = 1_760_000_000_000_u64.into();
    }
    fs::write(&path, push.to_string()).unwrap();
}

fn is_good(world: &World, recorder: &Recorder, id: RecordingId) {
    let report = verify(&at(&world.partner(), id), &recorder.keys(), None);
    assert!(report.is_good(), "{report:?}");
}

/// Tracks as files in a folder.
struct Files<'a>(&'a Path, u64);

impl Sinks for Files<'_> {
    type Sink = File;

    fn open(&mut self, file: &FileInfo) -> io::Result<File> {
        File::create_new(self.0.join(&file.name))
    }

    fn close(&mut self, mut sink: File, result: &TrackResult) -> io::Result<()> {
        self.1 += result.frames;
        sink.flush()
    }
}

/// Makes tracks of the journal files that lie in `from`, opened by stock `age`, as the partner does; gives
/// how many packets `ffmpeg` plays.
fn extracted(owner: &World, from: &Path, id: RecordingId) -> u64 {
    let work = owner.root.join("extracted");
    fs::create_dir(&work).unwrap();
    let wrap = work.join("data-key");
    fs::write(&wrap, owner.open(&from.join("data-key.age"))).unwrap();
    let key = DataKey::from_bytes(&owner.open(&wrap)).unwrap();
    let journal = Folder::create(&work, id).unwrap();
    for file in World::files(from).iter().filter(|file| file.to_string_lossy().contains(".journal"))
    {
        fs::write(journal.path().join(file.file_stem().unwrap()), owner.open(file)).unwrap();
    }
    let mut files = Files(&work, 0);
    let request = Request { recording: Some(id), ..Request::default() };
    finalize(&Recorded::new(&journal, &key), &mut files, &request, &mut |_| {}).unwrap();
    let frames = files.1;
    let is_track = |file: &PathBuf| file.extension().is_some_and(|end| end == "ogg");
    let track = World::files(&work).into_iter().find(is_track).unwrap();
    let mut decode = Command::new("ffmpeg");
    let decoded = decode.args(["-v", "error", "-i"]).arg(track).args(["-f", "null", "-"]).output();
    let decoded = decoded.expect("ffmpeg: run .ci/setup");
    assert!(decoded.status.success() && decoded.stderr.is_empty(), "{decoded:?}");
    fs::remove_dir_all(&work).unwrap();
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_files_arrive_while_it_goes_on_and_the_tail_after_the_end() {
    let world = world("live");
    let id = RecordingId::from_bits(511);
    let (recorder, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, row(&world, id)).await;
    feed.fill(&world, &tap, 3).await;
    let there = at(&world.partner(), id);
    until("closed files arrive", || has(&there, 3)).await;
    until("the row tells of some", || world.ledger.row(id).artifacts.len() > 1).await;
    assert_eq!(world.ledger.state(id), State::Live);
    let before = arrived(&world, id);
    let open = format!("{:08}.journal.age", journals(&world.folder(id)).len());
    assert!(before.keys().all(|name| *name < open || name == "data-key.age"), "not the open one");
    assert!(before["data-key.age"].1 <= before["00000001.journal.age"].1, "the key comes first");
    assert_eq!(
        World::files(&world.folder(id).join("out")),
        Vec::<PathBuf>::new(),
        "only once here"
    );
    assert!(!World::holds(&world.root.join("data"), PATTERN), "plaintext on the disk");
    assert!(!World::holds(&world.partner(), PATTERN), "plaintext at the partner's");
    // If all of this burnt down now.
    assert!(extracted(&world, &there, id) >= 3 * 50);

    let stopped = Instant::now();
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "events.json.age").await;
    assert!(stopped.elapsed() < Duration::from_secs(30), "{:?}", stopped.elapsed());
    let after = arrived(&world, id);
    for (name, told) in &before {
        assert_eq!(after[name], *told, "{name} was pushed once");
    }
    let tail = after.iter().filter(|(name, _)| !before.contains_key(*name));
    let tail: Vec<&str> = tail.map(|(name, _)| name.as_str()).collect();
    let journals = tail.iter().filter(|name| name.contains(".journal")).count();
    // One may have been closed since the last look.
    assert!((1..=2).contains(&journals), "{tail:?}");
    assert!(!tail.iter().any(|name| name.contains(".ogg")), "nothing else was wanted: {tail:?}");
    is_good(&world, &recorder, id);
    assert_eq!(extracted(&world, &there, id), feed.sent as u64 * 50, "all of it");
    let receipt = world.receipt(&recorder, id);
    assert_eq!(receipt.artifacts.len(), before.len() + journals + 1, "and the events");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_goes_on_where_the_old_one_stopped() {
    let world = world("live-again");
    let id = RecordingId::from_bits(512);
    let (first, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, row(&world, id)).await;
    feed.fill(&world, &tap, 2).await;
    let there = at(&world.partner(), id);
    until("closed files arrive", || has(&there, 2)).await;
    world.ledger.trouble().silent_targets.insert("st_local".to_owned());
    feed.fill(&world, &tap, 4).await;
    first.shut_down().await;
    world.ledger.trouble().silent_targets.clear();
    let before = arrived(&world, id);
    // What a kill leaves: a file half sealed, and one that is whole and not noted.
    let out = world.folder(id).join("out");
    for half in ["00000003.journal.age", "00000004.journal.age", "0001-0-camera.webm.age"] {
        let _ = fs::remove_file(out.join(half));
        fs::write(out.join(half), b"half").unwrap();
    }
    let (second, _tap) = world.start();
    until("the next ones arrive", || has(&there, 4)).await;
    assert_eq!(world.ledger.state(id), State::Live);
    world.ledger.stop_now(id);
    world.until_delivered(&second, id, "00000005.journal.age").await;
    let after = arrived(&world, id);
    for (name, told) in &before {
        assert_eq!(after[name], *told, "{name} was pushed once");
    }
    assert!(!after.contains_key("0001-0-camera.webm.age"));
    is_good(&world, &second, id);
    assert_eq!(extracted(&world, &there, id), feed.sent as u64 * 50);
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_away_meanwhile_costs_nothing_and_changes_nothing() {
    let world = world("live-away");
    let id = RecordingId::from_bits(513);
    let (recorder, tap) = world.start();
    let mut both = row(&world, id);
    both.0.outputs.tracks = true;
    let mut feed = Feed::begin(&world, &tap, both).await;
    feed.fill(&world, &tap, 1).await;
    let there = at(&world.partner(), id);
    until("the first arrives", || has(&there, 1)).await;
    until("the row tells of it", || world.ledger.row(id).artifacts.len() > 1).await;
    let away = world.root.join("away");
    fs::rename(world.partner(), &away).unwrap();
    let version = world.ledger.row(id).version;
    feed.fill(&world, &tap, 4).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let row = world.ledger.row(id);
    assert_eq!((row.state, row.version), (State::Live, version));
    assert!(world.ledger.told(id).is_empty());
    let sealed = World::files(&world.folder(id).join("out")).len();
    assert!(sealed <= 1, "{sealed} sealed files wait: the journal has them");
    fs::rename(&away, world.partner()).unwrap();
    until("all that is closed arrives", || has(&there, 4)).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, ".ogg.age").await;
    is_good(&world, &recorder, id);
    assert_eq!(extracted(&world, &there, id), feed.sent as u64 * 50);
    recorder.shut_down().await;
}

/// The storage is a server, and a file is more than one part.
#[tokio::test(flavor = "multi_thread")]
async fn object_storage_takes_it_while_it_goes_on() {
    let mut world = world("live-s3");
    world.rotation.bytes = PART_BYTES + 1;
    let server = servers::moto(false);
    let target = serde_json::json!({
        "kind": "s3", "endpoint": format!("http://127.0.0.1:{}", server.port),
        "region": "us-east-1", "bucket": "bucket", "access_key": "partner",
        "secret_key": "CANARY-secret",
    });
    world.ledger.set_target("st_s3", Target::parse(&target.to_string()).unwrap());
    let id = RecordingId::from_bits(517);
    let (recorder, tap) = world.start();
    let mut row = row(&world, id);
    row.0.target = Some("st_s3".to_owned());
    let batches = Sound { index: 0, seconds: 400, padding: 1200 }.records(id);
    let mut batches = batches.into_iter();
    world.record(&tap, row, batches.by_ref().take(2).collect()).await;
    while journals(&world.folder(id)).len() < 2 {
        let batch = batches.next().expect("a file of more than a part");
        while tap.send(batch.clone()).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let listed = || servers::http(server.port, "GET", "/bucket?list-type=2", &[], b"");
    until("the first file arrives", || listed().contains("00000001.journal.age")).await;
    assert_eq!(world.ledger.state(id), State::Live);
    world.ledger.stop_now(id);
    world.until_state(id, State::Purged).await;
    assert_eq!(world.receipt(&recorder, id).reason, PurgeReason::Delivered);
    let all = listed();
    let wanted = ["00000002.journal.age", "data-key.age", "events.json.age", "manifest.json.sig"];
    assert!(wanted.iter().all(|name| all.contains(name)), "{all}");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_target_gets_all_of_it() {
    let world = world("live-target");
    let id = RecordingId::from_bits(514);
    let (recorder, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, row(&world, id)).await;
    feed.fill(&world, &tap, 2).await;
    until("closed files arrive", || has(&at(&world.partner(), id), 2)).await;
    let other = world.partner().join("other");
    fs::create_dir(&other).unwrap();
    let target = format!(r#"{{"kind":"local","folder":"{}"}}"#, other.display());
    world.ledger.set_target("st_other", Target::parse(&target).unwrap());
    world.ledger.change(id, |row| row.target = Some("st_other".to_owned()));
    feed.fill(&world, &tap, 3).await;
    until("all of it arrives there", || has(&at(&other, id), 3)).await;
    // And once more after the end, when files are made.
    world.ledger.change(id, |row| row.target = Some("st_none".to_owned()));
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    fs::remove_dir_all(at(&world.partner(), id)).unwrap();
    world.ledger.change(id, |row| {
        (row.target, row.push_wanted) = (Some("st_local".to_owned()), true);
    });
    world.until_delivered(&recorder, id, "manifest.json.sig").await;
    is_good(&world, &recorder, id);
    assert_eq!(extracted(&world, &at(&world.partner(), id), id), feed.sent as u64 * 50);
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_masks_and_no_key_of_ours_the_second_key_alone_opens_it() {
    let (world, second) = (world("live-masked"), World::new("live-second"));
    let id = RecordingId::from_bits(515);
    let (first, tap) = world.start();
    let mut masked = row(&world, id);
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    masked.0.sealed = true;
    masked.0.outputs.masks = vec![Mask { source: Source::Camera, handle: None, region }];
    masked.0.outputs.unmasked_recipients = vec![second.recipient.clone()];
    let mut feed = Feed::begin(&world, &tap, masked).await;
    feed.fill(&world, &tap, 2).await;
    let there = at(&world.partner(), id);
    until("closed files arrive", || has(&there, 2)).await;
    let given = ["-d", "-i", world.identity.to_str().unwrap()];
    let refused = Command::new("age").args(given).arg(there.join("data-key.age")).output().unwrap();
    assert!(!refused.status.success(), "the partner's own key must not lift the mask");
    first.shut_down().await;
    let (next, _tap) = world.start();
    world.ledger.stop_now(id);
    world.until_delivered(&next, id, "00000003.journal.age").await;
    is_good(&world, &next, id);
    assert_eq!(extracted(&second, &there, id), feed.sent as u64 * 50);
    next.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_after_some_arrived_has_a_receipt_that_names_it() {
    let world = world("live-deleted");
    let id = RecordingId::from_bits(516);
    let (recorder, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, row(&world, id)).await;
    feed.fill(&world, &tap, 3).await;
    until("closed files arrive", || has(&at(&world.partner(), id), 3)).await;
    world.ledger.change(id, |row| {
        row.artifacts.clear(); // It is told now and then.
        (row.state, row.is_deleted) = (State::Recorded, true);
        row.stopped_at_ms = Some(row.started_at_ms);
    });
    world.until_state(id, State::Purged).await;
    let receipt = world.receipt(&recorder, id);
    assert_eq!(receipt.reason, PurgeReason::Deleted);
    let named =
        receipt.delivered.iter().flat_map(|one| &one.only).map(|name| name.as_str().to_owned());
    let mut named: Vec<String> = named.collect();
    named.sort();
    let mut there = arrived(&world, id);
    assert!(there.remove("receipt.json").is_some(), "the last word");
    assert_eq!(named, there.into_keys().collect::<Vec<_>>());
    assert_eq!(named.len(), receipt.artifacts.len(), "each with its digest");
    let folder = at(&world.partner(), id);
    let left = SignedReceipt::parse(&fs::read(folder.join("receipt.json")).unwrap()).unwrap();
    assert_eq!(left.verify(&recorder.keys()), Ok(receipt), "the one that was told");
    let wrong = |keys: &KeySet| {
        let report = verify(&folder, keys, None);
        let is_wrong = |finding: &&Finding| matches!(finding.verdict, Verdict::Wrong(_));
        report.findings.iter().filter(is_wrong).map(|it| it.subject.clone()).collect::<Vec<_>>()
    };
    assert_eq!(wrong(&recorder.keys()), ["manifest.json"], "all that is here is vouched for");
    fs::write(folder.join("data-key.age"), b"another").unwrap();
    assert_eq!(wrong(&recorder.keys()), ["manifest.json", "data-key.age"]);
    assert!(!world.folder(id).exists());
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_is_away_keeps_nothing_from_being_destroyed_and_told() {
    let world = world("live-deleted-away");
    let id = RecordingId::from_bits(519);
    let (recorder, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, row(&world, id)).await;
    feed.fill(&world, &tap, 2).await;
    until("closed files arrive", || has(&at(&world.partner(), id), 2)).await;
    let away = world.root.join("away");
    fs::rename(world.partner(), &away).unwrap();
    world.ledger.change(id, |row| {
        (row.state, row.is_deleted) = (State::Recorded, true);
        row.stopped_at_ms = Some(row.started_at_ms);
    });
    until("it is destroyed", || !world.folder(id).exists()).await;
    world.until_state(id, State::Purged).await;
    assert_eq!(world.receipt(&recorder, id).reason, PurgeReason::Deleted);
    recorder.shut_down().await;
}

/// Somebody tidies the storage between the first hours and the end.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_from_the_storage_again_is_pushed_anew_before_the_journal_is_purged() {
    let world = world("live-gone");
    let id = RecordingId::from_bits(518);
    let (first, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, row(&world, id)).await;
    feed.fill(&world, &tap, 3).await;
    let there = at(&world.partner(), id);
    until("closed files arrive", || has(&there, 3)).await;
    first.shut_down().await;
    age(&world, id);
    let before = arrived(&world, id);
    fs::remove_file(there.join("00000001.journal.age")).unwrap();
    fs::write(there.join("00000002.journal.age"), b"cut").unwrap();
    let (second, _tap) = world.start();
    world.ledger.stop_now(id);
    world.until_delivered(&second, id, "00000001.journal.age").await;
    is_good(&world, &second, id);
    let after = arrived(&world, id);
    for kept in ["data-key.age", "00000003.journal.age"] {
        assert_eq!(after[kept], before[kept], "{kept} was pushed once");
    }
    assert_eq!(extracted(&world, &there, id), feed.sent as u64 * 50, "all of it");
    second.shut_down().await;
}

/// Nobody has the key of a sealed recording once its files are made: they must not be made twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_is_gone_costs_nothing_that_was_made() {
    let world = world("live-gone-sealed");
    let id = RecordingId::from_bits(519);
    let (recorder, tap) = world.start();
    let mut row = row(&world, id);
    (row.0.outputs.tracks, row.0.sealed) = (true, true);
    let mut feed = Feed::begin(&world, &tap, row).await;
    feed.fill(&world, &tap, 3).await;
    let there = at(&world.partner(), id);
    let path = world.folder(id).join("push.json");
    let is_verified =
        |push: &serde_json::Value| push["files"]["00000003.journal.age"]["verified_at_ms"].is_u64();
    let read = || {
        let text = fs::read(&path).unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default()
    };
    until("closed files arrive", || is_verified(&read())).await;
    age(&world, id);
    for name in ["data-key.age", "00000002.journal.age"] {
        fs::remove_file(there.join(name)).unwrap();
    }
    // It cannot be sealed again for a while.
    let (keys, away) = (world.folder(id).join("keys.json"), world.root.join("keys.json"));
    fs::rename(&keys, &away).unwrap();
    world.ledger.stop_now(id);
    until("it is seen", || read()["files"]["data-key.age"].is_null()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    fs::rename(&away, &keys).unwrap();
    world.until_delivered(&recorder, id, ".ogg.age").await;
    is_good(&world, &recorder, id);
    assert_eq!(world.ledger.trouble().makes[&id], 1, "made once");
    let capture: serde_json::Value =
        serde_json::from_slice(&fs::read(there.join("capture.json")).unwrap()).unwrap();
    assert_eq!(capture["ended"], "closed");
    assert_eq!(extracted(&world, &there, id), feed.sent as u64 * 50, "all of it");
    recorder.shut_down().await;
}

/// A kill between two renames, when files that were sealed again take their places.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_were_sealed_again_are_in_their_places_before_they_are_pushed() {
    let world = world("live-aside");
    let id = RecordingId::from_bits(520);
    let (first, tap) = world.start();
    let mut feed = Feed::begin(&world, &tap, row(&world, id)).await;
    feed.fill(&world, &tap, 3).await;
    world.ledger.change(id, |row| row.target = Some("st_none".to_owned()));
    world.ledger.stop_now(id);
    world.until_state(id, State::PushBlocked).await;
    first.shut_down().await;
    let (folder, out) = (world.folder(id), world.folder(id).join("out"));
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let mut export = read("export.json");
    fs::create_dir(out.join(".again")).unwrap();
    let evidence = export["evidence"].as_array().unwrap();
    for name in evidence.iter().map(|name| name.as_str().unwrap()).chain(["00000002.journal.age"]) {
        fs::rename(out.join(name), out.join(".again").join(name)).unwrap();
    }
    let bytes = fs::metadata(out.join(".again/00000002.journal.age")).unwrap().len();
    fs::write(out.join("00000002.journal.age"), vec![1; usize::try_from(bytes).unwrap()]).unwrap();
    export["is_aside"] = true.into();
    fs::write(folder.join("export.json"), export.to_string()).unwrap();
    // This one is sealed again after that.
    fs::remove_file(out.join("00000003.journal.age")).unwrap();
    let artifacts = export["artifacts"].as_array().unwrap().clone();
    let of_journal = |one: &serde_json::Value| {
        let name = one["name"].as_str().unwrap();
        name == "data-key.age" || name.ends_with(".journal.age")
    };
    let mut live: Vec<_> = artifacts.into_iter().filter(of_journal).collect();
    let another = live[0]["sha256"].clone();
    let of_two = |one: &&mut serde_json::Value| one["name"] == "00000002.journal.age";
    live.iter_mut().find(of_two).unwrap()["sha256"] = another;
    let live = serde_json::json!({ "artifacts": live });
    fs::write(folder.join("live.json"), live.to_string()).unwrap();
    let (second, _tap) = world.start();
    world.ledger.change(id, |row| {
        (row.target, row.push_wanted) = (Some("st_local".to_owned()), true);
    });
    world.until_delivered(&second, id, "manifest.json.sig").await;
    is_good(&world, &second, id);
    assert_eq!(world.ledger.trouble().makes[&id], 1, "made once");
    let there = at(&world.partner(), id);
    assert_eq!(extracted(&world, &there, id), feed.sent as u64 * 50, "all of it");
    second.shut_down().await;
}
