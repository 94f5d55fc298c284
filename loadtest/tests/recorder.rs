//! Recordings survive kill -9 and storages that fail: the real server, everything that the partner has
//! checked. The long run: `loadtest recorder --spawn target/release/conclave --kills 100`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

/// Runs a part with small pictures; what it told. The server is beside our own binary: cargo builds both for
/// the same tests.
fn run(only: &str) -> String {
    let own = Path::new(env!("CARGO_BIN_EXE_loadtest"));
    let server = own.with_file_name("conclave");
    assert!(server.exists(), "{}: run `cargo build --bin conclave`", server.display());
    let output = Command::new(own)
        .args(["recorder", "--only", only, "--kills", "5", "--seconds", "3", "--lines", "360"])
        .args(["--webdav", concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/wsgidav")])
        .arg("--spawn")
        .arg(server)
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

#[test]
fn killed_recordings_are_delivered_and_nothing_is_left_of_them() {
    assert!(run("crash").contains("pictures decoded"));
}

#[test]
fn recordings_wait_for_a_storage_and_are_not_kept_for_longer_than_72_hours() {
    let told = run("outage,age");
    assert!(told.contains("credentials mended to purged"), "{told}");
    assert!(told.contains("storage down for"), "{told}");
}

#[test]
fn a_recorder_in_a_process_of_its_own_may_be_killed_and_stopped() {
    assert!(run("apart").contains("recorder apart: recordings"));
}

#[test]
fn neither_keys_nor_media_are_in_blocks_that_the_file_system_freed() {
    let may_mount = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !may_mount || !Path::new("/dev/loop-control").exists() {
        eprintln!("not looked at: mounting an image needs root and loop devices");
        return;
    }
    assert!(run("blocks").contains("image searched"));
}
