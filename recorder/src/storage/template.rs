//! Where an artifact goes inside of a storage: a template of opaque values, `{room}/{recording}/…`.
//!
//! Names of objects are ours: no handle, title or other word of a participant can get into them,
//! and no value can climb out of its folder (SECURITY S11).
//!
//! The API refuses beforehand exactly what is refused here (`sdk_spec::rest::path`); a test of the program that
//! has both compares them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{KEY_BYTES_MAX, KEY_SEGMENT_BYTES_MAX, TEMPLATE_BYTES_MAX};

/// Why a template or a name cannot be used. Blame: the partner; the texts are for its developer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing, or more than anybody needs.
    #[error("must have 1 to {TEMPLATE_BYTES_MAX} characters")]
    Length,
    /// A name that came out too long.
    #[error("the name of an object would have more than {KEY_BYTES_MAX} characters")]
    KeyLength,
    /// Between slashes, too.
    #[error("a folder or name would have no or more than {KEY_SEGMENT_BYTES_MAX} characters")]
    Segment,
    /// Something besides the plain characters.
    #[error("may have only letters, digits, `.`, `_`, `=`, `-`, `/` and placeholders")]
    Character,
    /// `.`, `..`, or a name that begins with a dot.
    #[error("no folder or name may begin with a dot, and none have two in a row")]
    Dot,
    /// Not a placeholder.
    #[error(
        "placeholders are {{project}}, {{room}}, {{recording}}, {{artifact}}, {{date}}, {{year}}, \
         {{month}} and {{day}}"
    )]
    Placeholder,
    /// Two recordings, or two files of one, would overwrite each other.
    #[error("must have {{recording}}, and end with {{artifact}}")]
    Unique,
}

/// A name in a storage: plain characters, no dots at the beginning of a segment.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

impl Key {
    /// Checks a name.
    ///
    /// # Errors
    /// [`TemplateError`]
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > KEY_BYTES_MAX {
            return Err(TemplateError::KeyLength);
        }
        if !text.bytes().all(is_plain) {
            return Err(TemplateError::Character);
        }
        if text.contains("..") {
            return Err(TemplateError::Dot);
        }
        for segment in text.split('/') {
            if segment.starts_with('.') {
                return Err(TemplateError::Dot);
            }
            if segment.is_empty() || segment.len() > KEY_SEGMENT_BYTES_MAX {
                return Err(TemplateError::Segment);
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        Self::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._=/-".contains(&byte)
}

/// What placeholders stand for: opaque ids, and the day on which a recording began.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Project id.
    pub project: &'a str,
    /// Room id.
    pub room: &'a str,
    /// Recording id.
    pub recording: &'a str,
    /// File name of the artifact, `tr_1.webm.age`; may have folders.
    pub artifact: &'a str,
    /// Milliseconds since 1970, UTC.
    pub began_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Project,
    Room,
    Recording,
    Artifact,
    Date,
    Year,
    Month,
    Day,
}

/// Ids as long as ours are, and an artifact of 64 characters: ours have at most half of that. What fits
/// with these fits always.
const LONGEST: Values<'static> = Values {
    project: "pj_01hzx3m8q7v5k2c9d4e6f8g0hj",
    room: "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
    recording: "rc_01hzx3m8q7v5k2c9d4e6f8g0hj",
    artifact: "0123456789012345678901234567890123456789012345678901234567890123",
    began_ms: 0,
};

/// How names are made of [`Values`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl Default for Template {
    /// `{room}/{recording}/{artifact}`
    fn default() -> Self {
        let slash = || Piece::Text(String::from("/"));
        let pieces = vec![Piece::Room, slash(), Piece::Recording, slash(), Piece::Artifact];
        Self { pieces }
    }
}

impl Template {
    /// Reads a template and tries it out with the longest values that there are.
    ///
    /// # Errors
    /// [`TemplateError`]
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() || text.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::Length);
        }
        let template = Self { pieces: pieces(text)? };
        let has = |piece| template.pieces.contains(&piece);
        if !has(Piece::Recording) || template.pieces.last() != Some(&Piece::Artifact) {
            return Err(TemplateError::Unique);
        }
        template.key(&LONGEST)?;
        Ok(template)
    }

    /// The name for these values.
    ///
    /// # Errors
    /// Values that are no opaque ids, or too long together.
    pub fn key(&self, values: &Values<'_>) -> Result<Key, TemplateError> {
        let mut key = String::new();
        let (year, month, day) = civil(values.began_ms);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => key.push_str(text),
                Piece::Project => key.push_str(id(values.project)?),
                Piece::Room => key.push_str(id(values.room)?),
                Piece::Recording => key.push_str(id(values.recording)?),
                Piece::Artifact => key.push_str(values.artifact),
                Piece::Date => key.push_str(&format!("{year:04}-{month:02}-{day:02}")),
                Piece::Year => key.push_str(&format!("{year:04}")),
                Piece::Month => key.push_str(&format!("{month:02}")),
                Piece::Day => key.push_str(&format!("{day:02}")),
            }
        }
        Key::parse(&key)
    }
}

fn pieces(mut rest: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (text, after) = rest.split_once('{').map_or((rest, None), |(a, b)| (a, Some(b)));
        if !text.bytes().all(is_plain) {
            return Err(TemplateError::Character);
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        let Some(after) = after else { break };
        let (name, after) = after.split_once('}').ok_or(TemplateError::Placeholder)?;
        pieces.push(match name {
            "project" => Piece::Project,
            "room" => Piece::Room,
            "recording" => Piece::Recording,
            "artifact" => Piece::Artifact,
            "date" => Piece::Date,
            "year" => Piece::Year,
            "month" => Piece::Month,
            "day" => Piece::Day,
            _ => return Err(TemplateError::Placeholder),
        });
        rest = after;
    }
    Ok(pieces)
}

/// An id is one segment, or a part of one.
fn id(value: &str) -> Result<&str, TemplateError> {
    let opaque = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match value.bytes().all(opaque) {
        true if !value.is_empty() => Ok(value),
        true => Err(TemplateError::Segment),
        false => Err(TemplateError::Character),
    }
}

/// Year, month and day (civil date of a day number, Howard Hinnant's algorithm).
fn civil(ms: u64) -> (i64, i64, i64) {
    let days = i64::try_from(ms / 86_400_000).unwrap_or_default() + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const VALUES: Values<'_> = Values {
        project: "pj_1",
        room: "rm_2",
        recording: "rc_3",
        artifact: "tr_4.webm.age",
        began_ms: 1_795_304_317_000,
    };

    #[test]
    fn templates_are_filled_with_ids() {
        let key = |text: &str| Template::parse(text).unwrap().key(&VALUES).unwrap().0;
        assert_eq!(key("{project}/{room}/{recording}/{artifact}"), "pj_1/rm_2/rc_3/tr_4.webm.age");
        assert_eq!(
            key("in/day={date}/{recording}-{artifact}"),
            "in/day=2026-11-21/rc_3-tr_4.webm.age"
        );
        assert_eq!(
            key("{year}/{month}/{day}/{recording}_{artifact}"),
            "2026/11/21/rc_3_tr_4.webm.age"
        );
        assert_eq!(Template::parse("{room}/{recording}/{artifact}").unwrap(), Template::default());
    }

    #[test]
    fn dates_are_civil() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (11_016, (2000, 2, 29)),
            (19_782, (2024, 2, 29)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(days * 86_400_000), date);
        }
        civil(u64::MAX);
    }

    #[test]
    fn what_could_climb_collide_or_tell_is_refused() {
        let long = format!("{}{{recording}}/{{artifact}}", "a/".repeat(200));
        let filled_long = format!("{}{{artifact}}", "{recording}/".repeat(16));
        let name_long = format!("{}{{artifact}}", "{recording}".repeat(5));
        for (text, error) in [
            ("", TemplateError::Length),
            (long.as_str(), TemplateError::Length),
            (filled_long.as_str(), TemplateError::KeyLength),
            (name_long.as_str(), TemplateError::Segment),
            ("../{recording}/{artifact}", TemplateError::Dot),
            ("{recording}/../{artifact}", TemplateError::Dot),
            ("{recording}/.{artifact}", TemplateError::Dot),
            ("..\\{recording}/{artifact}", TemplateError::Character),
            ("%2e%2e/{recording}/{artifact}", TemplateError::Character),
            ("a\0/{recording}/{artifact}", TemplateError::Character),
            ("a／{recording}/{artifact}", TemplateError::Character),
            ("a b/{recording}/{artifact}", TemplateError::Character),
            ("/{recording}/{artifact}", TemplateError::Segment),
            ("{recording}//{artifact}", TemplateError::Segment),
            ("{recording}/{artifact}/", TemplateError::Unique),
            ("{project}/{artifact}", TemplateError::Unique),
            ("{recording}/x", TemplateError::Unique),
            ("{recording}/{artifact}.bin", TemplateError::Unique),
            ("a..b/{recording}/{artifact}", TemplateError::Dot),
            ("{recording}/{handle}/{artifact}", TemplateError::Placeholder),
            ("{recording}/{artifact", TemplateError::Placeholder),
            ("{recording}/{}/{artifact}", TemplateError::Placeholder),
            ("{recording}}/{artifact}", TemplateError::Character),
        ] {
            assert_eq!(Template::parse(text).err(), Some(error), "{text}");
        }
        let template = Template::default();
        for bad in ["..", "a/b", "", "a.b", "ä", "a b", &"x".repeat(300)] {
            assert!(template.key(&Values { room: bad, ..VALUES }).is_err(), "{bad}");
        }
        for bad in ["../x", "", ".x", "a//b", "a/../b", "a\\b", "a%2fb", &"x".repeat(300)] {
            assert!(template.key(&Values { artifact: bad, ..VALUES }).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_out_stays_inside(
            text in "[a-z./{}=-]{0,20}\\{recording\\}/\\{artifact\\}",
            room in "\\PC{0,8}",
            artifact in "\\PC{0,12}",
        ) {
            let Ok(template) = Template::parse(&text) else { return Ok(()) };
            let values = Values { room: &room, artifact: &artifact, ..VALUES };
            if let Ok(key) = template.key(&values) {
                prop_assert!(!key.0.contains(".."));
                prop_assert!(key.0.split('/').all(|s| !s.is_empty() && !s.starts_with('.')));
                prop_assert_eq!(Key::parse(&key.0).unwrap(), key);
            }
        }
    }
}
