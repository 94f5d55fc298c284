//! RTP header and extensions: stays inside the datagram, and writing back gives the same meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_proto::{
    rtp::{
        AudioLevel, Header, HeaderWriter, read_abs_send_time, read_transport_sequence, rtx_payload,
        stream_id, without_padding,
    },
    unit::Ssrc,
};

fuzz_target!(|datagram: &[u8]| {
    let Ok(header) = Header::parse(datagram) else { return };
    assert!(header.header_len <= datagram.len());
    let extensions: Vec<(u8, &[u8])> = header.extensions(datagram).collect();
    assert!(extensions.iter().map(|(_, data)| data.len() + 1).sum::<usize>() <= datagram.len());
    for (_, data) in &extensions {
        _ = (AudioLevel::parse(data), read_abs_send_time(data), read_transport_sequence(data));
        assert!(stream_id(data).is_none_or(|text| text.len() <= 16));
    }
    let payload = &datagram[header.header_len..];
    if let Ok(payload) = without_padding(payload, header.padding) {
        _ = rtx_payload(payload);
    }
    writes_back(datagram, &header, &extensions);
});

fn writes_back(datagram: &[u8], header: &Header, extensions: &[(u8, &[u8])]) {
    let csrcs: Vec<Ssrc> = header.csrcs(datagram).collect();
    let writer = HeaderWriter {
        payload_type: header.payload_type,
        marker: header.marker,
        padding: header.padding,
        seq: header.seq,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
        csrcs: &csrcs,
        extensions,
    };
    // Elements never need more room than they had, a two-byte form that becomes one apart.
    let mut out = vec![0; writer.header_len()];
    let Ok(len) = writer.write(&mut out) else { panic!("parsed, so it can be written") };
    let again = Header::parse(&out[..len]).expect("written, so it can be parsed");
    assert_eq!(
        (again.seq, again.timestamp, again.ssrc),
        (header.seq, header.timestamp, header.ssrc)
    );
    assert_eq!((again.payload_type, again.marker), (header.payload_type, header.marker));
    assert_eq!(again.csrcs(&out).collect::<Vec<_>>(), csrcs);
    assert_eq!(again.extensions(&out).collect::<Vec<_>>(), extensions);
}
