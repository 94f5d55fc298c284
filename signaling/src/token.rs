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
    rest::is_opaque_name,
    token::{AUDIENCE, Claims, TYPE},
};
use serde::Deserialize;
use sfu_proto::id::RoomId;

use crate::{
    domain::Admission,
    store::{Admitted, SigningKey, Store, StoreError},
};

/// Name of the algorithm of our own keys (RFC 8037).
pub(crate) const EDDSA: &str = "EdDSA";

/// Why a token is not accepted. All of the token's reasons get the same answer; metrics tell them
/// apart.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// Peer: not a token of ours.
    #[error("token refused: {0}")]
    Refused(&'static str),
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
    project: String,
    forget_at_ms: u64,
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
    if key.algorithm != EDDSA {
        return Err(MintError);
    }
    let mut header = Header::new(Algorithm::EdDSA);
    header.typ = Some(TYPE.to_owned());
    header.kid = Some(key.id.clone());
    let secret = EncodingKey::from_ed_der(&key.private_key);
    jsonwebtoken::encode(&header, claims, &secret).map_err(|_| MintError)
}

/// Checks everything but use.
pub(crate) async fn verify(store: &Store, text: &str, now_ms: u64) -> Result<Verified, TokenError> {
    let (header, signed, signature) = split(text).ok_or(TokenError::Refused("malformed"))?;
    if header.typ != TYPE || !is_opaque_name(&header.kid) {
        return Err(TokenError::Refused("header"));
    }
    let key = store.signing_key(&header.kid).await?.ok_or(TokenError::Refused("unknown_key"))?;
    if header.alg != key.algorithm || key.algorithm != EDDSA {
        return Err(TokenError::Refused("algorithm"));
    }
    if !signature_holds(&key, signed, signature) {
        return Err(TokenError::Refused("signature"));
    }
    let claims = signed.split_once('.').map(|(_, claims)| claims).and_then(decode::<Claims>);
    let claims = claims.ok_or(TokenError::Refused("claims"))?;
    check(claims, key, now_ms / 1000)
}

impl Verified {
    pub(crate) fn id(&self) -> TokenId {
        self.id.clone()
    }

    /// Uses the token up, durably. Only then its bearer may be let in.
    pub(crate) async fn redeem(self, store: &Store) -> Result<(RoomId, Admission), TokenError> {
        let place = (self.project.as_str(), self.room);
        match store.use_token(&self.id.key, &self.id.jti, self.forget_at_ms, place).await? {
            Admitted::Yes => Ok((self.room, self.admission)),
            Admitted::Replayed => Err(TokenError::Refused("replayed")),
            Admitted::NoRoom => Err(TokenError::Refused("room")),
        }
    }
}

/// Header, the signed text, and the signature's text.
fn split(text: &str) -> Option<(StrictHeader, &str, &str)> {
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

fn signature_holds(key: &SigningKey, signed: &str, signature: &str) -> bool {
    install_crypto();
    let public = DecodingKey::from_ed_der(&key.public_key);
    crypto::verify(signature, signed.as_bytes(), &public, Algorithm::EdDSA).unwrap_or(false)
}

fn check(claims: Claims, key: SigningKey, now: u64) -> Result<Verified, TokenError> {
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
    })
}

#[cfg(test)]
mod tests;
