//! docs/conclave.sample.toml is what the code says.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path, process::Command};

#[test]
fn the_sample_in_docs_is_the_one_from_code() {
    let output = Command::new(env!("CARGO_BIN_EXE_conclave")).args(["config", "sample"]).output();
    let written = String::from_utf8(output.unwrap().stdout).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conclave.sample.toml");
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, written, "write it anew: conclave config sample > docs/conclave.sample.toml");
}
