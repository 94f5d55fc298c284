//! Files of the recorder's journal: any bytes are cut into chunks without panic, within the limits, and
//! what was cut is the input; headers write back. The recorder's files are compiled in directly: as a
//! package it would bring all of its storage libraries along.
#![no_main]

#[path = "../../recorder/src/journal/format.rs"]
#[allow(dead_code)]
mod format;
#[path = "../../recorder/src/journal/frames.rs"]
#[allow(dead_code)]
mod frames;
#[path = "../../recorder/src/limits.rs"]
#[allow(dead_code)]
mod limits;

use format::{CHUNK_HEAD_BYTES, HEADER_BYTES, Header, TAG_BYTES};
use frames::{Ending, Frames};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (header, mut frames) = match Frames::open(input).expect("memory is readable") {
        Ok(opened) => opened,
        Err(_) => return assert!(Header::parse(input).is_err()),
    };
    assert_eq!(header.write(), input[..HEADER_BYTES]);
    let (mut at, mut chunk) = (HEADER_BYTES, Vec::new());
    let ending = loop {
        match frames.next(&mut chunk) {
            Ok(frame) => {
                assert_eq!(frame.offset, at as u64);
                assert_eq!(chunk.len(), CHUNK_HEAD_BYTES + frame.head.length + TAG_BYTES);
                assert!(frame.head.length <= limits::JOURNAL_CHUNK_BYTES_MAX);
                assert_eq!(chunk, input[at..at + chunk.len()]);
                assert_eq!(frame.head.write(), chunk[..CHUNK_HEAD_BYTES]);
                at += chunk.len();
            }
            Err(ending) => break ending,
        }
    };
    match ending {
        Ending::Whole { .. } => assert_eq!(at, input.len()),
        Ending::Truncated { offset, rest } => {
            assert_eq!((offset, offset + rest), (at as u64, input.len() as u64));
        }
        Ending::Tampered { offset, .. } => assert!(offset == at as u64 && at < input.len()),
        Ending::Unreadable { error, .. } => panic!("{error}"),
    }
});
