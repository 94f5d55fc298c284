//! TLS 1.3 between two raw public keys (RFC 7250) that are known by their fingerprints. No certificates: there
//! is no name to vouch for, no authority to trust and no date to forget.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::Ed25519KeyPair,
};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SigningKey},
    version::TLS13,
};
use zeroize::Zeroizing;

use super::Trust;

/// SHA-256 of a public key (its SubjectPublicKeyInfo), shown as 64 hexadecimal digits. Not a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// A text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint has 64 hexadecimal digits")]
pub struct FingerprintError;

impl Fingerprint {
    fn of(public_key: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, public_key).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: Option<Vec<u8>> =
            text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        let digits = digits.filter(|digits| digits.len() == 64).ok_or(FingerprintError)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Ok(Self(bytes))
    }
}

/// The key of one side. No `Debug`.
pub struct Identity {
    key: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
}

/// Bytes are no Ed25519 key, or none can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 private key in PKCS#8")]
pub struct IdentityError;

impl Identity {
    /// A new key as PKCS#8, to be kept.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, IdentityError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| IdentityError)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| IdentityError)?;
        Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }

    /// A key that was kept.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, IdentityError> {
        let der = PrivatePkcs8KeyDer::from(bytes.to_vec());
        let key = provider::sign::any_eddsa_type(&der).map_err(|_| IdentityError)?;
        let public = SigningKey::public_key(&*key).ok_or(IdentityError)?.to_vec();
        let fingerprint = Fingerprint::of(&public);
        let key = Arc::new(CertifiedKey::new(vec![CertificateDer::from(public)], key));
        Ok(Self { key, fingerprint })
    }

    /// What the other side is told to trust.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl Trust {
    fn pins(&self) -> Arc<Pins> {
        let provider = Arc::new(provider::default_provider());
        Arc::new(Pins { peers: self.peers.iter().copied().collect(), provider })
    }

    /// The media process's side.
    pub(super) fn client(&self) -> Result<ClientConfig, Error> {
        let pins = self.pins();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&pins.provider));
        let own = AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.identity.key));
        let mut config = builder
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(pins)
            .with_client_cert_resolver(Arc::new(own));
        config.enable_sni = false;
        Ok(config)
    }

    /// The recorder's side.
    pub(super) fn server(&self) -> Result<ServerConfig, Error> {
        let pins = self.pins();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&pins.provider));
        let own = AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&self.identity.key));
        let mut config = builder
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(pins)
            .with_cert_resolver(Arc::new(own));
        config.send_tls13_tickets = 0; // Nobody resumes: each connection proves both keys.
        Ok(config)
    }
}

/// Who sent this key.
pub(super) fn fingerprint_of(chain: Option<&[CertificateDer<'_>]>) -> Option<Fingerprint> {
    chain?.first().map(|key| Fingerprint::of(key))
}

/// Believes these keys and nobody else.
#[derive(Debug)]
struct Pins {
    peers: BTreeSet<Fingerprint>,
    provider: Arc<CryptoProvider>,
}

impl Pins {
    fn check(&self, key: &CertificateDer<'_>) -> Result<(), Error> {
        let refused = CertificateError::ApplicationVerificationFailure;
        let is_known = self.peers.contains(&Fingerprint::of(key));
        if is_known { Ok(()) } else { Err(Error::InvalidCertificate(refused)) }
    }
}

/// What rustls asks of either side's verifier in the same words, in two traits.
macro_rules! raw_keys_over_tls13 {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            key: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let key = SubjectPublicKeyInfoDer::from(key.as_ref());
            let algorithms = &self.provider.signature_verification_algorithms;
            verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }

        fn requires_raw_public_keys(&self) -> bool {
            true
        }
    };
}

impl ServerCertVerifier for Pins {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(key).map(|()| ServerCertVerified::assertion())
    }

    raw_keys_over_tls13!();
}

impl ClientCertVerifier for Pins {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(key).map(|()| ClientCertVerified::assertion())
    }

    raw_keys_over_tls13!();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_that_was_kept_has_the_same_fingerprint_and_each_has_its_own() {
        let kept = Identity::generate().unwrap();
        let first = Identity::from_pkcs8(&kept).unwrap().fingerprint();
        assert_eq!(Identity::from_pkcs8(&kept).unwrap().fingerprint(), first);
        let other = Identity::generate().unwrap();
        assert_ne!(Identity::from_pkcs8(&other).unwrap().fingerprint(), first);
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!(first.to_string().to_uppercase().parse(), Ok(first));
        assert!(Identity::from_pkcs8(&kept[1..]).is_err());
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let good = "ab".repeat(32);
        for bad in ["", &good[1..], &good.replace('b', "g"), &format!("{good}0"), "ß"] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(FingerprintError), "{bad}");
        }
        assert!(good.parse::<Fingerprint>().is_ok());
    }
}
