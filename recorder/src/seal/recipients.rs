//! Whom artifacts are sealed to: `age1…` recipients of partners, checked before they are kept.

use std::str::FromStr as _;

use age::x25519::Recipient;
use aws_lc_rs::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use crate::{
    digest::Digest,
    limits::{RECIPIENT_CHARS_MAX, RECIPIENTS_MAX},
};

/// Human-readable part and separator of an X25519 recipient.
const PREFIX: &str = "age1";
/// Characters of the checksum at the end (BIP 173).
const CHECKSUM_CHARS: usize = 6;
/// Digits of Bech32 in their order (BIP 173).
const DIGITS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Why a list of recipients is refused: the partner gave what cannot or must not be used. No text of
/// it is repeated, as it may be a secret. Entries are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Nobody could open the recording.
    #[error("no recipient is given")]
    Nobody,
    /// More than [`RECIPIENTS_MAX`].
    #[error("more than {RECIPIENTS_MAX} recipients")]
    TooMany,
    /// A secret key was pasted in place of the public one.
    #[error(
        "recipient {0} is a secret key: it is not kept, but it has been sent over the network, so \
         make a new one; a recipient is the public key and begins with age1"
    )]
    SecretKey(usize),
    /// A key of ssh, PGP or a plugin of age.
    #[error(
        "recipient {0} is of another kind: only X25519 recipients of age (age1…) are supported"
    )]
    OtherKind(usize),
    /// Mistyped or cut off: length, alphabet or checksum is wrong.
    #[error(
        "recipient {0} is not whole: expected age1 and 58 more characters, as age-keygen prints"
    )]
    Malformed(usize),
    /// A point of small order: anybody could open what is sealed to it.
    #[error(
        "recipient {0} is no key that a key generator makes: what is sealed to it is open to all"
    )]
    Weak(usize),
}

/// Checked recipients, at least one, each once.
///
/// In JSON a list of strings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Recipients(Vec<Recipient>);

/// SHA-256 of a recipient's text: `printf %s age1… | sha256sum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub Digest);

impl Fingerprint {
    pub(crate) fn of(recipient: &Recipient) -> Self {
        Self(Digest::of(recipient.to_string().as_bytes()))
    }
}

impl Recipients {
    /// Checks what a partner gave.
    ///
    /// # Errors
    /// [`RecipientError`], for the first entry that is wrong.
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self, RecipientError> {
        if texts.is_empty() {
            return Err(RecipientError::Nobody);
        }
        if texts.len() > RECIPIENTS_MAX {
            return Err(RecipientError::TooMany);
        }
        let mut found = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            let recipient = parse_one(text.as_ref(), i + 1)?;
            if !found.contains(&recipient) {
                found.push(recipient);
            }
        }
        Ok(Self(found))
    }

    /// As the `age` crate takes them.
    pub fn as_slice(&self) -> &[Recipient] {
        &self.0
    }

    /// What manifests name them by.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.iter().map(Fingerprint::of).collect()
    }
}

impl TryFrom<Vec<String>> for Recipients {
    type Error = RecipientError;

    fn try_from(mut texts: Vec<String>) -> Result<Self, RecipientError> {
        let parsed = Self::parse(&texts);
        texts.zeroize(); // One may be a secret key.
        parsed
    }
}

impl From<Recipients> for Vec<String> {
    fn from(recipients: Recipients) -> Self {
        recipients.0.iter().map(ToString::to_string).collect()
    }
}

fn parse_one(text: &str, at: usize) -> Result<Recipient, RecipientError> {
    let text = text.trim();
    if is_secret(text) {
        return Err(RecipientError::SecretKey(at));
    }
    // A plugin's name follows `age1` and another separator: age1yubikey1…
    let digits = text.strip_prefix(PREFIX).ok_or(RecipientError::OtherKind(at))?;
    if digits.contains('1') {
        return Err(RecipientError::OtherKind(at));
    }
    if text.len() > RECIPIENT_CHARS_MAX {
        return Err(RecipientError::Malformed(at));
    }
    let recipient = Recipient::from_str(text).map_err(|_| RecipientError::Malformed(at))?;
    if is_weak(&recipient) { Err(RecipientError::Weak(at)) } else { Ok(recipient) }
}

/// What is sealed to it is open to all (RFC 7748 section 6.1); the `age` crate panics on it.
pub(crate) fn is_weak(recipient: &Recipient) -> bool {
    let text = recipient.to_string();
    !text.strip_prefix(PREFIX).and_then(point).is_some_and(|point| is_contributory(&point))
}

/// The text holds a secret key of any common kind.
fn is_secret(text: &str) -> bool {
    let upper = zeroize::Zeroizing::new(text.to_ascii_uppercase());
    upper.contains("AGE-SECRET-KEY-") || upper.contains("PRIVATE KEY")
}

/// The 32 bytes that the digits of a whole recipient stand for.
fn point(digits: &str) -> Option<[u8; 32]> {
    let data = digits.get(..digits.len().checked_sub(CHECKSUM_CHARS)?)?;
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::with_capacity(32));
    for digit in data.chars() {
        bits = bits << 5 | DIGITS.find(digit)? as u32;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes.try_into().ok()
}

/// Agreement with the point does not give the same secret to all.
fn is_contributory(point: &[u8; 32]) -> bool {
    let random = SystemRandom::new();
    let Ok(ours) = EphemeralPrivateKey::generate(&X25519, &random) else { return false };
    let theirs = UnparsedPublicKey::new(&X25519, point);
    agreement::agree_ephemeral(ours, theirs, (), |secret| {
        if secret.iter().all(|byte| *byte == 0) { Err(()) } else { Ok(()) }
    })
    .is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use age::{secrecy::ExposeSecret as _, x25519::Identity};

    use super::*;

    /// From the age specification (C2SP `age`, "The X25519 recipient type").
    const PUBLIC: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    /// The text of a point.
    fn text(point: [u8; 32]) -> String {
        use bech32::{ToBase32 as _, Variant};
        bech32::encode("age", point.to_base32(), Variant::Bech32).unwrap()
    }

    #[test]
    fn a_list_is_kept_without_repeats() {
        let other = Identity::generate().to_public().to_string();
        let list = Recipients::parse(&[PUBLIC, &format!(" {other}\n"), PUBLIC]).unwrap();
        assert_eq!(list.as_slice().len(), 2);
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(json, format!("[\"{PUBLIC}\",\"{other}\"]"));
        assert!(serde_json::from_str::<Recipients>(&json).unwrap() == list);
        assert_eq!(list.fingerprints()[0].0, Digest::of(PUBLIC.as_bytes()));
    }

    #[test]
    fn each_mistake_has_its_name() {
        let identity = Identity::generate();
        let secret = identity.to_string().expose_secret().to_owned();
        let cut = &PUBLIC[..PUBLIC.len() - 1];
        let typo = PUBLIC.replace("zvky", "zvkz");
        let long = format!("{PUBLIC}{}", "q".repeat(10_000));
        let cases: &[(&str, RecipientError)] = &[
            (&secret, RecipientError::SecretKey(2)),
            (&secret.to_lowercase(), RecipientError::SecretKey(2)),
            (&format!("my key: {secret}"), RecipientError::SecretKey(2)),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", RecipientError::SecretKey(2)),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", RecipientError::OtherKind(2)),
            (
                "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
                RecipientError::OtherKind(2),
            ),
            ("", RecipientError::OtherKind(2)),
            (cut, RecipientError::Malformed(2)),
            (&typo, RecipientError::Malformed(2)),
            (&long, RecipientError::Malformed(2)),
            ("age1ü", RecipientError::Malformed(2)),
        ];
        for (bad, wanted) in cases {
            let found = Recipients::parse(&[PUBLIC, bad]).err();
            assert_eq!(found, Some(*wanted), "{bad}");
            let told = wanted.to_string();
            assert!(!told.contains(&secret[16..]) && !told.contains("b3Bl"));
        }
        assert_eq!(Recipients::parse::<&str>(&[]).err(), Some(RecipientError::Nobody));
        let many = [PUBLIC; RECIPIENTS_MAX + 1];
        assert_eq!(Recipients::parse(&many).err(), Some(RecipientError::TooMany));
    }

    #[test]
    fn json_with_a_secret_key_is_refused_without_repeating_it() {
        let secret = Identity::generate().to_string();
        let json = serde_json::to_string(&[secret.expose_secret()]).unwrap();
        let told = serde_json::from_str::<Recipients>(&json).err().unwrap().to_string();
        assert!(told.contains("secret key") && !told.contains(&secret.expose_secret()[16..]));
    }

    #[test]
    fn points_of_small_order_are_refused() {
        // RFC 7748 section 6.1 and its errata; p-1, p, p+1 and those of order 8.
        let p = |low: u8| {
            let mut point = [0xff; 32];
            (point[0], point[31]) = (low, 0x7f);
            point
        };
        let mut one = [0; 32];
        one[0] = 1;
        let eight = [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ];
        for point in [[0; 32], one, eight, p(0xec), p(0xed), p(0xee)] {
            assert_eq!(Recipients::parse(&[text(point)]).err(), Some(RecipientError::Weak(1)));
        }
        let mut good = [0; 32];
        good[0] = 9; // The base point.
        assert!(Recipients::parse(&[text(good)]).is_ok());
    }
}
