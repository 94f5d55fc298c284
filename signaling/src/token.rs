//! Room tokens: minted with the project's key, verified strictly, used once.
//!
//! What a token may be is in [`sdk_spec::token`]. Everything about verification is decided by the
//! key's record, nothing by the token: the algorithm is the record's, the issuer is the record's
//! project. Header and claims are typed and refuse unknown and repeated members, so `crit`, `jwk`,
//! `x5c`, `b64` and personal claims never get anywhere.

use std::sync::Once;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto};
use sdk_spec::{
    limits::{CLOCK_SKEW_SECONDS_MAX, TOKEN_BYTES_MAX, TOKEN_SECONDS_MAX},
    object,
    rest::{is_opaque_name, keys::TokenAlgorithm},
    token::{AUDIENCE, Claims, TYPE},
};
use serde::Deserialize;
use sfu_proto::id::RoomId;

use crate::{
    clock,
    domain::Admission,
    store::{Admitted, SigningKey, Store, StoreError, Use, Verifier, VerifyingKey},
};

pub(crate) mod key;

/// Why a token is not accepted. All of the token's reasons get the same answer; metrics tell them
/// apart.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Peer: not a token of ours.
    #[error("token refused: {0}")]
    Refused(&'static str),
    /// Peer: the token is right, its bearer is banned.
    #[error("the handle is banned")]
    Banned,
    /// Environment.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TokenError {
    /// Whether somebody tried a token that nobody was given. One that expired, was used or is for a
    /// room that ended is not.
    pub(crate) fn is_guess(&self) -> bool {
        let forged = ["malformed", "header", "unknown_key", "algorithm", "signature"];
        matches!(self, Self::Refused(reason) if forged.contains(reason))
    }

    /// Why, for the metrics: by this a partner's developer and an operator tell refusals apart.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Refused(reason) => reason,
            Self::Banned => "banned",
            Self::Store(_) => "store",
        }
    }
}

/// What tells tokens apart: signing key and `jti`. No `Debug`: it is about somebody.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenId {
    key: String,
    jti: String,
}

/// Why a token could not be minted. Ours: the key in the store is unusable.
#[derive(Debug, thiserror::Error)]
#[error("the signing key is unusable")]
pub(crate) struct MintError;

/// A token whose signature, claims and time are right. Not used up yet.
pub(crate) struct Verified {
    pub(crate) room: RoomId,
    pub(crate) admission: Admission,
    id: TokenId,
    pub(crate) project: String,
    forget_at_ms: u64,
    now_ms: u64,
}

/// A token that was used up: who may be let in where.
pub(crate) struct Redeemed {
    pub(crate) room: RoomId,
    pub(crate) admission: Admission,
    /// How many participants its project may have.
    pub(crate) participants_max: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    typ: String,
    alg: String,
    kid: String,
}

/// Chooses the cryptography of `jsonwebtoken` explicitly: another crate of the build may enable a
/// second backend, and the library then panics instead of choosing.
fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only if somebody chose before, which is as good.
        let _ = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    });
}

/// Signs claims.
pub(crate) fn mint(key: &SigningKey, claims: &Claims) -> Result<String, MintError> {
    install_crypto();
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(key.id.clone());
    let secret = EncodingKey::from_ed_der(&key.private_key);
    jsonwebtoken::encode(&header, claims, &secret).map_err(|_| MintError)
}

/// Checks everything but use.
pub(crate) async fn verify(store: &Store, text: &str, now_ms: u64) -> Result<Verified, TokenError> {
    let parts = split::<StrictHeader>(text);
    let (header, signed, signature) = parts.ok_or(TokenError::Refused("malformed"))?;
    if header.typ != TYPE || !is_opaque_name(&header.kid) {
        return Err(TokenError::Refused("header"));
    }
    let key = store.verifying_key(&header.kid).await?.ok_or(TokenError::Refused("unknown_key"))?;
    if header.alg != key.verifier.algorithm().as_str() {
        return Err(TokenError::Refused("algorithm"));
    }
    if !key.verifier.holds(signed, signature) {
        return Err(TokenError::Refused("signature"));
    }
    // Only who has a signature of the key may learn what became of it.
    if key.revoked {
        return Err(TokenError::Refused("revoked_key"));
    }
    if key.not_after_ms.is_some_and(|end| end <= now_ms) {
        return Err(TokenError::Refused("expired_key"));
    }
    let claims = signed.split_once('.').map(|(_, claims)| claims).and_then(decode::<Claims>);
    let claims = claims.ok_or(TokenError::Refused("claims"))?;
    check(claims, key, now_ms)
}

impl Verified {
    pub(crate) fn id(&self) -> TokenId {
        self.id.clone()
    }

    /// Uses the token up, durably. Only then its bearer may be let in.
    pub(crate) async fn redeem(self, store: &Store) -> Result<Redeemed, TokenError> {
        let refused = |reason| Err(TokenError::Refused(reason));
        match store.use_token(&self.use_up()).await? {
            Admitted::Yes { participants_max } => {
                Ok(Redeemed { room: self.room, admission: self.admission, participants_max })
            }
            Admitted::Replayed => refused("replayed"),
            Admitted::Revoked => refused("revoked"),
            Admitted::KeyRevoked => refused("revoked_key"),
            Admitted::NoRoom => refused("room"),
            Admitted::Suspended => refused("suspended"),
            Admitted::Banned => Err(TokenError::Banned),
        }
    }

    fn use_up(&self) -> Use<'_> {
        Use {
            signing_key: &self.id.key,
            jti: &self.id.jti,
            expires_at_ms: self.forget_at_ms,
            project: &self.project,
            room: self.room,
            handle: &self.admission.handle,
            // A body may have been read since the token was verified.
            now_ms: self.now_ms.max(clock::now_ms()),
        }
    }
}

/// Header, the signed text, and the signature's text.
fn split<H: for<'de> Deserialize<'de>>(text: &str) -> Option<(H, &str, &str)> {
    if text.len() > TOKEN_BYTES_MAX || text.bytes().filter(|b| *b == b'.').count() != 2 {
        return None;
    }
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, _) = signed.split_once('.')?;
    Some((decode(header)?, signed, signature))
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    object::from_slice(&BASE64.decode(part).ok()?).ok()
}

impl Verifier {
    /// The only algorithm that it is for.
    pub(crate) fn algorithm(&self) -> TokenAlgorithm {
        match self {
            Self::Ed25519(_) => TokenAlgorithm::EdDsa,
            Self::HmacSha256(_) => TokenAlgorithm::Hs256,
        }
    }

    /// Whether `signature` in base64url is one of `signed`.
    fn holds(&self, signed: &str, signature: &str) -> bool {
        install_crypto();
        let (key, algorithm) = match self {
            Self::Ed25519(public) => (DecodingKey::from_ed_der(public), Algorithm::EdDSA),
            Self::HmacSha256(secret) => (DecodingKey::from_secret(secret), Algorithm::HS256),
        };
        crypto::verify(signature, signed.as_bytes(), &key, algorithm).unwrap_or(false)
    }
}

fn check(claims: Claims, key: VerifyingKey, now_ms: u64) -> Result<Verified, TokenError> {
    let now = now_ms / 1000;
    let refused = |reason| Err(TokenError::Refused(reason));
    let skew = u64::from(CLOCK_SKEW_SECONDS_MAX);
    if claims.aud != AUDIENCE || claims.iss != key.project || !is_opaque_name(&claims.jti) {
        return refused("claims");
    }
    let life = claims.exp.checked_sub(claims.iat);
    if !life.is_some_and(|s| s > 0 && s <= u64::from(TOKEN_SECONDS_MAX)) || claims.nbf >= claims.exp
    {
        return refused("lifetime");
    }
    // Everything below is bounded by `now`: no overflow.
    if claims.iat > now + skew || claims.nbf > now + skew {
        return refused("not_yet");
    }
    if claims.exp + skew <= now {
        return refused("expired");
    }
    let Ok(room) = claims.room.parse() else { return refused("claims") };
    Ok(Verified {
        room,
        admission: Admission { handle: claims.handle, role: claims.role, grants: claims.grants },
        id: TokenId { key: key.id, jti: claims.jti },
        project: key.project,
        // `life` bounds exp by iat, and iat by now: no overflow.
        forget_at_ms: (claims.exp + 2 * skew) * 1000,
        now_ms,
    })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wycheproof;
