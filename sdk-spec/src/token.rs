//! Room tokens: JWTs (RFC 7519) that admit one bearer once to one room.
//!
//! Header: `typ` is [`TYPE`], `alg` is the algorithm fixed for the key, `kid` names the key;
//! nothing else. Claims: [`Claims`]; nothing else. Claims that OpenID Connect defines for a person
//! are refused by name ([`personal_claim`]): a token carries no personal data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    handle::Handle,
    ws::{Grants, Role},
};

/// `typ` of the header (RFC 8725 section 3.11): a room token is nothing else, and no other token
/// is a room token.
pub const TYPE: &str = "room+jwt";
/// `aud` of every room token.
pub const AUDIENCE: &str = "conclave";
/// Longest `jti` in characters.
pub const JTI_CHARS_MAX: usize = 64;

/// Claims of a room token. All are required, none other is allowed.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Project id, `pj_…`.
    pub iss: String,
    /// Always [`AUDIENCE`].
    pub aud: String,
    /// Room id, `rm_…`.
    pub room: String,
    /// The bearer's opaque handle. Not `sub`, which OpenID Connect gives a personal meaning.
    pub handle: Handle,
    /// The bearer's role.
    pub role: Role,
    /// What the bearer may do.
    #[serde(deserialize_with = "crate::object::read")]
    pub grants: Grants,
    /// Unique token id, 1 to 64 of `A-Z a-z 0-9 _ -`; a token is accepted once.
    pub jti: String,
    /// Issued at, in seconds since 1970 (RFC 7519 NumericDate, whole numbers only).
    pub iat: u64,
    /// Not before.
    pub nbf: u64,
    /// Expires; at most 15 minutes after `iat`.
    pub exp: u64,
}

/// Claims about a person: OpenID Connect Core 1.0 section 5.1, and their usual spellings.
pub const PERSONAL_CLAIMS: &[&str] = &[
    "sub",
    "name",
    "given_name",
    "family_name",
    "middle_name",
    "nickname",
    "preferred_username",
    "username",
    "profile",
    "picture",
    "avatar",
    "website",
    "email",
    "email_verified",
    "gender",
    "birthdate",
    "zoneinfo",
    "locale",
    "phone",
    "phone_number",
    "phone_number_verified",
    "address",
    "display_name",
    "first_name",
    "last_name",
];

/// The entry of [`PERSONAL_CLAIMS`] that `key` spells, whatever its case and separators.
pub fn personal_claim(key: &str) -> Option<&'static str> {
    let squash = |text: &str| {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect::<String>()
    };
    let wanted = squash(key);
    PERSONAL_CLAIMS.iter().copied().find(|claim| squash(claim) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personal_claims_are_known_in_any_spelling() {
        for key in ["email", "E-Mail", "phoneNumber", "given_name", "displayName", "PICTURE"] {
            assert!(personal_claim(key).is_some(), "{key}");
        }
        for key in ["handle", "role", "grants", "room", "ttl_seconds", ""] {
            assert!(personal_claim(key).is_none(), "{key}");
        }
    }

    #[test]
    fn unknown_missing_and_duplicate_claims_do_not_parse() {
        let good = r#"{"iss":"pj_x","aud":"conclave","room":"rm_x","handle":"h","role":"viewer",
            "grants":{"subscribe":true},"jti":"j","iat":1,"nbf":1,"exp":2}"#;
        assert!(serde_json::from_str::<Claims>(good).is_ok());
        for (from, to) in [
            (r#""jti":"j","#, ""),
            (r#""jti":"j","#, r#""jti":"j","jti":"k","#),
            (r#""jti":"j","#, r#""jti":"j","email":"x","#),
            (r#""exp":2"#, r#""exp":"2""#),
            (r#""exp":2"#, r#""exp":2.5"#),
            (r#""exp":2"#, r#""exp":-2"#),
            (r#""exp":2"#, r#""exp":null"#),
            (r#""exp":2"#, r#""exp":1e400"#),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(serde_json::from_str::<Claims>(&bad).is_err(), "{bad}");
        }
    }
}
