//! The DTLS server against `rtc-dtls` (DTLS 1.2 only), a client nobody here wrote: RSA and ECDSA
//! certificates, as GStreamer and others present, and SHA1-80 first in the client's profile list,
//! as Chromium sends it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use rtc_crypto::{RTCCryptoProvider, providers::AwsLcRsProvider};
use rtc_dtls::{
    config::{ConfigBuilder, ExtendedMasterSecretType},
    crypto::Certificate,
    endpoint::{Endpoint, EndpointEvent},
    extension::extension_use_srtp::SrtpProtectionProfile,
};
use sfu_core::{
    path::Path,
    test_support::ice_agent::binding_request,
    transport::{
        session::{Session, SessionEvent},
        srtp::{Outbound, Profile, split_keying_material},
    },
};
use sfu_proto::{control::EndReason, sdp::Fingerprint, stun::TransactionId, unit::SeqNo};
use support::{IDENTITY, address, credentials, rtp_header};

struct Interop {
    session: Session,
    client: Endpoint,
    events: Vec<SessionEvent>,
    completed: bool,
    now: Instant,
}

impl Interop {
    /// Handshakes until both sides are quiet. `expected`: the fingerprint in the offer.
    fn run(
        algorithm: &'static rcgen::SignatureAlgorithm,
        profiles: &[SrtpProtectionProfile],
        honest: bool,
    ) -> Self {
        let now = Instant::now();
        let provider = Arc::new(AwsLcRsProvider::new());
        let certificate = Certificate::generate_self_signed_with_alg(
            ["peer".to_owned()],
            algorithm,
            provider.crypto(),
        )
        .unwrap();
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.certificate[0]);
        let mut fingerprint: [u8; 32] = digest.as_ref().try_into().unwrap();
        fingerprint[0] ^= u8::from(!honest);

        let config = ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![certificate])
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_insecure_skip_verify(true)
            .with_srtp_protection_profiles(profiles.to_vec())
            .build(true, Some(address(250)))
            .unwrap();
        let mut client = Endpoint::new(address(1), Default::default(), None);
        client.connect(now, address(250), Arc::new(config), None).unwrap();

        let (server, local) = (credentials("server"), credentials("client"));
        let mut session = Session::new(server.clone(), Arc::clone(&IDENTITY), now);
        session.set_remote(server.clone(), local.clone(), Fingerprint(fingerprint), now);
        let check = binding_request(&local, &server, TransactionId([1; 12]), 1, true);
        session.handle_stun(&check, Path::udp(address(1)), now).unwrap();
        assert!(session.poll_outgoing().is_some());

        let mut interop = Self { session, client, events: Vec::new(), completed: false, now };
        while interop.step() {}
        interop
    }

    fn step(&mut self) -> bool {
        let mut moved = false;
        while let Some(transmit) = self.client.poll_transmit() {
            moved = true;
            self.session.handle_dtls(&transmit.message, Path::udp(address(1)), self.now).unwrap();
        }
        while let Some(outgoing) = self.session.poll_outgoing() {
            moved = true;
            let bytes = BytesMut::from(&outgoing.bytes[..]);
            let events = self.client.read(self.now, address(250), None, bytes).unwrap();
            self.completed |=
                events.iter().any(|event| matches!(event, EndpointEvent::HandshakeComplete));
        }
        self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
        moved
    }

    /// Both sides derived the same keys.
    fn assert_media_opens(&mut self, profile: Profile) {
        let state = self.client.get_connection_state(address(250)).unwrap();
        let len = profile.keying_material_len();
        let keys = state.export_keying_material("EXTRACTOR-dtls_srtp", &[], len).unwrap();
        let (write, _) = split_keying_material(profile, keys.as_ref()).unwrap();
        let mut packet = [0; 64];
        packet[..12].copy_from_slice(&rtp_header(3, 1));
        let mut outbound = Outbound::new(&write).unwrap();
        let len = outbound.seal_rtp(3, SeqNo(1), 12, b"hello", &mut packet).unwrap();
        let mut out = [0; 64];
        let opened = self.session.open_rtp(&packet[..len], 12, 3, 1, &mut out);
        assert_eq!(opened, Ok((SeqNo(1), 5)));
        assert_eq!(&out[..5], b"hello");
    }
}

const ALGORITHMS: [&rcgen::SignatureAlgorithm; 2] =
    [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256];

const SHA1: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80;
const GCM_128: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm;
const GCM_256: SrtpProtectionProfile = SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm;

#[test]
fn rsa_and_ecdsa_peers_connect_with_the_cheapest_profile() {
    let cases = [
        (&[SHA1, GCM_256, GCM_128][..], Profile::AeadAes128Gcm),
        (&[SHA1, GCM_256][..], Profile::AeadAes256Gcm),
        (&[SHA1][..], Profile::AesCm128HmacSha1_80),
    ];
    for algorithm in ALGORITHMS {
        for (offered, expected) in cases {
            let mut interop = Interop::run(algorithm, offered, true);
            assert!(interop.completed);
            assert_eq!(interop.events, [SessionEvent::Connected]);
            assert_eq!(interop.session.profile(), Some(expected));
            interop.assert_media_opens(expected);
        }
    }
}

#[test]
fn an_rsa_peer_with_another_certificate_is_refused() {
    let interop = Interop::run(&rcgen::PKCS_RSA_SHA256, &[GCM_128], false);
    assert_eq!(interop.events, [SessionEvent::Ended(EndReason::HandshakeFailed)]);
    assert_eq!(interop.session.profile(), None);
}

/// Media without SRTP does not exist here (RFC 8827 section 6.5).
#[test]
fn a_peer_without_srtp_is_refused() {
    let interop = Interop::run(&rcgen::PKCS_ECDSA_P256_SHA256, &[], true);
    assert_eq!(interop.events, [SessionEvent::Ended(EndReason::HandshakeFailed)]);
}
