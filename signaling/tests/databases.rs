//! The databases of the tests themselves: they are gone with the process that started them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::databases::Place;

/// Set for a child that starts a server and waits to be killed.
const CHILD: &str = "CONCLAVE_TEST_DATABASE_CHILD";

#[tokio::test]
async fn a_killed_test_leaves_no_server_behind() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "starts_a_server_and_waits", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let folder = lines.filter_map(|l| Some(l.split_once("folder ")?.1.to_owned())).next().unwrap();
    let server = Path::new(&folder).join("data/postmaster.pid");
    let pid = std::fs::read_to_string(server).unwrap().lines().next().unwrap().to_owned();
    let process = Path::new("/proc").join(pid);
    assert!(process.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    while process.exists() || Path::new(&folder).exists() {
        assert!(Instant::now() < limit, "{folder} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A test by itself only for the child above.
#[tokio::test]
async fn starts_a_server_and_waits() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let place = Place::postgres();
    println!("folder {}", place.postgres.as_ref().unwrap().folder().display());
    std::future::pending::<()>().await;
}
