//! Cursors of lists that are ordered by a number and an id.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::problem::FieldError;

use crate::api::Failure;

/// The cursor after an item.
pub(super) fn write(number: u64, id: &str) -> String {
    BASE64.encode(format!("{number}.{id}"))
}

/// The item that a cursor stands after.
///
/// # Errors
/// What is not a cursor of ours.
pub(super) fn read(text: &str) -> Result<(u64, String), Failure> {
    let parse = || -> Option<(u64, String)> {
        let plain = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
        let (number, id) = plain.split_once('.')?;
        let fits = |number: &u64| i64::try_from(*number).is_ok();
        let is_id = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        Some((number.parse().ok().filter(fits)?, is_id.then(|| id.to_owned())?))
    };
    let wrong = || Failure::from(vec![FieldError::new("cursor", "is not a `next_cursor` of ours")]);
    parse().ok_or_else(wrong)
}
