//! Cursors of lists that are in the order of creation, newest first.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::{
    problem::FieldError,
    rest::{Page, is_opaque_name},
};

use crate::{api::Failure, store::After};

/// Where a page begins.
///
/// # Errors
/// What is wrong with the query.
pub(in crate::api) fn after(page: &Page) -> Result<Option<After>, Failure> {
    page.check()?;
    page.cursor.as_deref().map(read).transpose()
}

/// Rows to ask the store for: one more than wanted tells whether there is a next page.
pub(in crate::api) fn rows(page: &Page) -> u32 {
    page.limit() + 1
}

/// Cuts the rows to the page, and makes the cursor of the next one from the last row's time and id.
pub(in crate::api) fn cut<T>(
    rows: &mut Vec<T>,
    page: &Page,
    key: impl Fn(&T) -> (u64, &str),
) -> Option<String> {
    let wanted = page.limit() as usize;
    let more = rows.len() > wanted;
    rows.truncate(wanted);
    rows.last().filter(|_| more).map(|last| {
        let (time, id) = key(last);
        BASE64.encode(format!("{time}.{id}"))
    })
}

fn read(text: &str) -> Result<After, Failure> {
    let parse = || -> Option<After> {
        let plain = String::from_utf8(BASE64.decode(text).ok()?).ok()?;
        let (time, id) = plain.split_once('.')?;
        let created_at_ms = time.parse().ok()?;
        is_opaque_name(id).then(|| After { created_at_ms, id: id.to_owned() })
    };
    let wrong = || Failure::from(vec![FieldError::new("cursor", "is not a `next_cursor` of ours")]);
    parse().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_cursor_leads_on_and_junk_is_refused() {
        let page = Page { limit: Some(2), cursor: None };
        let mut rows = vec![(3, "c"), (2, "b"), (1, "a")];
        let cursor = cut(&mut rows, &page, |row| *row);
        assert_eq!(rows.len(), 2);
        let next = after(&Page { cursor, ..page.clone() }).unwrap().unwrap();
        assert_eq!((next.created_at_ms, next.id.as_str()), (2, "b"));
        assert_eq!(cut(&mut rows, &page, |row| *row), None);
        for junk in ["x", "", "MS4n", &BASE64.encode("1.' OR 1=1"), &BASE64.encode("x.a")] {
            let page = Page { cursor: Some(junk.to_owned()), ..page.clone() };
            assert!(after(&page).is_err(), "{junk}");
        }
    }
}
