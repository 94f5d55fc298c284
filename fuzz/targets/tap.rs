//! Records of a tap: stay inside the batch, and writing back gives the same meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_proto::{
    limits::{TAP_NAMED_MAX, TAP_RECORD_BYTES_MAX, TAP_TEXT_BYTES_MAX},
    tap::{Body, Record, records},
};

fuzz_target!(|batch: &[u8]| {
    let mut written = Vec::new();
    let mut read = Vec::new();
    let mut failed = false;
    for record in records(batch) {
        assert!(!failed, "nothing follows an error");
        let Ok(record) = record else {
            failed = true;
            continue;
        };
        check(&record);
        let before = written.len();
        record.write(&mut written);
        // Length and record; unused bytes behind fixed fields are not repeated.
        assert!(written.len() - before <= 4 + TAP_RECORD_BYTES_MAX);
        read.push(record);
    }
    assert!(written.len() <= batch.len());
    let again: Vec<Record<'_>> =
        records(&written).map(|record| record.expect("just written")).collect();
    assert_eq!(again, read);
});

fn check(record: &Record<'_>) {
    match record.body {
        Body::Packet(packet) => {
            assert!(packet.descriptor.len() + packet.payload.len() <= TAP_RECORD_BYTES_MAX);
            assert!(packet.level != Some(0xff), "that stands for none");
        }
        Body::Speakers(indexes) => assert!(indexes.iter().count() <= TAP_RECORD_BYTES_MAX / 2),
        Body::Data(data) => {
            assert!(data.to.iter().count() <= TAP_NAMED_MAX);
            assert!(data.text.len() <= TAP_TEXT_BYTES_MAX);
        }
        _ => {}
    }
}
