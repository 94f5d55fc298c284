//! Texts among media: they change nothing of it, and stand where they were said.

use recorder::finalize::{Request, texts};
use sfu_proto::{control::Source, id::ParticipantId, sdp::Codec, tap::write_data};

use crate::{
    media,
    tape::{START, Sent, Tape, make},
};

/// How much sooner than media of the same moment texts come, µs: those wait for their batch.
const SOONER_US: i64 = 20_000;

fn text(at_us: i64, body: &str) -> (i64, Vec<u8>) {
    let (mut bytes, time_us) = (Vec::new(), (START + at_us) as u64);
    write_data(&mut bytes, time_us, (0, ParticipantId::from_bits(1)), &[], body).unwrap();
    (START + at_us - SOONER_US, bytes)
}

#[test]
fn texts_move_no_media_and_have_its_time() {
    let sound = Sent::new(0, Source::Microphone, Codec::Opus);
    let sent = [sound.play(0, 20_000, &media::audio(3))];
    let plain = make(&Tape::of(&sent, vec![]));
    let said = [(-4_000_000, "early"), (10_000, "a"), (1_500_000, "b"), (1_510_000, "c")];
    let said = said.into_iter().chain([(9_000_000, "after the last packet")]);
    // Some are given twice, as after a crash of the recorder's process.
    let again =
        said.clone().skip(1).take(2).map(|(at, body)| (START + at + 300_000, text(at, body).1));
    let all = said.clone().map(|(at, body)| text(at, body)).chain(again);
    let tape = Tape::of(&sent, all.collect());
    let made = make(&tape);
    assert!(made.events == plain.events && made.files == plain.files);
    let mut out = Vec::new();
    texts(&tape, &mut out, &Request::default(), &made.events).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let entries = file["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 5);
    let start_us = made.events.started_at_ms as i64 * 1000;
    for (entry, (at_us, body)) in entries.iter().zip(said) {
        assert_eq!(entry["body"], body);
        let wanted_ms = (START + at_us - start_us) / 1000;
        assert!((entry["at_ms"].as_i64().unwrap() - wanted_ms).abs() <= 1, "{entry} {wanted_ms}");
    }
}
