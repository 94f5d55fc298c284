//! STUN: RFC 5769 vectors, properties, and agreement with `rtc-stun`, which nobody here wrote.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;
use proptest::prelude::*;
use rtc_stun::{
    attributes::{ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME},
    fingerprint::FINGERPRINT,
    message::{Getter, Message as TheirMessage},
    xoraddr::XorMappedAddress,
};
use sfu_proto::stun::{
    Class, IceRole, Integrity, Message, MessageWriter, NoRoom, StunError, TransactionId,
};

/// RFC 5769 section 2: password of the samples.
const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
const TRANSACTION: TransactionId =
    TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);

/// RFC 5769 section 2.1: sample request.
#[rustfmt::skip]
const REQUEST: [u8; 108] = [
    0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73,
    0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
    0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09,
    0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14,
    0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
    0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
];

/// RFC 5769 section 2.2: sample IPv4 response.
#[rustfmt::skip]
const RESPONSE_V4: [u8; 80] = [
    0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63,
    0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
    0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9,
    0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96,
];

/// RFC 5769 section 2.3: sample IPv6 response.
#[rustfmt::skip]
const RESPONSE_V6: [u8; 92] = [
    0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
    0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63,
    0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa,
    0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9, 0x00, 0x08, 0x00, 0x14,
    0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c, 0x82, 0x92, 0xc2, 0x75,
    0xbf, 0xe3, 0xed, 0x41, 0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c,
];

fn hmac_sha1(password: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
    let mut context = hmac::Context::with_key(&key);
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().unwrap()
}

fn is_authentic(integrity: &Integrity<'_>, password: &[u8]) -> bool {
    let covered = integrity.covered;
    hmac_sha1(password, &[&covered.header, covered.attributes]) == integrity.value
}

#[test]
fn rfc5769_sample_request() {
    let message = Message::parse(&REQUEST).unwrap();
    assert!(message.class == Class::Request && message.transaction == TRANSACTION);
    assert_eq!(message.username, Some("evtj:h6vY"));
    assert_eq!(message.ufrags(), Some(("evtj", "h6vY")));
    assert_eq!(message.priority, Some(0x6e00_01ff));
    assert_eq!(message.role, Some(IceRole::Controlled(0x932f_f9b1_5126_3b36)));
    assert!(message.fingerprint && message.unknown.is_empty() && !message.use_candidate);
    assert!(is_authentic(&message.integrity.unwrap(), PASSWORD));
    assert!(!is_authentic(&message.integrity.unwrap(), b"VOkJxbRl1RmTxUk/WvJxBu"));
}

#[test]
fn rfc5769_sample_responses() {
    for (bytes, address) in [
        (&RESPONSE_V4[..], "192.0.2.1"),
        (&RESPONSE_V6[..], "2001:db8:1234:5678:11:2233:4455:6677"),
    ] {
        let message = Message::parse(bytes).unwrap();
        assert!(message.class == Class::Success && message.transaction == TRANSACTION);
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(message.mapped_address, Some(SocketAddr::new(address, 32853)));
        assert!(message.fingerprint);
        assert!(is_authentic(&message.integrity.unwrap(), PASSWORD));
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    for at in 0..REQUEST.len() {
        let mut bytes = REQUEST;
        bytes[at] ^= 0x10;
        // The fingerprint covers everything before it; a change to its own header removes it.
        assert!(Message::parse(&bytes).map_or(true, |m| !m.fingerprint), "byte {at}");
    }
    for len in 0..REQUEST.len() {
        assert!(Message::parse(&REQUEST[..len]).is_err(), "length {len}");
    }
}

#[test]
fn nothing_behind_integrity_counts_but_the_fingerprint() {
    let mut out = [0; 200];
    let mut writer = MessageWriter::new(&mut out, Class::Request, TRANSACTION).unwrap();
    writer.attribute(0x0008, &[7; 20]).unwrap(); // MESSAGE-INTEGRITY
    writer.use_candidate().unwrap().username("a:b").unwrap().attribute(0x0042, &[]).unwrap();
    let len = writer.finish_without_integrity().unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert!(message.integrity.is_some() && message.fingerprint);
    assert!(!message.use_candidate && message.username.is_none() && message.unknown.is_empty());
}

#[test]
fn unknown_required_attributes_are_listed_and_bounded() {
    let mut out = [0; 400];
    let mut writer = MessageWriter::new(&mut out, Class::Request, TRANSACTION).unwrap();
    for kind in 0x0040..0x0050 {
        writer.attribute(kind, &[1, 2, 3]).unwrap();
    }
    writer.attribute(0x8055, &[]).unwrap();
    let len = writer.finish_without_integrity().unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!(message.unknown[..], (0x0040..0x0048).collect::<Vec<_>>());
}

#[test]
fn malformed_attributes_are_refused() {
    for (kind, value) in [
        (0x0006, &[0xff; 4][..]),            // USERNAME, not UTF-8
        (0x0006, &[b'a'; 509]),              // USERNAME, too long
        (0x0008, &[0; 19]),                  // MESSAGE-INTEGRITY
        (0x0009, &[0, 0, 7, 0]),             // ERROR-CODE 700
        (0x0020, &[0, 1, 0, 0, 1, 2, 3]),    // XOR-MAPPED-ADDRESS, short IPv4
        (0x0020, &[0, 3, 0, 0, 1, 2, 3, 4]), // XOR-MAPPED-ADDRESS, unknown family
        (0x0024, &[0; 3]),                   // PRIORITY
        (0x8029, &[0; 7]),                   // ICE-CONTROLLED
        (0x802a, &[0; 9]),                   // ICE-CONTROLLING
    ] {
        let mut out = [0; 600];
        let mut writer = MessageWriter::new(&mut out, Class::Request, TRANSACTION).unwrap();
        writer.attribute(kind, value).unwrap();
        let len = writer.finish_without_integrity().unwrap();
        assert_eq!(Message::parse(&out[..len]).err(), Some(StunError::Attribute { kind }));
    }
}

#[test]
fn error_answers_carry_code_and_unknown_attributes() {
    let mut out = [0; 100];
    let mut writer = MessageWriter::new(&mut out, Class::Error, TRANSACTION).unwrap();
    writer.error_code(420).unwrap().unknown_attributes(&[0x42, 0x43]).unwrap();
    let len = writer.finish(|covered| hmac_sha1(PASSWORD, &[covered])).unwrap();
    let message = Message::parse(&out[..len]).unwrap();
    assert_eq!((message.class, message.error_code), (Class::Error, Some(420)));
    assert!(is_authentic(&message.integrity.unwrap(), PASSWORD));
    assert!(theirs(&out[..len]).is_ok());
}

#[test]
fn a_short_buffer_is_refused() {
    for room in 0..REQUEST.len() {
        let mut out = vec![0; room];
        let written =
            MessageWriter::new(&mut out, Class::Request, TRANSACTION).and_then(|mut w| {
                w.username("evtj:h6vY")?.priority(1)?;
                w.finish(|_| [0; 20])
            });
        let needed = 20 + 16 + 8 + 24 + 8;
        assert_eq!(written, if room < needed { Err(NoRoom) } else { Ok(needed) });
    }
}

/// The message as `rtc-stun` sees it, its fingerprint checked.
fn theirs(bytes: &[u8]) -> Result<TheirMessage, ()> {
    let mut message = TheirMessage::new();
    message.unmarshal_binary(bytes).map_err(|_| ())?;
    FINGERPRINT.check(&message).map_err(|_| ())?;
    Ok(message)
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #[test]
    fn requests_round_trip_and_rtc_stun_agrees(
        transaction in any::<[u8; 12]>().prop_map(TransactionId),
        username in "[a-zA-Z0-9+/]{4,30}:[a-zA-Z0-9+/]{4,30}",
        (priority, use_candidate, controlling) in (any::<u32>(), any::<bool>(), any::<bool>()),
        tie_breaker in any::<u64>(),
    ) {
        let role = if controlling {
            IceRole::Controlling(tie_breaker)
        } else {
            IceRole::Controlled(tie_breaker)
        };
        let mut out = [0xff; 300];
        let mut writer = MessageWriter::new(&mut out, Class::Request, transaction).unwrap();
        writer.username(&username).unwrap().priority(priority).unwrap().role(role).unwrap();
        if use_candidate {
            writer.use_candidate().unwrap();
        }
        let len = writer.finish(|covered| hmac_sha1(PASSWORD, &[covered])).unwrap();

        let message = Message::parse(&out[..len]).unwrap();
        prop_assert_eq!(message.username, Some(&username[..]));
        prop_assert_eq!(message.priority, Some(priority));
        prop_assert_eq!(message.use_candidate, use_candidate);
        prop_assert_eq!(message.role, Some(role));
        prop_assert!(message.fingerprint && message.transaction == transaction);
        prop_assert!(is_authentic(&message.integrity.unwrap(), PASSWORD));

        let theirs = theirs(&out[..len]).unwrap();
        prop_assert_eq!(theirs.transaction_id.0, transaction.0);
        prop_assert_eq!(theirs.get(ATTR_USERNAME).unwrap(), username.into_bytes());
        prop_assert_eq!(theirs.get(ATTR_PRIORITY).unwrap(), priority.to_be_bytes());
        prop_assert_eq!(theirs.get(ATTR_USE_CANDIDATE).is_ok(), use_candidate);
    }

    #[test]
    fn mapped_addresses_round_trip_and_rtc_stun_agrees(
        transaction in any::<[u8; 12]>().prop_map(TransactionId),
        address in address(),
    ) {
        let mut out = [0; 100];
        let mut writer = MessageWriter::new(&mut out, Class::Success, transaction).unwrap();
        writer.mapped_address(address).unwrap();
        let len = writer.finish_without_integrity().unwrap();
        prop_assert_eq!(Message::parse(&out[..len]).unwrap().mapped_address, Some(address));
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&theirs(&out[..len]).unwrap()).unwrap();
        prop_assert_eq!(SocketAddr::new(mapped.ip, mapped.port), address);
    }

    #[test]
    fn arbitrary_bodies_never_panic(
        kind in any::<u16>(),
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = REQUEST[..20].to_vec();
        bytes[..2].copy_from_slice(&kind.to_be_bytes());
        bytes[2..4].copy_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&body);
        let _ = Message::parse(&bytes);
        let _ = Message::parse(&body);
    }

    #[test]
    fn mutated_attributes_never_panic(
        changes in prop::collection::vec((20usize..100, any::<u8>()), 1..6),
    ) {
        let mut bytes = REQUEST[..100].to_vec(); // without the fingerprint
        bytes[3] = 80;
        for (at, value) in changes {
            bytes[at] = value;
        }
        let _ = Message::parse(&bytes);
    }
}
