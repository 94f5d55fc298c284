//! RTCP: packets as the RFCs draw them, properties, and agreement with `rtc-rtcp`, which nobody
//! here wrote.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use rtc_rtcp::{
    goodbye::Goodbye,
    packet::Packet as TheirPacket,
    payload_feedbacks::{
        full_intra_request::FullIntraRequest, picture_loss_indication::PictureLossIndication,
        receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate,
    },
    sender_report::SenderReport,
    source_description::SourceDescription,
    transport_feedbacks::{
        transport_layer_cc::TransportLayerCc, transport_layer_nack::TransportLayerNack,
    },
};
use sfu_proto::{
    limits::{RTCP_PACKETS_MAX, TRANSPORT_STATUSES_MAX},
    rtcp::{
        Arrival, CompoundWriter, FirEntry, NoRoom, Packet, ReportBlock, RtcpError, SenderInfo,
        TransportStatus, packets,
    },
    unit::{Bitrate, RtpSeq, RtpTimestamp, SeqNo, Ssrc},
};

const US: Ssrc = Ssrc(1);
const THEM: Ssrc = Ssrc(0x902f_9e2e);

fn theirs(mut bytes: &[u8]) -> Vec<Box<dyn TheirPacket>> {
    rtc_rtcp::packet::unmarshal(&mut bytes).unwrap()
}

fn written(write: impl FnOnce(&mut CompoundWriter<'_>)) -> Vec<u8> {
    let mut out = [0xaa; 1200];
    let mut writer = CompoundWriter::new(&mut out);
    write(&mut writer);
    writer.finish().to_vec()
}

/// A single packet of this type with this count and body.
fn raw(count: u8, packet_type: u8, body: &[u8]) -> Vec<u8> {
    let words = u16::try_from(body.len() / 4).unwrap();
    let mut bytes = vec![0x80 | count, packet_type];
    bytes.extend_from_slice(&words.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn only(bytes: &[u8]) -> Result<Packet<'_>, RtcpError> {
    let mut all: Vec<_> = packets(bytes).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// RFC 4585 section 6.2.1: BLP bit i stands for PID + i + 1.
#[test]
fn nack_bit_mask() {
    let body = [0, 0, 0, 1, 0x90, 0x2f, 0x9e, 0x2e, 0xff, 0xff, 0x80, 0x03, 0x00, 0x07, 0, 0];
    let bytes = raw(1, 205, &body);
    let Ok(Packet::Nack { sender, media, lost }) = only(&bytes) else { panic!("not a NACK") };
    assert_eq!((sender, media), (US, THEM));
    let lost: Vec<u16> = lost.map(|seq| seq.0).collect();
    assert_eq!(lost, [65535, 0, 1, 15, 7]);
}

/// draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.3: "1 1 0 … 221" and
/// section 3.1.4 examples: one-bit vector 0,1,1,1,1,1,0,0,0,1,1,1,0,0 and two-bit vector
/// 0,1,1,1,0,0,2 (here with value deltas).
#[test]
fn transport_feedback_chunks() {
    let mut body = vec![0, 0, 0, 1, 0x90, 0x2f, 0x9e, 0x2e];
    body.extend_from_slice(&[0xff, 0xf0]); // base 65520, so that it wraps
    body.extend_from_slice(&[0, 3 + 14 + 7]); // statuses
    body.extend_from_slice(&[0xff, 0xff, 0xff, 9]); // reference −64 ms, count 9
    body.extend_from_slice(&[0x00, 0x03]); // three lost
    body.extend_from_slice(&[0b1001_1111, 0b0001_1100]);
    body.extend_from_slice(&[0b1100_0101, 0b0100_0010]);
    body.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]); // of the one-bit vector
    body.extend_from_slice(&[10, 20, 30, 0xff, 0xfe]); // of the two-bit vector
    body.resize(body.len().next_multiple_of(4), 0);
    let bytes = raw(15, 205, &body);
    let Ok(Packet::TransportFeedback(feedback)) = only(&bytes) else { panic!("not feedback") };
    assert_eq!((feedback.base_seq, feedback.status_count), (65520, 24));
    assert_eq!((feedback.reference_us, feedback.feedback_count), (-64_000, 9));
    let received: Vec<(u16, i32)> = feedback
        .statuses()
        .filter_map(|(seq, status)| match status {
            TransportStatus::Received { delta_us } => Some((seq, delta_us / 250)),
            TransportStatus::Lost => None,
        })
        .collect();
    let want = [
        (65524, 1),
        (65525, 2),
        (65526, 3),
        (65527, 4),
        (65528, 5),
        (65532, 6),
        (65533, 7),
        (65534, 8),
        (2, 10),
        (3, 20),
        (4, 30),
        (7, -2),
    ];
    assert_eq!(received, want);
    assert_eq!(feedback.statuses().count(), 24);
    assert_eq!(feedback.statuses().last().unwrap().0, 7);
}

/// SECURITY M4: reserved symbols, too few chunks, too few deltas, too many statuses.
#[test]
fn lying_transport_feedback_is_malformed() {
    let feedback = |count: u16, rest: &[u8]| {
        let mut body = vec![0; 10];
        body.extend_from_slice(&count.to_be_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(rest);
        raw(15, 205, &body)
    };
    let malformed =
        |bytes: &[u8]| only(bytes).err() == Some(RtcpError::Malformed { packet_type: 205 });
    assert!(malformed(&feedback(1, &[0x60, 0x01, 0, 0])), "reserved symbol 3 in a run");
    assert!(malformed(&feedback(7, &[0xff, 0xff, 0, 0])), "reserved symbols in a vector");
    assert!(malformed(&feedback(10, &[0x00, 0x05, 0, 0])), "five statuses missing");
    assert!(malformed(&feedback(5, &[0x20, 0x05, 1, 2])), "three deltas missing");
    assert!(malformed(&feedback(1, &[])), "no chunk");
    let many = u16::try_from(TRANSPORT_STATUSES_MAX).unwrap();
    assert!(only(&feedback(many, &[0x1f, 0xff, 0x00, 0x01])).is_ok());
    assert!(malformed(&feedback(many + 1, &[0x1f, 0xff, 0x1f, 0xff])), "too many");
}

#[test]
fn framing_errors_end_the_compound() {
    let pli = written(|w| w.pli(US, THEM).unwrap());
    let mut padded = raw(1, 206, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 4]);
    padded[0] |= 0x20;
    assert!(matches!(only(&padded), Ok(Packet::Pli { media: Ssrc(2), .. })));
    for (what, index, value) in [
        ("version", 0, 0x41),
        ("length beyond the datagram", 3, 3),
        ("length below the body", 3, 1),
        ("padding of zero", 0, 0xa1),
    ] {
        let mut bytes = [pli.clone(), pli.clone()].concat();
        bytes[12 + index] = value;
        if what == "padding of zero" {
            let last = bytes.len() - 1;
            bytes[last] = 0;
        }
        let all: Vec<_> = packets(&bytes).collect();
        assert!(
            all[0].is_ok() && all.len() <= 3 && all.last().unwrap().is_err(),
            "{what}: {all:?}"
        );
    }
    assert_eq!(packets(&[]).count(), 0);
    assert_eq!(only(&[0x80]).err(), Some(RtcpError::Framing));
}

#[test]
fn a_malformed_packet_does_not_hide_the_next() {
    let nack_without_pairs = raw(1, 205, &[0; 8]);
    let pli = written(|w| w.pli(US, THEM).unwrap());
    let bytes = [nack_without_pairs, pli].concat();
    let all: Vec<_> = packets(&bytes).collect();
    assert_eq!(all[0].as_ref().err(), Some(&RtcpError::Malformed { packet_type: 205 }));
    assert!(matches!(all[1], Ok(Packet::Pli { .. })));
}

#[test]
fn the_number_of_packets_is_bounded() {
    let bytes = raw(0, 201, &[0; 4]).repeat(1500 / 8);
    let all: Vec<_> = packets(&bytes).collect();
    assert_eq!(all.len(), RTCP_PACKETS_MAX + 1);
    assert_eq!(all.last().unwrap().as_ref().err(), Some(&RtcpError::TooManyPackets));
}

#[test]
fn counts_beyond_the_body_are_malformed() {
    for (packet_type, body_len) in [(200, 24 + 24), (201, 4 + 24), (203, 4)] {
        let bytes = raw(2, packet_type, &vec![0; body_len]);
        assert_eq!(only(&bytes).err(), Some(RtcpError::Malformed { packet_type }));
    }
}

#[test]
fn remb_and_unknown_types() {
    // 6 bits exponent 2, 18 bits mantissa 100000, one SSRC.
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 0];
    body.extend_from_slice(b"REMB");
    body.extend_from_slice(&[1, 0b0000_1001, 0x86, 0xa0, 0, 0, 0, 7]);
    let bytes = raw(15, 206, &body);
    assert!(matches!(only(&bytes), Ok(Packet::Remb(Bitrate(400_000)))));
    let theirs = theirs(&bytes);
    let remb = theirs[0].as_any().downcast_ref::<ReceiverEstimatedMaximumBitrate>().unwrap();
    assert_eq!(remb.bitrate, 400_000.0);
    body[13] = 0xff; // exponent 63: saturates
    assert!(matches!(only(&raw(15, 206, &body)), Ok(Packet::Remb(Bitrate(u64::MAX)))));
    assert!(matches!(only(&raw(0, 207, &[0; 4])), Ok(Packet::Unknown { packet_type: 207 })));
    assert!(matches!(only(&raw(9, 205, &[0; 8])), Ok(Packet::Unknown { packet_type: 205 })));
    assert!(matches!(only(&raw(1, 202, &[0; 8])), Ok(Packet::SourceDescription)));
}

#[test]
fn small_packets_are_understood_by_rtc_rtcp() {
    let bytes = written(|w| {
        w.receiver_report(US, &[]).unwrap();
        w.cname(US, "random-cname").unwrap();
        w.pli(US, THEM).unwrap();
        w.fir(US, THEM, 3).unwrap();
        w.bye(&[US, THEM]).unwrap();
    });
    let theirs = theirs(&bytes);
    let sdes = theirs[1].as_any().downcast_ref::<SourceDescription>().unwrap();
    assert_eq!(&sdes.chunks[0].items[0].text[..], b"random-cname");
    let pli = theirs[2].as_any().downcast_ref::<PictureLossIndication>().unwrap();
    assert_eq!((pli.sender_ssrc, pli.media_ssrc), (US.0, THEM.0));
    let fir = theirs[3].as_any().downcast_ref::<FullIntraRequest>().unwrap();
    assert_eq!((fir.fir[0].ssrc, fir.fir[0].sequence_number), (THEM.0, 3));
    let bye = theirs[4].as_any().downcast_ref::<Goodbye>().unwrap();
    assert_eq!(bye.sources, [US.0, THEM.0]);
    let ours: Vec<_> = packets(&bytes).map(Result::unwrap).collect();
    assert!(matches!(&ours[0], Packet::ReceiverReport { sender: US, .. }));
    let Packet::Fir { entries, .. } = &ours[3] else { panic!() };
    assert_eq!(entries.clone().collect::<Vec<_>>(), [FirEntry { media: THEM, command: 3 }]);
    let Packet::Bye(ssrcs) = &ours[4] else { panic!() };
    assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [US, THEM]);
}

/// Every length of the name, as its padding differs.
#[test]
fn cnames_of_any_length() {
    for len in [0usize, 1, 2, 3, 4, 5, 6, 7, 254, 255] {
        let name = "c".repeat(len);
        let bytes = written(|w| w.cname(US, &name).unwrap());
        let theirs = theirs(&bytes);
        let sdes = theirs[0].as_any().downcast_ref::<SourceDescription>().unwrap();
        assert_eq!(&sdes.chunks[0].items[0].text[..], name.as_bytes(), "length {len}");
    }
    let mut out = [0; 400];
    assert_eq!(CompoundWriter::new(&mut out).cname(US, &"c".repeat(256)), Err(NoRoom));
}

#[test]
fn a_packet_without_room_leaves_the_compound_as_it_was() {
    let mut out = [0; 40];
    let mut writer = CompoundWriter::new(&mut out);
    writer.pli(US, THEM).unwrap();
    let info = SenderInfo { ssrc: US, ntp: 0, timestamp: RtpTimestamp(0), packets: 0, octets: 0 };
    assert_eq!(writer.sender_report(info, &[ReportBlock::default()]), Err(NoRoom));
    assert_eq!(writer.nack(US, THEM, (0..200).map(|n| RtpSeq(n * 20))), Err(NoRoom));
    assert_eq!(writer.bye(&[US; 32]), Err(NoRoom));
    assert_eq!(writer.len(), 12);
    writer.bye(&[US]).unwrap();
    let bytes = writer.finish();
    assert_eq!(packets(bytes).filter(Result::is_ok).count(), 2);
}

#[test]
fn feedback_is_cut_where_it_does_not_fit() {
    let arrivals: Vec<Arrival> =
        (0..3000).map(|n| Arrival { seq: SeqNo(n), at_us: n * 70_000 }).collect();
    let mut rest = &arrivals[..];
    let mut reported = 0;
    while !rest.is_empty() {
        let mut out = [0; 1200];
        let mut writer = CompoundWriter::new(&mut out);
        let count = writer.transport_feedback(US, THEM, 0, rest).unwrap();
        assert!(count > 0);
        let Ok(Packet::TransportFeedback(feedback)) = only(writer.finish()) else { panic!() };
        reported += usize::from(feedback.status_count);
        rest = &rest[count..];
    }
    assert_eq!(reported, arrivals.len());
    let mut small = [0; 23];
    let mut writer = CompoundWriter::new(&mut small);
    assert_eq!(writer.transport_feedback(US, THEM, 0, &arrivals[..1]), Err(NoRoom));
}

#[test]
fn long_gaps_and_pauses_start_a_new_feedback() {
    let jump =
        |seq, at_us| [Arrival { seq: SeqNo(5), at_us: 0 }, Arrival { seq: SeqNo(seq), at_us }];
    let reported = |arrivals: &[Arrival]| {
        let mut out = [0; 1200];
        CompoundWriter::new(&mut out).transport_feedback(US, THEM, 0, arrivals).unwrap()
    };
    let statuses = TRANSPORT_STATUSES_MAX as u64;
    assert_eq!(reported(&jump(5 + statuses - 1, 0)), 2);
    assert_eq!(reported(&jump(5 + statuses, 0)), 1);
    assert_eq!(reported(&jump(6, 32_767 * 250)), 2);
    assert_eq!(reported(&jump(6, 32_768 * 250)), 1);
    assert_eq!(reported(&jump(5, 0)), 1, "a repeated number");
    assert_eq!(reported(&[]), 0);
}

fn ssrc() -> impl Strategy<Value = Ssrc> {
    any::<u32>().prop_map(Ssrc)
}

prop_compose! {
    fn report()(
        ssrc in ssrc(),
        fraction_lost in any::<u8>(),
        cumulative_lost in -0x80_0000..0x80_0000i32,
        (highest_seq, jitter, last_sr, delay_since_last_sr) in any::<(u32, u32, u32, u32)>(),
    ) -> ReportBlock {
        ReportBlock {
            ssrc, fraction_lost, cumulative_lost, highest_seq, jitter, last_sr, delay_since_last_sr,
        }
    }
}

/// Arrivals as a receiver sees them: gaps, jitter, reordering in time.
fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let step = (prop_oneof![9 => 1u64..3, 1 => 1u64..600], -3_000i64..40_000);
    (any::<u32>(), any::<u32>(), prop::collection::vec(step, 1..300)).prop_map(
        |(seq, at, steps)| {
            let (mut seq, mut at) = (u64::from(seq), u64::from(at));
            let step = |(gap, delta): (u64, i64)| {
                seq += gap;
                at = at.saturating_add_signed(delta);
                Arrival { seq: SeqNo(seq), at_us: at }
            };
            steps.into_iter().map(step).collect()
        },
    )
}

proptest! {
    #[test]
    fn reports_round_trip_and_rtc_rtcp_agrees(
        (ssrc, ntp, timestamp) in (ssrc(), any::<u64>(), any::<u32>()),
        (count, octets) in any::<(u32, u32)>(),
        reports in prop::collection::vec(report(), 0..=31),
    ) {
        let timestamp = RtpTimestamp(timestamp);
        let info = SenderInfo { ssrc, ntp, timestamp, packets: count, octets };
        let bytes = written(|w| w.sender_report(info, &reports).unwrap());
        let Ok(Packet::SenderReport { info: read, reports: blocks }) = only(&bytes) else {
            panic!("not a report")
        };
        prop_assert_eq!(read, info);
        prop_assert_eq!(blocks.collect::<Vec<_>>(), reports.clone());
        let theirs = theirs(&bytes);
        let theirs = theirs[0].as_any().downcast_ref::<SenderReport>().unwrap();
        prop_assert_eq!((theirs.ssrc, theirs.ntp_time, theirs.rtp_time), (ssrc.0, ntp, timestamp.0));
        prop_assert_eq!((theirs.packet_count, theirs.octet_count), (count, octets));
        prop_assert_eq!(theirs.reports.len(), reports.len());
        for (theirs, ours) in theirs.reports.iter().zip(&reports) {
            prop_assert_eq!(theirs.ssrc, ours.ssrc.0);
            prop_assert_eq!(theirs.fraction_lost, ours.fraction_lost);
            prop_assert_eq!(theirs.total_lost, ours.cumulative_lost.cast_unsigned() & 0xff_ffff);
            prop_assert_eq!(theirs.last_sequence_number, ours.highest_seq);
            prop_assert_eq!(theirs.jitter, ours.jitter);
            prop_assert_eq!(theirs.last_sender_report, ours.last_sr);
            prop_assert_eq!(theirs.delay, ours.delay_since_last_sr);
        }
        let bytes = written(|w| w.receiver_report(ssrc, &reports).unwrap());
        let Ok(Packet::ReceiverReport { sender, reports: blocks }) = only(&bytes) else {
            panic!("not a report")
        };
        prop_assert_eq!(sender, ssrc);
        prop_assert_eq!(blocks.collect::<Vec<_>>(), reports);
    }

    #[test]
    fn nacks_round_trip_and_rtc_rtcp_agrees(
        start in any::<u16>(),
        steps in prop::collection::vec(1u16..40, 1..200),
    ) {
        let mut seq = start;
        let lost: Vec<u16> = steps.iter().map(|step| { seq = seq.wrapping_add(*step); seq }).collect();
        let bytes = written(|w| w.nack(US, THEM, lost.iter().copied().map(RtpSeq)).unwrap());
        let Ok(Packet::Nack { lost: read, .. }) = only(&bytes) else { panic!("not a NACK") };
        prop_assert_eq!(read.map(|seq| seq.0).collect::<Vec<_>>(), lost.clone());
        let theirs = theirs(&bytes);
        let theirs = theirs[0].as_any().downcast_ref::<TransportLayerNack>().unwrap();
        let read: Vec<u16> = theirs.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
        prop_assert_eq!(read, lost);
    }

    #[test]
    fn transport_feedback_round_trips_and_rtc_rtcp_agrees(
        arrivals in arrivals(),
        feedback_count in any::<u8>(),
    ) {
        let mut out = [0xaa; 1200];
        let mut writer = CompoundWriter::new(&mut out);
        let count = writer.transport_feedback(US, THEM, feedback_count, &arrivals).unwrap();
        let bytes = writer.finish();
        let Ok(Packet::TransportFeedback(feedback)) = only(bytes) else { panic!("not feedback") };
        let reported = &arrivals[..count];
        prop_assert_eq!(feedback.base_seq, reported[0].seq.wire().0);
        prop_assert_eq!(feedback.feedback_count, feedback_count);

        // Arrival times come back, in whole ticks, modulo the 24 bits of the reference time.
        let mut at = feedback.reference_us;
        let mut received = reported.iter();
        for (index, (seq, status)) in (0..).zip(feedback.statuses()) {
            prop_assert_eq!(seq, SeqNo(reported[0].seq.0 + index).wire().0);
            if let TransportStatus::Received { delta_us } = status {
                at += i64::from(delta_us);
                let want = received.next().unwrap();
                prop_assert_eq!(seq, want.seq.wire().0);
                prop_assert_eq!(at, (want.at_us / 250 * 250) as i64);
            }
        }
        prop_assert!(received.next().is_none());

        let theirs = theirs(bytes);
        let theirs = theirs[0].as_any().downcast_ref::<TransportLayerCc>().unwrap();
        prop_assert_eq!(theirs.base_sequence_number, feedback.base_seq);
        prop_assert_eq!(theirs.packet_status_count, feedback.status_count);
        prop_assert_eq!(theirs.fb_pkt_count, feedback_count);
        prop_assert_eq!(i64::from(theirs.reference_time) * 64_000, feedback.reference_us);
        let theirs: Vec<i64> = theirs.recv_deltas.iter().map(|delta| delta.delta).collect();
        let ours: Vec<i64> = feedback.statuses().filter_map(|(_, status)| match status {
            TransportStatus::Received { delta_us } => Some(i64::from(delta_us)),
            TransportStatus::Lost => None,
        }).collect();
        prop_assert_eq!(theirs, ours);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_yield_bounded_work(
        packet_type in prop_oneof![Just(205u8), Just(206), 200u8..=207, any::<u8>()],
        count in 0u8..32,
        body in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let mut body = body;
        body.truncate(body.len() / 4 * 4);
        for bytes in [raw(count, packet_type, &body), body] {
            let mut items = 0;
            for packet in packets(&bytes).flatten() {
                items += match packet {
                    Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                        reports.count()
                    }
                    Packet::Bye(ssrcs) => ssrcs.count(),
                    Packet::Nack { lost, .. } => lost.count(),
                    Packet::Fir { entries, .. } => entries.count(),
                    Packet::TransportFeedback(feedback) => {
                        let count = feedback.statuses().count();
                        assert_eq!(count, usize::from(feedback.status_count));
                        count
                    }
                    _ => 1,
                };
            }
            prop_assert!(items <= RTCP_PACKETS_MAX * TRANSPORT_STATUSES_MAX);
        }
    }
}
