//! Signatures of Standard Webhooks: `v1` is HMAC-SHA256 with a shared secret, `v1a` is Ed25519.
//!
//! Signed is `webhook-id.webhook-timestamp.body`. Several signatures stand in one header, separated
//! by a space; a receiver takes the first that it can verify. The public libraries know `v1` and skip
//! the rest.

use aws_lc_rs::{
    error::KeyRejected,
    hmac,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sdk_spec::rest::webhooks::Scheme;

use super::Target;
use crate::secret;

/// Bytes of the HMAC secret (24 to 64 by the specification) and of the Ed25519 seed.
const BYTES: usize = 32;

/// Secret and key of an endpoint. No `Debug`: both are secret.
#[derive(Clone)]
pub(crate) struct Secrets {
    hmac: [u8; BYTES],
    seed: [u8; BYTES],
}

impl Secrets {
    /// New ones.
    pub(crate) fn random() -> Self {
        Self { hmac: secret::random(), seed: secret::random() }
    }

    /// For the store, which seals them.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.hmac, self.seed].concat()
    }

    /// What [`Secrets::to_bytes`] gave.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (hmac, seed) = bytes.split_at_checked(BYTES)?;
        Some(Self { hmac: hmac.try_into().ok()?, seed: seed.try_into().ok()? })
    }

    /// `whsec_…`, for the partner's eyes.
    pub(crate) fn secret_text(&self) -> String {
        format!("whsec_{}", BASE64.encode(self.hmac))
    }

    /// `whpk_…`, for everybody's.
    pub(crate) fn public_text(&self) -> String {
        let pair = self.pair().map(|pair| BASE64.encode(pair.public_key().as_ref()));
        format!("whpk_{}", pair.unwrap_or_default())
    }

    /// Every 32 bytes are a seed (RFC 8032 section 5.1.5).
    fn pair(&self) -> Result<Ed25519KeyPair, KeyRejected> {
        Ed25519KeyPair::from_seed_unchecked(&self.seed)
    }

    fn sign(&self, scheme: Scheme, content: &[u8]) -> Option<String> {
        match scheme {
            Scheme::V1 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.hmac);
                Some(format!("v1,{}", BASE64.encode(hmac::sign(&key, content))))
            }
            Scheme::V1a => {
                let signature = self.pair().ok()?.sign(content);
                Some(format!("v1a,{}", BASE64.encode(signature)))
            }
        }
    }
}

/// The `webhook-signature` of a body, with the secrets before the last rotation while they overlap.
pub(super) fn signatures(target: &Target, id: &str, now_ms: u64, body: &[u8]) -> String {
    let content = [format!("{id}.{}.", now_ms / 1000).as_bytes(), body].concat();
    let previous = target.previous.iter().filter(|(_, until_ms)| now_ms < *until_ms);
    let all = std::iter::once(&target.secrets).chain(previous.map(|(secrets, _)| secrets));
    // The order of the schemes is fixed, whatever the partner wrote: v1a first.
    let schemes = [Scheme::V1a, Scheme::V1].into_iter().filter(|s| target.schemes.contains(s));
    let schemes: Vec<_> = schemes.collect();
    let each = all.flat_map(|secrets| schemes.iter().map(move |scheme| (secrets, *scheme)));
    let texts: Vec<_> = each.filter_map(|(secrets, s)| secrets.sign(s, &content)).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    fn target(hmac: [u8; BYTES], schemes: &[Scheme]) -> Target {
        Target {
            url: String::new(),
            schemes: schemes.to_vec(),
            secrets: Secrets { hmac, seed: [3; BYTES] },
            previous: None,
        }
    }

    #[test]
    fn v1_is_the_hmac_of_id_time_and_body() {
        // Python: hmac.new(bytes(range(32)), b'ev_1.1700000000.{"a":1}', 'sha256')
        let target = target(std::array::from_fn(|i| i as u8), &[Scheme::V1]);
        let header = signatures(&target, "ev_1", 1_700_000_000_999, br#"{"a":1}"#);
        assert_eq!(header, "v1,8QnmsAmFaWhfiWJuT1SYNqsgqKNZH0h3urtcocxiuJo=");
    }

    #[test]
    fn v1a_verifies_with_the_public_key_and_only_for_what_was_signed() {
        let target = target([1; BYTES], &[Scheme::V1a]);
        let header = signatures(&target, "ev_1", 5_000, b"body");
        let signature = BASE64.decode(header.strip_prefix("v1a,").unwrap()).unwrap();
        let public = target.secrets.public_text();
        let public = BASE64.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
        let key = UnparsedPublicKey::new(&ED25519, public);
        assert!(key.verify(b"ev_1.5.body", &signature).is_ok());
        assert!(key.verify(b"ev_1.6.body", &signature).is_err());
    }

    #[test]
    fn old_secrets_sign_beside_the_new_ones_until_the_overlap_ends() {
        let mut target = target([1; BYTES], &[Scheme::V1, Scheme::V1a]);
        let kinds = |header: &str| -> Vec<String> {
            header.split(' ').map(|s| s.split(',').next().unwrap().to_owned()).collect()
        };
        target.previous = Some((Secrets { hmac: [2; BYTES], seed: [4; BYTES] }, 10_000));
        let both = signatures(&target, "ev_1", 9_999, b"");
        assert_eq!(kinds(&both), ["v1a", "v1", "v1a", "v1"]);
        let new = signatures(&target, "ev_1", 10_000, b"");
        assert_eq!(kinds(&new), ["v1a", "v1"]);
        assert_ne!(both.split(' ').nth(1), both.split(' ').nth(3));
    }

    #[test]
    fn secrets_round_trip() {
        let secrets = Secrets::random();
        let back = Secrets::from_bytes(&secrets.to_bytes()).unwrap();
        assert_eq!(back.public_text(), secrets.public_text());
        assert_eq!(back.secret_text(), secrets.secret_text());
        assert!(Secrets::from_bytes(&[0; 63]).is_none());
    }
}
