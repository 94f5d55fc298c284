//! How fast; run alone: `cargo test --release -p recorder --test composite -- --ignored --nocapture speed`.

#![allow(clippy::print_stdout, reason = "a measurement prints")]

use std::{fs, time::Instant};

use recorder::composite::{Canvas, Layout};
use sfu_proto::{control::Source, sdp::Codec};

use crate::{
    kitchen::{Wanted, try_compose},
    media,
    tape::{Sent, Tape, make},
};

#[test]
#[ignore = "a measurement"]
fn speed_of_four_of_360p_to_720p() {
    const SECONDS: i64 = 60;
    let (packets, frames) =
        (media::audio(10), media::video_of(Codec::Vp8, "640x360", 10, 90, &["-b:v", "800k"]));
    let frames: Vec<_> = frames.iter().cycle().take(SECONDS as usize * 30).cloned().collect();
    let packets: Vec<_> = packets.iter().cycle().take(SECONDS as usize * 50).cloned().collect();
    let sent: Vec<_> = (0..4u16)
        .flat_map(|n| {
            let participant = u128::from(n) + 1;
            let of = |index, source, codec| Sent { participant, ..Sent::new(index, source, codec) };
            [
                of(2 * n, Source::Camera, Codec::Vp8).play(0, 33_333, &frames),
                of(2 * n + 1, Source::Microphone, Codec::Opus).play(0, 20_000, &packets),
            ]
        })
        .collect();
    let tape = Tape::of(&sent, vec![]);
    let events = make(&tape).events;
    for layout in [Layout::Grid, Layout::Speaker] {
        let (start, before) = (Instant::now(), cpu_seconds());
        let wanted = Wanted { layout, canvas: Canvas::HD, ..Wanted::default() };
        let (files, _) = try_compose(&tape, &events, wanted, &|| false).unwrap();
        let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - before);
        let seconds = SECONDS as f64;
        println!(
            "{layout:?}: {seconds} s of four 360p to 720p in {wall:.1} s, {:.2} times real time; \
             {:.3} CPU seconds of our own for each second; {} kB",
            seconds / wall,
            cpu / seconds,
            files.bytes("composite.mp4").len() / 1000
        );
    }
}

/// Of this process (proc(5), fields 14 to 17): what programs in the sandbox use is not told here.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks = after.split_whitespace().skip(11).take(4).map(|n| n.parse::<f64>().unwrap());
    ticks.sum::<f64>() / 100.0
}
