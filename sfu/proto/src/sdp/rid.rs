//! Restriction identifiers: the names of simulcast layers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::STREAM_ID_LEN_MAX;

/// `a=rid` id (RFC 8851 section 10): at most 16 letters, digits, `-` and `_`, which one-byte RTP
/// extensions carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Rid(String);

/// A text is not a usable RID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a rid has 1 to {STREAM_ID_LEN_MAX} letters, digits, dashes and underscores")]
pub struct RidError;

impl Rid {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text's bytes, as in the RTP header extension.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<String> for Rid {
    type Error = RidError;

    fn try_from(text: String) -> Result<Self, RidError> {
        let fits = (1..=STREAM_ID_LEN_MAX).contains(&text.len());
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if fits && text.bytes().all(is_good) { Ok(Self(text)) } else { Err(RidError) }
    }
}

impl TryFrom<&str> for Rid {
    type Error = RidError;

    fn try_from(text: &str) -> Result<Self, RidError> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for Rid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
