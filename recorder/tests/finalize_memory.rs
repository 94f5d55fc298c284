//! Finalizing takes the same memory for a recording of any length.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{convert::Infallible, io};

use recorder::finalize::{FileInfo, Request, Sinks, Source, TrackResult, finalize};
use sfu_proto::{
    control,
    id::{ParticipantId, TrackId},
    sdp::Codec,
    tap::{Body, Packet, Record},
    unit::{RtpTimestamp, SeqNo},
};

/// Two clusters, what their vectors grow to, and the reorder window.
const MEMORY_MAX: u64 = 16 * 1024 * 1024;

/// A camera in VP8 at 30 pictures a second of 5 kB, every 60th a key frame, made as it is read.
struct Camera {
    seconds: u64,
}

impl Camera {
    fn second(&self, second: u64) -> Vec<u8> {
        let mut out = Vec::new();
        if second == 0 {
            let body = Body::Track {
                index: 0,
                track: TrackId::from_bits(1),
                participant: ParticipantId::from_bits(1),
                source: control::Source::Camera,
                codec: Codec::Vp8,
            };
            Record { time_us: 1_000_000, body }.write(&mut out);
        }
        (second * 30..second * 30 + 30).for_each(|picture| self.picture(picture, &mut out));
        out
    }

    fn picture(&self, picture: u64, out: &mut Vec<u8>) {
        let is_key = picture.is_multiple_of(60);
        let mut bytes = vec![if is_key { 0x10 } else { 0x11 }, 0, 0, 0x9d, 1, 0x2a, 64, 1, 240, 0];
        bytes.resize(5_000, 0x55);
        for (n, payload) in bytes.chunks(1_000).enumerate() {
            let payload = [&[if n == 0 { 0x10 } else { 0x00 }], payload].concat();
            let packet = Packet {
                index: 0,
                seq: SeqNo(picture * 5 + n as u64),
                timestamp: RtpTimestamp(picture as u32 * 3_000),
                marker: n == 4,
                level: None,
                descriptor: &[],
                payload: &payload,
            };
            let time_us = 1_000_000 + picture * 33_333;
            Record { time_us, body: Body::Packet(packet) }.write(out);
        }
    }
}

impl Source for Camera {
    type Error = Infallible;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, Infallible>> + '_, Infallible> {
        Ok((0..self.seconds).map(|second| Ok(self.second(second))))
    }
}

/// Counts.
#[derive(Default)]
struct Nowhere {
    frames: u64,
}

impl Sinks for Nowhere {
    type Sink = io::Sink;

    fn open(&mut self, _: &FileInfo) -> io::Result<io::Sink> {
        Ok(io::sink())
    }

    fn close(&mut self, _: io::Sink, result: &TrackResult) -> io::Result<()> {
        assert_eq!(result.gaps, []);
        self.frames = result.frames;
        Ok(())
    }
}

fn memory(seconds: u64) -> u64 {
    let mut nowhere = Nowhere::default();
    let used = allocation_counter::measure(|| {
        finalize(&Camera { seconds }, &mut nowhere, &Request::default(), &mut |_| {}).unwrap();
    });
    assert_eq!(nowhere.frames, seconds * 30);
    used.bytes_max
}

#[test]
fn ten_minutes_take_the_memory_of_one() {
    let (one, ten) = (memory(60), memory(600));
    assert!(ten < MEMORY_MAX, "{ten} bytes");
    assert!(ten < one + one / 5, "{one} and {ten} bytes");
}
