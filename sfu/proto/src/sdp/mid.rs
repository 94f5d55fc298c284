//! Media stream identification.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits::STREAM_ID_LEN_MAX;

/// `a=mid` (RFC 9143): at most 16 visible token characters, which one-byte RTP extensions carry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Mid(String);

/// A text is not a usable MID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mid has 1 to {STREAM_ID_LEN_MAX} token characters")]
pub struct MidError;

impl Mid {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text's bytes, as in the RTP header extension.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<String> for Mid {
    type Error = MidError;

    fn try_from(text: String) -> Result<Self, MidError> {
        let fits = (1..=STREAM_ID_LEN_MAX).contains(&text.len());
        if fits && text.bytes().all(is_token) { Ok(Self(text)) } else { Err(MidError) }
    }
}

impl FromStr for Mid {
    type Err = MidError;

    fn from_str(text: &str) -> Result<Self, MidError> {
        text.to_owned().try_into()
    }
}

impl fmt::Display for Mid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `token-char` of RFC 8866 section 9.
pub(super) const fn is_token(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x27 | 0x2a | 0x2b | 0x2d | 0x2e | 0x30..=0x39 | 0x41..=0x5a | 0x5e..=0x7e)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_short_tokens() {
        for good in ["0", "audio-1", "sdparta_0", "0123456789abcdef"] {
            assert_eq!(good.parse::<Mid>().map(|mid| mid.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "a b", "a\r\nb", "ä", "0123456789abcdefg", "a:b", "a/b"] {
            assert_eq!(bad.parse::<Mid>(), Err(MidError), "{bad:?}");
        }
    }

    #[test]
    fn json_is_checked_too() {
        let mid: Mid = serde_json::from_str("\"7\"").unwrap();
        assert_eq!(serde_json::to_string(&mid).unwrap(), "\"7\"");
        assert!(serde_json::from_str::<Mid>("\"a b\"").is_err());
    }
}
