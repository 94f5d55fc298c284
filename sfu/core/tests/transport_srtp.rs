//! Own SRTP against `rtc-srtp`, an implementation nobody here wrote: both directions, all three
//! profiles, RTP and RTCP, with reordering and rollover. And what must be refused.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use rtc_crypto::RTCCryptoProvider;
use rtc_crypto::providers::AwsLcRsProvider;
use rtc_srtp::{context::Context, protection_profile::ProtectionProfile};
use sfu_core::transport::{
    session::Drop,
    srtp::{Inbound, MasterKey, Outbound, Profile},
};
use sfu_proto::unit::SeqNo;

const PROFILES: [(Profile, ProtectionProfile); 3] = [
    (Profile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (Profile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
    (Profile::AesCm128HmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
];

struct Pair {
    inbound: Inbound,
    outbound: Outbound,
    theirs_in: Context,
    theirs_out: Context,
}

fn pair(which: usize, seed: u8) -> Pair {
    let (profile, theirs) = PROFILES[which];
    let key: Vec<u8> = (0..profile.key_len()).map(|i| seed ^ i as u8).collect();
    let salt: Vec<u8> = (0..profile.salt_len()).map(|i| seed.wrapping_mul(7) ^ i as u8).collect();
    let master = MasterKey::new(profile, &key, &salt).unwrap();
    let provider = AwsLcRsProvider::new();
    let context = || Context::new(&key, &salt, theirs, None, None, provider.crypto()).unwrap();
    Pair {
        inbound: Inbound::new(&master).unwrap(),
        outbound: Outbound::new(&master).unwrap(),
        theirs_in: context(),
        theirs_out: context(),
    }
}

/// A packet with `csrcs` contributing sources and optionally a one-byte extension.
fn header(ssrc: u32, seq: u16, csrcs: u8, extension: bool) -> Vec<u8> {
    let mut header = vec![0x80 | u8::from(extension) << 4 | csrcs, 96];
    header.extend_from_slice(&seq.to_be_bytes());
    header.extend_from_slice(&[1, 2, 3, 4]);
    header.extend_from_slice(&ssrc.to_be_bytes());
    header.extend((0..4 * csrcs).map(|i| i ^ 0x55));
    if extension {
        header.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
    }
    header
}

fn seal(outbound: &mut Outbound, header: &[u8], ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = header.to_vec();
    out.resize(header.len() + payload.len() + 16, 0);
    let len = outbound.seal_rtp(ssrc, SeqNo(index), header.len(), payload, &mut out).unwrap();
    out.truncate(len);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Gaps of up to 20,000 carry the sequence number over several rollovers.
    #[test]
    fn rtp_agrees_with_another_implementation(
        which in 0_usize..3,
        seed in any::<u8>(),
        ssrc in any::<u32>(),
        start in 0_u64..0x8000,
        gaps in prop::collection::vec(1_u64..20_000, 1..40),
        csrcs in 0_u8..16,
        extension in any::<bool>(),
        payload in prop::collection::vec(any::<u8>(), 0..1200),
    ) {
        let mut pair = pair(which, seed);
        let mut index = start;
        for gap in gaps {
            let header = header(ssrc, index as u16, csrcs, extension);
            let plain = [&header[..], &payload].concat();

            let ours = seal(&mut pair.outbound, &header, ssrc, index, &payload);
            let theirs = pair.theirs_out.encrypt_rtp(&plain).unwrap();
            prop_assert_eq!(&ours[..], &theirs[..]);
            prop_assert_eq!(&pair.theirs_in.decrypt_rtp(&ours).unwrap()[..], &plain[..]);

            let mut out = vec![0; payload.len()];
            let opened = pair.inbound.open_rtp(&theirs, header.len(), ssrc, index as u16, &mut out);
            prop_assert_eq!(opened, Ok((SeqNo(index), payload.len())));
            prop_assert_eq!(&out, &payload);
            let again = pair.inbound.open_rtp(&theirs, header.len(), ssrc, index as u16, &mut out);
            prop_assert_eq!(again, Err(Drop::Replay));
            index += gap;
        }
    }

    #[test]
    fn rtcp_agrees_with_another_implementation(
        which in 0_usize..3,
        seed in any::<u8>(),
        ssrc in any::<u32>(),
        words in 1_u16..250,
        count in 1_usize..20,
    ) {
        let mut pair = pair(which, seed);
        let mut compound = vec![0x80, 201];
        compound.extend_from_slice(&words.to_be_bytes());
        compound.extend_from_slice(&ssrc.to_be_bytes());
        compound.extend((4..4 * words).map(|i| i as u8));
        for _ in 0..count {
            let ours = pair.outbound.seal_rtcp(&compound).unwrap();
            prop_assert_eq!(&pair.theirs_in.decrypt_rtcp(&ours).unwrap()[..], &compound[..]);
            let theirs = pair.theirs_out.encrypt_rtcp(&compound).unwrap();
            let mut out = vec![0; compound.len()];
            prop_assert_eq!(pair.inbound.open_rtcp(&theirs, &mut out), Ok(compound.len()));
            prop_assert_eq!(&out, &compound);
            prop_assert_eq!(pair.inbound.open_rtcp(&theirs, &mut out), Err(Drop::Replay));
        }
    }

    /// Any order within the window is accepted once; a rollover lies in the middle.
    #[test]
    fn reordering_across_a_rollover_is_understood(
        which in 0_usize..3,
        order in Just((0xff80_u64..0x1_0080).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut pair = pair(which, 3);
        let sealed: Vec<_> = (0xff80_u64..0x1_0080)
            .map(|index| (index, seal(&mut pair.outbound, &header(5, index as u16, 0, false), 5, index, b"x")))
            .collect();
        // The first packet fixes the rollover count at zero, so it must precede the rollover.
        let first = *order.iter().find(|index| **index < 0x1_0000).unwrap();
        for index in std::iter::once(first).chain(order.into_iter().filter(|index| *index != first)) {
            let (_, packet) = &sealed[(index - 0xff80) as usize];
            let opened = pair.inbound.open_rtp(packet, 12, 5, index as u16, &mut [0; 1]);
            prop_assert_eq!(opened, Ok((SeqNo(index), 1)));
        }
    }

    /// Junk of every shape is refused without a trace: the genuine stream goes on.
    #[test]
    fn junk_is_refused_and_changes_nothing(
        which in 0_usize..3,
        junk in prop::collection::vec(any::<u8>(), 0..200),
        header_len in 0_usize..220,
        seq in any::<u16>(),
    ) {
        let mut pair = pair(which, 9);
        let mut out = [0; 1500];
        prop_assert!(pair.inbound.open_rtp(&junk, header_len, 7, seq, &mut out).is_err());
        prop_assert!(pair.inbound.open_rtcp(&junk, &mut out).is_err());
        let good = seal(&mut pair.outbound, &header(7, 1, 0, false), 7, 1, b"payload");
        let opened = pair.inbound.open_rtp(&good, 12, 7, 1, &mut out);
        prop_assert_eq!(opened, Ok((SeqNo(1), 7)));
    }
}

#[test]
fn an_index_is_never_sealed_twice() {
    for which in 0..3 {
        let mut outbound = pair(which, 1).outbound;
        let mut out = [0; 64];
        out[0] = 0x80;
        assert!(outbound.seal_rtp(1, SeqNo(10), 12, b"a", &mut out).is_some());
        assert!(outbound.seal_rtp(1, SeqNo(10), 12, b"b", &mut out).is_none());
        assert!(outbound.seal_rtp(1, SeqNo(9), 12, b"late", &mut out).is_some());
        assert!(outbound.seal_rtp(1, SeqNo(9), 12, b"b", &mut out).is_none());
        assert!(outbound.seal_rtp(1, SeqNo(1 << 48), 12, b"b", &mut out).is_none());
        assert!(outbound.seal_rtp(2, SeqNo(10), 12, b"b", &mut out).is_some());
        assert!(outbound.seal_rtp(1, SeqNo(11), 12, &[0; 60], &mut out).is_none(), "no room");
        assert!(outbound.seal_rtp(1, SeqNo(11), 12, b"c", &mut out).is_some());
        assert!(outbound.seal_rtp(1, SeqNo(70_000), 12, b"d", &mut out).is_some());
        assert!(outbound.seal_rtp(1, SeqNo(12), 12, b"too old to tell", &mut out).is_none());
    }
}

/// SECURITY.md 2.3 case C: one forged packet must not create or move anything.
#[test]
fn forged_packets_do_not_move_rollover_or_window() {
    for which in 0..3 {
        let mut pair = pair(which, 2);
        let mut out = [0; 64];
        let packets: Vec<_> = (0..200_u64)
            .map(|index| {
                seal(&mut pair.outbound, &header(8, index as u16, 0, false), 8, index, b"media")
            })
            .collect();
        for (index, packet) in packets.iter().enumerate() {
            for seq in [0x7fff, 0x8000, 0xffff, index as u16] {
                let mut forged = packet.clone();
                forged[2..4].copy_from_slice(&u16::to_be_bytes(seq));
                *forged.last_mut().unwrap() ^= 1;
                assert!(pair.inbound.open_rtp(&forged, 12, 8, seq, &mut out).is_err());
                assert!(pair.inbound.open_rtp(&forged, 12, 0xdead, seq, &mut out).is_err());
            }
            let opened = pair.inbound.open_rtp(packet, 12, 8, index as u16, &mut out);
            assert_eq!(opened, Ok((SeqNo(index as u64), 5)));
        }
    }
}

#[test]
fn sources_are_bounded_by_authentic_ones_only() {
    let mut pair = pair(0, 4);
    let mut out = [0; 64];
    for ssrc in 0..10_000 {
        let forged = [&header(ssrc, 1, 0, false)[..], &[0; 30]].concat();
        let refused = pair.inbound.open_rtp(&forged, 12, ssrc, 1, &mut out);
        assert_eq!(refused, Err(Drop::Authentication));
    }
    use sfu_core::transport::limits::{INBOUND_SSRC_MAX, INBOUND_SSRC_RETIRED_MAX};
    let max = (INBOUND_SSRC_MAX + INBOUND_SSRC_RETIRED_MAX) as u32;
    for ssrc in 0..=max {
        if ssrc % 2_000 == 0 {
            // The sealing side has a bound of its own.
            pair.outbound = self::pair(0, 4).outbound;
        }
        let packet = seal(&mut pair.outbound, &header(ssrc, 1, 0, false), ssrc, 1, b"x");
        let opened = pair.inbound.open_rtp(&packet, 12, ssrc, 1, &mut out);
        let expected = if ssrc < max { Ok((SeqNo(1), 1)) } else { Err(Drop::TooManySources) };
        assert_eq!(opened, expected);
    }
}

/// A client draws new SSRCs with each restart of a track: for ever, and nothing is replayed.
#[test]
fn retired_sources_make_room_and_are_not_replayed() {
    let mut pair = pair(0, 6);
    let mut out = [0; 64];
    let mut open = |pair: &mut Pair, packet: &[u8], ssrc, seq| {
        pair.inbound.open_rtp(packet, 12, ssrc, seq, &mut out).map(|(index, _)| index.0)
    };
    let packet = |pair: &mut Pair, ssrc, index: u64| {
        seal(&mut pair.outbound, &header(ssrc, index as u16, 0, false), ssrc, index, b"x")
    };
    // The first one has passed a rollover, and one packet is late.
    let indexes = [0xfff0, 0x1_0002, 0x1_0001, 0x1_0003];
    let first: Vec<_> = indexes.iter().map(|index| packet(&mut pair, 7, *index)).collect();
    for at in [0, 1] {
        assert_eq!(open(&mut pair, &first[at], 7, indexes[at] as u16), Ok(indexes[at]));
    }
    for ssrc in 100..600 {
        let (one, two) = (packet(&mut pair, ssrc, 1), packet(&mut pair, ssrc, 2));
        assert_eq!(open(&mut pair, &one, ssrc, 1), Ok(1));
        assert_eq!(open(&mut pair, &two, ssrc, 2), Ok(2));
        assert_eq!(open(&mut pair, &two, ssrc, 2), Err(Drop::Replay));
    }
    for at in [0, 1, 2] {
        let again = open(&mut pair, &first[at], 7, indexes[at] as u16);
        assert_eq!(again, Err(Drop::Replay), "{at}");
    }
    assert_eq!(open(&mut pair, &first[3], 7, 3), Ok(0x1_0003));
    assert_eq!(open(&mut pair, &first[3], 7, 3), Err(Drop::Replay));
}

/// RFC 3711 allows RTCP that is authenticated but readable (E bit 0); we do not.
#[test]
fn unencrypted_rtcp_is_refused() {
    let mut pair = pair(0, 5);
    let mut sealed = pair.outbound.seal_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
    let word = sealed.len() - 4;
    sealed[word] &= 0x7f;
    assert_eq!(pair.inbound.open_rtcp(&sealed, &mut [0; 64]), Err(Drop::Malformed));
}
