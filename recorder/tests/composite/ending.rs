//! What goes wrong ends, and ends nothing else.

use std::{
    fs, io,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use recorder::composite::{Canvas, CompositeError};
use sfu_proto::{control::Source, sdp::Codec};

use crate::{
    kitchen::{PLAIN, RED, Wanted, coloured, compose, is, try_compose},
    media,
    tape::{Sent, Tape, make},
};

fn sent(n: u16, seconds: u32) -> Sent {
    let filter = coloured("red");
    let frames = media::video_of(Codec::Vp8, "160x90", seconds, 30, &["-vf", &filter]);
    let sent = Sent::new(n, Source::Camera, Codec::Vp8);
    Sent { participant: u128::from(n) + 1, ..sent }.play(0, 33_333, &frames)
}

/// Processes whose command line names something.
fn running(named: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|one| fs::read(one.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(named)).count()
}

#[test]
fn a_cancelled_composite_ends_soon_and_leaves_no_program_behind() {
    let frames = sent(0, 2).frames;
    let one: Vec<_> = frames.iter().map(|(_, frame)| frame.clone()).collect();
    let many: Vec<_> = one.iter().cycle().take(30 * 600).cloned().collect();
    let long = Sent::new(0, Source::Camera, Codec::Vp8).play(0, 33_333, &many);
    let tape = Tape::of(&[long], vec![]);
    let events = make(&tape).events;
    let canvas = Canvas { width: 318, height: 178 };
    let wanted = Wanted { canvas, ..Wanted::default() };
    let (cancelled, begun) = (AtomicBool::new(false), Instant::now());
    let result = std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            try_compose(&tape, &events, wanted, &|| cancelled.load(Ordering::Relaxed)).err()
        });
        while running("318x178") == 0 && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(running("318x178") > 0, "the encoder never ran");
        cancelled.store(true, Ordering::Relaxed);
        let since = Instant::now();
        let result = work.join().unwrap();
        assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
        result
    });
    assert!(matches!(result, Some(CompositeError::Cancelled)), "{result:?}");
    let since = Instant::now();
    while running("318x178") > 0 || running("scale=318") > 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "a program is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Pictures that are none cost their own tile only.
#[test]
fn media_that_no_decoder_takes_leave_a_plain_tile() {
    let mut bad = sent(1, 3);
    for (_, frame) in &mut bad.frames {
        for (n, byte) in frame.iter_mut().enumerate().skip(10) {
            *byte = (n as u8).wrapping_mul(31) ^ 0xa5;
        }
        frame[3] ^= 0xff; // The start code of a key frame (RFC 6386 section 9.1).
    }
    let tape = Tape::of(&[sent(0, 3), bad], vec![]);
    let events = make(&tape).events;
    let (files, _) = try_compose(&tape, &events, Wanted::default(), &|| false).unwrap();
    let looked = files.composite();
    assert!(is(looked.colour(2.0, 40, 90), RED));
    if events.tracks.len() == 2 {
        assert!(is(looked.colour(2.0, 200, 90), PLAIN), "{:?}", looked.colour(2.0, 200, 90));
    }
}

/// Gives its first batches, then an error.
struct Broken(Tape);

impl recorder::finalize::Source for Broken {
    type Error = io::Error;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, io::Error>> + '_, io::Error> {
        let all = self.0.batches().map_err(io::Error::other)?;
        let mut half = self.0.0.len() / 2;
        Ok(all.map(move |batch| {
            half = half.checked_sub(1).ok_or_else(|| io::Error::other("disk"))?;
            batch.map_err(io::Error::other)
        }))
    }
}

#[test]
fn a_journal_that_cannot_be_read_makes_no_shorter_composite() {
    let tape = Tape::of(&[sent(0, 4)], vec![]);
    let (events, _) = compose(&tape, Wanted::default());
    let result = try_compose(&Broken(tape), &events, Wanted::default(), &|| false);
    assert!(matches!(result.err(), Some(CompositeError::Source(_))));
}
