//! Whatever the records hold, finalizing ends, without a panic and with bounded files.

use std::{cell::Cell, io};

use proptest::prelude::*;
use recorder::finalize::{
    FileInfo, FinalizeError, MuxError, Request, Sinks, Source as Records, TrackResult, finalize,
};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, TrackId},
    sdp::Codec,
    tap::{Body, Packet},
    unit::{RtpTimestamp, SeqNo},
};

use crate::{
    codecs::{AV1, H264, VP9},
    media,
    tape::{START, Sent, Shelf, Tape, bytes, try_make},
};

const CODECS: [Codec; 5] = [Codec::Opus, Codec::Vp8, VP9, H264, AV1];

#[derive(Debug, Clone)]
enum Step {
    Track(u16, usize),
    Packet {
        index: u16,
        seq: u64,
        timestamp: u32,
        marker: bool,
        descriptor: Vec<u8>,
        payload: Vec<u8>,
    },
    Report(u16, u64, u32),
    Muted(u16, bool),
    Ended(u16),
    Lost(u32),
    Wait(i64),
}

/// Payloads that get past the first checks of each format, and any others.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let heads: Vec<Vec<u8>> = vec![
        vec![],
        vec![0x10, 0x10, 0, 0, 0x9d, 1, 0x2a, 64, 0, 64, 0],
        vec![0x90, 0xf0, 1, 2, 0x40],
        vec![0x8c, 5, 0x82, 0x49, 0x83, 0x42],
        vec![0xaa, 5, 0x24, 7, 0x18, 1, 64, 0, 180, 2, 4, 1, 0],
        vec![0x18, 0, 4, 0x67, 0x42, 0xe0, 0x1f],
        vec![0x7c, 0x85, 0x88],
        vec![0x10, 0x0a, 0x0b, 0, 0, 0],
        vec![0x58, 2, 0x12, 0],
    ];
    (prop::sample::select(heads), prop::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(head, tail)| [head, tail].concat())
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..3u16;
    let seq = prop_oneof![0..40u64, any::<u64>()];
    let timestamp = prop_oneof![0..90_000u32, any::<u32>()];
    let descriptor = prop::collection::vec(any::<u8>(), 0..5);
    prop_oneof![
        2 => (index.clone(), 0..CODECS.len()).prop_map(|(index, codec)| Step::Track(index, codec)),
        20 => (index.clone(), seq, timestamp.clone(), any::<bool>(), descriptor, payload()).prop_map(
            |(index, seq, timestamp, marker, descriptor, payload)| Step::Packet {
                index, seq, timestamp, marker, descriptor, payload,
            }),
        3 => (index.clone(), any::<u64>(), timestamp).prop_map(|(i, ntp, at)| Step::Report(i, ntp, at)),
        1 => (index.clone(), any::<bool>()).prop_map(|(index, muted)| Step::Muted(index, muted)),
        1 => index.prop_map(Step::Ended),
        1 => any::<u32>().prop_map(Step::Lost),
        4 => prop_oneof![0..100_000i64, 0..20_000_000_000i64].prop_map(Step::Wait),
    ]
}

fn tape(steps: &[Step]) -> Tape {
    let (mut now, mut out) = (START, Vec::new());
    for step in steps {
        let body = match step {
            Step::Wait(us) => {
                now += us;
                continue;
            }
            Step::Track(index, codec) => Body::Track {
                index: *index,
                track: TrackId::from_bits((*index).into()),
                participant: ParticipantId::from_bits(1),
                source: if *codec == 0 { Source::Microphone } else { Source::Camera },
                codec: CODECS[*codec],
            },
            Step::Packet { index, seq, timestamp, marker, descriptor, payload } => {
                Body::Packet(Packet {
                    index: *index,
                    seq: SeqNo(*seq),
                    timestamp: RtpTimestamp(*timestamp),
                    marker: *marker,
                    level: Some(payload.len() as u8),
                    descriptor,
                    payload,
                })
            }
            Step::Report(index, ntp, at) => {
                Body::Report { index: *index, ntp: *ntp, timestamp: RtpTimestamp(*at) }
            }
            Step::Muted(index, muted) => Body::Muted { index: *index, muted: *muted },
            Step::Ended(index) => Body::Ended { index: *index },
            Step::Lost(records) => Body::Lost { records: *records },
        };
        out.extend(bytes(now, body));
    }
    Tape(vec![out])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn strange_records_make_bounded_files(steps in prop::collection::vec(step(), 0..120), webm in any::<bool>()) {
        let request = Request { audio_as_webm: webm, video_as_webm: webm, ..Request::default() };
        let mut all = vec![];
        for index in 0..3u16 {
            all.push(Step::Track(index, usize::from(index) % CODECS.len()));
        }
        all.extend(steps);
        if let Ok(made) = try_make(&tape(&all), &request) {
            // Two days of silence in Ogg are 6 MB; everything else is what came in.
            let bytes: usize = made.files.values().map(Vec::len).sum();
            prop_assert!(bytes < 64 << 20, "{bytes}");
            for track in &made.events.tracks {
                prop_assert!(track.frames > 0);
                prop_assert!(track.gaps.is_sorted_by(|a, b| a.to_ms <= b.from_ms), "{:?}", track.gaps);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(batch in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = try_make(&Tape(vec![batch]), &Request::default());
    }
}

#[test]
fn times_too_far_apart_are_refused() {
    let ended = |at| bytes(at, Body::Ended { index: 0 });
    let tape = Tape(vec![[ended(START), ended(START + 3 * 86_400_000_000)].concat()]);
    assert!(matches!(try_make(&tape, &Request::default()), Err(FinalizeError::TooLong)));
}

/// Records that cannot be read, or are others the second time.
struct Fickle {
    tape: Tape,
    passes: Cell<u32>,
    fails: bool,
}

impl Records for Fickle {
    type Error = io::Error;

    fn batches(
        &self,
    ) -> Result<impl Iterator<Item = Result<impl AsRef<[u8]>, io::Error>> + '_, io::Error> {
        self.passes.set(self.passes.get() + 1);
        let count = if self.passes.get() == 2 { 1 } else { usize::MAX };
        let broken = (self.fails && self.passes.get() == 2)
            .then(|| Err(io::Error::other("the disk is gone")));
        Ok(self.tape.0.iter().take(count).map(Ok).chain(broken))
    }
}

fn sounds() -> Tape {
    let packets = media::audio(10);
    Tape::of(&[Sent::new(0, Source::Microphone, Codec::Opus).play(0, 20_000, &packets)], vec![])
}

#[test]
fn records_that_change_or_fail_between_the_passes_are_noticed() {
    let request = Request { audio_as_webm: true, ..Request::default() };
    let run = |fails| {
        let source = Fickle { tape: sounds(), passes: Cell::new(0), fails };
        finalize(&source, &mut Shelf::default(), &request, &mut |_| {}).map(|_| ())
    };
    assert!(matches!(run(false), Err(FinalizeError::File(MuxError::Changed))));
    assert!(matches!(run(true), Err(FinalizeError::Source(_))));
}

/// Takes 1,000 bytes.
struct Full;

impl Sinks for Full {
    type Sink = io::Cursor<[u8; 1_000]>;

    fn open(&mut self, _: &FileInfo) -> io::Result<Self::Sink> {
        Ok(io::Cursor::new([0; 1_000]))
    }

    fn close(&mut self, _: Self::Sink, _: &TrackResult) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let result = finalize(&sounds(), &mut Full, &Request::default(), &mut |_| {});
    assert!(matches!(result, Err(FinalizeError::File(MuxError::Write(_)))));
}
