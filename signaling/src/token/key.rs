//! Keys that sign room tokens: ours are made here, those of partners are read and checked here.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64},
};
use sdk_spec::{limits::PEM_CHARS_MAX, rest::keys::Jwk};

use crate::{secret, store::SigningKey};

/// Bytes of an Ed25519 public key.
const PUBLIC_BYTES: usize = 32;
/// What stands before the key in its SubjectPublicKeyInfo (RFC 8410 section 4).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0];

/// Encodings of points of small order, without the sign bit: under such a "key" anybody can sign
/// anything (RFC 8032 section 8.9 leaves the check to whoever needs it).
const SMALL_ORDER: [[u8; PUBLIC_BYTES]; 7] = {
    let mut points = [[0; PUBLIC_BYTES]; 7];
    points[1][0] = 1;
    points[2] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    points[3] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    let mut i = 4;
    while i < 7 {
        points[i] = [0xff; PUBLIC_BYTES];
        // p - 1, p, p + 1 for p = 2^255 - 19.
        points[i][0] = 0xe8 + i as u8;
        points[i][31] = 0x7f;
        i += 1;
    }
    points
};

/// What is wrong with a public key. Blame: whoever registers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("must be kty OKP, crv Ed25519")]
    Kind,
    #[error("must be 32 bytes in base64url without padding")]
    Bytes,
    #[error("must be one PUBLIC KEY of Ed25519 in PEM")]
    Pem,
    #[error("is no point that can be a key")]
    Point,
}

/// A fresh signing key of ours for a project. `None` when the library gives none.
pub(crate) fn generate(project: &str) -> Option<SigningKey> {
    let pair = Ed25519KeyPair::generate().ok()?;
    Some(SigningKey {
        id: secret::opaque_id("sk_"),
        project: project.to_owned(),
        private_key: pair.to_pkcs8().ok()?.as_ref().to_vec(),
        public_key: pair.public_key().as_ref().to_vec(),
    })
}

/// The raw public key of a JWK.
pub(crate) fn from_jwk(jwk: &Jwk) -> Result<Vec<u8>, KeyError> {
    if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
        return Err(KeyError::Kind);
    }
    check(BASE64.decode(&jwk.x).map_err(|_| KeyError::Bytes)?)
}

/// The JWK of a raw public key.
pub(crate) fn to_jwk(public: &[u8]) -> Jwk {
    Jwk { kty: String::from("OKP"), crv: String::from("Ed25519"), x: BASE64.encode(public) }
}

/// The raw public key of `-----BEGIN PUBLIC KEY-----`.
pub(crate) fn from_pem(text: &str) -> Result<Vec<u8>, KeyError> {
    if text.len() > PEM_CHARS_MAX {
        return Err(KeyError::Pem);
    }
    let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----").ok_or(KeyError::Pem)?;
    let body = body.strip_suffix("-----END PUBLIC KEY-----").ok_or(KeyError::Pem)?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).map_err(|_| KeyError::Pem)?;
    let public = der.strip_prefix(&SPKI_HEAD).ok_or(KeyError::Pem)?;
    check(public.to_vec())
}

fn check(public: Vec<u8>) -> Result<Vec<u8>, KeyError> {
    let bytes: [u8; PUBLIC_BYTES] = public.try_into().map_err(|_| KeyError::Bytes)?;
    let mut unsigned = bytes;
    unsigned[31] &= 0x7f;
    if SMALL_ORDER.contains(&unsigned) || ParsedPublicKey::new(&ED25519, bytes).is_err() {
        return Err(KeyError::Point);
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::store::Verifier;

    /// RFC 8037 appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn jwk(kty: &str, crv: &str, x: &str) -> Jwk {
        Jwk { kty: kty.to_owned(), crv: crv.to_owned(), x: x.to_owned() }
    }

    #[test]
    fn a_public_key_is_read_from_jwk_and_pem_alike() {
        let raw = from_jwk(&jwk("OKP", "Ed25519", X)).unwrap();
        assert_eq!(to_jwk(&raw).x, X);
        let der = STANDARD.encode([&SPKI_HEAD[..], &raw].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        assert_eq!(from_pem(&pem).unwrap(), raw);
        assert_eq!(from_pem(&pem.replace("PUBLIC", "PRIVATE")), Err(KeyError::Pem));
        assert_eq!(from_pem(&pem.replace("MCow", "MCox")), Err(KeyError::Pem));
        assert_eq!(from_pem(&"A".repeat(5000)), Err(KeyError::Pem));
        assert_eq!(from_jwk(&jwk("EC", "Ed25519", X)), Err(KeyError::Kind));
        assert_eq!(from_jwk(&jwk("OKP", "X25519", X)), Err(KeyError::Kind));
        assert_eq!(from_jwk(&jwk("OKP", "Ed25519", &X[1..])), Err(KeyError::Bytes));
        assert_eq!(from_jwk(&jwk("OKP", "Ed25519", &format!("{X}="))), Err(KeyError::Bytes));
    }

    #[test]
    fn keys_under_which_anybody_can_sign_are_refused() {
        for point in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut bytes = point;
                bytes[31] |= sign;
                let x = BASE64.encode(bytes);
                assert_eq!(from_jwk(&jwk("OKP", "Ed25519", &x)), Err(KeyError::Point), "{x}");
            }
        }
        // Why: R and A the neutral point, S zero, is a signature of everything.
        let neutral = SMALL_ORDER[1];
        let signature = BASE64.encode([&neutral[..], &[0; 32]].concat());
        let verifier = Verifier::Ed25519(neutral.to_vec());
        assert!(verifier.holds("anything", &signature), "the library does not refuse it");
    }
}
