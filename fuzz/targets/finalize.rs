//! Finalizing: whatever publishers send, it ends with files as large as what came in, and silence.
//!
//! The modules are taken from the recorder's sources, not as a package: its other dependencies (TLS,
//! SSH, object stores) would make the build of the fuzzer many times as long.
#![no_main]
#![allow(dead_code, unreachable_pub, unused_imports, reason = "only a part of the package is here")]

#[path = "../../recorder/src"]
mod recorder {
    pub(crate) mod align;
    pub(crate) mod depacketize;
    pub(crate) mod finalize;
    pub(crate) mod limits;
    pub(crate) mod mux;
}
use std::{convert::Infallible, io};

use libfuzzer_sys::fuzz_target;
use recorder::finalize::{FileInfo, Request, Sinks, Source, TrackResult};
// As in the recorder's root.
use recorder::{align, depacketize, finalize, limits, mux};
use sfu_proto::{
    control,
    id::{ParticipantId, TrackId},
    sdp::Codec,
    tap::{Body, Packet, Record, write_data},
    unit::{RtpTimestamp, SeqNo},
};

const CODECS: [Codec; 5] = [
    Codec::Opus,
    Codec::Vp8,
    Codec::Vp9 { profile: 0 },
    Codec::H264 { profile: 0x42e0, packetization_mode: 1 },
    Codec::Av1 { profile: 0 },
];

struct Tape<'a>(&'a [u8]);

impl Source for Tape<'_> {
    type Error = Infallible;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, Infallible>> + '_, Infallible> {
        Ok(std::iter::once(Ok(self.0.to_vec())))
    }
}

/// Counts.
#[derive(Default)]
struct Shelf {
    open: usize,
    bytes: u64,
}

impl Sinks for Shelf {
    type Sink = Vec<u8>;

    fn open(&mut self, _: &FileInfo) -> io::Result<Vec<u8>> {
        self.open += 1;
        Ok(Vec::new())
    }

    fn close(&mut self, sink: Vec<u8>, result: &TrackResult) -> io::Result<()> {
        assert_eq!(sink.len() as u64, result.bytes);
        assert!(result.frames > 0);
        self.open -= 1;
        self.bytes += result.bytes;
        Ok(())
    }
}

/// One record of a few bytes: what is to happen, to which track, two numbers, and a payload.
fn record(input: &mut &[u8], now: &mut u64, out: &mut Vec<u8>) -> Option<()> {
    let (&[kind, index, a, b, c, d, len], rest) = input.split_first_chunk::<7>()?;
    let (payload, rest) = rest.split_at_checked(usize::from(len)).unwrap_or((rest, &[]));
    *input = rest;
    let (one, two) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    let index = u16::from(index % 4);
    *now += u64::from(kind >> 4) * 5_000;
    let body = match kind & 15 {
        0 => Body::Track {
            index,
            track: TrackId::from_bits(index.into()),
            participant: ParticipantId::from_bits(1),
            source: control::Source::ALL[usize::from(c % 4)],
            codec: CODECS[usize::from(a) % CODECS.len()],
        },
        1 => Body::Report {
            index,
            ntp: u64::from(one) << 24 | *now,
            timestamp: RtpTimestamp(u32::from(two) << 4),
        },
        2 => Body::Muted { index, muted: a & 1 == 1 },
        3 => Body::Ended { index },
        4 => Body::Lost { records: one.into() },
        5 => {
            *now += u64::from(one) * 1_000_000;
            return Some(());
        }
        6 => {
            let text = String::from_utf8_lossy(payload);
            let from = ParticipantId::from_bits(a.into());
            write_data(out, *now, (b.into(), from), &[], &text).expect("it is short");
            return Some(());
        }
        kind => Body::Packet(Packet {
            index,
            seq: SeqNo(one.into()),
            timestamp: RtpTimestamp(u32::from(two) << 6),
            marker: kind & 1 == 1,
            level: Some(a),
            descriptor: if kind & 2 == 2 { payload.get(..3).unwrap_or(&[]) } else { &[] },
            payload,
        }),
    };
    Record { time_us: *now, body }.write(out);
    Some(())
}

fuzz_target!(|input: &[u8]| {
    let Some((&options, mut rest)) = input.split_first() else { return };
    let (mut now, mut bytes) = (1_760_000_000_000_000, Vec::new());
    if options & 4 == 4 {
        bytes.extend_from_slice(rest); // records as they are, or nonsense
    } else {
        while record(&mut rest, &mut now, &mut bytes).is_some() {}
    }
    let request = Request {
        audio_as_webm: options & 1 == 1,
        video_as_webm: options & 2 == 2,
        ..Request::default()
    };
    let mut shelf = Shelf::default();
    let Ok(events) = finalize::finalize(&Tape(&bytes), &mut shelf, &request, &mut |_| {}) else {
        return;
    };
    assert_eq!(shelf.open, 0);
    // Two days of silence in Ogg are 6 MB a track.
    assert!(shelf.bytes < (4 << 24) + 64 * bytes.len() as u64, "{} bytes", shelf.bytes);
    let json = serde_json::to_vec(&events).expect("it can be written");
    assert!(serde_json::from_slice::<finalize::Events>(&json).is_ok_and(|read| read == events));
    let mut json = Vec::new();
    let written = finalize::texts(&Tape(&bytes), &mut json, &request, &events);
    let written = written.expect("memory takes it");
    let read: serde_json::Value = serde_json::from_slice(&json).expect("it can be read");
    let entries = read["entries"].as_array().expect("a list");
    assert_eq!(entries.len() as u64, written.entries);
    assert!(entries.is_sorted_by_key(|entry| entry["at_ms"].as_i64()));
});
