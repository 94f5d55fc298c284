//! `SHA256SUMS`: the digest of every file of a recording, for `sha256sum -c`.

use std::collections::BTreeMap;

use crate::digest::Digest;

/// Its name in a recording.
pub const SUMS_FILE: &str = "SHA256SUMS";

/// Digests by name.
pub(crate) type Sums = BTreeMap<String, Digest>;

/// As `sha256sum` prints them.
pub(crate) fn write(sums: &Sums) -> String {
    sums.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect()
}

/// Reads what [`write`] wrote, and nothing else that `sha256sum` would take.
pub(crate) fn parse(text: &str) -> Option<Sums> {
    let mut sums = Sums::new();
    for line in text.lines() {
        let (digest, name) = line.split_once("  ")?;
        sums.insert(name.to_owned(), digest.parse().ok()?);
    }
    (write(&sums) == text).then_some(sums)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_its_own_form_is_read() {
        let sums = Sums::from([("b".into(), Digest::of(b"2")), ("a/c".into(), Digest::of(b"1"))]);
        let text = write(&sums);
        assert_eq!(parse(&text), Some(sums));
        let lines: Vec<&str> = text.lines().collect();
        let swapped = format!("{}\n{}\n", lines[1], lines[0]);
        let double = format!("{text}{}\n", lines[1]);
        let star = text.replace("  ", " *");
        let upper = text.to_uppercase();
        for bad in ["x", text.trim_end(), &swapped, &double, &star, &upper, "\n"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
