//! Texts, from the tap to the file that the partner opens.

use std::time::{SystemTime, UNIX_EPOCH};

use recorder::{
    composite::{Mask, Region},
    evidence::{PurgeReason, verify},
    service::ledger::State,
};
use serde_json::Value;
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId},
    sdp::Codec,
    tap::{Batch, Packet, write_data},
    unit::{RtpTimestamp, SeqNo},
};

use crate::{
    ledger::Row,
    world::{World, records, track, until},
};

/// Said in a text, to be searched for on the disk.
const SAID: &str = "planted words of a text";

pub(crate) fn text(id: RecordingId, body: &str) -> Batch {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let (from, to) = (ParticipantId::from_bits(5), [ParticipantId::from_bits(6)]);
    let mut bytes = Vec::new();
    write_data(&mut bytes, now.as_micros() as u64, (1, from), &to, body).unwrap();
    Batch { recording: id, bytes }
}

/// What was delivered, by the ends of its names.
fn file(world: &World, end: &str) -> Option<Value> {
    let files = World::files(&world.partner());
    let found = files.iter().find(|file| file.to_string_lossy().ends_with(end))?;
    Some(serde_json::from_slice(&world.open(found)).unwrap())
}

async fn record(world: &World, id: RecordingId, data: bool, batches: Vec<Batch>) -> PurgeReason {
    let mut row = world.row(id);
    row.0.outputs.data = data;
    record_row(world, row, batches).await
}

async fn record_row(world: &World, row: Row, batches: Vec<Batch>) -> PurgeReason {
    let id = row.0.id;
    let (recorder, tap) = world.start();
    world.ledger.insert(row);
    batches.into_iter().for_each(|batch| assert!(tap.send(batch).is_ok()));
    until("the journal is written", || World::files(&world.spool()).len() > 1).await;
    assert!(!World::holds(&world.root.join("data"), SAID.as_bytes()), "plaintext on the disk");
    world.ledger.stop_now(id);
    world.until_state(id, State::Purged).await;
    let reason = world.receipt(&recorder, id).reason;
    if reason == PurgeReason::Delivered {
        let files = World::files(&world.partner());
        let manifest = files.iter().find(|file| file.ends_with("manifest.json")).unwrap();
        let report = verify(manifest.parent().unwrap(), &recorder.keys(), None);
        assert!(report.is_good(), "{report:?}");
        assert!(!World::holds(&world.partner(), SAID.as_bytes()), "plaintext at the partner's");
        assert!(!files.iter().any(|file| file.to_string_lossy().contains(".journal")));
    }
    recorder.shut_down().await;
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_arrive_sealed_beside_the_tracks() {
    let (world, id) = (World::new("texts"), RecordingId::from_bits(211));
    let mut batches = records(id, 3);
    batches.insert(1, text(id, SAID));
    assert_eq!(record(&world, id, true, batches).await, PurgeReason::Delivered);
    let texts = file(&world, "data.json.age").unwrap();
    let events = file(&world, "events.json.age").unwrap();
    assert_eq!((&texts["version"], &texts["recording"]), (&1.into(), &id.to_string().into()));
    assert_eq!(texts["started_at_ms"], events["started_at_ms"]);
    let entry = &texts["entries"][0];
    assert_eq!((&entry["body"], &entry["handle"]), (&SAID.into(), &"user-1".into()));
    assert_eq!(entry["to"][0], ParticipantId::from_bits(6).to_string());
    assert!(entry["at_ms"].as_i64().unwrap().abs() < 10_000, "{entry}");
    assert_eq!((&texts["lost"], &texts["left_out"]), (&1.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_of_texts_alone_is_delivered_as_such() {
    let (world, id) = (World::new("texts-alone"), RecordingId::from_bits(212));
    let batches = vec![text(id, SAID), text(id, "and more")];
    assert_eq!(record(&world, id, true, batches).await, PurgeReason::Delivered);
    assert_eq!(file(&world, "data.json.age").unwrap()["entries"].as_array().unwrap().len(), 2);
    let events = file(&world, "events.json.age").unwrap();
    assert_eq!(events["tracks"], Value::Array(Vec::new()));
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(age - events["started_at_ms"].as_u64().unwrap() < 120_000, "{events}");
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_nobody_asked_for_are_nothing() {
    let (world, id) = (World::new("texts-unasked"), RecordingId::from_bits(213));
    assert_eq!(record(&world, id, false, vec![text(id, SAID)]).await, PurgeReason::Empty);
    let other = RecordingId::from_bits(214);
    let batches = [records(other, 2), vec![text(other, SAID)]].concat();
    assert_eq!(record(&world, other, false, batches).await, PurgeReason::Delivered);
    assert!(file(&world, "events.json.age").is_some() && file(&world, "data.json.age").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_wrote_the_file_says_so() {
    let (world, id) = (World::new("texts-none"), RecordingId::from_bits(215));
    assert_eq!(record(&world, id, true, records(id, 2)).await, PurgeReason::Delivered);
    let none = file(&world, "data.json.age").unwrap();
    assert_eq!(none["entries"], Value::Array(Vec::new()));
}

/// Nobody may have the journal, and no file comes of pictures without a key frame.
#[tokio::test(flavor = "multi_thread")]
async fn texts_do_not_wait_for_masked_pictures_that_cannot_be_played() {
    let (world, id) = (World::new("texts-masked"), RecordingId::from_bits(216));
    let mut row = world.row(id);
    row.0.outputs.data = true;
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    row.0.outputs.masks = vec![Mask { source: Source::Camera, region, handle: None }];
    // Begins a picture that is no key frame (RFC 7741 section 4.3).
    let payload = [0x10, 0x01, 0, 0];
    let mut batches = track(id, 0, Source::Camera, Codec::Vp8, 50, &|n| Packet {
        index: 0,
        seq: SeqNo(1000 + n),
        timestamp: RtpTimestamp((n * 3000) as u32),
        marker: true,
        level: None,
        descriptor: &[],
        payload: &payload,
    });
    batches.push(text(id, SAID));
    assert_eq!(record_row(&world, row, batches).await, PurgeReason::Delivered);
    assert_eq!(file(&world, "data.json.age").unwrap()["entries"][0]["body"], SAID);
}
