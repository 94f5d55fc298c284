//! Handshakes in virtual time: both DTLS versions, bad networks, cut ClientHellos, forgers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use proptest::prelude::*;
use sfu_core::{
    path::Path,
    test_support::{DtlsVersion, Link},
    transport::{
        session::{Drop, SessionEvent},
        srtp::Profile,
    },
};
use sfu_proto::{control::EndReason, sdp::Fingerprint};
use support::{IDENTITY, World, address, credentials};

const VERSIONS: [DtlsVersion; 3] = [DtlsVersion::V12, DtlsVersion::V13, DtlsVersion::Auto];

#[test]
fn every_version_connects_and_media_flows_both_ways() {
    for version in VERSIONS {
        let mut world = World::with_version(1, Link::GOOD, version);
        world.connect();
        assert_eq!(world.client.server_fingerprint(), Some(IDENTITY.fingerprint()));
        assert_eq!(world.client.profile(), world.session.profile());
        // The client lists AES-256 first; we take the cheapest of its list.
        assert_eq!(world.session.profile(), Some(Profile::AeadAes128Gcm));
        assert_eq!(world.session_events, [SessionEvent::Connected]);
        world.assert_media_flows(1);
        // An idle session sleeps until consent may be lost.
        let wake = world.session.poll_timeout().unwrap();
        assert!(wake > world.now + Duration::from_secs(10));
    }
}

#[test]
fn connects_over_a_lossy_reordering_duplicating_network() {
    for seed in 0..30 {
        let version = VERSIONS[seed as usize % 3];
        let mut world = World::with_version(seed, Link::BAD, version);
        world.connect();
        world.assert_media_flows(1);
    }
}

/// Chromium's ClientHello with X25519MLKEM768 does not fit one datagram.
#[test]
fn a_client_hello_in_two_datagrams_connects() {
    for version in VERSIONS {
        for (seed, link) in [(1, Link::GOOD), (2, Link::BAD), (3, Link::BAD), (4, Link::BAD)] {
            for split in [40, 700, 1100] {
                let split = if version == DtlsVersion::Auto { split } else { 40 };
                let mut world = World::new(seed * 100 + split as u64, link, |config| {
                    config.version = version;
                    config.split_hello_at = Some(split);
                });
                world.connect();
                world.assert_media_flows(1);
            }
        }
    }
}

/// Delivers the first flight by hand: second part first, or only after a retransmission.
#[test]
fn parts_of_a_client_hello_may_swap_or_get_lost() {
    for lose in [None, Some(0), Some(1)] {
        let mut world = World::new(1, Link::GOOD, |config| config.split_hello_at = Some(700));
        let mut hello = hello_of(&mut world);
        assert_eq!(hello.len(), 2);
        hello.reverse();
        for (at, part) in hello.iter().enumerate() {
            if lose != Some(at) {
                world.deliver(address(1), part);
            }
        }
        let start = world.now;
        world.connect();
        // Swapped parts cost no retransmission (300 ms), lost ones one.
        assert_eq!(world.now - start < Duration::from_millis(200), lose.is_none());
        world.assert_media_flows(1);
    }
}

/// Fragments of another length do not get between the parts of the genuine ClientHello.
#[test]
fn a_cut_client_hello_survives_forged_fragments_between_its_parts() {
    let forged = record(22, 0, 99, &handshake(1, 0, 900, 300, &[0x5a; 600]));
    for place in 0..3 {
        let mut world = World::new(1, Link::GOOD, |config| config.split_hello_at = Some(700));
        let mut hello = hello_of(&mut world);
        hello.insert(place, forged.clone());
        let start = world.now;
        for part in &hello {
            world.deliver(address(1), part);
        }
        world.connect();
        assert!(world.now - start < Duration::from_millis(200));
        world.assert_media_flows(1);
    }
}

#[test]
fn the_wrong_certificate_ends_the_session_and_yields_no_keys() {
    for version in VERSIONS {
        let mut world = World::with_version(1, Link::GOOD, version);
        let (server, client) = (credentials("server"), credentials("client"));
        world.session = sfu_core::transport::session::Session::new(
            server.clone(),
            std::sync::Arc::clone(&IDENTITY),
            world.now,
        );
        let mut fingerprint = world.client.fingerprint().0;
        fingerprint[31] ^= 1;
        world.session.set_remote(server, client, Fingerprint(fingerprint), world.now);
        let ended = SessionEvent::Ended(EndReason::HandshakeFailed);
        assert!(world.run_until(Duration::from_secs(5), |w| w.session_events.contains(&ended)));
        assert_eq!(world.session.profile(), None);
        assert!(!world.session_events.contains(&SessionEvent::Connected));
    }
}

#[test]
fn a_handshake_that_never_completes_times_out() {
    let mut world = World::new(1, Link::GOOD, |_| {});
    world.run_for(Duration::from_millis(30));
    world.link = Link { loss: 1.0, ..Link::GOOD };
    let ended = SessionEvent::Ended(EndReason::HandshakeFailed);
    assert!(world.run_until(Duration::from_secs(21), |w| w.session_events.contains(&ended)));
    assert_eq!(world.session.poll_timeout(), None);
}

#[test]
fn a_client_that_never_comes_times_out() {
    let mut world = World::new(1, Link { loss: 1.0, ..Link::GOOD }, |_| {});
    let ended = SessionEvent::Ended(EndReason::HandshakeFailed);
    assert!(!world.run_until(Duration::from_secs(59), |w| w.session_events.contains(&ended)));
    assert!(world.run_until(Duration::from_secs(2), |w| w.session_events.contains(&ended)));
}

/// SECURITY.md T1: from a foreign address nothing but STUN is looked at, and nothing is answered.
#[test]
fn forged_dtls_from_a_foreign_address_is_never_looked_at() {
    for version in VERSIONS {
        let mut world = World::with_version(1, Link::GOOD, version);
        let foreign = address(66);
        for _ in 0..200 {
            for forged in forgeries() {
                world.deliver(foreign, &forged);
                let direct = world.session.handle_dtls(&forged, Path::udp(foreign), world.now);
                assert_eq!(direct, Err(Drop::UnvalidatedPath));
            }
            world.run_for(Duration::from_millis(2));
        }
        world.connect();
        assert_eq!(world.strays, 0);
        world.assert_media_flows(1);
    }
}

/// From the client's own 5-tuple (spoofed), before, between and after the real flights.
#[test]
fn forged_dtls_from_the_same_path_does_not_end_the_session() {
    for version in VERSIONS {
        for burst_at in [0, 1, 2, 3, 4, 5] {
            for forged in forgeries() {
                let mut world = World::with_version(1, Link::GOOD, version);
                let validated = |w: &World| !w.session.paths().is_empty();
                assert!(world.run_until(Duration::from_secs(1), validated));
                world.run_for(Duration::from_millis(8 * burst_at));
                for _ in 0..5 {
                    world.deliver(address(1), &forged);
                }
                world.connect();
                for _ in 0..5 {
                    world.deliver(address(1), &forged);
                }
                world.assert_media_flows(1);
                assert_eq!(world.session_events, [SessionEvent::Connected]);
            }
        }
    }
}

/// A forged ClientHello that is valid in itself: another client's, from the spoofed 5-tuple.
#[test]
fn a_valid_foreign_client_hello_on_the_same_path_does_not_win() {
    for version in VERSIONS {
        for before in [true, false] {
            let mut other = World::with_version(9, Link::GOOD, version);
            let forged = hello_of(&mut other);
            let mut world = World::with_version(1, Link::GOOD, version);
            let genuine = hello_of(&mut world);
            let order = if before { [&forged, &genuine] } else { [&genuine, &forged] };
            // Answers to the forged one are not delivered: what they do to the client is the
            // client's affair. Ours is that the genuine handshake goes on.
            for hello in order {
                for datagram in hello {
                    world.deliver(address(1), datagram);
                }
                if hello == &forged {
                    while world.session.poll_outgoing().is_some() {}
                } else {
                    world.settle();
                }
            }
            world.connect();
            world.assert_media_flows(1);
        }
    }
}

/// All places taken by valid foreign ClientHellos: the genuine one gets in, and once it is in, it
/// stays until its next flight.
#[test]
fn foreign_client_hellos_do_not_keep_the_genuine_one_out() {
    for version in VERSIONS {
        for before in [true, false] {
            let forged: Vec<_> = (0..6)
                .flat_map(|seed| hello_of(&mut World::with_version(20 + seed, Link::GOOD, version)))
                .collect();
            let mut world = World::with_version(1, Link::GOOD, version);
            let genuine = hello_of(&mut world);
            let order = if before { [&forged, &genuine] } else { [&genuine, &forged] };
            for datagram in order.into_iter().flatten() {
                if before && datagram == &genuine[0] {
                    world.now += Duration::from_millis(260);
                }
                world.deliver(address(1), datagram);
                if forged.contains(datagram) {
                    // What answers to forged ones do to the client is the client's affair.
                    while world.session.poll_outgoing().is_some() {}
                } else {
                    world.settle();
                }
            }
            let start = world.now;
            world.connect();
            assert!(world.now - start < Duration::from_millis(200));
            world.assert_media_flows(1);
        }
    }
}

/// Engines are used up by bad ClientHellos, but time gives them back.
#[test]
fn used_up_attempts_come_back() {
    let mut world = World::with_version(1, Link::GOOD, DtlsVersion::V12);
    let genuine = hello_of(&mut world);
    for n in 0..200_u8 {
        let mut hello = vec![0xfe, 0xfd];
        hello.extend_from_slice(&[n; 32]);
        hello.extend_from_slice(&[0, 0, 0, 2, 0x00, 0x05, 1, 0]);
        let hello = handshake(1, 0, hello.len() as u16, 0, &hello);
        world.deliver(address(1), &record(22, 0, n, &hello));
    }
    assert!(world.drops.contains(&Drop::Limit));
    genuine.iter().for_each(|datagram| world.deliver(address(1), datagram));
    world.connect();
    world.assert_media_flows(1);
}

/// Plain handshake messages that would wait for those before them for ever.
#[test]
fn forged_messages_of_the_future_do_not_fill_the_queue() {
    for version in VERSIONS {
        let mut world = World::with_version(1, Link::GOOD, version);
        for datagram in hello_of(&mut world) {
            world.deliver(address(1), &datagram);
        }
        for n in 0..100_u8 {
            let body = [0x5a; 40];
            // Far ahead, and in many fragments just ahead.
            let far = handshake(11, 20 + n, 40, 0, &body);
            let near = handshake(11, 5, 4_000, 40 * u16::from(n), &body);
            world.deliver(address(1), &record(22, 0, 2 * n, &far));
            world.deliver(address(1), &record(22, 0, 2 * n + 1, &near));
        }
        let start = world.now;
        world.connect();
        assert!(world.now - start < Duration::from_secs(1));
        world.assert_media_flows(1);
    }
}

#[test]
fn close_notify_ends_both_ways() {
    for version in VERSIONS {
        let mut world = World::with_version(1, Link::GOOD, version);
        world.connect();
        world.client.close();
        let ended = SessionEvent::Ended(EndReason::PeerClosed);
        assert!(world.run_until(Duration::from_secs(1), |w| w.session_events.contains(&ended)));

        let mut world = World::with_version(1, Link::GOOD, version);
        world.connect();
        world.session.close(world.now);
        let closed = sfu_core::test_support::ClientEvent::Closed;
        assert!(world.run_until(Duration::from_secs(1), |w| w.client_events.contains(&closed)));
        assert!(
            world.session.seal_rtp(1, sfu_proto::unit::SeqNo(1), 12, b"", &mut [0; 64]).is_none()
        );
    }
}

/// The client's ClientHello, taken off the wire just after its path was validated.
fn hello_of(world: &mut World) -> Vec<Vec<u8>> {
    let mut hello = Vec::new();
    for _ in 0..100 {
        world.now += Duration::from_millis(1);
        world.client.handle_timeout(world.now);
        while let Some(transmit) = world.client.poll_transmit() {
            if sfu_core::transport::demux::classify(&transmit.bytes)
                == sfu_core::transport::demux::Class::Dtls
            {
                hello.push(transmit.bytes);
            } else {
                world.deliver(transmit.from, &transmit.bytes);
            }
        }
        while let Some(outgoing) = world.session.poll_outgoing() {
            world.client.handle_datagram(outgoing.path.peer, &outgoing.bytes, world.now);
        }
        while let Some(transmit) = world.client.poll_transmit() {
            hello.push(transmit.bytes);
        }
        if !hello.is_empty() {
            return hello;
        }
    }
    panic!("no ClientHello");
}

fn record(kind: u8, epoch: u8, sequence: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, sequence];
    record.extend_from_slice(&(body.len() as u16).to_be_bytes());
    record.extend_from_slice(body);
    record
}

fn handshake(kind: u8, sequence: u8, total: u16, offset: u16, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0];
    message.extend_from_slice(&total.to_be_bytes());
    message.extend_from_slice(&[0, sequence, 0]);
    message.extend_from_slice(&offset.to_be_bytes());
    message.push(0);
    message.extend_from_slice(&(body.len() as u16).to_be_bytes());
    message.extend_from_slice(body);
    message
}

/// Fatal alerts, a ClientHello without a usable cipher (as in ES2023-01), fragments that lie,
/// stray handshake messages, key changes, and plain junk.
fn forgeries() -> Vec<Vec<u8>> {
    let mut hello = vec![0xfe, 0xfd];
    hello.extend_from_slice(&[0xab; 32]);
    hello.extend_from_slice(&[0, 0, 0, 2, 0x00, 0x05, 1, 0]);
    let len = hello.len() as u16;
    vec![
        record(21, 0, 9, &[2, 40]),
        record(21, 0, 9, &[1, 0]),
        [record(20, 0, 8, &[1]), record(21, 0, 9, &[2, 80])].concat(),
        record(22, 0, 7, &handshake(1, 0, len, 0, &hello)),
        record(22, 0, 7, &handshake(1, 0, 1400, 0, &hello)),
        record(22, 0, 7, &handshake(1, 0, 1400, 700, &hello)),
        record(22, 0, 7, &handshake(20, 9, 12, 0, &[0; 12])),
        record(20, 0, 7, &[1]),
        record(23, 1, 7, &[0x55; 60]),
        record(21, 1, 7, &[0x55; 26]),
        vec![0x2f; 40],
        vec![22; 100],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Every datagram of the client is followed by a damaged copy from the same 5-tuple. The
    /// session neither panics nor ends, and the genuine handshake goes on.
    #[test]
    fn damaged_copies_of_the_clients_datagrams_do_no_harm(
        which in 0_usize..3,
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..=255), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut world = World::with_version(1, Link::GOOD, VERSIONS[which]);
        world.tamper = Some(Box::new(move |genuine: &[u8]| {
            let mut copy = genuine.to_vec();
            for (place, bits) in &damage {
                let at = place.index(copy.len());
                copy[at] ^= bits;
            }
            if let Some(cut) = &cut {
                copy.truncate(cut.index(copy.len()) + 1);
            }
            copy
        }));
        world.connect();
        world.tamper = None;
        world.assert_media_flows(1);
        prop_assert_eq!(&world.session_events, &[SessionEvent::Connected]);
    }
}
