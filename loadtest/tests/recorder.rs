//! Recordings survive kill -9: a few kills of the real server, everything that the partner has checked.
//! The long run: `loadtest recorder --spawn target/release/conclave --kills 100`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{path::Path, process::Command};

/// The server beside our own binary: cargo builds both for the same tests.
#[test]
fn killed_recordings_are_delivered_and_nothing_is_left_of_them() {
    let own = Path::new(env!("CARGO_BIN_EXE_loadtest"));
    let server = own.with_file_name("conclave");
    assert!(server.exists(), "{}: run `cargo build --bin conclave`", server.display());
    let output = Command::new(own)
        .args(["recorder", "--only", "crash", "--kills", "5", "--seconds", "3", "--lines", "360"])
        .arg("--spawn")
        .arg(server)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("pictures decoded"), "{told}");
}
