//! Public keys that evidence is verified with: a JSON Web Key Set with history, or PEM.

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};

use crate::{digest::Digest, limits::PUBLISHED_KEYS_MAX};

/// Head of the DER form of an Ed25519 public key, before its 32 bytes (RFC 8410 section 4).
const SPKI_HEAD: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What was captured, by the node that captured it.
    Capture,
    /// Manifests and deletion receipts.
    Export,
}

/// Name of a key: its JWK thumbprint (RFC 7638 with SHA-256).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// The name of a raw public key.
    pub(crate) fn of(public: &[u8; 32]) -> Self {
        let x = BASE64_URL_SAFE_NO_PAD.encode(public);
        // RFC 7638 section 3.2 and RFC 8037 section 2: these members, in this order.
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self(BASE64_URL_SAFE_NO_PAD.encode(Digest::of(members.as_bytes()).0))
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It may come from a file that nobody vouches for.
        self.0.escape_debug().try_for_each(|c| std::fmt::Write::write_char(f, c))
    }
}

/// A public key and since when it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// Its thumbprint.
    pub id: KeyId,
    /// What it signs; `None` when whoever gave the key did not say.
    pub role: Option<Role>,
    /// In use from then on, ms since 1970.
    pub from_ms: u64,
    /// Not in use from then on, ms since 1970.
    pub until_ms: Option<u64>,
    public: [u8; 32],
}

impl PublishedKey {
    pub(crate) fn new(public: [u8; 32], role: Option<Role>, from_ms: u64) -> Self {
        Self { id: KeyId::of(&public), role, from_ms, until_ms: None, public }
    }

    /// The key for `openssl pkeyutl -pubin -inkey`.
    pub fn to_pem(&self) -> String {
        let der = [&SPKI_HEAD[..], &self.public].concat();
        format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", BASE64_STANDARD.encode(der))
    }

    /// It was in use at `at_ms`.
    pub fn is_in_use(&self, at_ms: u64) -> bool {
        self.from_ms <= at_ms && self.until_ms.is_none_or(|until| at_ms <= until)
    }

    fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let key = ParsedPublicKey::new(&ED25519, self.public);
        key.is_ok_and(|key| key.verify_sig(bytes, signature).is_ok())
    }

    /// As it is published.
    pub fn to_jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            alg: "EdDSA".to_owned(),
            x: BASE64_URL_SAFE_NO_PAD.encode(self.public),
            kid: self.id.clone(),
            role: self.role,
            from_ms: self.from_ms,
            until_ms: self.until_ms,
            pem: self.to_pem(),
        }
    }
}

/// One key of a [`Jwks`] (RFC 7517, RFC 8037).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// `EdDSA`.
    #[serde(default)]
    pub alg: String,
    /// The key, base64url.
    pub x: String,
    /// Its thumbprint (RFC 7638).
    pub kid: KeyId,
    /// What it signs.
    #[serde(default)]
    pub role: Option<Role>,
    /// In use from then on, ms since 1970.
    #[serde(default)]
    pub from_ms: u64,
    /// Not in use from then on, ms since 1970.
    #[serde(default)]
    pub until_ms: Option<u64>,
    /// The same key for `openssl`.
    #[serde(default)]
    pub pem: String,
}

/// Published keys of recorders, with those that are no longer in use: `keys.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys, oldest first.
    pub keys: Vec<Jwk>,
}

/// Why a text is no set of keys. Blames whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Neither JSON nor PEM of the kind.
    #[error("neither a JSON Web Key Set nor public keys in PEM")]
    Malformed,
    /// No key.
    #[error("holds no key")]
    Nothing,
    /// More than [`PUBLISHED_KEYS_MAX`].
    #[error("holds more than {PUBLISHED_KEYS_MAX} keys")]
    TooMany,
    /// Something else than an Ed25519 public key. Keys are counted from 1.
    #[error("key {0} is no Ed25519 public key")]
    Key(usize),
    /// A private key in place of the public one.
    #[error("holds a private key: verification needs the public one only")]
    Private,
}

/// Keys that a verifier trusts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet(Vec<PublishedKey>);

impl KeySet {
    /// Reads `keys.json`, or one or more public keys in PEM (of which it is not said what they sign).
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        if text.contains("PRIVATE KEY-----") {
            return Err(KeySetError::Private);
        }
        if text.trim_start().starts_with('{') {
            let set: Jwks = serde_json::from_str(text).map_err(|_| KeySetError::Malformed)?;
            return Self::try_from(&set);
        }
        let blocks: Vec<&str> = text.split(PEM_BEGIN).collect();
        if blocks.len() < 2 {
            return Err(KeySetError::Malformed);
        }
        let keys = blocks[1..].iter().enumerate().map(|(i, block)| from_pem(block, i + 1));
        Self::checked(keys.collect::<Result<_, _>>()?)
    }

    /// Keys as the API names them: SubjectPublicKeyInfo (RFC 8410) in base64, what each signs if that is said, and
    /// since when, ms since 1970.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn of_spki<'a>(
        keys: impl IntoIterator<Item = (&'a str, Option<Role>, u64)>,
    ) -> Result<Self, KeySetError> {
        let keys = keys.into_iter().take(PUBLISHED_KEYS_MAX + 1).enumerate();
        let keys = keys.map(|(i, (spki, role, from_ms))| {
            Ok(PublishedKey::new(from_spki(spki, i + 1)?, role, from_ms))
        });
        Self::checked(keys.collect::<Result<_, _>>()?)
    }

    pub(crate) fn checked(keys: Vec<PublishedKey>) -> Result<Self, KeySetError> {
        match keys.len() {
            0 => Err(KeySetError::Nothing),
            n if n > PUBLISHED_KEYS_MAX => Err(KeySetError::TooMany),
            _ => Ok(Self(keys)),
        }
    }

    /// The keys, in the order they were given.
    pub fn keys(&self) -> &[PublishedKey] {
        &self.0
    }

    /// Adds the keys of another set, as of several nodes.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// As it is published.
    pub fn to_jwks(&self) -> Jwks {
        Jwks { keys: self.0.iter().map(PublishedKey::to_jwk).collect() }
    }

    /// The key of this role that made the signature.
    pub(crate) fn signer(
        &self,
        role: Role,
        bytes: &[u8],
        signature: &[u8],
    ) -> Option<&PublishedKey> {
        let fits = |key: &&PublishedKey| key.role.is_none_or(|other| other == role);
        self.0.iter().filter(fits).find(|key| key.verifies(bytes, signature))
    }
}

impl TryFrom<&Jwks> for KeySet {
    type Error = KeySetError;

    fn try_from(set: &Jwks) -> Result<Self, KeySetError> {
        if set.keys.len() > PUBLISHED_KEYS_MAX {
            return Err(KeySetError::TooMany);
        }
        let keys = set.keys.iter().enumerate().map(|(i, jwk)| from_jwk(jwk, i + 1));
        Self::checked(keys.collect::<Result<_, _>>()?)
    }
}

fn from_jwk(jwk: &Jwk, at: usize) -> Result<PublishedKey, KeySetError> {
    if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
        return Err(KeySetError::Key(at));
    }
    let public = BASE64_URL_SAFE_NO_PAD.decode(&jwk.x).map_err(|_| KeySetError::Key(at))?;
    let mut key = PublishedKey::new(check(&public, at)?, jwk.role, jwk.from_ms);
    key.until_ms = jwk.until_ms;
    if key.id == jwk.kid { Ok(key) } else { Err(KeySetError::Key(at)) }
}

/// What follows the first line of a PEM block.
fn from_pem(block: &str, at: usize) -> Result<PublishedKey, KeySetError> {
    let (body, _) = block.split_once(PEM_END).ok_or(KeySetError::Key(at))?;
    let body: String = body.split_ascii_whitespace().collect();
    Ok(PublishedKey::new(from_spki(&body, at)?, None, 0))
}

fn from_spki(base64: &str, at: usize) -> Result<[u8; 32], KeySetError> {
    let der = BASE64_STANDARD.decode(base64).map_err(|_| KeySetError::Key(at))?;
    check(der.strip_prefix(&SPKI_HEAD).ok_or(KeySetError::Key(at))?, at)
}

fn check(public: &[u8], at: usize) -> Result<[u8; 32], KeySetError> {
    let public: [u8; 32] = public.try_into().map_err(|_| KeySetError::Key(at))?;
    match ParsedPublicKey::new(&ED25519, public) {
        Ok(_) => Ok(public),
        Err(_) => Err(KeySetError::Key(at)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn pair() -> (Ed25519KeyPair, [u8; 32]) {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        (pair, public)
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        // RFC 8037 appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let public = BASE64_URL_SAFE_NO_PAD.decode(x).unwrap().try_into().unwrap();
        assert_eq!(KeyId::of(&public).0, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn sets_round_trip_as_json_and_as_pem() {
        let mut old = PublishedKey::new(pair().1, Some(Role::Capture), 5);
        old.until_ms = Some(9);
        let set = KeySet(vec![old, PublishedKey::new(pair().1, Some(Role::Export), 9)]);
        let json = serde_json::to_string_pretty(&set.to_jwks()).unwrap();
        assert_eq!(KeySet::parse(&json).unwrap(), set);
        let pem: String = set.keys().iter().map(PublishedKey::to_pem).collect();
        let ids = |set: &KeySet| set.keys().iter().map(|key| key.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&KeySet::parse(&pem).unwrap()), ids(&set));
    }

    #[test]
    fn only_a_key_of_the_role_verifies() {
        let (pair, public) = pair();
        let signature = pair.sign(b"text");
        let set = |role| KeySet(vec![PublishedKey::new(public, role, 0)]);
        let found = |role, bytes: &[u8]| {
            set(role).signer(Role::Export, bytes, signature.as_ref()).is_some()
        };
        assert!(found(Some(Role::Export), b"text") && found(None, b"text"));
        assert!(!found(Some(Role::Capture), b"text") && !found(None, b"texu"));
    }

    #[test]
    fn a_key_is_in_use_from_and_until() {
        let mut key = PublishedKey::new(pair().1, None, 5);
        assert!(!key.is_in_use(4) && key.is_in_use(5) && key.is_in_use(u64::MAX));
        key.until_ms = Some(8);
        assert!(key.is_in_use(8) && !key.is_in_use(9));
    }

    #[test]
    fn what_is_no_set_of_keys_is_refused() {
        let pem = PublishedKey::new(pair().1, None, 0).to_pem();
        let jwk = PublishedKey::new(pair().1, None, 0).to_jwk();
        let json = |jwk: Jwk| serde_json::to_string(&Jwks { keys: vec![jwk] }).unwrap();
        let other_name = Jwk { kid: KeyId("other".to_owned()), ..jwk.clone() };
        let cases = [
            ("", KeySetError::Malformed),
            ("{}", KeySetError::Malformed),
            ("{\"keys\":[]}", KeySetError::Nothing),
            ("-----BEGIN PRIVATE KEY-----\nMC4\n", KeySetError::Private),
            (&pem.replace(PEM_END, ""), KeySetError::Key(1)),
            (&format!("{pem}{}", pem.replace("MCow", "MCox")), KeySetError::Key(2)),
            (&json(Jwk { kty: "EC".to_owned(), ..jwk.clone() }), KeySetError::Key(1)),
            (&json(Jwk { x: jwk.x[1..].to_owned(), ..jwk.clone() }), KeySetError::Key(1)),
            (&json(other_name), KeySetError::Key(1)),
            (&pem.repeat(PUBLISHED_KEYS_MAX + 1), KeySetError::TooMany),
        ];
        for (text, wanted) in cases {
            assert_eq!(KeySet::parse(text), Err(wanted), "{text:.80}");
        }
        assert!(KeySet::parse(&json(jwk)).is_ok());
    }
}
