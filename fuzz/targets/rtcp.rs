//! RTCP compounds: bounded work, and NACKs and feedback that can be written read back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_proto::{
    limits::{RTCP_PACKETS_MAX, TRANSPORT_STATUSES_MAX},
    rtcp::{Arrival, CompoundWriter, Packet, TransportFeedback, TransportStatus, packets},
    unit::{RtpSeq, SeqNo},
};

fuzz_target!(|datagram: &[u8]| {
    assert!(packets(datagram).count() <= RTCP_PACKETS_MAX + 1);
    for packet in packets(datagram).flatten() {
        match packet {
            Packet::SenderReport { reports, .. } | Packet::ReceiverReport { reports, .. } => {
                assert!(reports.count() <= 31);
            }
            Packet::Bye(ssrcs) => assert!(ssrcs.count() <= 31),
            Packet::Nack { sender, media, lost } => {
                let lost: Vec<RtpSeq> = lost.collect();
                assert!(lost.len() <= datagram.len() / 4 * 17);
                nack_writes_back(sender, media, &lost);
            }
            Packet::Fir { entries, .. } => assert!(entries.count() <= datagram.len() / 8),
            Packet::TransportFeedback(feedback) => feedback_writes_back(&feedback),
            _ => {}
        }
    }
});

fn nack_writes_back(sender: sfu_proto::unit::Ssrc, media: sfu_proto::unit::Ssrc, lost: &[RtpSeq]) {
    let mut out = vec![0; 12 + 4 * lost.len()];
    let mut writer = CompoundWriter::new(&mut out);
    writer.nack(sender, media, lost.iter().copied()).expect("four bytes for each suffice");
    let Some(Ok(Packet::Nack { lost: again, .. })) = packets(writer.finish()).next() else {
        panic!("a NACK was written")
    };
    // Order and repetitions may differ; the set is the same.
    let set = |seqs: &mut dyn Iterator<Item = RtpSeq>| {
        seqs.map(|seq| seq.0).collect::<std::collections::BTreeSet<u16>>()
    };
    assert_eq!(set(&mut again.into_iter()), set(&mut lost.iter().copied()));
}

fn feedback_writes_back(feedback: &TransportFeedback<'_>) {
    let statuses: Vec<(u16, TransportStatus)> = feedback.statuses().collect();
    assert_eq!(statuses.len(), usize::from(feedback.status_count));
    assert!(statuses.len() <= TRANSPORT_STATUSES_MAX);
    // Far from zero, so that negative times stay positive.
    let mut at_us = (1i64 << 40) + feedback.reference_us;
    let mut arrivals = Vec::new();
    for (index, (_, status)) in (0u64..).zip(&statuses) {
        if let TransportStatus::Received { delta_us } = status {
            at_us += i64::from(*delta_us);
            let at_us = u64::try_from(at_us).expect("far from zero");
            arrivals.push(Arrival { seq: SeqNo(u64::from(feedback.base_seq) + index), at_us });
        }
    }
    let mut out = vec![0; 20_000];
    let mut writer = CompoundWriter::new(&mut out);
    let written =
        writer.transport_feedback(feedback.sender, feedback.media, 1, &arrivals).expect("room");
    // Only the distance from the new reference time can need a second packet.
    assert_eq!(written, arrivals.len());
    if let Some(Ok(Packet::TransportFeedback(again))) = packets(writer.finish()).next() {
        let received = |feedback: &TransportFeedback<'_>| {
            feedback.statuses().filter(|(_, status)| *status != TransportStatus::Lost).count()
        };
        assert_eq!(received(&again), arrivals.len());
    }
}
