//! The API and the recorder read path templates each by itself: one that only the API took would never be
//! delivered.

use proptest::prelude::*;
use recorder::storage::{Template, Values};
use sdk_spec::rest::recordings::RecordingPolicy;

/// What templates are made of, and what nearly is.
const PIECES: [&str; 20] = [
    "{project}",
    "{room}",
    "{recording}",
    "{artifact}",
    "{date}",
    "{year}",
    "{month}",
    "{day}",
    "{handle}",
    "{",
    "}",
    "/",
    "/",
    ".",
    "..",
    "=",
    "-",
    "a_b",
    "é",
    "name-of-a-folder-that-is-as-long-as-somebody-could-wish-it-to-be",
];

fn is_taken_by_the_api(path: &str) -> bool {
    let policy = RecordingPolicy { path: path.to_owned(), ..RecordingPolicy::none() };
    policy.check().is_ok()
}

/// The name of an artifact; `None`: the recorder cannot use the path.
fn key(path: &str) -> Option<String> {
    let values = Values {
        project: "pj_01hzx3m8q7v5k2c9d4e6f8g0hj",
        room: "rm_01hzx3m8q7v5k2c9d4e6f8g0hj",
        recording: "rc_01hzx3m8q7v5k2c9d4e6f8g0hj",
        artifact: "hls/00001.m4s.age",
        began_ms: 1_795_304_317_000,
    };
    let template = Template::parse(path).ok()?;
    Some(template.key(&values).unwrap().as_str().to_owned())
}

fn check(path: &str) -> Result<(), TestCaseError> {
    let key = key(path);
    prop_assert_eq!(is_taken_by_the_api(path), key.is_some(), "{}", path);
    let Some(key) = key else { return Ok(()) };
    prop_assert!(key.contains("rc_01hzx3m8q7v5k2c9d4e6f8g0hj") && key.len() <= 512, "{}", key);
    prop_assert!(!key.contains("..") && !key.contains(['{', '}', '\\']), "{}", key);
    prop_assert!(key.split('/').all(|part| !part.is_empty() && !part.starts_with('.')), "{}", key);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_path_that_the_api_takes_is_one_that_files_are_pushed_to(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..24),
    ) {
        let path = pieces.concat();
        check(&path)?;
        check(&format!("{path}{{recording}}/{{artifact}}"))?;
    }

    #[test]
    fn neither_takes_what_the_other_refuses(path in "\\PC{0,40}") {
        check(&path)?;
        check(&format!("{path}/{{recording}}/{{artifact}}"))?;
    }
}

#[test]
fn both_take_what_the_documents_name() {
    assert_eq!(key("{room}/{recording}/{artifact}").unwrap().matches('/').count(), 3);
    for path in [
        RecordingPolicy::none().path.as_str(),
        "{project}/{room}/{recording}/{artifact}",
        "{year}/{month}/{day}/{recording}/{artifact}",
        "day={date}/{recording}-{artifact}",
    ] {
        assert!(is_taken_by_the_api(path) && key(path).is_some(), "{path}");
    }
}
