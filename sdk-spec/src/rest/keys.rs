//! API keys, token keys, bans and revocations of a project.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Timestamp, collect, is_opaque_name, operator::Quotas, range};
use crate::{handle::Handle, limits, problem::FieldError, scope::Scope};

/// Request to create an API key.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "backend-1",
    "scopes": ["rooms:write", "tokens:mint"],
    "expires_at": "2036-11-21T20:00:00.000Z"
}))]
pub struct CreateKey {
    /// What the partner calls it: a machine, no person.
    pub name: Handle,
    /// What it may do; only what the creating key may do itself.
    #[schema(min_items = 1, max_items = 32)]
    pub scopes: Vec<Scope>,
    /// From when on it is refused; never without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl CreateKey {
    /// Checks what a schema cannot say.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self, now_ms: u64) -> Result<(), Vec<FieldError>> {
        let few = self.scopes.is_empty();
        let many = self.scopes.len() > 32;
        let wrong = (few || many).then(|| FieldError::new("scopes", "must be 1 to 32 scopes"));
        collect([wrong, in_future("expires_at", self.expires_at, now_ms)])
    }
}

/// An API key; never its secret.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "ck_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "name": "backend-1",
    "scopes": ["rooms:write", "tokens:mint"],
    "created_at": "2026-11-21T20:00:00.000Z"
}))]
pub struct Key {
    /// `ck_…`: the public part.
    pub id: String,
    /// What the partner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was created.
    pub created_at: Timestamp,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it got its present secret, if that is not its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<Timestamp>,
    /// Until when the secret before is good too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_secret_until: Option<Timestamp>,
}

/// An API key and its secret, which is shown this one time.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "key": {
        "id": "ck_01hzx3m8q7v5k2c9d4e6f8g0hj",
        "name": "backend-1",
        "scopes": ["rooms:write", "tokens:mint"],
        "created_at": "2026-11-21T20:00:00.000Z"
    },
    "secret": "ck_01hzx3m8q7v5k2c9d4e6f8g0hj_…"
}))]
pub struct CreatedKey {
    /// The key.
    pub key: Key,
    /// What to send as `Authorization: Bearer`. Kept as a keyed hash only: it cannot be shown again.
    pub secret: String,
}

/// A page of API keys, newest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// The keys that are not revoked.
    pub keys: Vec<Key>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Request to give an API key a new secret.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "overlap_seconds": 3600 }))]
pub struct RotateKey {
    /// Seconds for which the present secret stays good too. One that was still good from a rotation
    /// before is refused at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 604800, default = 3600)]
    pub overlap_seconds: Option<u32>,
}

impl RotateKey {
    /// The overlap, with the default.
    pub fn overlap_seconds(&self) -> u32 {
        self.overlap_seconds.unwrap_or(limits::KEY_OVERLAP_SECONDS_DEFAULT)
    }

    /// Checks the range.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let (seconds, most) = (self.overlap_seconds(), limits::KEY_OVERLAP_SECONDS_MAX);
        collect([range("overlap_seconds", seconds, 0, most)])
    }
}

/// How a token key signs. It is fixed for the key: a token that says something else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum TokenAlgorithm {
    /// Ed25519 (RFC 8037). The partner keeps the private key; we could sign nothing with what we
    /// have.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC with SHA-256. We have the secret too, sealed.
    #[serde(rename = "HS256")]
    Hs256,
}

impl TokenAlgorithm {
    /// As in a token's header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

/// Whose signing key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKeyOrigin {
    /// Ours: signs the tokens that are minted by REST.
    Platform,
    /// The partner's own.
    Partner,
}

/// An Ed25519 public key as a JWK (RFC 8037 section 2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwk {
    /// `OKP`.
    pub kty: String,
    /// `Ed25519`.
    pub crv: String,
    /// The public key: 32 bytes in base64url without padding. There is no place for a private one.
    #[schema(min_length = 43, max_length = 43)]
    pub x: String,
}

/// Request to register a token key.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "algorithm": "EdDSA",
    "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }
}))]
pub struct CreateTokenKey {
    /// How it signs.
    pub algorithm: TokenAlgorithm,
    /// The public key of an `EdDSA` key; or `pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwk: Option<Jwk>,
    /// The public key of an `EdDSA` key in PEM (`openssl pkey -pubout`); or `jwk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub pem: Option<String>,
    /// What the partner calls it: a machine, no person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Handle>,
    /// From when on its tokens are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

impl CreateTokenKey {
    /// Checks what fits together; whether the public key is one is the server's to see.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self, now_ms: u64) -> Result<(), Vec<FieldError>> {
        let given = usize::from(self.jwk.is_some()) + usize::from(self.pem.is_some());
        let wrong = match self.algorithm {
            TokenAlgorithm::EdDsa if given != 1 => Some("is needed, or `pem`; not both"),
            TokenAlgorithm::Hs256 if given != 0 => Some("is for `EdDSA`; we make the secret"),
            _ => None,
        };
        let wrong = wrong.map(|reason| FieldError::new("jwk", reason));
        collect([wrong, in_future("not_after", self.not_after, now_ms)])
    }
}

/// A key that signs room tokens; never its secret.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "tk_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "algorithm": "EdDSA",
    "origin": "partner",
    "created_at": "2026-11-21T20:00:00.000Z",
    "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }
}))]
pub struct TokenKey {
    /// What tokens name as `kid`.
    pub id: String,
    /// How it signs.
    pub algorithm: TokenAlgorithm,
    /// Whose it is.
    pub origin: TokenKeyOrigin,
    /// What the partner calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// From when on its tokens are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// The public key of an `EdDSA` key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwk: Option<Jwk>,
}

/// A token key, and the secret that was made for it, which is shown this one time.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "key": {
        "id": "tk_01hzx3m8q7v5k2c9d4e6f8g0hj",
        "algorithm": "HS256",
        "origin": "partner",
        "created_at": "2026-11-21T20:00:00.000Z"
    },
    "secret": "…43 characters of base64url: decode them, the HMAC key is the 32 bytes"
}))]
pub struct CreatedTokenKey {
    /// The key.
    pub key: TokenKey,
    /// The secret of an `HS256` key: 32 random bytes in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A page of token keys, newest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenKeyList {
    /// The keys that are not revoked.
    pub token_keys: Vec<TokenKey>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Request to ban a handle. Whoever has it is removed; one that is banned already gets the new end.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "handle": "user-5f0c2b", "seconds": 86400 }))]
pub struct CreateBan {
    /// The partner's handle.
    pub handle: Handle,
    /// From this room; from every room of the project without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// For how long; for as long as the room or the project lives without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 31536000)]
    pub seconds: Option<u32>,
}

impl CreateBan {
    /// Checks the range.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let seconds = self.seconds.unwrap_or(1);
        collect([range("seconds", seconds, 1, limits::BAN_SECONDS_MAX)])
    }
}

/// A ban.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "bn_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "handle": "user-5f0c2b",
    "created_at": "2026-11-21T20:00:00.000Z",
    "until": "2026-11-22T20:00:00.000Z"
}))]
pub struct Ban {
    /// `bn_…`.
    pub id: String,
    /// Who may not come in.
    pub handle: Handle,
    /// From this room; from every room of the project without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A page of bans, newest first.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BanList {
    /// The bans that hold.
    pub bans: Vec<Ban>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Request to revoke a room token that nobody has used yet. Who is in already is removed by a ban.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "jti": "01hzx3m8q7v5k2c9d4e6f8g0hj" }))]
pub struct RevokeToken {
    /// The token's `jti`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9_-]{1,64}$")]
    pub jti: String,
    /// The key that signed it; every token key of the project without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
}

impl RevokeToken {
    /// Checks the form.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let reason = "must be 1 to 64 of A-Z a-z 0-9 _ -";
        collect([(!is_opaque_name(&self.jti)).then(|| FieldError::new("jti", reason))])
    }
}

/// Whether a project's keys and tokens are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectState {
    /// They are.
    Active,
    /// None is.
    Suspended,
}

/// The project of the asking key.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "pj_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "state": "active",
    "created_at": "2026-11-21T20:00:00.000Z",
    "quotas": { "rooms": 10000, "participants": 10000, "requests_per_second": 200, "webhooks": 16, "keys": 50 },
    "used": { "rooms": 3, "participants": 12, "keys": 2, "token_keys": 1, "bans": 0 }
}))]
pub struct ProjectInfo {
    /// `pj_…`.
    pub id: String,
    /// Whether its keys and tokens are accepted.
    pub state: ProjectState,
    /// When it was created.
    pub created_at: Timestamp,
    /// How much it may have.
    pub quotas: Quotas,
    /// How much it has now.
    pub used: Used,
}

/// How much a project has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Used {
    /// Open rooms, breakout rooms among them.
    pub rooms: u32,
    /// Participants in rooms now.
    pub participants: u32,
    /// API keys that are not revoked.
    pub keys: u32,
    /// Token keys that are not revoked, ours included.
    pub token_keys: u32,
    /// Bans that hold.
    pub bans: u32,
}

fn in_future(field: &str, time: Option<Timestamp>, now_ms: u64) -> Option<FieldError> {
    time.is_some_and(|time| time.0 <= now_ms)
        .then(|| FieldError::new(field, "must be in the future"))
}
