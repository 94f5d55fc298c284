//! Classification, and RFC 4571 frames: how a stream is cut into reads makes no difference.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_proto::{
    demux::{Class, FrameError, FrameReader, classify, write_frame},
    limits::DATAGRAM_LEN_MAX,
};

fuzz_target!(|input: &[u8]| {
    let class = classify(input);
    assert!(class == Class::Unknown || (8..=DATAGRAM_LEN_MAX).contains(&input.len()));
    let Some((&step, stream)) = input.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(frames(stream, usize::from(step).max(1)), whole);
    for frame in &whole.0 {
        let mut out = [0; 2 + DATAGRAM_LEN_MAX];
        let len = write_frame(frame, &mut out).expect("it came in a frame");
        assert_eq!(frames(&out[..len], 1), (vec![frame.clone()], Ok(())));
    }
});

fn frames(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, Result<(), FrameError>) {
    let (mut reader, mut frames) = (FrameReader::new(), Vec::new());
    for part in stream.chunks(step) {
        if let Err(error) = reader.read(part, |frame| frames.push(frame.to_vec())) {
            return (frames, Err(error));
        }
    }
    (frames, Ok(()))
}
