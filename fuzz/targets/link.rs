//! A frame of the link: what is read is written back alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_proto::{
    limits::LINK_FRAME_BYTES_MAX,
    link::{Frame, frame_len},
};

fuzz_target!(|bytes: &[u8]| {
    if let Some(head) = bytes.first_chunk::<4>()
        && let Ok(len) = frame_len(*head)
    {
        assert!(len <= LINK_FRAME_BYTES_MAX);
    }
    let Ok(Some(frame)) = Frame::parse(bytes) else { return };
    let mut written = Vec::new();
    frame.write(&mut written);
    let (head, rest) = written.split_first_chunk::<4>().expect("a length");
    assert_eq!(frame_len(*head), Ok(rest.len()));
    assert_eq!(rest, bytes);
});
