//! Names of artifacts: relative paths that are safe on every disk, object store and command line.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::limits::ARTIFACT_NAME_BYTES_MAX;

/// All artifacts are sealed, and evidence is not: so no artifact has the name of evidence.
const SUFFIX: &str = ".age";

/// Path of an artifact under the folder of its recording: `tr_….webm.age`, `hls/720p/0001.m4s.age`.
///
/// Parts of letters, digits, `.`, `_` and `-` that do not begin with `.` or `-`, so no path leads out
/// of the folder and no tool takes one for an option; at the end `.age`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactName(String);

/// A text is no name of an artifact. It is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name of an artifact: expected up to {ARTIFACT_NAME_BYTES_MAX} letters, digits, '.', '_', \
     '-', '/', and .age at the end"
)]
pub struct ArtifactNameError;

impl ArtifactName {
    /// The path, `/` between its parts.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ArtifactName {
    type Err = ArtifactNameError;

    fn from_str(text: &str) -> Result<Self, ArtifactNameError> {
        let fits = text.len() <= ARTIFACT_NAME_BYTES_MAX && text.ends_with(SUFFIX);
        let all = || text.split('/').all(is_part);
        if fits && all() { Ok(Self(text.to_owned())) } else { Err(ArtifactNameError) }
    }
}

fn is_part(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(allowed)
}

impl TryFrom<String> for ArtifactName {
    type Error = ArtifactNameError;

    fn try_from(text: String) -> Result<Self, ArtifactNameError> {
        text.parse()
    }
}

impl From<ArtifactName> for String {
    fn from(name: ArtifactName) -> Self {
        name.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_relative_paths_are_names() {
        for good in ["a.age", "tr_01h.webm.age", "hls/720p/0001.m4s.age", "A-1.age"] {
            assert!(good.parse::<ArtifactName>().is_ok(), "{good}");
        }
        let long = format!("{}.age", "a".repeat(ARTIFACT_NAME_BYTES_MAX - 3));
        for bad in [
            "", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", ".a", "a/.b", "-a", "a/-b", "a b",
            "a\\b", "a\0", "a\n", "%2e", "ä", "a*",
        ] {
            assert_eq!(
                format!("{bad}.age").parse::<ArtifactName>().is_ok(),
                bad == "..b",
                "{bad:?}"
            );
        }
        for bad in ["manifest.json", "SHA256SUMS", "a.AGE", "a.age/", "a.age\n", ".age", &long] {
            assert_eq!(bad.parse::<ArtifactName>(), Err(ArtifactNameError), "{bad:?}");
        }
    }
}
