//! `.ci/setup` says what it cannot install itself, before it changes anything.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

/// Runs it with programs in front of the real ones that print a text. Those that would change the
/// machine only fail.
fn run(name: &str, programs: &[(&str, &str)]) -> Output {
    let dir = std::env::temp_dir().join(format!("conclave-ci-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let harmless = ["npm", "apt-get", "sudo", "rustup", "python3"].map(|name| (name, ""));
    for (program, says) in harmless.iter().chain(programs) {
        let end = if says.is_empty() { "exit 3" } else { "exit 0" };
        let path = dir.join(program);
        fs::write(&path, format!("#!/bin/sh\necho '{says}'\n{end}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/setup");
    let output = Command::new(setup).env("PATH", path).output().unwrap();
    fs::remove_dir_all(&dir).unwrap();
    output
}

fn told(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn an_old_node_is_told_with_its_remedy() {
    let rust = ("rustc", "rustc 1.999.0 (x)");
    let told = told(&run("node", &[rust, ("node", "18.19.0")]));
    assert!(told.contains("Node 20.19.0 or newer is needed, 18.19.0 was found."), "{told}");
    assert!(told.contains("nodejs.org"), "{told}");
}

#[test]
fn the_floor_of_each_node_major_is_told() {
    let rust = ("rustc", "rustc 1.999.0 (x)");
    for (found, floor) in [("20.18.3", "20.19.0"), ("21.7.0", "22.12.0"), ("22.11.0", "22.12.0")] {
        let told = told(&run(found, &[rust, ("node", found)]));
        assert!(told.contains(&format!("Node {floor} or newer is needed, {found}")), "{told}");
    }
    for good in ["20.19.0", "22.12.0", "24.0.0"] {
        let told = told(&run(good, &[rust, ("node", good)]));
        assert!(!told.contains("Node"), "{told}");
    }
}

#[test]
fn an_old_rust_is_told_with_its_remedy() {
    let told = told(&run("rust", &[("rustc", "rustc 1.63.0 (x)")]));
    assert!(told.contains("Rust 1.95 or newer is needed, 1.63.0 was found."), "{told}");
    assert!(told.contains("rustup update"), "{told}");
}
