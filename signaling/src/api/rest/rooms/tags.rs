//! Entity tags of rooms (RFC 9110 section 8.8.3): the version in quotes.

use axum::http::{HeaderMap, HeaderValue, header};
use sdk_spec::problem::Code;

use crate::api::Failure;

/// The tag of a version.
pub(in crate::api::rest) fn of(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The version that `If-Match` names; `None` when any will do (RFC 9110 section 13.1.1).
///
/// # Errors
/// [`Code::VersionMismatch`] for what can be no tag of ours, and for several.
pub(in crate::api::rest) fn wanted(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let mismatch = || Failure::new(Code::VersionMismatch);
    if values.next().is_some() {
        return Err(mismatch());
    }
    if text == "*" {
        return Ok(None);
    }
    version(text).map(Some).ok_or_else(mismatch)
}

/// Whether `If-None-Match` names this version (RFC 9110 section 13.1.2: weak comparison).
pub(in crate::api::rest) fn is_known(headers: &HeaderMap, current: u64) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        tag == "*" || version(tag.strip_prefix("W/").unwrap_or(tag)) == Some(current)
    })
}

fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let pairs = values.iter().map(|v| (name.clone(), v.parse().unwrap()));
        pairs.fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    #[test]
    fn one_tag_is_wanted_and_nothing_else_matches() {
        let wanted = |values: &[&str]| wanted(&headers(header::IF_MATCH, values));
        assert_eq!(wanted(&[]).unwrap(), None);
        assert_eq!(wanted(&["*"]).unwrap(), None);
        assert_eq!(wanted(&["\"7\""]).unwrap(), Some(7));
        for bad in [&["7"][..], &["W/\"7\""], &["\"+7\""], &["\"7\"", "\"8\""], &["\"7\",\"8\""]] {
            assert!(wanted(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_known_version_is_found_among_others() {
        let known = |text| is_known(&headers(header::IF_NONE_MATCH, &[text]), 7);
        assert!(known("\"7\"") && known("W/\"7\"") && known("\"1\", \"7\"") && known("*"));
        assert!(!known("\"8\"") && !known("7"));
        assert!(!is_known(&HeaderMap::new(), 7));
    }
}
