//! Many people at once, and what they cost.

#![allow(clippy::print_stdout, reason = "a measurement prints")]

use std::{
    convert::Infallible,
    os::unix::fs::FileExt as _,
    sync::atomic::{AtomicU32, Ordering},
    time::Instant,
};

use recorder::{
    composite::{CompositeError, Control, Layout, Order, Work, audio_mix},
    finalize::{Events, Source},
};
use sfu_proto::{control, sdp::Codec};

use crate::{
    checks::beeps,
    kitchen::{CANVAS, Files, RED, Wanted, coloured, is, nameless, tools, try_compose},
    media,
    tape::{Sent, Tape, make},
};

/// Counts how often it is read.
struct Counting {
    tape: Tape,
    readings: AtomicU32,
}

impl Source for Counting {
    type Error = Infallible;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, Infallible>> + '_, Infallible> {
        self.readings.fetch_add(1, Ordering::Relaxed);
        self.tape.batches()
    }

    fn bytes(&self) -> Option<u64> {
        self.tape.bytes()
    }
}

/// So many with a microphone, the first of them with a camera too.
fn call(voices: u16, cameras: u16, seconds: u32) -> Counting {
    let filter = coloured("red");
    let frames = media::video_of(Codec::Vp8, "160x90", seconds, 30, &["-vf", &filter]);
    let packets = media::audio(seconds);
    let of = |index: u16, source, codec| Sent::new(index, source, codec);
    let microphones = (0..voices).map(|n| {
        let sent = of(n, control::Source::Microphone, Codec::Opus).play(0, 20_000, &packets);
        Sent { participant: u128::from(n) + 1, ..sent }
    });
    let films = (0..cameras).map(|n| {
        let sent = of(voices + n, control::Source::Camera, Codec::Vp8).play(0, 33_333, &frames);
        Sent { participant: u128::from(n) + 1, ..sent }
    });
    let sent: Vec<_> = microphones.chain(films).collect();
    Counting { tape: Tape::of(&sent, vec![]), readings: AtomicU32::new(0) }
}

#[test]
fn the_journal_is_read_as_often_for_many_as_for_one() {
    for (voices, cameras) in [(1, 1), (12, 9)] {
        let call = call(voices, cameras, 2);
        let events = make(&call.tape).events;
        let (files, done) = try_compose(&call, &events, Wanted::default(), &|| false).unwrap();
        assert_eq!(call.readings.load(Ordering::Relaxed), 2, "{voices}, {cameras}");
        assert_eq!(done.flawed, 0);
        let looked = files.composite();
        // Full rows, one below the other, in the middle of the picture.
        let (columns, rows) = if cameras == 1 { (1, 1) } else { (4, 3) };
        let (width, height) = (320 / columns, 180 / columns);
        let top = (180 - rows * height) / 2;
        for n in 0..usize::from(cameras) {
            let (row, column) = (n / columns, n % columns);
            let (x, y) = (column * width + width / 4, top + row * height + height / 2);
            assert!(is(looked.colour(1.5, x, y), RED), "{n} of {cameras} at {x}, {y}");
        }
        let beeps = beeps(files.bytes("composite.mp4"));
        assert!(beeps.iter().any(|at| (at - 1.0).abs() < 0.1), "{beeps:?}");
    }
}

/// `cargo test -p recorder --test composite -- --ignored --nocapture what_many_cost`.
#[test]
#[ignore = "a measurement"]
fn what_many_cost() {
    for (voices, cameras) in [(4, 4), (16, 16), (32, 32), (100, 40)] {
        let call = call(voices, cameras, 4);
        let events = make(&call.tape).events;
        let before = Instant::now();
        let result = try_compose(&call, &events, Wanted::default(), &|| false);
        let flawed = result.map(|(_, done)| done.flawed);
        let (took, readings) = (before.elapsed(), call.readings.load(Ordering::Relaxed));
        println!(
            "{voices} voices, {cameras} cameras, 4 s: {readings} readings, {:.1} s, {flawed:?} flawed",
            took.as_secs_f64()
        );
    }
}

/// Opus packets of a track, each with a text that is nowhere else.
fn planted(n: u16, text: &[u8]) -> Sent {
    let packet = [&[0xfc][..], text].concat();
    let sent = Sent::new(n, control::Source::Microphone, Codec::Opus);
    Sent { participant: u128::from(n) + 1, ..sent }.play(0, 20_000, &vec![packet; 3_000])
}

fn order(events: &Events) -> Order<'_> {
    Order { events, layout: Layout::Grid, canvas: CANVAS, hls: false, masks: &[] }
}

fn has(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn the_work_file_holds_nothing_in_the_clear_and_no_change_is_decoded() {
    const TEXT: &[u8] = b"planted: a voice that nobody may read on a disk";
    let tape = Tape::of(&[planted(0, TEXT), planted(1, TEXT)], vec![]);
    let events = make(&tape);
    assert!(events.files.values().all(|file| has(file, TEXT)), "it would be found");
    let events = events.events;
    let order = order(&events);
    let file = nameless();
    let cancelled = || false;
    let mut control = Control { cancelled: &cancelled, progress: &mut |_| {} };
    let work = Work::make(&tape, &order, false, file.try_clone().unwrap(), &mut control).unwrap();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes.len() > 2 * 3_000 * TEXT.len(), "all is in it");
    let names = [&b"A_OPUS"[..], b"OpusHead", b"webm", b"conclave"];
    assert!(!has(&bytes, TEXT) && names.iter().all(|name| !has(&bytes, name)));
    let (middle, mut files) = (bytes.len() as u64 / 2, Files::default());
    file.write_all_at(&[bytes[bytes.len() / 2] ^ 1], middle).unwrap();
    let result = audio_mix(tools(), &work, &order, &mut files, &mut control);
    assert!(matches!(result, Err(CompositeError::Work(_))), "{result:?}");
}

#[test]
fn a_work_file_is_not_made_when_nobody_wants_it_any_more() {
    let tape = Tape::of(&[planted(0, b"text")], vec![]);
    let events = make(&tape).events;
    let mut control = Control { cancelled: &|| true, progress: &mut |_| {} };
    let made = Work::make(&tape, &order(&events), true, nameless(), &mut control);
    assert!(matches!(made.err(), Some(CompositeError::Cancelled)));
}
