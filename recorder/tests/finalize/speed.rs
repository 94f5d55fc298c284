//! How fast; run alone: `cargo test --release -p recorder --test finalize -- --ignored --nocapture speed`.

#![allow(clippy::print_stdout, reason = "a measurement prints")]

use std::fs;

use sfu_proto::{control::Source, sdp::Codec};

use crate::{
    codecs::H264,
    media,
    tape::{Sent, Tape, make},
};

#[test]
#[ignore = "a measurement"]
fn speed_of_ten_minutes_of_720p() {
    const SECONDS: i64 = 600;
    let packets = media::audio(10);
    for codec in [Codec::Vp8, H264] {
        let more = ["-b:v", "2500k"];
        let frames = media::video_of(codec, "1280x720", 10, 90, &more);
        let count = |per_second: i64| (SECONDS * per_second) as usize;
        let frames: Vec<_> = frames.iter().cycle().take(count(30)).cloned().collect();
        let packets: Vec<_> = packets.iter().cycle().take(count(50)).cloned().collect();
        let sent = [
            Sent::new(0, Source::Camera, codec).play(0, 33_333, &frames),
            Sent::new(1, Source::Microphone, Codec::Opus).play(0, 20_000, &packets),
        ];
        let tape = Tape::of(&sent, vec![]);
        let start = processor_seconds();
        let made = make(&tape);
        let took = processor_seconds() - start;
        let bytes: usize = made.files.values().map(Vec::len).sum();
        println!(
            "{codec:?} and Opus, {SECONDS} s, {} MB: {took:.2} s of a core, {:.0} times real time",
            bytes / 1_000_000,
            SECONDS as f64 / took
        );
    }
}

/// What this thread has used, so that a busy machine measures the same.
fn processor_seconds() -> f64 {
    let line = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}
