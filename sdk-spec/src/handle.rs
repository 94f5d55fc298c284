//! Opaque handles: the partner's own, meaningless names for a participant or a room.
//!
//! A handle must not be personal data. What can be told from the text is refused here with the
//! reason: e-mail and IP addresses, phone numbers, names, free text. Neither [`Handle`] nor its errors
//! show the text in `Debug` or `Display`.
//!
//! Random ids must never be refused by chance, or one participant of many could not join. So a name
//! is told only by a separator: `Anna_Schmidt` is refused; `AnnaSchmidt` cannot be told from an id of
//! letters and passes.

use std::{borrow::Cow, net::IpAddr, ops::RangeInclusive};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, schema::Type},
};

use crate::limits::HANDLE_CHARS_MAX;

/// Digits from which a text of digits and separators counts as a phone number. The shortest
/// subscriber numbers in use have seven.
const PHONE_DIGITS_MIN: usize = 7;
/// Most digits of a phone number (ITU-T E.164 section 6). Longer ones are ids: a snowflake has 17 to 20.
const PHONE_DIGITS_MAX: usize = 15;
/// Capitalised words that are taken for a name.
const NAME_WORDS: RangeInclusive<usize> = 2..=3;
/// Letters from which a capitalised word is taken for a part of a name.
const NAME_LETTERS_MIN: usize = 3;
const PATTERN: &str = "^[A-Za-z0-9._~-]{1,64}$";
const DESCRIPTION: &str = "Opaque handle of the partner. Not a name, e-mail address, phone number \
    or IP address. Refused are: e-mail and IP addresses; 7 to 15 digits without letters, unless they \
    are a date like 2026-11-21; letters joined by dots (anna.schmidt); 2 or 3 capitalised words of 3 \
    letters or more, joined by separators (Anna_Schmidt, Anna-Schmidt). Random ids with letters, \
    UUIDs, and numbers of fewer or more digits pass.";

/// A checked handle: 1 to 64 of `A-Z a-z 0-9 . _ ~ -`, at least one of them a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Handle(String);

/// Why a text is not a handle. The blame is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HandleRefusal {
    /// No characters.
    #[error("it is empty")]
    Empty,
    /// More than [`HANDLE_CHARS_MAX`].
    #[error("it is longer than 64 characters")]
    TooLong,
    /// Looks like an e-mail address.
    #[error("it looks like an e-mail address; use an opaque id that only you can resolve")]
    Email,
    /// Looks like a phone number.
    #[error("it looks like a phone number; use an opaque id that only you can resolve")]
    Phone,
    /// Is an IP address.
    #[error("it is an IP address; use an opaque id that only you can resolve")]
    Address,
    /// Words with spaces, letters outside of ASCII, `anna.schmidt`, `Anna_Schmidt`: a name or
    /// other free text.
    #[error("it looks like a name or other free text; use an opaque id that only you can resolve")]
    FreeText,
    /// Another character than the allowed ones.
    #[error("it has characters other than A-Z a-z 0-9 . _ ~ - or no letter or digit")]
    Characters,
}

impl Handle {
    /// Checks a text.
    ///
    /// # Errors
    /// [`HandleRefusal`] with the first reason found.
    pub fn parse(text: &str) -> Result<Self, HandleRefusal> {
        match refusal(text) {
            Some(reason) => Err(reason),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The text. For the wire only, never for a log.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn refusal(text: &str) -> Option<HandleRefusal> {
    use HandleRefusal as R;
    // Length first: nothing below looks at more than a bounded text.
    if text.is_empty() {
        return Some(R::Empty);
    }
    if text.len() > 4 * HANDLE_CHARS_MAX || text.chars().count() > HANDLE_CHARS_MAX {
        return Some(R::TooLong);
    }
    if is_email(text) {
        return Some(R::Email);
    }
    if is_address(text) {
        return Some(R::Address);
    }
    if is_phone(text) {
        return Some(R::Phone);
    }
    if text.chars().any(|c| c.is_whitespace() || (!c.is_ascii() && c.is_alphabetic()))
        || is_dotted_words(text)
        || is_capitalised_words(text)
    {
        return Some(R::FreeText);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
    let named = text.chars().any(|c| c.is_ascii_alphanumeric());
    (!named || !text.chars().all(allowed)).then_some(R::Characters)
}

/// What in a longer text looks like personal data: an e-mail address, an IP address or a phone number
/// as one of its words.
pub(crate) fn personal(text: &str) -> Option<&'static str> {
    if has_phone(text) {
        return Some("what looks like a phone number");
    }
    let is_part = |c: char| c.is_alphanumeric() || "@.+-_:%()/".contains(c);
    let words = text.split(|c: char| !is_part(c)).filter(|word| !word.is_empty());
    words.map(|word| word.trim_matches(|c: char| ".:-_/()".contains(c))).find_map(|word| {
        if is_email(word) {
            Some("what looks like an e-mail address")
        } else if is_address(word) {
            Some("what looks like an IP address")
        } else {
            None
        }
    })
}

/// A plus and then digits of a phone number, in groups or not.
fn has_phone(text: &str) -> bool {
    text.match_indices('+').any(|(at, _)| {
        let joined = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '+');
        let separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '_' | '~');
        let rest = &text[at + 1..];
        let end = rest.find(|c: char| !c.is_ascii_digit() && !separator(c));
        !joined && is_phone(rest[..end.unwrap_or(rest.len())].trim())
    })
}

fn is_email(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let at = lower.replace("%40", "@").replace("(at)", "@").replace("[at]", "@");
    at.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

fn is_address(text: &str) -> bool {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
}

fn is_phone(text: &str) -> bool {
    let separator = |c: char| matches!(c, '+' | ' ' | '-' | '.' | '(' | ')' | '/' | '_' | '~');
    let digits = text.chars().filter(char::is_ascii_digit).count();
    text.chars().all(|c| c.is_ascii_digit() || separator(c))
        && (PHONE_DIGITS_MIN..=PHONE_DIGITS_MAX).contains(&digits)
        && !is_date(text)
}

/// A day of this century like `2026-11-21`: the name of a lesson. Of earlier ones it is a birthday.
fn is_date(text: &str) -> bool {
    let [y, m, d] = text.split('-').collect::<Vec<_>>()[..] else { return false };
    let within = |part: &str, most: u8| part.parse().is_ok_and(|n: u8| (1..=most).contains(&n));
    (y.len(), m.len(), d.len()) == (4, 2, 2)
        && y.starts_with("20")
        && y.bytes().all(|b| b.is_ascii_digit())
        && within(m, 12)
        && within(d, 31)
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | '_' | '~' | '-')
}

/// Letters only, in parts that a dot joins: the local part of a company's e-mail addresses
/// (`anna.schmidt`), or a domain.
fn is_dotted_words(text: &str) -> bool {
    let mut parts = text.split('.');
    let is_words = |part: &str| {
        part.chars().any(|c| c.is_ascii_alphabetic())
            && part.chars().all(|c| c.is_ascii_alphabetic() || is_separator(c))
    };
    text.contains('.') && parts.all(is_words)
}

/// Words like `Anna` with separators between them.
fn is_capitalised_words(text: &str) -> bool {
    let is_word = |word: &str| {
        let mut letters = word.bytes();
        word.len() >= NAME_LETTERS_MIN
            && letters.next().is_some_and(|b| b.is_ascii_uppercase())
            && letters.all(|b| b.is_ascii_lowercase())
    };
    NAME_WORDS.contains(&text.split(is_separator).count()) && text.split(is_separator).all(is_word)
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).map_err(|reason| D::Error::custom(format!("handle refused: {reason}")))
    }
}

impl JsonSchema for Handle {
    fn schema_name() -> Cow<'static, str> {
        "Handle".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "description": DESCRIPTION })
    }
}

impl PartialSchema for Handle {
    fn schema() -> RefOr<utoipa::openapi::Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(PATTERN))
            .description(Some(DESCRIPTION))
            .examples(["user-5f0c2b"])
            .into()
    }
}

impl ToSchema for Handle {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn refused(text: &str) -> Option<HandleRefusal> {
        Handle::parse(text).err()
    }

    #[test]
    fn personal_data_is_found_inside_of_texts() {
        for text in
            ["call +49 170 1234567", "{\"p\":\"+4917012345678\"}", "a@b.org", "at 192.0.2.7."]
        {
            assert!(personal(text).is_some(), "{text}");
        }
        for text in ["{\"theme\":\"blue\"}", "1+12345678", "+1", "2026-11-21 20:00", "c++ 1234567"]
        {
            assert_eq!(personal(text), None, "{text}");
        }
    }

    #[test]
    fn reasons_name_what_was_seen() {
        use HandleRefusal as R;
        let cases = [
            ("", R::Empty),
            ("anna@example.com", R::Email),
            ("Anna%40example.com", R::Email),
            ("anna(at)example.com", R::Email),
            ("+49 170 1234567", R::Phone),
            ("0170-1234567", R::Phone),
            ("(0170) 123/4567", R::Phone),
            ("1234567", R::Phone),
            ("192.0.2.17", R::Address),
            ("2001:db8::1", R::Address),
            ("[2001:db8::1]", R::Address),
            ("Anna Schmidt", R::FreeText),
            ("Müller", R::FreeText),
            ("アンナ", R::FreeText),
            ("a\tb", R::FreeText),
            ("anna.schmidt", R::FreeText),
            ("a.schmidt", R::FreeText),
            ("anna.maria.schmidt", R::FreeText),
            ("anna.schmidt-meier", R::FreeText),
            ("Anna.Schmidt", R::FreeText),
            ("Anna_Schmidt", R::FreeText),
            ("Anna-Schmidt", R::FreeText),
            ("Anna~Schmidt", R::FreeText),
            ("1987-04-12", R::Phone),
            ("2026-13-21", R::Phone),
            ("+123456789012345", R::Phone),
            ("Anna-Maria-Schmidt", R::FreeText),
            ("a/b", R::Characters),
            ("../etc", R::Characters),
            ("..", R::Characters),
            ("a\0b", R::Characters),
            ("\"><script>", R::Characters),
            ("😀", R::Characters),
        ];
        for (text, reason) in cases {
            assert_eq!(refused(text), Some(reason), "{text:?}");
        }
        assert_eq!(refused(&"a".repeat(65)), Some(R::TooLong));
        assert_eq!(refused(&"a".repeat(1_000_000)), Some(R::TooLong));
    }

    #[test]
    fn usual_ids_pass() {
        for text in [
            "a",
            "123456",
            "1234567890123456",
            "175928847299117063",
            "18446744073709551615",
            "2026-11-21",
            "AnnaSchmidt",
            "KxRtQwZb",
            "Team-7",
            "Ab-Cd",
            "guest-7",
            "guest-blue-fox",
            "Anna",
            "ABC",
            "lesson.7",
            "v1.2",
            ".hidden",
            "QmFzZTY0SXNOb3RBTmFtZQ",
            "user-5f0c2b",
            "018f2f6e-6f0a-7cc0-8d3a-0c8b6f1f9e52",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            "rm_01hzx3m8q7",
            &"z".repeat(64),
        ] {
            assert!(refused(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn json_refusal_does_not_repeat_the_text() {
        let error = serde_json::from_str::<Handle>(r#""anna@example.com""#).err().unwrap();
        assert!(!error.to_string().contains("anna"));
    }

    proptest! {
        #[test]
        fn random_opaque_ids_are_accepted(text in "[a-z][A-Za-z0-9_~-]{0,62}[a-z0-9]") {
            prop_assert!(refused(&text).is_none());
        }

        #[test]
        fn random_ids_of_usual_generators_are_accepted(
            text in prop_oneof![
                "[A-Za-z0-9]{8}", "[A-Za-z0-9]{12}", "[A-Za-z0-9]{21}", "[A-Za-z]{8}",
                "[A-Za-z0-9_-]{22}", "[0-9]{17,20}",
            ],
        ) {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            let phone = digits && (7..=15).contains(&text.len());
            // 22 separators in a row are no id either; nothing else is refused.
            prop_assume!(text.bytes().any(|b| b.is_ascii_alphanumeric()));
            prop_assert_eq!(refused(&text), phone.then_some(HandleRefusal::Phone));
        }

        #[test]
        fn joined_names_are_refused(
            text in "[A-Z][a-z]{2,9}([._~-][A-Z][a-z]{2,9}){1,2}",
        ) {
            prop_assert_eq!(refused(&text), Some(HandleRefusal::FreeText));
        }

        #[test]
        fn emails_are_refused(text in "[a-z0-9.+_-]{1,20}@[a-z0-9-]{1,20}\\.[a-z]{2,6}") {
            prop_assert_eq!(refused(&text), Some(HandleRefusal::Email));
        }

        #[test]
        fn phones_are_refused(text in "\\+?[0-9]{2,4}([ ./-]?[0-9]){5,11}") {
            prop_assume!(!is_date(&text));
            // Four groups of dots may also be an address; refused either way.
            prop_assert!(matches!(
                refused(&text), Some(HandleRefusal::Phone | HandleRefusal::Address)));
        }

        #[test]
        fn ipv4_addresses_are_refused(a: u8, b: u8, c: u8, d: u8) {
            let text = format!("{a}.{b}.{c}.{d}");
            prop_assert_eq!(refused(&text), Some(HandleRefusal::Address));
        }

        #[test]
        fn ipv6_addresses_are_refused(bits: u128) {
            let text = std::net::Ipv6Addr::from_bits(bits).to_string();
            prop_assert_eq!(refused(&text), Some(HandleRefusal::Address));
        }

        #[test]
        fn two_words_are_refused(text in "[A-Z][a-z]{1,12} [A-Z][a-z]{1,12}") {
            prop_assert_eq!(refused(&text), Some(HandleRefusal::FreeText));
        }

        #[test]
        fn accepted_means_the_pattern_and_a_round_trip(text in "\\PC{0,80}") {
            if let Ok(handle) = Handle::parse(&text) {
                prop_assert!(text.len() <= 64 && !text.is_empty());
                prop_assert!(text.bytes().all(
                    |b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)));
                let json = serde_json::to_string(&handle).unwrap();
                prop_assert!(serde_json::from_str::<Handle>(&json).unwrap() == handle);
            }
        }
    }
}
