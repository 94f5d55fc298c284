//! The template by which files of recordings are named in the partner's storage.
//!
//! The recorder refuses exactly what is refused here (`recorder::storage::Template`); a test of the program that
//! has both compares them.

use crate::limits;

/// What a placeholder stands for: as long as it gets.
const PLACEHOLDERS: [(&str, &str); 8] = [
    ("{project}", "pj_01hzx3m8q7v5k2c9d4e6f8g0hj"),
    ("{room}", "rm_01hzx3m8q7v5k2c9d4e6f8g0hj"),
    ("{recording}", "rc_01hzx3m8q7v5k2c9d4e6f8g0hj"),
    ("{artifact}", "0123456789012345678901234567890123456789012345678901234567890123"),
    ("{date}", "2026-11-22"),
    ("{year}", "2026"),
    ("{month}", "11"),
    ("{day}", "22"),
];
/// Characters of a path that is filled in; those of a storage's folder come before it, and S3 takes 1024.
const FILLED_BYTES_MAX: usize = 512;
/// Characters between two slashes: file systems take 255, and the recorder appends a few.
const SEGMENT_BYTES_MAX: usize = 200;

/// Why a path template is refused.
pub(super) fn error(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.len() > limits::PATH_BYTES_MAX {
        return Some("must be 1 to 256 bytes");
    }
    let mut filled = path.to_owned();
    for (name, longest) in PLACEHOLDERS {
        filled = filled.replace(name, longest);
    }
    if !filled.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=/".contains(&b)) {
        return Some("may have letters, digits, - _ . = / and the placeholders that there are");
    }
    if !path.contains("{recording}") || !path.ends_with("{artifact}") {
        return Some("must name {recording} and end with {artifact}");
    }
    if filled.contains("..") || filled.split('/').any(|part| part.starts_with('.')) {
        return Some("has two dots in a row, or a part that begins with a dot");
    }
    let fits = |part: &str| (1..=SEGMENT_BYTES_MAX).contains(&part.len());
    if filled.len() > FILLED_BYTES_MAX || !filled.split('/').all(fits) {
        return Some("has an empty part, or is too long when it is filled in");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_of_opaque_parts_only() {
        for good in [
            "{room}/{recording}/{artifact}",
            "a-b/{year}/{recording}_{artifact}",
            "{project}/day={date}/{recording}/{artifact}",
            "{project}-{room}-{recording}-{artifact}",
        ] {
            assert_eq!(error(good), None, "{good}");
        }
        let long = format!("{}{{recording}}{{artifact}}", "a".repeat(300));
        let filled_long = format!("{}{{artifact}}", "{recording}/".repeat(16));
        let part_long = format!("{}{{artifact}}", "{recording}".repeat(5));
        for bad in [
            "",
            "{artifact}",
            "../{recording}/{artifact}",
            "a..b/{recording}/{artifact}",
            ".a/{recording}/{artifact}",
            "/{recording}/{artifact}",
            "{recording}//{artifact}",
            "{recording}/{artifact}.bin",
            "{artifact}/{recording}",
            "{handle}/{recording}/{artifact}",
            "{{room}}/{recording}/{artifact}",
            "{recording}/{artifact}?x=1",
            "{recording}/{artifact} ",
            long.as_str(),
            filled_long.as_str(),
            part_long.as_str(),
        ] {
            assert!(error(bad).is_some(), "{bad}");
        }
    }
}
