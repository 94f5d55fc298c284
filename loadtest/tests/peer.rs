//! The command line of the peer, without a server.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

#[test]
fn a_server_that_is_not_there_fails_the_run_and_shows_no_token() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        // Nothing listens on port 1.
        .args(["peer", "--whip", "http://127.0.0.1:1/v1/whip", "--token", "secret-token"])
        .args(["--seconds", "1"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    assert!(!said.is_empty());
    assert!(!String::from_utf8_lossy(&said).contains("secret-token"));
}
