//! Recordings survive kill -9 and storages that fail: the real server, everything that the partner has
//! checked. The long run: `loadtest recorder --spawn target/release/conclave --kills 100`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

/// Parts, how often each kills, and what each tells when it did its work. Those that take long come first.
const PARTS: [(&str, &str, &str); 7] = [
    ("kill-server", "2", "server apart: kills while recorded"),
    ("two", "0", "two servers: pictures decoded"),
    ("crash", "5", "pictures decoded"),
    ("kill-recorder", "2", "recorder apart: kills while recorded"),
    ("blocks", "0", "image searched"),
    ("apart", "0", "recorder apart: recordings"),
    ("outage", "0", "credentials mended to purged"),
];
/// Parts that run at once: they wait most of the time.
const AT_ONCE: usize = 3;

/// Runs a part with small pictures; it must do what it should, and tell so. The server is beside our own
/// binary: cargo builds both for the same tests.
fn run(part: &str, kills: &str, wanted: &str) {
    let own = Path::new(env!("CARGO_BIN_EXE_loadtest"));
    let server = own.with_file_name("conclave");
    assert!(server.exists(), "{}: run `cargo build --bin conclave`", server.display());
    let mut command = Command::new(own);
    command.args(["recorder", "--only", part, "--seconds", "3", "--lines", "360"]);
    if kills != "0" {
        command.args(["--kills", kills]);
    }
    command.args(["--webdav", concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/wsgidav")]);
    let output = command.arg("--spawn").arg(server).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success() && told.contains(wanted), "{part}: {told}");
}

fn may_mount() -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    is_root && Path::new("/dev/loop-control").exists()
}

#[test]
fn recordings_survive_kills_and_outages_and_nothing_is_left_of_them() {
    let queue = Mutex::new(PARTS.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((part, kills, wanted)) = next() {
                    if part == "blocks" && !may_mount() {
                        eprintln!("not looked at: mounting an image needs root and loop devices");
                        continue;
                    }
                    run(part, kills, wanted);
                }
            });
        }
    });
}

#[test]
fn recordings_are_not_kept_for_longer_than_72_hours() {
    run("age", "0", "storage down for");
}
