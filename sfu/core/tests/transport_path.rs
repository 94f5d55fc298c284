//! Paths in virtual time: validation, nomination, restarts, consent; and junk on live paths.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Duration;

use sfu_core::{
    path::Path,
    test_support::{Link, ice_agent::binding_request},
    transport::session::{Drop, SessionEvent},
};
use sfu_proto::{control::EndReason, stun::TransactionId, unit::SeqNo};
use support::{End, World, address, credentials, rtp_header};

fn connected() -> World {
    let mut world = World::new(1, Link::GOOD, |_| {});
    world.connect();
    world
}

fn request(priority: u32, nominates: bool) -> Vec<u8> {
    let (client, server) = (credentials("client"), credentials("server"));
    binding_request(&client, &server, TransactionId([9; 12]), priority, nominates)
}

#[test]
fn an_answer_is_no_longer_than_its_request() {
    let world = connected();
    let (requests, answers) = world.stun_bytes;
    assert!(answers > 0 && answers <= requests, "{answers} {requests}");
}

#[test]
fn wrong_credentials_are_met_with_silence() {
    let mut world = World::new(1, Link::GOOD, |_| {});
    let (client, server) = (credentials("client"), credentials("server"));
    let path = Path::udp(address(7));
    let mut wrong_password = server.clone();
    wrong_password.pwd.push('x');
    let mut wrong_remote = client.clone();
    wrong_remote.ufrag.push('x');
    let mut wrong_local = server.clone();
    wrong_local.ufrag.push('x');
    let id = TransactionId([1; 12]);
    let cases = [
        (binding_request(&client, &wrong_password, id, 1, true), Drop::StunIntegrity),
        (binding_request(&wrong_remote, &server, id, 1, true), Drop::UnknownUfrag),
        (binding_request(&client, &wrong_local, id, 1, true), Drop::UnknownUfrag),
        (request(1, true)[..60].to_vec(), Drop::MalformedStun),
    ];
    for (datagram, expected) in cases {
        assert_eq!(world.session.handle_stun(&datagram, path, world.now), Err(expected));
        assert!(world.session.poll_outgoing().is_none());
        assert!(world.session.paths().is_empty());
        assert!(world.session.selected_path().is_none());
    }
}

/// Every bit of a request is covered by its integrity or fingerprint.
#[test]
fn a_request_with_any_bit_flipped_is_refused() {
    let mut world = World::new(1, Link::GOOD, |_| {});
    let good = request(1, true);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(world.session.handle_stun(&bad, Path::udp(address(7)), world.now).is_err());
        assert!(world.session.paths().is_empty());
    }
    assert_eq!(world.session.handle_stun(&good, Path::udp(address(7)), world.now), Ok(()));
}

#[test]
fn at_most_eight_paths_and_never_without_the_selected_one() {
    let mut world = connected();
    let selected = world.session.selected_path().unwrap();
    for last in 10..250 {
        let path = Path::udp(address(last));
        world.now += Duration::from_millis(1);
        world.session.handle_stun(&request(1, false), path, world.now).unwrap();
        assert!(world.session.paths().len() <= 8);
        assert!(world.session.paths().contains(&selected));
        assert!(world.session.paths().contains(&path));
        assert!(world.session.selected_path() == Some(selected));
    }
}

#[test]
fn paths_are_forgotten_when_quiet() {
    let mut world = connected();
    world.session.handle_stun(&request(1, false), Path::udp(address(9)), world.now).unwrap();
    assert!(world.session.take_paths_changed());
    assert_eq!(world.session.paths().len(), 2);
    world.run_for(Duration::from_secs(31));
    assert!(world.session.take_paths_changed());
    assert!(world.session.paths() == [Path::udp(address(1))]);
}

/// Aggressive nomination: all pairs are nominated within moments, the highest priority counts.
#[test]
fn of_nominations_at_once_the_highest_priority_wins() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut world = World::new(1, Link::GOOD, |_| {});
        for (step, priority) in order.into_iter().enumerate() {
            let now = world.now + Duration::from_millis(20 * step as u64);
            let path = Path::udp(address(priority as u8));
            world.session.handle_stun(&request(priority, true), path, now).unwrap();
        }
        assert!(world.session.selected_path() == Some(Path::udp(address(3))));
    }
}

#[test]
fn media_follows_a_later_nomination_also_to_lower_priority() {
    let mut world = World::new(1, Link::GOOD, |config| {
        config.addresses = vec![address(1), address(2)];
    });
    world.connect();
    assert!(world.session.selected_path() == Some(Path::udp(address(1))));
    world.run_for(Duration::from_secs(5));
    world.client.prefer(1, world.now);
    world.run_for(Duration::from_millis(200));
    assert!(world.session.selected_path() == Some(Path::udp(address(2))));
    world.assert_media_flows(1);
}

#[test]
fn data_does_not_move_the_path() {
    let mut world = connected();
    let packet = world.client.seal_rtp(&rtp_header(5, 1), SeqNo(1), b"authentic");
    world.deliver(address(200), &packet);
    assert_eq!(world.drops.last(), Some(&Drop::UnvalidatedPath));
    assert!(world.session.selected_path() == Some(Path::udp(address(1))));
    // A binding without nomination validates, but does not move media either.
    world
        .session
        .handle_stun(&request(u32::MAX, false), Path::udp(address(200)), world.now)
        .unwrap();
    world.deliver(address(200), &packet);
    assert_eq!(world.received.len(), 1);
    assert!(world.session.selected_path() == Some(Path::udp(address(1))));
}

/// A mobile client changes its network within a generation: same credentials, new address.
#[test]
fn a_network_change_is_followed_within_300_ms() {
    let mut world = connected();
    world.run_for(Duration::from_secs(10));
    world.addresses = vec![address(77)];
    world.client.move_to(address(77), world.now);
    let moved = |w: &World| w.session.selected_path() == Some(Path::udp(address(77)));
    assert!(world.run_until(Duration::from_millis(300), moved));
    world.assert_media_flows(1);
    assert_eq!(world.session_events, [SessionEvent::Connected]);
}

#[test]
fn an_ice_restart_keeps_keys_and_retires_old_credentials_when_nominated() {
    let mut world = connected();
    world.assert_media_flows(1);
    let (server, client) = (credentials("serverTwo"), credentials("clientTwo"));
    let fingerprint = world.client.fingerprint();
    world.session.set_remote(server.clone(), client.clone(), fingerprint, world.now);
    assert!(world.session.take_paths_changed());
    assert_eq!(world.session.local_ufrags().count(), 2);
    // The old generation goes on until the new one nominates.
    world.session.handle_stun(&request(1, false), Path::udp(address(1)), world.now).unwrap();
    world.assert_media_flows(100);

    world.addresses = vec![address(2)];
    world.client.move_to(address(2), world.now);
    world.client.restart(client, server.clone(), world.now);
    let moved = |w: &World| w.session.selected_path() == Some(Path::udp(address(2)));
    assert!(world.run_until(Duration::from_secs(1), moved));
    assert_eq!(world.session.local_ufrags().collect::<Vec<_>>(), [server.ufrag.as_str()]);
    let stale = world.session.handle_stun(&request(9, true), Path::udp(address(1)), world.now);
    assert_eq!(stale, Err(Drop::UnknownUfrag));
    world.assert_media_flows(200);
    assert_eq!(world.session_events, [SessionEvent::Connected]);
}

#[test]
fn an_abandoned_restart_leaves_the_active_generation_alone() {
    let mut world = connected();
    let fingerprint = world.client.fingerprint();
    for name in ["two", "three", "four"] {
        world.session.set_remote(credentials(name), credentials("other"), fingerprint, world.now);
        assert_eq!(
            world.session.local_ufrags().collect::<Vec<_>>(),
            ["serverUfrag".to_owned(), format!("{name}Ufrag")]
        );
    }
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.session_events, [SessionEvent::Connected]);
    world.assert_media_flows(1);
}

#[test]
fn the_same_parameters_again_are_no_restart() {
    let mut world = connected();
    let fingerprint = world.client.fingerprint();
    world.session.take_paths_changed();
    let (server, client) = (credentials("server"), credentials("client"));
    world.session.set_remote(server, client, fingerprint, world.now);
    assert!(!world.session.take_paths_changed());
    assert_eq!(world.session.local_ufrags().count(), 1);
}

#[test]
fn lost_consent_interrupts_and_a_check_brings_it_back() {
    let mut world = connected();
    world.client.set_checking(false, world.now);
    world.run_for(Duration::from_secs(10));
    assert!(world.session.selected_path().is_some());
    // The last check was at most 4 s before.
    world.run_for(Duration::from_secs(6));
    assert_eq!(world.session_events, [SessionEvent::Connected, SessionEvent::Interrupted]);
    assert!(world.session.selected_path().is_none());
    assert_eq!(world.session.send_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 9]), Err(Drop::UnvalidatedPath));
    world.run_for(Duration::from_secs(20));
    world.client.set_checking(true, world.now);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.session_events.last(), Some(&SessionEvent::Connected));
    world.assert_media_flows(1);
}

/// Consent is for the path that media takes, not for the client as such (RFC 7675 section 5).
#[test]
fn checks_on_another_path_are_no_consent() {
    let mut world = connected();
    world.client.set_checking(false, world.now);
    for _ in 0..20 {
        world.session.handle_stun(&request(1, false), Path::udp(address(9)), world.now).unwrap();
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(world.session_events, [SessionEvent::Connected, SessionEvent::Interrupted]);
    world.session.handle_stun(&request(1, true), Path::udp(address(9)), world.now).unwrap();
    world.settle();
    assert_eq!(world.session_events.last(), Some(&SessionEvent::Connected));
    assert!(world.session.selected_path() == Some(Path::udp(address(9))));
}

#[test]
fn consent_lost_for_good_ends_the_session() {
    let mut world = connected();
    world.client.set_checking(false, world.now);
    world.run_for(Duration::from_secs(46));
    let ended = SessionEvent::Ended(EndReason::ConsentLost);
    assert_eq!(world.session_events, [SessionEvent::Connected, SessionEvent::Interrupted, ended]);
    assert_eq!(world.session.poll_timeout(), None);
    let late = world.session.handle_stun(&request(1, true), Path::udp(address(1)), world.now);
    assert!(late.is_err());
}

#[test]
fn a_closed_tcp_connection_interrupts_and_another_takes_over() {
    let mut world = connected();
    let tcp = Path::tcp(1, address(1));
    world.now += Duration::from_secs(1);
    world.session.handle_stun(&request(1, true), tcp, world.now).unwrap();
    assert!(world.session.selected_path() == Some(tcp));
    world.session.path_closed(tcp, world.now);
    assert!(!world.session.paths().contains(&tcp));
    assert!(world.session.selected_path().is_none());
    world.session.handle_stun(&request(1, true), Path::tcp(2, address(1)), world.now).unwrap();
    world.settle();
    let events = [SessionEvent::Connected, SessionEvent::Interrupted, SessionEvent::Connected];
    assert_eq!(world.session_events, events);
}

/// SECURITY.md 2.3 case C and T3: broken tags from the live path, in any number.
#[test]
fn broken_tags_on_the_live_path_change_nothing() {
    let mut world = connected();
    for index in 1..200_u64 {
        let good = world.client.seal_rtp(&rtp_header(0x77, index as u16), SeqNo(index), b"media");
        for (ssrc, seq) in [(0x77, index as u16), (0x77, 40_000), (0x9999 + index as u32, 1)] {
            let mut forged = good.clone();
            forged[2..4].copy_from_slice(&u16::to_be_bytes(seq));
            forged[8..12].copy_from_slice(&u32::to_be_bytes(ssrc));
            *forged.last_mut().unwrap() ^= 0x80;
            world.deliver(address(1), &forged);
        }
        world.deliver(address(1), &good);
        assert_eq!(world.received.last(), Some(&(SeqNo(index), b"media".to_vec())));
    }
    assert_eq!(world.received.len(), 199);
    assert_eq!(world.session_events, [SessionEvent::Connected]);
}

#[test]
fn replayed_media_is_heard_once_also_after_a_rollover() {
    let mut world = connected();
    let mut captured = Vec::new();
    for index in 65_000..66_000_u64 {
        let packet = world.client.seal_rtp(&rtp_header(1, index as u16), SeqNo(index), b"once");
        world.deliver(address(1), &packet);
        captured.push(packet);
    }
    assert_eq!(world.received.len(), 1000);
    for index in 66_000..(66_000 + 65_536) {
        let packet = world.client.seal_rtp(&rtp_header(1, index as u16), SeqNo(index), b"later");
        world.deliver(address(1), &packet);
        if index == 66_000 || index == 66_000 + 65_535 {
            for old in &captured {
                world.deliver(address(1), old);
            }
        }
    }
    assert_eq!(world.received.len(), 1000 + 65_536);
}

/// SECURITY.md T8: every first byte and every length, before and after the handshake.
#[test]
fn junk_of_every_first_byte_and_length_is_harmless() {
    let mut world = World::new(1, Link::GOOD, |_| {});
    world.run_until(Duration::from_secs(1), |w| !w.session.paths().is_empty());
    junk(&mut world);
    world.connect();
    junk(&mut world);
    world.assert_media_flows(1);
    assert_eq!(world.session_events, [SessionEvent::Connected]);
    assert!(world.session.paths() == [Path::udp(address(1))]);
}

fn junk(world: &mut World) {
    let mut fill: u32 = 1;
    let mut datagram = [0; 1500];
    for first in 0..=255_u8 {
        for len in (0..=1500).step_by(if first % 16 == 0 { 1 } else { 7 }) {
            for byte in &mut datagram[..len] {
                fill = fill.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (fill >> 24) as u8;
            }
            if let Some(byte) = datagram[..len].first_mut() {
                *byte = first;
            }
            let datagram = &datagram[..len];
            let path = Path::udp(address(1));
            // Past demultiplexing as well: each entrance must stand on its own.
            let _ = world.session.handle_stun(datagram, path, world.now);
            let _ = world.session.handle_dtls(datagram, path, world.now);
            let _ = world.session.open_rtcp(datagram, &mut [0; 1500]);
            let _ = world.session.open_rtp(datagram, len.min(12), 3, 4, &mut [0; 1500]);
            world.deliver(address(1), datagram);
        }
    }
    assert!(std::iter::from_fn(|| world.session.poll_outgoing()).count() <= 64);
}

/// The queue is bounded whatever the peer and the caller do.
#[test]
fn outgoing_datagrams_are_bounded() {
    let mut world = connected();
    for _ in 0..10_000 {
        world.session.handle_stun(&request(1, false), Path::udp(address(1)), world.now).unwrap();
        world.session.send_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
    }
    assert!(std::iter::from_fn(|| world.session.poll_outgoing()).count() <= 64);
    let _ = End::Client(address(1));
}
