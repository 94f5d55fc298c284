//! Composites of the whole recorder: sealed and delivered beside the tracks, and missed by nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use recorder::{
    composite::{Canvas, Layout, Mask, Region, Sandbox, Tools},
    evidence::ArtifactKind,
    finalize::Handle,
    service::ledger::{Composite, News, Outputs, Purge, State},
};
use sfu_proto::{
    control::Source,
    id::RecordingId,
    sdp::Codec,
    tap::{Batch, Packet},
    unit::{RtpTimestamp, SeqNo},
};

use crate::world::{Sound, World, records, track, until};

/// Names at the partner's, without folders.
fn names(world: &World) -> Vec<String> {
    let files = World::files(&world.partner()).into_iter();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.map(|path| name(&path)).collect()
}

fn finalized(world: &World, id: RecordingId) -> Vec<ArtifactKind> {
    let told = world.ledger.told(id);
    let missing = told.iter().find_map(|news| match news {
        News::Finalized { missing, .. } => Some(missing.clone()),
        _ => None,
    });
    missing.unwrap()
}

fn opened(world: &World, name: &str) -> Vec<u8> {
    let files = World::files(&world.partner());
    world.open(files.iter().find(|file| file.ends_with(name)).unwrap())
}

fn all() -> Outputs {
    let composite = Composite { layout: Layout::Grid, canvas: Canvas { width: 160, height: 90 } };
    Outputs {
        tracks: true,
        composite: Some(composite),
        audio_mix: true,
        hls: true,
        ..Outputs::default()
    }
}

async fn delivered(world: &World, id: RecordingId, outputs: Outputs) {
    let mut row = world.row(id);
    row.0.outputs = outputs;
    world.ledger.insert(row);
    let (recorder, tap) = world.start();
    records(id, 3).into_iter().for_each(|batch| drop(tap.send(batch)));
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    world.ledger.stop_now(id);
    until("it is purged", || world.ledger.state(id) == State::Purged).await;
    let last = world.ledger.told(id).pop();
    assert!(matches!(last, Some(News::Purged { reason: Purge::Delivered, .. })));
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_composite_arrives_sealed_beside_the_tracks() {
    let mut world = World::new("composite");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    let id = RecordingId::from_bits(301);
    delivered(&world, id, all()).await;
    assert_eq!(finalized(&world, id), []);
    let names = names(&world);
    let wanted = [
        "0000-0-microphone.ogg.age",
        "composite.mp4.age",
        "audio-mix.ogg.age",
        "index.m3u8.age",
        "init.mp4.age",
        "00001.m4s.age",
        "manifest.json",
    ];
    assert!(wanted.iter().all(|name| names.iter().any(|it| it == name)), "{names:?}");
    let composite = opened(&world, "composite.mp4.age");
    assert_eq!(&composite[4..8], b"ftyp");
    assert!(opened(&world, "audio-mix.ogg.age").starts_with(b"OggS"));
    let segments =
        [opened(&world, "hls/init.mp4.age"), opened(&world, "hls/00001.m4s.age")].concat();
    assert_eq!(segments, composite[..segments.len()], "one stream, cut");
    let playlist = String::from_utf8(opened(&world, "hls/index.m3u8.age")).unwrap();
    assert!(playlist.contains("\n00001.m4s\n") && !playlist.contains(".age"), "{playlist}");
    assert!(World::files(&world.spool()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_composite_can_be_made_tracks_come_though_not_asked_for_and_all_is_told() {
    let mut world = World::new("no-composite");
    world.composites = None;
    let id = RecordingId::from_bits(302);
    delivered(&world, id, Outputs { tracks: false, ..all() }).await;
    let kinds = [ArtifactKind::Composite, ArtifactKind::AudioMix, ArtifactKind::Hls];
    assert_eq!(finalized(&world, id), kinds);
    let names = names(&world);
    assert!(names.iter().any(|name| name == "0000-0-microphone.ogg.age"), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("composite")), "{names:?}");
    let files = World::files(&world.partner());
    let manifest = files.iter().find(|file| file.ends_with("manifest.json")).unwrap();
    let manifest: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    assert_eq!(manifest["missing"], serde_json::json!(["composite", "audio_mix", "hls"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_masked_source_goes_to_the_second_key_alone() {
    let mut world = World::new("masked");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    let id = RecordingId::from_bits(303);
    let (second, other) = (World::new("masked-second"), RecordingId::from_bits(304));
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    let masks = vec![Mask { source: Source::Microphone, handle: None, region }];
    let unmasked_recipients = vec![second.recipient.clone()];
    delivered(&world, id, Outputs { masks: masks.clone(), unmasked_recipients, ..all() }).await;
    let files = World::files(&world.partner());
    let track = files.iter().find(|file| file.ends_with("0000-0-microphone.ogg.age")).unwrap();
    assert!(second.open(track).starts_with(b"OggS"));
    let mut by_first = std::process::Command::new("age");
    let by_first = by_first.arg("-d").arg("-i").arg(&world.identity).arg(track).output().unwrap();
    assert!(!by_first.status.success(), "the partner lifts the mask");

    let mut world = World::new("masked-for-good");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    delivered(&world, other, Outputs { masks, ..all() }).await;
    let names = names(&world);
    assert!(!names.iter().any(|name| name.contains("microphone")), "{names:?}");
    assert!(names.iter().any(|name| name == "composite.mp4.age"), "{names:?}");
}

/// Overwrites the beginning of the first work file below a folder; gives how many there were until it is `over`.
fn damage_first(spool: PathBuf, over: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let is_work = move |link: &Path| {
        link.starts_with(&spool) && link.to_string_lossy().ends_with(".work (deleted)")
    };
    thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !over.load(Ordering::Relaxed) {
            for open in fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok) {
                if !fs::read_link(open.path()).is_ok_and(|link| is_work(&link)) {
                    continue;
                }
                let Ok(file) = OpenOptions::new().write(true).open(open.path()) else { continue };
                let told = file.metadata().unwrap();
                // Its first piece is there, and much is to come before anything is read.
                if told.len() > 40_000 && seen.insert(told.ino()) && seen.len() == 1 {
                    file.write_all_at(&[0; 64], 0).unwrap();
                }
            }
            thread::sleep(Duration::from_micros(200));
        }
        seen.len()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_file_that_is_damaged_is_made_anew() {
    let mut world = World::new("damaged-work");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    let id = RecordingId::from_bits(309);
    let mut row = world.row(id);
    row.0.outputs = Outputs { audio_mix: true, ..Outputs::default() };
    let (recorder, tap) = world.start();
    let sound = Sound { index: 0, seconds: 200, padding: 1000 };
    world.record(&tap, row, sound.records(id)).await;
    let over = Arc::new(AtomicBool::new(false));
    let damaged = damage_first(world.spool(), Arc::clone(&over));
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "audio-mix.ogg.age").await;
    over.store(true, Ordering::Relaxed);
    assert_eq!(damaged.join().unwrap(), 2, "work files");
    assert_eq!(finalized(&world, id), []);
    recorder.shut_down().await;
}

/// The sound of a screen beside a microphone.
fn screen(id: RecordingId) -> Vec<Batch> {
    track(id, 1, Source::ScreenAudio, Codec::Opus, 100, &|n| Packet {
        index: 1,
        seq: SeqNo(1000 + n),
        timestamp: RtpTimestamp((n * 960) as u32),
        marker: false,
        level: None,
        descriptor: &[],
        payload: &crate::world::SILENCE,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mask_of_one_person_keeps_back_what_that_one_sent_and_nothing_else() {
    let world = World::new("masked-one");
    let id = RecordingId::from_bits(321);
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    let of = |source, handle: &str| {
        let handle = Some(Handle(handle.to_owned()));
        Mask { source, handle, region }
    };
    let masks = vec![of(Source::Microphone, "user-2"), of(Source::ScreenAudio, "user-1")];
    let mut row = world.row(id);
    row.0.outputs = Outputs { tracks: true, masks, ..Outputs::default() };
    let (recorder, tap) = world.start();
    world.record(&tap, row, [records(id, 2), screen(id)].concat()).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "microphone.ogg.age").await;
    let names = names(&world);
    assert!(!names.iter().any(|name| name.contains("screen")), "{names:?}");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_not_masked_arrives_when_the_composite_fails() {
    let world = World::new("masked-rest");
    let id = RecordingId::from_bits(306);
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    let masks = vec![Mask { source: Source::Microphone, handle: None, region }];
    let mut row = world.row(id);
    row.0.outputs = Outputs { masks, ..all() };
    let (recorder, tap) = world.start();
    let batches = [records(id, 2), screen(id)].concat();
    world.record(&tap, row, batches).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "screen-audio.ogg.age").await;
    let missing = finalized(&world, id);
    assert_eq!(missing, [ArtifactKind::Composite, ArtifactKind::AudioMix, ArtifactKind::Hls]);
    let names = names(&world);
    let is_hidden = |name: &String| name.contains("microphone") || name.contains("journal");
    assert!(!names.iter().any(is_hidden), "{names:?}");
    recorder.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_takes_one_place_and_none_of_the_others() {
    let mut world = World::new("shown-places");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    let slow: Vec<RecordingId> = (310..318).map(RecordingId::from_bits).collect();
    let (recorder, tap) = world.start();
    for id in &slow {
        world.ledger.trouble().silent_timelines.insert(*id);
        let mut row = world.row(*id);
        row.0.outputs = Outputs { tracks: true, audio_mix: true, ..Outputs::default() };
        world.record(&tap, row, records(*id, 1)).await;
        world.ledger.stop_now(*id);
    }
    until("one is made", || world.ledger.trouble().makes.len() == 1).await;
    let quick = RecordingId::from_bits(320);
    world.record(&tap, world.row(quick), records(quick, 1)).await;
    world.ledger.stop_now(quick);
    world.until_delivered(&recorder, quick, ".ogg.age").await;
    assert_eq!(world.ledger.trouble().makes.len(), 2, "one at a time");
    // From half of its age on it comes without, and waits for no other.
    world.ledger.trouble().silent_timelines.remove(&slow[7]);
    world.ledger.grow_old(slow[7]);
    world.until_delivered(&recorder, slow[7], ".ogg.age").await;
    assert_eq!(finalized(&world, slow[7]), [ArtifactKind::AudioMix]);
    world.ledger.trouble().silent_timelines.clear();
    recorder.shut_down().await;
}

/// Nothing that a mask hides is delivered because the composite failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_masked_recording_without_composite_waits() {
    let mut world = World::new("masked-waits");
    world.composites = None;
    let id = RecordingId::from_bits(305);
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    let masks = vec![Mask { source: Source::Microphone, handle: None, region }];
    let mut row = world.row(id);
    row.0.outputs = Outputs { masks, ..all() };
    world.ledger.insert(row);
    let (recorder, tap) = world.start();
    records(id, 2).into_iter().for_each(|batch| drop(tap.send(batch)));
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    world.ledger.stop_now(id);
    until("it was tried", || world.ledger.state(id) == State::Finalizing).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(names(&world), Vec::<String>::new());
    assert_ne!(world.ledger.state(id), State::Purged);
    assert!(
        World::files(&world.spool())
            .iter()
            .any(|file| file.to_string_lossy().ends_with(".journal"))
    );
    recorder.shut_down().await;
}

/// Masks say nothing of texts: these arrive, though nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn texts_of_a_masked_recording_without_composite_arrive() {
    let mut world = World::new("masked-texts");
    world.composites = None;
    let id = RecordingId::from_bits(309);
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    let masks = vec![Mask { source: Source::Microphone, handle: None, region }];
    let mut row = world.row(id);
    row.0.outputs = Outputs { masks, data: true, ..all() };
    let (recorder, tap) = world.start();
    let batches = [records(id, 2), vec![crate::texts::text(id, "said")]].concat();
    world.record(&tap, row, batches).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "data.json.age").await;
    let kinds = [ArtifactKind::Composite, ArtifactKind::AudioMix, ArtifactKind::Hls];
    assert_eq!(finalized(&world, id), kinds);
    let names = names(&world);
    assert!(!names.iter().any(|name| name.contains("microphone")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains(".journal")), "{names:?}");
    recorder.shut_down().await;
}

/// A camera whose pictures have the head of a VP8 key frame (RFC 6386 section 9.1), and behind it more
/// partitions than bytes.
fn undecodable(id: RecordingId) -> Vec<Batch> {
    const HEAD: [u8; 11] = [0x10, 0xd0, 0, 0, 0x9d, 0x01, 0x2a, 160, 0, 90, 0];
    let picture = [&HEAD[..], &[0xff; 6]].concat();
    track(id, 1, Source::Camera, Codec::Vp8, 100, &|n| Packet {
        index: 1,
        seq: SeqNo(1000 + n),
        timestamp: RtpTimestamp((n * 1800) as u32),
        marker: true,
        level: None,
        descriptor: &[],
        payload: &picture,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_track_that_cannot_be_decoded_is_counted_where_it_lacks_and_comes_as_it_is() {
    let mut world = World::new("flawed");
    world.composites = Some(Tools::look(Sandbox::Bwrap).expect("run .ci/setup (bubblewrap)"));
    let id = RecordingId::from_bits(307);
    let mut row = world.row(id);
    row.0.outputs = Outputs { tracks: false, ..all() };
    let (recorder, tap) = world.start();
    world.record(&tap, row, [records(id, 2), undecodable(id)].concat()).await;
    world.ledger.stop_now(id);
    world.until_delivered(&recorder, id, "composite.mp4.age").await;
    assert_eq!(finalized(&world, id), []);
    let is_flawed = |news: &News| matches!(news, News::Finalized { flawed_tracks: 1, .. });
    assert!(world.ledger.told(id).iter().any(is_flawed), "{:?}", names(&world));
    let has = |track: &str| names(&world).iter().any(|name| name.ends_with(track));
    assert!(has("camera.webm.age") && has("microphone.ogg.age"), "{:?}", names(&world));
    let files = World::files(&world.partner());
    let manifest = files.iter().find(|file| file.ends_with("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    for artifact in manifest["artifacts"].as_array().unwrap() {
        let flawed = artifact.get("flawed_tracks").and_then(serde_json::Value::as_u64);
        let is_composite = artifact["kind"] == "composite";
        assert_eq!(flawed, is_composite.then_some(1), "{}", artifact["name"]);
    }
    recorder.shut_down().await;
}
